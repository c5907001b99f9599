//! Weights of convolutions prepared for inference, once until the parameters change: multiplied by the batch norm that
//! follows, and packed as the kernels read them.

use std::collections::HashMap;

use kernels::batch_norm;
use kernels::conv2d::Conv2d;
use kernels::quantized::{Affine, QuantizedConv, depthwise};
use kernels::{Buffer, Window};

use super::codes::Codes;
use crate::engine::nodes::{BETA, GAMMA, MEAN, VAR, norm_numbers};
use crate::graph::{Graph, NodeId, Op};
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
    conv: Form,
    norm: Option<NodeId>,
}

/// What weights are packed for.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Nothing: a depthwise convolution reads them as they are.
    Depthwise,
    /// A dense convolution of `f32` values.
    Dense(Conv2d),
    /// A dense convolution of codes, whose meaning is part of the packed weights.
    Quantized(Box<QuantizedConv>, Vec<Affine>),
    /// The same of a depthwise one, of so many channels.
    QuantizedDepthwise(usize, Window, Affine),
}

impl Form {
    fn of(graph: &Graph, plan: &Plan, codes: Option<&Codes>, id: NodeId) -> Self {
        let quantized = plan.quantized_conv(graph, id);
        let affines = codes.and_then(|codes| codes.of_sources(plan, id));
        if let Some((conv, affines)) = quantized.zip(affines) {
            return Form::Quantized(Box::new(conv), affines);
        }
        let node = graph.node(id);
        if let (Op::Depthwise { window }, true) = (&node.op, plan.reads_codes(id))
            && let Some([code]) = codes
                .and_then(|codes| codes.of_sources(plan, id))
                .as_deref()
        {
            return Form::QuantizedDepthwise(node.channels, *window, *code);
        }
        plan.conv2d(graph, id).map_or(Form::Depthwise, Form::Dense)
    }

    /// Whether weights packed for one are right for the other.
    fn packs_as(&self, other: &Form) -> bool {
        match (self, other) {
            (Form::Dense(a), Form::Dense(b)) => a.packs_as(*b),
            (Form::Quantized(a, x), Form::Quantized(b, y)) => a.packs_as(b) && x == y,
            (Form::QuantizedDepthwise(a, x, p), Form::QuantizedDepthwise(b, y, q)) => {
                (a, x, p) == (b, y, q)
            }
            (Form::Depthwise, Form::Depthwise) => true,
            _ => false,
        }
    }

    fn pack(&self, weight: &[f32]) -> Buffer {
        let mut ready = Buffer::zeros(match self {
            Form::Depthwise => weight.len(),
            Form::Dense(conv) => conv.packed_len(),
            Form::Quantized(conv, _) => conv.packed_len(),
            Form::QuantizedDepthwise(c, window, _) => depthwise::packed_len(*c, *window),
        });
        match self {
            Form::Depthwise => ready.copy_from_slice(weight),
            Form::Dense(conv) => conv.pack(weight, &mut ready),
            Form::Quantized(conv, affines) => conv.pack(weight, affines, &mut ready),
            Form::QuantizedDepthwise(c, window, code) => {
                depthwise::pack(weight, *c, *window, *code, &mut ready)
            }
        }
        ready
    }
}

impl Prepared {
    pub(super) fn get(&self, conv: NodeId) -> Option<&Weights> {
        self.weights.get(&conv)
    }

    /// Prepares the weights that the plan's steps read and earlier calls have not prepared.
    pub(super) fn refresh(
        &mut self,
        graph: &Graph,
        plan: &Plan,
        codes: Option<&Codes>,
        params: &ParamStore,
    ) {
        if self.version != params.version() {
            self.weights.clear();
            self.version = params.version();
        }
        for step in &plan.steps {
            let Step::ConvNormAct { conv: id, norm, .. } = *step else {
                continue;
            };
            let form = Form::of(graph, plan, codes, id);
            let same = |w: &Weights| w.conv.packs_as(&form) && w.norm == norm;
            if !self.weights.get(&id).is_some_and(same) {
                self.weights
                    .insert(id, prepare(graph, params, id, form, norm));
            }
        }
    }
}

fn prepare(
    graph: &Graph,
    params: &ParamStore,
    id: NodeId,
    conv: Form,
    norm: Option<NodeId>,
) -> Weights {
    let node = graph.node(id);
    let mut weight = params.get(node.params[0]).to_vec();
    let mut bias = node.params.get(1).map(|bias| params.get(*bias).to_vec());
    if let Some(norm) = norm {
        bias = Some(fold(graph, params, norm, &mut weight, bias.as_deref()));
    }
    Weights {
        weight: conv.pack(&weight),
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
