//! The slots of a plan as vectors that can be taken out while they are written.

use std::mem;

use crate::plan::SlotId;

/// One vector a slot; they only ever grow.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    slots: Vec<Vec<f32>>,
}

impl Buffers {
    /// Makes every slot at least as long as a plan needs.
    pub(super) fn fit(&mut self, lens: &[usize]) {
        if self.slots.len() < lens.len() {
            self.slots.resize_with(lens.len(), Vec::new);
        }
        for (slot, len) in self.slots.iter_mut().zip(lens) {
            if slot.len() < *len {
                slot.resize(*len, 0.0);
            }
        }
    }

    /// The first `len` elements of a slot.
    pub(super) fn get(&self, slot: SlotId, len: usize) -> &[f32] {
        &self.slots[slot.index()][..len]
    }

    /// Takes a slot's vector out, to be written while others are read; give it back with [`Buffers::put`].
    pub(super) fn take(&mut self, slot: SlotId) -> Vec<f32> {
        mem::take(&mut self.slots[slot.index()])
    }

    /// Puts a taken vector back.
    pub(super) fn put(&mut self, slot: SlotId, buffer: Vec<f32>) {
        self.slots[slot.index()] = buffer;
    }
}
