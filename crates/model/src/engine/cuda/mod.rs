//! The CUDA engine: walks the same plan as the CPU engine and launches kernels of its own, one file an operation family.
//!
//! All device memory is one arena that [`layout::Layout`] divides from the plan alone: a batch that cannot fit is
//! refused before it starts. What a device must do is the small trait [`driver::Driver`]: the GPU is one, and the tests
//! bring another that runs the very same kernels on the host. Every sum is taken in an order that the shapes fix, so that
//! equal steps give equal bits.
//!
//! The weights are the host's: they go to the device when they have changed, and gradients come back.

pub mod driver;
pub mod kernels;
pub mod layout;
pub mod loss;
pub mod recipe;
pub mod step;
pub mod update;

mod check;
mod conv;
mod elementwise;
mod norm;
mod pass;
mod reduce;
mod shape_ops;

use std::collections::HashMap;
use std::sync::Arc;

use ::kernels::{Precision, batch_norm};

pub use self::check::check;
use self::driver::{Address, DeviceError, Driver, Gpu};
use self::layout::Layout;
use self::pass::Pass;
use super::{Engine, EngineError, Images, Value};
use crate::graph::{Graph, NodeId, Op};
use crate::plan::{Mode, Plan};
use crate::store::{Group, ParamMap, ParamStore};

/// Runs a graph on a GPU.
pub struct CudaEngine {
    graph: Arc<Graph>,
    map: Arc<ParamMap>,
    driver: Box<dyn Driver>,
    plans: HashMap<PlanKey, Arc<Planned>>,
    arena: Option<Arena>,
    /// Plan and seed of the training forward pass that a backward pass may follow.
    last: Option<(Arc<Planned>, u64)>,
}

type PlanKey = (Mode, usize, usize, usize, Vec<NodeId>);

struct Planned {
    plan: Plan,
    layout: Layout,
}

/// The device's memory, and which version of the weights it holds.
struct Arena {
    address: Address,
    len: usize,
    trainable: Option<u64>,
    buffers: Option<u64>,
}

impl CudaEngine {
    /// An engine on the first GPU.
    ///
    /// # Errors
    /// No driver, GPU or compiler on this machine, or a precision that is not there yet.
    pub fn new(graph: Arc<Graph>, precision: Precision) -> Result<Self, EngineError> {
        supports(precision)?;
        Ok(Self::with_driver(graph, Box::new(Gpu::new()?)))
    }

    /// An engine on any device.
    pub fn with_driver(graph: Arc<Graph>, driver: Box<dyn Driver>) -> Self {
        CudaEngine {
            map: Arc::new(ParamMap::new(&graph)),
            graph,
            driver,
            plans: HashMap::new(),
            arena: None,
            last: None,
        }
    }

