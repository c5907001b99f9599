//! The outcome of an input.

use std::fmt::Display;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a target handled an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an error.
    Refused,
    /// As a valid input.
    Accepted,
    /// In a way that is not allowed; the reason.
    Wrong(String),
}

impl Outcome {
    /// An error, which must name the faulty file or key `name`.
    pub(crate) fn refused(error: impl Display, name: &str) -> Self {
        let text = error.to_string();
        match text.contains(name) {
            true => Self::Refused,
            false => Self::Wrong(format!("the error does not name {name}: {text}")),
        }
    }

    /// Accepted if `good`, otherwise wrong for this reason.
    pub(crate) fn accepted_if(good: bool, why: impl FnOnce() -> String) -> Self {
        match good {
            true => Self::Accepted,
            false => Self::Wrong(why()),
        }
    }
}

/// An input that failed, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The target.
    pub target: String,
    /// The case's number, from which it can be regenerated.
    pub case: u64,
    /// What happened.
    pub kind: Kind,
    /// A description: the panic's message and location, the signal, or what is wrong.
    pub message: String,
    /// The folder in which it is kept; `None` if enough of its kind are kept already.
    #[serde(default)]
    pub kept: Option<PathBuf>,
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A panic that reached the caller.
    Panic,
    /// The process ended by a signal or an abort.
    Death,
    /// More memory than the target's limit.
    Memory,
    /// No end within the limit.
    Hang,
    /// A wrong result.
    Wrong,
}
