//! The tests of this crate in one program, because each would be linked for itself.

mod common;
mod dicom;
mod eda;
mod index;
mod index_cache;
mod layouts;
mod loader;
mod masks;
mod near_copies;
mod phantom;
mod scale;
mod shared_data;
mod tables;
