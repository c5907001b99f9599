//! Gradients in inference mode compared with finite differences: for every operation, for values that are read in place,
//! and for every network of the registry.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use model::build::{ModelSpec, architectures, build, decoders, encoders, heads};
use model::engine::cuda::CudaEngine;
use model::engine::cuda::driver::Dry;
use model::engine::{EngineError, Images, OutputGradient, Precision};
use model::graph::{
    Activation, Graph, GraphBuilder, Init, Interpolation, Nhwc, NodeId, Op, Padding,
};
use model::network::{Heads, Network, NetworkError};
use model::store::{Group, ParamStore};
use random::Rng;

const INIT: Init = Init::Normal(0.4);

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::stream(seed, 7);
    (0..len).map(|_| rng.normal_f32()).collect()
}

/// A network whose norms have scales, shifts and running statistics that are not those of a new one.
fn network(graph: Graph) -> Network {
    let mut store = ParamStore::initialized(&graph, 1);
    let mut rng = Rng::stream(2, 2);
    for group in [Group::Plain, Group::Buffers] {
        for value in store.group_mut(group) {
            *value += 0.5 * rng.unit_f32();
        }
    }
    Network::with_store(graph, store)
}

/// `Σ weights · output` in double precision.
fn score(network: &Network, x: Images<'_>, output: &str, weights: &[f32]) -> f64 {
    let value = network.infer(x, &[output]).unwrap().remove(0);
    let terms = value.data.iter().zip(weights);
    terms.map(|(v, w)| f64::from(*v) * f64::from(*w)).sum()
}

/// The gradient of [`score`] with respect to the value of a node.
fn gradient(
    network: &Network,
    x: Images<'_>,
    output: &str,
    weights: &[f32],
    at: NodeId,
) -> Vec<f32> {
    let of = OutputGradient {
        of: network.output(output).unwrap(),
        gradient: weights,
    };
    let mut found = network.sensitivities(x, of, &[at]).unwrap();
    found.at.remove(0).gradient
}

/// Distinct values in random order, 0.01 apart: the largest of a window stays the largest when one moves by less.
fn spread(len: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..len)
        .map(|i| (i as f32 - len as f32 / 2.0) * 0.01)
        .collect();
    Rng::stream(3, 3).shuffle(&mut values);
    values
}

/// Compares each element of the image's gradient with differences: central, or to one side, because a kink may be on the
/// other.
fn check_image_gradient(graph: Graph, shape: Nhwc) {
    let name = graph.nodes.last().unwrap().name.clone();
    let network = network(graph);
    let mut data = spread(shape.len());
    let outputs = network.infer(Images { data: &data, shape }, &["y"]);
    let weights = normal(outputs.unwrap()[0].data.len(), 4);
    let images = Images { data: &data, shape };
    let found = gradient(&network, images, "y", &weights, NodeId::INPUT);
    assert!(found.iter().any(|g| g.abs() > 1e-3), "{name}: no gradient");
    for (i, found) in found.iter().enumerate() {
        let (h, x) = (4e-3f32, data[i]);
        let [below, at, above] = [x - h, x, x + h].map(|value| {
            data[i] = value;
            let y = score(&network, Images { data: &data, shape }, "y", &weights);
            (f64::from(value), y)
        });
        data[i] = x;
        let slopes = [(below, above), (below, at), (at, above)];
        let slopes = slopes.map(|(a, b)| (b.1 - a.1) / (b.0 - a.0));
        let scale = 1.0 + f64::from(found.abs());
        let close = |slope: &f64| (slope - f64::from(*found)).abs() < 1e-2 * scale;
        assert!(
            slopes.iter().any(close),
            "{name}: [{i}]: {slopes:?} against {found}"
        );
    }
}

/// A graph that is one operation on the image, with the image's four channels.
fn single(op: impl FnOnce(&mut GraphBuilder, NodeId) -> NodeId) -> Graph {
    let mut g = GraphBuilder::new(4);
    let x = g.input();
    let y = op(&mut g, x);
    g.publish("y", y);
    g.finish(2).unwrap()
}

