//! Inference on maps of 8-bit codes and of bf16 beside inference in f32.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not recognize its helpers"
)]

use kernels::{Activation, Nhwc, Padding};
use model::build::{ModelSpec, architectures, build, encoders, heads};
use model::calibration::Calibration;
use model::engine::{Images, Precision, Value};
use model::graph::{Graph, GraphBuilder, Init, Interpolation};
use model::network::Network;
use model::quantization::Ranges;
use random::Rng;

const SIZE: usize = 64;

fn images(n: usize, channels: usize, seed: u64) -> (Vec<f32>, Nhwc) {
    let shape = Nhwc {
        n,
        h: SIZE,
        w: SIZE,
        c: channels,
    };
    let mut rng = Rng::stream(seed, 3);
    ((0..shape.len()).map(|_| rng.normal_f32()).collect(), shape)
}

/// Ranges from four images.
fn ranges(network: &Network) -> Ranges {
    let graph = network.graph();
    let mut calibration = Calibration::new(graph, SIZE, SIZE).unwrap();
    for seed in 0..2 {
        let (data, shape) = images(2, graph.in_channels(), seed);
        let images = Images { data: &data, shape };
        calibration.observe(network, images).unwrap();
    }
    calibration.ranges(graph)
}

/// Scores and map, as far as the network has them, of images that the ranges were not determined on.
fn outputs(network: &Network, n: usize) -> Vec<Value> {
    let (data, shape) = images(n, network.graph().in_channels(), 9);
    let names: Vec<&str> = ["logits", "map"]
        .into_iter()
        .filter(|name| network.graph().output(name).is_some())
        .collect();
    let images = Images { data: &data, shape };
    network.infer(images, &names).unwrap()
}

/// Root mean square of the difference over that of the deviations from the mean.
fn difference(a: &Value, b: &Value) -> f64 {
    let mean = a.data.iter().map(|x| f64::from(*x)).sum::<f64>() / a.data.len() as f64;
    let squares = |each: &mut dyn Iterator<Item = f64>| each.map(|x| x * x).sum::<f64>();
    let power = squares(&mut a.data.iter().map(|x| f64::from(*x) - mean));
    let pairs = a.data.iter().zip(&b.data);
    let error = squares(&mut pairs.map(|(x, y)| f64::from(*x) - f64::from(*y)));
    (error / power).sqrt()
}

fn bf16(graph: Graph) -> Network {
    Network::new(graph, 1).with_precision(Precision::Bf16)
}

/// Compares the map, or the scores where there is none, which must differ, but by no more than the limits for codes and
/// for bf16.
fn compare(name: &str, graph: Graph, [codes, rounded]: [f64; 2]) {
    let network = Network::new(graph.clone(), 1);
    let ranges = ranges(&network);
    assert!(!ranges.is_empty() && ranges.check(network.graph()).is_ok());
    let plain = outputs(&network, 2).pop().unwrap();
    let differs = |stored: &Network, limit: f64| {
        let found = difference(&plain, &outputs(stored, 2).pop().unwrap());
        assert!(0.0 < found && found <= limit, "{name}: {found}");
    };
    differs(&network.quantized(&ranges), codes);
    differs(&bf16(graph), rounded);
}

/// Two encoders of each family; the others are the same blocks. Weights are random, and a deep network of ReLU6 enlarges
/// any error.
#[test]
fn every_family_of_encoders_gives_nearly_the_same_map() {
    let names = encoders().iter().map(|encoder| encoder.name);
    for name in names.filter(|name| name.ends_with(['0', '1'])) {
        let spec = ModelSpec {
            encoder: Some(name.into()),
            decoder: Some("unetpp".into()),
            ..ModelSpec::default()
        };
        let limit = if name.contains("lite") { 0.4 } else { 0.1 };
        compare(name, build(&spec).unwrap(), [limit, 0.08]);
    }
}

#[test]
fn every_architecture_gives_nearly_the_same_map() {
    for architecture in architectures().iter().skip(1) {
        let with = |head: &str| ModelSpec {
            architecture: architecture.name.into(),
            head: head.into(),
            encoder: None,
            decoder: None,
            ..ModelSpec::default()
        };
        let built = heads().iter().find_map(|head| build(&with(head.name)).ok());
        let graph = built.unwrap();
        // One of them takes other sizes only.
        if graph.shapes(SIZE, SIZE).is_ok() {
            compare(architecture.name, graph, [0.4, 0.06]);
        }
    }
}

