//! Breakdown of the time of inference or of a training step: every operation of its plan, timed individually at its shape
//! in the plan.
//!
//! Equal operations on equal shapes are timed once and counted. Each call is repeated on the same buffers, so
//! operations whose data fit in the caches are faster here than in a step: the sum is a lower bound.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kernels::conv2d::{Conv2d, Path};
use kernels::{Activation, Nhwc, Precision};
use model::graph::{Graph, Hwc, NodeId, Op};
use model::plan::{Mode, Plan, Step};
use serde::Serialize;

use super::{Task, Workload, kernel_calls, median};
use terminal::Interrupt;

/// Calls are repeated for at least this long, even beyond the requested number: the clock is too coarse for a single
/// call of a few µs.
const AT_LEAST: Duration = Duration::from_millis(10);

/// The part of a step that a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The forward pass.
    Forward,
    /// Gradients with respect to the operation's inputs.
    Input,
    /// Gradients with respect to its weight and bias.
    Weight,
}

/// The minimum work of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Multiplications and additions.
    Flops(usize),
    /// Bytes read and written, counting each operand once per pass.
    Bytes(usize),
}

/// One timed call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Forward pass, or the kind of gradient.
    pub part: Part,
    /// Its minimum work.
    pub work: Work,
    /// Precision of its factors.
    pub precision: Precision,
    /// Median duration in seconds.
    pub seconds: f64,
}

/// The equal operations of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The operation with its window and fused activation, and its shapes without the batch size.
    pub operation: String,
    /// Whether it is a convolution by Winograd's algorithm.
    pub winograd: bool,
    /// Number of them per step.
    pub count: usize,
    /// Timings of the operation's calls.
    pub timings: Vec<Timing>,
}

impl Row {
    /// Total seconds of these operations in a step.
    pub fn seconds(&self) -> f64 {
        self.count as f64 * self.timings.iter().map(|t| t.seconds).sum::<f64>()
    }

    /// Timing of one part of one operation; `None` if there is no such call.
    pub fn part(&self, part: Part) -> Option<&Timing> {
        self.timings.iter().find(|t| t.part == part)
    }
}

/// An operation and its shapes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) op: Op,
    /// The activation fused into a batch norm.
    pub(crate) activation: Option<Activation>,
    pub(crate) bias: bool,
    /// The kernels' descriptor of a dense convolution.
    pub(crate) conv: Option<Conv2d>,
    /// Shapes of its inputs; for a convolution that reads a concatenation in place, those of the parts.
    pub(crate) inputs: Vec<Nhwc>,
    pub(crate) output: Nhwc,
    /// Whether its inputs need a gradient: the images do not.
    pub(crate) input_gradient: bool,
    /// Whether only the forward pass is run, on weights that were packed before.
    pub(crate) inference: bool,
}

/// Times the operations of inference or of a training step; returns the most expensive first. `done` is called with the
/// number of operations timed so far and their total.
///
/// # Errors
/// As [`Workload::graph`], or [`terminal::Interrupted`].
pub fn time_ops(
    work: &Workload,
    interrupt: &Interrupt,
    done: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Row>> {
    let layers = layers(&work.graph()?, work)?;
    let mut rows = vec![];
    for (layer, count) in &layers {
        interrupt.check()?;
        rows.push(Row {
            operation: layer.describe(),
            winograd: layer.is_winograd(),
            count: *count,
            timings: layer.timings(work.repeats),
        });
        done(rows.len(), layers.len());
    }
    rows.sort_by(|a, b| b.seconds().total_cmp(&a.seconds()));
    Ok(rows)
}

/// The distinct layers of a call, and the number of times each occurs.
fn layers(graph: &Graph, work: &Workload) -> Result<Vec<(Layer, usize)>> {
    let logits = graph
        .output("logits")
        .context("the network has no output `logits`")?;
    let (n, size) = (work.batch, work.size);
    let (mode, outputs) = match work.task {
        Task::Train => (Mode::Train, vec![logits]),
        Task::Infer => (
            Mode::Infer,
            ["logits", "map"]
                .iter()
                .filter_map(|o| graph.output(o))
                .collect(),
        ),
    };
    let plan = Plan::new(graph, mode, n, size, size, &outputs)?.with_precision(work.float()?);
    let mut layers: Vec<(Layer, usize)> = vec![];
    for step in &plan.steps {
        let layer = Layer::new(graph, &plan, step);
        match layers.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, count)) => *count += 1,
            None => layers.push((layer, 1)),
        }
    }
    Ok(layers)
}

