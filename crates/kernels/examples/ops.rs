//! Times the kernels at layer shapes of U-Net++ on EfficientNet-B1, 224×224.
//!
//! `cargo run --release -p kernels --example ops [THREADS [BATCH]]`. Products are in GFLOP/s, passes in
//! GB/s of what they must read and write.

use kernels::conv2d::{Conv2d, PartGradient};
use kernels::*;
use std::time::Instant;

fn main() {
    let argument = |i, default| {
        std::env::args()
            .nth(i)
            .and_then(|a| a.parse().ok())
            .unwrap_or(default)
    };
    let (threads, batch) = (argument(1, 0), argument(2, 8));
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(|| run(batch)),
        Err(error) => eprintln!("no pool of {threads} threads: {error}"),
    }
}

fn run(n: usize) {
    println!("{} threads, batch {n}", rayon::current_num_threads());
    let convolutions = [
        (3, 14, 432, 256),
        (3, 14, 256, 256),
        (3, 28, 168, 128),
        (3, 28, 128, 128),
        (3, 56, 152, 64),
        (3, 56, 64, 64),
        (3, 56, 64, 24),
        (3, 112, 80, 32),
        (3, 112, 40, 16),
        (3, 112, 32, 32),
        (3, 224, 32, 16),
        (3, 224, 16, 16),
        (3, 224, 16, 2),
        (1, 112, 32, 16),
        (1, 112, 16, 96),
        (1, 56, 24, 144),
        (1, 56, 144, 24),
        (1, 28, 240, 40),
        (1, 14, 112, 672),
        (1, 14, 672, 112),
        (1, 7, 1152, 320),
        (1, 7, 320, 1920),
        (1, 1, 1152, 48),
        (1, 1, 48, 1152),
    ];
    for (k, size, cin, cout) in convolutions {
        convolution(n, k, size, cin, cout);
    }
    for (k, stride, size, c) in [
        (3, 1, 112, 32),
        (3, 2, 112, 96),
        (3, 1, 56, 144),
        (5, 2, 56, 144),
        (5, 1, 28, 240),
        (5, 1, 14, 672),
        (5, 1, 7, 1152),
    ] {
        depthwise_convolution(n, k, stride, size, c);
    }
    for (size, c) in [
        (112, 96),
        (56, 144),
        (28, 240),
        (14, 672),
        (7, 1920),
        (224, 16),
        (112, 40),
    ] {
        passes(n, size, c);
    }
}

