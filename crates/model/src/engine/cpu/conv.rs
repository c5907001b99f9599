//! Convolutions (dense, depthwise, transposed) and linear layers.

use kernels::{Accumulate, Epilogue, conv_transpose2x2, depthwise, linear};

use super::pass::Pass;
use crate::graph::{NodeId, Op};
use crate::plan::Mode;
use crate::store::ParamStore;

/// Convolution, with a batch norm folded into its weights and an activation in its last pass where given.
pub(super) fn forward_fused(
    pass: &mut Pass<'_>,
    conv: NodeId,
    norm: Option<NodeId>,
    act: Option<NodeId>,
) {
    let activation = super::norm::kind(pass.graph, act);
    let out = act.or(norm).unwrap_or(conv);
    pass.write(out, |pass, y, scratch| {
        let ready = pass
            .prepared
            .get(conv)
            .filter(|_| pass.plan.mode == Mode::Infer);
        let bias = match ready {
            Some(ready) => ready.bias.as_deref(),
            None => pass
                .graph
                .node(conv)
                .params
                .get(1)
                .map(|id| pass.params.get(*id)),
        };
        let epilogue = Epilogue { bias, activation };
        let parts = pass.parts(conv);
        match (
            pass.graph.node(conv).op.clone(),
            pass.plan.conv2d(pass.graph, conv),
            ready,
        ) {
            (Op::Depthwise { window }, ..) => {
                let weight = ready.map_or(pass.param(conv, 0), |ready| &ready.weight);
                let xs = pass.shape(pass.input(conv, 0));
                depthwise::forward(parts[0], xs, weight, window, epilogue, y);
            }
            (_, Some(conv2d), Some(ready)) => {
                let scratch = scratch.at_least(conv2d.forward_scratch());
                conv2d.forward(&parts, &ready.weight, epilogue, y, scratch);
            }
            (_, Some(conv2d), None) => {
                let packed = conv2d.packed_len();
                let scratch = scratch.at_least(packed + conv2d.forward_scratch());
                let (packed, scratch) = scratch.split_at_mut(packed);
                conv2d.pack(pass.param(conv, 0), packed);
                conv2d.forward(&parts, packed, epilogue, y, scratch);
            }
            _ => unreachable!("only convolutions are fused"),
        }
    });
}

pub(super) fn backward_dense(pass: &mut Pass<'_>, id: NodeId, grads: &mut ParamStore) {
    let Some(conv) = pass.plan.conv2d(pass.graph, id) else {
        return;
    };
    pass.with_scratch(|pass, scratch| {
        let scratch = scratch.at_least(conv.backward_weight_scratch());
        let dw = grads.get_mut(pass.param_id(id, 0));
        conv.backward_weight(
            &pass.parts(id),
            pass.grad(id),
            dw,
            Accumulate::Replace,
            scratch,
        );
    });
    if let Op::Conv2d { bias: true, .. } = pass.graph.node(id).op {
        kernels::bias::backward(
            pass.grad(id),
            pass.shape(id).c,
            grads.get_mut(pass.param_id(id, 1)),
            Accumulate::Replace,
        );
    }
    pass.write_source_grads(id, |pass, dx, scratch| {
        let packed = conv.backward_packed_len();
        let scratch = scratch.at_least(packed + conv.backward_input_scratch());
        let (packed, scratch) = scratch.split_at_mut(packed);
        conv.pack_backward(pass.param(id, 0), packed);
        conv.backward_input(pass.grad(id), packed, dx, scratch);
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
