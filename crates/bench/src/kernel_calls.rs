//! The calls to `kernels` that a training step makes for a layer; the only file of the benchmarks that depends on them.
//!
//! They follow the engine's calls (`model/src/engine/cpu`), on values of the same shapes. Gradients overwrite the
//! destination; if a value has several readers, the engine's later gradients are added, which also reads the
//! destination.

use kernels::conv2d::PartGradient;
use kernels::region_pool::RegionPool;
use kernels::{
    Accumulate, Activation, Buffer, Epilogue, Nhwc, Window, activation, batch_norm, bias, concat,
    conv_transpose2x2, crop, depthwise, elementwise, linear, pool, resize,
};
use model::graph::{Interpolation, Op};

use super::ops::{Layer, Part, Work};

/// Times a call. The closure may be called any number of times.
pub(crate) type Timer<'a> = &'a mut dyn FnMut(Part, Work, &mut dyn FnMut());

const REPLACE: Accumulate = Accumulate::Replace;

/// Passes every call for `layer` to `timer`. Dropout has none: the engine draws it per element.
pub(crate) fn each(layer: &Layer, timer: Timer<'_>) {
    let (Some(&xs), ys) = (layer.inputs.first(), layer.output) else {
        return;
    };
    match layer.op {
        Op::Input { .. } | Op::Dropout { .. } => {}
        Op::Conv2d { window, .. } => dense(layer, window, timer),
        Op::Depthwise { window } => depthwise_calls(layer, xs, window, timer),
        Op::ConvTranspose2x2 { .. } => transposed(layer, xs, timer),
        Op::Linear { .. } => linear_calls(layer, xs, timer),
        Op::BatchNorm { eps, .. } => norm(xs, eps, layer.activation, timer),
        Op::Activation { kind } => activation_calls(xs, kind, timer),
        Op::MaxPool { window } => max_pool(xs, ys, window, timer),
        Op::GlobalAvgPool => global_avg_pool(xs, ys, timer),
        Op::RegionPool => region_pool(xs, layer.inputs[1], timer),
        Op::Upsample2x { mode } => upsample(xs, ys, mode, timer),
        Op::Concat => join(&layer.inputs, ys, timer),
        Op::Add => add(xs, timer),
        Op::Mean => mean(xs, layer.inputs.len(), timer),
        Op::Crop { margin } => crop_calls(xs, ys, margin, timer),
        Op::ScaleChannels => scale(xs, timer),
        Op::DropPath { .. } => drop_path(xs, timer),
    }
}

/// Values with a long period, small enough for results to stay finite.
fn values(len: usize) -> Buffer {
    let mut values = Buffer::zeros(len);
    for (i, value) in values.iter_mut().enumerate() {
        *value = (i * 7919 % 1009) as f32 / 1009.0 - 0.5;
    }
    values
}

/// Number of bytes in `passes` reads or writes of a value.
fn moved(shape: Nhwc, passes: usize) -> usize {
    4 * passes * shape.len()
}

fn dense(layer: &Layer, window: Window, timer: Timer<'_>) {
    let (Some(conv), ys) = (layer.conv, layer.output) else {
        return;
    };
    let weights = window.kernel[0] * window.kernel[1] * conv.input().c * ys.c;
    let work = Work::Flops(2 * ys.pixels() * weights);
    let mut parts: Vec<Buffer> = layer.inputs.iter().map(|xs| values(xs.len())).collect();
    let (mut y, w, bias) = (values(ys.len()), values(weights), values(ys.c));
    let (mut dw, mut db) = (values(weights), values(ys.c));
    let epilogue = Epilogue {
        bias: layer.bias.then_some(&bias),
        activation: layer.activation,
    };
    let mut packed = Buffer::zeros(conv.packed_len().max(conv.backward_packed_len()));
    let mut scratch = Buffer::default();
    let x: Vec<&[f32]> = parts.iter().map(|x| &x[..]).collect();
    conv.pack(&w, &mut packed);
    timer(Part::Forward, work, &mut || {
        if !layer.inference {
            conv.pack(&w, &mut packed);
        }
        let scratch = scratch.at_least(conv.forward_scratch());
        conv.forward(&x, &packed, epilogue, &mut y, scratch);
    });
    timer(Part::Weight, work, &mut || {
        let scratch = scratch.at_least(conv.backward_weight_scratch());
        conv.backward_weight(&x, &y, &mut dw, REPLACE, scratch);
        if layer.bias {
            bias::backward(&y, ys.c, &mut db, REPLACE);
        }
    });
    if layer.input_gradient {
        timer(Part::Input, work, &mut || {
            conv.pack_backward(&w, &mut packed);
            let scratch = scratch.at_least(conv.backward_input_scratch());
            let part = |data| PartGradient { data, acc: REPLACE };
            let mut dx: Vec<_> = parts.iter_mut().map(|x| part(&mut x[..])).collect();
            conv.backward_input(&y, &packed, &mut dx, scratch);
        });
    }
}

