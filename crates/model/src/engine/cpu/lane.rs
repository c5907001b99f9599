//! The memory of a pass: an engine has one, and another one for each further chunk that it trains at once.

use kernels::Buffer;

use super::buffers::Buffers;
use super::codes::Codes;
use super::narrow::Widened;
use super::pass::Pass;
use super::prepared::Prepared;
use super::saved::Saved;
use crate::graph::Graph;
use crate::plan::Plan;
use crate::store::ParamStore;

/// The memory of a pass.
pub(super) struct Lane {
    pub(super) buffers: Buffers,
    pub(super) saved: Saved,
    widened: Widened,
    scratch: Buffer,
}

impl Lane {
    pub(super) fn new(graph: &Graph) -> Self {
        Lane {
            buffers: Buffers::default(),
            saved: Saved::new(graph),
            widened: Widened::default(),
            scratch: Buffer::default(),
        }
    }

    /// A pass in this memory.
    pub(super) fn pass<'a>(
        &'a mut self,
        (graph, plan, params): (&'a Graph, &'a Plan, &'a ParamStore),
        (prepared, codes): (&'a Prepared, Option<&'a Codes>),
        seed: u64,
    ) -> Pass<'a> {
        Pass {
            graph,
            plan,
            params,
            grads: None,
            watched: None,
            buffers: &mut self.buffers,
            saved: &mut self.saved,
            prepared,
            codes,
            widened: &mut self.widened,
            scratch: &mut self.scratch,
            seed,
        }
    }
}
