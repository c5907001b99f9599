//! Kernels on bytes compared with sums in double precision over the numbers that the codes stand for.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use kernels::conv2d::{InputPart, Inputs};
use kernels::quantized::{self, *};
use kernels::reference::convolution as conv;
use kernels::*;
use proptest::prelude::*;

/// A tensor of random codes, whose code depends on the seed.
fn tensor(random: &mut Random, len: usize, zero: u8) -> (Vec<u8>, Affine) {
    let codes = random
        .tensor(len)
        .iter()
        .map(|x| ((x + 1.0) * 127.9) as u8)
        .collect();
    let scale = 0.01 + 0.005 * random.tensor(1)[0];
    (codes, Affine { scale, zero })
}

fn values(codes: &[u8], affine: Affine) -> Vec<f64> {
    codes
        .iter()
        .map(|code| f64::from(affine.value(*code)))
        .collect()
}

/// Fails unless each code is one of the nearest to its number; where two are, rounding decides.
#[track_caller]
fn check_codes(name: &str, codes: &[u8], affine: Affine, y: &[f32]) {
    for (code, y) in codes.iter().zip(y) {
        let nearest = affine.code(*y);
        let step = (affine.value(*code) - y).abs() / affine.scale;
        assert!(
            *code == nearest || (code.abs_diff(nearest) == 1 && step < 0.501),
            "{name}: code {code} of {y}, {nearest} is nearer"
        );
    }
}

fn activated(y: f64, activation: Option<Activation>) -> f64 {
    match activation {
        None => y,
        Some(Activation::Relu) => y.max(0.0),
        Some(Activation::Relu6) => y.clamp(0.0, 6.0),
        Some(Activation::Sigmoid) => 1.0 / (1.0 + (-y).exp()),
        Some(Activation::Silu) => y / (1.0 + (-y).exp()),
    }
}

/// A convolution of random codes.
struct Dense {
    xs: Nhwc,
    parts: Vec<(Vec<u8>, Affine)>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    activation: Option<Activation>,
    window: Window,
    inputs: Inputs,
}

impl Dense {
    fn new(
        xs: Nhwc,
        parts: &[InputPart],
        cout: usize,
        window: Window,
        activation: Option<Activation>,
    ) -> Option<Self> {
        window.output(xs, cout)?;
        let mut random = Random::new((xs.len() * 31 + cout) as u64);
        let inputs = Inputs::joined(parts)?;
        let tensors = parts.iter().enumerate().map(|(i, part)| {
            let halved = if part.doubled { 4 } else { 1 };
            let len = xs.pixels() / halved * part.channels;
            tensor(&mut random, len, [128, 0, 255, 3][i % 4])
        });
        let tensors = tensors.collect();
        let taps = window.kernel[0] * window.kernel[1];
        Some(Self {
            xs,
            parts: tensors,
            weights: random.tensor(taps * xs.c * cout),
            bias: random.tensor(cout),
            activation,
            window,
            inputs,
        })
    }

    fn cout(&self) -> usize {
        self.bias.len()
    }

    /// The joined input as numbers.
    fn input(&self) -> Vec<f64> {
        let Nhwc { n, h, w, .. } = self.xs;
        let mut x = Vec::new();
        for pixel in 0..n * h * w {
            let (n, y, column) = (pixel / (h * w), pixel / w % h, pixel % w);
            for ((codes, affine), part) in self.parts.iter().zip(self.inputs.parts()) {
                let shift = usize::from(part.doubled);
                let at = (n * (h >> shift) + (y >> shift)) * (w >> shift) + (column >> shift);
                x.extend(values(
                    &codes[at * part.channels..][..part.channels],
                    *affine,
                ));
            }
        }
        x
    }

