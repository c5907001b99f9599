//! Activations, sums, scales, and the two kinds of dropping.

use kernels::Activation;

use super::driver::{Address, Arg};
use super::pass::{Done, Pass};
use super::reduce::{Columns, sum_partials};
use crate::graph::{Graph, NodeId, Op};
use crate::plan::Mode;
use crate::rng::Rng;

/// The activation behind a node.
pub(super) fn kind(graph: &Graph, act: Option<NodeId>) -> Option<Activation> {
    match graph.node(act?).op {
        Op::Activation { kind } => Some(kind),
        _ => None,
    }
}

/// The kernels' number of an activation.
pub(super) fn code(kind: Option<Activation>) -> Arg {
    Arg::I32(match kind {
        None => 0,
        Some(Activation::Silu) => 1,
        Some(Activation::Relu) => 2,
        Some(Activation::Relu6) => 3,
        Some(Activation::Sigmoid) => 4,
    })
}

pub(super) fn forward_activation(pass: &mut Pass<'_>, id: NodeId, kind: Activation) -> Done {
    let len = pass.shape(id).len();
    let x = pass.value(pass.input(id, 0));
    let args = [
        x.into(),
        pass.value(id).into(),
        len.into(),
        code(Some(kind)),
    ];
    pass.launch_elements("activation_forward", len, &args)
}

pub(super) fn backward_activation(pass: &mut Pass<'_>, id: NodeId, kind: Activation) -> Done {
    let x = pass.input(id, 0);
    let len = pass.shape(id).len();
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        pass.value(x).into(),
        pass.grad(id).into(),
        dx.into(),
        len.into(),
        code(Some(kind)),
        add.into(),
    ];
    pass.launch_elements("activation_backward", len, &args)
}

pub(super) fn forward_add(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let len = pass.shape(id).len();
    let args = [
        pass.value(pass.input(id, 0)).into(),
        pass.value(pass.input(id, 1)).into(),
        pass.value(id).into(),
        len.into(),
    ];
    pass.launch_elements("add", len, &args)
}

pub(super) fn backward_add(pass: &mut Pass<'_>, id: NodeId) -> Done {
    share_gradient(pass, id, 1.0)
}

pub(super) fn forward_mean(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let graph = pass.graph;
    let inputs = &graph.node(id).inputs;
    let (y, len) = (pass.value(id), pass.shape(id).len());
    for (k, x) in inputs.iter().enumerate() {
        scaled_copy(
            pass,
            pass.value(*x),
            y,
            len,
            1.0 / inputs.len() as f32,
            k > 0,
        )?;
    }
    Ok(())
}

pub(super) fn backward_mean(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let inputs = pass.graph.node(id).inputs.len();
    share_gradient(pass, id, 1.0 / inputs as f32)
}

/// Gives every input the node's gradient times `factor`.
fn share_gradient(pass: &mut Pass<'_>, id: NodeId, factor: f32) -> Done {
    let graph = pass.graph;
    let (dy, len) = (pass.grad(id), pass.shape(id).len());
    for x in &graph.node(id).inputs {
        if let Some((dx, add)) = pass.gradient_to_write(*x) {
            scaled_copy(pass, dy, dx, len, factor, add)?;
        }
    }
    Ok(())
}

/// `y (+)= factor · x`.
pub(super) fn scaled_copy(
    pass: &mut Pass<'_>,
    x: Address,
    y: Address,
    len: usize,
    factor: f32,
    add: bool,
) -> Done {
    let args = [x.into(), y.into(), len.into(), factor.into(), add.into()];
    pass.launch_elements("scaled_copy", len, &args)
}

pub(super) fn forward_scale(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let (x, s) = (pass.input(id, 0), pass.input(id, 1));
    scale_channels(
        pass,
        id,
        pass.value(x),
        pass.value(s),
        (pass.value(id), false),
    )
}

/// `to (+)= x · s`, with the shape of `id`'s value.
fn scale_channels(
    pass: &mut Pass<'_>,
    id: NodeId,
    x: Address,
    s: Address,
    (to, add): (Address, bool),
) -> Done {
    let xs = pass.shape(id);
    let args = [
        x.into(),
        s.into(),
        to.into(),
        xs.len().into(),
        (xs.h * xs.w * xs.c).into(),
        xs.c.into(),
        add.into(),
    ];
    pass.launch_elements("scale_channels", xs.len(), &args)
}

pub(super) fn backward_scale(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let (x, s) = (pass.input(id, 0), pass.input(id, 1));
    let (xs, dy) = (pass.shape(x), pass.grad(id));
    if let Some((ds, add)) = pass.gradient_to_write(s) {
        let (rows, c) = (xs.h * xs.w, xs.c);
        let cut = Columns::new(rows, c);
        let partials = pass.scratch(cut.partials(xs.n, 1));
        let args = [
            pass.value(x).into(),
            dy.into(),
            partials.into(),
            rows.into(),
            cut.rows_per_chunk.into(),
            c.into(),
        ];
        cut.launch(pass, "channel_products", xs.n, &args)?;
        sum_partials(pass, partials, ds, (xs.n, cut.chunks, c), 1.0, add)?;
    }
    match pass.gradient_to_write(x) {
        Some(to) => scale_channels(pass, id, dy, pass.value(s), to),
        None => Ok(()),
    }
}

pub(super) fn forward_drop_path(pass: &mut Pass<'_>, id: NodeId, rate: f32) -> Done {
    forward_drop(pass, id, rate, image(pass, id))
}

pub(super) fn backward_drop_path(pass: &mut Pass<'_>, id: NodeId, rate: f32) -> Done {
    backward_drop(pass, id, rate, image(pass, id))
}

pub(super) fn forward_dropout(pass: &mut Pass<'_>, id: NodeId, rate: f32) -> Done {
    forward_drop(pass, id, rate, 1)
}

pub(super) fn backward_dropout(pass: &mut Pass<'_>, id: NodeId, rate: f32) -> Done {
    backward_drop(pass, id, rate, 1)
}

/// Elements of one image's value.
fn image(pass: &Pass<'_>, id: NodeId) -> usize {
    let xs = pass.shape(id);
    xs.h * xs.w * xs.c
}

/// `unit` elements share a draw.
fn forward_drop(pass: &mut Pass<'_>, id: NodeId, rate: f32, unit: usize) -> Done {
    let (x, y) = (pass.value(pass.input(id, 0)), pass.value(id));
    match pass.plan.mode {
        Mode::Infer => scaled_copy(pass, x, y, pass.shape(id).len(), 1.0, false),
        Mode::Train => drop(pass, id, rate, unit, x, (y, false)),
    }
}

fn backward_drop(pass: &mut Pass<'_>, id: NodeId, rate: f32, unit: usize) -> Done {
    match pass.gradient_to_write(pass.input(id, 0)) {
        Some(to) => drop(pass, id, rate, unit, pass.grad(id), to),
        None => Ok(()),
    }
}

/// What is kept of a value, scaled. Each draw is a function of the pass's seed, the node and the element, so that the
/// gradient draws again what the value drew, and the CPU engine the same.
fn drop(
    pass: &mut Pass<'_>,
    id: NodeId,
    rate: f32,
    unit: usize,
    x: Address,
    (to, add): (Address, bool),
) -> Done {
    let len = pass.shape(id).len();
    let args = [
        x.into(),
        to.into(),
        len.into(),
        unit.into(),
        Rng::new(pass.seed, id.index() as u64).state().into(),
        rate.into(),
        (1.0 / (1.0 - rate)).into(),
        add.into(),
    ];
    pass.launch_elements("drop", len, &args)
}
