//! Every architecture of the registry: it builds, its shapes and parameter counts are those of timm and
//! segmentation_models.pytorch, and a representative of each family trains.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixtures_common;

use fixtures_common::{Adam, Batch, gradients, l2, named, step};
use kernels::{Nhwc, Padding};
use model::build::{BuildError, ModelSpec, build, decoders, encoders, find_encoder, heads};
use model::graph::{Graph, Hwc, Init, Op};
use model::network::Network;
use model::rng::Rng;

fn spec(encoder: &str, decoder: &str, head: &str) -> ModelSpec {
    ModelSpec {
        encoder: encoder.into(),
        decoder: decoder.into(),
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
                .filter(|h| !h.needs_decoder || decoder.name != "none")
            {
                let graph = graph(encoder.name, decoder.name, head.name);
                check_shapes(&graph, 64, 64, decoder.name != "none");
                check_shapes(&graph, 96, 160, decoder.name != "none");
            }
        }
    }
}

fn check_shapes(graph: &Graph, h: usize, w: usize, has_map: bool) {
    let shapes = graph.shapes(h, w).unwrap();
    let shape = |name: &str| graph.output(name).map(|id| shapes[id.index()]);
    for i in 1..=5 {
        let feature = shape(&format!("features.{i}")).unwrap();
        assert_eq!((feature.h, feature.w), (h >> i, w >> i));
    }
    let map = has_map.then_some(Hwc { h, w, c: 2 });
    assert_eq!(shape("map"), map);
    assert_eq!(shape("decoder"), map.map(|m| Hwc { c: 16, ..m }));
    assert_eq!(shape("logits"), Some(Hwc { h: 1, w: 1, c: 2 }));
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
fn encoders_have_timms_parameters() {
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

/// What timm has behind the last stage: a 1x1 convolution to 4 (Lite: at width 1) times its channels, batch norm,
/// 1000 classes.
fn imagenet_head(name: &str, channels: usize) -> usize {
    let wide = if name.contains("lite") {
        1280
    } else {
        4 * channels
    };
    channels * wide + 2 * wide + 1000 * (wide + 1)
}

#[test]
fn models_have_smps_parameters() {
    // smp 0.6: Unet and UnetPlusPlus("tu-" + name, classes=2); the article's head adds 2·2 + 2.
    let check = |encoder: &str, unet: usize, unetpp: usize| {
        for name in [encoder.to_string(), format!("tf_{encoder}")] {
            assert_eq!(
                graph(&name, "unet", "article").parameter_count(),
                unet + 6,
                "{name}"
            );
            assert_eq!(
                graph(&name, "unetpp", "article").parameter_count(),
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
        spec("efficientnet-b1", "unet", "article"),
        "model.encoder = \"efficientnet-b1\" is not known; did you mean \"efficientnet_b1\"?",
    );
    check(
        spec("tf_eficientnet_lite1", "unet", "article"),
        "did you mean \"tf_efficientnet_lite1\"?",
    );
    check(
        spec("efficientnet_b1", "UNet++", "article"),
        "did you mean \"unet",
    );
    check(
        spec("efficientnet_b1", "unetp", "article"),
        "known: unet, unetpp, none",
    );
    check(
        spec("efficientnet_b1", "unet", "botleneck"),
        "model.head = \"botleneck\" is not known; did you mean \"bottleneck\"?",
    );
    check(
        spec("efficientnet_b1", "none", "article"),
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
fn drop_path_grows_over_the_blocks_as_timms() {
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
fn first_values_follow_timm_and_smp() {
    let graph = graph("efficientnet_b1", "unetpp", "article");
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

/// A few steps on four fixed images: no NaN, every trainable parameter gets a gradient, the loss falls.
fn check_training(encoder: &str, decoder: &str, head: &str) {
    let spec = ModelSpec {
        in_channels: 1,
        ..spec(encoder, decoder, head)
    };
    let mut network = Network::new(build(&spec).unwrap(), 3);
    let shape = Nhwc {
        n: 4,
        h: 64,
        w: 64,
        c: 1,
    };
    let mut rng = Rng::new(1, 1);
    // Two classes by the coarseness of the noise.
    let noise: Vec<f32> = (0..shape.len()).map(|_| rng.normal()).collect();
    let data = (0..shape.len())
        .map(|i| {
            if i / 4096 % 2 == 0 {
                noise[i]
            } else {
                noise[i / 4096 * 4096 + i % 4096 / 512 * 8 + i % 64 / 8]
            }
        })
        .collect();
    let batch = Batch {
        data,
        shape,
        targets: vec![0, 1, 0, 1],
    };
    let mut adam = Adam::new(2e-3);
    let mut losses = vec![];
    for i in 0..6 {
        let mut step = step(&network, &batch);
        losses.push(step.loss);
        if i == 0 {
            let grads = gradients(&network, &mut step);
            for (id, name) in
                named(network.graph()).filter(|(id, _)| network.graph().param(*id).role.trainable())
            {
                let norm = l2(grads.get(id));
                assert!(
                    norm.is_finite() && norm > 0.0,
                    "{encoder} {decoder} {head}: gradient of {name} is {norm}"
                );
            }
        }
        adam.update(&mut network, &mut step);
    }
    assert!(
        losses.iter().all(|l| l.is_finite()) && losses[5] < 0.9 * losses[0],
        "{encoder} {decoder} {head}: {losses:?}"
    );
}

#[test]
fn efficientnet_trains() {
    check_training("efficientnet_b0", "unetpp", "article");
}

#[test]
fn tf_efficientnet_trains() {
    check_training("tf_efficientnet_b1", "unet", "article");
}

#[test]
fn lite_trains() {
    check_training("efficientnet_lite1", "unet", "article");
}

#[test]
fn tf_lite_trains() {
    check_training("tf_efficientnet_lite0", "unetpp", "article");
}

#[test]
fn the_bottleneck_head_trains() {
    check_training("efficientnet_lite0", "none", "bottleneck");
}