    /// The size of a sum whose terms have random signs, over all outputs.
    fn scale(&self) -> f64 {
        let square = |x: Vec<f64>| -> Vec<f64> { x.into_iter().map(|x| x * x).collect() };
        let (x, w) = (square(self.input()), square(wide(&self.weights)));
        let sums = conv::conv2d_forward(&x, self.xs, &w, self.cout(), self.window);
        // Where windows have nothing but padding, the bias remains.
        (sums.iter().sum::<f64>() / sums.len() as f64).sqrt() + 1e-2
    }

    fn conv(&self) -> QuantizedConv {
        QuantizedConv::new(self.xs, self.inputs, self.cout(), self.window).unwrap()
    }

    /// The weights as they are rounded where the sum is direct: an output channel's, times the scales of the parts that they
    /// are multiplied with, have 127 steps up to the largest.
    fn rounded_weights(&self) -> Vec<f64> {
        let (cin, cout) = (self.xs.c, self.cout());
        let parts = self.parts.iter().zip(self.inputs.parts());
        let scales = parts.flat_map(|((_, affine), part)| {
            std::iter::repeat_n(f64::from(affine.scale), part.channels)
        });
        let scales: Vec<f64> = scales.collect();
        let scale = |i: usize| scales[i / cout % cin];
        let scaled = |i: usize| f64::from(self.weights[i]) * scale(i);
        let mut largest = vec![0f64; cout];
        for i in 0..self.weights.len() {
            largest[i % cout] = largest[i % cout].max(scaled(i).abs());
        }
        let round = |i: usize| {
            let factor = 127.0 / largest[i % cout];
            (scaled(i) * factor).round() / factor / scale(i)
        };
        (0..self.weights.len()).map(round).collect()
    }

    fn expected(&self) -> Vec<f64> {
        let w = match self.conv().is_winograd() {
            true => wide(&self.weights),
            false => self.rounded_weights(),
        };
        let mut y = conv::conv2d_forward(&self.input(), self.xs, &w, self.cout(), self.window);
        for (i, y) in y.iter_mut().enumerate() {
            *y = activated(*y + f64::from(self.bias[i % self.cout()]), self.activation);
        }
        y
    }

    fn run(&self, y: Output<'_>) {
        let conv = self.conv();
        let affines: Vec<_> = self.parts.iter().map(|part| part.1).collect();
        let mut packed = vec![f32::NAN; conv.packed_len()];
        conv.pack(&self.weights, &affines, &mut packed);
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|(data, affine)| Quantized {
                data,
                affine: *affine,
            })
            .collect();
        let epilogue = Epilogue {
            bias: Some(&self.bias),
            activation: self.activation,
        };
        let mut scratch = vec![f32::NAN; conv.forward_scratch()];
        conv.forward(&parts, &packed, epilogue, y, &mut scratch);
    }

    /// The result as numbers agrees with the reference, and as codes it is that result, rounded. Winograd's points are
    /// rounded, too.
    fn check(&self) {
        // Root mean square and largest error, of the sums' size.
        let (mean, single) = match self.conv().is_winograd() {
            true => (5e-3, 0.1),
            false => (1e-5, 1e-4),
        };
        let expected = self.expected();
        let name = format!("{:?} to {} {:?}", self.xs, self.cout(), self.window);
        let mut y = vec![f32::NAN; expected.len()];
        self.run(Output::F32(&mut y));
        let scale = self.scale();
        let errors = y
            .iter()
            .zip(&expected)
            .map(|(y, e)| (f64::from(*y) - e) / scale);
        let errors: Vec<f64> = errors.collect();
        let squares = errors.iter().map(|error| error * error).sum::<f64>();
        let rms = (squares / errors.len() as f64).sqrt();
        assert!(rms <= mean, "{name}: errors of {rms:.1e}");
        for (i, error) in errors.iter().enumerate() {
            assert!(error.abs() <= single, "{name}[{i}]: error of {error:.1e}");
        }
        let (least, most) = range(&y);
        let affine = Affine::of_range(least, most);
        let mut codes = vec![77; y.len()];
        self.run(Output::U8(&mut codes, affine));
        check_codes(&name, &codes, affine, &y);
    }
}

