//! Tests that every architecture of the registry builds, that shapes and parameter counts are those of timm and
//! segmentation_models.pytorch, and that a representative of each family trains.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixtures_common;

use fixtures_common::{Adam, Batch, gradients, l2, named, step};
use kernels::{Nhwc, Padding};
use model::build::{
    BuildError, ModelSpec, architectures, build, decoders, encoders, find_encoder, heads,
};
use model::graph::{Graph, Hwc, Init, Op};
use model::network::Network;
use random::Rng;

fn spec(encoder: &str, decoder: &str, head: &str) -> ModelSpec {
    ModelSpec {
        encoder: Some(encoder.into()),
        decoder: Some(decoder.into()),
        head: head.into(),
        ..ModelSpec::default()
    }
}

fn graph(encoder: &str, decoder: &str, head: &str) -> Graph {
    build(&spec(encoder, decoder, head))
        .unwrap_or_else(|e| panic!("{encoder} {decoder} {head}: {e}"))
}

#[test]
fn every_combination_builds_with_the_right_shapes() {
    for encoder in encoders() {
        for decoder in decoders() {
            for head in heads()
                .iter()
                .filter(|h| !h.needs_map || decoder.name != "none")
            {
                let graph = graph(encoder.name, decoder.name, head.name);
                let outputs = (decoder.name != "none", head.scores);
                check_shapes(&graph, 64, 64, outputs);
                check_shapes(&graph, 96, 160, outputs);
            }
        }
    }
}

fn check_shapes(graph: &Graph, h: usize, w: usize, (has_map, has_scores): (bool, bool)) {
    let shapes = graph.shapes(h, w).unwrap();
    let shape = |name: &str| graph.output(name).map(|id| shapes[id.index()]);
    for i in 1..=5 {
        let feature = shape(&format!("features.{i}")).unwrap();
        assert_eq!((feature.h, feature.w), (h >> i, w >> i));
    }
    let map = has_map.then_some(Hwc { h, w, c: 2 });
    assert_eq!(shape("map"), map);
    assert_eq!(shape("decoder"), map.map(|m| Hwc { c: 16, ..m }));
    let scores = has_scores.then_some(Hwc { h: 1, w: 1, c: 2 });
    assert_eq!(shape("logits"), scores);
    assert!(
        graph
            .shapes(h + 8, w)
            .unwrap_err()
            .to_string()
            .contains("multiples of 32")
    );
}

/// timm 1.0: `create_model(name)` and `create_model(name, features_only=True)`; channels of the five features.
const ENCODERS: [(&str, usize, usize, [usize; 5]); 13] = [
    (
        "efficientnet_b0",
        5_288_548,
        3_595_388,
        [16, 24, 40, 112, 320],
    ),
    (
        "efficientnet_b1",
        7_794_184,
        6_101_024,
        [16, 24, 40, 112, 320],
    ),
    (
        "efficientnet_b2",
        9_109_994,
        7_202_562,
        [16, 24, 48, 120, 352],
    ),
    (
        "efficientnet_b3",
        12_233_232,
        10_103_336,
        [24, 32, 48, 136, 384],
    ),
    (
        "efficientnet_b4",
        19_341_616,
        16_742_216,
        [24, 32, 56, 160, 448],
    ),
    (
        "efficientnet_b5",
        30_389_784,
        27_288_112,
        [24, 40, 64, 176, 512],
    ),
    (
        "efficientnet_b6",
        43_040_704,
        39_403_992,
        [32, 40, 72, 200, 576],
    ),
    (
        "efficientnet_b7",
        66_347_960,
        62_143_440,
        [32, 48, 80, 224, 640],
    ),
    (
        "efficientnet_lite0",
        4_652_008,
        2_958_848,
        [16, 24, 40, 112, 320],
    ),
    (
        "efficientnet_lite1",
        5_416_680,
        3_723_520,
        [16, 24, 40, 112, 320],
    ),
    (
        "efficientnet_lite2",
        6_092_072,
        4_357_952,
        [16, 24, 48, 120, 352],
    ),
    (
        "efficientnet_lite3",
        8_197_096,
        6_422_016,
        [24, 32, 48, 136, 384],
    ),
    (
        "efficientnet_lite4",
        13_006_568,
        11_149_568,
        [24, 32, 56, 160, 448],
    ),
];