fn depthwise_calls(layer: &Layer, xs: Nhwc, window: Window, timer: Timer<'_>) {
    let ys = layer.output;
    let work = Work::Bytes(moved(xs, 1) + moved(ys, 1));
    let weights = window.kernel[0] * window.kernel[1] * xs.c;
    let (x, mut y, mut dx) = (values(xs.len()), values(ys.len()), values(xs.len()));
    let (w, mut dw, bias) = (values(weights), values(weights), values(ys.c));
    let mut scratch = values(depthwise::backward_weight_scratch(xs, window));
    let epilogue = Epilogue {
        bias: layer.bias.then_some(&bias),
        activation: layer.activation,
    };
    timer(Part::Forward, work, &mut || {
        depthwise::forward(&x, xs, &w, window, epilogue, &mut y);
    });
    timer(Part::Weight, work, &mut || {
        depthwise::backward_weight(&x, &y, xs, window, &mut dw, REPLACE, &mut scratch);
    });
    if layer.input_gradient {
        timer(Part::Input, work, &mut || {
            depthwise::backward_input(&y, &w, xs, window, &mut dx, REPLACE);
        });
    }
}

fn transposed(layer: &Layer, xs: Nhwc, timer: Timer<'_>) {
    let (ys, cout) = (layer.output, layer.output.c);
    let work = Work::Flops(2 * ys.len() * xs.c);
    let (x, mut y, mut dx) = (values(xs.len()), values(ys.len()), values(xs.len()));
    let (w, mut dw) = (values(4 * xs.c * cout), values(4 * xs.c * cout));
    let (b, mut db) = (values(cout), values(cout));
    let need = conv_transpose2x2::forward_scratch(xs, cout);
    let mut scratch = values(need.max(conv_transpose2x2::backward_scratch(xs, cout)));
    timer(Part::Forward, work, &mut || {
        conv_transpose2x2::forward(&x, xs, &w, cout, Some(&b), &mut y, &mut scratch);
    });
    timer(Part::Weight, work, &mut || {
        conv_transpose2x2::backward_weight(&x, &y, xs, cout, &mut dw, REPLACE, &mut scratch);
        bias::backward(&y, cout, &mut db, REPLACE);
    });
    timer(Part::Input, work, &mut || {
        conv_transpose2x2::backward_input(&y, &w, xs, cout, &mut dx, REPLACE, &mut scratch);
    });
}

fn linear_calls(layer: &Layer, xs: Nhwc, timer: Timer<'_>) {
    let (n, cin, cout) = (xs.n, xs.c, layer.output.c);
    let work = Work::Flops(2 * n * cin * cout);
    let (x, mut y, mut dx) = (values(n * cin), values(n * cout), values(n * cin));
    let (w, mut dw) = (values(cin * cout), values(cin * cout));
    let (b, mut db) = (values(cout), values(cout));
    timer(Part::Forward, work, &mut || {
        linear::forward(&x, n, &w, Some(&b), &mut y);
    });
    timer(Part::Weight, work, &mut || {
        linear::backward_weight(&x, &y, n, cin, cout, &mut dw, REPLACE);
        bias::backward(&y, cout, &mut db, REPLACE);
    });
    timer(Part::Input, work, &mut || {
        linear::backward_input(&y, n, &w, cin, cout, &mut dx, REPLACE);
    });
}

