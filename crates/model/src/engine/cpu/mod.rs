//! The CPU engine: executes a plan by the traversal common to all engines, calling `kernels`; one file per operation
//! family.
//!
//! Every buffer is a slot of the plan. A step takes out the slot that it writes, reads the others in place, and puts it
//! back: no aliasing, no `unsafe`, no allocation once the slots have grown to the plan's sizes.

mod buffers;
mod codes;
mod conv;
mod elementwise;
mod lane;
mod lockstep;
mod narrow;
mod norm;
mod pass;
mod prepared;
mod saved;
mod shape_ops;

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;

use kernels::Precision;

use self::codes::Codes;
use self::lane::Lane;
use self::pass::{Pass, Watched};
use self::prepared::Prepared;
use super::written::Written;
use super::{
    Engine, EngineError, Images, Lockstep, OutputGradient, Sensitivities, Value, Watch, memory,
    walk,
};
use crate::graph::{Graph, NodeId};
use crate::plan::{Kind, Mode, Plan, Step};
use crate::quantization::Ranges;
use crate::store::{Group, ParamStore};

/// Runs a graph on the CPU with Rayon's current pool.
pub struct CpuEngine {
    graph: Arc<Graph>,
    precision: Precision,
    /// What codes mean, if inference stores values as codes.
    codes: Option<Codes>,
    plans: HashMap<PlanKey, Arc<Plan>>,
    /// One, and one for each further chunk of passes in lockstep.
    lanes: Vec<Lane>,
    prepared: Prepared,
    /// Whether training leaves the encoder as it is.
    frozen_encoder: bool,
    /// Plan and seed of the last training forward pass, for the backward pass that may follow.
    last: Option<(Arc<Plan>, u64)>,
    last_in_lockstep: Option<lockstep::Last>,
}

/// Checks that a training step of `batch` images fits into this machine's memory.
///
/// # Errors
/// An image size that does not suit the network; [`EngineError::Memory`] with what would fit.
pub fn check_training(
    graph: &Graph,
    (batch, height, width): (usize, usize, usize),
) -> Result<(), EngineError> {
    let outputs: Vec<NodeId> = ["logits", "map"]
        .iter()
        .filter_map(|name| graph.output(name))
        .collect();
    let plan = Plan::new(graph, Mode::Train, batch, height, width, &outputs)?;
    memory::check(batch, plan.bytes() as u64, memory::of_machine())
}

type PlanKey = (Mode, usize, usize, usize, Vec<NodeId>);

impl CpuEngine {
    /// Creates an engine for one graph; buffers are allocated at the first call.
    pub fn new(graph: Arc<Graph>, precision: Precision) -> Self {
        CpuEngine {
            lanes: vec![Lane::new(&graph)],
            graph,
            precision,
            codes: None,
            plans: HashMap::new(),
            prepared: Prepared::default(),
            frozen_encoder: false,
            last: None,
            last_in_lockstep: None,
        }
    }

    /// An engine whose inference stores feature maps as 8-bit codes for these ranges and multiplies integers; training
    /// and sensitivities are in f32.
    pub fn quantized(graph: Arc<Graph>, ranges: &Ranges) -> Self {
        let codes = Some(Codes::new(&graph, ranges));
        CpuEngine {
            codes,
            ..CpuEngine::new(graph, Precision::F32)
        }
    }

    /// Buffers are shared by all passes, so that a new one loses a pending backward pass.
    fn forget(&mut self) {
        self.last = None;
        self.last_in_lockstep = None;
    }

    fn plan(
        &mut self,
        mode: Mode,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Arc<Plan>, EngineError> {
        x.check(&self.graph)?;
        let key = (mode, x.shape.n, x.shape.h, x.shape.w, outputs.to_vec());
        if let Some(plan) = self.plans.get(&key) {
            return Ok(plan.clone());
        }
        let batch = (x.shape.n, x.shape.h, x.shape.w);
        let (graph, frozen) = (&self.graph, self.frozen_encoder);
        let plan = match (mode, outputs, &self.codes) {
            (Mode::Sensitivity, [of, at @ ..], _) => Plan::sensitivities(graph, batch, *of, at)?,
            (Mode::Infer, _, Some(codes)) => {
                Plan::quantized(graph, &codes.coded(), batch, outputs)?
            }
            (Mode::Infer, _, None) if self.precision == Precision::Bf16 => {
                Plan::bf16(graph, batch, outputs)?
            }
            _ => Plan::with_frozen(graph, Kind::F32, mode, batch, outputs, frozen)?,
        };
        let plan = plan.with_precision(self.precision);
        memory::check(x.shape.n, plan.bytes() as u64, memory::of_machine())?;
        let plan = Arc::new(plan);
        self.plans.insert(key, plan.clone());
        Ok(plan)
    }

    /// Runs all forward steps and copies the outputs out.
    fn run(&mut self, plan: &Plan, params: &ParamStore, x: Images<'_>, seed: u64) -> Vec<Value> {
        self.lanes[0].buffers.fit(&plan.slots);
        let mut pass = self.pass(plan, params, seed);
        kernels::in_pool(|| {
            let Ok(()) = pass.load(x.data);
            let Ok(()) = walk::forward(&mut pass);
            plan.outputs.iter().map(|id| pass.copy_out(*id)).collect()
        })
    }

    fn pass<'a>(&'a mut self, plan: &'a Plan, params: &'a ParamStore, seed: u64) -> Pass<'a> {
        let Self {
            graph,
            codes,
            prepared,
            lanes,
            ..
        } = self;
        lanes[0].pass((graph, plan, params), (prepared, codes.as_ref()), seed)
    }
}

