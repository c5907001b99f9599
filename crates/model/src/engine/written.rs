//! Record of the gradients that a backward pass has written.

use std::mem;

use kernels::Accumulate;

use crate::graph::NodeId;

/// A flag for every node's gradient: a value that several steps read gets a part of its gradient from each of them. The
/// first one replaces the contents of the buffer, the others add.
#[derive(Debug)]
pub(super) struct Written(Vec<bool>);

impl Written {
    /// Creates the record for a graph with `nodes` nodes, with no gradient written.
    pub(super) fn new(nodes: usize) -> Self {
        Written(vec![false; nodes])
    }

    /// Marks all gradients as not written.
    pub(super) fn clear(&mut self) {
        self.0.fill(false);
    }

    /// Whether a value's gradient has been written.
    pub(super) fn has(&self, id: NodeId) -> bool {
        self.0[id.index()]
    }

    /// How the next write to a value's gradient must accumulate; marks it as written.
    pub(super) fn mark(&mut self, id: NodeId) -> Accumulate {
        match mem::replace(&mut self.0[id.index()], true) {
            true => Accumulate::Add,
            false => Accumulate::Replace,
        }
    }
}
