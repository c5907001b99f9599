//! Batch norm with the activation that follows it.

use super::driver::Address;
use super::elementwise::{code, kind};
use super::pass::{Done, Pass};
use super::reduce::Columns;
use crate::graph::{Graph, NodeId, Op};
use crate::plan::Mode;

/// Parameters of a batch norm node, in the order in which [`crate::graph::GraphBuilder`] makes them.
const GAMMA: usize = 0;
const BETA: usize = 1;
pub(super) const MEAN: usize = 2;
pub(super) const VAR: usize = 3;

/// `y = act(norm(x))`: batch statistics in training, running ones in inference.
pub(super) fn forward(pass: &mut Pass<'_>, norm: NodeId, act: Option<NodeId>) -> Done {
    let x = pass.input(norm, 0);
    let (scale, shift) = match pass.plan.mode {
        Mode::Train => {
            let (mean, var) = statistics(pass, norm, x)?;
            fold(pass, norm, (Some(mean), Some(var)), None)?
        }
        Mode::Infer => fold_running(pass, norm, None)?,
    };
    let xs = pass.shape(x);
    let args = [
        pass.value(x).into(),
        scale.into(),
        shift.into(),
        pass.value(act.unwrap_or(norm)).into(),
        xs.len().into(),
        xs.c.into(),
        code(kind(pass.graph, act)),
    ];
    pass.launch_elements("batch_norm_apply", xs.len(), &args)
}

/// Mean and variance of the batch, where the norm saves them.
fn statistics(
    pass: &mut Pass<'_>,
    norm: NodeId,
    x: NodeId,
) -> Result<(Address, Address), super::driver::DeviceError> {
    let (z, xs) = (pass.value(x), pass.shape(x));
    let (rows, c) = (xs.pixels(), xs.c);
    let (mean, var) = (pass.saved(norm), pass.saved(norm).plus(c));
    let cut = Columns::new(rows, c);
    let origin = pass.scratch(c);
    let partials = pass.scratch(cut.partials(1, 2));
    let sample = [z.into(), origin.into(), rows.into(), c.into()];
    pass.launch_elements("sample_mean", c, &sample)?;
    let moments = [
        z.into(),
        origin.into(),
        partials.into(),
        rows.into(),
        cut.rows_per_chunk.into(),
        c.into(),
    ];
    cut.launch(pass, "batch_norm_moments", 1, &moments)?;
    let finish = [
        partials.into(),
        origin.into(),
        mean.into(),
        var.into(),
        cut.chunks.into(),
        rows.into(),
        c.into(),
    ];
    pass.launch_elements("batch_norm_statistics", c, &finish)?;
    Ok((mean, var))
}

/// Scale and shift of a norm by its running statistics; `bias` is that of a convolution before it.
pub(super) fn fold_running(
    pass: &mut Pass<'_>,
    norm: NodeId,
    bias: Option<Address>,
) -> Result<(Address, Address), super::driver::DeviceError> {
    let running = (pass.param(norm, MEAN), pass.param(norm, VAR));
    fold(pass, norm, running, bias)
}

fn fold(
    pass: &mut Pass<'_>,
    norm: NodeId,
    (mean, var): (Option<Address>, Option<Address>),
    bias: Option<Address>,
) -> Result<(Address, Address), super::driver::DeviceError> {
    let c = pass.shape(norm).c;
    let (scale, shift) = (pass.saved(norm).plus(2 * c), pass.saved(norm).plus(3 * c));
    let args = [
        pass.param(norm, GAMMA).into(),
        pass.param(norm, BETA).into(),
        mean.into(),
        var.into(),
        bias.into(),
        scale.into(),
        shift.into(),
        c.into(),
        eps(pass.graph, norm).into(),
    ];
    pass.launch_elements("batch_norm_fold", c, &args)?;
    Ok((scale, shift))
}

/// Gradient through activation and batch statistics.
pub(super) fn backward(pass: &mut Pass<'_>, norm: NodeId, act: Option<NodeId>) -> Done {
    let (x, out) = (pass.input(norm, 0), act.unwrap_or(norm));
    let (Some(dgamma), Some(dbeta)) = (pass.param_grad(norm, GAMMA), pass.param_grad(norm, BETA))
    else {
        return Ok(());
    };
    let (z, dy, saved) = (pass.value(x), pass.grad(out), pass.saved(norm));
    let (xs, eps, activation) = (
        pass.shape(x),
        eps(pass.graph, norm),
        code(kind(pass.graph, act)),
    );
    let (rows, c) = (xs.pixels(), xs.c);
    let cut = Columns::new(rows, c);
    let partials = pass.scratch(cut.partials(1, 2));
    let through = pass.scratch(2 * c);
    let sums = [
        z.into(),
        dy.into(),
        saved.into(),
        partials.into(),
        rows.into(),
        cut.rows_per_chunk.into(),
        c.into(),
        eps.into(),
        activation,
    ];
    cut.launch(pass, "batch_norm_gradient_sums", 1, &sums)?;
    let finish = [
        partials.into(),
        saved.into(),
        dgamma.into(),
        dbeta.into(),
        through.into(),
        cut.chunks.into(),
        rows.into(),
        c.into(),
        eps.into(),
    ];
    pass.launch_elements("batch_norm_gradient_finish", c, &finish)?;
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        z.into(),
        dy.into(),
        saved.into(),
        through.into(),
        dx.into(),
        xs.len().into(),
        c.into(),
        eps.into(),
        activation,
        add.into(),
    ];
    pass.launch_elements("batch_norm_backward", xs.len(), &args)
}

fn eps(graph: &Graph, norm: NodeId) -> f32 {
    match graph.node(norm).op {
        Op::BatchNorm { eps, .. } => eps,
        _ => 0.0,
    }
}
