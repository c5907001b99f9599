//! Fitting a network: losses, optimizers, schedules, stopping, checkpoints, and the loop that joins them.
//!
//! [`fit`] is the loop. It knows neither files of images nor progress bars: batches come from a [`Data`], events go
//! to an [`Observer`], figures beyond loss and accuracy are [`Metric`]s. A run is a function of its seed, its
//! settings, the first weights and the batches: dropout is drawn from (seed, step), all sums have a fixed order, and
//! a run that is killed at any moment resumes from its last epoch to the same bits.
//!
//! The losses are dfdx's tensor operations, the steps dfdx's update rules on the network's flat parameters; a GPU computes
//! both itself ([`resident`]), to dfdx's figures.

pub mod clip;
pub mod ema;
pub mod loss;
pub mod map_loss;
pub mod monitor;
pub mod optimizer;
pub mod resident;
pub mod schedule;
pub mod stopping;
pub mod task;

mod config;
mod error;
mod event;
mod fit;
mod job;
mod map_dice;
mod on_device;
mod resume;
mod run;
mod step;
mod tally;
mod validate;

pub use config::TrainConfig;
pub use error::{BatchError, TrainError};
pub use event::{
    Batch, BatchEvent, Batches, BoxError, Data, EpochRecord, Metric, Observer, Phase, PhaseRecord,
};
pub use fit::fit;
pub use job::{Job, Outcome, Stopped};
pub use tally::hits;
pub use task::Task;
