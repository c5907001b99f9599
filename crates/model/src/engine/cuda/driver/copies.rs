//! Copies concurrent with the launches: on streams of their own, uploads from pinned memory.

use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, PinnedHostSlice, result};
use rayon::prelude::*;

use super::Address;

/// Copies of one GPU while it computes.
pub(super) struct Copies {
    context: Arc<CudaContext>,
    uploads: Arc<CudaStream>,
    downloads: Arc<CudaStream>,
    slots: HashMap<usize, Slot>,
    marks: HashMap<usize, CudaEvent>,
}

/// Pinned memory, and an event that marks the end of the copies from it.
struct Slot {
    memory: PinnedHostSlice<f32>,
    sent: CudaEvent,
}

impl Copies {
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        Ok(Copies {
            uploads: context.new_stream()?,
            downloads: context.new_stream()?,
            context: context.clone(),
            slots: HashMap::new(),
            marks: HashMap::new(),
        })
    }

    /// Waits until the slot's earlier copies are complete, copies to its pinned memory, and queues the copies from
    /// there.
    pub(super) fn upload(
        &mut self,
        slot: usize,
        parts: &[(Address, &[f32])],
    ) -> Result<(), DriverError> {
        let len = parts.iter().map(|(_, data)| data.len()).sum();
        self.make_room(slot, len)?;
        let Some(Slot { memory, sent }) = self.slots.get_mut(&slot) else {
            return Ok(()); // nothing to copy
        };
        sent.synchronize()?;
        let mut room = memory.as_mut_slice()?;
        for (to, data) in parts {
            let (here, rest) = room.split_at_mut(data.len());
            copy(here, data);
            // SAFETY: the destination has room for the data; the pinned memory is not overwritten before `sent`.
            unsafe { result::memcpy_htod_async(to.0, &*here, self.uploads.cu_stream()) }?;
            room = rest;
        }
        sent.record(&self.uploads)
    }

    fn make_room(&mut self, slot: usize, len: usize) -> Result<(), DriverError> {
        if let Some(slot) = self.slots.get(&slot) {
            if slot.memory.len() >= len {
                return Ok(());
            }
            slot.sent.synchronize()?;
        }
        if len == 0 {
            return Ok(());
        }
        // SAFETY: it is written before it is read.
        let memory = unsafe { self.context.alloc_pinned::<f32>(len) }?;
        let sent = self.uploads.record_event(None)?;
        self.slots.insert(slot, Slot { memory, sent });
        Ok(())
    }

    /// Makes all work queued on a stream from now on wait for the slot's uploads.
    pub(super) fn join(&self, slot: usize, stream: &CudaStream) -> Result<(), DriverError> {
        match self.slots.get(&slot) {
            Some(slot) => stream.wait(&slot.sent),
            None => Ok(()),
        }
    }

    /// Marks the current end of a stream.
    pub(super) fn mark(&mut self, slot: usize, stream: &CudaStream) -> Result<(), DriverError> {
        match self.marks.get(&slot) {
            Some(mark) => mark.record(stream),
            None => {
                self.marks.insert(slot, stream.record_event(None)?);
                Ok(())
            }
        }
    }

    /// Copies from the device once the work before the slot's mark is complete.
    pub(super) fn download(
        &self,
        slot: usize,
        from: Address,
        data: &mut [f32],
    ) -> Result<(), DriverError> {
        if let Some(mark) = self.marks.get(&slot) {
            self.downloads.wait(mark)?;
        }
        // SAFETY: the source has room for as many values; the slice is not accessed until the stream is synchronized.
        unsafe { result::memcpy_dtoh_async(data, from.0, self.downloads.cu_stream()) }?;
        self.downloads.synchronize()
    }
}

/// Elements that one thread copies at a time: a single thread could not copy a batch of images while a step runs.
const SHARE: usize = 1 << 17;

fn copy(to: &mut [f32], from: &[f32]) {
    let shares = to.par_chunks_mut(SHARE).zip(from.par_chunks(SHARE));
    shares.for_each(|(to, from)| to.copy_from_slice(from));
}
