//! The state of one pass over a plan: where a step finds what it reads and writes, and how it launches.

use kernels::{Accumulate, Nhwc};

use super::driver::{Address, Arg, DeviceError, Driver, Launch, Part, Parts};
use super::memory_map::MemoryMap;
use super::variants::{Elements, Variants};
use crate::engine::operations::Fallible;
use crate::engine::written::Written;
use crate::graph::{Graph, NodeId, ParamId};
use crate::plan::{Kind, Plan, Source};
use crate::store::ParamMap;

pub(super) type Done = Result<(), DeviceError>;

/// The state of one pass.
pub(super) struct Pass<'a> {
    pub(super) graph: &'a Graph,
    pub(super) map: &'a ParamMap,
    pub(super) plan: &'a Plan,
    pub(super) memory: &'a MemoryMap,
    pub(super) elements: Elements,
    arena: Address,
    driver: &'a mut dyn Driver,
    /// Which gradients the backward pass has written.
    pub(super) written: Written,
    scratch_used: usize,
    scratch_peak: usize,
    /// The step that is run.
    current: NodeId,
}

impl Fallible for Pass<'_> {
    type Error = DeviceError;
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        map: &'a ParamMap,
        plan: &'a Plan,
        memory: &'a MemoryMap,
        arena: Address,
        driver: &'a mut dyn Driver,
    ) -> Self {
        Pass {
            graph,
            map,
            plan,
            memory,
            elements: Elements::of(plan.precision),
            arena,
            driver,
            written: Written::new(graph.nodes.len()),
            scratch_used: 0,
            scratch_peak: 0,
            current: NodeId::INPUT,
        }
    }

    /// Where the weights lie with the elements of feature maps, where these are not f32.
    pub(super) fn narrow(&self) -> Option<Address> {
        let narrow = self.elements.kind != Kind::F32;
        narrow.then(|| self.arena.plus(self.memory.narrow))
    }

    /// A node's `k`-th input.
    pub(super) fn input(&self, id: NodeId, k: usize) -> NodeId {
        self.graph.node(id).inputs[k]
    }

    /// Shape of a node's value.
    pub(super) fn shape(&self, id: NodeId) -> Nhwc {
        self.plan.shapes[id.index()]
    }

    /// The norm that takes its statistics from the product which makes a value: in training, of a dense convolution that a
    /// norm alone reads.
    pub(super) fn norm_of_product(&self, product: NodeId) -> Option<NodeId> {
        self.plan.norms[product.index()]
    }

    /// How a node's value and gradient lie in memory.
    pub(super) fn kind(&self, id: NodeId) -> Kind {
        self.plan.kinds[id.index()]
    }

    /// Whether kernels can take so many channels several at a time.
    pub(super) fn is_wide(&self, channels: usize) -> bool {
        channels.is_multiple_of(self.elements.wide)
    }

    /// The arena's address.
    pub(super) fn start(&self) -> Address {
        self.arena
    }

    /// Where the seed of this pass's draws lies.
    pub(super) fn seed(&self) -> Address {
        self.arena.plus(self.memory.seed)
    }

    /// What a node's step reads.
    pub(super) fn sources(&self, id: NodeId) -> &'a [Source] {
        &self.plan.sources[id.index()]
    }

    /// The same as kernels take it.
    pub(super) fn parts(&self, id: NodeId) -> Parts {
        Parts::new(self.sources(id).iter().map(|s| Part {
            data: self.value(s.node),
            channels: self.shape(s.node).c,
            doubled: s.doubled,
            add: false,
        }))
    }

    /// Whether kernels can take several channels at a time of everything that a node's step reads.
    pub(super) fn reads_wide(&self, id: NodeId) -> bool {
        let mut sources = self.sources(id).iter();
        sources.all(|s| self.is_wide(self.shape(s.node).c))
    }

    /// A node's value. The plan has a buffer for every value that a step reads or writes.
    pub(super) fn value(&self, id: NodeId) -> Address {
        match self.plan.values[id.index()] {
            Some(slot) => self.arena.plus(self.memory.slots[slot.index()]),
            None => Address::NULL,
        }
    }

    /// The gradient of a node's value, complete once its step runs backward.
    pub(super) fn grad(&self, id: NodeId) -> Address {
        self.grad_slot(id).unwrap_or(Address::NULL)
    }

    fn grad_slot(&self, id: NodeId) -> Option<Address> {
        let slot = self.plan.grads[id.index()]?;
        Some(self.arena.plus(self.memory.slots[slot.index()]))
    }

    /// Where a value's gradient goes, if one is wanted, and whether it adds to what came before; counts as written.
    pub(super) fn gradient_to_write(&mut self, id: NodeId) -> Option<(Address, bool)> {
        let to = self.grad_slot(id)?;
        Some((to, self.written.mark(id) == Accumulate::Add))
    }

    fn param_id(&self, id: NodeId, k: usize) -> Option<ParamId> {
        self.graph.node(id).params.get(k).copied()
    }

    /// Values of a node's `k`-th parameter, if it has so many.
    pub(super) fn param(&self, id: NodeId, k: usize) -> Option<Address> {
        let (group, range) = self.map.place(self.param_id(id, k)?);
        Some(
            self.arena
                .plus(self.memory.params[group as usize] + range.start),
        )
    }

    /// A convolution's weights with the elements of feature maps.
    pub(super) fn weights(&self, id: NodeId) -> Option<Address> {
        if self.elements.kind == Kind::F32 {
            return self.param(id, 0);
        }
        let (_, range) = self.map.place(self.param_id(id, 0)?); // of the group that decays, as all kernels and matrices
        Some(
            self.arena
                .plus(self.memory.narrow)
                .plus_bytes(2 * range.start),
        )
    }

    /// The gradient of a node's `k`-th parameter, if it has so many and this one trains.
    pub(super) fn param_grad(&self, id: NodeId, k: usize) -> Option<Address> {
        let (group, range) = self.map.place(self.param_id(id, k)?);
        let start = self.memory.grads.get(group as usize)?;
        Some(self.arena.plus(start + range.start))
    }

    /// What a batch norm saves: mean, variance, scale, shift, one after the other.
    pub(super) fn saved(&self, norm: NodeId) -> Address {
        self.arena.plus(self.memory.norms[norm.index()])
    }

    /// Where a max pooling found its maxima.
    pub(super) fn argmax(&self, id: NodeId) -> Address {
        self.arena.plus(self.memory.argmax[id.index()])
    }

    /// A step begins, whose first node is given.
    pub(super) fn begin(&mut self, first: NodeId) {
        self.free_scratch();
        self.current = first;
    }

    /// The scratch is free again.
    pub(super) fn free_scratch(&mut self) {
        self.scratch_used = 0;
    }

    /// Room for `len` f32 until the step ends.
    pub(super) fn scratch(&mut self, len: usize) -> Address {
        let start = self.scratch_used;
        self.scratch_used += len.next_multiple_of(64);
        self.scratch_peak = self.scratch_peak.max(self.scratch_used);
        self.arena.plus(self.memory.scratch + start)
    }

    /// The most scratch that a step has asked for so far.
    pub(super) fn scratch_peak(&self) -> usize {
        self.scratch_peak
    }

    /// The device, for launches that are no step's.
    pub(super) fn driver(&mut self) -> &mut dyn Driver {
        self.driver
    }

    /// Launches the kernel that suits the elements of a node's value, with a thread for each of the elements or of the
    /// groups of them that one takes.
    pub(super) fn launch_like(&mut self, names: Variants, id: NodeId, args: &[Arg]) -> Done {
        let shape = self.shape(id);
        let (kernel, width) = self.elements.choose(names, self.kind(id), shape.c);
        self.launch_elements(kernel, shape.len() / width, args)
    }

    /// Launches a kernel with `threads` threads.
    pub(super) fn launch_elements(
        &mut self,
        kernel: &'static str,
        threads: usize,
        args: &[Arg],
    ) -> Done {
        let blocks = threads.div_ceil(Launch::THREADS as usize);
        self.launch(kernel, [blocks, 1, 1], [Launch::THREADS, 1], args)
    }

    /// Launches a kernel.
    pub(super) fn launch(
        &mut self,
        kernel: &'static str,
        grid: [usize; 3],
        block: [u32; 2],
        args: &[Arg],
    ) -> Done {
        // Too many blocks stay too many, and the launch's own check says so.
        let grid = grid.map(|blocks| u32::try_from(blocks).unwrap_or(u32::MAX));
        self.driver.launch(&Launch {
            kernel,
            grid,
            block,
            args,
            node: self.current,
        })
    }
}
