//! Concatenation along channels.
use crate::Accumulate;
use crate::reference::{simple as r, wide, write};
/// y
pub fn forward(inputs: &[(&[f32], usize)], pixels: usize, y: &mut [f32]) {
    let total: usize = inputs.iter().map(|(_, c)| c).sum();
    for p in 0..pixels {
        let mut at = p * total;
        for (x, c) in inputs {
            y[at..at + c].copy_from_slice(&x[p * c..(p + 1) * c]);
            at += c;
        }
    }
}
/// dx
pub fn backward(
    dy: &[f32],
    channels_total: usize,
    offset: usize,
    channels: usize,
    dx: &mut [f32],
    acc: Accumulate,
) {
    write(
        dx,
        &r::concat_backward(&wide(dy), channels_total, offset, channels),
        acc,
    );
}
