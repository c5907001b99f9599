//! A trained network as an HTTP service.
//!
//! [`serve`] answers `POST /predict` with what `predict` writes about the same image, and `GET /health`, `/model`,
//! `/metrics` and `/openapi.json`; for archives it has STOW-RS, for people the pages
//! of `viewer`, which [`view`] serves alone. Images of different requests are predicted in one batch. Everything that a client
//! can make grow has a limit ([`Limits`]): requests at once, bytes, pixels, seconds. Every answer is recorded in an
//! append-only log ([`audit`]) before it is sent.
//!
//! A request passes these modules in turn: `listen` (connections), `access` (who may ask), `upload` (bytes to images),
//! `batches` (images to predictions), `answer` (predictions to JSON). An error on the way is a `problem` with the
//! status of its kind.

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod access;
mod answer;
mod archive;
pub mod audit;
mod batches;
mod card;
mod limits;
mod listen;
mod metrics;
mod problem;
mod routes;
mod stow;
mod upload;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use access::Token;
pub use archive::Archive;
pub use limits::Limits;
pub use listen::{serve, view};

/// How a network is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// What a client must state; `None` lets everyone ask who can reach the address.
    pub token: Option<Token>,
    /// What requests may take.
    pub limits: Limits,
    /// The file of the audit log.
    pub audit: PathBuf,
    /// Where results of images that come by STOW-RS go; without it none are taken.
    pub archive: Option<Archive>,
}
