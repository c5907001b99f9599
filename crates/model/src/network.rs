//! A graph with weights and an engine, whose losses are dfdx's.
//!
//! This is the only file that uses dfdx's tape. A training forward pass records a single operation, "the trunk"; losses
//! on its outputs are computed by dfdx, and `loss.backward()` runs the trunk's closure. Individual activations, weights
//! and their gradients do not pass through dfdx.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dfdx::prelude::{Cpu, OwnedTape, Tape, Tensor, TensorFromVec};
use kernels::Nhwc;

use crate::engine::cpu::CpuEngine;
use crate::engine::{Chunk, Device, Engine, EngineError, Exchange, Images, Lockstep};
use crate::engine::{OutputGradient, Precision, Resident, Sensitivities, Value};
use crate::graph::{Graph, NodeId};
use crate::quantization::Ranges;
use crate::store::{Group, ParamMap, ParamStore};

/// Class scores as a dfdx tensor, `[n, classes]`.
pub type Logits = Tensor<(usize, usize), f32, Cpu>;

/// A class map as a dfdx tensor, `[n, h, w, classes]`.
pub type ClassMap = Tensor<(usize, usize, usize, usize), f32, Cpu>;

/// A network ready to run and to train.
pub struct Network {
    graph: Arc<Graph>,
    device: Cpu,
    trunk: Arc<Mutex<Trunk>>,
}

/// All gradients, from [`Network::gradients`]; the network cannot run as long as they are held.
pub struct NetworkGradients<'n>(MutexGuard<'n, Trunk>);

/// The results of a training forward pass: outputs for losses, and the tape for the backward pass to the parameters.
pub struct Taped {
    /// Class scores, `[n, classes]`, if requested.
    pub logits: Option<Logits>,
    /// The requested class maps before softmax, `[n, h, w, classes]`: the final one, then the deeply supervised ones,
    /// which may be smaller ([`Graph::maps`]).
    pub maps: Vec<ClassMap>,
    /// To be put on the output from which the loss is computed (`logits.put_tape(tape)`).
    pub tape: OwnedTape<f32, Cpu>,
}

/// The outputs that a training step's loss uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// Class scores only.
    Logits,
    /// Class scores and the final class map.
    LogitsAndMap,
    /// Class scores and all class maps (deep supervision).
    LogitsAndMaps,
    /// The final class map only.
    Map,
    /// All class maps (deep supervision).
    Maps,
}

impl Heads {
    fn logits(self) -> bool {
        !matches!(self, Heads::Map | Heads::Maps)
    }

    fn maps(self) -> bool {
        self != Heads::Logits
    }

    fn deep(self) -> bool {
        matches!(self, Heads::LogitsAndMaps | Heads::Maps)
    }
}

/// Why a network could not run.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The graph does not publish such a value.
    #[error("the network has no output `{name}`; it has: {known}")]
    NoOutput {
        /// Requested name.
        name: String,
        /// Published names.
        known: String,
    },
}

/// Called during backward passes: [`crate::engine::Watch`].
pub type Watch = Box<dyn FnMut(&ParamStore, NodeId) + Send>;

struct Trunk {
    engine: Box<dyn Engine>,
    store: ParamStore,
    grads: ParamStore,
    watch: Option<Watch>,
    chunks: Chunks,
    /// Outcome of the last backward pass, which runs inside dfdx, whose error type cannot carry it. Until there is one,
    /// there are no gradients.
    backward: Result<(), EngineError>,
}

/// Of each chunk of the last [`Network::forward_chunks`]: the outputs' gradients, once its loss has gone backward, and then
/// the parameters'.
#[derive(Default)]
struct Chunks {
    output_grads: Vec<Vec<Vec<f32>>>,
    grads: Vec<ParamStore>,
}

impl Network {
    /// Creates a network on the CPU with initial values drawn from `seed`.
    pub fn new(graph: Graph, seed: u64) -> Self {
        let store = ParamStore::initialized(&graph, seed);
        Self::with_store(graph, store)
    }

    /// Creates a network on the CPU with the given values.
    pub fn with_store(graph: Graph, store: ParamStore) -> Self {
        let graph = Arc::new(graph);
        let grads = ParamStore::zeros(store.map().clone());
        let engine: Box<dyn Engine> = Box::new(CpuEngine::new(graph.clone(), Precision::F32));
        let trunk = Trunk {
            engine,
            store,
            grads,
            watch: None,
            chunks: Chunks::default(),
            backward: Err(EngineError::NoForward),
        };
        Network {
            graph,
            device: Cpu::default(),
            trunk: Arc::new(Mutex::new(trunk)),
        }
    }

