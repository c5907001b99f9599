//! Launches recorded as CUDA graphs and replayed.

use std::sync::Arc;

use cudarc::driver::{CudaGraph, CudaStream, DriverError, sys};

use super::Recording;

/// The graphs of one stream.
pub(super) struct Recordings {
    stream: Arc<CudaStream>,
    graphs: Vec<Option<CudaGraph>>,
}

// SAFETY: calls on a CUDA graph must not be concurrent but may come from any thread; all go through `&mut self`, and
// each binds the context to the thread first.
unsafe impl Send for Recordings {}

impl Recordings {
    pub(super) fn on(stream: Arc<CudaStream>) -> Self {
        Recordings {
            stream,
            graphs: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.graphs.clear();
    }

    pub(super) fn begin(&mut self) -> Result<(), DriverError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode)
    }

    pub(super) fn end(&mut self) -> Result<Recording, DriverError> {
        let graph = self.stream.end_capture(sys::CUgraphInstantiate_flags(0))?;
        self.graphs.push(graph);
        Ok(Recording(self.graphs.len() - 1))
    }

    pub(super) fn replay(&mut self, recording: Recording) -> Result<(), DriverError> {
        match self.graphs.get(recording.0) {
            Some(Some(graph)) => graph.launch(),
            _ => Ok(()), // a recording without a launch
        }
    }
}
