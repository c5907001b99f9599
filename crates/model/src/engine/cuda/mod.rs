//! The CUDA engine: executes the same plan as the CPU engine with its own kernels; one file per operation family.
//!
//! All device memory is one arena, which [`memory_map::MemoryMap`] lays out from the plan alone: a batch that does not
//! fit is rejected before it starts. The interface of a device is the small trait [`driver::Driver`]: the GPU
//! implements it, and the tests provide another implementation that runs the same kernels on the host. Every sum is
//! computed in an order determined by the shapes, so that equal steps give bit-identical results.
//!
//! The launches of a pass depend on its plan alone. The second time that a plan runs, they are recorded, and from then
//! on replayed as one (a CUDA graph): everything that differs between passes (images, weights, seed) is in memory.
//!
//! The weights are owned by the host: they are copied to the device when they have changed, and gradients are copied
//! back.

pub mod driver;
pub mod kernels;
pub mod loss;
pub mod memory_map;
pub mod step;
pub mod update;

mod check;
mod conv;
mod conv3x3;
mod conv_few;
mod depthwise;
mod elementwise;
mod epilogue;
mod linear;
mod measure;
mod norm;
mod pass;
mod reduce;
mod region_pool;
mod resident;
mod run;
mod session;
mod shape_ops;
mod variants;

use std::collections::HashMap;
use std::sync::Arc;

use half::bf16;

use ::kernels::{Nhwc, Precision};

pub use self::check::check;
use self::driver::{Address, DeviceError, Driver, Dry, Gpu, Recording};
use self::memory_map::MemoryMap;
use self::pass::Pass;
use self::session::Session;
use self::variants::Elements;
use super::{Engine, EngineError, Images, Resident, Value, Watch};
use crate::graph::{Graph, NodeId};
use crate::plan::{Kind, Mode, Plan};
use crate::store::{Group, ParamMap, ParamStore};

/// Runs a graph on a GPU.
pub struct CudaEngine {
    graph: Arc<Graph>,
    map: Arc<ParamMap>,
    driver: Box<dyn Driver>,
    precision: Precision,
    plans: HashMap<PlanKey, Arc<Planned>>,
    arena: Option<Arena>,
    /// Plan of the last training forward pass, for the backward pass that may follow.
    last: Option<Arc<Planned>>,
    /// Training resident on the device.
    session: Option<Session>,
    /// Words that it needs in the arena in addition to the plans.
    kept: usize,
    /// Number of plans made so far.
    made: usize,
    /// Whether training leaves the encoder as it is.
    frozen_encoder: bool,
}

type PlanKey = (Mode, usize, usize, usize, Vec<NodeId>);

struct Planned {
    /// Distinguishes the plans of one engine.
    number: usize,
    plan: Plan,
    memory: MemoryMap,
}

/// The device's memory, and its contents.
struct Arena {
    address: Address,
    len: usize,
    /// Versions of the weights and of the running statistics.
    trainable: Option<u64>,
    buffers: Option<u64>,
    /// The plan whose norms are folded, and the version of the weights used.
    folded: Option<(usize, u64)>,
    /// Recorded launches, by plan and part.
    recordings: HashMap<(usize, Part), Recorded>,
}

/// A part of a pass with a fixed sequence of launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Forward,
    Backward,
    /// Both, with the losses between them and the update after them.
    Step,
}

/// State of a part's recording.
#[derive(Clone, Copy, Debug)]
enum Recorded {
    /// It ran once, launch by launch: recording is not worthwhile for a plan that runs only once.
    Once,
    /// It can be replayed.
    Kept(Recording),
}

impl CudaEngine {
    /// Creates an engine on the first GPU.
    ///
    /// # Errors
    /// No driver, GPU or compiler on this machine, or a GPU that does not support the precision.
    pub fn new(graph: Arc<Graph>, precision: Precision) -> Result<Self, EngineError> {
        Ok(Self::with_driver(
            graph,
            precision,
            Box::new(Gpu::new(precision)?),
        ))
    }

    /// Creates an engine on any device whose kernels are of this precision.
    pub fn with_driver(graph: Arc<Graph>, precision: Precision, driver: Box<dyn Driver>) -> Self {
        CudaEngine {
            map: Arc::new(ParamMap::new(&graph)),
            graph,
            driver,
            precision,
            plans: HashMap::new(),
            arena: None,
            last: None,
            session: None,
            kept: 0,
            made: 0,
            frozen_encoder: false,
        }
    }

