//! Depthwise convolution. Weights are `[kh, kw, c]`.
use crate::reference::{convolution as r, normalization as rn, wide, write};
use crate::{Accumulate, Epilogue, Nhwc, Window};
/// y
pub fn forward(
    x: &[f32],
    xs: Nhwc,
    w: &[f32],
    window: Window,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    let mut v = r::depthwise_forward(&wide(x), xs, &wide(w), window);
    if let Some(b) = epilogue.bias {
        v = rn::bias_forward(&v, &wide(b));
    }
    write(
        y,
        &rn::activation_forward(epilogue.activation, &v),
        Accumulate::Replace,
    );
}
/// dx
pub fn backward_input(
    dy: &[f32],
    w: &[f32],
    xs: Nhwc,
    window: Window,
    dx: &mut [f32],
    acc: Accumulate,
) {
    write(
        dx,
        &r::depthwise_backward_input(&wide(dy), &wide(w), xs, window),
        acc,
    );
}
/// Scratch
pub fn backward_weight_scratch(_xs: Nhwc, _window: Window) -> usize {
    0
}
/// dw
pub fn backward_weight(
    x: &[f32],
    dy: &[f32],
    xs: Nhwc,
    window: Window,
    dw: &mut [f32],
    acc: Accumulate,
    _scratch: &mut [f32],
) {
    write(
        dw,
        &r::depthwise_backward_weight(&wide(x), &wide(dy), xs, window),
        acc,
    );
}
