//! The pages.

mod case;
mod frame;
pub(crate) mod new_images;
mod stage;
mod worklist;

pub(crate) use case::case;
pub(crate) use frame::fault;
pub(crate) use worklist::worklist;

/// A probability as a reader sees it.
fn percent(share: f64) -> String {
    report::format::percent(share, 1)
}
