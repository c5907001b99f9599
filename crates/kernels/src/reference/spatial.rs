//! Pooling, resizing and cropping.

use super::for_each_tap;
use crate::{Nhwc, Window};

/// Largest value under each window and its pixel within the image: the first of equal values, and NaN before any
/// number.
pub fn max_pool_forward(x: &[f64], xs: Nhwc, window: Window) -> (Vec<f64>, Vec<u32>) {
    let ys = window.fitted(xs, xs.c);
    let (mut y, mut argmax) = (vec![f64::NEG_INFINITY; ys.len()], vec![u32::MAX; ys.len()]);
    for_each_tap(xs, window, |i, o, _| {
        for c in 0..xs.c {
            let (value, best) = (x[i * xs.c + c], &mut y[o * xs.c + c]);
            if value > *best || value.is_nan() || argmax[o * xs.c + c] == u32::MAX {
                *best = value;
                argmax[o * xs.c + c] = (i % (xs.h * xs.w)) as u32;
            }
        }
    });
    (y, argmax)
}

/// Passes each gradient to the pixel that was chosen.
pub fn max_pool_backward(dy: &[f64], argmax: &[u32], xs: Nhwc, window: Window) -> Vec<f64> {
    let ys = window.fitted(xs, xs.c);
    let mut dx = vec![0.0; xs.len()];
    for (o, (g, pixel)) in dy.iter().zip(argmax).enumerate() {
        let n = o / (ys.h * ys.w * ys.c);
        dx[(n * xs.h * xs.w + *pixel as usize) * xs.c + o % xs.c] += g;
    }
    dx
}

/// Mean over the pixels of each image: `[n, c]`.
pub fn global_avg_forward(x: &[f64], xs: Nhwc) -> Vec<f64> {
    let mut y = vec![0.0; xs.n * xs.c];
    for (i, v) in x.iter().enumerate() {
        y[i / (xs.h * xs.w * xs.c) * xs.c + i % xs.c] += v / (xs.h * xs.w) as f64;
    }
    y
}

/// Gradient of [`global_avg_forward`].
pub fn global_avg_backward(dy: &[f64], xs: Nhwc) -> Vec<f64> {
    let area = xs.h * xs.w;
    (0..xs.len())
        .map(|i| dy[i / (area * xs.c) * xs.c + i % xs.c] / area as f64)
        .collect()
}

/// The two sources of position `o` of an axis of `len` pixels doubled (half-pixel centres), with their weights.
fn bilinear_sources(o: usize, len: usize) -> [(usize, f64); 2] {
    let i = o / 2;
    let neighbour = if o.is_multiple_of(2) {
        i.saturating_sub(1)
    } else {
        (i + 1).min(len - 1)
    };
    [(i, 0.75), (neighbour, 0.25)]
}

/// The source pixels of output pixel `o` of a doubled image, with their weights.
fn doubled_sources(o: usize, xs: Nhwc, bilinear: bool) -> Vec<(usize, f64)> {
    let (row, column) = (o / (2 * xs.w), o % (2 * xs.w));
    let (n, row) = (row / (2 * xs.h), row % (2 * xs.h));
    if !bilinear {
        return vec![((n * xs.h + row / 2) * xs.w + column / 2, 1.0)];
    }
    let rows = bilinear_sources(row, xs.h);
    let columns = bilinear_sources(column, xs.w);
    rows.iter()
        .flat_map(|&(r, wr)| {
            columns
                .iter()
                .map(move |&(c, wc)| ((n * xs.h + r) * xs.w + c, wr * wc))
        })
        .collect()
}

/// Doubles height and width: nearest, or bilinear with half-pixel centres (`align_corners=False`).
pub fn resize2x_forward(x: &[f64], xs: Nhwc, bilinear: bool) -> Vec<f64> {
    let mut y = vec![0.0; xs.len() * 4];
    for o in 0..xs.pixels() * 4 {
        for (i, weight) in doubled_sources(o, xs, bilinear) {
            for c in 0..xs.c {
                y[o * xs.c + c] += weight * x[i * xs.c + c];
            }
        }
    }
    y
}

/// Gradient of [`resize2x_forward`].
pub fn resize2x_backward(dy: &[f64], xs: Nhwc, bilinear: bool) -> Vec<f64> {
    let mut dx = vec![0.0; xs.len()];
    for o in 0..xs.pixels() * 4 {
        for (i, weight) in doubled_sources(o, xs, bilinear) {
            for c in 0..xs.c {
                dx[i * xs.c + c] += weight * dy[o * xs.c + c];
            }
        }
    }
    dx
}

