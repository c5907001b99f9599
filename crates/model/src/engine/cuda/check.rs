//! Runs a small network on a device and on the CPU before the device is used, so that a driver, compiler or GPU that
//! computes wrong results is detected in milliseconds rather than in a report.

use std::sync::Arc;

use ::kernels::{Activation, Nhwc, Padding, Precision};

use random::Rng;

use super::CudaEngine;
use super::driver::{DeviceError, Driver};
use crate::engine::cpu::CpuEngine;
use crate::engine::{Engine, EngineError, Images};
use crate::graph::{Graph, GraphBuilder, GraphError, Init, Interpolation, NodeId};
use crate::store::{Group, ParamStore};

/// Largest error allowed of a device, relative to the tensor's largest value. Rounding takes up a hundredth of it in
/// f32 and a third of it in the other precisions.
fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-3,
        Precision::Tf32 => 2e-2,
        Precision::Bf16 => 1e-1,
    }
}

/// Runs inference and a training step of a network with most operations, on a device with kernels of this precision.
///
/// # Errors
/// A device that fails, or whose results differ from the CPU's.
pub fn check(precision: Precision, driver: Box<dyn Driver>) -> Result<(), EngineError> {
    let graph = small_network().map_err(|e| unlike(&e.to_string()))?;
    let graph = Arc::new(graph);
    let mut engine = CudaEngine::with_driver(graph.clone(), precision, driver);
    let found = run(&mut engine, &graph)?;
    let expected = run(&mut CpuEngine::new(graph.clone(), Precision::F32), &graph)?;
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        let off = off(found, expected);
        if off.is_nan() || off > tolerance(precision) {
            return Err(unlike(&format!("{name} is off by {off:.0e} of its scale")).into());
        }
    }
    Ok(())
}

fn unlike(why: &str) -> DeviceError {
    DeviceError::Call {
        what: "compute a small network as the CPU does".into(),
        why: why.into(),
    }
}

/// The largest difference relative to the largest value; NaN if any difference is NaN.
fn off(found: &[f32], expected: &[f32]) -> f32 {
    let scale = expected
        .iter()
        .fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let differences = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs() / scale);
    differences.fold(0.0, |m, d| if d.is_nan() || d > m { d } else { m })
}

/// Values, gradients and running statistics, by name.
type Results = Vec<(String, Vec<f32>)>;

fn run(engine: &mut dyn Engine, graph: &Graph) -> Result<Results, EngineError> {
    let shape = Nhwc {
        n: 3,
        h: 12,
        w: 16,
        c: 2,
    };
    let data = normal(shape.len(), 1);
    let x = Images { data: &data, shape };
    let outputs: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let mut params = ParamStore::initialized(graph, 2);
    let mut results: Results = Vec::new();
    for value in engine.infer(&params, x, &outputs)? {
        results.push(("inference".into(), value.data));
    }
    let values = engine.forward(&mut params, x, 3, &outputs)?;
    let output_grads: Vec<Vec<f32>> = values.iter().map(|v| normal(v.data.len(), 4)).collect();
    results.extend(
        values
            .into_iter()
            .map(|v| ("a training pass".into(), v.data)),
    );
    let mut grads = ParamStore::zeros(params.map().clone());
    engine.backward(&params, &output_grads, &mut grads, None)?;
    for group in Group::TRAINABLE {
        results.push(("a gradient".into(), grads.group(group).to_vec()));
    }
    results.push((
        "a running statistic".into(),
        params.group(Group::Buffers).to_vec(),
    ));
    Ok(results)
}

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::stream(seed, 0);
    (0..len).map(|_| rng.normal_f32()).collect()
}

/// Small, but with both tile shapes of the matrix products, inputs read in place, and values with several readers. No
/// ReLU: near its kink rounding may change the gradient.
fn small_network() -> Result<Graph, GraphError> {
    let mut g = GraphBuilder::new(2);
    let init = Init::Normal(0.2);
    let same = Padding::Symmetric(1);
    let x = g.conv("stem", g.input(), 40, 3, 1, Padding::Same, true, init);
    let x = g.batch_norm("stem_bn", x, 1e-3, 0.1);
    let x = g.activation("stem_act", x, Activation::Silu);
    let pooled = g.max_pool("pool", x, 2, 2, Padding::Symmetric(0));
    let y = g.depthwise("dw", pooled, 5, 1, Padding::Symmetric(2), init);
    let y = g.batch_norm("dw_bn", y, 1e-5, 0.1);
    let s = g.global_avg_pool("se.pool", y);
    let s = g.activation("se.gate", s, Activation::Sigmoid);
    let y = g.scale_channels("se.scale", y, s);
    let y = g.drop_path("drop_path", y, 0.3);
    let y = g.add("residual", pooled, y);
    let near = g.upsample2x("near", y, Interpolation::Nearest);
    let smooth = g.upsample2x("smooth", y, Interpolation::Bilinear);
    let up = g.conv_transpose2x2("up", y, 5, init);
    let y = g.concat("concat", &[near, x, smooth, up]);
    let map = g.conv("map", y, 3, 3, 1, same, true, init);
    g.publish("map", map);
    let y = g.mean("mean", &[map, map]);
    let y = g.crop("crop", y, 1);
    let y = g.concat("again", &[y, y]);
    let y = g.global_avg_pool("gap", y);
    let y = g.dropout("dropout", y, 0.25);
    let y = g.linear("head", y, 2, Init::Normal(1.0));
    g.publish("logits", y);
    let inside = g.region_pool("region_pool", pooled, map);
    g.publish("region", inside);
    g.finish(2)
}
