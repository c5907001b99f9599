//! What the service counts, in Prometheus's text format.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

fn owned((name, value): (&'static str, &str)) -> (&'static str, String) {
    (name, value.into())
}

type Labels = Vec<(&'static str, String)>;

/// Counters, and the registry that writes them.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    images: Family<Labels, Counter>,
    /// Requests that are being read or answered.
    pub(crate) in_flight: Gauge,
    /// Decoded images that wait for a batch.
    pub(crate) waiting: Gauge,
    batch: Histogram,
    seconds: Histogram,
    predicting: Counter<f64, AtomicU64>,
}

/// Counts a thing as long as it exists.
pub(crate) struct Present(Gauge);

impl Present {
    pub(crate) fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Present(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new(weights_sha256: &str) -> Arc<Self> {
        let mut registry = Registry::with_prefix("effunet");
        let about = Info::new(
            [
                ("version", pipeline::VERSION),
                ("weights_sha256", weights_sha256),
            ]
            .map(owned)
            .to_vec(),
        );
        registry.register("build", "What is served", about);
        let seconds = [
            0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
        ];
        let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
        let mut metrics = Metrics {
            registry,
            requests: Family::default(),
            images: Family::default(),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            batch: Histogram::new(sizes),
            seconds: Histogram::new(seconds),
            predicting: Counter::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let to = &mut self.registry;
        to.register("requests", "Requests, by status", self.requests.clone());
        to.register("images", "Images predicted, by class", self.images.clone());
        to.register(
            "requests_in_flight",
            "Requests being read or answered",
            self.in_flight.clone(),
        );
        to.register(
            "images_waiting",
            "Decoded images that wait for a batch",
            self.waiting.clone(),
        );
        to.register("batch_size", "Images predicted at once", self.batch.clone());
        to.register_with_unit(
            "request_duration",
            "From the first byte of a request to its answer, of requests for predictions",
            Unit::Seconds,
            self.seconds.clone(),
        );
        to.register_with_unit(
            "predicting",
            "Time in which the network was predicting",
            Unit::Seconds,
            self.predicting.clone(),
        );
    }

    pub(crate) fn request(&self, status: StatusCode, time: Duration) {
        let labels = vec![("status", status.as_u16().to_string())];
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(time.as_secs_f64());
    }

    /// An image; the class of a segmenter is empty.
    pub(crate) fn image(&self, class: &str) {
        let labels = vec![("class", class.to_owned())];
        self.images.get_or_create(&labels).inc();
    }

    pub(crate) fn batch(&self, images: usize, time: Duration) {
        self.batch.observe(images as f64);
        self.predicting.inc_by(time.as_secs_f64());
    }

    /// All metrics as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
