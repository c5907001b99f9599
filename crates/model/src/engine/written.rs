//! Which gradients a backward pass has written.

use std::mem;

use kernels::Accumulate;

use crate::graph::NodeId;

/// A mark for every node's gradient: a value that several steps read gets a share of its gradient from each of them. The
/// first one replaces what the buffer held before, the others add.
#[derive(Debug)]
pub(super) struct Written(Vec<bool>);

impl Written {
    /// Of a graph with so many nodes, none of whose gradients is written.
    pub(super) fn new(nodes: usize) -> Self {
        Written(vec![false; nodes])
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.fill(false);
    }

    /// Whether a value has a gradient by now.
    pub(super) fn has(&self, id: NodeId) -> bool {
        self.0[id.index()]
    }

    /// What the next write to a value's gradient must do; from here on it counts as written.
    pub(super) fn mark(&mut self, id: NodeId) -> Accumulate {
        match mem::replace(&mut self.0[id.index()], true) {
            true => Accumulate::Add,
            false => Accumulate::Replace,
        }
    }
}
