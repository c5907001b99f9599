//! The CUDA kernels compared with the naive double-precision references of `kernels`: values and the gradients of
//! parameters. (Gradients of inputs are compared with the CPU engine's in `cuda_engine` and with finite differences in
//! `engine`.)
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cuda_host;

use std::sync::Arc;

use cuda_host::{Host, gpu};
use kernels::reference::{convolution, normalization, simple, spatial};
use kernels::region_pool::EPS;
use kernels::{Activation, Nhwc, Padding, Precision, Window};
use model::engine::cuda::CudaEngine;
use model::engine::cuda::driver::Driver;
use model::engine::{Engine, Images};
use model::graph::{Graph, GraphBuilder, Init, Interpolation, NodeId};
use model::store::ParamStore;
use random::Rng;

const INIT: Init = Init::Normal(0.5);

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::stream(seed, 0);
    (0..len).map(|_| rng.normal_f32()).collect()
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// Result of an operation on `x`, and its parameters' gradients for the gradient `dy`.
struct Ran {
    xs: Nhwc,
    x: Vec<f64>,
    y: Vec<f32>,
    dy: Vec<f64>,
    /// Values and gradients in the graph's order.
    params: Vec<(Vec<f64>, Vec<f32>)>,
}

impl Ran {
    fn value(&self, expected: &[f64]) {
        close("value", &self.y, expected);
    }

    fn gradient(&self, k: usize, expected: &[f64]) {
        close(&format!("gradient {k}"), &self.params[k].1, expected);
    }
}

fn close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*a) - b).abs() / scale;
        assert!(
            off < 2e-5,
            "{what} [{i}]: {a}, expected {b}: off by {off:.1e} of its scale"
        );
    }
}

/// Runs a training step of the operation alone on every device.
fn run(xs: Nhwc, op: impl Fn(&mut GraphBuilder, NodeId) -> NodeId) -> Vec<Ran> {
    let mut g = GraphBuilder::new(xs.c);
    let input = g.input();
    let y = op(&mut g, input);
    g.publish("y", y);
    let graph = Arc::new(g.finish(1).unwrap());
    let host = Host::new(Precision::F32).map(|host| Box::new(host) as Box<dyn Driver>);
    let gpu = gpu(Precision::F32).map(|gpu| Box::new(gpu) as Box<dyn Driver>);
    let step = |driver| {
        step(
            &mut CudaEngine::with_driver(graph.clone(), Precision::F32, driver),
            &graph,
            xs,
            y,
        )
    };
    host.into_iter().chain(gpu).map(step).collect()
}

fn step(engine: &mut CudaEngine, graph: &Graph, xs: Nhwc, output: NodeId) -> Ran {
    let data = normal(xs.len(), 1);
    let x = Images {
        data: &data,
        shape: xs,
    };
    let mut params = ParamStore::initialized(graph, 2);
    let y = engine
        .forward(&mut params, x, 0, &[output])
        .unwrap()
        .remove(0)
        .data;
    let dy = normal(y.len(), 3);
    let mut grads = ParamStore::zeros(params.map().clone());
    engine
        .backward(&params, std::slice::from_ref(&dy), &mut grads, None)
        .unwrap();
    let ids = graph.nodes.iter().flat_map(|n| n.params.clone());
    let trained = ids.filter(|id| graph.param(*id).role.trainable());
    Ran {
        xs,
        x: double(&data),
        y,
        dy: double(&dy),
        params: trained
            .map(|id| (double(params.get(id)), grads.get(id).to_vec()))
            .collect(),
    }
}

fn shape(n: usize, h: usize, w: usize, c: usize) -> Nhwc {
    Nhwc { n, h, w, c }
}

fn windows() -> [(usize, usize, Padding); 6] {
    [
        (1, 1, Padding::Symmetric(0)),
        (3, 1, Padding::Symmetric(1)),
        (3, 2, Padding::Same),
        (5, 1, Padding::Same),
        (3, 2, Padding::Symmetric(1)),
        (2, 2, Padding::Symmetric(0)),
    ]
}

