//! Several chunks at once: each has buffers of its own.

use std::sync::Arc;

use super::pass::Pass;
use super::saved::Statistics;
use super::{CpuEngine, Lane, cleared, norm};
use crate::engine::{Chunk, EngineError, Exchange, Lockstep, Value, memory, walk};
use crate::graph::{NodeId, Op};
use crate::plan::{Mode, Plan, Step};
use crate::store::ParamStore;

/// The last forward pass in lockstep: plan and seed of each chunk.
pub(super) type Last = Vec<(Arc<Plan>, u64)>;

impl Lockstep for CpuEngine {
    fn forward(
        &mut self,
        params: &mut ParamStore,
        chunks: &[Chunk<'_>],
        outputs: &[NodeId],
        exchange: &mut dyn Exchange,
    ) -> Result<Vec<Vec<Value>>, EngineError> {
        self.forget();
        let plan =
            |chunk: &Chunk<'_>| Ok((self.plan(Mode::Train, chunk.images, outputs)?, chunk.seed));
        let planned: Last = chunks
            .iter()
            .map(plan)
            .collect::<Result<_, EngineError>>()?;
        let bytes = planned.iter().map(|(plan, _)| plan.bytes() as u64).sum();
        let images = chunks.iter().map(|chunk| chunk.images.shape.n).sum();
        memory::check(images, bytes, memory::of_machine())?;
        self.lanes(&planned);
        let mut passes = self.passes(&planned, params);
        for (pass, chunk) in passes.iter_mut().zip(chunks) {
            let Ok(()) = pass.load(chunk.images.data);
        }
        forward(&mut passes, exchange)?;
        let outputs = |pass: &Pass<'_>| outputs.iter().map(|id| pass.copy_out(*id)).collect();
        let values = passes.iter().map(outputs).collect();
        drop(passes);
        // All chunks have the same statistics.
        if let Some((plan, _)) = planned.first() {
            norm::update_running(&self.graph, plan, &self.lanes[0].saved, params);
        }
        self.last_in_lockstep = Some(planned);
        Ok(values)
    }

    fn backward(
        &mut self,
        params: &ParamStore,
        output_grads: &[Vec<Vec<f32>>],
        grads: &mut [ParamStore],
        exchange: &mut dyn Exchange,
    ) -> Result<(), EngineError> {
        let planned = self.last_in_lockstep.take().ok_or(EngineError::NoForward)?;
        let mut passes = self.passes(&planned, params);
        for (pass, grads) in passes.iter_mut().zip(grads) {
            pass.grads = Some(cleared(grads));
        }
        for (pass, output_grads) in passes.iter_mut().zip(output_grads) {
            let Ok(()) = walk::load_gradients(pass, output_grads, |pass, id, grad| {
                pass.load_grad(id, grad)
            });
        }
        backward(&mut passes, exchange)
    }
}

impl CpuEngine {
    /// Makes room for the buffers of every chunk.
    fn lanes(&mut self, planned: &Last) {
        while self.lanes.len() < planned.len() {
            self.lanes.push(Lane::new(&self.graph));
        }
        for (lane, (plan, _)) in self.lanes.iter_mut().zip(planned) {
            lane.buffers.fit(&plan.slots);
        }
    }

    fn passes<'a>(&'a mut self, planned: &'a Last, params: &'a ParamStore) -> Vec<Pass<'a>> {
        let (graph, codes, prepared) = (&self.graph, self.codes.as_ref(), &self.prepared);
        let lanes = self.lanes.iter_mut().zip(planned);
        let pass = lanes
            .map(|(lane, (plan, seed))| lane.pass((graph, plan, params), (prepared, codes), *seed));
        pass.collect()
    }
}

/// The steps of a plan; all chunks have the same.
fn steps<'a>(passes: &[Pass<'a>]) -> &'a [Step] {
    passes.first().map_or(&[], |pass| &pass.plan.steps)
}

