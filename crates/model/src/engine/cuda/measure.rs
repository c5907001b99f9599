//! The memory that a plan needs on a device, computed without one.

use std::sync::Arc;

use super::driver::{Address, DeviceError, Dry};
use super::memory_map::MemoryMap;
use super::pass::Pass;
use super::run;
use crate::graph::Graph;
use crate::plan::{Mode, Plan};
use crate::store::ParamMap;

impl MemoryMap {
    /// Lays out a plan's memory, with room for `kept` additional words. Everything before `images` is the same for all
    /// plans of a graph with the same precision and `kept`.
    ///
    /// # Errors
    /// A value with more elements than the kernels can count, or a grid that no GPU accepts.
    pub fn new(
        graph: &Arc<Graph>,
        map: &Arc<ParamMap>,
        plan: &Plan,
        kept: usize,
    ) -> Result<Self, DeviceError> {
        countable(plan)?;
        let mut memory = MemoryMap::without_scratch(graph, map, plan, kept);
        memory.len += scratch_len(graph, map, plan, &memory)?;
        Ok(memory)
    }
}

/// The kernels count in 32 bits.
fn countable(plan: &Plan) -> Result<(), DeviceError> {
    match plan.shapes.iter().find(|s| s.len() >= 1 << 31) {
        None => Ok(()),
        Some(s) => Err(DeviceError::Unsupported(format!(
            "a value of {}x{}x{}x{} has more elements than the GPU engine can count (2^31): use a smaller batch",
            s.n, s.h, s.w, s.c
        ))),
    }
}

/// The largest scratch that a step requests, found by running the plan on a device that does nothing.
fn scratch_len(
    graph: &Arc<Graph>,
    map: &Arc<ParamMap>,
    plan: &Plan,
    memory: &MemoryMap,
) -> Result<usize, DeviceError> {
    let mut dry = Dry::default();
    let mut pass = Pass::new(graph, map, plan, memory, Address(256), &mut dry);
    run::narrow_weights(&mut pass)?;
    run::forward(&mut pass)?;
    match plan.mode {
        Mode::Train => run::backward(&mut pass)?,
        Mode::Infer | Mode::Sensitivity => run::fold_norms(&mut pass)?,
    }
    Ok(pass.scratch_peak())
}
