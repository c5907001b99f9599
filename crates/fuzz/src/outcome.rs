//! What came of an input.

use std::fmt::Display;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a target took an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By an error.
    Refused,
    /// As a good input.
    Accepted,
    /// As it must not; the reason.
    Wrong(String),
}

impl Outcome {
    /// An error, which must name what it is about: `name` is a file or a key.
    pub(crate) fn refused(error: impl Display, name: &str) -> Self {
        let text = error.to_string();
        match text.contains(name) {
            true => Self::Refused,
            false => Self::Wrong(format!("the error does not name {name}: {text}")),
        }
    }

    /// Good if so, else wrong for this reason.
    pub(crate) fn accepted_if(good: bool, why: impl FnOnce() -> String) -> Self {
        match good {
            true => Self::Accepted,
            false => Self::Wrong(why()),
        }
    }
}

/// An input that failed, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The target.
    pub target: String,
    /// The case's number, from which it can be made again.
    pub case: u64,
    /// What happened.
    pub kind: Kind,
    /// In words: the panic's message and place, the signal, what is wrong.
    pub message: String,
    /// The folder that keeps it; `None` where enough of the kind were kept.
    #[serde(default)]
    pub kept: Option<PathBuf>,
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A panic that reached the caller.
    Panic,
    /// The process ended by a signal or an abort.
    Death,
    /// More memory than the target's bound.
    Memory,
    /// No end within the limit.
    Hang,
    /// A wrong answer.
    Wrong,
}
