//! Named weights from the Hugging Face hub: a table of known weights, and their atomic download.
//!
//! A name stands for a repository, a file and what the file itself does not contain: the encoder that it belongs to,
//! its licence and the normalization that it was trained with. A download is checked against a SHA-256, resumes where a
//! broken one stopped, and is moved into the cache by a rename, next to a JSON file that records its origin.
//!
//! The crate deals with files and HTTPS only; it does not depend on neural networks.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! let request = hub::Request::new(hub::find("tf_efficientnet_lite0.in1k")?, std::path::Path::new("cache"));
//! let fetched = hub::fetch(&request, &mut |_done, _total| ControlFlow::Continue(()))?;
//! println!("{}", fetched.path.display());
//! # Ok::<(), hub::HubError>(())
//! ```

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cache;
mod client;
mod error;
mod fetch;
mod known;

pub use cache::{cached, default_cache};
pub use error::HubError;
pub use fetch::{Fetched, Request, fetch};
pub use known::{Known, find, known};

/// The hub's address; `HF_ENDPOINT` overrides it, as for the hub's own tools.
pub const ENDPOINT: &str = "https://huggingface.co";
