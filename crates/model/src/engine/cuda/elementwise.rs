//! Activations, sums, scales, and the two kinds of dropping.

use kernels::Activation;

use super::driver::{Address, Arg};
use super::pass::{Done, Pass};
use super::reduce::{launch_columns, sum_partials};
use super::variants::variants;
use crate::graph::{Graph, NodeId, Op};
use crate::plan::Mode;

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
    let x = pass.value(pass.input(id, 0));
    let args = [
        x.into(),
        pass.value(id).into(),
        pass.shape(id).len().into(),
        code(Some(kind)),
    ];
    pass.launch_like(variants!("activation_forward"), id, &args)
}

pub(super) fn backward_activation(pass: &mut Pass<'_>, id: NodeId, kind: Activation) -> Done {
    let x = pass.input(id, 0);
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        pass.value(x).into(),
        pass.grad(id).into(),
        dx.into(),
        pass.shape(id).len().into(),
        code(Some(kind)),
        add.into(),
    ];
    pass.launch_like(variants!("activation_backward"), id, &args)
}

pub(super) fn forward_add(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let args = [
        pass.value(pass.input(id, 0)).into(),
        pass.value(pass.input(id, 1)).into(),
        pass.value(id).into(),
        pass.shape(id).len().into(),
    ];
    pass.launch_like(variants!("sum_of_two"), id, &args)
}

pub(super) fn backward_add(pass: &mut Pass<'_>, id: NodeId) -> Done {
    share_gradient(pass, id, 1.0)
}

pub(super) fn forward_mean(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let graph = pass.graph;
    let inputs = &graph.node(id).inputs;
    let factor = 1.0 / inputs.len() as f32;
    for (k, x) in inputs.iter().enumerate() {
        scaled_copy(pass, id, pass.value(*x), pass.value(id), factor, k > 0)?;
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
    for x in &graph.node(id).inputs {
        if let Some((dx, add)) = pass.gradient_to_write(*x) {
            scaled_copy(pass, id, pass.grad(id), dx, factor, add)?;
        }
    }
    Ok(())
}

/// `y (+)= factor · x`, of two tensors that lie as the value of `id` does.
pub(super) fn scaled_copy(
    pass: &mut Pass<'_>,
    id: NodeId,
    x: Address,
    y: Address,
    factor: f32,
    add: bool,
) -> Done {
    let args = [
        x.into(),
        y.into(),
        pass.shape(id).len().into(),
        factor.into(),
        add.into(),
    ];
    pass.launch_like(variants!("scaled_copy"), id, &args)
}

/// `y = x`, from f32 to the elements of feature maps.
pub(super) fn from_f32(pass: &mut Pass<'_>, x: Address, y: Address, len: usize) -> Done {
    pass.launch_elements("from_f32", len, &[x.into(), y.into(), len.into()])
}

/// `y = x`, a multiple of four words from and to aligned places.
pub(super) fn copy(pass: &mut Pass<'_>, x: Address, y: Address, words: usize) -> Done {
    let count = words / 4;
    pass.launch_elements("copy", count, &[x.into(), y.into(), count.into()])
}

pub(super) fn forward_scale(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let (x, s) = (pass.input(id, 0), pass.input(id, 1));
    let to = (pass.value(id), false);
    scale_channels(pass, id, pass.value(x), pass.value(s), to)
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
    pass.launch_like(variants!("scale_channels"), id, &args)
}

pub(super) fn backward_scale(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let (x, s) = (pass.input(id, 0), pass.input(id, 1));
    let (xs, dy, value) = (pass.shape(x), pass.grad(id), pass.value(x));
    if let Some((ds, add)) = pass.gradient_to_write(s) {
        let (rows, c, kind) = (xs.h * xs.w, xs.c, pass.kind(id));
        let names = variants!("channel_products");
        let (partials, cut) = launch_columns(pass, names, kind, (xs.n, rows, c, 1), |to, cut| {
            vec![
                value.into(),
                dy.into(),
                to.into(),
                rows.into(),
                cut.rows_per_chunk.into(),
                c.into(),
            ]
        })?;
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
        Mode::Infer => scaled_copy(pass, id, x, y, 1.0, false),
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
    let args = [
        x.into(),
        to.into(),
        pass.shape(id).len().into(),
        unit.into(),
        pass.seed().into(),
        Arg::U32(id.index() as u32),
        rate.into(),
        (1.0 / (1.0 - rate)).into(),
        add.into(),
    ];
    pass.launch_like(variants!("drop"), id, &args)
}
