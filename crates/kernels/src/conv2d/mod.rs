//! Convolution. Weights are `[kh, kw, cin, cout]`.
use crate::reference::{convolution as r, normalization as rn, wide, write};
use crate::{Accumulate, Epilogue, Nhwc, Window};

/// Scratch of [`forward`].
pub fn forward_scratch(_x: Nhwc, _cout: usize, _window: Window) -> usize {
    0
}
/// y
pub fn forward(
    x: &[f32],
    xs: Nhwc,
    w: &[f32],
    cout: usize,
    window: Window,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
    _scratch: &mut [f32],
) {
    let mut v = r::conv2d_forward(&wide(x), xs, &wide(w), cout, window);
    if let Some(b) = epilogue.bias {
        v = rn::bias_forward(&v, &wide(b));
    }
    write(
        y,
        &rn::activation_forward(epilogue.activation, &v),
        Accumulate::Replace,
    );
}
/// Scratch of [`backward_input`].
pub fn backward_input_scratch(_x: Nhwc, _cout: usize, _window: Window) -> usize {
    0
}
/// dx
pub fn backward_input(
    dy: &[f32],
    w: &[f32],
    xs: Nhwc,
    cout: usize,
    window: Window,
    dx: &mut [f32],
    acc: Accumulate,
    _scratch: &mut [f32],
) {
    write(
        dx,
        &r::conv2d_backward_input(&wide(dy), &wide(w), xs, cout, window),
        acc,
    );
}
/// Scratch of [`backward_weight`].
pub fn backward_weight_scratch(_x: Nhwc, _cout: usize, _window: Window) -> usize {
    0
}
/// dw
pub fn backward_weight(
    x: &[f32],
    dy: &[f32],
    xs: Nhwc,
    cout: usize,
    window: Window,
    dw: &mut [f32],
    acc: Accumulate,
    _scratch: &mut [f32],
) {
    write(
        dw,
        &r::conv2d_backward_weight(&wide(x), &wide(dy), xs, cout, window),
        acc,
    );
}