fn whole(c: usize) -> Vec<InputPart> {
    vec![InputPart {
        channels: c,
        doubled: false,
    }]
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
    fn convolution_agrees(xs in shapes(), cout in 1..70usize, window in windows(), activation in activations()) {
        if let Some(case) = Dense::new(xs, &whole(xs.c), cout, window, activation) {
            case.check();
        }
    }

    #[test]
    fn pointwise_agrees(xs in shapes(), cout in 1..200usize, activation in activations()) {
        Dense::new(xs, &whole(xs.c), cout, Window::POINT, activation).unwrap().check();
    }

    #[test]
    fn winograd_agrees(n in 1..3usize, h in 8..19usize, w in 8..30usize, c in 8..80usize, cout in 8..90usize,
                       padding in 0..3usize) {
        let window = Window { kernel: [3, 3], stride: 1, padding: Padding::Symmetric(padding) };
        Dense::new(Nhwc { n, h, w, c }, &whole(c), cout, window, None).unwrap().check();
    }

    #[test]
    fn few_channels_agree(n in 1..3usize, h in 1..12usize, w in 1..30usize, cout in 1..5usize, activation in activations(),
                          c in proptest::sample::select(vec![16, 32, 64, 128]), kernel in [1..6usize, 1..6usize],
                          padding in 0..3usize) {
        let window = Window { kernel, stride: 1, padding: Padding::Symmetric(padding) };
        if let Some(case) = Dense::new(Nhwc { n, h, w, c }, &whole(c), cout, window, activation) {
            case.check();
        }
    }

    #[test]
    fn joined_agrees(n in 1..3usize, h in 1..9usize, w in 1..12usize, cout in 1..50usize, point: bool,
                     parts in proptest::collection::vec((1..40usize, any::<bool>()), 1..6)) {
        let parts: Vec<_> = parts.into_iter().map(|(channels, doubled)| InputPart { channels, doubled }).collect();
        let c = parts.iter().map(|part| part.channels).sum();
        let kernel = if point { [1, 1] } else { [3, 3] };
        let window = Window { kernel, stride: 1, padding: Padding::Same };
        Dense::new(Nhwc { n, h: 2 * h, w: 2 * w, c }, &parts, cout, window, None).unwrap().check();
    }

    #[test]
    fn depthwise_agrees(xs in shapes(), window in windows(), activation in activations()) {
        check_depthwise(xs, window, activation);
    }

    #[test]
    fn simple_operations_agree(xs in shapes()) {
        check_simple(xs);
    }

    #[test]
    fn codes_are_nearest(min in -1e3f32..1e3, max in -1e3f32..1e3, at in 0f32..1.0) {
        let affine = Affine::of_range(min.min(max), max.max(min));
        prop_assert!(affine.scale > 0.0 && affine.value(affine.zero) == 0.0);
        let (low, high) = (min.min(max).min(0.0), max.max(min).max(0.0));
        let x = low + at * (high - low);
        prop_assert!((affine.value(affine.code(x)) - x).abs() <= 0.501 * affine.scale, "{affine:?} {x}");
    }
}

fn sum_of_magnitudes(w: &[f32], c: usize, channel: usize) -> f64 {
    w.iter()
        .skip(channel)
        .step_by(c)
        .map(|w| f64::from(w.abs()))
        .sum()
}

