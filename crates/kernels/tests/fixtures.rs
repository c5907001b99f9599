//! Compares kernels with PyTorch's outputs and gradients: the small cases stored here (made by `make_fixtures.py`) and,
//! where they are present next to the repository, the larger ones of `../shared/fixtures/ops`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{check, conv_backward, conv_forward, wide};
use kernels::conv2d::{Conv2d, PartGradient};
use kernels::region_pool::RegionPool;
use kernels::*;
use std::collections::BTreeMap;
use std::path::Path;

const TOLERANCE: f64 = 1e-4;

#[derive(serde::Deserialize, Clone)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// The values with axes in the order `axes`.
    fn permuted(&self, axes: &[usize]) -> Vec<f32> {
        let strides: Vec<usize> = (0..axes.len())
            .map(|i| self.shape[i + 1..].iter().product())
            .collect();
        let shape: Vec<usize> = axes.iter().map(|&axis| self.shape[axis]).collect();
        let offset = |mut i: usize| {
            (0..axes.len()).rev().fold(0, |offset, k| {
                let at = i % shape[k];
                i /= shape[k];
                offset + at * strides[axes[k]]
            })
        };
        (0..self.data.len()).map(|i| self.data[offset(i)]).collect()
    }

    /// NCHW as NHWC, matrices and vectors as they are.
    fn nhwc(&self) -> Vec<f32> {
        if self.shape.len() == 4 {
            self.permuted(&[0, 2, 3, 1])
        } else {
            self.data.clone()
        }
    }
}

#[derive(serde::Deserialize)]
struct Fixture {
    name: String,
    kind: String,
    #[serde(default)]
    stride: usize,
    #[serde(default)]
    pad: serde_json::Value,
    #[serde(default)]
    eps: f32,
    #[serde(default)]
    momentum: f32,
    #[serde(default)]
    op: String,
    #[serde(default)]
    k: usize,
    #[serde(default)]
    tensors: BTreeMap<String, Tensor>,
}

impl Fixture {
    fn get(&self, key: &str) -> &Tensor {
        self.tensors
            .get(key)
            .unwrap_or_else(|| panic!("{} has no {key}", self.name))
    }

    fn values(&self, key: &str) -> Vec<f32> {
        self.get(key).nhwc()
    }

    fn shape(&self) -> Nhwc {
        match self.get("x").shape[..] {
            [n, c, h, w] => Nhwc { n, h, w, c },
            _ => panic!("{}: x is not a batch of images", self.name),
        }
    }

    fn window(&self) -> Window {
        let w = &self.get("w_").shape;
        let padding = self
            .pad
            .as_u64()
            .map_or(Padding::Same, |pad| Padding::Symmetric(pad as usize));
        Window {
            kernel: [w[2], w[3]],
            stride: self.stride,
            padding,
        }
    }

    /// Compares with `key`, whose axes are permuted to `axes` (NHWC for images if empty).
    fn expect(&self, key: &str, axes: &[usize], got: &[f32]) {
        let expected = if axes.is_empty() {
            self.values(key)
        } else {
            self.get(key).permuted(axes)
        };
        check(
            &format!("{} {key}", self.name),
            got,
            &wide(&expected),
            TOLERANCE,
        );
    }

    fn zeros(&self, key: &str) -> Vec<f32> {
        vec![0.0; self.get(key).data.len()]
    }
}

const HWIO: [usize; 4] = [2, 3, 1, 0];
const REPLACE: Accumulate = Accumulate::Replace;

fn conv2d_fixture(f: &Fixture) {
    let (xs, window, cout) = (f.shape(), f.window(), f.get("w_").shape[0]);
    let (x, w, dy) = (f.values("x"), f.get("w_").permuted(&HWIO), f.values("dy"));
    let (mut y, mut dx, mut dw) = (f.zeros("y"), f.zeros("x"), f.zeros("w_"));
    let conv = Conv2d::new(xs, cout, window);
    conv_forward(conv, &[&x], &w, Epilogue::default(), &mut y);
    let mut parts = [PartGradient {
        data: &mut dx,
        acc: REPLACE,
    }];
    conv_backward(conv, &[&x], &w, &dy, &mut parts, &mut dw, REPLACE);
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
    f.expect("dw_", &HWIO, &dw);
}

