//! Doubling height and width, nearest or bilinear with half-pixel centres (`align_corners=False`).
//!
//! All four passes are one loop: each pixel written is a weighted sum of `K × K` pixels read, with the weights of its
//! row and of its column. The backward passes gather, so that no two tasks write the same value.

use crate::parallel::{Shared, for_each};
use crate::simd::{Kernel, Simd, dispatch, for_vectors};
use crate::{Accumulate, Nhwc};

/// The positions that one position of an axis reads, with their weights.
type Sources<const K: usize> = [(usize, f32); K];

/// `y[2i+a, 2j+b] = x[i, j]`; `xs` is the shape of `x`, `y` has twice its height and width.
pub fn nearest2x_forward(x: &[f32], xs: Nhwc, y: &mut [f32]) {
    resample(x, xs, y, xs.doubled(), Accumulate::Replace, |o, _| {
        [(o / 2, 1.0)]
    });
}

/// Gradient of [`nearest2x_forward`].
pub fn nearest2x_backward(dy: &[f32], xs: Nhwc, dx: &mut [f32], acc: Accumulate) {
    resample(dy, xs.doubled(), dx, xs, acc, |i, _| {
        [(2 * i, 1.0), (2 * i + 1, 1.0)]
    });
}

/// `y[2i] = ¾ x[i] + ¼ x[i−1]`, `y[2i+1] = ¾ x[i] + ¼ x[i+1]` along both axes, repeated at the borders.
pub fn bilinear2x_forward(x: &[f32], xs: Nhwc, y: &mut [f32]) {
    resample(
        x,
        xs,
        y,
        xs.doubled(),
        Accumulate::Replace,
        bilinear_forward,
    );
}

/// Gradient of [`bilinear2x_forward`].
pub fn bilinear2x_backward(dy: &[f32], xs: Nhwc, dx: &mut [f32], acc: Accumulate) {
    resample(dy, xs.doubled(), dx, xs, acc, bilinear_backward);
}

fn bilinear_forward(o: usize, len: usize) -> Sources<2> {
    let neighbour = if o.is_multiple_of(2) {
        (o / 2).saturating_sub(1)
    } else {
        (o / 2 + 1).min(len - 1)
    };
    [(o / 2, 0.75), (neighbour, 0.25)]
}

/// The output positions that read position `i` in [`bilinear_forward`], with their weights; `doubled` is the length of
/// the output. At a border the nearest output reads it twice.
fn bilinear_backward(i: usize, doubled: usize) -> Sources<4> {
    let (first, last) = (i == 0, 2 * i + 2 == doubled);
    [
        ((2 * i).saturating_sub(1), if first { 0.0 } else { 0.25 }),
        (2 * i, if first { 1.0 } else { 0.75 }),
        (2 * i + 1, if last { 1.0 } else { 0.75 }),
        ((2 * i + 2).min(doubled - 1), if last { 0.0 } else { 0.25 }),
    ]
}

fn resample<const K: usize>(
    from: &[f32],
    read: Nhwc,
    to: &mut [f32],
    written: Nhwc,
    acc: Accumulate,
    sources: impl Fn(usize, usize) -> Sources<K> + Copy + Send + Sync,
) {
    assert_eq!(
        from.len(),
        read.len(),
        "resize: length of the input for {read:?}"
    );
    assert_eq!(
        to.len(),
        written.len(),
        "resize: length of the output for {written:?}"
    );
    let out = Shared::new(to);
    for_each(written.n * written.h, |row| {
        let width = written.w * written.c;
        // SAFETY: rows are disjoint.
        let out = unsafe { out.part(row * width..(row + 1) * width) };
        let image = &from[row / written.h * read.h * read.w * read.c..][..read.h * read.w * read.c];
        dispatch(Row {
            image,
            read,
            rows: sources(row % written.h, read.h),
            sources,
            out,
            acc,
        });
    });
}

struct Row<'a, F, const K: usize> {
    image: &'a [f32],
    read: Nhwc,
    rows: Sources<K>,
    sources: F,
    out: &'a mut [f32],
    acc: Accumulate,
}

impl<F: Fn(usize, usize) -> Sources<K>, const K: usize> Kernel for Row<'_, F, K> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Nhwc { w, c, .. } = self.read;
        for (column, pixel) in self.out.chunks_exact_mut(c).enumerate() {
            let columns = (self.sources)(column, w);
            for_vectors!(s, c, |at, mask| {
                // SAFETY: the mask ends with the pixel's channels; `sources` gives positions inside both axes.
                unsafe {
                    let mut sum = s.splat(0.0);
                    for (row, row_weight) in self.rows {
                        for (column, weight) in columns {
                            let value =
                                s.load(self.image.as_ptr().add((row * w + column) * c + at), mask);
                            sum = s.mul_add(value, s.splat(row_weight * weight), sum);
                        }
                    }
                    let to = pixel.as_mut_ptr().add(at);
                    if self.acc == Accumulate::Add {
                        sum = s.add(sum, s.load(to, mask));
                    }
                    s.store(to, mask, sum);
                }
            });
        }
    }
}