fn window((kernel, stride, padding): (usize, usize, Padding)) -> Window {
    Window {
        kernel: [kernel; 2],
        stride,
        padding,
    }
}

#[test]
fn dense() {
    for (i, at) in windows().into_iter().enumerate() {
        for (cin, cout) in [(1, 1), (3, 20), (17, 70)] {
            let xs = shape(1 + i % 3, 7, 9, cin);
            for ran in run(xs, |g, x| {
                g.conv("op", x, cout, at.0, at.1, at.2, true, INIT)
            }) {
                let (w, b) = (&ran.params[0].0, &ran.params[1].0);
                let y = convolution::conv2d_forward(&ran.x, xs, w, cout, window(at));
                ran.value(&normalization::bias_forward(&y, b));
                ran.gradient(
                    0,
                    &convolution::conv2d_backward_weight(&ran.x, &ran.dy, xs, cout, window(at)),
                );
                ran.gradient(1, &normalization::bias_backward(&ran.dy, cout));
            }
        }
    }
}

#[test]
fn depthwise() {
    for at in windows() {
        for c in [1, 5, 32, 70] {
            for ran in run(shape(2, 9, 7, c), |g, x| {
                g.depthwise("op", x, at.0, at.1, at.2, INIT)
            }) {
                ran.value(&convolution::depthwise_forward(
                    &ran.x,
                    ran.xs,
                    &ran.params[0].0,
                    window(at),
                ));
                ran.gradient(
                    0,
                    &convolution::depthwise_backward_weight(&ran.x, &ran.dy, ran.xs, window(at)),
                );
            }
        }
    }
}

#[test]
fn transposed_and_linear() {
    for (cin, cout) in [(1, 1), (3, 5), (20, 40)] {
        for ran in run(shape(2, 3, 5, cin), |g, x| {
            g.conv_transpose2x2("op", x, cout, INIT)
        }) {
            let (w, b) = (&ran.params[0].0, &ran.params[1].0);
            let y = convolution::conv_transpose2x2_forward(&ran.x, ran.xs, w, cout);
            ran.value(&normalization::bias_forward(&y, b));
            ran.gradient(
                0,
                &convolution::conv_transpose2x2_backward_weight(&ran.x, &ran.dy, ran.xs, cout),
            );
            ran.gradient(1, &normalization::bias_backward(&ran.dy, cout));
        }
        for ran in run(shape(6, 1, 1, cin), |g, x| g.linear("op", x, cout, INIT)) {
            let (w, b) = (&ran.params[0].0, &ran.params[1].0);
            let y = convolution::linear_forward(&ran.x, 6, w, cin, cout);
            ran.value(&normalization::bias_forward(&y, b));
            ran.gradient(
                0,
                &convolution::linear_backward_weight(&ran.x, &ran.dy, 6, cin, cout),
            );
        }
    }
}

#[test]
fn batch_norm_with_activations() {
    for kind in [
        None,
        Some(Activation::Silu),
        Some(Activation::Relu6),
        Some(Activation::Sigmoid),
    ] {
        for c in [1, 3, 40] {
            let eps = 1e-3;
            let op = |g: &mut GraphBuilder, x| {
                let y = g.batch_norm("op", x, eps as f32, 0.1);
                kind.map_or(y, |kind| g.activation("act", y, kind))
            };
            for ran in run(shape(3, 6, 7, c), op) {
                let (mean, var) = normalization::batch_norm_statistics(&ran.x, c);
                let (gamma, beta) = (&ran.params[0].0, &ran.params[1].0);
                ran.value(&normalization::batch_norm_forward(
                    &ran.x, gamma, beta, &mean, &var, eps, kind,
                ));
                let (_, dgamma, dbeta) = normalization::batch_norm_backward(
                    &ran.x, &ran.dy, gamma, beta, &mean, &var, eps, kind, true,
                );
                ran.gradient(0, &dgamma);
                ran.gradient(1, &dbeta);
            }
        }
    }
}

