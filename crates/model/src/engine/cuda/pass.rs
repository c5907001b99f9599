//! One pass over a plan: what a step can see, and which file launches which operation. The same walk as the CPU engine's,
//! with addresses in place of slices.

use std::mem;

use kernels::Nhwc;

use super::driver::{Address, Arg, DeviceError, Driver, Launch};
use super::layout::Layout;
use super::variants::{Elements, Variants};
use super::{conv, depthwise, elementwise, norm, shape_ops, update};
use crate::graph::{Graph, NodeId, Op, ParamId};
use crate::plan::{Kind, Plan, Source, Step};
use crate::store::{Group, ParamMap};

pub(super) type Done = Result<(), DeviceError>;

/// The state of one pass.
pub(super) struct Pass<'a> {
    pub(super) graph: &'a Graph,
    pub(super) map: &'a ParamMap,
    pub(super) plan: &'a Plan,
    pub(super) layout: &'a Layout,
    pub(super) elements: Elements,
    arena: Address,
    driver: &'a mut dyn Driver,
    /// Whether a value's gradient has been written in this backward pass (else the next write replaces).
    written: Vec<bool>,
    scratch_used: usize,
    scratch_peak: usize,
    /// The step that is run.
    current: NodeId,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        map: &'a ParamMap,
        plan: &'a Plan,
        layout: &'a Layout,
        arena: Address,
        driver: &'a mut dyn Driver,
    ) -> Self {
        Pass {
            graph,
            map,
            plan,
            layout,
            elements: Elements::of(plan.precision),
            arena,
            driver,
            written: vec![false; graph.nodes.len()],
            scratch_used: 0,
            scratch_peak: 0,
            current: NodeId::INPUT,
        }
    }

    /// What inference makes of the weights once: the factors of folded norms.
    pub(super) fn fold_norms(&mut self) -> Done {
        let plan = self.plan;
        for step in &plan.steps {
            match *step {
                Step::ConvNormAct {
                    conv,
                    norm: Some(norm),
                    ..
                } => norm::fold(self, norm, Some(conv))?,
                Step::NormAct { norm, .. } => norm::fold(self, norm, None)?,
                Step::Single(id) if matches!(self.graph.node(id).op, Op::BatchNorm { .. }) => {
                    norm::fold(self, id, None)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The weights with the elements of feature maps, where these are not f32.
    pub(super) fn narrow_weights(&mut self) -> Done {
        let (from, len) = (self.layout.params[0], self.map.len(Group::Decayed));
        match self.narrow() {
            Some(to) if len > 0 => {
                update::weights_to_bf16(self.driver, self.arena.plus(from), to, len)
            }
            _ => Ok(()),
        }
    }

    /// Where they lie.
    pub(super) fn narrow(&self) -> Option<Address> {
        let narrow = self.elements.kind != Kind::F32;
        narrow.then(|| self.arena.plus(self.layout.narrow))
    }

    /// Runs all steps forward on the images that were copied to [`Layout::images`].
    pub(super) fn forward_all(&mut self) -> Done {
        if self.elements.kind != Kind::F32 {
            let (images, input) = (
                self.arena.plus(self.layout.images),
                self.value(NodeId::INPUT),
            );
            elementwise::from_f32(self, images, input, self.shape(NodeId::INPUT).len())?;
        }
        let plan = self.plan;
        for step in &plan.steps {
            self.scratch_used = 0;
            self.current = step.first();
            match *step {
                Step::Single(id) => self.forward_node(id)?,
                Step::NormAct { norm, act } => norm::forward(self, norm, Some(act))?,
                Step::ConvNormAct { conv, norm, act } => conv::forward(self, conv, norm, act)?,
            }
        }
        Ok(())
    }

    fn forward_node(&mut self, id: NodeId) -> Done {
        match self.graph.node(id).op {
            Op::Input { .. } => Ok(()),
            Op::Conv2d { .. } | Op::Depthwise { .. } => conv::forward(self, id, None, None),
            Op::Linear { .. } => conv::forward(self, id, None, None),
            Op::ConvTranspose2x2 { .. } => conv::forward_transposed(self, id),
            Op::BatchNorm { .. } => norm::forward(self, id, None),
            Op::Activation { kind } => elementwise::forward_activation(self, id, kind),
            Op::Add => elementwise::forward_add(self, id),
            Op::Mean => elementwise::forward_mean(self, id),
            Op::ScaleChannels => elementwise::forward_scale(self, id),
            Op::DropPath { rate } => elementwise::forward_drop_path(self, id, rate),
            Op::Dropout { rate } => elementwise::forward_dropout(self, id, rate),
            Op::MaxPool { window } => shape_ops::forward_max_pool(self, id, window),
            Op::GlobalAvgPool => shape_ops::forward_global_avg_pool(self, id),
            Op::Upsample2x { mode } => shape_ops::forward_upsample(self, id, mode),
            Op::Concat => shape_ops::forward_concat(self, id),
            Op::Crop { margin } => shape_ops::forward_crop(self, id, margin),
        }
    }

    /// Runs all steps backward from the outputs' gradients, which were copied to [`Layout::output_grads`]; those of
    /// parameters that no step reaches are zero.
    pub(super) fn backward_all(&mut self) -> Done {
        self.clear_gradients()?;
        let (plan, layout) = (self.plan, self.layout);
        for (id, from) in plan.outputs.iter().zip(&layout.output_grads) {
            self.load_gradient(*id, self.arena.plus(*from))?;
        }
        for step in plan.steps.iter().rev() {
            if self.written[step.last().index()] {
                self.scratch_used = 0;
                self.current = step.first();
                self.backward(step)?;
            }
        }
        Ok(())
    }

    fn clear_gradients(&mut self) -> Done {
        for (group, start) in Group::TRAINABLE.into_iter().zip(self.layout.grads) {
            let len = self.map.len(group);
            if len > 0 {
                let to = self.arena.plus(start);
                self.launch_elements("fill", len, &[to.into(), len.into(), 0f32.into()])?;
            }
        }
        Ok(())
    }

    /// Takes an output's gradient in; a value that was asked for twice has the sum of both.
    fn load_gradient(&mut self, id: NodeId, from: Address) -> Done {
        let Some((to, add)) = self.gradient_to_write(id) else {
            return Ok(());
        };
        self.scratch_used = 0;
        let mut from = from;
        if self.kind(id) != Kind::F32 {
            let len = self.shape(id).len();
            let copy = self.scratch(self.kind(id).words(len));
            elementwise::from_f32(self, from, copy, len)?;
            from = copy;
        }
        elementwise::scaled_copy(self, id, from, to, 1.0, add)
    }

    fn backward(&mut self, step: &Step) -> Done {
        match *step {
            Step::Single(id) => self.backward_node(id),
            Step::NormAct { norm, act } => norm::backward(self, norm, Some(act)),
            Step::ConvNormAct { .. } => unreachable!("training plans do not fold convolutions"),
        }
    }

    fn backward_node(&mut self, id: NodeId) -> Done {
        match self.graph.node(id).op {
            Op::Input { .. } => Ok(()),
            Op::Conv2d { .. } | Op::Linear { .. } => conv::backward_dense(self, id),
            Op::Depthwise { window } => depthwise::backward(self, id, window),
            Op::ConvTranspose2x2 { .. } => conv::backward_transposed(self, id),
            Op::BatchNorm { .. } => norm::backward(self, id, None),
            Op::Activation { kind } => elementwise::backward_activation(self, id, kind),
            Op::Add => elementwise::backward_add(self, id),
            Op::Mean => elementwise::backward_mean(self, id),
            Op::ScaleChannels => elementwise::backward_scale(self, id),
            Op::DropPath { rate } => elementwise::backward_drop_path(self, id, rate),
            Op::Dropout { rate } => elementwise::backward_dropout(self, id, rate),
            Op::MaxPool { window } => shape_ops::backward_max_pool(self, id, window),
            Op::GlobalAvgPool => shape_ops::backward_global_avg_pool(self, id),
            Op::Upsample2x { mode } => shape_ops::backward_upsample(self, id, mode),
            Op::Concat => shape_ops::backward_concat(self, id),
            Op::Crop { margin } => shape_ops::backward_crop(self, id, margin),
        }
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
        self.arena.plus(self.layout.seed)
    }

    /// What a node's step reads.
    pub(super) fn sources(&self, id: NodeId) -> &'a [Source] {
        &self.plan.sources[id.index()]
    }

    /// A node's value. The plan has a buffer for every value that a step reads or writes.
    pub(super) fn value(&self, id: NodeId) -> Address {
        match self.plan.values[id.index()] {
            Some(slot) => self.arena.plus(self.layout.slots[slot.index()]),
            None => Address::NULL,
        }
    }

    /// The gradient of a node's value, complete once its step runs backward.
    pub(super) fn grad(&self, id: NodeId) -> Address {
        self.grad_slot(id).unwrap_or(Address::NULL)
    }

    fn grad_slot(&self, id: NodeId) -> Option<Address> {
        let slot = self.plan.grads[id.index()]?;
        Some(self.arena.plus(self.layout.slots[slot.index()]))
    }

    /// Where a value's gradient goes, if one is wanted, and whether it adds to what came before; counts as written.
    pub(super) fn gradient_to_write(&mut self, id: NodeId) -> Option<(Address, bool)> {
        let to = self.grad_slot(id)?;
        Some((to, mem::replace(&mut self.written[id.index()], true)))
    }

    fn param_id(&self, id: NodeId, k: usize) -> Option<ParamId> {
        self.graph.node(id).params.get(k).copied()
    }

    /// Values of a node's `k`-th parameter, if it has so many.
    pub(super) fn param(&self, id: NodeId, k: usize) -> Option<Address> {
        let (group, range) = self.map.place(self.param_id(id, k)?);
        Some(
            self.arena
                .plus(self.layout.params[group as usize] + range.start),
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
                .plus(self.layout.narrow)
                .plus_bytes(2 * range.start),
        )
    }

    /// The gradient of a node's `k`-th parameter, if it has so many and this one trains.
    pub(super) fn param_grad(&self, id: NodeId, k: usize) -> Option<Address> {
        let (group, range) = self.map.place(self.param_id(id, k)?);
        let start = self.layout.grads.get(group as usize)?;
        Some(self.arena.plus(start + range.start))
    }

    /// What a batch norm saves: mean, variance, scale, shift, one after the other.
    pub(super) fn saved(&self, norm: NodeId) -> Address {
        self.arena.plus(self.layout.norms[norm.index()])
    }

    /// Where a max pooling found its maxima.
    pub(super) fn argmax(&self, id: NodeId) -> Address {
        self.arena.plus(self.layout.argmax[id.index()])
    }

    /// Room for `len` f32 until the step ends.
    pub(super) fn scratch(&mut self, len: usize) -> Address {
        let start = self.scratch_used;
        self.scratch_used += len.next_multiple_of(64);
        self.scratch_peak = self.scratch_peak.max(self.scratch_used);
        self.arena.plus(self.layout.scratch + start)
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
