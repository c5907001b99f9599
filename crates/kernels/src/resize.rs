//! Doubling height and width.
use crate::reference::{spatial as r, wide, write};
use crate::{Accumulate, Nhwc};
/// y
pub fn nearest2x_forward(x: &[f32], xs: Nhwc, y: &mut [f32]) {
    write(
        y,
        &r::resize2x_forward(&wide(x), xs, false),
        Accumulate::Replace,
    );
}
/// dx
pub fn nearest2x_backward(dy: &[f32], xs: Nhwc, dx: &mut [f32], acc: Accumulate) {
    write(dx, &r::resize2x_backward(&wide(dy), xs, false), acc);
}
/// y
pub fn bilinear2x_forward(x: &[f32], xs: Nhwc, y: &mut [f32]) {
    write(
        y,
        &r::resize2x_forward(&wide(x), xs, true),
        Accumulate::Replace,
    );
}
/// dx
pub fn bilinear2x_backward(dy: &[f32], xs: Nhwc, dx: &mut [f32], acc: Accumulate) {
    write(dx, &r::resize2x_backward(&wide(dy), xs, true), acc);
}
