//! No shape makes a safe function access memory out of bounds: sizes that wrap, that contradict the slices or that no
//! machine has memory for are refused before anything is read or written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::conv2d::{Conv2d, InputPart, Inputs, PartGradient};
use kernels::region_pool::RegionPool;
use kernels::*;

fn refused<T>(what: &str, call: impl FnOnce() -> T) {
    let result = catch_unwind(AssertUnwindSafe(call));
    assert!(result.is_err(), "{what} was not refused");
}

fn shape(n: usize, h: usize, w: usize, c: usize) -> Nhwc {
    Nhwc { n, h, w, c }
}

const HALF: usize = 1 << 63;
const QUARTER: usize = 1 << 62;

/// Shapes whose number of values wraps to 0, 16 or 64.
fn wrapping() -> Vec<Nhwc> {
    vec![
        shape(1, 2, 2, QUARTER),
        shape(1, 2, 2, QUARTER + 16),
        shape(1, 8, 8, (1 << 58) + 1),
        shape(2, 1, 1, HALF),
        shape(HALF, 2, 1, 1),
        shape(1, HALF + 8, 2, 1),
        shape(1, 1 << 32, 1 << 32, 1),
        shape(0, usize::MAX, usize::MAX, 16),
        shape(1, usize::MAX, 3, usize::MAX),
    ]
}

fn windows() -> Vec<Window> {
    let window = |kernel, stride, padding| Window {
        kernel: [kernel; 2],
        stride,
        padding,
    };
    vec![
        Window::POINT,
        window(3, 1, Padding::Symmetric(1)),
        window(3, 2, Padding::Same),
        window(2, 2, Padding::Symmetric(0)),
    ]
}

/// Lengths that a wrapped product may give.
const LENS: [usize; 5] = [0, 4, 16, 64, 72];

#[test]
fn lengths_do_not_wrap() {
    for xs in wrapping() {
        assert_eq!(xs.checked_len(), None, "{xs:?}");
        refused("len", || xs.len());
    }
}

#[test]
fn convolutions_refuse_shapes_that_wrap() {
    for xs in wrapping() {
        for window in windows() {
            refused("conv2d", || Conv2d::new(xs, 4, window));
        }
    }
    let xs = shape(1, 8, 8, 8);
    for window in windows() {
        for cout in [0, HALF, QUARTER, 1 << 60, 1 << 59] {
            refused("conv2d to many channels", || Conv2d::new(xs, cout, window));
        }
    }
    // The weights wrap: 2³² · 2³².
    let xs = shape(1, 1, 1, 1 << 32);
    refused("conv2d", || Conv2d::new(xs, 1 << 32, Window::POINT));
}

#[test]
fn windows_do_not_wrap() {
    let x = shape(1, 8, 8, 8);
    let check = |kernel, stride, padding| {
        let window = Window {
            kernel,
            stride,
            padding,
        };
        refused("conv2d", || Conv2d::new(x, 8, window));
        for len in LENS {
            let (x_, mut y) = (vec![0.0; x.len()], vec![0.0; len]);
            let w = vec![0.0; len];
            refused("depthwise", || {
                depthwise::forward(&x_, x, &w, window, Epilogue::default(), &mut y);
            });
            let mut argmax = vec![0; len];
            refused("max_pool", || {
                pool::max_pool_forward(&x_, x, window, &mut y, &mut argmax);
            });
        }
    };
    check([3, 3], 1, Padding::Symmetric(HALF));
    check([3, 3], 1, Padding::Symmetric(usize::MAX));
    check([3, 3], 1, Padding::Symmetric(HALF - 2));
    check([3, 3], HALF, Padding::Symmetric(QUARTER));
    check([HALF, 2], 1, Padding::Same);
    check([1 << 32, 1 << 32], 1, Padding::Same);
    check([usize::MAX, 3], 2, Padding::Same);
    check([0, 3], 1, Padding::Same);
    check([3, 3], 0, Padding::Same);
}

#[test]
fn parts_that_do_not_make_up_the_input_are_refused() {
    let part = |channels, doubled| InputPart { channels, doubled };
    let check = |xs: Nhwc, parts: &[InputPart]| {
        let inputs = Inputs::joined(parts).unwrap();
        refused("parts", || Conv2d::new(xs, 8, windows()[1]).joined(inputs));
    };
    let xs = shape(1, 8, 8, 16);
    check(xs, &[part(15, false)]);
    check(xs, &[part(HALF, false), part(HALF + 16, false)]);
    check(shape(1, 9, 8, 16), &[part(16, true)]);
}