fn check_depthwise(xs: Nhwc, window: Window, activation: Option<Activation>) {
    let Some(ys) = window.output(xs, xs.c) else {
        return;
    };
    let mut random = Random::new(xs.len() as u64);
    let (codes, affine) = tensor(&mut random, xs.len(), 100);
    let w = random.tensor(window.kernel[0] * window.kernel[1] * xs.c);
    let bias = random.tensor(xs.c);
    let mut expected = conv::depthwise_forward(&values(&codes, affine), xs, &wide(&w), window);
    for (i, y) in expected.iter_mut().enumerate() {
        *y = activated(*y + f64::from(bias[i % xs.c]), activation);
    }
    let x = Quantized {
        data: &codes,
        affine,
    };
    let epilogue = Epilogue {
        bias: Some(&bias),
        activation,
    };
    let mut packed = vec![f32::NAN; quantized::depthwise::packed_len(xs.c, window)];
    quantized::depthwise::pack(&w, xs.c, window, affine, &mut packed);
    let run = |y: Output<'_>| {
        let mut scratch = vec![f32::NAN; quantized::depthwise::forward_scratch(xs, window)];
        quantized::depthwise::forward(x, xs, window, &packed, epilogue, y, &mut scratch);
    };
    let mut y = vec![f32::NAN; ys.len()];
    run(Output::F32(&mut y));
    // Rounded products are off by up to ½, and weights by as much times the input, in units of the largest sum.
    let taps = window.kernel[0] * window.kernel[1];
    let largest = 255.0
        * f64::from(affine.scale)
        * (0..xs.c)
            .map(|c| sum_of_magnitudes(&w, xs.c, c))
            .fold(0.0, f64::max);
    let tolerance = largest * 1.1 * taps as f64 / 32_640.0 + 1e-5;
    for (y, e) in y.iter().zip(&expected) {
        assert!(
            (f64::from(*y) - e).abs() <= tolerance,
            "depthwise {xs:?} {window:?}: {y}, expected {e}"
        );
    }
    let affine = Affine::of_range(-1.0, 0.7);
    let mut codes = vec![77; y.len()];
    run(Output::U8(&mut codes, affine));
    check_codes(&format!("depthwise {xs:?} {window:?}"), &codes, affine, &y);
}

fn check_simple(xs: Nhwc) {
    let mut random = Random::new(xs.len() as u64);
    let [(a, ka), (b, kb)] = [100, 30].map(|zero| tensor(&mut random, xs.len(), zero));
    let [x, z] = [(&a, ka), (&b, kb)].map(|(data, affine)| Quantized { data, affine });
    let out = Affine::of_range(-2.0, 2.0);
    let agree = |name: &str, run: &dyn Fn(Output<'_>), expected: &[f64]| {
        let (mut y, mut codes) = (vec![f32::NAN; expected.len()], vec![77; expected.len()]);
        run(Output::F32(&mut y));
        check(name, &y, expected, 1e-6);
        run(Output::U8(&mut codes, out));
        check_codes(name, &codes, out, &y);
    };
    let (wide_a, wide_b) = (values(&a, ka), values(&b, kb));
    let sums: Vec<f64> = wide_a.iter().zip(&wide_b).map(|(a, b)| a + b).collect();
    agree("add", &|y| add(x, z, y), &sums);
    let scale = random.tensor(xs.n * xs.c);
    let image = xs.h * xs.w * xs.c;
    let scaled = wide_a.iter().enumerate();
    let scaled: Vec<f64> = scaled
        .map(|(i, a)| a * f64::from(scale[i / image * xs.c + i % xs.c]))
        .collect();
    agree(
        "scale_channels",
        &|y| scale_channels(x, xs, &scale, y),
        &scaled,
    );
    let mut means = vec![0.0; xs.n * xs.c];
    for (i, a) in wide_a.iter().enumerate() {
        means[i / image * xs.c + i % xs.c] += a / (xs.h * xs.w) as f64;
    }
    let mut y = vec![f32::NAN; means.len()];
    global_avg_pool(x, xs, &mut y);
    check("global_avg_pool", &y, &means, 1e-5);
    let mut y = vec![f32::NAN; a.len()];
    dequantize(x, &mut y);
    check("dequantize", &y, &wide_a, 1e-7);
    let mut codes = vec![77; a.len()];
    quantize(&y, ka, &mut codes);
    assert_eq!(codes, a);
    let least = y.iter().fold(f32::INFINITY, |a, b| a.min(*b));
    let most = y.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    assert_eq!(range(&y), (least, most));
}

