//! Batch norm with the activation that follows it.

use super::driver::{Address, NormParameters};
use super::epilogue::code;
use super::pass::{Done, Pass};
use super::reduce::{launch_columns, shares};
use super::variants::variants;
use crate::engine::nodes::{BETA, GAMMA, MEAN, VAR, activation, norm_numbers};
use crate::engine::operations::Norms;
use crate::graph::NodeId;
use crate::plan::Mode;

impl Norms for Pass<'_> {
    /// `y = act(norm(x))`: with batch statistics in training, which also update the running ones, and in inference with
    /// the scale and shift that [`fold`] computed from the running ones. Where frozen, they are folded in every pass: the
    /// pass may be a recording, and inference overwrites them.
    fn forward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Done {
        let x = self.input(norm, 0);
        match self.plan.mode {
            Mode::Train if !self.plan.trains(norm) => fold(self, norm, None)?,
            Mode::Train if self.norm_of_product(x) != Some(norm) => statistics(self, norm)?,
            _ => {}
        }
        let out = act.unwrap_or(norm);
        let args = [
            self.value(x).into(),
            self.saved(norm).into(),
            self.value(out).into(),
            self.shape(x).len().into(),
            self.shape(x).c.into(),
            code(activation(self.graph, act)),
        ];
        self.launch_like(variants!("batch_norm_apply"), norm, &args)
    }

    /// Gradient through activation and batch statistics.
    fn backward_norm(&mut self, norm: NodeId, act: Option<NodeId>) -> Done {
        let (x, out) = (self.input(norm, 0), act.unwrap_or(norm));
        let (Some(dgamma), Some(dbeta)) =
            (self.param_grad(norm, GAMMA), self.param_grad(norm, BETA))
        else {
            return Ok(());
        };
        let (z, dy, saved, xs) = (
            self.value(x),
            self.grad(out),
            self.saved(norm),
            self.shape(x),
        );
        let (rows, c) = (xs.pixels(), xs.c);
        let (eps, _) = norm_numbers(self.graph, norm);
        let activation = code(activation(self.graph, act));
        let element = self.kind(norm);
        let names = variants!("batch_norm_gradient_sums");
        let (partials, cut) = launch_columns(self, names, element, (1, rows, c, 2), |to, cut| {
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
        let through = self.scratch(2 * c);
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
        self.launch("batch_norm_gradient_finish", grid, block, &finish)?;
        let Some((dx, add)) = self.gradient_to_write(x) else {
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
        self.launch_like(variants!("batch_norm_backward"), norm, &args)
    }
}

/// Computes the batch's mean and variance, and the scale and shift derived from them, into the norm's saved values.
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

/// Memory for the moments of a product's columns, per tile, for the norm that is the product's only reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    norm: NodeId,
    tiles: usize,
    pub(super) partials: Address,
    pub(super) counts: Address,
}

impl Moments {
    /// Returns `None` if no norm needs them.
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

    /// Computes the norm's statistics from the moments.
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

/// Computes scale and shift from the running statistics and from the bias, if any, of the convolution that the norm is
/// folded into.
pub(super) fn fold(pass: &mut Pass<'_>, norm: NodeId, conv: Option<NodeId>) -> Done {
    let c = pass.shape(norm).c;
    let bias = conv.and_then(|conv| pass.param(conv, 1));
    let args = [parameters(pass, norm).into(), bias.into(), c.into()];
    pass.launch_elements("batch_norm_fold", c, &args)
}

fn parameters(pass: &Pass<'_>, norm: NodeId) -> NormParameters {
    let (eps, momentum) = norm_numbers(pass.graph, norm);
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
