//! The state of one pass over a plan: the addresses that a step reads and writes, and its launches.

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
    /// First node of the current step.
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

    /// Address of the weights in the element type of feature maps, if that is not f32.
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

    /// The norm whose statistics are computed by the product that makes a value: in training, for a dense convolution
    /// whose only reader is a norm.
    pub(super) fn norm_of_product(&self, product: NodeId) -> Option<NodeId> {
        self.plan.norms[product.index()]
    }

    /// Element type of a node's value and gradient.
    pub(super) fn kind(&self, id: NodeId) -> Kind {
        self.plan.kinds[id.index()]
    }

    /// Whether kernels can process this number of channels several at a time.
    pub(super) fn is_wide(&self, channels: usize) -> bool {
        channels.is_multiple_of(self.elements.wide)
    }

    /// The arena's address.
    pub(super) fn start(&self) -> Address {
        self.arena
    }

    /// Address of the seed of this pass's random draws.
    pub(super) fn seed(&self) -> Address {
        self.arena.plus(self.memory.seed)
    }

    /// The values that a node's step reads.
    pub(super) fn sources(&self, id: NodeId) -> &'a [Source] {
        &self.plan.sources[id.index()]
    }

    /// The same in the form that kernels take.
    pub(super) fn parts(&self, id: NodeId) -> Parts {
        Parts::new(self.sources(id).iter().map(|s| Part {
            data: self.value(s.node),
            channels: self.shape(s.node).c,
            doubled: s.doubled,
            add: false,
        }))
    }

    /// Whether kernels can read several channels at a time of all sources of a node's step.
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

    /// Address of a value's gradient, if one is needed, and whether to add to the existing one; marks it as written.
    pub(super) fn gradient_to_write(&mut self, id: NodeId) -> Option<(Address, bool)> {
        let to = self.grad_slot(id)?;
        Some((to, self.written.mark(id) == Accumulate::Add))
    }

    fn param_id(&self, id: NodeId, k: usize) -> Option<ParamId> {
        self.graph.node(id).params.get(k).copied()
    }

    /// Values of a node's `k`-th parameter, if it has one.
    pub(super) fn param(&self, id: NodeId, k: usize) -> Option<Address> {
        let (group, range) = self.map.place(self.param_id(id, k)?);
        Some(
            self.arena
                .plus(self.memory.params[group as usize] + range.start),
        )
    }

    /// A convolution's weights in the element type of feature maps.
    pub(super) fn weights(&self, id: NodeId) -> Option<Address> {
        if self.elements.kind == Kind::F32 {
            return self.param(id, 0);
        }
        let (_, range) = self.map.place(self.param_id(id, 0)?); // all kernels and matrices are in `Decayed`
        Some(
            self.arena
                .plus(self.memory.narrow)
                .plus_bytes(2 * range.start),
        )
    }

    /// The gradient of a node's `k`-th parameter, if it has one and it is trainable.
    pub(super) fn param_grad(&self, id: NodeId, k: usize) -> Option<Address> {
        let (group, range) = self.map.place(self.param_id(id, k)?);
        let start = self.memory.grads.get(group as usize)?;
        Some(self.arena.plus(start + range.start))
    }

    /// The values that a batch norm saves: mean, variance, scale, shift, one after another.
    pub(super) fn saved(&self, norm: NodeId) -> Address {
        self.arena.plus(self.memory.norms[norm.index()])
    }

    /// The positions of a max pooling's maxima.
    pub(super) fn argmax(&self, id: NodeId) -> Address {
        self.arena.plus(self.memory.argmax[id.index()])
    }

    /// Begins the step with this first node.
    pub(super) fn begin(&mut self, first: NodeId) {
        self.free_scratch();
        self.current = first;
    }

    /// Frees all scratch.
    pub(super) fn free_scratch(&mut self) {
        self.scratch_used = 0;
    }

    /// Reserves scratch for `len` f32 until the step ends.
    pub(super) fn scratch(&mut self, len: usize) -> Address {
        let start = self.scratch_used;
        self.scratch_used += len.next_multiple_of(64);
        self.scratch_peak = self.scratch_peak.max(self.scratch_used);
        self.arena.plus(self.memory.scratch + start)
    }

    /// The largest scratch that a step has requested so far.
    pub(super) fn scratch_peak(&self) -> usize {
        self.scratch_peak
    }

    /// The device, for launches that belong to no step.
    pub(super) fn driver(&mut self) -> &mut dyn Driver {
        self.driver
    }

    /// Launches the variant of a kernel for the elements of a node's value, with one thread per element or per group of
    /// elements.
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
        // A number of blocks beyond u32 is still rejected by the launch's own check.
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
