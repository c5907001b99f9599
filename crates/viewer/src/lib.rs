//! A network's work to look at in a browser.
//!
//! [`Viewer::router`] serves pages about a finished run ([`Study`]): a worklist of its test images, those that need a
//! person first at its head; each image with the network's map, whose certainty can be moved; and the decision
//! threshold, which moves the confusion matrix, the predictive values at a prevalence, and the worklist with them.
//! [`Viewer::new_images`] is the page of images that have just been predicted.
//!
//! Pages are HTML from the server and complete without their script, but for what only a script can do: zoom, window,
//! certainty. They fetch nothing from elsewhere. Who may ask is for the caller to decide: `serve` does.

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod assets;
mod opened;
mod pages;
mod pictures;
mod query;
mod routes;
mod study;
mod worklist;

use std::sync::Arc;

use pipeline::predict::Predictor;
use tokio::sync::Semaphore;

use crate::opened::Recent;
pub use pages::new_images::Seen;
pub use pictures::Pictures;
pub use study::Study;

/// What is looked at, and with which network.
pub struct Viewer {
    study: Option<Study>,
    /// Computes maps; without it there are none.
    predictor: Option<Arc<Predictor>>,
    /// The path to which images can be sent for [`Viewer::new_images`].
    uploads: Option<&'static str>,
    recent: Recent,
    /// Images that may be read or mapped at the same time.
    work: Semaphore,
}

impl Viewer {
    /// `uploads` is the path of the page on which the caller takes new images, if it does.
    pub fn new(
        study: Option<Study>,
        predictor: Option<Arc<Predictor>>,
        uploads: Option<&'static str>,
    ) -> Self {
        Viewer {
            study,
            predictor,
            uploads,
            recent: Recent::default(),
            work: Semaphore::new(2),
        }
    }

    /// Whether there is a run, and thus a page at `/`.
    pub fn has_cases(&self) -> bool {
        self.study.is_some()
    }
}
