//! Pooling.
use crate::reference::{spatial as r, wide, write};
use crate::{Accumulate, Nhwc, Window};
/// y, argmax
pub fn max_pool_forward(x: &[f32], xs: Nhwc, window: Window, y: &mut [f32], argmax: &mut [u32]) {
    let (v, a) = r::max_pool_forward(&wide(x), xs, window);
    write(y, &v, Accumulate::Replace);
    argmax.copy_from_slice(&a);
}
/// dx
pub fn max_pool_backward(
    dy: &[f32],
    argmax: &[u32],
    xs: Nhwc,
    window: Window,
    dx: &mut [f32],
    acc: Accumulate,
) {
    write(
        dx,
        &r::max_pool_backward(&wide(dy), argmax, xs, window),
        acc,
    );
}
/// y
pub fn global_avg_forward(x: &[f32], xs: Nhwc, y: &mut [f32]) {
    write(y, &r::global_avg_forward(&wide(x), xs), Accumulate::Replace);
}
/// dx
pub fn global_avg_backward(dy: &[f32], xs: Nhwc, dx: &mut [f32], acc: Accumulate) {
    write(dx, &r::global_avg_backward(&wide(dy), xs), acc);
}
