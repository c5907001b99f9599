//! Linear layer: the 1×1 convolution of `n` single pixels. Weights are `[inputs, outputs]`.
//!
//! It takes no scratch: a network has one or two such layers, at the end, and their packed weights are allocated.

use crate::conv2d::{Conv2d, PartGradient};
use crate::{Accumulate, Epilogue, Nhwc, Window};

/// `y[n, k] = bias[k] + Σ x[n, c] · w[c, k]`.
pub fn forward(x: &[f32], n: usize, w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    if n == 0 {
        return;
    }
    let conv = pixels(n, x.len() / n, y.len() / n);
    let (mut packed, mut scratch) = (
        vec![0.0; conv.packed_len()],
        vec![0.0; conv.forward_scratch()],
    );
    conv.pack(w, &mut packed);
    let epilogue = Epilogue {
        bias,
        activation: None,
    };
    conv.forward(&[x], &packed, epilogue, y, &mut scratch);
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
    let conv = pixels(n, inputs, outputs);
    let (mut packed, mut scratch) = (
        vec![0.0; conv.backward_packed_len()],
        vec![0.0; conv.backward_input_scratch()],
    );
    conv.pack_backward(w, &mut packed);
    conv.backward_input(
        dy,
        &packed,
        &mut [PartGradient { data: dx, acc }],
        &mut scratch,
    );
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
    let conv = pixels(n, inputs, outputs);
    conv.backward_weight(
        &[x],
        dy,
        dw,
        acc,
        &mut vec![0.0; conv.backward_weight_scratch()],
    );
}

fn pixels(n: usize, inputs: usize, outputs: usize) -> Conv2d {
    let xs = Nhwc {
        n,
        h: 1,
        w: 1,
        c: inputs,
    };
    Conv2d::new(xs, outputs, Window::POINT)
}
