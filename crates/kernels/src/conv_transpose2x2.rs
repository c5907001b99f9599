//! Transposed 2×2 convolution of stride 2, which doubles height and width. Weights are `[cin, 2, 2, cout]`.
//!
//! Its windows do not overlap: each row of the output is a 1×1 convolution of a row of the input with half of the
//! weights, and its gradient with respect to the input is an ordinary 2×2 convolution of stride 2.

use crate::conv2d::{Finish, Gather, Order, OutputRows, WeightGradient, packed_len};
use crate::simd::F32;
use crate::{Accumulate, Nhwc, Padding, Window, size};

const WINDOW: Window = Window {
    kernel: [2, 2],
    stride: 2,
    padding: Padding::Symmetric(0),
};

/// Scratch of [`forward`].
pub fn forward_scratch(xs: Nhwc, cout: usize) -> usize {
    check_shape(xs, cout);
    packed_len(xs.c, 2 * cout) + xs.c.next_multiple_of(16) + 2 * cout
}

/// `y[n, 2i+a, 2j+b, k] = bias[k] + Σ x[n, i, j, c] · w[c, a, b, k]`; `y` is `[n, 2h, 2w, cout]`.
pub fn forward(
    x: &[f32],
    xs: Nhwc,
    w: &[f32],
    cout: usize,
    bias: Option<&[f32]>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    check("conv_transpose2x2::forward", xs, cout, x, w, y);
    assert!(
        bias.is_none_or(|bias| bias.len() == cout),
        "conv_transpose2x2::forward: length of the bias"
    );
    assert!(
        scratch.len() >= forward_scratch(xs, cout),
        "conv_transpose2x2::forward: too little scratch"
    );
    let (packed, scratch) = scratch.split_at_mut(packed_len(xs.c, 2 * cout));
    let (zeros, twice) = scratch.split_at_mut(xs.c.next_multiple_of(16));
    let bias = bias.map(|bias| {
        twice[..cout].copy_from_slice(bias);
        twice[cout..2 * cout].copy_from_slice(bias);
        &twice[..2 * cout]
    });
    let finish = Finish {
        bias,
        activation: None,
        acc: Accumulate::Replace,
    };
    for half in 0..2 {
        let layout = OutputRows::EveryOtherRow { width: xs.w, half };
        let gather = Gather::forward(xs, 2 * cout, Window::POINT).with_layout(layout);
        gather.pack(F32, w, Order::Half(half), packed);
        gather.run(F32, x, packed, finish, y, zeros);
    }
}

/// Scratch of both backward passes.
pub fn backward_scratch(xs: Nhwc, cout: usize) -> usize {
    check_shape(xs, cout);
    let ys = xs.doubled().with_channels(cout);
    let weight = WeightGradient::new(F32, ys, xs.c, WINDOW).scratch() + 4 * xs.c * cout;
    weight.max(packed_len(4 * cout, xs.c) + cout.next_multiple_of(16))
}

/// Gradient with respect to `x`.
pub fn backward_input(
    dy: &[f32],
    w: &[f32],
    xs: Nhwc,
    cout: usize,
    dx: &mut [f32],
    acc: Accumulate,
    scratch: &mut [f32],
) {
    check("conv_transpose2x2::backward_input", xs, cout, dx, w, dy);
    let finish = Finish {
        bias: None,
        activation: None,
        acc,
    };
    let ys = xs.doubled().with_channels(cout);
    let gather = Gather::forward(ys, xs.c, WINDOW);
    let (packed, scratch) = scratch.split_at_mut(packed_len(4 * cout, xs.c));
    gather.pack(F32, w, Order::Transposed, packed);
    gather.run(F32, dy, packed, finish, dx, scratch);
}

/// Gradient with respect to `w`, `[cin, 2, 2, cout]`.
pub fn backward_weight(
    x: &[f32],
    dy: &[f32],
    xs: Nhwc,
    cout: usize,
    dw: &mut [f32],
    acc: Accumulate,
    scratch: &mut [f32],
) {
    check("conv_transpose2x2::backward_weight", xs, cout, x, dw, dy);
    assert!(
        scratch.len() >= backward_scratch(xs, cout),
        "conv_transpose2x2::backward_weight: too little scratch"
    );
    // The weight gradient of the 2×2 convolution from `dy` to `x`: `[2, 2, cout, cin]`.
    let (turned, scratch) = scratch.split_at_mut(4 * xs.c * cout);
    let ys = xs.doubled().with_channels(cout);
    WeightGradient::new(F32, ys, xs.c, WINDOW).run(dy, x, turned, Accumulate::Replace, scratch);
    for (c, row) in dw.chunks_exact_mut(4 * cout).enumerate() {
        for (i, dw) in row.iter_mut().enumerate() {
            let gradient = turned[i * xs.c + c];
            *dw = if acc == Accumulate::Add {
                *dw + gradient
            } else {
                gradient
            };
        }
    }
}

/// Panics if input, output or weights are empty or too large, so that no size computed from them wraps.
fn check_shape(xs: Nhwc, cout: usize) {
    let ys = xs.doubled().with_channels(cout);
    assert!(
        xs.len().min(ys.len()).min(size([4, xs.c, cout])) > 0,
        "conv_transpose2x2: nothing to do for {xs:?} to {cout} channels"
    );
}

fn check(name: &str, xs: Nhwc, cout: usize, x: &[f32], w: &[f32], y: &[f32]) {
    check_shape(xs, cout);
    assert_eq!(x.len(), xs.len(), "{name}: length of x for {xs:?}");
    assert_eq!(
        y.len(),
        4 * xs.pixels() * cout,
        "{name}: length of y for {xs:?} to {cout} channels"
    );
    assert_eq!(
        w.len(),
        4 * xs.c * cout,
        "{name}: length of w, {} to {cout} channels",
        xs.c
    );
}
