//! 3×3 convolutions of stride 1 with a quarter of the products: Winograd's F(4×4, 3×3).
//!
//! An output tile of 4×4 pixels comes from an input tile of 6×6. Input tiles and weights are transformed to 6×6 points
//! each; at every point the channels are joined by an ordinary matrix product over tiles, and the result is transformed
//! back. `product` is the forward pass and, with the weights rotated and transposed, the input's gradient; `gradient`
//! is the weights'. Data between two transforms stay in the caches of the core that works on them, except in a product
//! with heavy weights, where they go through the shared cache or memory and the weights are read fewer times. The result
//! equals that of the direct convolution up to rounding (see `transform`).

mod gradient;
pub(crate) mod product;
pub(crate) mod task;
pub(crate) mod tiling;
pub(crate) mod transform;
pub(crate) mod weights;

pub(super) use gradient::WeightGradient as WinogradGradient;
pub(super) use product::Product;

use crate::{Nhwc, Window};

/// Whether a product that reads `channels` channels, and writes any number, is computed this way. With few channels to
/// read, transforming the source costs more than it saves; images smaller than a tile or two are all border.
pub(crate) fn suits(xs: Nhwc, channels: usize, window: Window) -> bool {
    const MIN: usize = 8;
    window.kernel == [3, 3]
        && window.stride == 1
        && channels.min(xs.h).min(xs.w) >= MIN
        && [(0, xs.h), (1, xs.w)]
            .iter()
            .all(|&(axis, len)| window.pad_before(axis, len) <= 2)
}
