//! Where everything lies in a device's arena: parameters, their gradients, what a forward pass saves, the plan's buffers
//! and the steps' scratch. Made from a plan alone, so that the memory of a batch is known before a device is asked.

use std::sync::Arc;

use super::driver::{Address, DeviceError, Dry};
use super::pass::Pass;
use crate::graph::{Graph, Op};
use crate::plan::{Mode, Plan};
use crate::store::{Group, ParamMap};

/// Places start at multiples of 256 bytes.
const ALIGN: usize = 64;

/// Offsets in f32 from the arena's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Values of the groups of parameters, as [`Group`] numbers them.
    pub params: [usize; 3],
    /// Gradients of the trainable groups.
    pub grads: [usize; 2],
    /// Of each batch norm: mean, variance, scale, shift.
    pub norms: Vec<usize>,
    /// Where the norms' part starts and ends.
    pub saved: (usize, usize),
    /// Of each max pooling: where the maxima were found, one `u32` an element.
    pub argmax: Vec<usize>,
    /// The plan's buffers.
    pub slots: Vec<usize>,
    /// What one step needs beside them.
    pub scratch: usize,
    /// Length of the whole.
    pub len: usize,
}

impl Layout {
    /// Of a plan's memory. What is before `argmax` is the same for all plans of a graph.
    ///
    /// # Errors
    /// Values of more elements than kernels can count, or a grid that no GPU takes.
    pub fn new(graph: &Arc<Graph>, map: &Arc<ParamMap>, plan: &Plan) -> Result<Self, DeviceError> {
        countable(plan)?;
        let mut end = 0;
        let mut place = |len: usize| {
            let start = end;
            end += len.next_multiple_of(ALIGN);
            start
        };
        let params = Group::ALL.map(|g| place(map.len(g)));
        let grads = Group::TRAINABLE.map(|g| place(map.len(g)));
        let start = place(0);
        let norm = |op: &Op| matches!(op, Op::BatchNorm { .. });
        let norms: Vec<usize> = graph
            .nodes
            .iter()
            .map(|n| place(if norm(&n.op) { 4 * n.channels } else { 0 }))
            .collect();
        let saved = (start, place(0));
        let keeps = |op: &Op| plan.mode == Mode::Train && matches!(op, Op::MaxPool { .. });
        let argmax = graph
            .nodes
            .iter()
            .zip(&plan.shapes)
            .map(|(n, s)| place(if keeps(&n.op) { s.len() } else { 0 }))
            .collect();
        let slots = plan.slots.iter().map(|len| place(*len)).collect();
        let scratch = place(0);
        let mut layout = Layout {
            params,
            grads,
            norms,
            saved,
            argmax,
            slots,
            scratch,
            len: scratch,
        };
        layout.len += scratch_len(graph, map, plan, &layout)?;
        Ok(layout)
    }

    /// Bytes of the whole.
    pub fn bytes(&self) -> u64 {
        4 * self.len as u64
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

/// The most that a step asks for, found by running the plan with a device that does nothing.
fn scratch_len(
    graph: &Arc<Graph>,
    map: &Arc<ParamMap>,
    plan: &Plan,
    layout: &Layout,
) -> Result<usize, DeviceError> {
    let mut dry = Dry::default();
    let mut pass = Pass::new(graph, map, plan, layout, Address(256), &mut dry, 0);
    pass.forward_all()?;
    if plan.mode == Mode::Train {
        let grads: Vec<Vec<f32>> = plan.outputs.iter().map(|_| Vec::new()).collect();
        pass.backward_all(&grads)?;
    }
    Ok(pass.scratch_peak())
}