impl<'a> walk::Pass<'a> for Pass<'a> {
    fn graph(&self) -> &'a Graph {
        self.graph
    }

    fn plan(&self) -> &'a Plan {
        self.plan
    }

    fn written(&mut self) -> &mut Written {
        &mut self.saved.written
    }

    fn begin(&mut self, step: &Step) {
        self.widen_sources(step);
    }

    fn end(&mut self, before: usize) {
        if let (Some(watched), Some(grads)) = (&mut self.watched, &self.grads) {
            watched.tell(grads, before);
        }
    }
}

impl Engine for CpuEngine {
    fn device(&self) -> &'static str {
        "cpu"
    }

    fn infer(
        &mut self,
        params: &ParamStore,
        x: Images<'_>,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError> {
        self.forget();
        let plan = self.plan(Mode::Infer, x, outputs)?;
        self.prepared
            .refresh(&self.graph, &plan, self.codes.as_ref(), params);
        Ok(self.run(&plan, params, x, 0))
    }

    fn forward(
        &mut self,
        params: &mut ParamStore,
        x: Images<'_>,
        seed: u64,
        outputs: &[NodeId],
    ) -> Result<Vec<Value>, EngineError> {
        self.forget();
        let plan = self.plan(Mode::Train, x, outputs)?;
        let values = self.run(&plan, params, x, seed);
        norm::update_running(&self.graph, &plan, &self.lanes[0].saved, params);
        self.last = Some((plan, seed));
        Ok(values)
    }

    fn backward(
        &mut self,
        params: &ParamStore,
        output_grads: &[Vec<f32>],
        grads: &mut ParamStore,
        watch: Option<Watch<'_>>,
    ) -> Result<(), EngineError> {
        let (plan, seed) = self.last.take().ok_or(EngineError::NoForward)?;
        let mut pass = Pass {
            grads: Some(cleared(grads)),
            watched: watch.map(|watch| Watched::new(watch, &plan)),
            ..self.pass(&plan, params, seed)
        };
        kernels::in_pool(|| {
            let Ok(()) = walk::backward(&mut pass, output_grads, |pass, id, grad| {
                pass.load_grad(id, grad)
            });
        });
        Ok(())
    }

    fn sensitivities(
        &mut self,
        params: &ParamStore,
        x: Images<'_>,
        of: OutputGradient<'_>,
        at: &[NodeId],
    ) -> Result<Sensitivities, EngineError> {
        self.forget();
        let outputs: Vec<NodeId> = iter::once(of.of).chain(at.iter().copied()).collect();
        let plan = self.plan(Mode::Sensitivity, x, &outputs)?;
        of.check(plan.shapes[of.of.index()].len())?;
        let mut values = self.run(&plan, params, x, 0).into_iter();
        let output = values.next().ok_or(EngineError::NoForward)?;
        let mut pass = self.pass(&plan, params, 0);
        kernels::in_pool(|| {
            let Ok(()) = walk::backward(&mut pass, [of.gradient], |pass, id, grad| {
                pass.load_grad(id, grad)
            });
        });
        let at = at.iter().zip(values);
        let at = at.map(|(id, value)| pass.sensitivity(*id, value)).collect();
        Ok(Sensitivities { output, at })
    }

    fn freeze_encoder(&mut self, frozen: bool) {
        if frozen != self.frozen_encoder {
            self.frozen_encoder = frozen;
            self.plans.clear();
            self.forget();
        }
    }

    fn lockstep(&mut self) -> Option<&mut dyn Lockstep> {
        Some(self)
    }
}

/// Gradients of zero: parameters that a pass does not reach have no others.
fn cleared(grads: &mut ParamStore) -> &mut ParamStore {
    for group in Group::TRAINABLE {
        grads.group_mut(group).fill(0.0);
    }
    grads
}
