//! Every differentiable operation as data: the kernel, the naive reference, and inputs of a given shape.
#![allow(dead_code, reason = "each test file uses only some of it")]

use kernels::conv2d::{Conv2d, InputPart, Inputs, PartGradient};
use kernels::reference::{convolution as conv, normalization as norm, simple, spatial};
use kernels::region_pool::RegionPool;
use kernels::*;

type Tensors = Vec<Vec<f32>>;
type Forward = Box<dyn Fn(&[Vec<f32>]) -> Vec<f32> + Sync>;
type Backward = Box<dyn Fn(&[Vec<f32>], &[f32], Accumulate, &mut Tensors) + Sync>;
type ReferenceForward = Box<dyn Fn(&[Vec<f64>]) -> Vec<f64> + Sync>;
type ReferenceBackward = Box<dyn Fn(&[Vec<f64>], &[f64]) -> Vec<Vec<f64>> + Sync>;

/// An operation on fixed shapes.
pub(crate) struct Case {
    pub(crate) name: String,
    /// What it is differentiated with respect to.
    pub(crate) inputs: Tensors,
    pub(crate) forward: Forward,
    pub(crate) backward: Backward,
    pub(crate) reference_forward: ReferenceForward,
    pub(crate) reference_backward: ReferenceBackward,
    /// Whether the output is linear in the first input.
    pub(crate) linear: bool,
}

/// Reproducible values in −1..1 from a seed, which differs from case to case.
pub(crate) struct Random(random::Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(random::Rng::from_state(seed))
    }

    pub(crate) fn tensor(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| 2.0 * self.0.unit_f32() - 1.0).collect()
    }
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

/// Fails unless the values agree within `tolerance` of the expected ones' scale.
#[track_caller]
pub(crate) fn check(name: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{name}: length");
    // A single sum of terms of about 1 may nearly cancel, while its rounding error remains.
    let scale = expected.iter().fold(0.05f64, |m, v| m.max(v.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(*g) - e).abs() / scale;
        assert!(
            error <= tolerance,
            "{name}[{i}]: got {g}, expected {e}, error {error:.1e} of the scale {scale:.3}"
        );
    }
}