/// A step's norm whose statistics are those of the batch, and its activation.
fn norm_of(passes: &[Pass<'_>], step: &Step) -> Option<(NodeId, Option<NodeId>)> {
    let (norm, act) = match *step {
        Step::Single(id) => (id, None),
        Step::NormAct { norm, act } => (norm, Some(act)),
        Step::ConvNormAct { .. } => return None,
    };
    let pass = passes.first()?;
    let is_norm = matches!(pass.graph.node(norm).op, Op::BatchNorm { .. });
    (is_norm && pass.plan.trains(norm)).then_some((norm, act))
}

/// Runs the steps of all chunks. Numbers are exchanged outside of the pool, whose threads must not wait: another process
/// may be a thread of this one.
fn forward(passes: &mut [Pass<'_>], exchange: &mut dyn Exchange) -> Result<(), EngineError> {
    for step in steps(passes) {
        let Some((norm, act)) = norm_of(passes, step) else {
            kernels::in_pool(|| {
                for pass in passes.iter_mut() {
                    let Ok(()) = walk::forward_step(pass, step);
                }
            });
            continue;
        };
        let own = kernels::in_pool(|| {
            let numbers = passes.iter_mut().map(|pass| {
                pass.take_statistics(norm);
                pass.saved.statistics[norm.index()].numbers()
            });
            numbers.collect()
        });
        let all = Statistics::of_all(&gathered(exchange, own)?);
        kernels::in_pool(|| {
            for pass in passes.iter_mut() {
                pass.saved.statistics[norm.index()].clone_from(&all);
                let Ok(()) = pass.normalize(norm, act);
            }
        });
    }
    Ok(())
}

fn backward(passes: &mut [Pass<'_>], exchange: &mut dyn Exchange) -> Result<(), EngineError> {
    // Whether a norm has a gradient is the same for all chunks, which have the same outputs.
    let norm = |passes: &[Pass<'_>], step: &Step| {
        let reached = |pass: &Pass<'_>| pass.saved.written.has(step.last());
        norm_of(passes, step).filter(|_| passes.iter().all(reached))
    };
    for step in steps(passes).iter().rev() {
        let Some((norm, act)) = norm(passes, step) else {
            kernels::in_pool(|| {
                for pass in passes.iter_mut() {
                    let Ok(()) = walk::backward_step(pass, step);
                }
            });
            continue;
        };
        let own = kernels::in_pool(|| {
            let sums = passes.iter_mut().map(|pass| pass.norm_sums(norm, act));
            sums.collect()
        });
        let sums = summed(&gathered(exchange, own)?);
        kernels::in_pool(|| {
            for pass in passes.iter_mut() {
                let Ok(()) = pass.norm_input(norm, act, &sums);
            }
        });
    }
    Ok(())
}

/// The numbers of all chunks, which must be as many for each.
fn gathered(exchange: &mut dyn Exchange, own: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>, EngineError> {
    let len = own.first().map_or(0, Vec::len);
    let all = exchange.gather(own).map_err(EngineError::Exchange)?;
    match all.iter().all(|numbers| numbers.len() == len) {
        true => Ok(all),
        false => Err(EngineError::Exchange(
            "the processes compute different networks".into(),
        )),
    }
}

/// In the order of the chunks.
fn summed(all: &[Vec<f64>]) -> Vec<f64> {
    let mut sums = vec![0.0; all.first().map_or(0, Vec::len)];
    for numbers in all {
        sums.iter_mut().zip(numbers).for_each(|(sum, v)| *sum += v);
    }
    sums
}

impl Statistics {
    /// The number of pixels, the means, the variances.
    fn numbers(&self) -> Vec<f64> {
        let values = self.mean.iter().chain(&self.var).map(|v| f64::from(*v));
        std::iter::once(self.pixels as f64).chain(values).collect()
    }

    /// Of the pixels of all chunks, from each chunk's [`Statistics::numbers`], by the parallel formula of Chan, Golub and
    /// LeVeque (1979).
    fn of_all(chunks: &[Vec<f64>]) -> Self {
        let channels = chunks.first().map_or(0, |numbers| numbers.len() / 2);
        let pixels: f64 = chunks.iter().map(|numbers| numbers[0]).sum();
        let weighted = |value: &dyn Fn(&[f64]) -> f64| {
            let terms = chunks.iter().map(|numbers| numbers[0] * value(numbers));
            terms.sum::<f64>() / pixels
        };
        let mean: Vec<f64> = (1..=channels)
            .map(|c| weighted(&|numbers| numbers[c]))
            .collect();
        let var = |c: usize| {
            weighted(&|numbers| numbers[channels + 1 + c] + (numbers[1 + c] - mean[c]).powi(2))
                as f32
        };
        Statistics {
            var: (0..channels).map(var).collect(),
            mean: mean.iter().map(|v| *v as f32).collect(),
            pixels: pixels as usize,
        }
    }
}
