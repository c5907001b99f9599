//! The traversal of a plan, common to all engines: which operation runs when, and which steps have a gradient to
//! propagate.

use super::operations::{Convolutions, Elementwise, Norms, ShapeOps};
use super::written::Written;
use crate::graph::{Graph, NodeId, Op};
use crate::plan::{Plan, Step};

/// An engine's pass over a plan.
pub(super) trait Pass<'a>: Convolutions + Norms + Elementwise + ShapeOps {
    /// The plan's graph.
    fn graph(&self) -> &'a Graph;

    /// The plan.
    fn plan(&self) -> &'a Plan;

    /// Records which gradients have been written; updated by every operation that writes one.
    fn written(&mut self) -> &mut Written;

    /// Called before each step, forward and backward.
    fn begin(&mut self, _step: &Step) {}

    /// Called after a step backward, also one without a gradient to propagate, with the number of steps before it.
    fn end(&mut self, _before: usize) {}
}

/// Runs all steps forward; the input's value must already be written.
pub(super) fn forward<'a, P: Pass<'a>>(pass: &mut P) -> Result<(), P::Error> {
    for step in &pass.plan().steps {
        forward_step(pass, step)?;
    }
    Ok(())
}

/// Runs a step forward.
pub(super) fn forward_step<'a, P: Pass<'a>>(pass: &mut P, step: &Step) -> Result<(), P::Error> {
    pass.begin(step);
    match *step {
        Step::Single(id) => forward_node(pass, id),
        Step::NormAct { norm, act } => pass.forward_norm(norm, Some(act)),
        Step::ConvNormAct { conv, norm, act } => pass.forward_conv(conv, norm, act),
    }
}

fn forward_node<'a, P: Pass<'a>>(pass: &mut P, id: NodeId) -> Result<(), P::Error> {
    match pass.graph().node(id).op {
        Op::Input { .. } => Ok(()),
        Op::Conv2d { .. } | Op::Depthwise { .. } => pass.forward_conv(id, None, None),
        Op::ConvTranspose2x2 { .. } => pass.forward_transposed(id),
        Op::Linear { .. } => pass.forward_linear(id),
        Op::BatchNorm { .. } => pass.forward_norm(id, None),
        Op::Activation { kind } => pass.forward_activation(id, kind),
        Op::Add => pass.forward_add(id),
        Op::Mean => pass.forward_mean(id),
        Op::ScaleChannels => pass.forward_scale(id),
        Op::DropPath { rate } => pass.forward_drop_path(id, rate),
        Op::Dropout { rate } => pass.forward_dropout(id, rate),
        Op::MaxPool { window } => pass.forward_max_pool(id, window),
        Op::GlobalAvgPool => pass.forward_global_avg_pool(id),
        Op::RegionPool => pass.forward_region_pool(id),
        Op::Upsample2x { mode } => pass.forward_upsample(id, mode),
        Op::Concat => pass.forward_concat(id),
        Op::Crop { margin } => pass.forward_crop(id, margin),
    }
}

/// Runs all steps backward from the outputs' gradients, which `load` writes one by one. A step whose value has received
/// no gradient by then has none to propagate and is skipped.
pub(super) fn backward<'a, P: Pass<'a>, G>(
    pass: &mut P,
    gradients: impl IntoIterator<Item = G>,
    load: impl Fn(&mut P, NodeId, G) -> Result<(), P::Error>,
) -> Result<(), P::Error> {
    load_gradients(pass, gradients, load)?;
    for (before, step) in pass.plan().steps.iter().enumerate().rev() {
        backward_step(pass, step)?;
        pass.end(before);
    }
    Ok(())
}

/// Writes the outputs' gradients, with which a backward pass begins.
pub(super) fn load_gradients<'a, P: Pass<'a>, G>(
    pass: &mut P,
    gradients: impl IntoIterator<Item = G>,
    load: impl Fn(&mut P, NodeId, G) -> Result<(), P::Error>,
) -> Result<(), P::Error> {
    pass.written().clear();
    for (id, gradient) in pass.plan().outputs.iter().zip(gradients) {
        load(pass, *id, gradient)?;
    }
    Ok(())
}

/// Runs a step backward, if its value has a gradient.
pub(super) fn backward_step<'a, P: Pass<'a>>(pass: &mut P, step: &Step) -> Result<(), P::Error> {
    if !pass.written().has(step.last()) {
        return Ok(());
    }
    pass.begin(step);
    match *step {
        Step::Single(id) => backward_node(pass, id),
        Step::NormAct { norm, act } => pass.backward_norm(norm, Some(act)),
        Step::ConvNormAct { .. } => unreachable!("training plans do not fold convolutions"),
    }
}

fn backward_node<'a, P: Pass<'a>>(pass: &mut P, id: NodeId) -> Result<(), P::Error> {
    match pass.graph().node(id).op {
        Op::Input { .. } => Ok(()),
        Op::Conv2d { .. } => pass.backward_dense(id),
        Op::Depthwise { window } => pass.backward_depthwise(id, window),
        Op::ConvTranspose2x2 { .. } => pass.backward_transposed(id),
        Op::Linear { .. } => pass.backward_linear(id),
        Op::BatchNorm { .. } => pass.backward_norm(id, None),
        Op::Activation { kind } => pass.backward_activation(id, kind),
        Op::Add => pass.backward_add(id),
        Op::Mean => pass.backward_mean(id),
        Op::ScaleChannels => pass.backward_scale(id),
        Op::DropPath { rate } => pass.backward_drop_path(id, rate),
        Op::Dropout { rate } => pass.backward_dropout(id, rate),
        Op::MaxPool { window } => pass.backward_max_pool(id, window),
        Op::GlobalAvgPool => pass.backward_global_avg_pool(id),
        Op::RegionPool => pass.backward_region_pool(id),
        Op::Upsample2x { mode } => pass.backward_upsample(id, mode),
        Op::Concat => pass.backward_concat(id),
        Op::Crop { margin } => pass.backward_crop(id, margin),
    }
}