    fn planned(
        &mut self,
        mode: Mode,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Arc<Planned>, EngineError> {
        x.check(&self.graph)?;
        let key = (mode, x.shape.n, x.shape.h, x.shape.w, outputs.to_vec());
        if let Some(planned) = self.plans.get(&key) {
            return Ok(planned.clone());
        }
        let planned = Arc::new(self.plan(mode, x, x.shape.n, outputs)?);
        self.plans.insert(key, planned.clone());
        Ok(planned)
    }

    /// Plan and layout for another number of such images.
    fn plan(
        &self,
        mode: Mode,
        x: Images<'_>,
        n: usize,
        outputs: &[NodeId],
    ) -> Result<Planned, EngineError> {
        let plan = Plan::new(&self.graph, mode, n, x.shape.h, x.shape.w, outputs)?;
        let layout = Layout::new(&self.graph, &self.map, &plan)?;
        Ok(Planned { plan, layout })
    }

    /// Makes the arena large enough, if the device can.
    fn fit(&mut self, planned: &Planned, x: Images<'_>) -> Result<(), EngineError> {
        if self
            .arena
            .as_ref()
            .is_some_and(|a| a.len >= planned.layout.len)
        {
            return Ok(());
        }
        let available = self.driver.available()?;
        if planned.layout.bytes() > available {
            return Err(EngineError::Memory {
                device: self.driver.name(),
                batch: x.shape.n,
                needed: mib(planned.layout.bytes()),
                available: mib(available),
                largest: self.largest_batch(planned, x, available),
            });
        }
        self.arena = None;
        let len = planned.layout.len;
        self.arena = Some(Arena {
            address: self.driver.allocate(len)?,
            len,
            trainable: None,
            buffers: None,
        });
        Ok(())
    }

    /// The largest batch of such images that fits; 0 if not even one does. Memory grows with the batch, up to what the
    /// plan's sharing of buffers happens to give, so the one found is tried and holds.
    fn largest_batch(&self, planned: &Planned, x: Images<'_>, available: u64) -> usize {
        let fits = |n: usize| {
            let plan = self.plan(planned.plan.mode, x, n, &planned.plan.outputs);
            plan.is_ok_and(|p| p.layout.bytes() <= available)
        };
        let (mut good, mut bad) = (0, x.shape.n);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if fits(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        good
    }

    /// Copies to the device what has changed since the last call: everything a training pass reads, and for inference
    /// the running statistics too.
    fn send_weights(
        &mut self,
        planned: &Planned,
        params: &ParamStore,
    ) -> Result<Address, EngineError> {
        let Some(arena) = &mut self.arena else {
            return Err(EngineError::NoForward);
        };
        let version = Some(params.version());
        let mut send = |group: Group| {
            let values = params.group(group);
            let to = arena.address.plus(planned.layout.params[group as usize]);
            if values.is_empty() {
                Ok(())
            } else {
                self.driver.upload(to, values)
            }
        };
        if arena.trainable != version {
            Group::TRAINABLE.into_iter().try_for_each(&mut send)?;
            arena.trainable = version;
        }
        if planned.plan.mode == Mode::Infer && arena.buffers != version {
            send(Group::Buffers)?;
            arena.buffers = version;
        }
        Ok(arena.address)
    }

    /// Runs all forward steps and copies the outputs out.
    fn run(
        &mut self,
        planned: &Planned,
        params: &ParamStore,
        x: Images<'_>,
        seed: u64,
    ) -> Result<Vec<Value>, EngineError> {
        self.fit(planned, x)?;
        let arena = self.send_weights(planned, params)?;
        let Planned { plan, layout } = planned;
        let mut pass = Pass::new(
            &self.graph,
            &self.map,
            plan,
            layout,
            arena,
            &mut *self.driver,
            seed,
        );
        pass.load(x.data)?;
        pass.forward_all()?;
        let places: Vec<_> = plan
            .outputs
            .iter()
            .map(|id| (pass.value(*id), pass.shape(*id)))
            .collect();
        let read = |(from, shape): (Address, ::kernels::Nhwc)| {
            let mut data = vec![0.0; shape.len()];
            self.driver.download(from, &mut data)?;
            Ok(Value { data, shape })
        };
        places.into_iter().map(read).collect()
    }

    /// Moves the running statistics of every norm in the plan towards the batch's, on the host.
    fn update_running(
        &mut self,
        planned: &Planned,
        params: &mut ParamStore,
    ) -> Result<(), EngineError> {
        let (start, end) = planned.layout.saved;
        let Some(arena) = self.arena.as_mut().filter(|_| end > start) else {
            return Ok(());
        };
        let mut saved = vec![0.0; end - start];
        self.driver
            .download(arena.address.plus(start), &mut saved)?;
        for id in planned.plan.steps.iter().map(|s| s.first()) {
            let node = self.graph.node(id);
            let Op::BatchNorm { momentum, .. } = node.op else {
                continue;
            };
            let statistics = &saved[planned.layout.norms[id.index()] - start..];
            let (mean, rest) = statistics.split_at(node.channels);
            let count = planned.plan.shapes[id.index()].pixels();
            let (running_mean, running_var) =
                params.get_pair_mut(node.params[norm::MEAN], node.params[norm::VAR]);
            batch_norm::update_running(
                running_mean,
                running_var,
                mean,
                &rest[..node.channels],
                count,
                momentum,
            );
        }
        arena.trainable = Some(params.version()); // only buffers have changed
        Ok(())
    }
}

impl Engine for CudaEngine {
    fn device(&self) -> &'static str {
        "cuda"
    }

    fn infer(
        &mut self,
        params: &ParamStore,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError> {
        self.last = None; // the arena is shared, so a pending backward pass is lost
        let planned = self.planned(Mode::Infer, x, outputs)?;
        self.run(&planned, params, x, 0)
    }

    fn forward(
        &mut self,
        params: &mut ParamStore,
        x: Images<'_>,
        seed: u64,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError> {
        self.last = None;
        let planned = self.planned(Mode::Train, x, outputs)?;
        let values = self.run(&planned, params, x, seed)?;
        self.update_running(&planned, params)?;
        self.last = Some((planned, seed));
        Ok(values)
    }

    fn backward(
        &mut self,
        params: &ParamStore,
        output_grads: &[Vec<f32>],
        grads: &mut ParamStore,
    ) -> Result<(), EngineError> {
        let (planned, seed) = self.last.take().ok_or(EngineError::NoForward)?;
        let arena = self.send_weights(&planned, params)?;
        let Planned { plan, layout } = &*planned;
        Pass::new(
            &self.graph,
            &self.map,
            plan,
            layout,
            arena,
            &mut *self.driver,
            seed,
        )
        .backward_all(output_grads)?;
        for (group, start) in Group::TRAINABLE.into_iter().zip(layout.grads) {
            let values = grads.group_mut(group);
            values.resize(self.map.len(group), 0.0);
            if !values.is_empty() {
                self.driver.download(arena.plus(start), values)?;
            }
        }
        Ok(())
    }
}

/// Whether the engine computes in a precision.
///
/// # Errors
/// All but f32, with what to do.
pub fn supports(precision: Precision) -> Result<(), DeviceError> {
    match precision {
        Precision::F32 => Ok(()),
        other => Err(DeviceError::Unsupported(format!(
            "the CUDA engine computes in f32 and has no {other} yet: use precision f32, or the device cpu"
        ))),
    }
}

/// Whole MiB, rounded up.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