    /// Keeps `words` in the arena in addition to what the plans need.
    fn keep(&mut self, words: usize) {
        if words != self.kept {
            self.kept = words;
            self.plans.clear();
            self.arena = None;
        }
    }

    fn planned(
        &mut self,
        mode: Mode,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Arc<Planned>, EngineError> {
        x.check(&self.graph)?;
        if self.session.is_some() {
            let why = "the GPU is training: the training must end before the engine can be used for anything else";
            return Err(DeviceError::Unsupported(why.into()).into());
        }
        self.planned_for(mode, x.shape, outputs)
    }

    fn planned_for(
        &mut self,
        mode: Mode,
        images: Nhwc,
        outputs: &[NodeId],
    ) -> Result<Arc<Planned>, EngineError> {
        let key = (mode, images.n, images.h, images.w, outputs.to_vec());
        if let Some(planned) = self.plans.get(&key) {
            return Ok(planned.clone());
        }
        let planned = Arc::new(self.plan(mode, images, outputs)?);
        self.made += 1;
        self.plans.insert(key, planned.clone());
        Ok(planned)
    }

    /// Plan and memory for images of a shape.
    fn plan(&self, mode: Mode, images: Nhwc, outputs: &[NodeId]) -> Result<Planned, EngineError> {
        let features = Elements::of(self.precision).kind;
        let batch = (images.n, images.h, images.w);
        let frozen = self.frozen_encoder;
        let plan = Plan::with_frozen(&self.graph, features, mode, batch, outputs, frozen)?;
        let plan = plan.with_precision(self.precision);
        let memory = MemoryMap::new(&self.graph, &self.map, &plan, self.kept)?;
        Ok(Planned {
            number: self.made,
            plan,
            memory,
        })
    }

    /// Makes the arena large enough, if the device has the memory.
    fn fit(&mut self, planned: &Planned, images: Nhwc) -> Result<(), EngineError> {
        if self
            .arena
            .as_ref()
            .is_some_and(|a| a.len >= planned.memory.len)
        {
            return Ok(());
        }
        let available = self.driver.available()?;
        if planned.memory.bytes() > available {
            return Err(EngineError::Memory {
                device: self.driver.name(),
                batch: images.n,
                needed: mib(planned.memory.bytes()),
                available: mib(available),
                largest: self.largest_batch(planned, images, available),
            });
        }
        self.arena = None;
        let len = planned.memory.len;
        self.arena = Some(Arena {
            address: self.driver.allocate(len)?,
            len,
            trainable: None,
            buffers: None,
            folded: None,
            recordings: HashMap::new(),
        });
        Ok(())
    }

    /// The largest batch of images of this size that fits; 0 if not even one does. Memory grows with the batch, except
    /// for variations due to the plan's sharing of buffers; the batch found has itself been tested to fit.
    fn largest_batch(&self, planned: &Planned, images: Nhwc, available: u64) -> usize {
        let fits = |n: usize| {
            let images = Nhwc { n, ..images };
            let plan = self.plan(planned.plan.mode, images, &planned.plan.outputs);
            plan.is_ok_and(|p| p.memory.bytes() <= available)
        };
        let (mut good, mut bad) = (0, images.n);
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

    /// Copies the weights to the device if they have changed since the last call, and computes the forms that the plan
    /// reads.
    fn send_weights(&mut self, planned: &Planned, params: &ParamStore) -> Result<(), EngineError> {
        let Some(arena) = &mut self.arena else {
            return Err(EngineError::NoForward);
        };
        let version = params.version();
        let sent = arena.trainable.replace(version) == Some(version);
        let buffers = arena.buffers.replace(version) == Some(version);
        let address = arena.address;
        for (group, sent) in Group::ALL.into_iter().zip([sent, sent, buffers]) {
            let values = params.group(group);
            if !sent && !values.is_empty() {
                let to = address.plus(planned.memory.params[group as usize]);
                self.driver.upload(to, values)?;
            }
        }
        if !sent {
            run::narrow_weights(&mut self.pass(planned)?)?;
        }
        self.fold_norms(planned, version)
    }

    /// Folds the norms for inference, unless already done.
    fn fold_norms(&mut self, planned: &Planned, version: u64) -> Result<(), EngineError> {
        let Some(arena) = &mut self.arena else {
            return Err(EngineError::NoForward);
        };
        if planned.plan.mode == Mode::Train {
            arena.folded = None; // overwritten by the batch's statistics
            return Ok(());
        }
        let folded = Some((planned.number, version));
        if std::mem::replace(&mut arena.folded, folded) == folded {
            return Ok(());
        }
        Ok(run::fold_norms(&mut self.pass(planned)?)?)
    }

    /// Creates a pass over a plan in the arena.
    fn pass<'a>(&'a mut self, planned: &'a Planned) -> Result<Pass<'a>, EngineError> {
        let arena = self.arena.as_ref().ok_or(EngineError::NoForward)?;
        Ok(Pass::new(
            &self.graph,
            &self.map,
            &planned.plan,
            &planned.memory,
            arena.address,
            &mut *self.driver,
        ))
    }

    fn launch(&mut self, planned: &Planned, part: Part) -> Result<(), EngineError> {
        let session = self.session.take();
        let mut pass = self.pass(planned)?;
        let done = match (part, &session) {
            (Part::Forward, _) => run::forward(&mut pass),
            (Part::Backward, _) => run::backward(&mut pass),
            (Part::Step, Some(session)) => session.launch(&mut pass),
            (Part::Step, None) => return Err(EngineError::NoForward),
        };
        self.session = session;
        Ok(done?)
    }

    /// Runs a part of a pass: launch by launch the first time, from then on as a recording.
    fn run(&mut self, planned: &Planned, part: Part) -> Result<(), EngineError> {
        let key = (planned.number, part);
        let arena = self.arena.as_ref().ok_or(EngineError::NoForward)?;
        let recorded = match arena.recordings.get(&key) {
            Some(Recorded::Kept(recording)) => {
                self.driver.replay(*recording)?;
                return Ok(());
            }
            Some(Recorded::Once) => {
                self.driver.record()?;
                let launched = self.launch(planned, part);
                let recording = self.driver.recorded(); // also ends the recording of a failed pass
                launched?;
                let recording = recording?;
                self.driver.replay(recording)?;
                Recorded::Kept(recording)
            }
            None => {
                self.launch(planned, part)?;
                Recorded::Once
            }
        };
        if let Some(arena) = &mut self.arena {
            arena.recordings.insert(key, recorded);
        }
        Ok(())
    }

    /// Runs all forward steps and copies the outputs out.
    fn run_forward(
        &mut self,
        planned: &Planned,
        params: &ParamStore,
        x: Images<'_>,
        seed: u64,
    ) -> Result<Vec<Value>, EngineError> {
        self.fit(planned, x.shape)?;
        self.send_weights(planned, params)?;
        let start = self.start()?;
        // The two halves of the seed, as the bits of two words.
        let seed = [seed as u32, (seed >> 32) as u32].map(f32::from_bits);
        self.driver.upload(start.plus(planned.memory.seed), &seed)?;
        self.driver
            .upload(start.plus(planned.memory.images), x.data)?;
        self.run(planned, Part::Forward)?;
        let outputs = planned.plan.outputs.iter();
        outputs.map(|id| self.read(planned, *id)).collect()
    }

    fn start(&self) -> Result<Address, EngineError> {
        Ok(self.arena.as_ref().ok_or(EngineError::NoForward)?.address)
    }

    /// A node's value.
    fn read(&mut self, planned: &Planned, id: NodeId) -> Result<Value, EngineError> {
        let from = self.pass(planned)?.value(id);
        let (shape, kind) = (
            planned.plan.shapes[id.index()],
            planned.plan.kinds[id.index()],
        );
        let mut words = vec![0.0; kind.words(shape.len())];
        self.driver.download(from, &mut words)?;
        let data = match kind {
            Kind::F32 => words,
            Kind::Bf16 => widened(&words, shape.len()),
            Kind::U8 => unreachable!("only the CPU's plans have codes"),
        };
        Ok(Value { data, shape })
    }

    /// Reads back the running statistics, which a training pass has updated on the device.
    fn read_buffers(
        &mut self,
        planned: &Planned,
        params: &mut ParamStore,
    ) -> Result<(), EngineError> {
        if self.map.is_empty(Group::Buffers) {
            return Ok(());
        }
        let from = self
            .start()?
            .plus(planned.memory.params[Group::Buffers as usize]);
        self.driver
            .download(from, params.group_mut(Group::Buffers))?;
        if let Some(arena) = &mut self.arena {
            // Host and device now have the same values.
            arena.trainable = Some(params.version());
            arena.buffers = Some(params.version());
        }
        Ok(())
    }
}

impl CudaEngine {
    /// The time of each launch of a training step, forward and backward with whatever outputs' gradients are in memory,
    /// as the shortest of `repeats` steps; empty if the device has no clock.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn time_launches(
        &mut self,
        params: &ParamStore,
        x: Images<'_>,
        outputs: &[NodeId],
        repeats: usize,
    ) -> Result<Vec<LaunchTime>, EngineError> {
        let planned = self.planned(Mode::Train, x, outputs)?;
        let mut labels = Dry::default();
        let mut pass = Pass::new(
            &self.graph,
            &self.map,
            &planned.plan,
            &planned.memory,
            Address(256),
            &mut labels,
        );
        run::forward(&mut pass)?;
        run::backward(&mut pass)?;
        let mut best: Vec<f64> = Vec::new();
        for _ in 0..=repeats {
            self.run_forward(&planned, params, x, 0)?;
            self.driver.start_clock()?;
            run::forward(&mut self.pass(&planned)?)?;
            run::backward(&mut self.pass(&planned)?)?;
            let times = self.driver.stop_clock()?;
            best = match best.is_empty() {
                true => times,
                false => best.iter().zip(&times).map(|(a, b)| a.min(*b)).collect(),
            };
        }
        let launches = labels.launches.into_iter().zip(best);
        let time = |((kernel, grid, node), seconds)| LaunchTime {
            kernel,
            grid,
            node,
            seconds,
        };
        Ok(launches.map(time).collect())
    }
}

/// A launch and its duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaunchTime {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// The node to whose step it belongs.
    pub node: NodeId,
    /// From the end of the previous launch to the end of this one.
    pub seconds: f64,
}