/// The pixels of `x` that remain after a crop by `margin` on every side, in order.
fn inside(xs: Nhwc, margin: usize) -> impl Iterator<Item = usize> {
    (0..xs.pixels()).filter(move |p| {
        let (row, column) = (p / xs.w % xs.h, p % xs.w);
        (margin..xs.h - margin).contains(&row) && (margin..xs.w - margin).contains(&column)
    })
}

/// Removes `margin` pixels on every side.
pub fn crop_forward(x: &[f64], xs: Nhwc, margin: usize) -> Vec<f64> {
    inside(xs, margin)
        .flat_map(|p| x[p * xs.c..(p + 1) * xs.c].to_vec())
        .collect()
}

/// Gradient of [`crop_forward`].
pub fn crop_backward(dy: &[f64], xs: Nhwc, margin: usize) -> Vec<f64> {
    let mut dx = vec![0.0; xs.len()];
    for (p, dy) in inside(xs, margin).zip(dy.chunks_exact(xs.c)) {
        dx[p * xs.c..(p + 1) * xs.c].copy_from_slice(dy);
    }
    dx
}

/// The probability of each class of the map's pixel `p`.
fn softmax(map: &[f64], classes: usize, p: usize) -> Vec<f64> {
    let logits = &map[p * classes..(p + 1) * classes];
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

/// The features' pixel that covers the map's pixel `p`.
fn covering(p: usize, xs: Nhwc, ms: Nhwc) -> usize {
    let (row, column) = (p / ms.w, p % ms.w);
    row / (ms.h / xs.h) * xs.w + column / (ms.w / xs.w)
}

/// The weight of each of the features' pixels, and the sum of those of its image, plus `eps`.
fn region_weights(map: &[f64], xs: Nhwc, ms: Nhwc, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let covered = ms.pixels() as f64 / xs.pixels() as f64;
    let (mut weights, mut totals) = (vec![0.0; xs.pixels()], vec![eps; xs.n]);
    for p in 0..ms.pixels() {
        let q = covering(p, xs, ms);
        let weight = (1.0 - softmax(map, ms.c, p)[0]) / covered;
        weights[q] += weight;
        totals[q / (xs.h * xs.w)] += weight;
    }
    (weights, totals)
}

/// Mean of `x` over each image's pixels, weighted with `1 − softmax(map)₀`; `eps` is added to the sum of the weights.
pub fn region_pool_forward(x: &[f64], xs: Nhwc, map: &[f64], ms: Nhwc, eps: f64) -> Vec<f64> {
    let (weights, totals) = region_weights(map, xs, ms, eps);
    let mut y = vec![0.0; xs.n * xs.c];
    for (i, value) in x.iter().enumerate() {
        let (q, n) = (i / xs.c, i / (xs.h * xs.w * xs.c));
        y[n * xs.c + i % xs.c] += weights[q] * value / totals[n];
    }
    y
}

/// `(dx, dmap)` of [`region_pool_forward`].
pub fn region_pool_backward(
    x: &[f64],
    xs: Nhwc,
    map: &[f64],
    ms: Nhwc,
    eps: f64,
    dy: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let (weights, totals) = region_weights(map, xs, ms, eps);
    let y = region_pool_forward(x, xs, map, ms, eps);
    let covered = ms.pixels() as f64 / xs.pixels() as f64;
    let (mut dx, mut dmap) = (vec![0.0; xs.len()], vec![0.0; ms.len()]);
    for i in 0..xs.len() {
        let n = i / (xs.h * xs.w * xs.c);
        dx[i] = dy[n * xs.c + i % xs.c] * weights[i / xs.c] / totals[n];
    }
    for p in 0..ms.pixels() {
        let (q, probabilities) = (covering(p, xs, ms), softmax(map, ms.c, p));
        let n = q / (xs.h * xs.w);
        let dw: f64 = (0..xs.c)
            .map(|c| dy[n * xs.c + c] * (x[q * xs.c + c] - y[n * xs.c + c]))
            .sum::<f64>()
            / (totals[n] * covered);
        for (class, probability) in probabilities.iter().enumerate() {
            let own = if class == 0 { 1.0 } else { 0.0 };
            dmap[p * ms.c + class] = dw * probabilities[0] * (probability - own);
        }
    }
    (dx, dmap)
}
