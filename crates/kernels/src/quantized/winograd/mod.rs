//! 3×3 convolutions of stride 1 by F(4×4, 3×3), as [`crate::conv2d`] computes them, with integers at the points.
//!
//! The input's transform is exact (`transform`). The transformed weights are rounded per point and output channel
//! (`weights`), and the sums of products are scaled as they are transformed back.

mod product;
mod transform;
mod weights;

pub(super) use product::Winograd;
