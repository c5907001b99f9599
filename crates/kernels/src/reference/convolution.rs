//! Convolutions and linear layers.

use super::for_each_tap;
use crate::{Nhwc, Window};

/// `y[o, k] = Σ x[i, c] · w[tap, c, k]`, weights `[kh, kw, cin, cout]`.
pub fn conv2d_forward(x: &[f64], xs: Nhwc, w: &[f64], cout: usize, window: Window) -> Vec<f64> {
    let mut y = vec![0.0; window.fitted(xs, cout).len()];
    for_each_tap(xs, window, |i, o, tap| {
        for c in 0..xs.c {
            for k in 0..cout {
                y[o * cout + k] += x[i * xs.c + c] * w[(tap * xs.c + c) * cout + k];
            }
        }
    });
    y
}

/// Gradient of [`conv2d_forward`] with respect to `x`.
pub fn conv2d_backward_input(
    dy: &[f64],
    w: &[f64],
    xs: Nhwc,
    cout: usize,
    window: Window,
) -> Vec<f64> {
    let mut dx = vec![0.0; xs.len()];
    for_each_tap(xs, window, |i, o, tap| {
        for c in 0..xs.c {
            for k in 0..cout {
                dx[i * xs.c + c] += dy[o * cout + k] * w[(tap * xs.c + c) * cout + k];
            }
        }
    });
    dx
}

/// Gradient of [`conv2d_forward`] with respect to `w`.
pub fn conv2d_backward_weight(
    x: &[f64],
    dy: &[f64],
    xs: Nhwc,
    cout: usize,
    window: Window,
) -> Vec<f64> {
    let mut dw = vec![0.0; window.taps() * xs.c * cout];
    for_each_tap(xs, window, |i, o, tap| {
        for c in 0..xs.c {
            for k in 0..cout {
                dw[(tap * xs.c + c) * cout + k] += x[i * xs.c + c] * dy[o * cout + k];
            }
        }
    });
    dw
}

/// `y[o, c] = Σ x[i, c] · w[tap, c]`, weights `[kh, kw, c]`.
pub fn depthwise_forward(x: &[f64], xs: Nhwc, w: &[f64], window: Window) -> Vec<f64> {
    let mut y = vec![0.0; window.fitted(xs, xs.c).len()];
    for_each_tap(xs, window, |i, o, tap| {
        for c in 0..xs.c {
            y[o * xs.c + c] += x[i * xs.c + c] * w[tap * xs.c + c];
        }
    });
    y
}

/// Gradient of [`depthwise_forward`] with respect to `x`.
pub fn depthwise_backward_input(dy: &[f64], w: &[f64], xs: Nhwc, window: Window) -> Vec<f64> {
    let mut dx = vec![0.0; xs.len()];
    for_each_tap(xs, window, |i, o, tap| {
        for c in 0..xs.c {
            dx[i * xs.c + c] += dy[o * xs.c + c] * w[tap * xs.c + c];
        }
    });
    dx
}

/// Gradient of [`depthwise_forward`] with respect to `w`.
pub fn depthwise_backward_weight(x: &[f64], dy: &[f64], xs: Nhwc, window: Window) -> Vec<f64> {
    let mut dw = vec![0.0; window.taps() * xs.c];
    for_each_tap(xs, window, |i, o, tap| {
        for c in 0..xs.c {
            dw[tap * xs.c + c] += x[i * xs.c + c] * dy[o * xs.c + c];
        }
    });
    dw
}

/// Calls `visit(input pixel, output pixel, a·2 + b)` for the four output pixels (2i+a, 2j+b) of every input pixel.
fn for_each_quad(xs: Nhwc, mut visit: impl FnMut(usize, usize, usize)) {
    for i in 0..xs.pixels() {
        for tap in 0..4 {
            let (row, column) = (i / xs.w * 2 + tap / 2, i % xs.w * 2 + tap % 2);
            visit(i, row * 2 * xs.w + column, tap);
        }
    }
}

/// `y[2i+a, 2j+b, k] = Σ x[i, j, c] · w[c, a, b, k]`, weights `[cin, 2, 2, cout]`.
pub fn conv_transpose2x2_forward(x: &[f64], xs: Nhwc, w: &[f64], cout: usize) -> Vec<f64> {
    let mut y = vec![0.0; xs.pixels() * 4 * cout];
    for_each_quad(xs, |i, o, tap| {
        for c in 0..xs.c {
            for k in 0..cout {
                y[o * cout + k] += x[i * xs.c + c] * w[(c * 4 + tap) * cout + k];
            }
        }
    });
    y
}

/// Gradient of [`conv_transpose2x2_forward`] with respect to `x`.
pub fn conv_transpose2x2_backward_input(dy: &[f64], w: &[f64], xs: Nhwc, cout: usize) -> Vec<f64> {
    let mut dx = vec![0.0; xs.len()];
    for_each_quad(xs, |i, o, tap| {
        for c in 0..xs.c {
            for k in 0..cout {
                dx[i * xs.c + c] += dy[o * cout + k] * w[(c * 4 + tap) * cout + k];
            }
        }
    });
    dx
}

/// Gradient of [`conv_transpose2x2_forward`] with respect to `w`.
pub fn conv_transpose2x2_backward_weight(x: &[f64], dy: &[f64], xs: Nhwc, cout: usize) -> Vec<f64> {
    let mut dw = vec![0.0; xs.c * 4 * cout];
    for_each_quad(xs, |i, o, tap| {
        for c in 0..xs.c {
            for k in 0..cout {
                dw[(c * 4 + tap) * cout + k] += x[i * xs.c + c] * dy[o * cout + k];
            }
        }
    });
    dw
}

/// A linear layer is the 1×1 convolution of `n` single pixels.
pub fn linear_forward(x: &[f64], n: usize, w: &[f64], inputs: usize, outputs: usize) -> Vec<f64> {
    conv2d_forward(
        x,
        Nhwc {
            n,
            h: 1,
            w: 1,
            c: inputs,
        },
        w,
        outputs,
        Window::POINT,
    )
}

/// Gradient of [`linear_forward`] with respect to `x`.
pub fn linear_backward_input(
    dy: &[f64],
    n: usize,
    w: &[f64],
    inputs: usize,
    outputs: usize,
) -> Vec<f64> {
    conv2d_backward_input(
        dy,
        w,
        Nhwc {
            n,
            h: 1,
            w: 1,
            c: inputs,
        },
        outputs,
        Window::POINT,
    )
}

/// Gradient of [`linear_forward`] with respect to `w`.
pub fn linear_backward_weight(
    x: &[f64],
    dy: &[f64],
    n: usize,
    inputs: usize,
    outputs: usize,
) -> Vec<f64> {
    conv2d_backward_weight(
        x,
        dy,
        Nhwc {
            n,
            h: 1,
            w: 1,
            c: inputs,
        },
        outputs,
        Window::POINT,
    )
}
