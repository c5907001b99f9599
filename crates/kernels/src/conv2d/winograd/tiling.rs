//! The output as tiles, and the pixels under them.

use super::transform::{Axis, IN, Load, OUT, Place, both_axes};
use crate::Nhwc;
use crate::conv2d::Conv2d;
use crate::conv2d::inputs::InputPart;
use crate::simd::{Element, Simd, for_vectors};

/// Tiles image by image and row by row; those at the lower and right border may extend beyond it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling {
    pub(crate) source: Nhwc,
    pub(crate) out: Nhwc,
    /// Padding before the first row and column.
    pad: [usize; 2],
    rows: usize,
    columns: usize,
}

impl Tiling {
    pub(crate) fn new(source: Nhwc, out: Nhwc, pad: [usize; 2]) -> Self {
        Self {
            source,
            out,
            pad,
            rows: out.h.div_ceil(OUT),
            columns: out.w.div_ceil(OUT),
        }
    }

    /// The tiles of a convolution's output, over its input.
    pub(crate) fn of(conv: Conv2d) -> Self {
        let Conv2d { xs, window, .. } = conv;
        let pad = [window.pad_before(0, xs.h), window.pad_before(1, xs.w)];
        Self::new(xs, conv.output(), pad)
    }

    pub(crate) fn count(self) -> usize {
        self.out.n * self.rows * self.columns
    }

    /// Tiles in a row of an image.
    pub(crate) fn columns(self) -> usize {
        self.columns
    }

    /// Image, first row and first column of a tile.
    pub(crate) fn tile(self, index: usize) -> [usize; 3] {
        let (row, column) = (index / self.columns, index % self.columns);
        [row / self.rows, row % self.rows * OUT, column * OUT]
    }

    /// The pixels under a tile of a part of the source; a doubled one has half its height and width.
    pub(crate) fn input<'a, X: Element>(
        self,
        index: usize,
        part: InputPart,
        values: &'a [X],
        zeros: &'a [X],
    ) -> Patch<'a, X, IN> {
        let [n, y, x] = self.tile(index);
        let first = [y.wrapping_sub(self.pad[0]), x.wrapping_sub(self.pad[1])];
        let shift = u32::from(part.doubled);
        let shape = self.source.with_channels(part.channels);
        Patch {
            values,
            zeros,
            shape,
            shift,
            n,
            first,
        }
    }

    /// The pixels of a tensor of the output's shape under a tile.
    pub(crate) fn output<'a>(
        self,
        index: usize,
        values: &'a [f32],
        zeros: &'a [f32],
    ) -> Patch<'a, f32, OUT> {
        let [n, y, x] = self.tile(index);
        Patch {
            values,
            zeros,
            shape: self.out,
            shift: 0,
            n,
            first: [y, x],
        }
    }
}

/// `N` × `N` pixels of an image, of which those beyond its border are zero.
pub(crate) struct Patch<'a, X, const N: usize> {
    values: &'a [X],
    /// As many as a pixel has channels.
    zeros: &'a [X],
    /// As the convolution reads it, after any doubling.
    shape: Nhwc,
    /// 1 where a pixel is read as 2×2, else 0.
    shift: u32,
    n: usize,
    /// First row and column; may have wrapped below zero.
    first: [usize; 2],
}