/// Batch norm with its activation. Forward: statistics and one pass. Backward: the call that computes the input
/// gradient also computes the gradients of both parameters.
fn norm(xs: Nhwc, eps: f32, activation: Option<Activation>, timer: Timer<'_>) {
    let (z, dy, mut y) = (values(xs.len()), values(xs.len()), values(xs.len()));
    let [gamma, beta] = [(); 2].map(|()| values(xs.c));
    let [mut mean, mut var, mut scale, mut shift] = [(); 4].map(|()| values(xs.c));
    timer(Part::Forward, Work::Bytes(moved(xs, 3)), &mut || {
        batch_norm::statistics(&z, xs.c, &mut mean, &mut var);
        batch_norm::fold(&gamma, &beta, &mean, &var, eps, &mut scale, &mut shift);
        batch_norm::apply(&z, &scale, &shift, activation, &mut y);
    });
    let (dgamma, dbeta) = (&mut scale, &mut shift);
    timer(Part::Input, Work::Bytes(moved(xs, 5)), &mut || {
        batch_norm::backward_train(
            &z, &dy, &gamma, &beta, &mean, &var, eps, activation, &mut y, dgamma, dbeta, REPLACE,
        );
    });
}

fn activation_calls(xs: Nhwc, kind: Activation, timer: Timer<'_>) {
    let (x, dy, mut y) = (values(xs.len()), values(xs.len()), values(xs.len()));
    timer(Part::Forward, Work::Bytes(moved(xs, 2)), &mut || {
        activation::forward(kind, &x, &mut y);
    });
    timer(Part::Input, Work::Bytes(moved(xs, 3)), &mut || {
        activation::backward(kind, &x, &dy, &mut y, REPLACE);
    });
}

fn max_pool(xs: Nhwc, ys: Nhwc, window: Window, timer: Timer<'_>) {
    let (x, mut y, mut dx) = (values(xs.len()), values(ys.len()), values(xs.len()));
    let mut argmax = vec![0; ys.len()];
    let work = Work::Bytes(moved(xs, 1) + moved(ys, 2));
    timer(Part::Forward, work, &mut || {
        pool::max_pool_forward(&x, xs, window, &mut y, &mut argmax);
    });
    timer(Part::Input, work, &mut || {
        pool::max_pool_backward(&y, &argmax, xs, window, &mut dx, REPLACE);
    });
}

fn global_avg_pool(xs: Nhwc, ys: Nhwc, timer: Timer<'_>) {
    let (x, mut y, mut dx) = (values(xs.len()), values(ys.len()), values(xs.len()));
    let work = Work::Bytes(moved(xs, 1));
    timer(Part::Forward, work, &mut || {
        pool::global_avg_forward(&x, xs, &mut y);
    });
    timer(Part::Input, work, &mut || {
        pool::global_avg_backward(&y, xs, &mut dx, REPLACE);
    });
}

/// Both gradients count as input gradients, because the operation has no weights.
fn region_pool(xs: Nhwc, ms: Nhwc, timer: Timer<'_>) {
    let pool = RegionPool::new(xs, ms);
    let (x, map, mut y) = (values(xs.len()), values(ms.len()), values(xs.n * xs.c));
    let (mut dx, mut dmap) = (values(xs.len()), values(ms.len()));
    let mut scratch = values(pool.backward_map_scratch());
    let work = Work::Bytes(moved(xs, 1) + moved(ms, 1));
    timer(Part::Forward, work, &mut || {
        pool.forward(&x, &map, &mut y, &mut scratch);
    });
    // The map is read once for each gradient and once more for its own, which is written.
    let work = Work::Bytes(moved(xs, 2) + moved(ms, 4));
    timer(Part::Input, work, &mut || {
        pool.backward_features(&y, &map, &mut dx, REPLACE, &mut scratch);
        pool.backward_map(&x, &y, &map, &mut dmap, REPLACE, &mut scratch);
    });
}

fn upsample(xs: Nhwc, ys: Nhwc, mode: Interpolation, timer: Timer<'_>) {
    let (x, mut y, mut dx) = (values(xs.len()), values(ys.len()), values(xs.len()));
    let work = Work::Bytes(moved(xs, 1) + moved(ys, 1));
    timer(Part::Forward, work, &mut || match mode {
        Interpolation::Nearest => resize::nearest2x_forward(&x, xs, &mut y),
        Interpolation::Bilinear => resize::bilinear2x_forward(&x, xs, &mut y),
    });
    timer(Part::Input, work, &mut || match mode {
        Interpolation::Nearest => resize::nearest2x_backward(&y, xs, &mut dx, REPLACE),
        Interpolation::Bilinear => resize::bilinear2x_backward(&y, xs, &mut dx, REPLACE),
    });
}