impl Layer {
    fn new(graph: &Graph, plan: &Plan, step: &Step) -> Self {
        let node = graph.node(step.first());
        let activation = match graph.node(step.last()).op {
            Op::Activation { kind } if step.first() != step.last() => Some(kind),
            _ => None,
        };
        let shape = |id: &NodeId| plan.shapes[id.index()];
        let sources = &plan.sources[step.first().index()];
        Layer {
            op: alike(&node.op),
            activation,
            bias: node.params.len() > 1 || matches!(step, Step::ConvNormAct { norm: Some(_), .. }),
            conv: plan.conv2d(graph, step.first()),
            inputs: sources.iter().map(|source| shape(&source.node)).collect(),
            output: shape(&step.last()),
            input_gradient: sources
                .iter()
                .any(|source| plan.grads[source.node.index()].is_some()),
            inference: plan.mode == Mode::Infer,
        }
    }

    fn is_winograd(&self) -> bool {
        self.conv.map(Conv2d::path) == Some(Path::Winograd)
    }

    fn precision(&self, part: Part) -> Precision {
        let [forward, input, weight] = self
            .conv
            .map_or([Precision::F32; 3], |conv| conv.precisions());
        match part {
            Part::Forward => forward,
            Part::Input => input,
            Part::Weight => weight,
        }
    }

    fn describe(&self) -> String {
        let activation = self.activation.map(|a| format!(" + {a:?}").to_lowercase());
        let inputs: Vec<String> = self.inputs.iter().map(|x| image(*x)).collect();
        let path = if self.is_winograd() { " winograd" } else { "" };
        format!(
            "{}{path}{} {} -> {}",
            self.op.label(),
            activation.unwrap_or_default(),
            inputs.join(", "),
            image(self.output)
        )
    }

    fn timings(&self, repeats: usize) -> Vec<Timing> {
        let mut timings = vec![];
        kernel_calls::each(self, &mut |part, work, call| {
            if self.inference && part != Part::Forward {
                return;
            }
            let seconds = time(repeats, call);
            timings.push(Timing {
                part,
                work,
                precision: self.precision(part),
                seconds,
            });
        });
        timings
    }
}

/// The operation without parameters that do not affect its duration.
fn alike(op: &Op) -> Op {
    match op {
        Op::DropPath { .. } => Op::DropPath { rate: 0.0 },
        Op::Dropout { .. } => Op::Dropout { rate: 0.0 },
        other => other.clone(),
    }
}

pub(crate) fn image(shape: Nhwc) -> String {
    let Nhwc { h, w, c, .. } = shape;
    Hwc { h, w, c }.to_string()
}

/// Median duration of a call in seconds, after one warm-up call.
fn time(repeats: usize, call: &mut dyn FnMut()) -> f64 {
    call();
    let (first, mut times) = (Instant::now(), vec![]);
    while times.len() < repeats || first.elapsed() < AT_LEAST {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_secs_f64());
    }
    median(&times)
}

#[cfg(test)]
mod tests {
    use super::super::{Device, Task};
    use super::*;

    fn work() -> Workload {
        Workload {
            encoder: "efficientnet_b0".into(),
            decoder: "unet".into(),
            task: Task::Train,
            device: Device::Cpu,
            precision: Precision::F32.into(),
            size: 32,
            batch: 2,
            threads: 1,
            repeats: 1,
        }
    }

    /// Compares the multiply-adds of the layers with the graph's own count.
    #[test]
    fn rows_include_every_multiplication_of_a_step() {
        let work = work();
        let graph = work.graph().unwrap();
        let layers = layers(&graph, &work).unwrap();
        let dense: usize = layers
            .iter()
            .map(|(layer, count)| {
                let mut flops = 0;
                kernel_calls::each(layer, &mut |part, work, _| match work {
                    Work::Flops(n) if part == Part::Forward => flops += n,
                    _ => {}
                });
                flops * count
            })
            .sum();
        let depthwise: usize = layers
            .iter()
            .map(|(layer, count)| match layer.op {
                Op::Depthwise { window } => {
                    count * 2 * layer.output.len() * window.kernel[0] * window.kernel[1]
                }
                _ => 0,
            })
            .sum();
        let cost = graph.cost(work.size, work.size).unwrap();
        assert_eq!(dense + depthwise, 2 * work.batch * cost.multiply_adds);
    }

    #[test]
    fn rows_are_sorted_by_time_and_images_have_no_gradient() {
        let mut told = (0, 0);
        let rows = time_ops(&work(), &Interrupt::default(), &mut |done, of| {
            told = (done, of)
        })
        .unwrap();
        assert_eq!(told, (rows.len(), rows.len()));
        assert!(rows.is_sorted_by(|a, b| a.seconds() >= b.seconds()));
        let stem = rows.iter().find(|r| r.operation.contains("32x32x3 "));
        let stem = stem.unwrap();
        assert!(stem.part(Part::Input).is_none() && stem.part(Part::Weight).is_some());
        assert!(rows.iter().any(|r| r.count > 1), "{rows:?}");
    }
}
