//! Compares kernels with their naive references on random shapes: odd sizes, strides, paddings, any number of channels.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use kernels::conv2d::{Conv2d, InputPart};
use kernels::*;
use proptest::prelude::*;

fn check_case(case: &Case) {
    check_with(case, |name, got, expected| check(name, got, expected, 2e-5));
}

/// Forward, backward with `Replace` (over garbage) and with `Add` agree with the reference, as judged by `agree`.
fn check_with(case: &Case, agree: impl Fn(&str, &[f32], &[f64])) {
    let wide_inputs: Vec<Vec<f64>> = case.inputs.iter().map(|x| wide(x)).collect();
    let expected = (case.reference_forward)(&wide_inputs);
    agree(&case.name, &(case.forward)(&case.inputs), &expected);
    let dy = Random::new(99).tensor(expected.len());
    let gradients = (case.reference_backward)(&wide_inputs, &wide(&dy));
    let mut replaced: Vec<Vec<f32>> = case
        .inputs
        .iter()
        .map(|x| vec![f32::NAN; x.len()])
        .collect();
    (case.backward)(&case.inputs, &dy, Accumulate::Replace, &mut replaced);
    let mut added: Vec<Vec<f32>> = case.inputs.iter().map(|x| vec![1.0; x.len()]).collect();
    (case.backward)(&case.inputs, &dy, Accumulate::Add, &mut added);
    for (i, gradient) in gradients.iter().enumerate() {
        let name = format!("{}, gradient {i}", case.name);
        agree(&name, &replaced[i], gradient);
        // Without the 1 that it was added to: a gradient near −1 would leave a sum far smaller than its rounding error.
        let added: Vec<f32> = added[i].iter().map(|sum| sum - 1.0).collect();
        agree(&format!("{name} added"), &added, gradient);
    }
}

fn shapes() -> impl Strategy<Value = Nhwc> {
    let channels = prop_oneof![1..8usize, 8..40usize, Just(64usize), Just(113usize)];
    (1..4usize, 1..14usize, 1..14usize, channels).prop_map(|(n, h, w, c)| Nhwc { n, h, w, c })
}

fn windows() -> impl Strategy<Value = Window> {
    let padding = prop_oneof![
        Just(Padding::Same),
        (0..4usize).prop_map(Padding::Symmetric)
    ];
    let kernel = prop_oneof![
        Just([1, 1]),
        Just([3, 3]),
        Just([5, 5]),
        [1..5usize, 1..5usize]
    ];
    (kernel, 1..4usize, padding).prop_map(|(kernel, stride, padding)| Window {
        kernel,
        stride,
        padding,
    })
}