fn check_op(op: impl FnOnce(&mut GraphBuilder, NodeId) -> NodeId) {
    let shape = Nhwc {
        n: 2,
        h: 6,
        w: 8,
        c: 4,
    };
    check_image_gradient(single(op), shape);
}

fn gates(g: &mut GraphBuilder, x: NodeId, reduced: usize) -> NodeId {
    let (c, none) = (g.channels(x), Padding::Symmetric(0));
    let s = g.global_avg_pool("se.pool", x);
    let s = g.conv("se.reduce", s, reduced, 1, 1, none, true, INIT);
    let s = g.activation("se.act", s, Activation::Silu);
    let s = g.conv("se.expand", s, c, 1, 1, none, true, INIT);
    g.activation("se.gate", s, Activation::Sigmoid)
}

#[test]
fn convolutions_pass_the_gradient_to_the_image() {
    let [same, one, two] = [Padding::Same, Padding::Symmetric(1), Padding::Symmetric(2)];
    check_op(|g, x| g.conv("stem", x, 3, 3, 2, same, true, INIT));
    check_op(|g, x| g.conv("winograd", x, 5, 3, 1, one, true, INIT));
    check_op(|g, x| g.conv("wide", x, 32, 3, 1, one, false, INIT));
    check_op(|g, x| g.conv("point", x, 7, 1, 1, Padding::Symmetric(0), false, INIT));
    check_op(|g, x| g.depthwise("dw3", x, 3, 1, one, INIT));
    check_op(|g, x| g.depthwise("dw5", x, 5, 2, two, INIT));
    check_op(|g, x| g.depthwise("dw5_same", x, 5, 2, same, INIT));
    check_op(|g, x| g.conv_transpose2x2("up", x, 3, INIT));
    check_op(|g, x| {
        let x = g.global_avg_pool("pool", x);
        g.linear("linear", x, 3, INIT)
    });
}

#[test]
fn norms_with_running_statistics_pass_the_gradient() {
    use Activation::{Relu, Relu6, Sigmoid, Silu};
    check_op(|g, x| g.batch_norm("bn", x, 1e-3, 0.1));
    for kind in [Relu, Relu6, Sigmoid, Silu] {
        check_op(|g, x| {
            let x = g.batch_norm("bn", x, 1e-3, 0.1);
            g.activation("fused", x, kind)
        });
        check_op(|g, x| g.activation("alone", x, kind));
    }
    // The norm's input has another reader, whose gradient is added.
    check_op(|g, x| {
        let y = g.batch_norm("bn", x, 1e-3, 0.1);
        let y = g.activation("act", y, Silu);
        g.add("residual", x, y)
    });
}

#[test]
fn other_operations_pass_the_gradient() {
    check_op(|g, x| {
        let s = gates(g, x, 2);
        g.scale_channels("scale", x, s)
    });
    check_op(|g, x| g.max_pool("max", x, 2, 2, Padding::Symmetric(0)));
    check_op(|g, x| g.max_pool("max3", x, 3, 2, Padding::Symmetric(1)));
    check_op(|g, x| g.upsample2x("nearest", x, Interpolation::Nearest));
    check_op(|g, x| g.upsample2x("bilinear", x, Interpolation::Bilinear));
    check_op(|g, x| g.crop("crop", x, 1));
    check_op(|g, x| {
        let y = g.activation("act", x, Activation::Silu);
        g.mean("mean", &[x, y, x])
    });
    check_op(|g, x| {
        let map = g.conv("map", x, 3, 1, 1, Padding::Symmetric(0), true, INIT);
        g.region_pool("region", x, map)
    });
    check_op(|g, x| {
        let features = g.max_pool("max", x, 2, 2, Padding::Symmetric(0));
        let map = g.conv("map", x, 3, 1, 1, Padding::Symmetric(0), true, INIT);
        g.region_pool("coarse_region", features, map)
    });
}

