//! Centre cropping: `margin` pixels are removed on every side.
//!
//! A row of the crop is contiguous in both tensors, so it is a single copy.

use crate::parallel::{Shared, for_each};
use crate::{Accumulate, Nhwc};

/// `y[i, j] = x[i + margin, j + margin]`; `xs` is the shape of `x`, `y` has the height and width of
/// [`Nhwc::cropped`].
pub fn forward(x: &[f32], xs: Nhwc, margin: usize, y: &mut [f32]) {
    let ys = fitted(xs, margin);
    assert_eq!(x.len(), xs.len(), "crop::forward: length of x for {xs:?}");
    assert_eq!(y.len(), ys.len(), "crop::forward: length of y for {ys:?}");
    let (row, out) = (ys.w * ys.c, Shared::new(y));
    for_each(ys.n * ys.h, |r| {
        let (image, i) = (r / ys.h, r % ys.h);
        let from = ((image * xs.h + i + margin) * xs.w + margin) * xs.c;
        // SAFETY: rows are disjoint.
        let out = unsafe { out.part(r * row..(r + 1) * row) };
        out.copy_from_slice(&x[from..from + row]);
    });
}

/// Gradient of [`forward`]: `dx (+)= dy` inside and zero in the margin.
pub fn backward(dy: &[f32], xs: Nhwc, margin: usize, dx: &mut [f32], acc: Accumulate) {
    let ys = fitted(xs, margin);
    assert_eq!(
        dy.len(),
        ys.len(),
        "crop::backward: length of dy for {ys:?}"
    );
    assert_eq!(
        dx.len(),
        xs.len(),
        "crop::backward: length of dx for {xs:?}"
    );
    let (row, out) = (xs.w * xs.c, Shared::new(dx));
    for_each(xs.n * xs.h, |r| {
        // SAFETY: rows are disjoint.
        let out = unsafe { out.part(r * row..(r + 1) * row) };
        if acc == Accumulate::Replace {
            out.fill(0.0);
        }
        let (image, i) = (r / xs.h, r % xs.h);
        if i < margin || i >= margin + ys.h {
            return;
        }
        let from = (image * ys.h + i - margin) * ys.w * ys.c;
        let inside = &mut out[margin * xs.c..][..ys.w * ys.c];
        for (dx, dy) in inside.iter_mut().zip(&dy[from..]) {
            *dx += dy;
        }
    });
}

/// [`Nhwc::cropped`] where the caller guarantees that something is left.
fn fitted(xs: Nhwc, margin: usize) -> Nhwc {
    let ys = xs.cropped(margin);
    assert!(
        ys.is_some(),
        "crop: a margin of {margin} leaves nothing of {xs:?}"
    );
    ys.unwrap_or(xs)
}