fn depthwise_fixture(f: &Fixture) {
    let (xs, window) = (f.shape(), f.window());
    let (x, w, dy) = (f.values("x"), f.get("w_").permuted(&HWIO), f.values("dy"));
    let (mut y, mut dx, mut dw) = (f.zeros("y"), f.zeros("x"), f.zeros("w_"));
    depthwise::forward(&x, xs, &w, window, Epilogue::default(), &mut y);
    depthwise::backward_input(&dy, &w, xs, window, &mut dx, REPLACE);
    let mut s = vec![0.0; depthwise::backward_weight_scratch(xs, window)];
    depthwise::backward_weight(&x, &dy, xs, window, &mut dw, REPLACE, &mut s);
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
    f.expect("dw_", &HWIO, &dw);
}

fn conv_transpose_fixture(f: &Fixture) {
    let axes = [0, 2, 3, 1];
    let (xs, cout, b) = (f.shape(), f.get("w_").shape[1], f.values("b"));
    let (x, w, dy) = (f.values("x"), f.get("w_").permuted(&axes), f.values("dy"));
    let (mut y, mut dx, mut dw, mut db) = (f.zeros("y"), f.zeros("x"), f.zeros("w_"), f.zeros("b"));
    let mut s = vec![0.0; conv_transpose2x2::forward_scratch(xs, cout)];
    conv_transpose2x2::forward(&x, xs, &w, cout, Some(&b), &mut y, &mut s);
    let mut s = vec![0.0; conv_transpose2x2::backward_scratch(xs, cout)];
    conv_transpose2x2::backward_input(&dy, &w, xs, cout, &mut dx, REPLACE, &mut s);
    conv_transpose2x2::backward_weight(&x, &dy, xs, cout, &mut dw, REPLACE, &mut s);
    bias::backward(&dy, cout, &mut db, REPLACE);
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
    f.expect("dw_", &axes, &dw);
    f.expect("db", &[], &db);
}

fn batch_norm_fixture(f: &Fixture, train: bool) {
    let (c, x, dy, gamma, beta) = (
        f.shape().c,
        f.values("x"),
        f.values("dy"),
        f.values("w_"),
        f.values("b"),
    );
    let (mut mean, mut var) = (vec![0.0; c], vec![0.0; c]);
    if train {
        batch_norm::statistics(&x, c, &mut mean, &mut var);
        let (mut running_mean, mut running_var) = (
            f.values("running_mean_before"),
            f.values("running_var_before"),
        );
        let count = x.len() / c;
        batch_norm::update_running(
            &mut running_mean,
            &mut running_var,
            &mean,
            &var,
            count,
            f.momentum,
        );
        f.expect("running_mean_after", &[], &running_mean);
        f.expect("running_var_after", &[], &running_var);
    } else {
        (mean, var) = (f.values("running_mean"), f.values("running_var"));
    }
    let (mut scale, mut shift, mut y) = (vec![0.0; c], vec![0.0; c], f.zeros("y"));
    batch_norm::fold(&gamma, &beta, &mean, &var, f.eps, &mut scale, &mut shift);
    batch_norm::apply(&x, &scale, &shift, None, &mut y);
    let (mut dx, mut dgamma, mut dbeta) = (f.zeros("x"), vec![0.0; c], vec![0.0; c]);
    let pass = if train {
        batch_norm::backward_train
    } else {
        batch_norm::backward_eval
    };
    pass(
        &x,
        &dy,
        &gamma,
        &beta,
        &mean,
        &var,
        f.eps,
        None,
        &mut dx,
        &mut dgamma,
        &mut dbeta,
        REPLACE,
    );
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
    f.expect("dw_", &[], &dgamma);
    f.expect("db", &[], &dbeta);
}

fn activation_fixture(f: &Fixture) {
    let kind = match f.op.as_str() {
        "silu" => Activation::Silu,
        "relu" => Activation::Relu,
        "relu6" => Activation::Relu6,
        "sigmoid" => Activation::Sigmoid,
        other => panic!("unknown activation {other}"),
    };
    let (x, mut y, mut dx) = (f.values("x"), f.zeros("y"), f.zeros("x"));
    activation::forward(kind, &x, &mut y);
    activation::backward(kind, &x, &f.values("dy"), &mut dx, REPLACE);
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
}