/// Best seconds of the runs in a tenth of a second: on a busy machine the best says more than the mean.
fn time(mut f: impl FnMut()) -> f64 {
    let (first, mut best) = (Instant::now(), f64::INFINITY);
    while first.elapsed().as_secs_f64() < 0.1 || best.is_infinite() {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Values that repeat only after a while, small enough to stay finite.
fn values(len: usize) -> Buffer {
    let mut values = Buffer::zeros(len);
    for (i, value) in values.iter_mut().enumerate() {
        *value = (i * 7919 % 1009) as f32 / 1009.0 - 0.5;
    }
    values
}

fn report(name: &str, unit: &str, parts: &[(&str, f64, f64)]) {
    let parts: Vec<String> = parts
        .iter()
        .map(|(part, amount, s)| {
            format!("{part} {:7.2} ms {:5.0} {unit}", s * 1e3, amount / s / 1e9)
        })
        .collect();
    println!("{name:32} {}", parts.join(" | "));
}

fn convolution(n: usize, k: usize, size: usize, cin: usize, cout: usize) {
    let xs = Nhwc {
        n,
        h: size,
        w: size,
        c: cin,
    };
    let window = Window {
        kernel: [k, k],
        stride: 1,
        padding: Padding::Same,
    };
    let (x, mut w, mut y) = (
        values(xs.len()),
        values(k * k * cin * cout),
        values(xs.pixels() * cout),
    );
    let mut dx = values(xs.len());
    let conv = Conv2d::new(xs, cout, window);
    let mut packed = Buffer::zeros(conv.packed_len().max(conv.backward_packed_len()));
    let mut scratch = Buffer::default();
    let forward = time(|| {
        conv.pack(&w, &mut packed);
        let scratch = scratch.at_least(conv.forward_scratch());
        conv.forward(&[&x], &packed, Epilogue::default(), &mut y, scratch)
    });
    let input = time(|| {
        conv.pack_backward(&w, &mut packed);
        let scratch = scratch.at_least(conv.backward_input_scratch());
        let dx = PartGradient {
            data: &mut dx,
            acc: Accumulate::Replace,
        };
        conv.backward_input(&y, &packed, &mut [dx], scratch)
    });
    let weight = time(|| {
        let scratch = scratch.at_least(conv.backward_weight_scratch());
        conv.backward_weight(&[&x], &y, &mut w, Accumulate::Add, scratch)
    });
    let flop = 2.0 * (xs.pixels() * k * k * cin * cout) as f64;
    let name = format!("conv {k}x{k} {size}² {cin} -> {cout}");
    report(
        &name,
        "GFLOP/s",
        &[
            ("forward", flop, forward),
            ("input", flop, input),
            ("weight", flop, weight),
        ],
    );
}

fn depthwise_convolution(n: usize, k: usize, stride: usize, size: usize, c: usize) {
    let xs = Nhwc {
        n,
        h: size,
        w: size,
        c,
    };
    let window = Window {
        kernel: [k, k],
        stride,
        padding: Padding::Symmetric(k / 2),
    };
    let Some(ys) = window.output(xs, c) else {
        return;
    };
    let (x, mut w, mut y, mut dx) = (
        values(xs.len()),
        values(k * k * c),
        values(ys.len()),
        values(xs.len()),
    );
    let mut scratch = values(depthwise::backward_weight_scratch(xs, window));
    let replace = Accumulate::Replace;
    let forward = time(|| depthwise::forward(&x, xs, &w, window, Epilogue::default(), &mut y));
    let input = time(|| depthwise::backward_input(&y, &w, xs, window, &mut dx, replace));
    let weight =
        time(|| depthwise::backward_weight(&x, &y, xs, window, &mut w, replace, &mut scratch));
    let bytes = 4.0 * (xs.len() + ys.len()) as f64;
    let name = format!("depthwise {k}x{k}/{stride} {size}² {c}");
    report(
        &name,
        "GB/s",
        &[
            ("forward", bytes, forward),
            ("input", bytes, input),
            ("weight", bytes, weight),
        ],
    );
}

fn passes(n: usize, size: usize, c: usize) {
    let xs = Nhwc {
        n,
        h: size,
        w: size,
        c,
    };
    let (z, dy, mut y) = (values(xs.len()), values(xs.len()), values(xs.len()));
    let (gamma, beta, mut mean, mut var) = (values(c), values(c), values(c), values(c));
    let (mut dgamma, mut dbeta) = (values(c), values(c));
    let silu = Some(Activation::Silu);
    let statistics = time(|| batch_norm::statistics(&z, c, &mut mean, &mut var));
    let apply = time(|| batch_norm::apply(&z, &gamma, &beta, silu, &mut y));
    let backward = time(|| {
        let replace = Accumulate::Replace;
        let (dgamma, dbeta) = (&mut dgamma, &mut dbeta);
        batch_norm::backward_train(
            &z, &dy, &gamma, &beta, &mean, &var, 1e-3, silu, &mut y, dgamma, dbeta, replace,
        );
    });
    let bytes = 4.0 * xs.len() as f64;
    let parts = [
        ("statistics", bytes, statistics),
        ("apply", 2.0 * bytes, apply),
        ("backward", 5.0 * bytes, backward),
    ];
    report(&format!("batch norm + SiLU {size}² {c}"), "GB/s", &parts);

    let (mut scale, mut doubled) = (values(n * c), values(4 * xs.len()));
    let scales = gamma.repeat(n);
    let sum = time(|| elementwise::add(&z, &dy, &mut y));
    let channels = time(|| elementwise::scale_channels_forward(&z, xs, &scales, &mut y));
    let to_scale = time(|| {
        elementwise::scale_channels_backward_scale(&z, &dy, xs, &mut scale, Accumulate::Replace);
    });
    let joined = time(|| {
        concat::forward(
            &[(&z, c), (&dy, c)],
            xs.pixels(),
            &mut doubled[..2 * xs.len()],
        )
    });
    let nearest = time(|| resize::nearest2x_forward(&z, xs, &mut doubled));
    let nearest_back =
        time(|| resize::nearest2x_backward(&doubled, xs, &mut y, Accumulate::Replace));
    let parts = [
        ("add", 3.0 * bytes, sum),
        ("scale", 2.0 * bytes, channels),
        ("d scale", 2.0 * bytes, to_scale),
        ("concat", 4.0 * bytes, joined),
        ("up", 5.0 * bytes, nearest),
        ("d up", 5.0 * bytes, nearest_back),
    ];
    report(&format!("passes {size}² {c}"), "GB/s", &parts);
}
