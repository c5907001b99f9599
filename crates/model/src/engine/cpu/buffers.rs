//! The slots of a plan as buffers that can be taken out while they are written.

use std::mem;

use kernels::Buffer;
use kernels::bf16::Bf16;

use crate::plan::SlotId;

/// One buffer per slot; buffers never shrink.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    slots: Vec<Buffer>,
}

impl Buffers {
    /// Makes every slot at least as long as a plan needs.
    pub(super) fn fit(&mut self, lens: &[usize]) {
        if self.slots.len() < lens.len() {
            self.slots.resize_with(lens.len(), Buffer::default);
        }
        for (slot, len) in self.slots.iter_mut().zip(lens) {
            slot.grow(*len);
        }
    }

    /// The first `len` elements of a slot.
    pub(super) fn get(&self, slot: SlotId, len: usize) -> &[f32] {
        &self.slots[slot.index()][..len]
    }

    /// A slot as bytes.
    pub(super) fn bytes(&self, slot: SlotId) -> &[u8] {
        self.slots[slot.index()].bytes()
    }

    /// A slot as bf16 numbers.
    pub(super) fn bf16(&self, slot: SlotId) -> &[Bf16] {
        self.slots[slot.index()].bf16()
    }

    /// Takes a slot's buffer out, so that it can be written while others are read; return it with [`Buffers::put`].
    pub(super) fn take(&mut self, slot: SlotId) -> Buffer {
        mem::take(&mut self.slots[slot.index()])
    }

    /// Puts a taken buffer back.
    pub(super) fn put(&mut self, slot: SlotId, buffer: Buffer) {
        self.slots[slot.index()] = buffer;
    }
}