fn max_pool_fixture(f: &Fixture) {
    let (xs, window) = (
        f.shape(),
        Window {
            kernel: [f.k, f.k],
            stride: f.k,
            padding: Padding::Symmetric(0),
        },
    );
    let (mut y, mut dx, mut argmax) = (f.zeros("y"), f.zeros("x"), vec![0; f.get("y").data.len()]);
    pool::max_pool_forward(&f.values("x"), xs, window, &mut y, &mut argmax);
    pool::max_pool_backward(&f.values("dy"), &argmax, xs, window, &mut dx, REPLACE);
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
}

/// Operations that take only an input and its shape.
fn spatial_fixture(
    f: &Fixture,
    forward: fn(&[f32], Nhwc, &mut [f32]),
    backward: fn(&[f32], Nhwc, &mut [f32], Accumulate),
) {
    let (mut y, mut dx) = (f.zeros("y"), f.zeros("x"));
    forward(&f.values("x"), f.shape(), &mut y);
    backward(&f.values("dy"), f.shape(), &mut dx, REPLACE);
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
}

fn linear_fixture(f: &Fixture) {
    let [outputs, inputs] = f.get("w_").shape[..] else {
        panic!("{}: w_ is not a matrix", f.name)
    };
    let (n, w, dy) = (
        f.get("x").shape[0],
        f.get("w_").permuted(&[1, 0]),
        f.values("dy"),
    );
    let (mut y, mut dx, mut dw, mut db) = (f.zeros("y"), f.zeros("x"), f.zeros("w_"), f.zeros("b"));
    linear::forward(&f.values("x"), n, &w, Some(&f.values("b")), &mut y);
    linear::backward_input(&dy, n, &w, inputs, outputs, &mut dx, REPLACE);
    linear::backward_weight(&f.values("x"), &dy, n, inputs, outputs, &mut dw, REPLACE);
    bias::backward(&dy, outputs, &mut db, REPLACE);
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
    f.expect("dw_", &[1, 0], &dw);
    f.expect("db", &[], &db);
}

fn region_pool_fixture(f: &Fixture) {
    let [n, c, h, w] = f.get("map_").shape[..] else {
        panic!("{}: map_ is not a batch of maps", f.name);
    };
    let pool = RegionPool::new(f.shape(), Nhwc { n, h, w, c });
    let (x, map, dy) = (f.values("x"), f.values("map_"), f.values("dy"));
    let (mut y, mut dx, mut dmap) = (f.zeros("y"), f.zeros("x"), f.zeros("map_"));
    let mut scratch = vec![0.0; pool.backward_map_scratch()];
    pool.forward(&x, &map, &mut y, &mut scratch);
    pool.backward_features(&dy, &map, &mut dx, REPLACE, &mut scratch);
    pool.backward_map(&x, &dy, &map, &mut dmap, REPLACE, &mut scratch);
    f.expect("y", &[], &y);
    f.expect("dx", &[], &dx);
    f.expect("dmap_", &[], &dmap);
}