/// Slices whose lengths contradict the shapes.
#[test]
fn convolutions_refuse_slices_of_wrong_length() {
    let (xs, window) = (shape(1, 8, 8, 8), windows()[1]);
    for window in [Window::POINT, window] {
        let conv = Conv2d::new(xs, 8, window);
        let ys = conv.output().len();
        let weights = window.kernel[0] * window.kernel[1] * 64;
        let packed = vec![0.0; conv.packed_len()];
        let packed_back = vec![0.0; conv.backward_packed_len()];
        let mut scratch = vec![0.0; conv.forward_scratch()];
        let (x, dy) = (vec![0.0; xs.len()], vec![0.0; ys]);
        let no_epilogue = Epilogue::default();
        let forward = |x: &[f32], packed: &[f32], y: usize, scratch: &mut [f32]| {
            let mut y = vec![0.0; y];
            refused("forward", || {
                conv.forward(&[x], packed, no_epilogue, &mut y, scratch);
            });
        };
        forward(&x[1..], &packed, ys, &mut scratch);
        forward(&x, &packed[1..], ys, &mut scratch);
        forward(&x, &packed, ys - 1, &mut scratch);
        forward(&x, &packed, ys, &mut []);
        let mut scratch = vec![0.0; conv.backward_input_scratch()];
        let mut input = |dy: &[f32], packed: &[f32], dx: usize| {
            let mut data = vec![0.0; dx];
            refused("backward_input", || {
                let acc = Accumulate::Replace;
                let dx = PartGradient {
                    data: &mut data,
                    acc,
                };
                conv.backward_input(dy, packed, &mut [dx], &mut scratch);
            });
        };
        input(&dy[1..], &packed_back, xs.len());
        input(&dy, &packed_back[1..], xs.len());
        input(&dy, &packed_back, xs.len() - 1);
        let mut scratch = vec![0.0; conv.backward_weight_scratch()];
        let mut weight = |x: &[f32], dy: &[f32], dw: usize| {
            let mut dw = vec![0.0; dw];
            refused("backward_weight", || {
                conv.backward_weight(&[x], dy, &mut dw, Accumulate::Replace, &mut scratch);
            });
        };
        weight(&x[1..], &dy, weights);
        weight(&x, &dy[1..], weights);
        weight(&x, &dy, weights - 1);
    }
}

#[test]
fn transposed_convolutions_refuse_shapes_that_wrap() {
    let mut shapes: Vec<(Nhwc, usize)> = wrapping().into_iter().map(|xs| (xs, 4)).collect();
    shapes.extend([HALF, QUARTER, 1 << 61].map(|cout| (shape(1, 2, 2, 4), cout)));
    for (xs, cout) in shapes {
        refused("scratch", || conv_transpose2x2::forward_scratch(xs, cout));
        refused("scratch", || conv_transpose2x2::backward_scratch(xs, cout));
        for len in LENS {
            let (x, mut y, w) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
            let mut scratch = vec![0.0; 4096];
            refused("forward", || {
                conv_transpose2x2::forward(&x, xs, &w, cout, None, &mut y, &mut scratch);
            });
            refused("backward_input", || {
                let acc = Accumulate::Add;
                conv_transpose2x2::backward_input(&x, &w, xs, cout, &mut y, acc, &mut scratch);
            });
            refused("backward_weight", || {
                let acc = Accumulate::Add;
                conv_transpose2x2::backward_weight(&x, &w, xs, cout, &mut y, acc, &mut scratch);
            });
        }
    }
}

#[test]
fn depthwise_and_pooling_refuse_shapes_that_wrap() {
    for xs in wrapping() {
        for window in windows() {
            for len in LENS {
                let (x, mut y, w) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
                let (mut argmax, mut scratch) = (vec![0; len], vec![0.0; 4096]);
                let acc = Accumulate::Replace;
                refused("depthwise", || {
                    depthwise::forward(&x, xs, &w, window, Epilogue::default(), &mut y);
                });
                refused("depthwise backward", || {
                    depthwise::backward_input(&x, &w, xs, window, &mut y, acc);
                });
                refused("depthwise weights", || {
                    depthwise::backward_weight(&x, &w, xs, window, &mut y, acc, &mut scratch);
                });
                refused("max_pool", || {
                    pool::max_pool_forward(&x, xs, window, &mut y, &mut argmax);
                });
                refused("max_pool backward", || {
                    pool::max_pool_backward(&x, &argmax, xs, window, &mut y, acc);
                });
            }
        }
    }
}

#[test]
fn simple_operations_refuse_shapes_that_wrap() {
    for xs in wrapping() {
        for len in LENS {
            let (x, mut y) = (vec![0.0; len], vec![0.0; len]);
            let acc = Accumulate::Add;
            refused("mean", || pool::global_avg_forward(&x, xs, &mut y));
            refused("mean backward", || {
                pool::global_avg_backward(&x, xs, &mut y, acc)
            });
            refused("nearest", || resize::nearest2x_forward(&x, xs, &mut y));
            refused("nearest backward", || {
                resize::nearest2x_backward(&x, xs, &mut y, acc)
            });
            refused("bilinear", || resize::bilinear2x_forward(&x, xs, &mut y));
            refused("bilinear backward", || {
                resize::bilinear2x_backward(&x, xs, &mut y, acc)
            });
            refused("crop", || crop::forward(&x, xs, 0, &mut y));
            refused("crop backward", || crop::backward(&x, xs, 0, &mut y, acc));
            let scale = vec![0.0; 4];
            refused("scale", || {
                elementwise::scale_channels_forward(&x, xs, &scale, &mut y)
            });
            refused("scale backward", || {
                elementwise::scale_channels_backward_input(&x, &scale, xs, &mut y, acc);
            });
            refused("scale's gradient", || {
                elementwise::scale_channels_backward_scale(&x, &x, xs, &mut y, acc);
            });
        }
    }
    let (x, mut y) = (vec![0.0; 64], vec![0.0; 64]);
    let xs = shape(1, 8, 8, 1);
    for margin in [HALF, HALF + 1, usize::MAX] {
        refused("crop", || crop::forward(&x, xs, margin, &mut y));
    }
    refused("scale_samples", || {
        elementwise::scale_samples(&[], HALF, &[1.0, 2.0], &mut [], Accumulate::Add);
    });
    refused("zeros", || Buffer::zeros(QUARTER));
    refused("zeros", || Buffer::zeros(usize::MAX));
}

