//! Linear layer. Weights are `[inputs, outputs]`.
use crate::Accumulate;
use crate::reference::{convolution as r, normalization as rn, wide, write};
/// y
pub fn forward(x: &[f32], n: usize, w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let (inputs, outputs) = (x.len() / n, y.len() / n);
    let mut v = r::linear_forward(&wide(x), n, &wide(w), inputs, outputs);
    if let Some(b) = bias {
        v = rn::bias_forward(&v, &wide(b));
    }
    write(y, &v, Accumulate::Replace);
}
/// dx
pub fn backward_input(
    dy: &[f32],
    n: usize,
    w: &[f32],
    inputs: usize,
    outputs: usize,
    dx: &mut [f32],
    acc: Accumulate,
) {
    write(
        dx,
        &r::linear_backward_input(&wide(dy), n, &wide(w), inputs, outputs),
        acc,
    );
}
/// dw
pub fn backward_weight(
    x: &[f32],
    dy: &[f32],
    n: usize,
    inputs: usize,
    outputs: usize,
    dw: &mut [f32],
    acc: Accumulate,
) {
    write(
        dw,
        &r::linear_backward_weight(&wide(x), &wide(dy), n, inputs, outputs),
        acc,
    );
}
