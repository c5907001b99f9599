//! Kernels on bf16 maps: each result is exactly the `f32` kernel's on the same numbers, rounded.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use kernels::bf16::{self, Bf16};
use kernels::conv2d::{Conv2d, InputPart, Inputs, Path};
use kernels::*;
use proptest::prelude::*;

fn rounded(x: &[f32]) -> Vec<Bf16> {
    x.iter().map(|x| Bf16::nearest(*x)).collect()
}

fn numbers(x: &[Bf16]) -> Vec<f32> {
    x.iter().map(|x| x.get()).collect()
}

/// Random values, and the same rounded.
fn tensor(random: &mut Random, len: usize) -> Vec<Bf16> {
    rounded(&random.tensor(len))
}

const POINT: Window = Window::POINT;
const SAME: Window = window(3, 1);

const fn window(kernel: usize, stride: usize) -> Window {
    Window {
        kernel: [kernel, kernel],
        stride,
        padding: Padding::Symmetric(kernel / 2),
    }
}

/// A convolution of random bf16 parts, its weights and its bias.
struct Dense {
    conv: Conv2d,
    parts: Vec<Vec<Bf16>>,
    packed: Vec<f32>,
    bias: Vec<f32>,
    activation: Option<Activation>,
}

impl Dense {
    fn new(
        xs: Nhwc,
        parts: &[InputPart],
        cout: usize,
        window: Window,
        activation: Option<Activation>,
    ) -> Self {
        let mut random = Random::new((xs.len() * 31 + cout) as u64);
        let inputs = Inputs::joined(parts).unwrap();
        let conv = Conv2d::new(xs, cout, window)
            .for_inference()
            .with_precision(Precision::Bf16)
            .joined(inputs);
        let data = parts.iter().map(|part| {
            let pixels = if part.doubled {
                xs.pixels() / 4
            } else {
                xs.pixels()
            };
            tensor(&mut random, pixels * part.channels)
        });
        let parts = data.collect();
        let weights = random.tensor(window.kernel[0] * window.kernel[1] * xs.c * cout);
        let mut packed = vec![0.0; conv.packed_len()];
        conv.pack(&weights, &mut packed);
        Dense {
            conv,
            parts,
            packed,
            bias: random.tensor(cout),
            activation,
        }
    }

    fn whole(xs: Nhwc, cout: usize, window: Window, activation: Option<Activation>) -> Self {
        let part = InputPart {
            channels: xs.c,
            doubled: false,
        };
        Self::new(xs, &[part], cout, window, activation)
    }

    fn epilogue(&self) -> Epilogue<'_> {
        Epilogue {
            bias: Some(&self.bias),
            activation: self.activation,
        }
    }

    fn scratch(&self) -> Vec<f32> {
        vec![f32::NAN; self.conv.forward_scratch()]
    }

    /// The results of the `f32` kernel.
    fn expected(&self) -> Vec<f32> {
        let parts: Vec<Vec<f32>> = self.parts.iter().map(|part| numbers(part)).collect();
        let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
        let mut y = vec![f32::NAN; self.conv.output().len()];
        let (epilogue, mut scratch) = (self.epilogue(), self.scratch());
        self.conv
            .forward(&parts, &self.packed, epilogue, &mut y, &mut scratch);
        y
    }

    fn rounded(&self) -> Vec<Bf16> {
        let parts: Vec<&[Bf16]> = self.parts.iter().map(Vec::as_slice).collect();
        let mut y = vec![Bf16::nearest(f32::NAN); self.conv.output().len()];
        let (epilogue, mut scratch) = (self.epilogue(), self.scratch());
        let out = bf16::Output::Bf16(&mut y);
        self.conv
            .forward_bf16(&parts, &self.packed, epilogue, out, &mut scratch);
        y
    }

    #[track_caller]
    fn check(&self) {
        assert!(self.conv.reads_bf16(true), "{:?}", self.conv);
        assert!(
            rounded(&self.expected()) == self.rounded(),
            "{:?}",
            self.conv
        );
    }
}

fn shape(n: usize, h: usize, w: usize, c: usize) -> Nhwc {
    Nhwc { n, h, w, c }
}