/// x · sigmoid(conv(silu(conv(mean(x))))): the kernels combined as in an engine.
fn squeeze_excite_fixture(f: &Fixture) {
    let (xs, x, dy) = (f.shape(), f.values("x"), f.values("dy"));
    let (n, c, hidden) = (xs.n, xs.c, f.get("b1").data.len());
    let matrix = |key: &str| f.get(key).permuted(&HWIO);
    let (w1, w2, b1, b2) = (matrix("w1"), matrix("w2"), f.values("b1"), f.values("b2"));
    let (mut mean, mut a1, mut h1) = (
        vec![0.0; n * c],
        vec![0.0; n * hidden],
        vec![0.0; n * hidden],
    );
    let (mut a2, mut scale, mut y) = (vec![0.0; n * c], vec![0.0; n * c], f.zeros("y"));
    pool::global_avg_forward(&x, xs, &mut mean);
    linear::forward(&mean, n, &w1, Some(&b1), &mut a1);
    activation::forward(Activation::Silu, &a1, &mut h1);
    linear::forward(&h1, n, &w2, Some(&b2), &mut a2);
    activation::forward(Activation::Sigmoid, &a2, &mut scale);
    elementwise::scale_channels_forward(&x, xs, &scale, &mut y);
    f.expect("y", &[], &y);

    let (mut dx, mut dscale, mut da2) = (f.zeros("x"), vec![0.0; n * c], vec![0.0; n * c]);
    let (mut dh1, mut da1, mut dmean) = (
        vec![0.0; n * hidden],
        vec![0.0; n * hidden],
        vec![0.0; n * c],
    );
    elementwise::scale_channels_backward_input(&dy, &scale, xs, &mut dx, REPLACE);
    elementwise::scale_channels_backward_scale(&x, &dy, xs, &mut dscale, REPLACE);
    activation::backward(Activation::Sigmoid, &a2, &dscale, &mut da2, REPLACE);
    linear::backward_input(&da2, n, &w2, hidden, c, &mut dh1, REPLACE);
    activation::backward(Activation::Silu, &a1, &dh1, &mut da1, REPLACE);
    linear::backward_input(&da1, n, &w1, c, hidden, &mut dmean, REPLACE);
    pool::global_avg_backward(&dmean, xs, &mut dx, Accumulate::Add);
    f.expect("dx", &[], &dx);
    let (mut dw1, mut dw2, mut db1, mut db2) =
        (f.zeros("w1"), f.zeros("w2"), f.zeros("b1"), f.zeros("b2"));
    linear::backward_weight(&mean, &da1, n, c, hidden, &mut dw1, REPLACE);
    linear::backward_weight(&h1, &da2, n, hidden, c, &mut dw2, REPLACE);
    bias::backward(&da1, hidden, &mut db1, REPLACE);
    bias::backward(&da2, c, &mut db2, REPLACE);
    f.expect("dw1", &HWIO, &dw1);
    f.expect("dw2", &HWIO, &dw2);
    f.expect("db1", &[], &db1);
    f.expect("db2", &[], &db2);
}

/// Runs the case; returns false if it is not one for kernels (losses and optimizers).
fn run(f: &Fixture) -> bool {
    match f.kind.as_str() {
        "conv2d" => conv2d_fixture(f),
        "depthwise" => depthwise_fixture(f),
        "conv_transpose2d" => conv_transpose_fixture(f),
        "batch_norm_train" => batch_norm_fixture(f, true),
        "batch_norm_eval" => batch_norm_fixture(f, false),
        "activation" => activation_fixture(f),
        "max_pool2d" => max_pool_fixture(f),
        "upsample_nearest" => {
            spatial_fixture(f, resize::nearest2x_forward, resize::nearest2x_backward)
        }
        "upsample_bilinear" => {
            spatial_fixture(f, resize::bilinear2x_forward, resize::bilinear2x_backward)
        }
        "global_avg_pool" => {
            spatial_fixture(f, pool::global_avg_forward, pool::global_avg_backward)
        }
        "linear" => linear_fixture(f),
        "squeeze_excite" => squeeze_excite_fixture(f),
        "region_pool" => region_pool_fixture(f),
        "loss" => return false,
        other => panic!("{}: unknown kind {other}", f.name),
    }
    true
}

#[test]
fn own_fixtures_agree() {
    let fixtures: Vec<Fixture> = serde_json::from_str(include_str!("fixtures.json")).unwrap();
    assert_eq!(fixtures.iter().filter(|f| run(f)).count(), 19);
}

#[test]
#[ignore = "reads ../shared, which is not in the repository: cargo xtask test runs it where that exists"]
fn shared_fixtures_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let cases = std::fs::read(folder.join("ops.json")).unwrap();
    let bytes = std::fs::read(folder.join("ops.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut fixtures: Vec<Fixture> = serde_json::from_slice(&cases).unwrap();
    for fixture in &mut fixtures {
        for (key, view) in tensors.iter() {
            let Some(key) = key.strip_prefix(&format!("{}/", fixture.name)) else {
                continue;
            };
            if view.dtype() == safetensors::Dtype::F32 {
                let data = view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect();
                fixture.tensors.insert(
                    key.to_string(),
                    Tensor {
                        shape: view.shape().to_vec(),
                        data,
                    },
                );
            }
        }
    }
    assert_eq!(fixtures.iter().filter(|f| run(f)).count(), 34);
}
