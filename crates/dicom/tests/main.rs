//! The tests of this crate in one program, because each would be linked for itself.

mod codecs;
mod colour;
mod files;
mod grey;
mod results;
mod support;