#[test]
fn numbers_are_rounded_to_the_nearest_ties_to_even() {
    // Of numbers near 1, every 2⁻⁷th is a bf16 number.
    let step = 2f32.powi(-7);
    for (number, nearest) in [
        (1.0, 1.0),
        (1.0 + 0.49 * step, 1.0),
        (1.0 + 0.5 * step, 1.0),
        (1.0 + 0.51 * step, 1.0 + step),
        (1.0 + 1.5 * step, 1.0 + 2.0 * step),
        (-3.0 - step, -3.0),
        (0.0, 0.0),
        (f32::MAX, f32::INFINITY),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
    ] {
        assert_eq!(Bf16::nearest(number).get(), nearest, "{number}");
    }
    assert!(Bf16::nearest(f32::NAN).get().is_nan());
}

#[test]
fn vectors_are_rounded_as_numbers_are() {
    let mut random = Random::new(5);
    for len in [1, 7, 8, 15, 16, 17, 40_000] {
        let mut x = random.tensor(len);
        x[len / 2] = f32::NAN;
        let mut narrow = vec![Bf16::default(); len];
        bf16::narrow(&x, &mut narrow);
        let mut wide = vec![0.0; len];
        bf16::widen(&narrow, &mut wide);
        assert!(wide[len / 2].is_nan() && narrow[len / 2].get().is_nan());
        (x[len / 2], wide[len / 2], narrow[len / 2]) = (0.5, 0.5, Bf16::nearest(0.5));
        assert!(narrow == rounded(&x) && wide == numbers(&narrow), "{len}");
    }
}

#[test]
fn elementwise_kernels_round_the_result() {
    let mut random = Random::new(6);
    for xs in [shape(2, 5, 7, 3), shape(3, 4, 4, 40), shape(1, 30, 30, 144)] {
        let (a, b) = (tensor(&mut random, xs.len()), tensor(&mut random, xs.len()));
        let s = random.tensor(xs.n * xs.c);
        let (x, mut y) = (numbers(&a), vec![0.0; xs.len()]);
        let mut narrow = vec![Bf16::default(); xs.len()];
        elementwise::add(&x, &numbers(&b), &mut y);
        bf16::add(&a, &b, &mut narrow);
        assert!(narrow == rounded(&y), "add {xs:?}");
        elementwise::scale_channels_forward(&x, xs, &s, &mut y);
        bf16::scale_channels(&a, xs, &s, &mut narrow);
        assert!(narrow == rounded(&y), "scale {xs:?}");
        let mut means = [vec![0.0; xs.n * xs.c], vec![1.0; xs.n * xs.c]];
        pool::global_avg_forward(&x, xs, &mut means[0]);
        bf16::global_avg_pool(&a, xs, &mut means[1]);
        assert_eq!(means[0], means[1], "{xs:?}");
    }
}

#[test]
fn depthwise_convolutions_round_the_result() {
    let mut random = Random::new(7);
    for (xs, window) in [
        (shape(2, 9, 11, 5), window(3, 1)),
        (shape(1, 20, 40, 48), window(3, 1)),
        (shape(2, 14, 14, 37), window(5, 2)),
        (shape(1, 7, 7, 600), window(5, 1)),
        (shape(1, 6, 6, 16), window(7, 1)),
    ] {
        let ys = window.output(xs, xs.c).unwrap();
        let x = tensor(&mut random, xs.len());
        let w = random.tensor(window.kernel[0] * window.kernel[1] * xs.c);
        let bias = random.tensor(xs.c);
        for activation in [None, Some(Activation::Silu), Some(Activation::Relu6)] {
            let epilogue = Epilogue {
                bias: Some(&bias),
                activation,
            };
            let (mut y, mut narrow) = (vec![0.0; ys.len()], vec![Bf16::default(); ys.len()]);
            depthwise::forward(&numbers(&x), xs, &w, window, epilogue, &mut y);
            bf16::depthwise(&x, xs, &w, window, epilogue, &mut narrow);
            assert!(narrow == rounded(&y), "{xs:?} {window:?} {activation:?}");
        }
    }
}

