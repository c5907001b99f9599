//! Values that are not stored as `f32`: bf16 numbers or [codes](super::codes).
//!
//! Convolutions, sums, scales and global averages read and write them as they are. Any other operation reads `f32` values
//! that are widened before its step, and its `f32` result is narrowed after it, so that every network runs.

use std::mem;

use kernels::bf16::{self, Bf16};
use kernels::quantized::{self, Output, Quantized};
use kernels::{Buffer, conv2d::Conv2d};

use super::pass::{Done, Pass};
use crate::graph::{NodeId, Op};
use crate::plan::{Kind, Step};

/// What a step reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operands {
    /// Numbers in `f32`, which are widened before the step and narrowed after it as far as they are stored otherwise.
    F32,
    /// Numbers in `f32`, and the result as bf16.
    ToBf16,
    /// Maps of bf16, and the result as it is stored.
    Bf16,
    /// Maps of codes, and the result as it is stored.
    Codes,
}

/// The narrow values that a step reads, as `f32`, and the `f32` result of a step that is to be narrowed.
#[derive(Debug, Default)]
pub(super) struct Widened {
    values: Vec<(NodeId, Buffer)>,
    /// How many of `values` belong to the current step; the others are kept for their memory.
    used: usize,
    result: Buffer,
}

impl Widened {
    fn next(&mut self, id: NodeId, len: usize) -> &mut [f32] {
        if self.used == self.values.len() {
            self.values.push((id, Buffer::default()));
        }
        let (node, buffer) = &mut self.values[self.used];
        self.used += 1;
        *node = id;
        buffer.at_least(len)
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Buffer> {
        let mut values = self.values[..self.used].iter();
        values.find(|(node, _)| *node == id).map(|(_, value)| value)
    }
}

impl Pass<'_> {
    fn kind(&self, id: NodeId) -> Kind {
        self.plan.kinds[id.index()]
    }

    /// Whether a node's value is stored otherwise than as `f32`.
    pub(super) fn is_narrow(&self, id: NodeId) -> bool {
        self.kind(id) != Kind::F32
    }

    /// A node's value as bf16, if that is how it is stored.
    pub(super) fn bf16(&self, id: NodeId) -> Option<&[Bf16]> {
        let slot = self.plan.values[id.index()].filter(|_| self.kind(id) == Kind::Bf16)?;
        Some(&self.buffers.bf16(slot)[..self.shape(id).len()])
    }

    /// The values of a node's sources as bf16, if all are.
    pub(super) fn bf16_parts(&self, id: NodeId) -> Option<Vec<&[Bf16]>> {
        let sources = self.plan.sources[id.index()].iter();
        sources.map(|source| self.bf16(source.node)).collect()
    }

    /// What a step reads and writes whose first node is `first` and whose last, the one that is written, is `last`.
    pub(super) fn operands(&self, first: NodeId, last: NodeId) -> Operands {
        let sources = &self.plan.sources[first.index()];
        let (mut all, mut none) = (!sources.is_empty(), true);
        for source in sources {
            all &= self.kind(source.node) == Kind::Bf16;
            none &= self.kind(source.node) == Kind::F32;
        }
        let rounded = self.kind(last) == Kind::Bf16;
        let conv = |reads: &dyn Fn(Conv2d) -> bool| {
            let conv = self.plan.conv2d(self.graph, first);
            conv.is_some_and(reads)
        };
        let codes = self.codes.is_some();
        match self.graph.node(first).op {
            _ if none && !rounded => Operands::F32,
            Op::Conv2d { .. } if codes && self.plan.quantized_conv(self.graph, first).is_some() => {
                Operands::Codes
            }
            Op::Depthwise { .. } | Op::Add | Op::GlobalAvgPool
                if codes && self.plan.reads_codes(first) =>
            {
                Operands::Codes
            }
            // The factors are a vector, which is never coded.
            Op::ScaleChannels if self.is_coded(self.input(first, 0)) => Operands::Codes,
            Op::Conv2d { .. } if all && conv(&|conv| conv.reads_bf16(rounded)) => Operands::Bf16,
            Op::Conv2d { .. } if none && rounded && conv(&Conv2d::writes_bf16) => Operands::ToBf16,
            Op::Depthwise { .. } | Op::Add if all && rounded => Operands::Bf16,
            Op::GlobalAvgPool if all && !rounded => Operands::Bf16,
            Op::ScaleChannels if rounded && self.bf16(self.input(first, 0)).is_some() => {
                Operands::Bf16
            }
            _ => Operands::F32,
        }
    }

