//! What a run can say to the items of the checklists, each in a sentence or two. `None` where this run does not know.

mod data;
mod method;
mod results;
mod text;

pub(super) use data::*;
pub(super) use method::*;
pub(super) use results::*;