/// Dropout and drop path are the identity, with the gradient of one.
#[test]
fn what_is_random_in_training_passes_the_gradient_unchanged() {
    check_op(|g, x| g.dropout("dropout", x, 0.5));
    check_op(|g, x| {
        let y = g.drop_path("drop_path", x, 0.9);
        g.add("residual", x, y)
    });
}

/// A convolution that reads the parts of a concatenation, one of them upsampled, in place.
fn joined() -> Graph {
    single(|g, x| {
        let (same, half) = (Padding::Symmetric(1), Padding::Symmetric(1));
        let skip = g.conv("skip", x, 6, 3, 1, same, true, INIT);
        let skip = g.activation("skip_act", skip, Activation::Silu);
        let deep = g.conv("deep", skip, 8, 3, 2, half, true, INIT);
        let up = g.upsample2x("up", deep, Interpolation::Nearest);
        let y = g.concat("concat", &[up, skip, x]);
        g.conv("decoder", y, 4, 3, 1, same, true, INIT)
    })
}

#[test]
fn values_read_in_place_pass_the_gradient() {
    let shape = Nhwc {
        n: 2,
        h: 6,
        w: 8,
        c: 4,
    };
    check_image_gradient(joined(), shape);
}

/// Requesting a value's gradient changes what is fused and what is read in place, but no gradient.
#[test]
fn gradients_do_not_depend_on_what_else_is_requested() {
    let network = network(joined());
    let shape = Nhwc {
        n: 2,
        h: 6,
        w: 8,
        c: 4,
    };
    let data = normal(shape.len(), 3);
    let x = Images { data: &data, shape };
    let weights = normal(shape.len(), 4);
    let ids: Vec<NodeId> = network.graph().ids().collect();
    let of = OutputGradient {
        of: network.output("y").unwrap(),
        gradient: &weights,
    };
    let all = network.sensitivities(x, of, &ids).unwrap();
    assert_eq!(all.output, network.infer(x, &["y"]).unwrap()[0]);
    for (id, all) in ids.iter().zip(&all.at) {
        let name = &network.graph().node(*id).name;
        close(
            name,
            &gradient(&network, x, "y", &weights, *id),
            &all.gradient,
        );
    }
    assert_eq!(all.at[0].value.data, data);
    assert_eq!(all.at.last().unwrap().gradient, weights);
}

/// A bias is added to the value of its convolution: its derivative is the sum of the value's gradient.
#[test]
fn gradients_of_inner_values_agree_with_those_of_biases() {
    let graph = joined();
    let mut network = network(graph.clone());
    let shape = Nhwc {
        n: 1,
        h: 6,
        w: 8,
        c: 4,
    };
    let (data, weights) = (normal(shape.len(), 3), normal(shape.len(), 4));
    let x = Images { data: &data, shape };
    let store = network.store();
    for id in graph.ids().filter(|id| graph.node(*id).params.len() == 2) {
        let (bias, c) = (graph.node(id).params[1], graph.node(id).channels);
        let found = gradient(&network, x, "y", &weights, id);
        for channel in 0..c {
            let sum: f32 = found.iter().skip(channel).step_by(c).sum();
            let mut at = |delta: f32| {
                let mut moved = store.clone();
                moved.get_mut(bias)[channel] += delta;
                network.set_store(moved);
                score(&network, x, "y", &weights)
            };
            let numeric = (at(5e-3) - at(-5e-3)) / 1e-2;
            let scale = 1.0 + f64::from(sum.abs());
            assert!(
                (numeric - f64::from(sum)).abs() < 1e-2 * scale,
                "{}[{channel}]: {numeric} against {sum}",
                graph.node(id).name
            );
        }
        network.set_store(store.clone());
    }
}

fn close(what: &str, a: &[f32], b: &[f32]) {
    let scale = b.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-5 * scale, "{what}: {a} against {b}");
    }
}