#[test]
fn pointwise_convolutions_round_the_result() {
    for (channels, cout) in [(16, 96), (24, 144), (40, 17), (37, 40), (1152, 192), (1, 1)] {
        for activation in [None, Some(Activation::Silu)] {
            Dense::whole(shape(2, 9, 7, channels), cout, POINT, activation).check();
        }
    }
}

#[test]
fn rows_of_pairs_at_odd_addresses_are_not_read_in_place() {
    let xs = shape(1, 5, 5, 8);
    let mut dense = Dense::whole(xs, 8, POINT, None);
    let expected = dense.rounded();
    dense.parts[0].insert(0, Bf16::nearest(9.0));
    let mut y = vec![Bf16::default(); xs.len()];
    let mut scratch = dense.scratch();
    dense.conv.forward_bf16(
        &[&dense.parts[0][1..]],
        &dense.packed,
        dense.epilogue(),
        bf16::Output::Bf16(&mut y),
        &mut scratch,
    );
    assert!(y == expected);
}

#[test]
fn winograd_rounds_the_result() {
    for (xs, cout) in [
        (shape(1, 16, 16, 16), 16),
        (shape(2, 13, 21, 24), 40),
        (shape(1, 8, 8, 320), 256),
    ] {
        for activation in [None, Some(Activation::Relu), Some(Activation::Silu)] {
            let dense = Dense::whole(xs, cout, SAME, activation);
            assert_eq!(dense.conv.path(), Path::Winograd);
            dense.check();
        }
    }
}

#[test]
fn winograd_reads_parts_that_are_bf16() {
    let parts = [(24, true), (16, false), (9, false)];
    let parts = parts.map(|(channels, doubled)| InputPart { channels, doubled });
    let dense = Dense::new(shape(2, 12, 20, 49), &parts, 24, SAME, None);
    assert_eq!(dense.conv.path(), Path::Winograd);
    dense.check();
}

#[test]
fn a_class_map_is_written_as_numbers() {
    for cout in 1..=4 {
        let dense = Dense::whole(shape(2, 10, 18, 16), cout, SAME, None);
        assert_eq!(dense.conv.path(), Path::Few);
        assert!(dense.conv.reads_bf16(false) && !dense.conv.reads_bf16(true));
        let mut y = vec![f32::NAN; dense.conv.output().len()];
        let (epilogue, out) = (dense.epilogue(), bf16::Output::F32(&mut y));
        let parts: Vec<&[Bf16]> = dense.parts.iter().map(Vec::as_slice).collect();
        dense
            .conv
            .forward_bf16(&parts, &dense.packed, epilogue, out, &mut dense.scratch());
        assert_eq!(y, dense.expected());
    }
}

#[test]
fn images_are_read_as_numbers_and_the_result_is_rounded() {
    let dense = Dense::whole(
        shape(2, 31, 33, 3),
        32,
        window(3, 2),
        Some(Activation::Silu),
    );
    assert!(dense.conv.writes_bf16() && !dense.conv.reads_bf16(true));
    let x = Random::new(8).tensor(dense.conv.input().len());
    let len = dense.conv.output().len();
    let (mut y, mut narrow, mut scratch) =
        (vec![0.0; len], vec![Bf16::default(); len], dense.scratch());
    let (packed, epilogue) = (&dense.packed, dense.epilogue());
    dense
        .conv
        .forward(&[&x], packed, epilogue, &mut y, &mut scratch);
    dense
        .conv
        .forward_to_bf16(&[&x], packed, epilogue, &mut narrow, &mut scratch);
    assert!(narrow == rounded(&y));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any shapes: results do not depend on how maps are stored.
    #[test]
    fn any_convolution_rounds_the_result(
        n in 1usize..3, h in 3usize..20, w in 3usize..20, c in 1usize..70, cout in 1usize..70, three in any::<bool>(),
    ) {
        let dense = Dense::whole(shape(n, h, w, c), cout, if three { SAME } else { POINT }, None);
        if dense.conv.reads_bf16(true) {
            prop_assert!(rounded(&dense.expected()) == dense.rounded());
        }
    }
}