    /// Widens the narrow values that a step reads, unless it reads them as they are.
    pub(super) fn widen_sources(&mut self, step: &Step) {
        self.widened.used = 0;
        let (first, last) = (step.first(), step.last());
        if self.operands(first, last) != Operands::F32 {
            return;
        }
        let mut widened = mem::take(self.widened);
        for source in &self.plan.sources[first.index()] {
            let id = source.node;
            if let Some(value) = self.quantized(id) {
                quantized::dequantize(value, widened.next(id, value.data.len()));
            } else if let Some(value) = self.bf16(id) {
                bf16::widen(value, widened.next(id, value.len()));
            }
        }
        *self.widened = widened;
    }

    /// Writes a node's value as `f32` into the result's buffer, and narrows it.
    pub(super) fn write_widened(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, &mut [f32], &mut Buffer),
    ) -> Done {
        let mut result = mem::take(&mut self.widened.result);
        let values = result.at_least(self.shape(id).len());
        let mut scratch = mem::take(self.scratch);
        body(self, values, &mut scratch);
        *self.scratch = scratch;
        if self.is_coded(id) {
            self.write_coded(id, |_, y, _| match y {
                Output::F32(y) => y.copy_from_slice(values),
                Output::U8(y, affine) => quantized::quantize(values, affine, y),
            })?;
        } else {
            self.write_bf16(id, |_, y, _| match y {
                bf16::Output::F32(y) => y.copy_from_slice(values),
                bf16::Output::Bf16(y) => bf16::narrow(values, y),
            })?;
        }
        self.widened.result = result;
        Ok(())
    }

    /// Writes a node's value in the form in which it is stored: as bf16 or as `f32`.
    pub(super) fn write_bf16(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, bf16::Output<'_>, &mut Buffer),
    ) -> Done {
        let Some(slot) = self.plan.values[id.index()] else {
            return Ok(());
        };
        let (mut buffer, mut scratch) = (self.buffers.take(slot), mem::take(self.scratch));
        let len = self.shape(id).len();
        let y = match self.kind(id) {
            Kind::Bf16 => bf16::Output::Bf16(&mut buffer.bf16_mut()[..len]),
            _ => bf16::Output::F32(&mut buffer[..len]),
        };
        body(self, y, &mut scratch);
        *self.scratch = scratch;
        self.buffers.put(slot, buffer);
        Ok(())
    }

    /// Whether a node's value is stored as codes.
    pub(super) fn is_coded(&self, id: NodeId) -> bool {
        self.plan.kinds[id.index()] == Kind::U8
    }

    /// A node's value as codes, if that is how it is stored.
    pub(super) fn quantized(&self, id: NodeId) -> Option<Quantized<'_>> {
        let affine = self.codes?.get(id).filter(|_| self.is_coded(id))?;
        let slot = self.plan.values[id.index()]?;
        let data = &self.buffers.bytes(slot)[..self.shape(id).len()];
        Some(Quantized { data, affine })
    }

    /// The values of a node's sources as codes, if all are.
    pub(super) fn quantized_parts(&self, id: NodeId) -> Option<Vec<Quantized<'_>>> {
        let sources = self.plan.sources[id.index()].iter();
        sources.map(|source| self.quantized(source.node)).collect()
    }

    /// Writes a node's value in the form in which it is stored.
    pub(super) fn write_coded(
        &mut self,
        id: NodeId,
        body: impl FnOnce(&Self, Output<'_>, &mut Buffer),
    ) -> Done {
        let Some(slot) = self.plan.values[id.index()] else {
            return Ok(());
        };
        let (mut buffer, mut scratch) = (self.buffers.take(slot), mem::take(self.scratch));
        let len = self.shape(id).len();
        let affine = self.codes.and_then(|codes| codes.get(id));
        let y = match affine.filter(|_| self.is_coded(id)) {
            Some(affine) => Output::U8(&mut buffer.bytes_mut()[..len], affine),
            None => Output::F32(&mut buffer[..len]),
        };
        body(self, y, &mut scratch);
        *self.scratch = scratch;
        self.buffers.put(slot, buffer);
        Ok(())
    }
}
