//! The layout of a device's arena: parameters, their gradients, values saved by a forward pass, the plan's buffers and
//! the steps' scratch. It is determined by a plan alone, so that the memory of a batch is known before a device is
//! used.

use super::variants::Elements;
use crate::graph::{Graph, NodeId, Op};
use crate::plan::{Kind, Mode, Plan};
use crate::store::{Group, ParamMap};

/// Alignment of all regions in words: 256 bytes.
pub(super) const ALIGN: usize = 64;

/// Offsets in four-byte words from the arena's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// Values of the parameter groups, indexed by [`Group`].
    pub params: [usize; 3],
    /// Gradients of the trainable groups.
    pub grads: [usize; 2],
    /// The decayed weights (kernels and matrices) in the element type of feature maps; empty if that is f32.
    pub narrow: usize,
    /// For each batch norm: mean, variance, scale, shift.
    pub norms: Vec<usize>,
    /// Start and end of the norms' region.
    pub saved: (usize, usize),
    /// The 64-bit seed of a pass's random draws.
    pub seed: usize,
    /// Additional words that the engine keeps for all plans; directly after the seed.
    pub kept: usize,
    /// Destination of images: the network's input itself if that is f32.
    pub images: usize,
    /// Destination of the outputs' gradients, f32.
    pub output_grads: Vec<usize>,
    /// For each max pooling: the positions of the maxima, one `u32` per element.
    pub argmax: Vec<usize>,
    /// The plan's buffers.
    pub slots: Vec<usize>,
    /// Scratch of a single step.
    pub scratch: usize,
    /// Total length.
    pub len: usize,
}

impl MemoryMap {
    /// Everything except the scratch, whose length is only known after a pass over the plan.
    pub(super) fn without_scratch(graph: &Graph, map: &ParamMap, plan: &Plan, kept: usize) -> Self {
        let mut end = 0;
        let mut place = |len: usize| {
            let start = end;
            end += len.next_multiple_of(ALIGN);
            start
        };
        let params = Group::ALL.map(|g| place(map.len(g)));
        let grads = Group::TRAINABLE.map(|g| place(map.len(g)));
        let features = Elements::of(plan.precision).kind;
        let narrow = match features {
            Kind::F32 => 0,
            kind => kind.words(map.len(Group::Decayed)),
        };
        let narrow = place(narrow);
        let start = place(0);
        let norm = |op: &Op| matches!(op, Op::BatchNorm { .. });
        let norms: Vec<usize> = graph
            .nodes
            .iter()
            .map(|n| place(if norm(&n.op) { 4 * n.channels } else { 0 }))
            .collect();
        let saved = (start, place(0));
        let (seed, kept) = (place(2), place(kept));
        let own_images = features != Kind::F32;
        let mut images = place(if own_images { plan.shapes[0].len() } else { 0 });
        let grad = |id: &NodeId| plan.shapes[id.index()].len();
        let output_grads = match plan.mode {
            Mode::Train => plan.outputs.iter().map(|id| place(grad(id))).collect(),
            Mode::Infer | Mode::Sensitivity => Vec::new(),
        };
        let keeps = |op: &Op| plan.mode == Mode::Train && matches!(op, Op::MaxPool { .. });
        let argmax = graph
            .nodes
            .iter()
            .zip(&plan.shapes)
            .map(|(n, s)| place(if keeps(&n.op) { s.len() } else { 0 }))
            .collect();
        let slots: Vec<usize> = plan.slots.iter().map(|len| place(*len)).collect();
        if let Some(slot) = plan.values[0].filter(|_| !own_images) {
            images = slots[slot.index()];
        }
        let scratch = place(0);
        MemoryMap {
            params,
            grads,
            narrow,
            norms,
            saved,
            seed,
            kept,
            images,
            output_grads,
            argmax,
            slots,
            scratch,
            len: scratch,
        }
    }

    /// Total length in bytes.
    pub fn bytes(&self) -> u64 {
        4 * self.len as u64
    }
}
