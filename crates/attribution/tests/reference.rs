//! Compares attributions with Captum's (`reference.json`, made by `reference.py` in this folder).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use attribution::{
    Baseline, GradCam, GradCamPlusPlus, Image, IntegratedGradients, Occlusion, Target,
};
use model::engine::Images;
use model::graph::{Activation, Graph, GraphBuilder, Hwc, Init, Interpolation, NodeId, Padding};
use model::network::Network;
use model::store::ParamStore;
use serde_json::Value;

/// The largest difference allowed, relative to the largest value: ours is f32, the reference f64.
const TOLERANCE: f32 = 1e-4;
const NONE: Padding = Padding::Symmetric(0);
const ONE: Padding = Padding::Symmetric(1);
const INIT: Init = Init::Constant(0.0);

fn fixture() -> Value {
    serde_json::from_str(include_str!("reference.json")).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// `Mobile` of the script.
fn mobile() -> Graph {
    use Activation::{Relu, Relu6, Sigmoid, Silu};
    let mut g = GraphBuilder::new(3);
    let x = g.conv("stem", g.input(), 6, 3, 2, ONE, false, INIT);
    let x = normed(&mut g, "stem_bn", x, Relu6);
    let y = g.depthwise("dw", x, 3, 1, ONE, INIT);
    let y = normed(&mut g, "dw_bn", y, Silu);
    let s = g.global_avg_pool("squeeze", y);
    let s = g.conv("reduce", s, 2, 1, 1, NONE, true, INIT);
    let s = g.activation("reduce_act", s, Silu);
    let s = g.conv("expand", s, 6, 1, 1, NONE, true, INIT);
    let s = g.activation("gate", s, Sigmoid);
    let y = g.scale_channels("excite", y, s);
    let y = g.conv("project", y, 6, 1, 1, NONE, false, INIT);
    let y = g.batch_norm("project_bn", y, 1e-5, 0.1);
    let x = g.add("residual", x, y);
    let x = g.activation("features", x, Relu);
    g.publish("features.1", x);
    let x = g.global_avg_pool("pool", x);
    let x = g.linear("head", x, 3, INIT);
    g.publish("logits", x);
    g.finish(2).unwrap()
}

/// `Unet` of the script; the decoder's convolution reads its parts in place.
fn unet() -> Graph {
    use Activation::Relu;
    let mut g = GraphBuilder::new(3);
    let skip = g.conv("first", g.input(), 5, 3, 1, ONE, false, INIT);
    let skip = normed(&mut g, "first_bn", skip, Relu);
    let deep = g.max_pool("pool", skip, 2, 2, NONE);
    let deep = g.conv("second", deep, 8, 3, 1, ONE, false, INIT);
    let deep = normed(&mut g, "second_bn", deep, Relu);
    let up = g.upsample2x("up", deep, Interpolation::Nearest);
    let x = g.concat("concat", &[up, skip]);
    let x = g.conv("decoder", x, 6, 3, 1, ONE, false, INIT);
    let x = normed(&mut g, "decoder_bn", x, Relu);
    g.publish("features.0", x);
    let map = g.conv("map", x, 2, 1, 1, NONE, true, INIT);
    let x = g.global_avg_pool("mean", map);
    let x = g.linear("head", x, 3, INIT);
    g.publish("logits", x);
    g.finish(2).unwrap()
}

fn normed(g: &mut GraphBuilder, name: &str, x: NodeId, act: Activation) -> NodeId {
    let x = g.batch_norm(name, x, 1e-5, 0.1);
    g.activation(&format!("{name}.act"), x, act)
}

/// The graph with the script's weights, every one of them used.
fn network(graph: Graph, weights: &Value) -> Network {
    let mut store = ParamStore::initialized(&graph, 0);
    let weights = weights.as_object().unwrap();
    assert_eq!(weights.len(), graph.params.len());
    for (id, spec) in graph.parameters() {
        let values: Vec<f32> = read(&weights[&spec.name]);
        spec.store_torch(&values, store.get_mut(id));
    }
    Network::with_store(graph, store)
}

fn check(what: &str, found: &[f32], expected: &Value) {
    let expected: Vec<f32> = read(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let pairs = found.iter().zip(&expected);
    let off = pairs.fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest;
    println!("{what}: off by {off:.1e} of the largest value");
    assert!(largest > 0.0 && off <= TOLERANCE, "{what}: {off}");
}

fn check_network(name: &str, graph: Graph) {
    let all = fixture();
    let case = &all[name];
    let network = network(graph, &case["weights"]);
    let [h, w]: [usize; 2] = read(&all["size"]);
    let (shape, data): (_, Vec<f32>) = (Hwc { h, w, c: 3 }, read(&case["image"]));
    let images = Images {
        data: &data,
        shape: shape.batch(1),
    };
    let logits = network.infer(images, &["logits"]).unwrap().remove(0);
    check(&format!("{name} logits"), &logits.data, &case["logits"]);
    let image = Image::new(&data, shape).unwrap();
    let target = Target::Class(read(&all["class"]));
    let baseline = Baseline::Colour(read(&all["baseline"]));
    let integrated = IntegratedGradients {
        baseline: baseline.clone(),
        steps: read(&all["steps"]),
        ..IntegratedGradients::default()
    };
    let found = integrated.attribute(&network, image, target).unwrap();
    let key = "integrated_gradients";
    check(&format!("{name} {key}"), &found.attributions, &case[key]);
    let error: f64 = read(&case["completeness_error"]);
    let scale = (found.score - found.baseline_score).abs();
    assert!((found.completeness_error - error).abs() < 1e-5 * scale);
    let occlusion = Occlusion {
        window: read(&all["window"]),
        stride: read(&all["stride"]),
        baseline,
        batch: 5,
    };
    let cam = |relu| GradCam { at: None, relu };
    let plus_plus = GradCamPlusPlus {
        at: Some("features".into()).filter(|_| name == "mobile"),
        relu: false,
    };
    for (key, map) in [
        ("occlusion", occlusion.map(&network, image, target)),
        ("grad_cam", cam(false).map(&network, image, target)),
        ("grad_cam_relu", cam(true).map(&network, image, target)),
        ("grad_cam_plus_plus", plus_plus.map(&network, image, target)),
    ] {
        check(&format!("{name} {key}"), map.unwrap().values(), &case[key]);
    }
}

#[test]
fn a_network_with_squeeze_excite_and_a_residual_agrees_with_captum() {
    check_network("mobile", mobile());
}

#[test]
fn a_network_with_upsampling_and_concatenation_agrees_with_captum() {
    check_network("unet", unet());
}
