//! Results are identical to the bit with any number of threads.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use kernels::{Accumulate, Activation, Nhwc, Padding, Window};

fn cases() -> Vec<Case> {
    let xs = Nhwc {
        n: 3,
        h: 37,
        w: 29,
        c: 24,
    };
    let window = Window {
        kernel: [3, 3],
        stride: 1,
        padding: Padding::Symmetric(1),
    };
    let mut cases = simple_cases(xs);
    cases.extend(conv2d_case(xs, 40, window, Some(Activation::Silu)));
    cases.extend(conv2d_case(xs, 72, Window::POINT, None));
    cases.extend(inference_case(xs, 2, window, None));
    cases.extend(conv2d_case(
        Nhwc {
            n: 2,
            h: 4,
            w: 4,
            c: 400,
        },
        130,
        window,
        None,
    ));
    cases.extend(conv2d_case(
        xs,
        16,
        Window {
            kernel: [3, 3],
            stride: 2,
            padding: Padding::Same,
        },
        None,
    ));
    cases.extend(depthwise_case(
        xs,
        Window {
            kernel: [5, 5],
            stride: 2,
            padding: Padding::Same,
        },
        None,
    ));
    cases.extend(max_pool_case(
        xs,
        Window {
            kernel: [2, 2],
            stride: 2,
            padding: Padding::Symmetric(0),
        },
    ));
    cases.extend(conv2d_case(
        Nhwc {
            n: 2,
            h: 11,
            w: 14,
            c: 300,
        },
        200,
        window,
        None,
    ));
    cases.extend(narrow_case(xs, 72));
    cases.extend(narrow_winograd_case(xs, 40, window));
    cases.extend(crop_case(xs, 4));
    cases.push(region_pool_case(xs, 2, 3));
    cases.push(conv_transpose_case(xs, 12));
    cases.push(linear_case(8, 1280, 2));
    cases.push(batch_norm_case(xs, 1.0, Some(Activation::Silu), true));
    cases.push(activation_case(Activation::Silu, 100_003));
    cases
}

/// Every output and gradient of a case, as bits.
fn bits(case: &Case) -> Vec<Vec<u32>> {
    let y = (case.forward)(&case.inputs);
    let dy = Random::new(3).tensor(y.len());
    let mut gradients: Vec<Vec<f32>> = case.inputs.iter().map(|x| vec![0.5; x.len()]).collect();
    (case.backward)(&case.inputs, &dy, Accumulate::Add, &mut gradients);
    std::iter::once(&y)
        .chain(&gradients)
        .map(|t| t.iter().map(|v| v.to_bits()).collect())
        .collect()
}

#[test]
fn one_two_and_three_threads_agree_to_the_bit() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| cases().iter().map(bits).collect::<Vec<_>>())
    };
    let one = run(1);
    for threads in [2, 3] {
        for ((case, one), other) in cases().iter().zip(&one).zip(run(threads)) {
            assert!(
                *one == other,
                "{} differs with {threads} threads",
                case.name
            );
        }
    }
}
