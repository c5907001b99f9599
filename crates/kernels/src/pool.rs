//! Pooling.

use crate::bias::Value;
use crate::map::{Map, Rows, map_rows};
use crate::parallel::{Shared, for_each};
use crate::reduce::{store, sum_pixels};
use crate::simd::{Element, Kernel, Simd, dispatch};
use crate::{Accumulate, Nhwc, Window};

/// The largest value under each window and, in `argmax`, its pixel within the image (`row · w + column`).
///
/// The first of equal values is chosen, and NaN before any number, as in PyTorch. Padding is never chosen.
/// `y` and `argmax` have shape `window.output(xs, xs.c)`; the padding must be smaller than the kernel.
pub fn max_pool_forward(x: &[f32], xs: Nhwc, window: Window, y: &mut [f32], argmax: &mut [u32]) {
    let ys = window.fitted(xs, xs.c);
    assert_eq!(
        x.len(),
        xs.len(),
        "max_pool_forward: length of x for {xs:?}"
    );
    assert!(
        y.len() == ys.len() && argmax.len() == ys.len(),
        "max_pool_forward: length of y or argmax for {ys:?}"
    );
    assert!(
        u32::try_from(xs.h * xs.w).is_ok(),
        "max_pool_forward: an image of {xs:?} has too many pixels"
    );
    let (width, y, argmax) = (ys.w * ys.c, Shared::new(y), Shared::new(argmax));
    for_each(ys.n * ys.h, |row| {
        let range = row * width..(row + 1) * width;
        let image = &x[row / ys.h * xs.h * xs.w * xs.c..];
        // SAFETY: rows are disjoint.
        let (y, argmax) = unsafe { (y.part(range.clone()), argmax.part(range)) };
        dispatch(MaxRow {
            image,
            xs,
            window,
            row: row % ys.h,
            y,
            argmax,
        });
    });
}

/// Passes each gradient to the pixel that was chosen: `dx (+)= …`.
pub fn max_pool_backward(
    dy: &[f32],
    argmax: &[u32],
    xs: Nhwc,
    window: Window,
    dx: &mut [f32],
    acc: Accumulate,
) {
    let ys = window.fitted(xs, xs.c);
    assert_eq!(
        dx.len(),
        xs.len(),
        "max_pool_backward: length of dx for {xs:?}"
    );
    assert!(
        dy.len() == ys.len() && argmax.len() == ys.len(),
        "max_pool_backward: length of dy or argmax for {ys:?}"
    );
    let (image, pooled, dx) = (xs.h * xs.w * xs.c, ys.h * ys.w * ys.c, Shared::new(dx));
    for_each(xs.n, |n| {
        // SAFETY: images are disjoint.
        let dx = unsafe { dx.part(n * image..(n + 1) * image) };
        if acc == Accumulate::Replace {
            dx.fill(0.0);
        }
        let range = n * pooled..(n + 1) * pooled;
        for (i, (g, pixel)) in dy[range.clone()].iter().zip(&argmax[range]).enumerate() {
            dx[*pixel as usize * xs.c + i % xs.c] += g;
        }
    });
}

/// Mean over each image's pixels; `y` is `[n, c]`.
pub fn global_avg_forward(x: &[f32], xs: Nhwc, y: &mut [f32]) {
    global_avg(x, xs, y);
}

/// [`global_avg_forward`], for any element.
pub(crate) fn global_avg<T: Element>(x: &[T], xs: Nhwc, y: &mut [f32]) {
    assert_eq!(
        x.len(),
        xs.len(),
        "global_avg_forward: length of x for {xs:?}"
    );
    assert_eq!(
        y.len(),
        xs.n * xs.c,
        "global_avg_forward: length of y for {xs:?}"
    );
    let (area, image, y) = ((xs.h * xs.w) as f64, xs.h * xs.w * xs.c, Shared::new(y));
    for_each(xs.n, |n| {
        let mut means = sum_pixels(Value, [&x[n * image..(n + 1) * image]], [], xs.c);
        means.iter_mut().for_each(|mean| *mean /= area);
        // SAFETY: images are disjoint.
        store(
            &means,
            unsafe { y.part(n * xs.c..(n + 1) * xs.c) },
            Accumulate::Replace,
        );
    });
}

/// `dx[n, …, c] (+)= dy[n, c] / (h · w)`.
pub fn global_avg_backward(dy: &[f32], xs: Nhwc, dx: &mut [f32], acc: Accumulate) {
    assert_eq!(
        dx.len(),
        xs.len(),
        "global_avg_backward: length of dx for {xs:?}"
    );
    let rows = Rows {
        sample: xs.h * xs.w * xs.c,
        channels: xs.c,
    };
    let share = Share(1.0 / (xs.h * xs.w) as f32);
    map_rows::<f32, _, 0, 1>(share, [], [dy], rows, dx, acc);
}

#[derive(Clone, Copy)]
struct Share(f32);

impl Map<0, 1> for Share {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, _: [S::V; 0], [gradient]: [S::V; 1]) -> S::V {
        s.mul(gradient, s.splat(self.0))
    }
}

struct MaxRow<'a> {
    /// The input from the image's first pixel.
    image: &'a [f32],
    xs: Nhwc,
    window: Window,
    row: usize,
    y: &'a mut [f32],
    argmax: &'a mut [u32],
}

impl Kernel for MaxRow<'_> {
    /// Plain loops over channels, which the compiler vectorises for the enabled instruction set.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (xs, Window { kernel, stride, .. }) = (self.xs, self.window);
        let pad = [
            self.window.pad_before(0, xs.h),
            self.window.pad_before(1, xs.w),
        ];
        let pixels = self
            .y
            .chunks_exact_mut(xs.c)
            .zip(self.argmax.chunks_exact_mut(xs.c));
        for (column, (best, argmax)) in pixels.enumerate() {
            best.fill(f32::NEG_INFINITY);
            let mut first = true;
            for tap in 0..kernel[0] * kernel[1] {
                let y = (self.row * stride + tap / kernel[1]).wrapping_sub(pad[0]);
                let x = (column * stride + tap % kernel[1]).wrapping_sub(pad[1]);
                if y >= xs.h || x >= xs.w {
                    continue;
                }
                let pixel = y * xs.w + x;
                let values = &self.image[pixel * xs.c..][..xs.c];
                for ((value, best), argmax) in values.iter().zip(&mut *best).zip(&mut *argmax) {
                    let wins = first | (*value > *best) | value.is_nan();
                    *best = if wins { *value } else { *best };
                    *argmax = if wins { pixel as u32 } else { *argmax };
                }
                first = false;
            }
            assert!(
                !first,
                "max_pool_forward: a window is entirely in the padding"
            );
        }
    }
}
