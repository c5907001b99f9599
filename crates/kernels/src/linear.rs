//! Linear layer: the 1×1 convolution of `n` single pixels. Weights are `[inputs, outputs]`.
//!
//! It takes no scratch: a network has one or two such layers, at the end, and their packed weights are allocated.

use crate::{Accumulate, Epilogue, Nhwc, Window, conv2d};

/// `y[n, k] = bias[k] + Σ x[n, c] · w[c, k]`.
pub fn forward(x: &[f32], n: usize, w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    if n == 0 {
        return;
    }
    let (xs, outputs) = (pixels(n, x.len() / n), y.len() / n);
    let mut scratch = vec![0.0; conv2d::forward_scratch(xs, outputs, Window::POINT)];
    conv2d::forward(
        x,
        xs,
        w,
        outputs,
        Window::POINT,
        Epilogue {
            bias,
            activation: None,
        },
        y,
        &mut scratch,
    );
}

/// `dx (+)= dy · wᵀ`.
pub fn backward_input(
    dy: &[f32],
    n: usize,
    w: &[f32],
    inputs: usize,
    outputs: usize,
    dx: &mut [f32],
    acc: Accumulate,
) {
    let xs = pixels(n, inputs);
    let mut scratch = vec![0.0; conv2d::backward_input_scratch(xs, outputs, Window::POINT)];
    conv2d::backward_input(dy, w, xs, outputs, Window::POINT, dx, acc, &mut scratch);
}

/// `dw (+)= xᵀ · dy`.
pub fn backward_weight(
    x: &[f32],
    dy: &[f32],
    n: usize,
    inputs: usize,
    outputs: usize,
    dw: &mut [f32],
    acc: Accumulate,
) {
    let xs = pixels(n, inputs);
    let mut scratch = vec![0.0; conv2d::backward_weight_scratch(xs, outputs, Window::POINT)];
    conv2d::backward_weight(x, dy, xs, outputs, Window::POINT, dw, acc, &mut scratch);
}

fn pixels(n: usize, c: usize) -> Nhwc {
    Nhwc { n, h: 1, w: 1, c }
}
