//! Training a network: losses, optimizers, schedules, early stopping, checkpoints, and the training loop.
//!
//! [`fit`] is the loop. It depends on neither image files nor progress bars: batches come from a [`Data`], events go
//! to an [`Observer`], metrics beyond loss and accuracy are [`Metric`]s. A run is a function of its seed, its
//! settings, the initial weights and the batches: dropout is drawn from (seed, step), all sums have a fixed order, and
//! a run killed at any time resumes from its last epoch with bit-identical results.
//!
//! The losses are dfdx tensor operations, and the steps apply a rule of [`model::engine::recipe::Update`] to the network's
//! weights. A GPU computes both itself ([`resident`]), with the same results.
//!
//! A crate of its own because networks run in many places that never train one, and dfdx's losses have one user.
//! `tests/train.rs` has a complete example: a [`Data`] in memory, a [`Job`], and a call of [`fit`].

pub mod clip;
pub mod ema;
pub mod freeze;
pub mod loss;
pub mod map_loss;
pub mod monitor;
pub mod optimizer;
pub mod resident;
pub mod schedule;
pub mod stopping;
pub mod swa;
pub mod task;

mod averaging;
mod buckets;
mod buffers;
mod chunks;
mod config;
mod error;
mod event;
mod fit;
mod job;
mod lockstep;
mod map_dice;
mod on_device;
mod pass;
mod resume;
mod run;
mod share;
mod step;
mod tally;
mod together;
mod validate;

pub use config::TrainConfig;
pub use error::{BatchError, TrainError};
pub use event::{
    Batch, BatchEvent, Batches, BoxError, Data, EpochRecord, Metric, Mixed, Observer, Phase,
    PhaseRecord,
};
pub use fit::fit;
pub use job::{Job, Outcome, Stopped};
pub use tally::hits;
pub use task::Task;