    /// The same network with another precision in its convolutions; weights and their gradients remain `f32`.
    pub fn with_precision(self, precision: Precision) -> Self {
        lock(&self.trunk).engine = Box::new(CpuEngine::new(self.graph.clone(), precision));
        self
    }

    /// The same network on a device.
    ///
    /// # Errors
    /// What is missing for the GPU; none on the CPU.
    pub fn on(self, device: Device, precision: Precision) -> Result<Self, NetworkError> {
        let engine = device.engine(self.graph.clone(), precision)?;
        Ok(self.with_engine(engine))
    }

    /// The same network on the CPU with feature maps stored as 8-bit codes in inference.
    pub fn quantized(self, ranges: &Ranges) -> Self {
        let engine = CpuEngine::quantized(self.graph.clone(), ranges);
        self.with_engine(Box::new(engine))
    }

    /// The same network on another engine, which must be for the same graph.
    pub fn with_engine(self, engine: Box<dyn Engine>) -> Self {
        lock(&self.trunk).engine = engine;
        self
    }

    /// Whether training leaves the encoder as it is: see [`Engine::freeze_encoder`]. Updates of its parameters are the
    /// caller's to leave out.
    pub fn freeze_encoder(&mut self, frozen: bool) {
        lock(&self.trunk).engine.freeze_encoder(frozen);
    }