#[test]
fn region_pools_refuse_shapes_that_do_not_fit() {
    let small = shape(1, 2, 3, 4);
    for (features, map) in [
        (small, shape(1, 4, 5, 2)),
        (small, shape(1, 4, 9, 2)),
        (small, shape(1, 5, 6, 2)),
        (small, shape(1, 1, 3, 2)),
        (small, shape(2, 4, 6, 2)),
        (small, shape(1, 4, 6, 1)),
        (shape(1, 0, 0, 4), shape(1, 0, 0, 2)),
        (shape(0, 2, 3, 4), shape(0, 2, 3, 2)),
    ] {
        assert_eq!(RegionPool::checked(features, map), None, "{map:?}");
        refused("new", || RegionPool::new(features, map));
    }
    for xs in wrapping() {
        refused("features", || RegionPool::new(xs, xs.with_channels(2)));
        refused("map", || RegionPool::new(small, xs));
    }
    let pool = RegionPool::new(small, shape(1, 4, 6, 2));
    let (x, map, dy) = (vec![0.0; 24], vec![0.0; 48], vec![0.0; 4]);
    let forward = |x: &[f32], map: &[f32], y: usize, scratch: usize| {
        refused("forward", || {
            pool.forward(x, map, &mut vec![0.0; y], &mut vec![0.0; scratch]);
        });
    };
    forward(&x[1..], &map, 4, 6);
    forward(&x, &map[1..], 4, 6);
    forward(&x, &map, 3, 6);
    forward(&x, &map, 4, 5);
    let features = |dy: &[f32], map: &[f32], dx: usize, scratch: usize| {
        let (mut dx, mut scratch) = (vec![0.0; dx], vec![0.0; scratch]);
        refused("backward_features", || {
            pool.backward_features(dy, map, &mut dx, Accumulate::Add, &mut scratch);
        });
    };
    features(&dy[1..], &map, 24, 6);
    features(&dy, &map[1..], 24, 6);
    features(&dy, &map, 23, 6);
    features(&dy, &map, 24, 5);
    let logits = |x: &[f32], dy: &[f32], map: &[f32], dmap: usize, scratch: usize| {
        let (mut dmap, mut scratch) = (vec![0.0; dmap], vec![0.0; scratch]);
        refused("backward_map", || {
            pool.backward_map(x, dy, map, &mut dmap, Accumulate::Add, &mut scratch);
        });
    };
    logits(&x[1..], &dy, &map, 48, 12);
    logits(&x, &dy[1..], &map, 48, 12);
    logits(&x, &dy, &map[1..], 48, 12);
    logits(&x, &dy, &map, 47, 12);
    logits(&x, &dy, &map, 48, 11);
}

#[test]
fn concatenations_refuse_sizes_that_wrap() {
    let mut y = [0.0; 4];
    refused("no values of many pixels", || {
        concat::forward(&[(&[], 2)], HALF, &mut [])
    });
    refused("channels that wrap", || {
        concat::forward(&[(&[0.0; 4], HALF), (&[0.0; 4], HALF + 1)], 4, &mut y);
    });
    let backward = |dy: &[f32], total, offset, channels| {
        let mut dx = [0.0; 4];
        refused("backward", || {
            concat::backward(dy, total, offset, channels, &mut dx, Accumulate::Add);
        });
    };
    backward(&[], QUARTER, 0, 1);
    backward(&[], QUARTER, HALF, 1);
    backward(&[0.0; 16], 4, usize::MAX, 1);
    backward(&[0.0; 16], 4, usize::MAX - 1, 1);
    backward(&[0.0; 16], 4, 4, 1);
}

#[test]
fn linear_layers_refuse_sizes_that_wrap() {
    for (n, inputs, outputs) in [
        (1, 1 << 32, 1 << 32),
        (HALF, 2, 2),
        (2, HALF, 2),
        (2, 2, HALF),
        (1, QUARTER, 16),
    ] {
        for len in LENS {
            let (x, w, mut y) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
            let acc = Accumulate::Add;
            refused("input", || {
                linear::backward_input(&x, n, &w, inputs, outputs, &mut y, acc)
            });
            refused("weight", || {
                linear::backward_weight(&x, &w, n, inputs, outputs, &mut y, acc)
            });
        }
        refused("forward", || {
            linear::forward(&[0.0; 3], n, &[0.0; 4], None, &mut [0.0; 3])
        });
    }
}