fn join(inputs: &[Nhwc], ys: Nhwc, timer: Timer<'_>) {
    let mut xs: Vec<(Buffer, usize)> = inputs.iter().map(|s| (values(s.len()), s.c)).collect();
    let mut y = values(ys.len());
    let work = Work::Bytes(moved(ys, 2));
    timer(Part::Forward, work, &mut || {
        let xs: Vec<(&[f32], usize)> = xs.iter().map(|(x, c)| (&x[..], *c)).collect();
        concat::forward(&xs, ys.pixels(), &mut y);
    });
    timer(Part::Input, work, &mut || {
        let mut offset = 0;
        for (dx, c) in &mut xs {
            concat::backward(&y, ys.c, offset, *c, dx, REPLACE);
            offset += *c;
        }
    });
}

fn add(xs: Nhwc, timer: Timer<'_>) {
    let (a, b, mut y) = (values(xs.len()), values(xs.len()), values(xs.len()));
    timer(Part::Forward, Work::Bytes(moved(xs, 3)), &mut || {
        elementwise::add(&a, &b, &mut y);
    });
    let [mut da, mut db] = [a, b];
    timer(Part::Input, Work::Bytes(moved(xs, 4)), &mut || {
        elementwise::accumulate(&y, &mut da, REPLACE);
        elementwise::accumulate(&y, &mut db, REPLACE);
    });
}

/// The first value overwrites the destination, the others are added.
fn mean(xs: Nhwc, count: usize, timer: Timer<'_>) {
    let (x, mut y, factor) = (values(xs.len()), values(xs.len()), [1.0 / count as f32]);
    let mut share = |acc| elementwise::scale_samples(&x, xs.len(), &factor, &mut y, acc);
    timer(
        Part::Forward,
        Work::Bytes(moved(xs, 3 * count - 1)),
        &mut || {
            share(REPLACE);
            (1..count).for_each(|_| share(Accumulate::Add));
        },
    );
    timer(Part::Input, Work::Bytes(moved(xs, 2 * count)), &mut || {
        (0..count).for_each(|_| share(REPLACE))
    });
}

fn crop_calls(xs: Nhwc, ys: Nhwc, margin: usize, timer: Timer<'_>) {
    let (mut x, mut y) = (values(xs.len()), values(ys.len()));
    timer(Part::Forward, Work::Bytes(moved(ys, 2)), &mut || {
        crop::forward(&x, xs, margin, &mut y)
    });
    let work = Work::Bytes(moved(xs, 1) + moved(ys, 2));
    timer(Part::Input, work, &mut || {
        crop::backward(&y, xs, margin, &mut x, REPLACE)
    });
}

/// The product in squeeze-and-excitation; the gradient with respect to the scales counts as an input gradient, because
/// it involves no weights.
fn scale(xs: Nhwc, timer: Timer<'_>) {
    let (x, dy, mut y) = (values(xs.len()), values(xs.len()), values(xs.len()));
    let (s, mut ds) = (values(xs.n * xs.c), values(xs.n * xs.c));
    timer(Part::Forward, Work::Bytes(moved(xs, 2)), &mut || {
        elementwise::scale_channels_forward(&x, xs, &s, &mut y);
    });
    timer(Part::Input, Work::Bytes(moved(xs, 4)), &mut || {
        elementwise::scale_channels_backward_scale(&x, &dy, xs, &mut ds, REPLACE);
        elementwise::scale_channels_backward_input(&dy, &s, xs, &mut y, REPLACE);
    });
}

fn drop_path(xs: Nhwc, timer: Timer<'_>) {
    let (x, mut y, factors) = (values(xs.len()), values(xs.len()), values(xs.n));
    for part in [Part::Forward, Part::Input] {
        timer(part, Work::Bytes(moved(xs, 2)), &mut || {
            elementwise::scale_samples(&x, xs.len() / xs.n.max(1), &factors, &mut y, REPLACE);
        });
    }
}
