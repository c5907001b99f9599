//! Transposed 2×2 convolution of stride 2. Weights are `[cin, 2, 2, cout]`.
use crate::reference::{convolution as r, normalization as rn, wide, write};
use crate::{Accumulate, Nhwc};
/// Scratch of [`forward`].
pub fn forward_scratch(_xs: Nhwc, _cout: usize) -> usize {
    0
}
/// y
pub fn forward(
    x: &[f32],
    xs: Nhwc,
    w: &[f32],
    cout: usize,
    bias: Option<&[f32]>,
    y: &mut [f32],
    _scratch: &mut [f32],
) {
    let mut v = r::conv_transpose2x2_forward(&wide(x), xs, &wide(w), cout);
    if let Some(b) = bias {
        v = rn::bias_forward(&v, &wide(b));
    }
    write(y, &v, Accumulate::Replace);
}
/// Scratch of both backward passes.
pub fn backward_scratch(_xs: Nhwc, _cout: usize) -> usize {
    0
}
/// dx
pub fn backward_input(
    dy: &[f32],
    w: &[f32],
    xs: Nhwc,
    cout: usize,
    dx: &mut [f32],
    acc: Accumulate,
    _scratch: &mut [f32],
) {
    write(
        dx,
        &r::conv_transpose2x2_backward_input(&wide(dy), &wide(w), xs, cout),
        acc,
    );
}
/// dw
pub fn backward_weight(
    x: &[f32],
    dy: &[f32],
    xs: Nhwc,
    cout: usize,
    dw: &mut [f32],
    acc: Accumulate,
    _scratch: &mut [f32],
) {
    write(
        dw,
        &r::conv_transpose2x2_backward_weight(&wide(x), &wide(dy), xs, cout),
        acc,
    );
}
