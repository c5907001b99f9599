//! What the readers of untrusted image files share: [`contained`] turns a panic of a decoder into an error for its file,
//! [`jpeg`] checks that a JPEG is complete, and [`huffman`] reads its entropy-coded data. A program that reads many images
//! calls [`keep_freed_memory`] first.
//!
//! The crate decodes no pixels and allocates nothing for them, so that `imaging` and `dicom` can both build on it.

pub mod huffman;
pub mod jpeg;

mod guard;
mod memory;

pub use guard::contained;
pub use memory::keep_freed_memory;
