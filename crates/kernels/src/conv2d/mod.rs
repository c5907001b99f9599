//! Convolution as a sum of matrix products, with no im2col buffer.
//!
//! In NHWC the `cin` values of a pixel are contiguous, so the inner product of a window with the weights is a few runs of
//! contiguous memory. `gather` walks those runs where they lie, a tile of pixels × output channels in registers at a time:
//! nothing is copied but the weights, which are packed in the order in which they are read. It does the forward pass, and
//! the backward pass to the input, which is the forward pass of `dy` with the weights turned round. `weight` does the
//! same for the weights' gradient, with a tile of input × output channels in registers and pixels in the inner loop.
//! A 1×1 convolution is the case of a single run. Weights are `[kh, kw, cin, cout]`.

#![allow(
    clippy::needless_range_loop,
    reason = "tiles are arrays of arrays that are indexed alike"
)]

mod gather;
mod pack;
mod tile;
mod weight;
mod winograd;

pub(crate) use gather::{Finish, Gather, Layout};
pub(crate) use pack::{Order, packed_len};
pub(crate) use weight::WeightGradient;

use crate::{Accumulate, Epilogue, Nhwc, Window};
use winograd::{Product, WinogradGradient};

/// Which way a convolution is computed: the one chooser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Path {
    /// A direct sum, for every window.
    Gather,
    /// F(4×4, 3×3).
    Winograd,
}

impl Path {
    fn of(xs: Nhwc, cout: usize, window: Window) -> Self {
        if winograd::suits(xs, cout, window) {
            Path::Winograd
        } else {
            Path::Gather
        }
    }
}

/// Scratch of [`forward`].
pub fn forward_scratch(x: Nhwc, cout: usize, window: Window) -> usize {
    match Path::of(x, cout, window) {
        Path::Gather => packed_len(window.taps() * x.c, cout) + gather::zeros_len(x.c),
        Path::Winograd => Product::forward(x, cout, window).scratch(),
    }
}

/// `y = act(conv(x, w) + bias)`; `x` of shape `xs`, `w` `[kh, kw, cin, cout]`, `y` of shape `window.output(xs, cout)`.
pub fn forward(
    x: &[f32],
    xs: Nhwc,
    w: &[f32],
    cout: usize,
    window: Window,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    check("conv2d::forward", xs, cout, window, x, w, y);
    let finish = Finish {
        bias: epilogue.bias,
        activation: epilogue.activation,
        acc: Accumulate::Replace,
    };
    match Path::of(xs, cout, window) {
        Path::Gather => {
            Gather::forward(xs, cout, window).run(x, w, Order::Forward, finish, y, scratch)
        }
        Path::Winograd => Product::forward(xs, cout, window).run(x, w, finish, y, scratch),
    }
}

/// Scratch of [`backward_input`].
pub fn backward_input_scratch(x: Nhwc, cout: usize, window: Window) -> usize {
    match Path::of(x, cout, window) {
        Path::Gather => packed_len(window.taps() * cout, x.c) + gather::zeros_len(cout),
        Path::Winograd => Product::backward(x, cout, window).scratch(),
    }
}

/// Gradient with respect to `x`, of shape `xs`; `dy` has the shape of `y`.
pub fn backward_input(
    dy: &[f32],
    w: &[f32],
    xs: Nhwc,
    cout: usize,
    window: Window,
    dx: &mut [f32],
    acc: Accumulate,
    scratch: &mut [f32],
) {
    check("conv2d::backward_input", xs, cout, window, dx, w, dy);
    let finish = Finish {
        bias: None,
        activation: None,
        acc,
    };
    match Path::of(xs, cout, window) {
        Path::Gather => {
            Gather::backward(xs, cout, window).run(dy, w, Order::Backward, finish, dx, scratch)
        }
        Path::Winograd => Product::backward(xs, cout, window).run(dy, w, finish, dx, scratch),
    }
}

/// Scratch of [`backward_weight`].
pub fn backward_weight_scratch(x: Nhwc, cout: usize, window: Window) -> usize {
    match Path::of(x, cout, window) {
        Path::Gather => WeightGradient::new(x, cout, window).scratch(),
        Path::Winograd => WinogradGradient::new(x, cout, window).scratch(),
    }
}

/// Gradient with respect to `w`, `[kh, kw, cin, cout]`.
pub fn backward_weight(
    x: &[f32],
    dy: &[f32],
    xs: Nhwc,
    cout: usize,
    window: Window,
    dw: &mut [f32],
    acc: Accumulate,
    scratch: &mut [f32],
) {
    check("conv2d::backward_weight", xs, cout, window, x, dw, dy);
    match Path::of(xs, cout, window) {
        Path::Gather => WeightGradient::new(xs, cout, window).run(x, dy, dw, acc, scratch),
        Path::Winograd => WinogradGradient::new(xs, cout, window).run(x, dy, dw, acc, scratch),
    }
}

fn check(name: &str, xs: Nhwc, cout: usize, window: Window, x: &[f32], w: &[f32], y: &[f32]) {
    let ys = window.fitted(xs, cout);
    assert_eq!(x.len(), xs.len(), "{name}: length of x for {xs:?}");
    assert_eq!(y.len(), ys.len(), "{name}: length of y for {ys:?}");
    assert_eq!(
        w.len(),
        window.taps() * xs.c * cout,
        "{name}: length of w, {window:?}, {} to {cout} channels",
        xs.c
    );
}