/// Converts bf16 values, packed two per word, to f32.
fn widened(words: &[f32], len: usize) -> Vec<f32> {
    let halves = words.iter().flat_map(|word| {
        let bits = word.to_bits();
        [bits as u16, (bits >> 16) as u16]
    });
    let values = halves.map(|bits| bf16::from_bits(bits).to_f32());
    values.take(len).collect()
}

impl Engine for CudaEngine {
    fn device(&self) -> &'static str {
        "cuda"
    }

    fn freeze_encoder(&mut self, frozen: bool) {
        if frozen != self.frozen_encoder {
            self.frozen_encoder = frozen;
            self.plans.clear();
            self.last = None;
        }
    }

    fn resident(&mut self) -> Option<&mut dyn Resident> {
        Some(self)
    }

    fn infer(
        &mut self,
        params: &ParamStore,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError> {
        self.last = None; // the arena is shared, so a pending backward pass is lost
        let planned = self.planned(Mode::Infer, x, outputs)?;
        self.run_forward(&planned, params, x, 0)
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
        let values = self.run_forward(&planned, params, x, seed)?;
        self.read_buffers(&planned, params)?;
        self.last = Some(planned);
        Ok(values)
    }

    fn backward(
        &mut self,
        params: &ParamStore,
        output_grads: &[Vec<f32>],
        grads: &mut ParamStore,
        _watch: Option<Watch<'_>>,
    ) -> Result<(), EngineError> {
        let planned = self.last.take().ok_or(EngineError::NoForward)?;
        self.send_weights(&planned, params)?;
        let start = self.start()?;
        for (to, grad) in planned.memory.output_grads.iter().zip(output_grads) {
            self.driver.upload(start.plus(*to), grad)?;
        }
        self.run(&planned, Part::Backward)?;
        for (group, from) in Group::TRAINABLE.into_iter().zip(planned.memory.grads) {
            let values = grads.group_mut(group);
            values.resize(self.map.len(group), 0.0);
            if !values.is_empty() {
                self.driver.download(start.plus(from), values)?;
            }
        }
        Ok(())
    }
}

/// Whole MiB, rounded up.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
