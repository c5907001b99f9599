//! Named weights from the Hugging Face hub: what is known of them, and one download that ends whole or not at all.
//!
//! A name stands for a repository, a file and what no file says of itself: the encoder that it belongs to, its licence
//! and the normalization that it was trained with. A download is checked against a SHA-256, goes on where a broken one
//! stopped, and appears in the cache by a rename, with a JSON file beside it that says where it came from.
//!
//! The crate knows files and HTTPS, and nothing of neural networks.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! let request = hub::Request::new(hub::find("tf_efficientnet_lite0.in1k")?, std::path::Path::new("cache"));
//! let fetched = hub::fetch(&request, &mut |_done, _total| ControlFlow::Continue(()))?;
//! println!("{}", fetched.path.display());
//! # Ok::<(), hub::HubError>(())
//! ```

// They panic where nobody reads; `terminal` prints.
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

/// The hub itself; `HF_ENDPOINT` names another, as for the hub's own tools.
pub const ENDPOINT: &str = "https://huggingface.co";
