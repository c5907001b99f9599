//! Lifetimes of values and gradients, and the buffers that they share.

use super::{Mode, Source, Step, keeps_input};
use crate::graph::{Graph, NodeId};

/// A buffer that values and gradients use at different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

impl SlotId {
    /// Position in [`Plan::slots`](super::Plan::slots).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The lifetime of a tensor of `len` words: from `start` to `end`, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Time of the first write.
    pub start: usize,
    /// Time of the last read.
    pub end: usize,
    /// Length in four-byte words.
    pub len: usize,
}

/// Buffers of values and gradients, indexed by node.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Buffer of each value.
    pub values: Vec<Option<SlotId>>,
    /// Buffer of each gradient.
    pub grads: Vec<Option<SlotId>>,
    /// Length of each buffer.
    pub slots: Vec<usize>,
}

/// Where gradients flow in a backward pass.
pub(super) struct Flow<'a> {
    /// Whether a value's gradient is needed, indexed by node.
    pub(super) needed: &'a [bool],
    /// The outputs whose gradients are loaded before the pass.
    pub(super) loaded: &'a [NodeId],
    /// The values whose gradients are read after the pass.
    pub(super) read: &'a [NodeId],
}

pub(super) fn plan(
    graph: &Graph,
    mode: Mode,
    steps: &[Step],
    sources: &[Vec<Source>],
    flow: &Flow<'_>,
    words: &[usize],
    outputs: &[NodeId],
) -> Memory {
    let lifetimes = Lifetimes::new(graph, mode, steps, sources, flow, outputs);
    let n = graph.nodes.len();
    let interval = |i: usize, life: Option<(usize, usize)>| {
        life.map(|(start, end)| Interval {
            start,
            end,
            len: words[i % n],
        })
    };
    let tensors: Vec<Option<Interval>> = lifetimes
        .values
        .iter()
        .chain(&lifetimes.grads)
        .enumerate()
        .map(|(i, life)| interval(i, *life))
        .collect();
    let (mut places, slots) = assign(&tensors);
    let grads = places.split_off(n);
    Memory {
        values: places,
        grads,
        slots,
    }
}

/// Assigns a buffer to every tensor such that no two live ones share it. Greedy in order of start: takes the free
/// buffer that fits most tightly, or if none fits, enlarges the largest free one. Optimal for equal sizes, close to the
/// peak for networks.
pub fn assign(tensors: &[Option<Interval>]) -> (Vec<Option<SlotId>>, Vec<usize>) {
    let mut order: Vec<(usize, Interval)> = tensors
        .iter()
        .enumerate()
        .filter_map(|(i, t)| Some((i, (*t)?)))
        .collect();
    order.sort_by_key(|(i, t)| (t.start, std::cmp::Reverse(t.len), *i));
    let mut places = vec![None; tensors.len()];
    let mut slots: Vec<usize> = Vec::new();
    let mut busy_until: Vec<usize> = Vec::new();
    for (i, t) in order {
        let free = (0..slots.len()).filter(|s| busy_until[*s] < t.start);
        let slot = free
            .min_by_key(|s| (slots[*s] < t.len, slots[*s].abs_diff(t.len), *s))
            .unwrap_or_else(|| {
                slots.push(0);
                busy_until.push(0);
                slots.len() - 1
            });
        slots[slot] = slots[slot].max(t.len);
        busy_until[slot] = t.end;
        places[i] = Some(SlotId(slot as u32));
    }
    (places, slots)
}

/// First and last time of every value and gradient; `None` if there is none.
struct Lifetimes {
    values: Vec<Option<(usize, usize)>>,
    grads: Vec<Option<(usize, usize)>>,
}

impl Lifetimes {
    fn new(
        graph: &Graph,
        mode: Mode,
        steps: &[Step],
        sources: &[Vec<Source>],
        flow: &Flow<'_>,
        outputs: &[NodeId],
    ) -> Self {
        let n = graph.nodes.len();
        let mut lives = Lifetimes {
            values: vec![None; n],
            grads: vec![None; n],
        };
        touch(&mut lives.values[0], 0); // the images are copied in before the first step
        for (i, step) in steps.iter().enumerate() {
            lives.forward(sources, i + 1, step);
        }
        let turn = steps.len() + 1;
        for id in outputs {
            touch(&mut lives.values[id.index()], turn);
        }
        if mode != Mode::Infer {
            for id in flow.loaded.iter().filter(|id| flow.needed[id.index()]) {
                touch(&mut lives.grads[id.index()], turn);
            }
            for (i, step) in steps.iter().enumerate().rev() {
                let time = 2 * turn - (i + 1);
                lives.backward(graph, mode, sources, time, step, flow.needed);
            }
            for id in flow.read {
                touch(&mut lives.grads[id.index()], 2 * turn);
            }
        }
        lives
    }

    fn forward(&mut self, sources: &[Vec<Source>], time: usize, step: &Step) {
        for source in &sources[step.first().index()] {
            touch(&mut self.values[source.node.index()], time);
        }
        touch(&mut self.values[step.last().index()], time);
    }

    fn backward(
        &mut self,
        graph: &Graph,
        mode: Mode,
        sources: &[Vec<Source>],
        time: usize,
        step: &Step,
        needed: &[bool],
    ) {
        let (first, last) = (graph.node(step.first()), step.last());
        if !needed[last.index()] {
            return;
        }
        touch(&mut self.grads[last.index()], time);
        for Source { node: input, .. } in &sources[step.first().index()] {
            if keeps_input(&first.op, mode) {
                touch(&mut self.values[input.index()], time);
            }
            if needed[input.index()] {
                touch(&mut self.grads[input.index()], time);
            }
        }
    }
}

fn touch(life: &mut Option<(usize, usize)>, time: usize) {
    *life = match *life {
        Some((start, end)) => Some((start.min(time), end.max(time))),
        None => Some((time, time)),
    };
}

/// Whether a value depends on a trainable parameter of a node that is not frozen, so that a gradient must flow to it.
pub(super) fn reaches_parameters(graph: &Graph, frozen: &[bool]) -> Vec<bool> {
    let trainable = |id: NodeId| {
        let mut params = graph.node(id).params.iter();
        params.any(|p| graph.param(*p).role.trainable())
    };
    reaches(graph, |id| trainable(id) && !frozen[id.index()])
}

/// Whether a value is that of a node with a property or depends on one, indexed by node.
pub(super) fn reaches(graph: &Graph, has: impl Fn(NodeId) -> bool) -> Vec<bool> {
    let mut reaches = vec![false; graph.nodes.len()];
    for id in graph.ids() {
        let mut inputs = graph.node(id).inputs.iter();
        reaches[id.index()] = has(id) || inputs.any(|i| reaches[i.index()]);
    }
    reaches
}
