//! Sums and scales.
use crate::reference::{simple as r, wide, write};
use crate::{Accumulate, Nhwc};
/// y = a + b
pub fn add(a: &[f32], b: &[f32], y: &mut [f32]) {
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        *y = a + b;
    }
}
/// dx (+)= dy
pub fn accumulate(dy: &[f32], dx: &mut [f32], acc: Accumulate) {
    write(dx, &wide(dy), acc);
}
/// y
pub fn scale_channels_forward(x: &[f32], xs: Nhwc, s: &[f32], y: &mut [f32]) {
    write(
        y,
        &r::scale_channels(&wide(x), xs, &wide(s)),
        Accumulate::Replace,
    );
}
/// dx
pub fn scale_channels_backward_input(
    dy: &[f32],
    s: &[f32],
    xs: Nhwc,
    dx: &mut [f32],
    acc: Accumulate,
) {
    write(dx, &r::scale_channels(&wide(dy), xs, &wide(s)), acc);
}
/// ds
pub fn scale_channels_backward_scale(
    x: &[f32],
    dy: &[f32],
    xs: Nhwc,
    ds: &mut [f32],
    acc: Accumulate,
) {
    write(
        ds,
        &r::scale_channels_backward_scale(&wide(x), &wide(dy), xs),
        acc,
    );
}
/// y (+)= x * factors[n]
pub fn scale_samples(
    x: &[f32],
    per_sample: usize,
    factors: &[f32],
    y: &mut [f32],
    acc: Accumulate,
) {
    let v: Vec<f64> = x
        .iter()
        .enumerate()
        .map(|(i, &v)| f64::from(v * factors[i / per_sample]))
        .collect();
    write(y, &v, acc);
}