    /// The network's structure.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Name of the device that it runs on: `cpu`, `cuda`.
    pub fn device_name(&self) -> &'static str {
        lock(&self.trunk).engine.device()
    }

    /// All current values: weights and running statistics.
    pub fn store(&self) -> ParamStore {
        lock(&self.trunk).store.clone()
    }

    /// Calls a function with all current values.
    pub fn read<R>(&self, with: impl FnOnce(&ParamStore) -> R) -> R {
        with(&lock(&self.trunk).store)
    }

    /// Replaces all values (with a loaded checkpoint, or the moving average for evaluation).
    pub fn set_store(&mut self, store: ParamStore) {
        lock(&self.trunk).store = store;
    }

    /// The layout of all values.
    pub fn store_map(&self) -> Arc<ParamMap> {
        lock(&self.trunk).store.map().clone()
    }

    /// The running statistics, which training passes move.
    pub fn statistics(&self) -> Vec<f32> {
        lock(&self.trunk).store.group(Group::Buffers).to_vec()
    }

    /// Replaces the running statistics; `values` must have their length.
    pub fn set_statistics(&mut self, values: &[f32]) {
        lock(&self.trunk)
            .store
            .group_mut(Group::Buffers)
            .copy_from_slice(values);
    }

    /// Inference: the named outputs, in that order.
    pub fn infer(&self, x: Images<'_>, outputs: &[&str]) -> Result<Vec<Value>, NetworkError> {
        let ids = outputs
            .iter()
            .map(|name| self.output(name))
            .collect::<Result<Vec<_>, _>>()?;
        self.values(x, &ids)
    }

    /// Inference: the values of nodes, in that order.
    ///
    /// # Errors
    /// Images that the network cannot take.
    pub fn values(&self, x: Images<'_>, nodes: &[NodeId]) -> Result<Vec<Value>, NetworkError> {
        let mut trunk = lock(&self.trunk);
        let Trunk { engine, store, .. } = &mut *trunk;
        Ok(engine.infer(store, x, nodes)?)
    }

    /// Gradients of the function that [`Network::infer`] computes: of `Σ gradient · value` of one output, with respect to
    /// the values of `at`; the images are [`NodeId::INPUT`], other nodes are found by [`Network::output`]. Weights and
    /// running statistics stay as they are.
    ///
    /// # Errors
    /// Images that the network cannot take, a gradient of another length than the output, or a network that is not on
    /// the CPU.
    pub fn sensitivities(
        &self,
        x: Images<'_>,
        of: OutputGradient<'_>,
        at: &[NodeId],
    ) -> Result<Sensitivities, NetworkError> {
        let mut trunk = lock(&self.trunk);
        let Trunk { engine, store, .. } = &mut *trunk;
        Ok(engine.sensitivities(store, x, of, at)?)
    }

    /// Training forward pass; dropout and drop path are drawn from `seed`.
    ///
    /// # Errors
    /// An output that the graph does not publish, or images that the network cannot take.
    pub fn forward(&self, x: Images<'_>, seed: u64, heads: Heads) -> Result<Taped, NetworkError> {
        let ids = self.outputs(heads)?;
        let values = {
            let mut trunk = lock(&self.trunk);
            trunk.backward = Err(EngineError::NoForward);
            let Trunk { engine, store, .. } = &mut *trunk;
            engine.forward(store, x, seed, &ids)?
        };
        Ok(self.taped(values, heads, |trunk, output_grads| {
            let Trunk {
                engine,
                store,
                grads,
                watch,
                backward,
                ..
            } = trunk;
            let watch = watch.as_mut().map(|watch| &mut **watch as _);
            *backward = engine.backward(store, &output_grads, grads, watch);
        }))
    }

    /// Sets or removes what is told of gradients that are final during backward passes, and returns what was.
    pub fn watch_backward(&mut self, watch: Option<Watch>) -> Option<Watch> {
        mem::replace(&mut lock(&self.trunk).watch, watch)
    }

    /// Training forward pass of several chunks of a batch, whose batch norms take their statistics from all of them, those
    /// of other processes included; the running statistics move once. After `loss.backward()` of each chunk,
    /// [`Network::backward_chunks`] computes the parameters' gradients.
    ///
    /// # Errors
    /// As [`Network::forward`]; an engine that cannot do this; an exchange that failed.
    pub fn forward_chunks(
        &mut self,
        chunks: &[Chunk<'_>],
        heads: Heads,
        exchange: &mut dyn Exchange,
    ) -> Result<Vec<Taped>, NetworkError> {
        let ids = self.outputs(heads)?;
        let values = {
            let mut trunk = lock(&self.trunk);
            let Trunk {
                engine,
                store,
                chunks: of_chunks,
                backward,
                ..
            } = &mut *trunk;
            *backward = Err(EngineError::NoForward);
            of_chunks.output_grads = vec![vec![]; chunks.len()];
            let zeros = || ParamStore::zeros(store.map().clone());
            of_chunks.grads.resize_with(chunks.len(), zeros);
            lockstep(&mut **engine)?.forward(store, chunks, &ids, exchange)?
        };
        let taped = values.into_iter().enumerate().map(|(chunk, values)| {
            self.taped(values, heads, move |trunk, output_grads| {
                trunk.chunks.output_grads[chunk] = output_grads;
            })
        });
        Ok(taped.collect())
    }

    /// Backward pass of the chunks of the last [`Network::forward_chunks`]: each chunk's summands of the gradients of the
    /// sum of all losses, passed to `each` in the order of the chunks.
    ///
    /// # Errors
    /// No forward pass before it, a chunk whose loss has not gone backward, or an exchange that failed.
    pub fn backward_chunks(
        &mut self,
        exchange: &mut dyn Exchange,
        each: impl FnMut(&ParamStore),
    ) -> Result<(), NetworkError> {
        let mut trunk = lock(&self.trunk);
        let Trunk {
            engine,
            store,
            chunks,
            ..
        } = &mut *trunk;
        if chunks.output_grads.iter().any(Vec::is_empty) {
            return Err(EngineError::NoForward.into());
        }
        lockstep(&mut **engine)?.backward(
            store,
            &chunks.output_grads,
            &mut chunks.grads,
            exchange,
        )?;
        chunks.grads.iter().for_each(each);
        Ok(())
    }

    /// Outputs as tensors, and a tape with one operation, which passes the outputs' gradients to `deliver`.
    fn taped(
        &self,
        values: Vec<Value>,
        heads: Heads,
        deliver: impl FnOnce(&mut Trunk, Vec<Vec<f32>>) + 'static,
    ) -> Taped {
        let mut values = values.into_iter();
        let logits = if heads.logits() {
            values.next().map(|v| self.matrix(v))
        } else {
            None
        };
        let maps: Vec<ClassMap> = values.map(|v| self.map(v)).collect();
        let tape = self.record(logits.as_ref(), &maps, deliver);
        Taped { logits, maps, tape }
    }

    /// The gradients of the trainable values after `loss.backward()`.
    ///
    /// # Errors
    /// The error of the backward pass, if it failed or there was none.
    pub fn gradients(&self) -> Result<NetworkGradients<'_>, NetworkError> {
        let mut trunk = lock(&self.trunk);
        mem::replace(&mut trunk.backward, Err(EngineError::NoForward))?;
        trunk.backward = Ok(());
        Ok(NetworkGradients(trunk))
    }

    /// The gradients, to be replaced by those of a whole batch of which this network saw a part.
    pub fn gradients_to_write(&self) -> NetworkGradients<'_> {
        let mut trunk = lock(&self.trunk);
        trunk.backward = Ok(());
        NetworkGradients(trunk)
    }

    /// Calls `step` with each trainable group, its values and their gradients.
    ///
    /// # Errors
    /// As [`Network::gradients`].
    pub fn update(
        &mut self,
        mut step: impl FnMut(Group, &mut [f32], &[f32]),
    ) -> Result<(), NetworkError> {
        let mut gradients = self.gradients()?;
        let Trunk { store, grads, .. } = &mut *gradients.0;
        for group in Group::TRAINABLE {
            step(group, store.group_mut(group), grads.group(group));
        }
        Ok(())
    }

    /// Calls `ask` with the engine's own training, if it has one.
    pub fn resident<R>(&self, ask: impl FnOnce(&mut dyn Resident) -> R) -> Option<R> {
        lock(&self.trunk).engine.resident().map(ask)
    }

    /// The values of `heads`: scores first, then the final map, then the others.
    pub fn outputs(&self, heads: Heads) -> Result<Vec<NodeId>, NetworkError> {
        let mut ids = Vec::new();
        if heads.logits() {
            ids.push(self.output("logits")?);
        }
        if heads.maps() {
            ids.push(self.output("map")?);
        }
        if heads.deep() {
            ids.extend(self.graph.maps().into_iter().skip(1));
        }
        Ok(ids)
    }

    /// The node whose value the graph publishes under a name.
    ///
    /// # Errors
    /// [`NetworkError::NoOutput`] with the published names.
    pub fn output(&self, name: &str) -> Result<NodeId, NetworkError> {
        self.graph.output(name).ok_or_else(|| {
            let known = self
                .graph
                .outputs
                .iter()
                .map(|(n, _)| n.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            NetworkError::NoOutput {
                name: name.into(),
                known,
            }
        })
    }

    fn matrix(&self, value: Value) -> Logits {
        let Nhwc { n, c, .. } = value.shape;
        self.device.tensor_from_vec(value.data, (n, c))
    }

    fn map(&self, value: Value) -> ClassMap {
        let Nhwc { n, h, w, c } = value.shape;
        self.device.tensor_from_vec(value.data, (n, h, w, c))
    }

    /// Records the only operation on the tape, from the outputs' gradients to the parameters'.
    fn record(
        &self,
        logits: Option<&Logits>,
        maps: &[ClassMap],
        deliver: impl FnOnce(&mut Trunk, Vec<Vec<f32>>) + 'static,
    ) -> OwnedTape<f32, Cpu> {
        let mut tape = OwnedTape::default();
        let logits = logits.map(|l| l.ghost());
        let maps: Vec<_> = maps.iter().map(|m| m.ghost()).collect();
        let trunk = self.trunk.clone();
        tape.add_backward_op(move |of_outputs| {
            // The outputs' gradients are only read here, so they can be taken.
            let mut output_grads = Vec::with_capacity(1 + maps.len());
            if let Some(logits) = &logits {
                output_grads.push(mem::take(&mut **of_outputs.get_or_alloc_mut(logits)?));
            }
            for map in &maps {
                output_grads.push(mem::take(&mut **of_outputs.get_or_alloc_mut(map)?));
            }
            deliver(&mut lock(&trunk), output_grads);
            Ok(())
        });
        tape
    }
}

impl Deref for NetworkGradients<'_> {
    type Target = ParamStore;

    fn deref(&self) -> &ParamStore {
        &self.0.grads
    }
}

impl DerefMut for NetworkGradients<'_> {
    fn deref_mut(&mut self) -> &mut ParamStore {
        &mut self.0.grads
    }
}

fn lockstep(engine: &mut dyn Engine) -> Result<&mut dyn Lockstep, EngineError> {
    let device = engine.device();
    engine.lockstep().ok_or(EngineError::NoLockstep { device })
}

/// Locks the trunk. After a panic elsewhere the next forward pass overwrites all buffers, so a poisoned lock can be
/// used.
fn lock(trunk: &Mutex<Trunk>) -> MutexGuard<'_, Trunk> {
    trunk.lock().unwrap_or_else(PoisonError::into_inner)
}
