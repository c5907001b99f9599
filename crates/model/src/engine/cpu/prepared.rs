//! Weights of convolutions prepared for inference, once until the parameters change: multiplied by the batch norm that
//! follows, and packed as the kernels read them.

use std::collections::HashMap;

use kernels::Buffer;
use kernels::batch_norm;
use kernels::conv2d::Conv2d;

use crate::engine::nodes::{BETA, GAMMA, MEAN, VAR, norm_numbers};
use crate::graph::{Graph, NodeId};
use crate::plan::{Plan, Step};
use crate::store::ParamStore;

/// Prepared weights by the convolution's node.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    version: u64,
    weights: HashMap<NodeId, Weights>,
}

/// Prepared weights of one convolution.
#[derive(Debug)]
pub(super) struct Weights {
    /// Packed for `conv`, or unpacked if the convolution is depthwise.
    pub(super) weight: Buffer,
    pub(super) bias: Option<Vec<f32>>,
    conv: Option<Conv2d>,
    norm: Option<NodeId>,
}

impl Prepared {
    pub(super) fn get(&self, conv: NodeId) -> Option<&Weights> {
        self.weights.get(&conv)
    }

    /// Prepares the weights that the plan's steps read and earlier calls have not prepared.
    pub(super) fn refresh(&mut self, graph: &Graph, plan: &Plan, params: &ParamStore) {
        if self.version != params.version() {
            self.weights.clear();
            self.version = params.version();
        }
        for step in &plan.steps {
            let Step::ConvNormAct { conv: id, norm, .. } = *step else {
                continue;
            };
            let conv = plan.conv2d(graph, id);
            let ready = self.weights.get(&id).is_some_and(|w| {
                let same = match (w.conv, conv) {
                    (Some(a), Some(b)) => a.packs_as(b),
                    (a, b) => a.is_none() && b.is_none(),
                };
                same && w.norm == norm
            });
            if !ready {
                self.weights
                    .insert(id, prepare(graph, params, id, conv, norm));
            }
        }
    }
}

fn prepare(
    graph: &Graph,
    params: &ParamStore,
    id: NodeId,
    conv: Option<Conv2d>,
    norm: Option<NodeId>,
) -> Weights {
    let node = graph.node(id);
    let mut weight = params.get(node.params[0]).to_vec();
    let mut bias = node.params.get(1).map(|bias| params.get(*bias).to_vec());
    if let Some(norm) = norm {
        bias = Some(fold(graph, params, norm, &mut weight, bias.as_deref()));
    }
    let mut ready = Buffer::zeros(conv.map_or(weight.len(), Conv2d::packed_len));
    match conv {
        Some(conv) => conv.pack(&weight, &mut ready),
        None => ready.copy_from_slice(&weight),
    }
    Weights {
        weight: ready,
        bias,
        conv,
        norm,
    }
}

/// `norm(w·x + b) = (w·scale)·x + (b·scale + shift)`, the output channels being the weights' last axis. Returns the new
/// bias.
fn fold(
    graph: &Graph,
    params: &ParamStore,
    norm: NodeId,
    weight: &mut [f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let node = graph.node(norm);
    let p = |k: usize| params.get(node.params[k]);
    let (mut scale, mut shift) = (vec![0.0; node.channels], vec![0.0; node.channels]);
    batch_norm::fold(
        p(GAMMA),
        p(BETA),
        p(MEAN),
        p(VAR),
        norm_numbers(graph, norm).0,
        &mut scale,
        &mut shift,
    );
    for row in weight.chunks_exact_mut(node.channels) {
        row.iter_mut().zip(&scale).for_each(|(w, s)| *w *= s);
    }
    for (shift, (bias, scale)) in shift.iter_mut().zip(bias.into_iter().flatten().zip(&scale)) {
        *shift += bias * scale;
    }
    shift
}