#[test]
fn pools_and_shapes() {
    for at in windows() {
        for ran in run(shape(2, 8, 7, 5), |g, x| {
            g.max_pool("op", x, at.0, at.1, at.2)
        }) {
            ran.value(&spatial::max_pool_forward(&ran.x, ran.xs, window(at)).0);
        }
    }
    for c in [1, 3, 33] {
        let xs = shape(3, 5, 4, c);
        for ran in run(xs, |g, x| g.global_avg_pool("op", x)) {
            ran.value(&spatial::global_avg_forward(&ran.x, xs));
        }
        for (mode, smooth) in [
            (Interpolation::Nearest, false),
            (Interpolation::Bilinear, true),
        ] {
            for ran in run(xs, |g, x| g.upsample2x("op", x, mode)) {
                ran.value(&spatial::resize2x_forward(&ran.x, xs, smooth));
            }
        }
        for ran in run(xs, |g, x| g.crop("op", x, 1)) {
            ran.value(&spatial::crop_forward(&ran.x, xs, 1));
        }
        for ran in run(xs, |g, x| g.concat("op", &[x, x])) {
            ran.value(&simple::concat_forward(
                &[(&ran.x, c), (&ran.x, c)],
                xs.pixels(),
            ));
        }
    }
}

/// The images themselves weighted by a map that is computed from them, of the same size and of twice the size.
#[test]
fn region_pool() {
    for (c, classes, side) in [(1, 2, 1), (5, 3, 2), (8, 4, 1), (16, 2, 2)] {
        let xs = shape(3, 6, 8, c);
        let op = |g: &mut GraphBuilder, x| {
            let none = Padding::Symmetric(0);
            let features = match side {
                1 => x,
                _ => g.max_pool("pool", x, side, side, none),
            };
            let map = g.conv("map", x, classes, 1, 1, none, true, INIT);
            g.region_pool("op", features, map)
        };
        for ran in run(xs, op) {
            let (w, b) = (&ran.params[0].0, &ran.params[1].0);
            let map = convolution::conv2d_forward(&ran.x, xs, w, classes, Window::POINT);
            let map = normalization::bias_forward(&map, b);
            let (fs, features) = match side {
                1 => (xs, ran.x.clone()),
                _ => {
                    let (kernel, padding) = ([side; 2], Padding::Symmetric(0));
                    let window = Window {
                        kernel,
                        stride: side,
                        padding,
                    };
                    let (features, _) = spatial::max_pool_forward(&ran.x, xs, window);
                    (window.output(xs, c).unwrap(), features)
                }
            };
            let (ms, eps) = (xs.with_channels(classes), f64::from(EPS));
            ran.value(&spatial::region_pool_forward(&features, fs, &map, ms, eps));
            let (_, dmap) = spatial::region_pool_backward(&features, fs, &map, ms, eps, &ran.dy);
            let dw = convolution::conv2d_backward_weight(&ran.x, &dmap, xs, classes, Window::POINT);
            ran.gradient(0, &dw);
            ran.gradient(1, &normalization::bias_backward(&dmap, classes));
        }
    }
}

#[test]
fn element_by_element() {
    for kind in [
        Activation::Silu,
        Activation::Relu,
        Activation::Relu6,
        Activation::Sigmoid,
    ] {
        for ran in run(shape(2, 5, 5, 3), |g, x| g.activation("op", x, kind)) {
            ran.value(&normalization::activation_forward(Some(kind), &ran.x));
        }
    }
    let xs = shape(3, 4, 5, 7);
    let gated = |g: &mut GraphBuilder, x| {
        let s = g.global_avg_pool("pool", x);
        g.scale_channels("op", x, s)
    };
    for ran in run(xs, gated) {
        let s = spatial::global_avg_forward(&ran.x, xs);
        ran.value(&simple::scale_channels(&ran.x, xs, &s));
    }
    for ran in run(xs, |g, x| g.add("op", x, x)) {
        ran.value(&ran.x.iter().map(|v| 2.0 * v).collect::<Vec<_>>());
    }
    for ran in run(xs, |g, x| g.mean("op", &[x, x, x])) {
        ran.value(&ran.x);
    }
}
