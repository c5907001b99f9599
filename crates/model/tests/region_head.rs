//! Features pooled over a map's region, and the gradients of all parameters, compared with PyTorch's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use kernels::{Nhwc, Padding};
use model::engine::cpu::CpuEngine;
use model::engine::{Engine, Images, Precision};
use model::graph::{Graph, GraphBuilder, Init, NodeId};
use model::store::ParamStore;

/// `torch.sin(torch.arange(n).double() * 1.3 + k)`
fn values(n: usize, k: f64) -> Vec<f32> {
    (0..n).map(|i| (1.3 * i as f64 + k).sin() as f32).collect()
}

/// Features at half the map's height and width.
fn graph() -> Graph {
    let mut g = GraphBuilder::new(2);
    let (init, none, input) = (Init::Constant(0.0), Padding::Symmetric(0), g.input());
    let features = g.conv("features", input, 3, 1, 2, none, true, init);
    let map = g.conv("map", input, 3, 1, 1, none, true, init);
    let pooled = g.region_pool("pool", features, map);
    let logits = g.linear("head", pooled, 2, init);
    g.publish("logits", logits);
    g.finish(2).unwrap()
}

/// Values and gradients are those of this script (torch 2, double precision):
///
/// ```python
/// x = values(2 * 4 * 6 * 2, 0.5).reshape(2, 4, 6, 2).permute(0, 3, 1, 2)
/// wf, bf = values(6, 1).reshape(2, 3), values(3, 2)          # [in, out]
/// wm, bm = (2 * values(6, 3)).reshape(2, 3), values(3, 4)
/// wl, bl = values(6, 5).reshape(3, 2), values(2, 6)
/// features = F.conv2d(x, wf.T[:, :, None, None], bf, stride=2)
/// map = F.conv2d(x, wm.T[:, :, None, None], bm)
/// w = F.avg_pool2d(1 - torch.softmax(map, 1)[:, :1], 2)
/// y = (w * features).sum((2, 3)) / (w.sum((2, 3)) + 1e-6)
/// logits = y @ wl + bl
/// (logits * torch.tensor([[1., -2.], [0.5, 3.]])).sum().backward()
/// ```
#[test]
fn region_pool_agrees_with_pytorch() {
    let graph = graph();
    let mut params = ParamStore::initialized(&graph, 0);
    let mut set = |name: &str, values: Vec<f32>| {
        params
            .get_mut(graph.find_param(name).unwrap())
            .copy_from_slice(&values);
    };
    set("features.weight", values(6, 1.0));
    set("features.bias", values(3, 2.0));
    let doubled = values(6, 3.0).iter().map(|v| 2.0 * v).collect();
    set("map.weight", doubled);
    set("map.bias", values(3, 4.0));
    set("head.weight", values(6, 5.0));
    set("head.bias", values(2, 6.0));
    let shape = Nhwc {
        n: 2,
        h: 4,
        w: 6,
        c: 2,
    };
    let data = values(shape.len(), 0.5);
    let outputs: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let mut engine = CpuEngine::new(Arc::new(graph.clone()), Precision::F32);
    let x = Images { data: &data, shape };
    let logits = engine.forward(&mut params, x, 0, &outputs).unwrap();
    let expected = [-0.607_182, 1.008_462, -0.700_92, 1.100_184];
    close("logits", &logits[0].data, &expected);
    let mut grads = ParamStore::zeros(params.map().clone());
    let dy = [vec![1.0, -2.0, 0.5, 3.0]];
    engine.backward(&params, &dy, &mut grads, None).unwrap();
    for (name, expected) in GRADIENTS {
        let found = grads.get(graph.find_param(name).unwrap());
        close(name, found, expected);
    }
}

const GRADIENTS: [(&str, &[f32]); 6] = [
    (
        "features.weight",
        &[
            0.601_879, -1.076_17, 1.242_436, -0.472_519, 0.283_539, -0.013_404,
        ],
    ),
    ("features.bias", &[-1.421_572, 1.952_9, -1.925_264]),
    (
        "map.weight",
        &[
            0.011_525, 0.008_62, -0.020_146, -0.033_949, 0.027_055, 0.006_893,
        ],
    ),
    ("map.bias", &[-0.003_379, 0.018_433, -0.015_054]),
    (
        "head.weight",
        &[
            0.344_759, 0.514_827, -0.756_897, -0.801_385, -0.749_697, -0.943_566,
        ],
    ),
    ("head.bias", &[1.5, 1.0]),
];

fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 2e-6, "{what}: {a}, expected {b}");
    }
}

/// A map whose size is not a multiple of the features', with the reason.
#[test]
fn maps_of_another_size_are_refused() {
    let mut g = GraphBuilder::new(2);
    let (init, none, input) = (Init::Constant(0.0), Padding::Symmetric(0), g.input());
    let features = g.conv("features", input, 3, 2, 2, none, true, init);
    let map = g.conv("map", input, 2, 2, 1, none, true, init);
    let pooled = g.region_pool("pool", features, map);
    g.publish("pooled", pooled);
    let error = g.finish(2).unwrap().shapes(4, 6).unwrap_err().to_string();
    let expected = "node `pool` (region_pool) cannot take 2x3x3, 3x5x2: the map must have";
    assert!(error.contains(expected), "{error}");
}
