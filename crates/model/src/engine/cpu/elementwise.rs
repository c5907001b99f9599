//! Activations, sums, scales, and the two kinds of dropping.

use kernels::{Accumulate, Activation, activation, elementwise};

use super::pass::Pass;
use crate::graph::NodeId;
use crate::plan::Mode;
use crate::rng::Rng;

pub(super) fn forward_activation(pass: &mut Pass<'_>, id: NodeId, kind: Activation) {
    pass.write(id, |pass, y, _| {
        activation::forward(kind, pass.value(pass.input(id, 0)), y)
    });
}

pub(super) fn backward_activation(pass: &mut Pass<'_>, id: NodeId, kind: Activation) {
    let x = pass.input(id, 0);
    pass.write_grad(x, |pass, dx, acc, _| {
        activation::backward(kind, pass.value(x), pass.grad(id), dx, acc)
    });
}

pub(super) fn forward_add(pass: &mut Pass<'_>, id: NodeId) {
    pass.write(id, |pass, y, _| {
        elementwise::add(
            pass.value(pass.input(id, 0)),
            pass.value(pass.input(id, 1)),
            y,
        )
    });
}

pub(super) fn backward_add(pass: &mut Pass<'_>, id: NodeId) {
    for k in 0..2 {
        pass.write_grad(pass.input(id, k), |pass, dx, acc, _| {
            elementwise::accumulate(pass.grad(id), dx, acc)
        });
    }
}

pub(super) fn forward_scale(pass: &mut Pass<'_>, id: NodeId) {
    pass.write(id, |pass, y, _| {
        let (x, s) = (pass.input(id, 0), pass.input(id, 1));
        elementwise::scale_channels_forward(pass.value(x), pass.shape(x), pass.value(s), y);
    });
}

pub(super) fn backward_scale(pass: &mut Pass<'_>, id: NodeId) {
    let (x, s) = (pass.input(id, 0), pass.input(id, 1));
    let xs = pass.shape(x);
    pass.write_grad(s, |pass, ds, acc, _| {
        elementwise::scale_channels_backward_scale(pass.value(x), pass.grad(id), xs, ds, acc)
    });
    pass.write_grad(x, |pass, dx, acc, _| {
        elementwise::scale_channels_backward_input(pass.grad(id), pass.value(s), xs, dx, acc)
    });
}

pub(super) fn forward_drop_path(pass: &mut Pass<'_>, id: NodeId, rate: f32) {
    pass.write(id, |pass, y, _| {
        let x = pass.input(id, 0);
        match pass.plan.mode {
            Mode::Infer => elementwise::accumulate(pass.value(x), y, Accumulate::Replace),
            Mode::Train => scale_samples(pass, id, rate, pass.value(x), y, Accumulate::Replace),
        }
    });
}

pub(super) fn backward_drop_path(pass: &mut Pass<'_>, id: NodeId, rate: f32) {
    pass.write_grad(pass.input(id, 0), |pass, dx, acc, _| {
        scale_samples(pass, id, rate, pass.grad(id), dx, acc)
    });
}

fn scale_samples(
    pass: &Pass<'_>,
    id: NodeId,
    rate: f32,
    x: &[f32],
    y: &mut [f32],
    acc: Accumulate,
) {
    let n = pass.shape(id).n;
    let mut rng = Rng::new(pass.seed, id.index() as u64);
    let factors: Vec<f32> = (0..n).map(|_| survival(&mut rng, rate)).collect();
    elementwise::scale_samples(x, x.len() / n, &factors, y, acc);
}

pub(super) fn forward_dropout(pass: &mut Pass<'_>, id: NodeId, rate: f32) {
    pass.write(id, |pass, y, _| {
        let x = pass.input(id, 0);
        match pass.plan.mode {
            Mode::Infer => elementwise::accumulate(pass.value(x), y, Accumulate::Replace),
            Mode::Train => drop_elements(pass, id, rate, pass.value(x), y, Accumulate::Replace),
        }
    });
}

pub(super) fn backward_dropout(pass: &mut Pass<'_>, id: NodeId, rate: f32) {
    pass.write_grad(pass.input(id, 0), |pass, dx, acc, _| {
        drop_elements(pass, id, rate, pass.grad(id), dx, acc)
    });
}

/// The mask is drawn again from the pass's seed rather than kept.
fn drop_elements(
    pass: &Pass<'_>,
    id: NodeId,
    rate: f32,
    x: &[f32],
    y: &mut [f32],
    acc: Accumulate,
) {
    let mut rng = Rng::new(pass.seed, id.index() as u64);
    for (y, x) in y.iter_mut().zip(x) {
        let kept = x * survival(&mut rng, rate);
        *y = if acc == Accumulate::Add {
            *y + kept
        } else {
            kept
        };
    }
}

fn survival(rng: &mut Rng, rate: f32) -> f32 {
    if rng.uniform() < rate {
        0.0
    } else {
        1.0 / (1.0 - rate)
    }
}
