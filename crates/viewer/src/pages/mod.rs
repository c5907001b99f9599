//! The pages.

mod case;
mod frame;
pub(crate) mod new_images;
mod stage;
mod worklist;

use report::Outcome;

pub(crate) use case::case;
pub(crate) use frame::fault;
pub(crate) use worklist::worklist;

/// A class for the style, and words for a reader.
fn words(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Correct => ("correct", "right"),
        Outcome::FalsePositive => ("fp", "false positive"),
        Outcome::FalseNegative => ("fn", "false negative"),
        Outcome::Wrong => ("wrong", "wrong"),
    }
}

/// A probability as a reader sees it.
fn percent(share: f64) -> String {
    report::format::percent(share, 1)
}
