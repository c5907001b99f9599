//! 3×3 convolutions of stride 1 with a quarter of the products: Winograd's F(4×4, 3×3).
//!
//! An output tile of 4×4 pixels comes from an input tile of 6×6. Input tiles and weights are transformed to 36 points
//! each; at every point the channels are joined by an ordinary matrix product over tiles, and the result is transformed
//! back. A task does all three for a block of tiles whose points stay in the second-level cache, so nothing of it goes
//! to memory. `product` is the forward pass and, with the weights turned round, the input's gradient;
//! `gradient` is the weights'. The result is the direct convolution's up to rounding (see `transform`).

mod gradient;
mod product;
mod transform;
mod weights;

pub(super) use gradient::WeightGradient as WinogradGradient;
pub(super) use product::Product;

use crate::{Nhwc, Window};
use transform::{IN, OUT};

/// Whether a convolution is done this way. It pays from few channels on; images below a tile or two are all border.
pub(super) fn suits(xs: Nhwc, cout: usize, window: Window) -> bool {
    const LEAST: usize = 8;
    window.kernel == [3, 3]
        && window.stride == 1
        && xs.c >= LEAST
        && cout >= LEAST
        && xs.h >= LEAST
        && xs.w >= LEAST
        && [(0, xs.h), (1, xs.w)]
            .iter()
            .all(|&(axis, len)| window.pad_before(axis, len) <= 2)
}

/// Values of a task's transformed input: with its output they stay in the second-level cache.
const BLOCK: usize = 160 * 1024;

/// The output as tiles, image by image and row by row; those at the lower and right border may stand out.
#[derive(Clone, Copy)]
struct Tiling {
    source: Nhwc,
    out: Nhwc,
    /// Padding before the first row and column.
    pad: [usize; 2],
    rows: usize,
    columns: usize,
}

impl Tiling {
    fn new(source: Nhwc, out: Nhwc, pad: [usize; 2]) -> Self {
        Self {
            source,
            out,
            pad,
            rows: out.h.div_ceil(OUT),
            columns: out.w.div_ceil(OUT),
        }
    }

    fn count(self) -> usize {
        self.out.n * self.rows * self.columns
    }

    /// Image, first row and first column of a tile.
    fn tile(self, index: usize) -> [usize; 3] {
        let (row, column) = (index / self.columns, index % self.columns);
        [row / self.rows, row % self.rows * OUT, column * OUT]
    }

    /// The source's pixels under a tile, `zeros` where it stands out.
    #[inline(always)]
    fn input(self, index: usize, values: &[f32], zeros: *const f32) -> [*const f32; IN * IN] {
        let [n, y, x] = self.tile(index);
        let first = [y.wrapping_sub(self.pad[0]), x.wrapping_sub(self.pad[1])];
        pixels::<IN, { IN * IN }>(values, self.source, n, first, zeros)
    }

    /// The pixels of a tensor of the output's shape under a tile.
    #[inline(always)]
    fn output(self, index: usize, values: &[f32], zeros: *const f32) -> [*const f32; OUT * OUT] {
        let [n, y, x] = self.tile(index);
        pixels::<OUT, { OUT * OUT }>(values, self.out, n, [y, x], zeros)
    }
}

/// `N` × `N` pixels of image `n` from a row and a column on, which may have wrapped round below zero.
#[inline(always)]
fn pixels<const N: usize, const NN: usize>(
    values: &[f32],
    shape: Nhwc,
    n: usize,
    first: [usize; 2],
    zeros: *const f32,
) -> [*const f32; NN] {
    let mut pixels = [zeros; NN];
    for y in 0..N {
        let row = first[0].wrapping_add(y);
        if row >= shape.h {
            continue;
        }
        for x in 0..N {
            let column = first[1].wrapping_add(x);
            if column < shape.w {
                pixels[y * N + x] =
                    values[((n * shape.h + row) * shape.w + column) * shape.c..].as_ptr();
            }
        }
    }
    pixels
}
