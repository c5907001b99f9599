//! The tests of this crate in one program, because each would be linked for itself.

mod augmenter;
mod elastic;
mod geometry;
mod mix;
mod random_resized_crop;
mod reference;