fn activations() -> impl Strategy<Value = Option<Activation>> {
    prop_oneof![
        Just(None),
        proptest::sample::select(ACTIVATIONS.to_vec()).prop_map(Some)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conv2d_agrees(xs in shapes(), cout in 1..70usize, window in windows(), activation in activations()) {
        conv2d_case(xs, cout, window, activation).iter().for_each(check_case);
    }

    /// The same for Winograd: windows that it supports, images of a few tiles.
    #[test]
    fn winograd_agrees(n in 1..3usize, h in 8..19usize, w in 8..30usize, c in 8..80usize, cout in 8..90usize,
                       padding in 0..3usize, activation in activations()) {
        let window = Window { kernel: [3, 3], stride: 1, padding: Padding::Symmetric(padding) };
        conv2d_case(Nhwc { n, h, w, c }, cout, window, activation).iter().for_each(check_case);
    }

    /// The same to few channels, from enough that inference has a path of its own for them.
    #[test]
    fn few_agrees(n in 1..3usize, h in 1..9usize, w in 1..30usize, c in 8..40usize, cout in 1..5usize,
                  window in windows(), activation in activations()) {
        inference_case(Nhwc { n, h, w, c }, cout, window, activation).iter().for_each(check_case);
    }

    /// bf16 factors, rounded before they are multiplied: the sums are as exact as in `f32`.
    #[test]
    fn narrow_pointwise_agrees(xs in shapes(), cout in 1..200usize) {
        narrow_case(xs, cout).iter().for_each(check_case);
    }

    /// Here the factors are rounded at the Winograd points, which triples the error of a bf16 product (4e-3): over
    /// 4,000 shapes and each instruction set its root mean square was between 1.0 % and 1.4 % of that of the values.
    /// The largest error of a tensor was 6 % of that in the median and 11 % in the worst of 7,500 tensors.
    #[test]
    fn narrow_winograd_agrees(n in 1..3usize, h in 8..19usize, w in 8..30usize, c in 8..80usize, cout in 8..90usize) {
        let window = Window { kernel: [3, 3], stride: 1, padding: Padding::Symmetric(1) };
        let case = narrow_winograd_case(Nhwc { n, h, w, c }, cout, window);
        case.iter().for_each(|case| check_with(case, |name, got, expected| {
            check_against_rms(name, got, expected, 1.6e-2, 0.15);
        }));
    }

    #[test]
    fn joined_agrees(n in 1..3usize, h in 1..9usize, w in 1..12usize, cout in 1..50usize,
                     parts in proptest::collection::vec((1..40usize, any::<bool>()), 1..6)) {
        let parts: Vec<_> = parts.into_iter().map(|(channels, doubled)| InputPart { channels, doubled }).collect();
        let c = parts.iter().map(|part| part.channels).sum();
        let window = Window { kernel: [3, 3], stride: 1, padding: Padding::Same };
        joined_case(Nhwc { n, h: 2 * h, w: 2 * w, c }, &parts, cout, window).iter().for_each(check_case);
    }

    #[test]
    fn depthwise_agrees(xs in shapes(), window in windows(), activation in activations()) {
        depthwise_case(xs, window, activation).iter().for_each(check_case);
    }

    /// The same for rows of several tiles and for several blocks of channels.
    #[test]
    fn wide_depthwise_agrees(h in 1..8usize, w in 17..40usize, c in proptest::sample::select(vec![5, 16, 40, 530]),
                             side in proptest::sample::select(vec![3, 5]), stride in 1..4usize,
                             activation in activations()) {
        let window = Window { kernel: [side, side], stride, padding: Padding::Same };
        depthwise_case(Nhwc { n: 2, h, w, c }, window, activation).iter().for_each(check_case);
    }

    #[test]
    fn conv_transpose_agrees(xs in shapes(), cout in 1..40usize) {
        check_case(&conv_transpose_case(xs, cout));
    }

    #[test]
    fn linear_agrees(n in 1..9usize, inputs in 1..200usize, outputs in 1..40usize) {
        check_case(&linear_case(n, inputs, outputs));
    }

    #[test]
    fn batch_norm_agrees(xs in shapes(), mean in -3f32..3.0, activation in activations(), train: bool) {
        // Training on a single pixel has variance 0, whose gradient is nothing but rounding error.
        prop_assume!(!train || xs.pixels() > 3);
        check_case(&batch_norm_case(xs, mean, activation, train));
    }

    #[test]
    fn max_pool_agrees(xs in shapes(), window in windows()) {
        let padding_is_smaller = match window.padding {
            Padding::Same => true,
            Padding::Symmetric(pad) => pad < window.kernel[0] && pad < window.kernel[1],
        };
        prop_assume!(padding_is_smaller);
        max_pool_case(xs, window).iter().for_each(check_case);
    }

    #[test]
    fn crop_agrees(xs in shapes(), margin in 0..6usize) {
        crop_case(xs, margin).iter().for_each(check_case);
    }

    #[test]
    fn region_pool_agrees(xs in shapes(), side in 1..5usize, classes in 2..6usize) {
        check_case(&region_pool_case(xs, side, classes));
    }

    #[test]
    fn simple_operations_agree(xs in shapes()) {
        simple_cases(xs).iter().for_each(check_case);
    }

    #[test]
    fn activations_agree(len in 1..100usize) {
        for kind in ACTIVATIONS {
            check_case(&activation_case(kind, len));
        }
    }
}

#[test]
fn small_cases_agree() {
    small_cases().iter().for_each(check_case);
}

/// Large enough for many tasks, bands, panels and partial sums.
#[test]
fn large_cases_agree() {
    let xs = Nhwc {
        n: 2,
        h: 30,
        w: 41,
        c: 24,
    };
    let window = Window {
        kernel: [3, 3],
        stride: 1,
        padding: Padding::Symmetric(1),
    };
    let cases = [
        conv2d_case(xs, 40, window, None),
        conv2d_case(
            xs,
            16,
            Window {
                stride: 2,
                ..window
            },
            None,
        ),
    ];
    cases.iter().flatten().for_each(check_case);
    depthwise_case(
        xs.with_channels(1030),
        Window {
            kernel: [5, 5],
            padding: Padding::Same,
            ..window
        },
        None,
    )
    .iter()
    .for_each(check_case);
    conv2d_case(
        Nhwc {
            n: 1,
            h: 3,
            w: 3,
            c: 300,
        },
        200,
        window,
        None,
    )
    .iter()
    .for_each(check_case);
    conv2d_case(
        Nhwc {
            n: 3,
            h: 50,
            w: 40,
            c: 20,
        },
        100,
        Window::POINT,
        None,
    )
    .iter()
    .for_each(check_case);
    check_case(&batch_norm_case(
        Nhwc {
            n: 2,
            h: 50,
            w: 60,
            c: 33,
        },
        1.0,
        Some(Activation::Silu),
        true,
    ));
    simple_cases(xs).iter().for_each(check_case);
}

/// To few channels, whose path joins the parts.
#[test]
fn few_of_parts_agrees() {
    let (xs, window) = (
        Nhwc {
            n: 2,
            h: 10,
            w: 14,
            c: 13,
        },
        Window {
            kernel: [3, 3],
            stride: 1,
            padding: Padding::Symmetric(1),
        },
    );
    let parts = [(8, true), (5, false)].map(|(channels, doubled)| InputPart { channels, doubled });
    let conv = Conv2d::new(xs, 3, window).for_inference();
    parts_case(conv, &parts, 3, window)
        .iter()
        .for_each(check_case);
}

/// So many weights that Winograd's tiles go through one point at a time, and more tiles than it holds.
#[test]
fn heavy_winograd_agrees() {
    let xs = Nhwc {
        n: 2,
        h: 38,
        w: 34,
        c: 330,
    };
    let window = Window {
        kernel: [3, 3],
        stride: 1,
        padding: Padding::Same,
    };
    let parts =
        [(200, true), (130, false)].map(|(channels, doubled)| InputPart { channels, doubled });
    joined_case(xs, &parts, 184, window)
        .iter()
        .for_each(check_case);
    let xs = Nhwc {
        n: 1,
        h: 13,
        w: 18,
        c: 300,
    };
    let silu = Some(Activation::Silu);
    conv2d_case(xs, 200, window, silu)
        .iter()
        .for_each(check_case);
}

/// The same with bf16, of which a word may hold two channels.
#[test]
fn heavy_narrow_winograd_agrees() {
    let xs = Nhwc {
        n: 1,
        h: 13,
        w: 18,
        c: 600,
    };
    let window = Window {
        kernel: [3, 3],
        stride: 1,
        padding: Padding::Same,
    };
    narrow_winograd_case(xs, 200, window)
        .iter()
        .for_each(|case| {
            check_with(case, |name, got, expected| {
                check_against_rms(name, got, expected, 1.6e-2, 0.15);
            })
        });
}

/// Runs all of the above again with the slower instruction sets, each in a process of its own.
#[test]
fn every_instruction_set_agrees() {
    if std::env::var_os("KERNELS_SIMD").is_some() {
        return;
    }
    for set in ["avx2", "portable"] {
        let this = std::env::current_exe().unwrap();
        let output = std::process::Command::new(this)
            .env("KERNELS_SIMD", set)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{set}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn exponentials_saturate_and_nan_passes_through() {
    let x = [
        f32::NEG_INFINITY,
        -1e30,
        -200.0,
        -88.0,
        0.0,
        20.0,
        89.0,
        1e30,
        f32::INFINITY,
        f32::NAN,
    ];
    let mut y = [0.0; 10];
    activation::forward(Activation::Sigmoid, &x, &mut y);
    assert!(y[..3].iter().all(|y| (0.0..1e-37).contains(y)));
    assert_eq!(y[4], 0.5);
    assert_eq!(y[5..9], [1.0; 4]);
    for kind in ACTIVATIONS {
        activation::forward(kind, &x, &mut y);
        assert!(y[9].is_nan(), "{kind:?} of NaN");
    }
    activation::forward(Activation::Silu, &x, &mut y);
    assert!(y[..3].iter().all(|y| y.abs() < 1e-35));
    assert_eq!((y[4], y[7]), (0.0, 1e30));
}

#[test]
fn sigmoid_is_within_a_few_units_in_the_last_place() {
    let x: Vec<f32> = (-80_000..80_000).map(|i| i as f32 * 1e-3).collect();
    let mut y = vec![0.0; x.len()];
    activation::forward(Activation::Sigmoid, &x, &mut y);
    for (x, y) in x.iter().zip(y) {
        let expected = 1.0 / (1.0 + (-f64::from(*x)).exp());
        assert!(
            (f64::from(y) / expected - 1.0).abs() < 4e-7,
            "sigmoid({x}) = {y}, expected {expected}"
        );
    }
}

/// An image in which the map finds no region: the result goes to 0, and no gradient is NaN or large. In the first image
/// the weights are about 10⁻⁹, in the second 0.
#[test]
fn an_empty_region_gives_finite_values() {
    let xs = Nhwc {
        n: 2,
        h: 2,
        w: 3,
        c: 4,
    };
    let pool = region_pool::RegionPool::new(xs, xs.with_channels(2));
    let x = Random::new(5).tensor(xs.len());
    let logit = |i: usize| match (i % 2, i / (2 * 6)) {
        (1, _) => 0.0,
        (_, 0) => 20.0,
        _ => 1e4,
    };
    let map: Vec<f32> = (0..24).map(logit).collect();
    let mut scratch = vec![f32::NAN; pool.backward_map_scratch()];
    let (mut y, dy) = (vec![f32::NAN; 8], Random::new(6).tensor(8));
    pool.forward(&x, &map, &mut y, &mut scratch);
    assert!(y[..4].iter().all(|y| y.abs() < 0.02), "{y:?}");
    assert_eq!(y[4..], [0.0; 4]);
    let (mut dx, mut dmap) = (vec![f32::NAN; xs.len()], vec![f32::NAN; 24]);
    let acc = Accumulate::Replace;
    pool.backward_features(&dy, &map, &mut dx, acc, &mut scratch);
    pool.backward_map(&x, &dy, &map, &mut dmap, acc, &mut scratch);
    assert!(
        dx.iter().chain(&dmap).all(|g| g.abs() < 0.02),
        "{dx:?} {dmap:?}"
    );
}

#[test]
fn variance_survives_a_large_mean() {
    let z: Vec<f32> = (0..40_000)
        .map(|i| 4096.0 + (i / 2 % 5) as f32 * if i % 2 == 0 { 0.5 } else { 1.0 })
        .collect();
    let (mut mean, mut var) = ([0.0; 2], [0.0; 2]);
    batch_norm::statistics(&z, 2, &mut mean, &mut var);
    assert_eq!(mean, [4097.0, 4098.0]);
    check("variance", &var, &[0.5, 2.0], 1e-6);
}

#[test]
fn running_statistics_match_pytorch() {
    let (mut mean, mut var) = ([1.0], [2.0]);
    batch_norm::update_running(&mut mean, &mut var, &[3.0], &[4.0], 5, 0.1);
    check("mean", &mean, &[1.2], 1e-6);
    check("variance", &var, &[2.3], 1e-6);
}
