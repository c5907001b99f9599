//! What requests may take of the machine.

use std::time::Duration;

/// Limits, each of which ends in an error with a status of its own.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Images predicted at once.
    pub batch: usize,
    /// Requests that are being read or wait for their predictions; more are answered with 503.
    pub requests: usize,
    /// The same for one client's address; more are answered with 429.
    pub per_client: Option<usize>,
    /// Bytes of a request; more are answered with 413.
    pub bytes: usize,
    /// Images in a request; more are answered with 413.
    pub images: usize,
    /// Pixels of an image; more are answered with 422.
    pub pixels: u64,
    /// Bytes of all requests together. A request waits until there is room.
    pub memory: usize,
    /// For a request to arrive completely; 408 thereafter.
    pub reading: Duration,
    /// For its predictions; 503 thereafter.
    pub predicting: Duration,
    /// For a client to take its answer, and for requests to end once the service is told to stop.
    pub leaving: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            batch: 8,
            requests: 256,
            per_client: None,
            bytes: 64 << 20,
            images: 64,
            pixels: 40_000_000,
            memory: 1 << 30,
            reading: Duration::from_secs(60),
            predicting: Duration::from_secs(60),
            leaving: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Pixels of all decoded images that wait for a batch: a batch, and another one of the largest images.
    pub(crate) fn waiting_pixels(&self) -> u64 {
        self.pixels.saturating_mul(4)
    }
}