#[test]
fn encoder_parameter_counts_match_timm() {
    assert_eq!(encoders().len(), 2 * ENCODERS.len());
    for (name, full, features, channels) in ENCODERS {
        for name in [name.to_string(), format!("tf_{name}")] {
            let graph = graph(&name, "none", "bottleneck");
            let found = [1, 2, 3, 4, 5].map(|i| {
                graph
                    .node(graph.output(&format!("features.{i}")).unwrap())
                    .channels
            });
            assert_eq!(found, channels, "{name}");
            let head = 2 * channels[4] + 2;
            assert_eq!(graph.parameter_count() - head, features, "{name}");
            assert_eq!(features + imagenet_head(&name, channels[4]), full, "{name}");
        }
    }
}

/// Parameters of timm's layers after the last stage: a 1x1 convolution to 4 times its channels (Lite: unscaled, 1280),
/// batch norm, 1000 classes.
fn imagenet_head(name: &str, channels: usize) -> usize {
    let wide = if name.contains("lite") {
        1280
    } else {
        4 * channels
    };
    channels * wide + 2 * wide + 1000 * (wide + 1)
}

#[test]
fn model_parameter_counts_match_smp() {
    // smp 0.6: Unet and UnetPlusPlus("tu-" + name, classes=2); the class-activation head adds 2·2 + 2.
    let check = |encoder: &str, unet: usize, unetpp: usize| {
        for name in [encoder.to_string(), format!("tf_{encoder}")] {
            assert_eq!(
                graph(&name, "unet", "cam").parameter_count(),
                unet + 6,
                "{name}"
            );
            assert_eq!(
                graph(&name, "unetpp", "cam").parameter_count(),
                unetpp + 6,
                "{name}"
            );
        }
    };
    check("efficientnet_b0", 5_834_846, 6_066_366);
    check("efficientnet_b1", 8_340_482, 8_572_002);
    check("efficientnet_lite0", 5_198_306, 5_429_826);
    check("efficientnet_lite1", 5_962_978, 6_194_498);
}