/// Every operation that reads or writes codes, and some that need them widened.
fn every_operation() -> Graph {
    let mut g = GraphBuilder::new(2);
    let init = Init::Normal(0.4);
    let x = g.conv("stem", g.input(), 6, 3, 1, Padding::Same, true, init);
    let x = g.batch_norm("stem_bn", x, 1e-3, 0.1);
    let x = g.activation("stem_act", x, Activation::Silu);
    let pooled = g.max_pool("pool", x, 2, 2, Padding::Symmetric(0));
    let y = g.depthwise("dw", pooled, 5, 1, Padding::Symmetric(2), init);
    let y = g.batch_norm("dw_bn", y, 1e-5, 0.1);
    let s = g.global_avg_pool("se.pool", y);
    let s = g.conv("se.expand", s, 6, 1, 1, Padding::Symmetric(0), true, init);
    let s = g.activation("se.gate", s, Activation::Sigmoid);
    let y = g.scale_channels("se.scale", y, s);
    let y = g.conv("project", y, 6, 1, 1, Padding::Symmetric(0), true, init);
    let y = g.add("residual", pooled, y);
    let near = g.upsample2x("near", y, Interpolation::Nearest);
    let smooth = g.upsample2x("smooth", y, Interpolation::Bilinear);
    let up = g.conv_transpose2x2("up", y, 3, init);
    let y = g.concat("concat", &[near, x, smooth, up]);
    let y = g.conv("deep", y, 5, 3, 1, Padding::Symmetric(1), true, init);
    let y = g.activation("deep_act", y, Activation::Relu);
    let map = g.conv("map", y, 3, 3, 1, Padding::Symmetric(1), true, init);
    g.publish("map", map);
    let y = g.global_avg_pool("gap", map);
    let y = g.linear("head", y, 2, Init::Normal(2.0));
    g.publish("logits", y);
    g.finish(2).unwrap()
}

#[test]
fn every_operation_reads_and_writes_codes_and_bf16() {
    compare("every operation", every_operation(), [0.025, 0.01]);
    // Codes of the images, which are noise here, add to the difference; those of the maps alone make up less.
    let network = Network::new(every_operation(), 1);
    let plain = outputs(&network, 2).pop().unwrap();
    let mut ranges = serde_json::to_value(ranges(&network)).unwrap();
    let image = ranges.as_object_mut().unwrap().remove("input");
    assert!(image.is_some());
    let ranges = serde_json::from_value(ranges).unwrap();
    let maps = outputs(&network.quantized(&ranges), 2).pop().unwrap();
    let found = difference(&plain, &maps);
    assert!(0.0 < found && found <= 0.02, "{found}");
}

#[test]
fn without_ranges_the_outputs_are_those_of_f32() {
    let plain = outputs(&Network::new(every_operation(), 1), 2);
    let network = Network::new(every_operation(), 1).quantized(&Ranges::default());
    assert_eq!(outputs(&network, 2), plain);
}

#[test]
fn an_image_has_the_same_outputs_in_any_batch_and_with_any_number_of_threads() {
    let network = Network::new(every_operation(), 1);
    let ranges = ranges(&network);
    for network in [network.quantized(&ranges), bf16(every_operation())] {
        let three = outputs(&network, 3);
        let one = outputs(&network, 1);
        for (one, three) in one.iter().zip(&three) {
            assert_eq!(one.data, three.data[..one.data.len()]);
        }
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1);
        let alone = alone.build().unwrap().install(|| outputs(&network, 3));
        assert_eq!(alone, three);
    }
}

/// A map that is asked for is what it is stored as.
#[test]
fn maps_that_are_copied_out_are_bf16_numbers() {
    let mut g = GraphBuilder::new(3);
    let x = g.conv(
        "first",
        g.input(),
        8,
        3,
        1,
        Padding::Same,
        true,
        Init::Normal(0.4),
    );
    g.publish("features", x);
    let x = g.conv("second", x, 8, 3, 1, Padding::Same, true, Init::Normal(0.4));
    let x = g.global_avg_pool("gap", x);
    g.publish("logits", x);
    let network = bf16(g.finish(8).unwrap());
    let (data, shape) = images(1, 3, 9);
    let images = Images { data: &data, shape };
    let values = network.infer(images, &["features", "logits"]).unwrap();
    let rounded = |value: &Value| value.data.iter().all(|x| x.to_bits() & 0xFFFF == 0);
    assert!(rounded(&values[0]) && !rounded(&values[1]));
}

#[test]
fn ranges_of_another_network_or_without_zero_are_refused() {
    let graph = every_operation();
    let check = |json: &str| {
        let ranges: Ranges = serde_json::from_str(json).unwrap();
        ranges.check(&graph).unwrap_err()
    };
    assert_eq!(check(r#"{"nowhere":[0,1]}"#).0, "nowhere");
    assert!(check(r#"{"residual":[1,2]}"#).1.contains("zero"));
    assert!(check(r#"{"residual":[0,0]}"#).1.contains("empty"));
}
