//! Where everything lies in a device's arena: parameters, their gradients, what a forward pass saves, the plan's buffers
//! and the steps' scratch. Made from a plan alone, so that the memory of a batch is known before a device is asked.

use super::variants::Elements;
use crate::graph::{Graph, NodeId, Op};
use crate::plan::{Kind, Mode, Plan};
use crate::store::{Group, ParamMap};

/// Places start at multiples of 256 bytes.
pub(super) const ALIGN: usize = 64;

/// Offsets in words of four bytes from the arena's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// Values of the groups of parameters, as [`Group`] numbers them.
    pub params: [usize; 3],
    /// Gradients of the trainable groups.
    pub grads: [usize; 2],
    /// The weights that decay, kernels and matrices, with the elements of feature maps; empty where these are f32.
    pub narrow: usize,
    /// Of each batch norm: mean, variance, scale, shift.
    pub norms: Vec<usize>,
    /// Where the norms' part starts and ends.
    pub saved: (usize, usize),
    /// The seed of a pass's draws, 64 bits.
    pub seed: usize,
    /// What the engine asked to be kept beside all plans; right behind the seed.
    pub kept: usize,
    /// Where images are copied to: the network's input itself where that is f32.
    pub images: usize,
    /// Where the outputs' gradients are copied to, f32.
    pub output_grads: Vec<usize>,
    /// Of each max pooling: where the maxima were found, one `u32` an element.
    pub argmax: Vec<usize>,
    /// The plan's buffers.
    pub slots: Vec<usize>,
    /// What one step needs beside them.
    pub scratch: usize,
    /// Length of the whole.
    pub len: usize,
}

impl MemoryMap {
    /// All but the scratch, whose length only a walk over the plan can tell.
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
            Mode::Infer => Vec::new(),
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

    /// Bytes of the whole.
    pub fn bytes(&self) -> u64 {
        4 * self.len as u64
    }
}
