//! Inference on feature maps of bytes: a quarter of the memory traffic, and two or four products of integers in a lane
//! where there is one of `f32`.
//!
//! A tensor has an affine code ([`Affine`]); real 0, which pads convolutions, is always one of its codes. Direct
//! convolutions (`gather`, `few`) multiply codes by weights of 8 bits, four in a lane; Winograd's algorithm multiplies
//! transformed codes and weights as pairs of `i16`. Sums are `i32`. Weights are rounded with as many bits as leave no sum of
//! any input beyond that (`bound`), so all sums are exact, and the same with any instruction set. What follows a sum
//! (scale, bias, activation, the output's code) is `f32`.

#![allow(
    clippy::needless_range_loop,
    reason = "tiles are arrays of arrays that share their indices"
)]

mod affine;
mod band;
mod bound;
mod conv;
pub mod depthwise;
mod elementwise;
mod few;
mod gather;
mod reduce;
mod widen;
mod winograd;
mod write;

pub use affine::{Affine, Output, Quantized};
pub use conv::QuantizedConv;
pub use elementwise::{add, dequantize, quantize, scale_channels};
pub use reduce::{global_avg_pool, range};