impl<X: Element, const N: usize> Patch<'_, X, N> {
    fn inside(&self) -> bool {
        let [y, x] = self.first;
        y < self.shape.h && x < self.shape.w && y + N <= self.shape.h && x + N <= self.shape.w
    }

    fn offset(&self, y: usize, x: usize) -> usize {
        let Nhwc { h, w, c, .. } = self.shape;
        let (h, w, y, x) = (
            h >> self.shift,
            w >> self.shift,
            y >> self.shift,
            x >> self.shift,
        );
        ((self.n * h + y) * w + x) * c
    }

    /// Transforms the channels `from..from + len` along both axes, a vector at a time; the vector at channel `from + i`
    /// goes to `to` shifted by `i / LANES · step`.
    ///
    /// # Safety
    /// `to` is writable at all those places.
    #[inline(always)]
    pub(crate) unsafe fn transform<S: Simd, const M: usize>(
        &self,
        s: S,
        axis: impl Axis<N, M>,
        from: usize,
        len: usize,
        to: impl Place<S>,
        step: usize,
    ) {
        assert!(
            from + len <= self.shape.c && self.shape.c <= self.zeros.len(),
            "channels beyond the last"
        );
        let [top, left] = self.first;
        if !self.inside() {
            let pixels = self.pixels();
            for_vectors!(s, len, |at, mask| {
                let from = Scattered {
                    pixels: &pixels,
                    at: from + at,
                    mask,
                };
                // SAFETY: each pointer is to a pixel or to as many zeros, and the mask ends with the channels; the
                // caller guarantees `to`.
                unsafe { both_axes(s, axis, &from, &mut to.shifted(at / S::LANES * step)) };
            });
            return;
        }
        let end = self.offset(top + N - 1, left + N - 1) + self.shape.c;
        assert!(end <= self.values.len(), "a patch beyond the image");
        let first = self.values[self.offset(top, left)..]
            .as_ptr()
            .wrapping_add(from);
        if self.shift == 0 {
            let (row, column) = (self.shape.w * self.shape.c, self.shape.c);
            for_vectors!(s, len, |at, mask| {
                let from = Dense {
                    first: first.wrapping_add(at),
                    row,
                    column,
                    mask,
                };
                // SAFETY: the patch is inside; the rest as above.
                unsafe { both_axes(s, axis, &from, &mut to.shifted(at / S::LANES * step)) };
            });
        } else {
            let (mut rows, mut columns) = ([0; N], [0; N]);
            for i in 0..N {
                rows[i] = self.offset(top + i, left) - self.offset(top, left);
                columns[i] = self.offset(top, left + i) - self.offset(top, left);
            }
            for_vectors!(s, len, |at, mask| {
                let from = Doubled {
                    first: first.wrapping_add(at),
                    rows: &rows,
                    columns: &columns,
                    mask,
                };
                // SAFETY: as above.
                unsafe { both_axes(s, axis, &from, &mut to.shifted(at / S::LANES * step)) };
            });
        }
    }

    fn pixels(&self) -> [[*const X; N]; N] {
        let mut pixels = [[self.zeros.as_ptr(); N]; N];
        for (y, row) in pixels.iter_mut().enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let (y, x) = (self.first[0].wrapping_add(y), self.first[1].wrapping_add(x));
                if y < self.shape.h && x < self.shape.w {
                    *pixel = self.values[self.offset(y, x)..][..self.shape.c].as_ptr();
                }
            }
        }
        pixels
    }
}

/// Pixels at equal steps, of which the channels selected by `mask` are read.
struct Dense<X, M> {
    first: *const X,
    row: usize,
    column: usize,
    mask: M,
}

impl<S: Simd, X: Element> Load<S> for Dense<X, S::Mask> {
    /// # Safety
    /// Those channels are readable in each pixel.
    #[inline(always)]
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { X::load(s, self.first.add(y * self.row + x * self.column), self.mask) }
    }
}

/// Pixels at steps of their own for rows and columns, of which the channels selected by `mask` are read.
struct Doubled<'a, X, M, const N: usize> {
    first: *const X,
    rows: &'a [usize; N],
    columns: &'a [usize; N],
    mask: M,
}

impl<S: Simd, X: Element, const N: usize> Load<S> for Doubled<'_, X, S::Mask, N> {
    /// # Safety
    /// Those channels are readable in each pixel.
    #[inline(always)]
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { X::load(s, self.first.add(self.rows[y] + self.columns[x]), self.mask) }
    }
}

/// Pixels at arbitrary addresses, of which the channels from `at` selected by `mask` are read.
struct Scattered<'a, X, M, const N: usize> {
    pixels: &'a [[*const X; N]; N],
    at: usize,
    mask: M,
}

impl<S: Simd, X: Element, const N: usize> Load<S> for Scattered<'_, X, S::Mask, N> {
    /// # Safety
    /// Those channels are readable in each pixel.
    #[inline(always)]
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { X::load(s, self.pixels[y][x].add(self.at), self.mask) }
    }
}
