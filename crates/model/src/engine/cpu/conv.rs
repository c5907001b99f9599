//! Convolutions (dense, depthwise, transposed) and linear layers.

use kernels::{Accumulate, Epilogue, conv_transpose2x2, conv2d, depthwise, linear};

use super::pass::Pass;
use crate::graph::{NodeId, Op};
use crate::store::ParamStore;

/// Convolution, with a batch norm folded into its weights and an activation in its last pass where given.
pub(super) fn forward_fused(
    pass: &mut Pass<'_>,
    conv: NodeId,
    norm: Option<NodeId>,
    act: Option<NodeId>,
) {
    let activation = act.and_then(|id| match pass.graph.node(id).op {
        Op::Activation { kind } => Some(kind),
        _ => None,
    });
    let out = act.or(norm).unwrap_or(conv);
    pass.write(out, |pass, y, scratch| {
        let (weight, bias) = weights(pass, conv, norm);
        let epilogue = Epilogue { bias, activation };
        let x = pass.input(conv, 0);
        let (xs, x) = (pass.shape(x), pass.value(x));
        match pass.graph.node(conv).op {
            Op::Conv2d {
                window,
                out_channels,
                ..
            } => {
                let scratch = scratch.at_least(conv2d::forward_scratch(xs, out_channels, window));
                conv2d::forward(x, xs, weight, out_channels, window, epilogue, y, scratch);
            }
            Op::Depthwise { window } => depthwise::forward(x, xs, weight, window, epilogue, y),
            _ => unreachable!("only convolutions are fused"),
        }
    });
}

/// Folded weights where a norm follows, else the node's own.
fn weights<'a>(
    pass: &'a Pass<'_>,
    conv: NodeId,
    norm: Option<NodeId>,
) -> (&'a [f32], Option<&'a [f32]>) {
    match norm.and_then(|n| pass.folded.get(n)) {
        Some((weight, bias)) => (weight, Some(bias)),
        None => (
            pass.param(conv, 0),
            pass.graph
                .node(conv)
                .params
                .get(1)
                .map(|id| pass.params.get(*id)),
        ),
    }
}

pub(super) fn backward_dense(pass: &mut Pass<'_>, id: NodeId, grads: &mut ParamStore) {
    let Op::Conv2d {
        window,
        out_channels,
        bias,
    } = pass.graph.node(id).op
    else {
        return;
    };
    let x = pass.input(id, 0);
    let xs = pass.shape(x);
    pass.with_scratch(|pass, scratch| {
        let scratch = scratch.at_least(conv2d::backward_weight_scratch(xs, out_channels, window));
        let dw = grads.get_mut(pass.param_id(id, 0));
        conv2d::backward_weight(
            pass.value(x),
            pass.grad(id),
            xs,
            out_channels,
            window,
            dw,
            Accumulate::Replace,
            scratch,
        );
    });
    if bias {
        kernels::bias::backward(
            pass.grad(id),
            out_channels,
            grads.get_mut(pass.param_id(id, 1)),
            Accumulate::Replace,
        );
    }
    pass.write_grad(x, |pass, dx, acc, scratch| {
        let scratch = scratch.at_least(conv2d::backward_input_scratch(xs, out_channels, window));
        conv2d::backward_input(
            pass.grad(id),
            pass.param(id, 0),
            xs,
            out_channels,
            window,
            dx,
            acc,
            scratch,
        );
    });
}

pub(super) fn backward_depthwise(pass: &mut Pass<'_>, id: NodeId, grads: &mut ParamStore) {
    let Op::Depthwise { window } = pass.graph.node(id).op else {
        return;
    };
    let x = pass.input(id, 0);
    let xs = pass.shape(x);
    pass.with_scratch(|pass, scratch| {
        let scratch = scratch.at_least(depthwise::backward_weight_scratch(xs, window));
        let dw = grads.get_mut(pass.param_id(id, 0));
        depthwise::backward_weight(
            pass.value(x),
            pass.grad(id),
            xs,
            window,
            dw,
            Accumulate::Replace,
            scratch,
        );
    });
    pass.write_grad(x, |pass, dx, acc, _| {
        depthwise::backward_input(pass.grad(id), pass.param(id, 0), xs, window, dx, acc)
    });
}

pub(super) fn forward_transposed(pass: &mut Pass<'_>, id: NodeId) {
    pass.write(id, |pass, y, scratch| {
        let x = pass.input(id, 0);
        let (xs, cout) = (pass.shape(x), pass.shape(id).c);
        let scratch = scratch.at_least(conv_transpose2x2::forward_scratch(xs, cout));
        conv_transpose2x2::forward(
            pass.value(x),
            xs,
            pass.param(id, 0),
            cout,
            Some(pass.param(id, 1)),
            y,
            scratch,
        );
    });
}

pub(super) fn backward_transposed(pass: &mut Pass<'_>, id: NodeId, grads: &mut ParamStore) {
    let x = pass.input(id, 0);
    let (xs, cout) = (pass.shape(x), pass.shape(id).c);
    let need = conv_transpose2x2::backward_scratch(xs, cout);
    pass.with_scratch(|pass, scratch| {
        let dw = grads.get_mut(pass.param_id(id, 0));
        conv_transpose2x2::backward_weight(
            pass.value(x),
            pass.grad(id),
            xs,
            cout,
            dw,
            Accumulate::Replace,
            scratch.at_least(need),
        );
    });
    kernels::bias::backward(
        pass.grad(id),
        cout,
        grads.get_mut(pass.param_id(id, 1)),
        Accumulate::Replace,
    );
    pass.write_grad(x, |pass, dx, acc, scratch| {
        conv_transpose2x2::backward_input(
            pass.grad(id),
            pass.param(id, 0),
            xs,
            cout,
            dx,
            acc,
            scratch.at_least(need),
        );
    });
}

pub(super) fn forward_linear(pass: &mut Pass<'_>, id: NodeId) {
    pass.write(id, |pass, y, _| {
        let x = pass.input(id, 0);
        linear::forward(
            pass.value(x),
            pass.shape(x).n,
            pass.param(id, 0),
            Some(pass.param(id, 1)),
            y,
        );
    });
}

pub(super) fn backward_linear(pass: &mut Pass<'_>, id: NodeId, grads: &mut ParamStore) {
    let x = pass.input(id, 0);
    let (n, inputs, outputs) = (pass.shape(x).n, pass.shape(x).c, pass.shape(id).c);
    let dw = grads.get_mut(pass.param_id(id, 0));
    linear::backward_weight(
        pass.value(x),
        pass.grad(id),
        n,
        inputs,
        outputs,
        dw,
        Accumulate::Replace,
    );
    kernels::bias::backward(
        pass.grad(id),
        outputs,
        grads.get_mut(pass.param_id(id, 1)),
        Accumulate::Replace,
    );
    pass.write_grad(x, |pass, dx, acc, _| {
        linear::backward_input(
            pass.grad(id),
            n,
            pass.param(id, 0),
            inputs,
            outputs,
            dx,
            acc,
        )
    });
}
