//! Sums and scales.

use crate::map::{Map, Rows, map, map_rows};
use crate::parallel::{Shared, for_each};
use crate::reduce::{Terms, store, sum_pixels};
use crate::simd::{Element, Simd};
use crate::{Accumulate, Nhwc, size};

/// `y = a + b`.
pub fn add(a: &[f32], b: &[f32], y: &mut [f32]) {
    sum(a, b, y);
}

/// [`add`], for any element.
pub(crate) fn sum<T: Element>(a: &[T], b: &[T], y: &mut [T]) {
    map(Sum, [a, b], y, Accumulate::Replace);
}

/// `dx (+)= dy`.
pub fn accumulate(dy: &[f32], dx: &mut [f32], acc: Accumulate) {
    map(Same, [dy], dx, acc);
}

/// `y = x`, of another kind of element.
pub(crate) fn convert<X: Element, Y: Element>(x: &[X], y: &mut [Y]) {
    map(Same, [x], y, Accumulate::Replace);
}

/// `y[n, …, c] = x[n, …, c] · s[n, c]`: the scale of squeeze-and-excitation.
pub fn scale_channels_forward(x: &[f32], xs: Nhwc, s: &[f32], y: &mut [f32]) {
    scale(x, xs, s, y);
}

/// [`scale_channels_forward`], for any element.
pub(crate) fn scale<T: Element>(x: &[T], xs: Nhwc, s: &[f32], y: &mut [T]) {
    let rows = per_image(xs, x.len());
    map_rows(Product, [x], [s], rows, y, Accumulate::Replace);
}

/// `dx (+)= dy · s`.
pub fn scale_channels_backward_input(
    dy: &[f32],
    s: &[f32],
    xs: Nhwc,
    dx: &mut [f32],
    acc: Accumulate,
) {
    map_rows(Product, [dy], [s], per_image(xs, dy.len()), dx, acc);
}

/// `ds[n, c] (+)= Σ x[n, …, c] · dy[n, …, c]` over the pixels of each image.
pub fn scale_channels_backward_scale(
    x: &[f32],
    dy: &[f32],
    xs: Nhwc,
    ds: &mut [f32],
    acc: Accumulate,
) {
    assert!(
        x.len() == xs.len() && dy.len() == xs.len(),
        "scale_channels_backward_scale: length of x or dy for {xs:?}"
    );
    assert_eq!(
        ds.len(),
        xs.n * xs.c,
        "scale_channels_backward_scale: length of ds for {xs:?}"
    );
    let (image, ds) = (xs.h * xs.w * xs.c, Shared::new(ds));
    for_each(xs.n, |n| {
        let range = n * image..(n + 1) * image;
        let sums = sum_pixels(ProductTerm, [&x[range.clone()], &dy[range]], [], xs.c);
        // SAFETY: each task has its own image.
        store(&sums, unsafe { ds.part(n * xs.c..(n + 1) * xs.c) }, acc);
    });
}

/// `y (+)= x · factors[n]` for samples of `per_sample` values: drop path and its gradient.
pub fn scale_samples(
    x: &[f32],
    per_sample: usize,
    factors: &[f32],
    y: &mut [f32],
    acc: Accumulate,
) {
    assert_eq!(
        x.len(),
        size([per_sample, factors.len()]),
        "scale_samples: not one factor per sample"
    );
    assert_eq!(x.len(), y.len(), "scale_samples: length of y");
    for ((x, y), factor) in x
        .chunks_exact(per_sample.max(1))
        .zip(y.chunks_exact_mut(per_sample.max(1)))
        .zip(factors)
    {
        map(Times(*factor), [x], y, acc);
    }
}

/// `into (+)=` the sum of the parts, each as long as `into`, in their order.
pub(crate) fn sum_parts(parts: &[f32], into: &mut [f32], acc: Accumulate) {
    let mut acc = acc;
    let mut parts = parts.chunks_exact(into.len());
    while parts.len() > 0 {
        let mut next = || parts.next();
        match (next(), next(), next(), next()) {
            (Some(a), Some(b), Some(c), Some(d)) => map(Sum, [a, b, c, d], into, acc),
            (Some(a), Some(b), Some(c), None) => map(Sum, [a, b, c], into, acc),
            (Some(a), Some(b), None, _) => map(Sum, [a, b], into, acc),
            (Some(a), ..) => map(Sum, [a], into, acc),
            (None, ..) => {}
        }
        acc = Accumulate::Add;
    }
}

fn per_image(xs: Nhwc, len: usize) -> Rows {
    assert_eq!(len, xs.len(), "scale_channels: length of x for {xs:?}");
    Rows {
        sample: xs.h * xs.w * xs.c,
        channels: xs.c,
    }
}

#[derive(Clone, Copy)]
struct Sum;

impl<const N: usize> Map<N, 0> for Sum {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, values: [S::V; N], _: [S::V; 0]) -> S::V {
        let mut sum = values[0];
        for value in &values[1..] {
            sum = s.add(sum, *value);
        }
        sum
    }
}

#[derive(Clone, Copy)]
struct Same;

impl Map<1, 0> for Same {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, [value]: [S::V; 1], _: [S::V; 0]) -> S::V {
        value
    }
}

#[derive(Clone, Copy)]
struct Times(f32);

impl Map<1, 0> for Times {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [value]: [S::V; 1], _: [S::V; 0]) -> S::V {
        s.mul(value, s.splat(self.0))
    }
}

#[derive(Clone, Copy)]
struct Product;

impl Map<1, 1> for Product {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [value]: [S::V; 1], [scale]: [S::V; 1]) -> S::V {
        s.mul(value, scale)
    }
}

#[derive(Clone, Copy)]
struct ProductTerm;

impl Terms<2, 0, 1> for ProductTerm {
    #[inline(always)]
    fn terms<S: Simd>(self, s: S, [x, dy]: [S::V; 2], _: [S::V; 0]) -> [S::V; 1] {
        [s.mul(x, dy)]
    }
}