fn cases() -> Vec<Dense> {
    let parts = [(24, false), (13, true), (40, true)]
        .map(|(channels, doubled)| InputPart { channels, doubled });
    let xs = Nhwc {
        n: 3,
        h: 38,
        w: 30,
        c: 77,
    };
    let window = |k: usize, stride| Window {
        kernel: [k, k],
        stride,
        padding: Padding::Symmetric(k / 2),
    };
    let narrow = Nhwc { c: 16, ..xs };
    [window(1, 1), window(3, 1), window(3, 2)]
        .into_iter()
        .filter_map(|window| Dense::new(xs, &parts, 40, window, Some(Activation::Relu)))
        .chain(Dense::new(narrow, &whole(16), 2, window(3, 1), None))
        .chain(Dense::new(
            Nhwc {
                n: 2,
                h: 9,
                w: 9,
                c: 300,
            },
            &whole(300),
            130,
            window(3, 1),
            None,
        ))
        .collect()
}

fn depthwise_bits() -> Vec<u32> {
    let xs = Nhwc {
        n: 2,
        h: 33,
        w: 21,
        c: 77,
    };
    let window = Window {
        kernel: [5, 5],
        stride: 1,
        padding: Padding::Same,
    };
    let mut random = Random::new(4);
    let (data, affine) = tensor(&mut random, xs.len(), 90);
    let w = random.tensor(25 * xs.c);
    let mut y = vec![f32::NAN; xs.len()];
    let mut scratch = vec![f32::NAN; quantized::depthwise::forward_scratch(xs, window)];
    let x = Quantized {
        data: &data,
        affine,
    };
    let y_out = Output::F32(&mut y);
    let mut packed = vec![f32::NAN; quantized::depthwise::packed_len(xs.c, window)];
    quantized::depthwise::pack(&w, xs.c, window, affine, &mut packed);
    let epilogue = Epilogue::default();
    quantized::depthwise::forward(x, xs, window, &packed, epilogue, y_out, &mut scratch);
    y.iter().map(|y| y.to_bits()).collect()
}

/// The bits of all results, which do not depend on the activation's polynomial.
fn bits() -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    for case in cases() {
        let mut y = vec![f32::NAN; case.window.output(case.xs, case.cout()).unwrap().len()];
        case.run(Output::F32(&mut y));
        all.push(y.iter().map(|y| y.to_bits()).collect());
        let mut codes = vec![77; y.len()];
        case.run(Output::U8(&mut codes, Affine::of_range(-1.0, 2.0)));
        all.push(codes.into_iter().map(u32::from).collect());
    }
    all.push(depthwise_bits());
    all
}

#[test]
fn one_two_and_three_threads_agree_to_the_bit() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(bits)
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
}

/// The sums are integers, and nothing after them is fused: every instruction set gives the same bits.
#[test]
fn instruction_sets_agree_to_the_bit() {
    let digest = bits()
        .iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, bits| {
            (hash ^ u64::from(*bits)).wrapping_mul(0x0100_0000_01b3)
        });
    println!("digest {digest:x}");
    if std::env::var_os("KERNELS_SIMD").is_some() {
        return;
    }
    for set in ["avx2", "portable"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "instruction_sets_agree_to_the_bit"])
            .env("KERNELS_SIMD", set)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains(&format!("digest {digest:x}")),
            "{set}: {text}"
        );
    }
}

