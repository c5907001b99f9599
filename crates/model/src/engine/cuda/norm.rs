//! Batch norm with the activation that follows it.

use super::driver::{Address, NormParameters};
use super::elementwise::{code, kind};
use super::pass::{Done, Pass};
use super::reduce::{launch_columns, shares};
use super::variants::variants;
use crate::graph::{NodeId, Op};
use crate::plan::Mode;

/// Parameters of a batch norm node, in the order in which [`crate::graph::GraphBuilder`] makes them.
const GAMMA: usize = 0;
const BETA: usize = 1;
const MEAN: usize = 2;
const VAR: usize = 3;

/// `y = act(norm(x))`: batch statistics in training, which also move the running ones; in inference what [`fold`] made of
/// the running ones.
pub(super) fn forward(pass: &mut Pass<'_>, norm: NodeId, act: Option<NodeId>) -> Done {
    let x = pass.input(norm, 0);
    if pass.plan.mode == Mode::Train && pass.norm_of_product(x) != Some(norm) {
        statistics(pass, norm)?;
    }
    let out = act.unwrap_or(norm);
    let args = [
        pass.value(x).into(),
        pass.saved(norm).into(),
        pass.value(out).into(),
        pass.shape(x).len().into(),
        pass.shape(x).c.into(),
        code(kind(pass.graph, act)),
    ];
    pass.launch_like(variants!("batch_norm_apply"), norm, &args)
}

/// Mean and variance of the batch and what follows from them, where the norm saves them.
fn statistics(pass: &mut Pass<'_>, norm: NodeId) -> Done {
    let x = pass.input(norm, 0);
    let (z, rows, c) = (pass.value(x), pass.shape(x).pixels(), pass.shape(x).c);
    let names = variants!("batch_norm_moments");
    let kind = pass.kind(norm);
    let (partials, cut) = launch_columns(pass, names, kind, (1, rows, c, 2), |to, cut| {
        vec![
            z.into(),
            to.into(),
            rows.into(),
            cut.rows_per_chunk.into(),
            c.into(),
        ]
    })?;
    finish(
        pass,
        norm,
        (partials, None),
        (cut.chunks, cut.rows_per_chunk),
    )
}

/// Where a product of so many tiles leaves the moments of its columns, for the norm that alone reads them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    norm: NodeId,
    tiles: usize,
    pub(super) partials: Address,
    pub(super) counts: Address,
}

impl Moments {
    /// `None` where no norm asks for them.
    pub(super) fn of(pass: &mut Pass<'_>, product: NodeId, tiles: usize) -> Option<Self> {
        let norm = pass.norm_of_product(product)?;
        let c = pass.shape(norm).c;
        Some(Moments {
            norm,
            tiles,
            partials: pass.scratch(tiles * 2 * c),
            counts: pass.scratch(tiles),
        })
    }

    /// The norm's statistics from them.
    pub(super) fn finish(self, pass: &mut Pass<'_>) -> Done {
        let partials = (self.partials, Some(self.counts));
        finish(pass, self.norm, partials, (self.tiles, 0))
    }
}

fn finish(
    pass: &mut Pass<'_>,
    norm: NodeId,
    (partials, counts): (Address, Option<Address>),
    (chunks, rows_per_chunk): (usize, usize),
) -> Done {
    let xs = pass.shape(norm);
    let args = [
        partials.into(),
        counts.into(),
        parameters(pass, norm).into(),
        chunks.into(),
        xs.pixels().into(),
        rows_per_chunk.into(),
        xs.c.into(),
    ];
    let (grid, block) = shares(xs.c, chunks);
    pass.launch("batch_norm_statistics", grid, block, &args)
}

/// Scale and shift by the running statistics; the convolution that the norm is folded into may have a bias.
pub(super) fn fold(pass: &mut Pass<'_>, norm: NodeId, conv: Option<NodeId>) -> Done {
    let c = pass.shape(norm).c;
    let bias = conv.and_then(|conv| pass.param(conv, 1));
    let args = [parameters(pass, norm).into(), bias.into(), c.into()];
    pass.launch_elements("batch_norm_fold", c, &args)
}

/// Gradient through activation and batch statistics.
pub(super) fn backward(pass: &mut Pass<'_>, norm: NodeId, act: Option<NodeId>) -> Done {
    let (x, out) = (pass.input(norm, 0), act.unwrap_or(norm));
    let (Some(dgamma), Some(dbeta)) = (pass.param_grad(norm, GAMMA), pass.param_grad(norm, BETA))
    else {
        return Ok(());
    };
    let (z, dy, saved, xs) = (
        pass.value(x),
        pass.grad(out),
        pass.saved(norm),
        pass.shape(x),
    );
    let (rows, c) = (xs.pixels(), xs.c);
    let (eps, _) = numbers(pass, norm);
    let activation = code(kind(pass.graph, act));
    let element = pass.kind(norm);
    let names = variants!("batch_norm_gradient_sums");
    let (partials, cut) = launch_columns(pass, names, element, (1, rows, c, 2), |to, cut| {
        vec![
            z.into(),
            dy.into(),
            saved.into(),
            to.into(),
            rows.into(),
            cut.rows_per_chunk.into(),
            c.into(),
            activation,
        ]
    })?;
    let through = pass.scratch(2 * c);
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
    let (grid, block) = shares(c, cut.chunks);
    pass.launch("batch_norm_gradient_finish", grid, block, &finish)?;
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
        activation,
        add.into(),
    ];
    pass.launch_like(variants!("batch_norm_backward"), norm, &args)
}

fn parameters(pass: &Pass<'_>, norm: NodeId) -> NormParameters {
    let (eps, momentum) = numbers(pass, norm);
    let param = |k| pass.param(norm, k).unwrap_or(Address::NULL);
    NormParameters {
        gamma: param(GAMMA),
        beta: param(BETA),
        running_mean: param(MEAN),
        running_var: param(VAR),
        saved: pass.saved(norm),
        eps,
        momentum,
    }
}

fn numbers(pass: &Pass<'_>, norm: NodeId) -> (f32, f32) {
    match pass.graph.node(norm).op {
        Op::BatchNorm { eps, momentum } => (eps, momentum),
        _ => (0.0, 0.0),
    }
}