#[test]
fn values_that_the_output_does_not_depend_on_have_gradient_zero() {
    let mut g = GraphBuilder::new(2);
    let (x, none) = (g.input(), Padding::Symmetric(0));
    let used = g.conv("used", x, 3, 1, 1, none, true, INIT);
    let side = g.conv("side", x, 3, 1, 1, none, true, INIT);
    g.publish("y", used);
    g.publish("side", side);
    let network = network(g.finish(1).unwrap());
    let shape = Nhwc {
        n: 1,
        h: 2,
        w: 2,
        c: 2,
    };
    let data = normal(shape.len(), 1);
    let x = Images { data: &data, shape };
    assert_eq!(gradient(&network, x, "y", &[1.0; 12], side), [0.0; 12]);
    assert_eq!(gradient(&network, x, "y", &[1.0; 12], used), [1.0; 12]);
}

#[test]
fn weights_running_statistics_and_training_stay_as_they_are() {
    let spec = registry_spec("efficientnet_b0", "unet", "region");
    let network = Network::new(build(&spec).unwrap(), 3);
    let shape = Nhwc {
        n: 2,
        h: 32,
        w: 32,
        c: 3,
    };
    let data = normal(shape.len(), 5);
    let x = Images { data: &data, shape };
    let (before, inferred) = (network.store(), network.infer(x, &["logits"]).unwrap());
    let first = gradient(&network, x, "logits", &[1.0; 4], NodeId::INPUT);
    network.infer(x, &["map"]).unwrap();
    let again = gradient(&network, x, "logits", &[1.0; 4], NodeId::INPUT);
    assert_eq!(first, again);
    let after = network.store();
    assert_eq!(before.version(), after.version());
    for group in Group::ALL {
        assert_eq!(before.group(group), after.group(group));
    }
    assert_eq!(network.infer(x, &["logits"]).unwrap(), inferred);
    network.forward(x, 0, Heads::Logits).unwrap();
    let moved = gradient(&network, x, "logits", &[1.0; 4], NodeId::INPUT);
    assert_ne!(moved, first); // the running statistics are read anew
}

#[test]
fn precision_of_the_products_does_not_affect_sensitivities() {
    let graph = build(&registry_spec("efficientnet_lite0", "unet", "cam")).unwrap();
    let shape = Nhwc {
        n: 1,
        h: 32,
        w: 32,
        c: 3,
    };
    let data = normal(shape.len(), 5);
    let x = Images { data: &data, shape };
    let run = |network: Network| gradient(&network, x, "logits", &[1.0, 0.0], NodeId::INPUT);
    let wide = run(Network::new(graph.clone(), 3));
    let narrow = run(Network::new(graph, 3).with_precision(Precision::Bf16));
    assert_eq!(wide, narrow);
}

#[test]
fn wrong_gradients_and_unknown_outputs_are_errors() {
    let network = network(joined());
    let data = [0.0; 16];
    let shape = Nhwc {
        n: 1,
        h: 2,
        w: 2,
        c: 4,
    };
    let x = Images { data: &data, shape };
    let of = OutputGradient {
        of: network.output("y").unwrap(),
        gradient: &[1.0; 3],
    };
    let refused = network.sensitivities(x, of, &[]).unwrap_err();
    assert!(matches!(
        refused,
        NetworkError::Engine(EngineError::OutputGradient {
            len: 3,
            expected: 16
        })
    ));
    let unknown = network.output("z").unwrap_err().to_string();
    assert_eq!(unknown, "the network has no output `z`; it has: y");
}

#[test]
fn a_device_without_sensitivities_says_that_they_run_on_the_cpu() {
    let graph = Arc::new(joined());
    let driver = Box::new(Dry::default());
    let engine = CudaEngine::with_driver(graph.clone(), Precision::F32, driver);
    let network = network(joined()).with_engine(Box::new(engine));
    let data = [0.0; 16];
    let shape = Nhwc {
        n: 1,
        h: 2,
        w: 2,
        c: 4,
    };
    let of = OutputGradient {
        of: network.output("y").unwrap(),
        gradient: &data,
    };
    let images = Images { data: &data, shape };
    let refused = network.sensitivities(images, of, &[]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "attributions are computed on the CPU only, and this network runs on cuda: load it with device = \"cpu\""
    );
}