/// Runs all of the above again with the slower instruction sets, each in a process of its own.
#[test]
fn every_instruction_set_agrees() {
    if std::env::var_os("KERNELS_SIMD").is_some() {
        return;
    }
    for set in ["avx2", "portable"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
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

/// Rounding an input to its code changes it by up to half a step, evenly distributed, and so does rounding a weight: the
/// result differs from that of the numbers themselves by what that predicts. Winograd's weights are rounded far less.
#[test]
fn the_error_is_that_of_the_codes() {
    for (kernel, c) in [(1, 96), (3, 32), (3, 6)] {
        let xs = Nhwc {
            n: 1,
            h: 21,
            w: 19,
            c,
        };
        let window = Window {
            kernel: [kernel; 2],
            stride: 1,
            padding: Padding::Symmetric(kernel / 2),
        };
        let (mut random, cout) = (Random::new(8), 24);
        let x = random.tensor(xs.len());
        let w = random.tensor(kernel * kernel * c * cout);
        let (least, most) = range(&x);
        let affine = Affine::of_range(least, most);
        let mut codes = vec![0; x.len()];
        quantize(&x, affine, &mut codes);
        let conv = QuantizedConv::new(xs, Inputs::whole(c), cout, window).unwrap();
        let mut packed = vec![f32::NAN; conv.packed_len()];
        conv.pack(&w, &[affine], &mut packed);
        let mut y = vec![f32::NAN; xs.pixels() * cout];
        let mut scratch = vec![f32::NAN; conv.forward_scratch()];
        let x8 = Quantized {
            data: &codes,
            affine,
        };
        conv.forward(
            &[x8],
            &packed,
            Epilogue::default(),
            Output::F32(&mut y),
            &mut scratch,
        );
        let expected = conv::conv2d_forward(&wide(&x), xs, &wide(&w), cout, window);
        let errors = y
            .iter()
            .zip(&expected)
            .map(|(y, e)| (f64::from(*y) - e).powi(2));
        let mean = (errors.sum::<f64>() / y.len() as f64).sqrt();
        let squares = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let of_inputs = f64::from(affine.scale).powi(2) * squares(&w) / cout as f64;
        let of_weights = |channel: usize| {
            let weights = w.iter().skip(channel).step_by(cout);
            let largest = weights.fold(0f32, |m, w| m.max(w.abs()));
            let taps = (kernel * kernel) as f64;
            (f64::from(largest) / 127.0).powi(2) * taps * squares(&x) / xs.pixels() as f64
        };
        let of_weights = match conv.is_winograd() {
            true => 0.0,
            false => (0..cout).map(of_weights).sum::<f64>() / cout as f64,
        };
        let predicted = ((of_inputs + of_weights) / 12.0).sqrt();
        assert!(
            (0.8..1.1).contains(&(mean / predicted)),
            "{mean} for {predicted}"
        );
    }
}

#[test]
fn degenerate_ranges_give_valid_codes() {
    let ends = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::MAX,
        f32::MIN,
        1e-45,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    for (min, max) in ends.iter().flat_map(|min| ends.map(|max| (*min, max))) {
        let affine = Affine::of_range(min, max);
        assert!(
            affine.scale > 0.0 && affine.scale.is_finite(),
            "{min} {max}: {affine:?}"
        );
        assert!(affine.value(affine.code(0.0)) == 0.0);
    }
    assert_eq!(Affine::of_range(0.0, 1.0).code(f32::NAN), 0);
    assert_eq!(range(&[]), (f32::INFINITY, f32::NEG_INFINITY));
    assert_eq!(range(&[f32::NAN, 1.0, f32::NAN, -2.0]), (-2.0, 1.0));
}

/// A weight that is not a number makes its channel's results NaN rather than something plausible.
#[test]
fn broken_weights_are_visible() {
    for kernel in [1, 3] {
        let xs = Nhwc {
            n: 1,
            h: 9,
            w: 9,
            c: 8,
        };
        let window = Window {
            kernel: [kernel; 2],
            stride: 1,
            padding: Padding::Symmetric(kernel / 2),
        };
        let mut case = Dense::new(xs, &whole(8), 3, window, None).unwrap();
        case.weights[1] = f32::NAN;
        let mut y = vec![0.0; xs.pixels() * 3];
        case.run(Output::F32(&mut y));
        assert!(
            y.chunks(3)
                .all(|y| y[0].is_finite() && y[1].is_nan() && y[2].is_finite())
        );
    }
}