#[test]
fn names_and_numbers_are_checked() {
    let d = ModelSpec::default();
    let check = |spec: ModelSpec, expected: &str| {
        let text = build(&spec).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    check(
        spec("efficientnet-b1", "unet", "cam"),
        "model.encoder = \"efficientnet-b1\" is not known; did you mean \"efficientnet_b1\"?",
    );
    check(
        spec("tf_eficientnet_lite1", "unet", "cam"),
        "did you mean \"tf_efficientnet_lite1\"?",
    );
    check(
        spec("efficientnet_b1", "UNet++", "cam"),
        "did you mean \"unet",
    );
    check(
        spec("efficientnet_b1", "unetp", "cam"),
        "known: unet, unetpp, none",
    );
    check(
        spec("efficientnet_b1", "unet", "botleneck"),
        "model.head = \"botleneck\" is not known; did you mean \"bottleneck\"?",
    );
    check(
        spec("efficientnet_b1", "none", "cam"),
        "use head = \"bottleneck\" or a decoder",
    );
    check(
        ModelSpec {
            classes: 1,
            ..d.clone()
        },
        "model.classes = 1 is out of range",
    );
    check(
        ModelSpec {
            in_channels: 0,
            ..d.clone()
        },
        "model.in_channels = 0",
    );
    check(
        ModelSpec {
            drop_path: f32::NAN,
            ..d.clone()
        },
        "model.drop_path = NaN",
    );
    check(
        ModelSpec {
            dropout: 1.0,
            head: "bottleneck".into(),
            ..d.clone()
        },
        "model.dropout = 1 is out of range",
    );
    check(
        ModelSpec { dropout: 0.2, ..d },
        "set it to 0, use drop_path",
    );
    assert!(matches!(
        find_encoder("zzz"),
        Err(BuildError::Unknown { nearest: None, .. })
    ));
    assert!(serde_json::from_str::<ModelSpec>(r#"{"encodr": "x"}"#).is_err());
    assert_eq!(
        serde_json::from_str::<ModelSpec>("{}").unwrap(),
        ModelSpec::default()
    );
}

#[test]
fn recommended_sizes_suit_the_decoder() {
    assert!(
        encoders()
            .iter()
            .all(|e| e.recommended_size().is_multiple_of(32))
    );
    assert_eq!(
        find_encoder("efficientnet_b1").unwrap().recommended_size(),
        224
    );
    assert_eq!(
        find_encoder("tf_efficientnet_b3")
            .unwrap()
            .recommended_size(),
        288
    );
}

#[test]
fn drop_path_rates_match_timm() {
    let graph = build(&ModelSpec {
        drop_path: 0.2,
        ..ModelSpec::default()
    })
    .unwrap();
    let rates: Vec<(&str, f32)> = graph
        .nodes
        .iter()
        .filter_map(|n| {
            if let Op::DropPath { rate } = n.op {
                Some((n.name.as_str(), rate))
            } else {
                None
            }
        })
        .collect();
    // 23 blocks, 16 of them residual; timm: rate · index / 23.
    assert_eq!(rates.len(), 16);
    assert_eq!(rates[0], ("encoder.blocks.0.1.drop_path", 0.2 * 1.0 / 23.0));
    assert_eq!(
        rates[15],
        ("encoder.blocks.6.1.drop_path", 0.2 * 22.0 / 23.0)
    );
}

#[test]
fn padding_follows_the_family() {
    let strided = |encoder: &str| {
        let windows = graph(encoder, "none", "bottleneck")
            .nodes
            .into_iter()
            .filter_map(|n| match n.op {
                Op::Conv2d { window, .. } | Op::Depthwise { window } if window.stride == 2 => {
                    Some(window.padding)
                }
                _ => None,
            });
        windows.collect::<Vec<_>>()
    };
    assert_eq!(strided("tf_efficientnet_b0"), [Padding::Same; 5]);
    assert_eq!(
        strided("efficientnet_b0"),
        [1, 1, 2, 1, 2].map(Padding::Symmetric)
    );
}

#[test]
fn initialization_matches_timm_and_smp() {
    let graph = graph("efficientnet_b1", "unetpp", "cam");
    let check = |name: &str, expected: Init| {
        let found = graph.params.iter().find(|p| p.name == name).unwrap().init;
        let same = match (found, expected) {
            (Init::Constant(a), Init::Constant(b))
            | (Init::Normal(a), Init::Normal(b))
            | (Init::Uniform(a), Init::Uniform(b)) => (a - b).abs() < 1e-6,
            _ => false,
        };
        assert!(same, "{name}: {found:?}, expected {expected:?}");
    };
    check("encoder.conv_stem.weight", Init::Normal(0.083_333_33)); // √(2 / (9·32))
    check(
        "encoder.blocks.2.0.conv_dw.weight",
        Init::Normal(0.282_842_7),
    ); // √(2 / 25)
    check(
        "encoder.blocks.1.0.se.conv_reduce.weight",
        Init::Normal(0.5f32.sqrt()),
    ); // √(2 / 4)
    check(
        "encoder.blocks.1.0.se.conv_reduce.bias",
        Init::Constant(0.0),
    );
    check(
        "decoder.blocks.x_0_0.conv1.0.weight",
        Init::Uniform(0.039_283_71),
    ); // √(6 / (9·432))
    check("segmentation_head.0.weight", Init::Uniform(0.192_450_1)); // √(6 / (9·18))
    check(
        "decoder.blocks.x_0_0.conv1.1.running_var",
        Init::Constant(1.0),
    );
}

/// Runs a few steps on four fixed images: no NaN, every trainable parameter has a gradient, the loss decreases.
fn check_training(encoder: &str, decoder: &str, head: &str) {
    check_spec_trains(&spec(encoder, decoder, head), 64, 2e-3);
}

fn check_spec_trains(spec: &ModelSpec, side: usize, lr: f64) {
    let spec = ModelSpec {
        in_channels: 1,
        ..spec.clone()
    };
    let name = spec.label();
    let mut network = Network::new(build(&spec).unwrap(), 3);
    let batch = coarse_and_fine(side);
    let mut adam = Adam::new(lr, 1e-8);
    let mut losses = vec![];
    for i in 0..6 {
        let step = step(&network, &batch);
        losses.push(step.loss);
        if i == 0 {
            let grads = gradients(&network);
            for (id, param) in
                named(network.graph()).filter(|(id, _)| network.graph().param(*id).role.trainable())
            {
                let norm = l2(grads.get(id));
                assert!(
                    norm.is_finite() && norm > 0.0,
                    "{name}: gradient of {param} is {norm}"
                );
            }
        }
        adam.update(&mut network);
    }
    assert!(
        losses.iter().all(|l| l.is_finite()) && losses[5] < 0.9 * losses[0],
        "{name}: {losses:?}"
    );
}

/// Four images of noise in two classes, which differ in its coarseness.
fn coarse_and_fine(side: usize) -> Batch {
    let shape = Nhwc {
        n: 4,
        h: side,
        w: side,
        c: 1,
    };
    let mut rng = Rng::stream(1, 1);
    let noise: Vec<f32> = (0..shape.len()).map(|_| rng.normal_f32()).collect();
    let area = side * side;
    let value = |i: usize| {
        let (image, row, column) = (i / area, i % area / side, i % side);
        match image % 2 {
            0 => noise[i],
            _ => noise[image * area + row / 8 * 8 + column / 8],
        }
    };
    Batch {
        data: (0..shape.len()).map(value).collect(),
        shape,
        targets: vec![0, 1, 0, 1],
    }
}

#[test]
fn efficientnet_trains() {
    check_training("efficientnet_b0", "unetpp", "cam");
}

#[test]
fn tf_efficientnet_trains() {
    check_training("tf_efficientnet_b1", "unet", "cam");
}

#[test]
fn lite_trains() {
    check_training("efficientnet_lite1", "unet", "cam");
}

#[test]
fn tf_lite_trains() {
    check_training("tf_efficientnet_lite0", "unetpp", "cam");
}

#[test]
fn bottleneck_head_trains() {
    check_training("efficientnet_lite0", "none", "bottleneck");
}

/// The class loss alone reaches every parameter, the map's too.
#[test]
fn region_head_trains() {
    check_training("efficientnet_lite0", "unet", "region");
    let spec = ModelSpec {
        head: "region".into(),
        ..narrow("unetpp_2018")
    };
    check_spec_trains(&spec, 64, 1e-3);
}

/// A whole network with a head that it supports.
fn whole(architecture: &str) -> ModelSpec {
    let head = match architecture {
        "tpcuar_classifier" => "bottleneck",
        _ => "cam",
    };
    ModelSpec {
        architecture: architecture.into(),
        head: head.into(),
        ..ModelSpec::default()
    }
}

fn wholes() -> impl Iterator<Item = ModelSpec> {
    let rest = architectures().iter().skip(1);
    rest.map(|entry| whole(entry.name))
}

/// Side of the map for an image.
fn map_side(architecture: &str, side: usize) -> Option<usize> {
    match architecture {
        "tpcuar_classifier" => None,
        "unet_2015_valid" => Some(side - 184),
        _ => Some(side),
    }
}

#[test]
fn every_architecture_builds_with_the_right_shapes_and_every_head() {
    assert_eq!(architectures()[0].name, ModelSpec::default().architecture);
    for spec in wholes() {
        for head in heads() {
            let spec = ModelSpec {
                head: head.name.into(),
                classes: 3,
                ..spec.clone()
            };
            if map_side(&spec.architecture, 188).is_none() && head.needs_map {
                continue;
            }
            let graph = build(&spec).unwrap_or_else(|e| panic!("{}: {e}", spec.label()));
            let sizes = match spec.architecture.as_str() {
                "unet_2015_valid" => [(188, 188), (220, 572)],
                _ => [(64, 64), (96, 160)],
            };
            for size in sizes {
                check_whole_shapes(&spec, &graph, size, head.scores);
            }
        }
    }
}

fn check_whole_shapes(spec: &ModelSpec, graph: &Graph, (h, w): (usize, usize), scores: bool) {
    let shapes = graph.shapes(h, w).unwrap();
    let shape = |name: &str| graph.output(name).map(|id| shapes[id.index()]);
    let label = spec.label();
    let scores = scores.then_some(Hwc { h: 1, w: 1, c: 3 });
    assert_eq!(shape("logits"), scores, "{label}");
    let side = |n| map_side(&spec.architecture, n);
    let map = side(h).zip(side(w)).map(|(h, w)| Hwc { h, w, c: 3 });
    assert_eq!(shape("map"), map, "{label}");
    let size = |s: Option<Hwc>| s.map(|s| (s.h, s.w));
    assert_eq!(size(shape("decoder")), size(map), "{label}");
    let maps = graph.outputs.iter().filter(|(n, _)| n.starts_with("map."));
    assert!(maps.into_iter().all(|(n, _)| shape(n) == map), "{label}");
    if spec.architecture == "unet_2015_valid" {
        return; // its features are smaller because of the missing padding
    }
    for (name, _) in &graph.outputs {
        if let Some(level) = name.strip_prefix("features.") {
            let level: u32 = level.parse().unwrap();
            assert_eq!(size(shape(name)), Some((h >> level, w >> level)), "{label}");
        }
    }
}

#[test]
fn map_classes_may_differ_from_image_classes() {
    for spec in std::iter::once(ModelSpec::default()).chain(wholes()) {
        let spec = ModelSpec {
            classes: 2,
            map_classes: Some(4),
            ..spec
        };
        let graph = build(&spec).unwrap_or_else(|e| panic!("{}: {e}", spec.label()));
        let channels = |name: &str| graph.output(name).map(|id| graph.node(id).channels);
        assert_eq!(channels("logits"), Some(2), "{}", spec.label());
        let map = map_side(&spec.architecture, 188).map(|_| 4);
        assert_eq!(channels("map"), map, "{}", spec.label());
    }
    let one = ModelSpec {
        map_classes: Some(1),
        ..ModelSpec::default()
    };
    assert_eq!(build(&one).unwrap_err().key(), Some("map_classes"));
}

/// Number of parameters without the class-activation head, which is not in the papers.
fn trunk_parameters(spec: &ModelSpec) -> usize {
    let head = match spec.head.as_str() {
        "cam" => spec.classes * (spec.classes + 1),
        _ => 0,
    };
    build(spec).unwrap().parameter_count() - head
}

#[test]
fn unet_2015_has_the_published_parameter_count() {
    for architecture in ["unet_2015", "unet_2015_valid"] {
        let grey = ModelSpec {
            in_channels: 1,
            ..whole(architecture)
        };
        assert_eq!(trunk_parameters(&grey), 31_030_658, "{architecture}");
        // At half the width it is the U-Net that U-Net++'s authors compare with: 7,759,521 with one class; here there
        // are two classes (32 more weights and one more bias).
        let half = ModelSpec {
            base_channels: Some(32),
            ..grey
        };
        assert_eq!(trunk_parameters(&half), 7_759_521 + 33, "{architecture}");
    }
}

#[test]
fn unpadded_unet_maps_572_to_388() {
    let graph = build(&whole("unet_2015_valid")).unwrap();
    let shapes = graph.shapes(572, 572).unwrap();
    let map = shapes[graph.output("map").unwrap().index()];
    assert_eq!((map.h, map.w), (388, 388));
    let text = graph.check_size(572, 576).unwrap_err().to_string();
    assert!(
        text.contains("188 plus a multiple of 16") && text.contains("572x572 and 572x588"),
        "{text}"
    );
    assert!(graph.check_size(172, 572).is_err());
}

#[test]
fn unetpp_2018_has_the_published_parameter_count() {
    // The authors' count is for one grey channel, one class, and the single head of a network without deep supervision.
    let spec = ModelSpec {
        in_channels: 1,
        pruning_level: Some(4),
        ..whole("unetpp_2018")
    };
    assert_eq!(trunk_parameters(&spec), 9_041_601 + 33);
    let accurate = ModelSpec {
        pruning_level: None,
        ..spec
    };
    assert_eq!(trunk_parameters(&accurate), 9_041_601 + 33 + 3 * 66);
}

#[test]
fn unetpp_2018_publishes_every_head_and_can_be_pruned_to_one() {
    let outputs = |level: Option<usize>| {
        let spec = ModelSpec {
            pruning_level: level,
            ..whole("unetpp_2018")
        };
        let graph = build(&spec).unwrap();
        let names: Vec<String> = graph.outputs.iter().map(|(n, _)| n.clone()).collect();
        (graph, names)
    };
    let (all, names) = outputs(None);
    assert_eq!(names[..5], ["map.1", "map.2", "map.3", "map.4", "map"]);
    assert_eq!(all.node(all.output("map").unwrap()).op, Op::Mean);
    let (graph, names) = outputs(Some(2));
    assert_eq!(names[..2], ["map.2", "map"]);
    assert_eq!(graph.output("map"), graph.output("map.2"));
    assert_eq!(graph.size_multiple, 4);
    // The remaining parameters have the same names and shapes as in the unpruned network, so that trained weights fit.
    for param in &graph.params {
        assert!(all.params.iter().any(|p| p == param), "{}", param.name);
    }
    assert!(graph.params.len() < all.params.len() / 2);
}

#[test]
fn eff_unet_keras_parameter_count_matches_keras() {
    let graph = build(&whole("eff_unet_keras")).unwrap();
    // Keras includes the moving means and variances in a model's parameter count ("non-trainable").
    let all: usize = graph.params.iter().map(|p| p.len()).sum();
    assert_eq!(all, 12_641_320);
    assert_eq!(graph.parameter_count(), 12_577_288);
    let channels = |name: &str| graph.node(graph.output(name).unwrap()).channels;
    let skips = [1, 2, 3, 4, 5].map(|i| channels(&format!("features.{i}")));
    assert_eq!(skips, [96, 144, 240, 672, 1280]);
    for node in &graph.nodes {
        if let Op::BatchNorm { eps, momentum } = node.op {
            assert_eq!((eps, momentum), (1e-3, 0.01), "{}", node.name);
        }
    }
}

#[test]
fn tpcuar_units_are_asymmetric() {
    let graph = build(&whole("tpcuar_segmenter")).unwrap();
    let kernel = |name: &str| {
        let node = graph.nodes.iter().find(|n| n.name == name).unwrap();
        match node.op {
            Op::Conv2d { window, bias, .. } => (window.kernel[0], bias),
            _ => panic!("{name} is not a convolution"),
        }
    };
    for (path, size) in [("a", 3), ("b", 5)] {
        assert_eq!(
            kernel(&format!("first.{path}.down.0.f1.conv")),
            (size, false)
        );
        assert_eq!(
            kernel(&format!("second.{path}.up.0.f2.conv")),
            (size, false)
        );
        assert_eq!(kernel(&format!("second.{path}.up.0.p.conv")), (1, false));
    }
    // The second pair takes the image's three channels and the two channels of the first pair's map.
    let seen = graph
        .nodes
        .iter()
        .find(|n| n.name == "cascade.cat")
        .unwrap();
    assert_eq!(seen.channels, 5);
    assert_eq!(graph.output("map"), graph.output("map.2"));
}

#[test]
fn keys_of_other_architectures_are_rejected_with_the_reason() {
    let check = |spec: ModelSpec, expected: &str| {
        let error = build(&spec).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(error.key().is_some());
    };
    let unet = || whole("unet_2015");
    check(
        whole("unet2015"),
        "model.architecture = \"unet2015\" is not known; did you mean \"unet_2015\"?",
    );
    check(
        ModelSpec {
            encoder: Some("efficientnet_b1".into()),
            ..unet()
        },
        "model.encoder: architecture = \"unet_2015\" is a whole network with encoder included",
    );
    check(
        ModelSpec {
            decoder: Some("unet".into()),
            ..whole("eff_unet_keras")
        },
        "model.decoder: architecture = \"eff_unet_keras\" is a whole network",
    );
    check(
        ModelSpec {
            drop_path: 0.2,
            ..unet()
        },
        "set drop_path to 0",
    );
    check(
        ModelSpec {
            pruning_level: Some(2),
            ..unet()
        },
        "use \"unetpp_2018\"",
    );
    check(
        ModelSpec {
            base_channels: Some(32),
            ..ModelSpec::default()
        },
        "leave base_channels out",
    );
    check(
        ModelSpec {
            base_channels: Some(0),
            ..unet()
        },
        "model.base_channels = 0 is out of range",
    );
    check(
        ModelSpec {
            pruning_level: Some(5),
            ..whole("unetpp_2018")
        },
        "from 1 to 4",
    );
    check(
        ModelSpec {
            head: "cam".into(),
            ..whole("tpcuar_classifier")
        },
        "model.head: this head needs a class map",
    );
    check(
        ModelSpec {
            head: "region".into(),
            ..whole("tpcuar_classifier")
        },
        "model.head: this head needs a class map",
    );
    check(
        ModelSpec {
            dropout: 0.5,
            ..whole("tpcuar_segmenter")
        },
        "no layer for dropout to act on",
    );
    assert!(
        build(&ModelSpec {
            dropout: 0.5,
            ..unet()
        })
        .is_ok()
    );
}

#[test]
fn specs_without_the_architecture_key_can_still_be_read() {
    let old = r#"{"encoder": "efficientnet_b0", "decoder": "unet", "head": "cam", "in_channels": 3,
                  "classes": 2, "drop_path": 0.0, "dropout": 0.0}"#;
    let read: ModelSpec = serde_json::from_str(old).unwrap();
    assert_eq!(read, spec("efficientnet_b0", "unet", "cam"));
    let mut graph = serde_json::to_value(graph("efficientnet_b0", "none", "bottleneck")).unwrap();
    graph.as_object_mut().unwrap().remove("smallest_size");
    let read: Graph = serde_json::from_value(graph).unwrap();
    assert!(read.check_size(64, 96).is_ok() && read.check_size(64, 90).is_err());
    // New ones survive a round trip through JSON.
    for spec in wholes() {
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&text).unwrap(), spec);
    }
}

/// A narrow version of an architecture, which trains in seconds.
fn narrow(architecture: &str) -> ModelSpec {
    ModelSpec {
        base_channels: Some(8),
        ..whole(architecture)
    }
}

#[test]
fn unet_2015_trains() {
    check_spec_trains(&narrow("unet_2015"), 64, 5e-3);
}

#[test]
fn unet_2015_valid_trains() {
    check_spec_trains(&narrow("unet_2015_valid"), 188, 5e-3);
}

#[test]
fn unetpp_2018_trains_in_both_modes() {
    check_spec_trains(&narrow("unetpp_2018"), 64, 5e-3);
    let fast = ModelSpec {
        pruning_level: Some(2),
        ..narrow("unetpp_2018")
    };
    check_spec_trains(&fast, 64, 5e-3);
}

#[test]
fn eff_unet_keras_trains() {
    check_spec_trains(&whole("eff_unet_keras"), 64, 2e-3);
}

#[test]
fn both_stages_of_tpcuar_train() {
    check_spec_trains(&narrow("tpcuar_classifier"), 64, 2e-3);
    check_spec_trains(&narrow("tpcuar_segmenter"), 64, 2e-3);
}
