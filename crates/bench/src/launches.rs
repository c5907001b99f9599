//! Profile of a training step on a GPU: the time of every kernel that it launches, measured within the step.

use anyhow::{Context as _, Result};
use model::engine::Device;
use model::engine::cuda::{CudaEngine, LaunchTime};
use model::graph::{Graph, Hwc};
use model::store::ParamStore;
use serde::Serialize;

use super::Workload;
use super::network::{images, random_batch};

/// Launches of one kernel for operations of the same kind and shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the kernel.
    pub kernel: String,
    /// The operation that it belongs to, with the shape of its output.
    pub operation: String,
    /// Number of launches per step.
    pub count: usize,
    /// Total seconds of these launches.
    pub seconds: f64,
}

/// Times every launch of a training step; returns the most expensive first, or nothing if the device has no clock.
///
/// # Errors
/// As [`Workload::graph`], or an error of the engine.
pub fn time_launches(work: &Workload) -> Result<Vec<Row>> {
    debug_assert_eq!(work.device, Device::Cuda);
    let graph = std::sync::Arc::new(work.graph()?);
    let logits = graph
        .output("logits")
        .context("the network has no output `logits`")?;
    let mut engine = CudaEngine::new(graph.clone(), work.float()?)?;
    let batch = random_batch(work);
    let params = ParamStore::initialized(&graph, 0);
    let launches = engine.time_launches(&params, images(&batch), &[logits], work.repeats)?;
    rows(&graph, work.size, &launches)
}

fn rows(graph: &Graph, size: usize, launches: &[LaunchTime]) -> Result<Vec<Row>> {
    let shapes = graph.shapes(size, size)?;
    let mut rows: Vec<Row> = vec![];
    for launch in launches {
        let Hwc { h, w, c } = shapes[launch.node.index()];
        let operation = format!("{} {h}x{w}x{c}", graph.node(launch.node).op.label());
        let same = |row: &&mut Row| row.kernel == launch.kernel && row.operation == operation;
        match rows.iter_mut().find(same) {
            Some(row) => {
                row.count += 1;
                row.seconds += launch.seconds;
            }
            None => rows.push(Row {
                kernel: launch.kernel.into(),
                operation,
                count: 1,
                seconds: launch.seconds,
            }),
        }
    }
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(rows)
}