fn registry_spec(encoder: &str, decoder: &str, head: &str) -> ModelSpec {
    ModelSpec {
        encoder: Some(encoder.into()),
        decoder: Some(decoder.into()),
        head: head.into(),
        ..ModelSpec::default()
    }
}

/// Every encoder alone, every decoder and head with one encoder of each kind, and every whole network, narrow
/// where it can be.
fn registry() -> Vec<ModelSpec> {
    let scored = || heads().iter().filter(|head| head.scores);
    let mut specs: Vec<ModelSpec> = encoders()
        .iter()
        .map(|encoder| registry_spec(encoder.name, "none", "bottleneck"))
        .collect();
    for encoder in ["efficientnet_b0", "tf_efficientnet_lite0"] {
        for decoder in decoders() {
            let fits = |needs_map: bool| !needs_map || decoder.name != "none";
            let heads = scored().filter(|head| fits(head.needs_map));
            specs.extend(heads.map(|head| registry_spec(encoder, decoder.name, head.name)));
        }
    }
    for architecture in architectures().iter().skip(1) {
        for head in scored() {
            let narrow = architecture.keys.contains(&"base_channels");
            specs.push(ModelSpec {
                architecture: architecture.name.into(),
                head: head.name.into(),
                base_channels: narrow.then_some(8),
                ..ModelSpec::default()
            });
        }
    }
    specs
}

/// A network whose running statistics are those of four images, so that signals neither vanish nor explode. The
/// deepest features are so few numbers that a variance may be nearly 0, hence the large epsilon.
fn settled(mut graph: Graph, images: Images<'_>) -> Network {
    for node in &mut graph.nodes {
        if let Op::BatchNorm { eps, momentum } = &mut node.op {
            (*eps, *momentum) = (0.1, 1.0);
        }
    }
    let network = Network::new(graph, 1);
    network.forward(images, 0, Heads::Logits).unwrap();
    network
}

#[test]
fn every_network_of_the_registry_has_the_gradient_of_its_image() {
    let mut checked = 0;
    for spec in registry() {
        let Ok(graph) = build(&spec) else {
            continue; // a head that the architecture does not take
        };
        check_along_gradient(&spec.label(), graph);
        checked += 1;
    }
    assert!(checked >= 26 + 14 + 12, "{checked}");
}

/// Moves the image along its gradient `g`: the score then rises by `|g|` per unit. The step must be so small that the
/// network is nearly linear and so large that the difference is not lost to rounding, and both limits depend on the
/// network: one of several steps must agree.
fn check_along_gradient(label: &str, graph: Graph) {
    let side = graph.smallest_size.max(64);
    let shape = Nhwc {
        n: 4,
        h: side,
        w: side,
        c: 3,
    };
    let mut data = normal(shape.len(), 11);
    let network = settled(graph, Images { data: &data, shape });
    let shape = Nhwc { n: 1, ..shape };
    data.truncate(shape.len()); // the first of these images
    let weights = [1.0, -0.5];
    let x = Images { data: &data, shape };
    let found = gradient(&network, x, "logits", &weights, NodeId::INPUT);
    assert!(found.iter().all(|g| g.is_finite()), "{label}");
    let norm = found
        .iter()
        .map(|g| f64::from(*g).powi(2))
        .sum::<f64>()
        .sqrt();
    assert!(norm > 0.0, "{label}: no gradient");
    let at = |step: f64| {
        let pairs = data.iter().zip(&found);
        let moved = pairs.map(|(x, g)| (f64::from(*x) + step * f64::from(*g) / norm) as f32);
        let data: Vec<f32> = moved.collect();
        score(&network, Images { data: &data, shape }, "logits", &weights)
    };
    let errors = [1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5]
        .map(|h| ((at(h) - at(-h)) / (2.0 * h * norm) - 1.0).abs());
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    println!("{label}: |g| = {norm:.3e}, off by {best:.1e}");
    assert!(best < 2e-2, "{label}: {errors:?}");
}
