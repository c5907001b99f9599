//! Predicts the images of all requests in batches.
//!
//! A thread takes what has arrived while the last batch was predicted: a lone request does not wait for others, and
//! under load batches are full. Predictions do not depend on the batch that an image is in.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::Result;
use axum::body::Bytes;
use files::sha256;
use imaging::ImageFile;
use pipeline::predict::{Found, Predictor};
use rayon::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::answer::{Completed, Wanted, completed};
use crate::audit::{Answered, Audit, Event};
use crate::metrics::{Metrics, Present};
use crate::problem::Problem;

/// An image that waits for its prediction.
pub(crate) struct Work {
    pub(crate) image: ImageFile,
    pub(crate) order: Order,
    pub(crate) _waiting: Present,
}

/// What is to be done with an image.
pub(crate) struct Order {
    pub(crate) bytes: Bytes,
    pub(crate) wanted: Wanted,
    /// The request that it is part of.
    pub(crate) request: Arc<str>,
    pub(crate) reply: oneshot::Sender<Result<Completed, Problem>>,
    /// Held as long as the pixels are in memory.
    pub(crate) _pixels: OwnedSemaphorePermit,
}

/// What a batch needs besides its images.
pub(crate) struct Batches {
    pub(crate) predictor: Arc<Predictor>,
    pub(crate) audit: Arc<Mutex<Audit>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Most images of a batch.
    pub(crate) most: usize,
}

impl Batches {
    /// Starts the thread. It ends when all senders are gone and everything is answered.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(self) -> Result<(mpsc::Sender<Work>, JoinHandle<()>)> {
        let (sender, receiver) = mpsc::channel(2 * self.most);
        let thread = thread::Builder::new().name("batches".into());
        let thread = thread.spawn(move || self.run(receiver))?;
        Ok((sender, thread))
    }

    fn run(self, mut receiver: mpsc::Receiver<Work>) {
        while let Some(first) = receiver.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < self.most {
                match receiver.try_recv() {
                    Ok(work) => batch.push(work),
                    Err(_) => break,
                }
            }
            // Those whose client has left.
            batch.retain(|work| !work.order.reply.is_closed());
            if !batch.is_empty() {
                self.predict(batch);
            }
        }
    }

    fn predict(&self, batch: Vec<Work>) {
        let started = Instant::now();
        let each = batch.into_iter().map(|work| (work.image, work.order));
        let (images, orders): (Vec<ImageFile>, Vec<Order>) = each.unzip();
        let found = self.predictor.find(&images);
        let each = images.par_iter().zip(&orders).zip(found);
        let results: Vec<_> = each
            .map(|((image, order), found)| self.completed(image, order, found))
            .collect();
        let written = self.record(&orders, &images, &results);
        self.metrics.batch(images.len(), started.elapsed());
        for (order, result) in orders.into_iter().zip(results) {
            if let Ok(completed) = &result {
                let class = completed.prediction.class.as_deref();
                self.metrics.image(class.unwrap_or(""));
            }
            // A client that has left meanwhile is no fault.
            let _ = order.reply.send(written.clone().and(result));
        }
    }

    fn completed(
        &self,
        image: &ImageFile,
        order: &Order,
        found: Result<Found>,
    ) -> Result<Completed, Problem> {
        let completed = found.and_then(|found| {
            completed(&self.predictor, (image, &order.bytes), found, order.wanted)
        });
        completed.map_err(|error| Problem::bad_image(format!("{error:#}")))
    }

    /// Writes the audit log; without it, there is no answer.
    fn record(
        &self,
        orders: &[Order],
        images: &[ImageFile],
        results: &[Result<Completed, Problem>],
    ) -> Result<(), Problem> {
        let each = orders.iter().zip(images).zip(results);
        let events = each.map(|((order, image), result)| match result {
            Ok(completed) => Event::Answered(Answered::of(&order.request, &completed.prediction)),
            Err(problem) => Event::Refused {
                request: order.request.to_string(),
                image_sha256: image.sha256().into(),
                status: problem.status.as_u16(),
            },
        });
        append(&self.audit, events)
    }
}

/// Writes to the audit log.
///
/// # Errors
/// The answer must not be sent.
pub(crate) fn append(
    audit: &Mutex<Audit>,
    events: impl IntoIterator<Item = Event>,
) -> Result<(), Problem> {
    let mut audit = audit.lock().unwrap_or_else(PoisonError::into_inner);
    audit.append(events).map_err(|error| {
        terminal::say(&format!("error: {error:#}"));
        Problem::busy("the audit log cannot be written, and nothing is answered without it")
    })
}

/// Records that an image could not be decoded.
pub(crate) fn refused(
    audit: &Mutex<Audit>,
    request: &str,
    bytes: &[u8],
    problem: &Problem,
) -> Result<(), Problem> {
    let event = Event::Refused {
        request: request.into(),
        image_sha256: sha256::hex(bytes),
        status: problem.status.as_u16(),
    };
    append(audit, [event])
}
