//! Passes over a plan on a device: the traversal of its steps with the preparations for it, and the preparation of
//! weights for inference.

use super::driver::Address;
use super::pass::{Done, Pass};
use super::{elementwise, norm, update};
use crate::engine::walk;
use crate::engine::written::Written;
use crate::graph::{Graph, NodeId, Op};
use crate::plan::{Kind, Plan, Step};
use crate::store::Group;

impl<'a> walk::Pass<'a> for Pass<'a> {
    fn graph(&self) -> &'a Graph {
        self.graph
    }

    fn plan(&self) -> &'a Plan {
        self.plan
    }

    fn written(&mut self) -> &mut Written {
        &mut self.written
    }

    fn begin(&mut self, step: &Step) {
        Pass::begin(self, step.first());
    }
}

/// Runs all steps forward on the images that were copied to
/// [`MemoryMap::images`](super::memory_map::MemoryMap::images).
pub(super) fn forward(pass: &mut Pass<'_>) -> Done {
    if pass.elements.kind != Kind::F32 {
        let images = pass.start().plus(pass.memory.images);
        let (input, len) = (pass.value(NodeId::INPUT), pass.shape(NodeId::INPUT).len());
        elementwise::from_f32(pass, images, input, len)?;
    }
    walk::forward(pass)
}

/// Runs all steps backward from the outputs' gradients, which were copied to
/// [`MemoryMap::output_grads`](super::memory_map::MemoryMap::output_grads); those of parameters that no step reaches
/// are zero.
pub(super) fn backward(pass: &mut Pass<'_>) -> Done {
    clear_gradients(pass)?;
    let (start, memory) = (pass.start(), pass.memory);
    let gradients = memory.output_grads.iter().map(|from| start.plus(*from));
    walk::backward(pass, gradients, load_gradient)
}

fn clear_gradients(pass: &mut Pass<'_>) -> Done {
    for (group, start) in Group::TRAINABLE.into_iter().zip(pass.memory.grads) {
        let len = pass.map.len(group);
        if len > 0 {
            let to = pass.start().plus(start);
            pass.launch_elements("fill", len, &[to.into(), len.into(), 0f32.into()])?;
        }
    }
    Ok(())
}

/// Loads an output's gradient; a value that is requested as an output twice gets the sum of both.
fn load_gradient(pass: &mut Pass<'_>, id: NodeId, from: Address) -> Done {
    let Some((to, add)) = pass.gradient_to_write(id) else {
        return Ok(());
    };
    pass.free_scratch();
    let mut from = from;
    if pass.kind(id) != Kind::F32 {
        let len = pass.shape(id).len();
        let copy = pass.scratch(pass.kind(id).words(len));
        elementwise::from_f32(pass, from, copy, len)?;
        from = copy;
    }
    elementwise::scaled_copy(pass, id, from, to, 1.0, add)
}

/// Computes the scale and shift of all norms for inference.
pub(super) fn fold_norms(pass: &mut Pass<'_>) -> Done {
    let plan = pass.plan;
    for step in &plan.steps {
        match *step {
            Step::ConvNormAct {
                conv,
                norm: Some(norm),
                ..
            } => norm::fold(pass, norm, Some(conv))?,
            Step::NormAct { norm, .. } => norm::fold(pass, norm, None)?,
            Step::Single(id) if matches!(pass.graph.node(id).op, Op::BatchNorm { .. }) => {
                norm::fold(pass, id, None)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Converts the weights to the element type of feature maps, if that is not f32.
pub(super) fn narrow_weights(pass: &mut Pass<'_>) -> Done {
    let (from, len) = (pass.memory.params[0], pass.map.len(Group::Decayed));
    match pass.narrow() {
        Some(to) if len > 0 => {
            let from = pass.start().plus(from);
            update::weights_to_bf16(pass.driver(), from, to, len)
        }
        _ => Ok(()),
    }
}
