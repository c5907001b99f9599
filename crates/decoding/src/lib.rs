//! What the readers of untrusted image files share: [`contained`] turns a panic of a decoder into an error for its file,
//! [`jpeg`] checks that a JPEG is complete, and [`huffman`] reads its entropy-coded data.
//!
//! The crate decodes no pixels and allocates nothing for them, so that `imaging` and `dicom` can both build on it.

pub mod huffman;
pub mod jpeg;

mod guard;

pub use guard::contained;