/// Fails unless the errors' root mean square is within `mean` of that of the expected values, and each within `single`.
#[track_caller]
pub(crate) fn check_against_rms(name: &str, got: &[f32], expected: &[f64], mean: f64, single: f64) {
    assert_eq!(got.len(), expected.len(), "{name}: length");
    let rms =
        |values: &[f64]| (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
    let pairs = got.iter().zip(expected);
    let errors: Vec<f64> = pairs.map(|(g, e)| f64::from(*g) - e).collect();
    let scale = rms(expected);
    let ratio = rms(&errors) / scale;
    assert!(
        ratio <= mean,
        "{name}: relative root-mean-square error of {ratio:.1e}"
    );
    for (i, error) in errors.iter().enumerate() {
        let error = error.abs() / scale;
        assert!(
            error <= single,
            "{name}[{i}]: error {error:.1e} of the root mean square {scale:.3}"
        );
    }
}

/// Scratch of NaNs, which exposes a kernel that reads it before writing.
fn scratch(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

/// An output that a pass with `Replace` must not read.
fn garbage(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

/// Packs the weights and runs the forward pass; the scratch is garbage.
pub(crate) fn conv_forward(
    conv: Conv2d,
    x: &[&[f32]],
    w: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    let mut packed = scratch(conv.packed_len());
    conv.pack(w, &mut packed);
    conv.forward(
        x,
        &packed,
        epilogue,
        y,
        &mut scratch(conv.forward_scratch()),
    );
}

/// Both gradients.
pub(crate) fn conv_backward(
    conv: Conv2d,
    x: &[&[f32]],
    w: &[f32],
    dy: &[f32],
    dx: &mut [PartGradient<'_>],
    dw: &mut [f32],
    acc: Accumulate,
) {
    let mut packed = scratch(conv.backward_packed_len());
    conv.pack_backward(w, &mut packed);
    conv.backward_input(dy, &packed, dx, &mut scratch(conv.backward_input_scratch()));
    conv.backward_weight(x, dy, dw, acc, &mut scratch(conv.backward_weight_scratch()));
}

pub(crate) fn conv2d_case(
    xs: Nhwc,
    cout: usize,
    window: Window,
    activation: Option<Activation>,
) -> Option<Case> {
    window.output(xs, cout)?;
    let conv = Conv2d::new(xs, cout, window);
    conv_case(conv, cout, window, activation)
}

/// The same with the path of inference.
pub(crate) fn inference_case(
    xs: Nhwc,
    cout: usize,
    window: Window,
    activation: Option<Activation>,
) -> Option<Case> {
    window.output(xs, cout)?;
    let conv = Conv2d::new(xs, cout, window).for_inference();
    conv_case(conv, cout, window, activation)
}

fn conv_case(
    conv: Conv2d,
    cout: usize,
    window: Window,
    activation: Option<Activation>,
) -> Option<Case> {
    let (xs, ys) = (conv.input(), conv.output());
    let taps = window.kernel[0] * window.kernel[1];
    let mut random = Random::new((xs.len() * 31 + cout) as u64);
    let bias: Vec<f32> = random.tensor(cout);
    let wide_bias = wide(&bias);
    let with_bias = activation.is_some();
    Some(Case {
        name: format!("conv2d {xs:?} to {cout}, {window:?}, {activation:?}"),
        inputs: vec![random.tensor(xs.len()), random.tensor(taps * xs.c * cout)],
        forward: Box::new(move |i| {
            let mut y = garbage(ys.len());
            let epilogue = Epilogue {
                bias: with_bias.then_some(&bias),
                activation,
            };
            conv_forward(conv, &[&i[0]], &i[1], epilogue, &mut y);
            y
        }),
        backward: Box::new(move |i, dy, acc, d| {
            let [dx, dw] = &mut d[..] else { unreachable!() };
            let mut dx = [PartGradient { data: dx, acc }];
            conv_backward(conv, &[&i[0]], &i[1], dy, &mut dx, dw, acc);
        }),
        reference_forward: Box::new(move |i| {
            let y = conv::conv2d_forward(&i[0], xs, &i[1], cout, window);
            if with_bias {
                norm::activation_forward(activation, &norm::bias_forward(&y, &wide_bias))
            } else {
                y
            }
        }),
        reference_backward: Box::new(move |i, dy| {
            vec![
                conv::conv2d_backward_input(dy, &i[1], xs, cout, window),
                conv::conv2d_backward_weight(&i[0], dy, xs, cout, window),
            ]
        }),
        linear: !with_bias,
    })
}

/// A number rounded to bf16, to nearest even.
pub(crate) fn bf16(value: f64) -> f64 {
    let bits = (value as f32).to_bits();
    f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000).into()
}

/// A 1×1 convolution of bf16 factors, against exact sums of rounded factors.
pub(crate) fn narrow_case(xs: Nhwc, cout: usize) -> Option<Case> {
    let window = Window::POINT;
    let mut case = conv2d_case(xs, cout, window, None)?;
    let conv = Conv2d::new(xs, cout, window).with_precision(Precision::Bf16);
    let round = |x: &[f64]| -> Vec<f64> { x.iter().map(|v| bf16(*v)).collect() };
    case.name = format!("narrow {}", case.name);
    run_with(&mut case, conv);
    case.reference_forward =
        Box::new(move |i| conv::conv2d_forward(&round(&i[0]), xs, &round(&i[1]), cout, window));
    case.reference_backward = Box::new(move |i, dy| {
        let dy = round(dy);
        vec![
            conv::conv2d_backward_input(&dy, &round(&i[1]), xs, cout, window),
            conv::conv2d_backward_weight(&round(&i[0]), &dy, xs, cout, window),
        ]
    });
    Some(case)
}

/// A 3×3 Winograd convolution with bf16 factors.
pub(crate) fn narrow_winograd_case(xs: Nhwc, cout: usize, window: Window) -> Option<Case> {
    let mut case = conv2d_case(xs, cout, window, None)?;
    let conv = Conv2d::new(xs, cout, window).with_precision(Precision::Bf16);
    case.name = format!("narrow {}", case.name);
    run_with(&mut case, conv);
    Some(case)
}

fn run_with(case: &mut Case, conv: Conv2d) {
    let (len, taps) = (conv.output().len(), case.inputs[1].len());
    assert!(taps > 0 && len > 0);
    case.forward = Box::new(move |i| {
        let mut y = garbage(len);
        conv_forward(conv, &[&i[0]], &i[1], Epilogue::default(), &mut y);
        y
    });
    case.backward = Box::new(move |i, dy, acc, d| {
        let [dx, dw] = &mut d[..] else { unreachable!() };
        let mut dx = [PartGradient { data: dx, acc }];
        conv_backward(conv, &[&i[0]], &i[1], dy, &mut dx, dw, acc);
    });
}

/// A convolution whose input is joined from parts of the channels given, some of them doubled as they are read.
pub(crate) fn joined_case(
    xs: Nhwc,
    parts: &[InputPart],
    cout: usize,
    window: Window,
) -> Option<Case> {
    window.output(xs, cout)?;
    parts_case(Conv2d::new(xs, cout, window), parts, cout, window)
}

/// A convolution whose input is in parts.
pub(crate) fn parts_case(
    conv: Conv2d,
    parts: &[InputPart],
    cout: usize,
    window: Window,
) -> Option<Case> {
    let xs = conv.input();
    let (ys, parts) = (window.output(xs, cout)?, parts.to_vec());
    let inputs = Inputs::joined(&parts)?;
    let shape = move |part: &InputPart| Nhwc {
        h: xs.h / if part.doubled { 2 } else { 1 },
        w: xs.w / if part.doubled { 2 } else { 1 },
        c: part.channels,
        ..xs
    };
    let taps = window.kernel[0] * window.kernel[1];
    let mut random = Random::new((xs.len() * 17 + cout) as u64);
    let mut tensors: Tensors = parts
        .iter()
        .map(|p| random.tensor(shape(p).len()))
        .collect();
    tensors.push(random.tensor(taps * xs.c * cout));
    let conv = conv.joined(inputs);
    let join = {
        let parts = parts.clone();
        move |i: &[Vec<f64>]| {
            let wide: Vec<(Vec<f64>, usize)> = parts
                .iter()
                .zip(i)
                .map(|(p, x)| match p.doubled {
                    true => (spatial::resize2x_forward(x, shape(p), false), p.channels),
                    false => (x.clone(), p.channels),
                })
                .collect();
            let parts: Vec<(&[f64], usize)> = wide.iter().map(|(x, c)| (&x[..], *c)).collect();
            simple::concat_forward(&parts, xs.pixels())
        }
    };
    let join2 = join.clone();
    let count = parts.len();
    let name = format!("joined conv2d {xs:?} of {parts:?} to {cout}, {window:?}");
    Some(Case {
        name,
        inputs: tensors,
        forward: Box::new(move |i| {
            let mut y = garbage(ys.len());
            let x: Vec<&[f32]> = i[..count].iter().map(|x| &x[..]).collect();
            conv_forward(conv, &x, &i[count], Epilogue::default(), &mut y);
            y
        }),
        backward: Box::new(move |i, dy, acc, d| {
            let x: Vec<&[f32]> = i[..count].iter().map(|x| &x[..]).collect();
            let (dx, dw) = d.split_at_mut(count);
            let mut dx: Vec<_> = dx
                .iter_mut()
                .map(|data| PartGradient { data, acc })
                .collect();
            conv_backward(conv, &x, &i[count], dy, &mut dx, &mut dw[0], acc);
        }),
        reference_forward: Box::new(move |i| {
            conv::conv2d_forward(&join(i), xs, &i[count], cout, window)
        }),
        reference_backward: Box::new(move |i, dy| {
            let dx = conv::conv2d_backward_input(dy, &i[count], xs, cout, window);
            let mut gradients = Vec::new();
            let mut offset = 0;
            for part in &parts {
                let d = simple::concat_backward(&dx, xs.c, offset, part.channels);
                offset += part.channels;
                gradients.push(match part.doubled {
                    true => spatial::resize2x_backward(&d, shape(part), false),
                    false => d,
                });
            }
            gradients.push(conv::conv2d_backward_weight(
                &join2(i),
                dy,
                xs,
                cout,
                window,
            ));
            gradients
        }),
        linear: false,
    })
}

pub(crate) fn depthwise_case(
    xs: Nhwc,
    window: Window,
    activation: Option<Activation>,
) -> Option<Case> {
    let ys = window.output(xs, xs.c)?;
    let taps = window.kernel[0] * window.kernel[1];
    let mut random = Random::new((xs.len() * 31 + taps) as u64);
    let bias: Vec<f32> = random.tensor(xs.c);
    let wide_bias = wide(&bias);
    let with_bias = activation.is_some();
    Some(Case {
        name: format!("depthwise {xs:?}, {window:?}, {activation:?}"),
        inputs: vec![random.tensor(xs.len()), random.tensor(taps * xs.c)],
        forward: Box::new(move |i| {
            let mut y = garbage(ys.len());
            let epilogue = Epilogue {
                bias: with_bias.then_some(&bias),
                activation,
            };
            depthwise::forward(&i[0], xs, &i[1], window, epilogue, &mut y);
            y
        }),
        backward: Box::new(move |i, dy, acc, d| {
            depthwise::backward_input(dy, &i[1], xs, window, &mut d[0], acc);
            let mut s = scratch(depthwise::backward_weight_scratch(xs, window));
            depthwise::backward_weight(&i[0], dy, xs, window, &mut d[1], acc, &mut s);
        }),
        reference_forward: Box::new(move |i| {
            let y = conv::depthwise_forward(&i[0], xs, &i[1], window);
            if with_bias {
                norm::activation_forward(activation, &norm::bias_forward(&y, &wide_bias))
            } else {
                y
            }
        }),
        reference_backward: Box::new(move |i, dy| {
            vec![
                conv::depthwise_backward_input(dy, &i[1], xs, window),
                conv::depthwise_backward_weight(&i[0], dy, xs, window),
            ]
        }),
        linear: !with_bias,
    })
}

pub(crate) fn conv_transpose_case(xs: Nhwc, cout: usize) -> Case {
    let mut random = Random::new((xs.len() * 7 + cout) as u64);
    Case {
        name: format!("conv_transpose2x2 {xs:?} to {cout}"),
        inputs: vec![random.tensor(xs.len()), random.tensor(4 * xs.c * cout)],
        forward: Box::new(move |i| {
            let mut y = garbage(4 * xs.pixels() * cout);
            let mut s = scratch(conv_transpose2x2::forward_scratch(xs, cout));
            conv_transpose2x2::forward(&i[0], xs, &i[1], cout, None, &mut y, &mut s);
            y
        }),
        backward: Box::new(move |i, dy, acc, d| {
            let mut s = scratch(conv_transpose2x2::backward_scratch(xs, cout));
            conv_transpose2x2::backward_input(dy, &i[1], xs, cout, &mut d[0], acc, &mut s);
            conv_transpose2x2::backward_weight(&i[0], dy, xs, cout, &mut d[1], acc, &mut s);
        }),
        reference_forward: Box::new(move |i| {
            conv::conv_transpose2x2_forward(&i[0], xs, &i[1], cout)
        }),
        reference_backward: Box::new(move |i, dy| {
            vec![
                conv::conv_transpose2x2_backward_input(dy, &i[1], xs, cout),
                conv::conv_transpose2x2_backward_weight(&i[0], dy, xs, cout),
            ]
        }),
        linear: true,
    }
}

pub(crate) fn linear_case(n: usize, inputs: usize, outputs: usize) -> Case {
    let mut random = Random::new((n * 1000 + inputs) as u64);
    Case {
        name: format!("linear {n}×{inputs} to {outputs}"),
        inputs: vec![random.tensor(n * inputs), random.tensor(inputs * outputs)],
        forward: Box::new(move |i| {
            let mut y = garbage(n * outputs);
            linear::forward(&i[0], n, &i[1], None, &mut y);
            y
        }),
        backward: Box::new(move |i, dy, acc, d| {
            linear::backward_input(dy, n, &i[1], inputs, outputs, &mut d[0], acc);
            linear::backward_weight(&i[0], dy, n, inputs, outputs, &mut d[1], acc);
        }),
        reference_forward: Box::new(move |i| {
            conv::linear_forward(&i[0], n, &i[1], inputs, outputs)
        }),
        reference_backward: Box::new(move |i, dy| {
            vec![
                conv::linear_backward_input(dy, n, &i[1], inputs, outputs),
                conv::linear_backward_weight(&i[0], dy, n, inputs, outputs),
            ]
        }),
        linear: true,
    }
}

/// Batch norm of `mean + spread · (−1..1)` inputs; in training the statistics are those of the input.
pub(crate) fn batch_norm_case(
    xs: Nhwc,
    mean: f32,
    activation: Option<Activation>,
    train: bool,
) -> Case {
    const EPS: f32 = 1e-3;
    let c = xs.c;
    let mut random = Random::new((xs.len() * 13 + 1) as u64);
    let z = random.tensor(xs.len()).iter().map(|v| mean + v).collect();
    let running: [Vec<f32>; 2] = [
        random.tensor(c),
        random.tensor(c).iter().map(|v| v * v + 0.5).collect(),
    ];
    let statistics = {
        let running = running.clone();
        move |z: &[f32]| {
            let [mut mean, mut var] = running.clone();
            if train {
                batch_norm::statistics(z, c, &mut mean, &mut var);
            }
            (mean, var)
        }
    };
    let reference_statistics = move |z: &[f64]| {
        if train {
            norm::batch_norm_statistics(z, c)
        } else {
            (wide(&running[0]), wide(&running[1]))
        }
    };
    let (statistics2, reference_statistics2) = (statistics.clone(), reference_statistics.clone());
    Case {
        name: format!("batch_norm {xs:?}, about {mean}, {activation:?}, train {train}"),
        inputs: vec![z, random.tensor(c), random.tensor(c)],
        forward: Box::new(move |i| {
            let (mean, var) = statistics(&i[0]);
            let (mut scale, mut shift, mut y) = (garbage(c), garbage(c), garbage(xs.len()));
            batch_norm::fold(&i[1], &i[2], &mean, &var, EPS, &mut scale, &mut shift);
            batch_norm::apply(&i[0], &scale, &shift, activation, &mut y);
            y
        }),
        backward: Box::new(move |i, dy, acc, d| {
            let (mean, var) = statistics2(&i[0]);
            let [dz, dgamma, dbeta] = &mut d[..] else {
                unreachable!()
            };
            let before = (acc == Accumulate::Add).then(|| dz.clone());
            let pass = if train {
                batch_norm::backward_train
            } else {
                batch_norm::backward_eval
            };
            pass(
                &i[0], dy, &i[1], &i[2], &mean, &var, EPS, activation, dz, dgamma, dbeta, acc,
            );
            // `dz` is always replaced.
            if let Some(before) = before {
                dz.iter_mut()
                    .zip(before)
                    .for_each(|(dz, before)| *dz += before);
            }
        }),
        reference_forward: Box::new(move |i| {
            let (mean, var) = reference_statistics(&i[0]);
            norm::batch_norm_forward(&i[0], &i[1], &i[2], &mean, &var, EPS.into(), activation)
        }),
        reference_backward: Box::new(move |i, dy| {
            let (mean, var) = reference_statistics2(&i[0]);
            let eps = EPS.into();
            let (dz, dgamma, dbeta) = norm::batch_norm_backward(
                &i[0], dy, &i[1], &i[2], &mean, &var, eps, activation, train,
            );
            vec![dz, dgamma, dbeta]
        }),
        linear: false,
    }
}

pub(crate) fn activation_case(kind: Activation, len: usize) -> Case {
    let inputs = vec![
        Random::new(len as u64)
            .tensor(len)
            .iter()
            .map(|v| v * 9.0)
            .collect(),
    ];
    Case {
        name: format!("{kind:?} of {len}"),
        inputs,
        forward: Box::new(move |i| {
            let (mut y, mut z) = (garbage(len), i[0].clone());
            activation::forward(kind, &i[0], &mut y);
            activation::forward_in_place(kind, &mut z);
            assert_eq!(y, z, "{kind:?} in place");
            y
        }),
        backward: Box::new(move |i, dy, acc, d| {
            activation::backward(kind, &i[0], dy, &mut d[0], acc)
        }),
        reference_forward: Box::new(move |i| norm::activation_forward(Some(kind), &i[0])),
        reference_backward: Box::new(move |i, dy| {
            vec![norm::activation_backward(Some(kind), &i[0], dy)]
        }),
        linear: false,
    }
}

pub(crate) fn max_pool_case(xs: Nhwc, window: Window) -> Option<Case> {
    let ys = window.output(xs, xs.c)?;
    let forward = move |x: &[f32]| {
        let (mut y, mut argmax) = (garbage(ys.len()), vec![u32::MAX; ys.len()]);
        pool::max_pool_forward(x, xs, window, &mut y, &mut argmax);
        (y, argmax)
    };
    Some(Case {
        name: format!("max_pool {xs:?}, {window:?}"),
        inputs: vec![Random::new(xs.len() as u64).tensor(xs.len())],
        forward: Box::new(move |i| forward(&i[0]).0),
        backward: Box::new(move |i, dy, acc, d| {
            pool::max_pool_backward(dy, &forward(&i[0]).1, xs, window, &mut d[0], acc);
        }),
        reference_forward: Box::new(move |i| spatial::max_pool_forward(&i[0], xs, window).0),
        reference_backward: Box::new(move |i, dy| {
            let (_, argmax) = spatial::max_pool_forward(&i[0], xs, window);
            vec![spatial::max_pool_backward(dy, &argmax, xs, window)]
        }),
        linear: false,
    })
}

/// `None` where the margin leaves nothing.
pub(crate) fn crop_case(xs: Nhwc, margin: usize) -> Option<Case> {
    let ys = xs.cropped(margin)?;
    Some(Case {
        name: format!("crop {xs:?} by {margin}"),
        inputs: vec![Random::new((xs.len() + margin) as u64).tensor(xs.len())],
        forward: Box::new(move |i| {
            let mut y = garbage(ys.len());
            crop::forward(&i[0], xs, margin, &mut y);
            y
        }),
        backward: Box::new(move |_, dy, acc, d| crop::backward(dy, xs, margin, &mut d[0], acc)),
        reference_forward: Box::new(move |i| spatial::crop_forward(&i[0], xs, margin)),
        reference_backward: Box::new(move |_, dy| vec![spatial::crop_backward(dy, xs, margin)]),
        linear: true,
    })
}

/// Features of `xs`, of which each pixel covers `side`² pixels of a map of `classes` classes.
pub(crate) fn region_pool_case(xs: Nhwc, side: usize, classes: usize) -> Case {
    const EPS: f64 = region_pool::EPS as f64;
    let ms = Nhwc {
        h: side * xs.h,
        w: side * xs.w,
        c: classes,
        ..xs
    };
    let pool = RegionPool::new(xs, ms);
    let mut random = Random::new((xs.len() * 3 + ms.len()) as u64);
    let map = random.tensor(ms.len()).iter().map(|v| 4.0 * v).collect();
    Case {
        name: format!("region_pool {xs:?} by {side}, {classes} classes"),
        inputs: vec![random.tensor(xs.len()), map],
        forward: Box::new(move |i| {
            let mut y = garbage(xs.n * xs.c);
            pool.forward(&i[0], &i[1], &mut y, &mut scratch(pool.scratch()));
            y
        }),
        backward: Box::new(move |i, dy, acc, d| {
            let mut s = scratch(pool.scratch());
            pool.backward_features(dy, &i[1], &mut d[0], acc, &mut s);
            let mut s = scratch(pool.backward_map_scratch());
            pool.backward_map(&i[0], dy, &i[1], &mut d[1], acc, &mut s);
        }),
        reference_forward: Box::new(move |i| {
            spatial::region_pool_forward(&i[0], xs, &i[1], ms, EPS)
        }),
        reference_backward: Box::new(move |i, dy| {
            let (dx, dmap) = spatial::region_pool_backward(&i[0], xs, &i[1], ms, EPS, dy);
            vec![dx, dmap]
        }),
        linear: true,
    }
}

/// Operations without options on an input of shape `xs`.
pub(crate) fn simple_cases(xs: Nhwc) -> Vec<Case> {
    let mut random = Random::new(xs.len() as u64 + 5);
    let x = random.tensor(xs.len());
    let case =
        |name: &str, inputs: Tensors, forward, backward, reference_forward, reference_backward| {
            Case {
                name: format!("{name} {xs:?}"),
                inputs,
                forward,
                backward,
                reference_forward,
                reference_backward,
                linear: true,
            }
        };
    let resize = |bilinear: bool| {
        case(
            if bilinear { "bilinear2x" } else { "nearest2x" },
            vec![x.clone()],
            Box::new(move |i: &[Vec<f32>]| {
                let mut y = garbage(4 * xs.len());
                let pass = if bilinear {
                    resize::bilinear2x_forward
                } else {
                    resize::nearest2x_forward
                };
                pass(&i[0], xs, &mut y);
                y
            }) as Forward,
            Box::new(move |_: &[Vec<f32>], dy: &[f32], acc, d: &mut Tensors| {
                let pass = if bilinear {
                    resize::bilinear2x_backward
                } else {
                    resize::nearest2x_backward
                };
                pass(dy, xs, &mut d[0], acc);
            }) as Backward,
            Box::new(move |i: &[Vec<f64>]| spatial::resize2x_forward(&i[0], xs, bilinear))
                as ReferenceForward,
            Box::new(move |_: &[Vec<f64>], dy: &[f64]| {
                vec![spatial::resize2x_backward(dy, xs, bilinear)]
            }) as ReferenceBackward,
        )
    };
    let other = xs.c.div_ceil(2);
    let total = xs.c + other;
    vec![
        resize(false),
        resize(true),
        case(
            "global_avg",
            vec![x.clone()],
            Box::new(move |i| {
                let mut y = garbage(xs.n * xs.c);
                pool::global_avg_forward(&i[0], xs, &mut y);
                y
            }),
            Box::new(move |_, dy, acc, d| pool::global_avg_backward(dy, xs, &mut d[0], acc)),
            Box::new(move |i| spatial::global_avg_forward(&i[0], xs)),
            Box::new(move |_, dy| vec![spatial::global_avg_backward(dy, xs)]),
        ),
        case(
            "scale_channels",
            vec![x.clone(), random.tensor(xs.n * xs.c)],
            Box::new(move |i| {
                let mut y = garbage(xs.len());
                elementwise::scale_channels_forward(&i[0], xs, &i[1], &mut y);
                y
            }),
            Box::new(move |i, dy, acc, d| {
                elementwise::scale_channels_backward_input(dy, &i[1], xs, &mut d[0], acc);
                elementwise::scale_channels_backward_scale(&i[0], dy, xs, &mut d[1], acc);
            }),
            Box::new(move |i| simple::scale_channels(&i[0], xs, &i[1])),
            Box::new(move |i, dy| {
                vec![
                    simple::scale_channels(dy, xs, &i[1]),
                    simple::scale_channels_backward_scale(&i[0], dy, xs),
                ]
            }),
        ),
        case(
            "concat",
            vec![x.clone(), random.tensor(xs.pixels() * other)],
            Box::new(move |i| {
                let mut y = garbage(xs.pixels() * total);
                concat::forward(&[(&i[0], xs.c), (&i[1], other)], xs.pixels(), &mut y);
                y
            }),
            Box::new(move |_, dy, acc, d| {
                concat::backward(dy, total, 0, xs.c, &mut d[0], acc);
                concat::backward(dy, total, xs.c, other, &mut d[1], acc);
            }),
            Box::new(move |i| {
                simple::concat_forward(&[(&i[0], xs.c), (&i[1], other)], xs.pixels())
            }),
            Box::new(move |_, dy| {
                vec![
                    simple::concat_backward(dy, total, 0, xs.c),
                    simple::concat_backward(dy, total, xs.c, other),
                ]
            }),
        ),
        case(
            "add",
            vec![x.clone(), random.tensor(xs.len())],
            Box::new(move |i| {
                let mut y = garbage(xs.len());
                elementwise::add(&i[0], &i[1], &mut y);
                y
            }),
            Box::new(|_, dy, acc, d| {
                elementwise::accumulate(dy, &mut d[0], acc);
                elementwise::accumulate(dy, &mut d[1], acc);
            }),
            Box::new(|i| i[0].iter().zip(&i[1]).map(|(a, b)| a + b).collect()),
            Box::new(|_, dy| vec![dy.to_vec(), dy.to_vec()]),
        ),
        case(
            "scale_samples",
            vec![x.clone()],
            Box::new(move |i| {
                let mut y = garbage(xs.len());
                let factors: Vec<f32> = (0..xs.n).map(|n| n as f32 * 0.5).collect();
                elementwise::scale_samples(
                    &i[0],
                    xs.h * xs.w * xs.c,
                    &factors,
                    &mut y,
                    Accumulate::Replace,
                );
                y
            }),
            Box::new(move |_, dy, acc, d| {
                let factors: Vec<f32> = (0..xs.n).map(|n| n as f32 * 0.5).collect();
                elementwise::scale_samples(dy, xs.h * xs.w * xs.c, &factors, &mut d[0], acc);
            }),
            Box::new(move |i| {
                i[0].iter()
                    .enumerate()
                    .map(|(j, v)| v * 0.5 * (j / (xs.h * xs.w * xs.c)) as f64)
                    .collect()
            }),
            Box::new(move |_, dy| {
                vec![
                    dy.iter()
                        .enumerate()
                        .map(|(j, v)| v * 0.5 * (j / (xs.h * xs.w * xs.c)) as f64)
                        .collect(),
                ]
            }),
        ),
        case(
            "bias",
            vec![random.tensor(xs.c)],
            Box::new(move |i| i[0].iter().copied().cycle().take(xs.len()).collect()),
            Box::new(move |_, dy, acc, d| bias::backward(dy, xs.c, &mut d[0], acc)),
            Box::new(move |i| norm::bias_forward(&vec![0.0; xs.len()], &i[0])),
            Box::new(move |_, dy| vec![norm::bias_backward(dy, xs.c)]),
        ),
    ]
}

pub(crate) const ACTIVATIONS: [Activation; 4] = [
    Activation::Silu,
    Activation::Relu,
    Activation::Relu6,
    Activation::Sigmoid,
];

/// A set of cases that reaches every operation and every fast path, on small shapes.
pub(crate) fn small_cases() -> Vec<Case> {
    let xs = |n, h, w, c| Nhwc { n, h, w, c };
    let window = |kernel: [usize; 2], stride, padding| Window {
        kernel,
        stride,
        padding,
    };
    let windows = [
        window([1, 1], 1, Padding::Symmetric(0)),
        window([3, 3], 1, Padding::Symmetric(1)),
        window([3, 3], 2, Padding::Same),
        window([5, 5], 2, Padding::Symmetric(2)),
        window([2, 3], 1, Padding::Same),
    ];
    let mut cases = Vec::new();
    for window in windows {
        for (shape, cout) in [
            (xs(2, 5, 6, 3), 5),
            (xs(1, 4, 9, 17), 33),
            (xs(2, 3, 3, 1), 1),
        ] {
            cases.extend(conv2d_case(shape, cout, window, None));
            cases.extend(depthwise_case(shape, window, None));
            cases.extend(max_pool_case(shape, window));
        }
    }
    let part = |channels, doubled| InputPart { channels, doubled };
    let parts = [part(5, true), part(9, false), part(3, true)];
    cases.extend(joined_case(xs(2, 6, 4, 17), &parts, 9, windows[1]));
    cases.extend(joined_case(xs(1, 10, 12, 17), &parts, 9, windows[1]));
    for shape in [xs(2, 3, 4, 5), xs(1, 2, 2, 19), xs(3, 1, 1, 1)] {
        cases.push(conv_transpose_case(shape, 6));
        cases.push(linear_case(shape.n, shape.c, 7));
        cases.extend(simple_cases(shape));
    }
    for margin in 0..3 {
        cases.extend(crop_case(xs(2, 5, 7, 3), margin));
    }
    for (side, classes) in [(1, 2), (2, 3), (4, 2)] {
        cases.push(region_pool_case(xs(2, 3, 2, 5), side, classes));
    }
    for kind in ACTIVATIONS {
        cases.push(activation_case(kind, 37));
        for train in [false, true] {
            cases.push(batch_norm_case(xs(2, 3, 3, 5), 0.5, Some(kind), train));
        }
    }
    cases.push(batch_norm_case(xs(2, 4, 3, 18), 3.0, None, true));
    cases
}
