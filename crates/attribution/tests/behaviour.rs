//! Properties of the methods and of the figures that judge them, on networks whose answer is known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use attribution::judge::{Deletion, Insertion, Randomization, Start, agreement, localize, stages};
use attribution::{
    Baseline, GradCam, GradCamPlusPlus, HeatMap, Image, IntegratedGradients, Method, Occlusion,
    Target,
};
use model::build::{ModelSpec, architectures, build, heads};
use model::graph::{Activation, Graph, GraphBuilder, Hwc, Init, Padding};
use model::network::Network;
use proptest::prelude::*;
use random::Rng;

const SIDE: usize = 24;
/// The patch that [`patch_network`] sees: rows and columns 8 to 15.
const MARGIN: usize = 8;

fn shape(side: usize, c: usize) -> Hwc {
    Hwc {
        h: side,
        w: side,
        c,
    }
}

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::stream(seed, 9);
    (0..len).map(|_| rng.normal_f32()).collect()
}

fn in_patch(pixel: usize) -> bool {
    let inside = |at: usize| (MARGIN..SIDE - MARGIN).contains(&at);
    inside(pixel / SIDE) && inside(pixel % SIDE)
}

fn patch() -> Vec<bool> {
    (0..SIDE * SIDE).map(in_patch).collect()
}

/// A network that sees only the middle of the image: class 1 is more likely the brighter it is.
fn patch_network() -> Network {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    g.publish("features.1", x);
    let x = g.crop("crop", x, MARGIN);
    let x = g.conv(
        "conv",
        x,
        4,
        1,
        1,
        Padding::Symmetric(0),
        true,
        Init::Constant(0.5),
    );
    let x = g.activation("act", x, Activation::Silu);
    let x = g.global_avg_pool("pool", x);
    let x = g.linear("head", x, 2, Init::Constant(0.0));
    g.publish("logits", x);
    let graph = g.finish(1).unwrap();
    let network = Network::new(graph.clone(), 1);
    let mut store = network.store();
    let weight = store.get_mut(graph.find_param("head.weight").unwrap());
    weight.copy_from_slice(&[0.0, 1.0].repeat(4));
    Network::with_store(graph, store)
}

/// Bright everywhere, so that only the network makes the middle special.
fn bright() -> Vec<f32> {
    let noise = normal(SIDE * SIDE, 1);
    noise.iter().map(|x| 2.0 + 0.1 * x).collect()
}

/// Truth about [`patch_network`]: the patch.
fn truth() -> HeatMap {
    let values = patch()
        .into_iter()
        .map(|inside| f32::from(u8::from(inside)));
    HeatMap::new(SIDE, SIDE, values.collect()).unwrap()
}

fn occlusion() -> Occlusion {
    Occlusion {
        window: [4; 2],
        stride: [4; 2],
        ..Occlusion::default()
    }
}

#[test]
fn occlusion_marks_the_patch_that_the_network_sees_and_nothing_else() {
    let (network, data) = (patch_network(), bright());
    let image = Image::new(&data, shape(SIDE, 1)).unwrap();
    let map = occlusion().map(&network, image, Target::Class(1)).unwrap();
    for (i, value) in map.values().iter().enumerate() {
        assert_eq!(*value > 0.0, in_patch(i), "{i}: {value}");
        assert!(in_patch(i) || *value == 0.0);
    }
    let found = localize(&map, &patch(), 0).unwrap();
    assert_eq!((found.hit, found.energy), (1.0, Some(1.0)));
    // Overlapping windows also reach pixels next to the patch.
    let overlapping = Occlusion {
        stride: [2, 3],
        batch: 7,
        ..occlusion()
    };
    let map = overlapping.map(&network, image, Target::Class(1)).unwrap();
    let energy = localize(&map, &patch(), 0).unwrap().energy.unwrap();
    assert!(energy > 0.6 && energy < 1.0, "{energy}");
    assert_eq!(overlapping.passes(SIDE, SIDE), 11 * 8);
}

#[test]
fn gradients_are_in_the_patch_only() {
    let (network, data) = (patch_network(), bright());
    let image = Image::new(&data, shape(SIDE, 1)).unwrap();
    let target = Target::Contrast {
        class: 1,
        against: 0,
    };
    let integrated = IntegratedGradients::default();
    let map = integrated.map(&network, image, target).unwrap();
    let found = localize(&map, &patch(), 0).unwrap();
    assert_eq!((found.hit, found.energy), (1.0, Some(1.0)));
    assert_eq!(found.area, 64.0 / 576.0);
}

#[test]
fn deletion_of_the_truth_falls_faster_than_of_a_random_order_and_insertion_rises_faster() {
    let (network, data) = (patch_network(), bright());
    let image = Image::new(&data, shape(SIDE, 1)).unwrap();
    let target = Target::Class(1);
    let inverse: Vec<f32> = truth().values().iter().map(|v| -v).collect();
    let inverse = HeatMap::new(SIDE, SIDE, inverse).unwrap();
    let orders = [truth(), HeatMap::random(SIDE, SIDE, 3), inverse];
    let deletion = Deletion::default();
    let insertion = Insertion {
        start: Start::Baseline(Baseline::Mean),
        ..Insertion::default()
    };
    let deleted = orders
        .each_ref()
        .map(|order| deletion.curve(&network, image, target, order).unwrap());
    let inserted = orders
        .each_ref()
        .map(|order| insertion.curve(&network, image, target, order).unwrap());
    assert!(deleted[0].area + 0.05 < deleted[1].area, "{deleted:?}");
    assert!(deleted[1].area + 0.05 < deleted[2].area, "{deleted:?}");
    assert!(inserted[0].area > inserted[1].area + 0.05);
    assert!(inserted[1].area > inserted[2].area + 0.05);
    for (deleted, inserted) in deleted.iter().zip(&inserted) {
        let (first, last) = (deleted.probabilities[0], inserted.probabilities[0]);
        assert_eq!(deleted.shares.len(), 51);
        assert!((deleted.probabilities[50] - last).abs() < 1e-6);
        assert!((inserted.probabilities[50] - first).abs() < 1e-6);
    }
    // A blurred image of the same brightness leaves nothing to insert.
    let blurred = Insertion::default();
    let flat = blurred.curve(&network, image, target, &truth()).unwrap();
    assert!(
        flat.probabilities
            .iter()
            .all(|p| (p - flat.probabilities[0]).abs() < 1e-2)
    );
}

/// Convolutions, norms, squeeze-excite and a residual sum, all smooth.
fn smooth_graph() -> Graph {
    let mut g = GraphBuilder::new(3);
    let init = Init::Normal(0.4);
    let x = g.conv(
        "conv",
        g.input(),
        6,
        3,
        2,
        Padding::Symmetric(1),
        false,
        init,
    );
    let x = g.batch_norm("bn", x, 1e-5, 0.1);
    let x = g.activation("act", x, Activation::Silu);
    let s = g.global_avg_pool("se.pool", x);
    let s = g.conv("se.reduce", s, 2, 1, 1, Padding::Symmetric(0), true, init);
    let s = g.activation("se.act", s, Activation::Silu);
    let s = g.conv("se.expand", s, 6, 1, 1, Padding::Symmetric(0), true, init);
    let s = g.activation("se.gate", s, Activation::Sigmoid);
    let y = g.scale_channels("scale", x, s);
    let y = g.depthwise("dw", y, 3, 1, Padding::Symmetric(1), init);
    let y = g.add("add", x, y);
    g.publish("features.1", y);
    let y = g.global_avg_pool("pool", y);
    let y = g.linear("head", y, 3, Init::Normal(1.0));
    g.publish("logits", y);
    g.finish(2).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The attributions add up to the difference of the scores, to 1e-4 of the sum of their magnitudes.
    #[test]
    fn integrated_gradients_are_complete(seed in 0..1000u64, level in -1.0..1.0f32, class in 0..3usize) {
        let network = Network::new(smooth_graph(), seed);
        let data = normal(12 * 12 * 3, seed);
        let image = Image::new(&data, shape(12, 3)).unwrap();
        let method = IntegratedGradients {
            baseline: Baseline::Colour(vec![level, 0.0, -level]),
            ..IntegratedGradients::default()
        };
        let found = method.attribute(&network, image, Target::Class(class)).unwrap();
        let sum: f64 = found.attributions.iter().map(|a| f64::from(a.abs())).sum();
        prop_assert!(found.completeness_error.abs() < 1e-4 * sum, "{}", found.completeness_error);
        // More steps at once, or fewer, make no difference but for rounding.
        let other = IntegratedGradients { batch: 7, ..method.clone() };
        let other = other.attribute(&network, image, Target::Class(class)).unwrap();
        for (a, b) in found.attributions.iter().zip(&other.attributions) {
            prop_assert!((a - b).abs() < 1e-5 * sum as f32);
        }
        // Few steps leave an error, and it is reported.
        let coarse = IntegratedGradients { steps: 1, ..method };
        let coarse = coarse.attribute(&network, image, Target::Class(class)).unwrap();
        prop_assert!(coarse.completeness_error.abs() > found.completeness_error.abs());
    }

    /// The score of a contrast is the difference of two scores, and so are its attributions.
    #[test]
    fn contrasts_are_differences(seed in 0..1000u64) {
        let network = Network::new(smooth_graph(), seed);
        let data = normal(12 * 12 * 3, seed + 1);
        let image = Image::new(&data, shape(12, 3)).unwrap();
        let method = IntegratedGradients { steps: 4, ..IntegratedGradients::default() };
        let map = |target| method.map(&network, image, target).unwrap();
        let [a, b] = [0, 2].map(|class| map(Target::Class(class)));
        let contrast = map(Target::Contrast { class: 0, against: 2 });
        let pairs = a.values().iter().zip(b.values()).zip(contrast.values());
        for ((a, b), c) in pairs {
            prop_assert!((a - b - c).abs() < 1e-4 * (1.0 + a.abs() + b.abs()));
        }
    }
}

/// Grad-CAM of features that are averaged and multiplied by a matrix is the class activation map.
#[test]
fn grad_cam_is_the_class_activation_map_where_there_is_one() {
    let network = Network::new(smooth_graph(), 5);
    let data = normal(12 * 12 * 3, 5);
    let image = Image::new(&data, shape(12, 3)).unwrap();
    let method = GradCam {
        relu: false,
        ..GradCam::default()
    };
    let map = method.map(&network, image, Target::Class(2)).unwrap();
    let images = model::engine::Images {
        data: &data,
        shape: shape(12, 3).batch(1),
    };
    let features = network.infer(images, &["features.1"]).unwrap().remove(0);
    let store = network.store();
    let weight = store.get(network.graph().find_param("head.weight").unwrap());
    let cam = features.data.chunks(6).map(|pixel| {
        let terms = pixel.iter().zip(weight.iter().skip(2).step_by(3));
        terms.map(|(a, w)| a * w / 36.0).sum()
    });
    let cam = HeatMap::new(6, 6, cam.collect()).unwrap().resized(12, 12);
    for (a, b) in map.values().iter().zip(cam.values()) {
        assert!((a - b).abs() < 1e-6, "{a} against {b}");
    }
}

#[test]
fn every_network_with_scores_has_every_map() {
    for entry in architectures() {
        for head in heads().iter().filter(|head| head.scores) {
            let assembled = entry.keys.contains(&"encoder");
            let spec = ModelSpec {
                architecture: entry.name.into(),
                encoder: assembled.then(|| "efficientnet_lite0".into()),
                head: head.name.into(),
                base_channels: entry.keys.contains(&"base_channels").then_some(8),
                ..ModelSpec::default()
            };
            if let Ok(graph) = build(&spec) {
                check_maps(&spec.label(), &Network::new(graph, 1));
            }
        }
    }
}

fn check_maps(label: &str, network: &Network) {
    let side = network.graph().smallest_size.max(64);
    let data = normal(side * side * 3, 2);
    let image = Image::new(&data, shape(side, 3)).unwrap();
    let deep = network.graph().features()[0];
    let decoder = network
        .graph()
        .output("decoder")
        .map(|_| "decoder".to_owned());
    let methods = [
        Method::GradCam(GradCam::default()),
        Method::GradCam(GradCam {
            at: decoder.clone().or(Some(deep.into())),
            relu: false,
        }),
        Method::GradCamPlusPlus(GradCamPlusPlus {
            at: decoder,
            relu: true,
        }),
        Method::IntegratedGradients(IntegratedGradients {
            steps: 3,
            ..IntegratedGradients::default()
        }),
        Method::Occlusion(Occlusion {
            window: [side / 2; 2],
            stride: [side / 2; 2],
            ..Occlusion::default()
        }),
    ];
    for method in methods {
        let map = method.map(network, image, Target::Class(1)).unwrap();
        assert_eq!(map.size(), (side, side), "{label}");
        let finite = map.values().iter().all(|value| value.is_finite());
        assert!(finite, "{label} {}", method.name());
    }
}

fn lite(seed: u64) -> Network {
    let spec = ModelSpec {
        encoder: Some("efficientnet_lite0".into()),
        decoder: Some("unet".into()),
        ..ModelSpec::default()
    };
    Network::new(build(&spec).unwrap(), seed)
}

#[test]
fn random_weights_lower_the_correlation() {
    let network = lite(1);
    let data = normal(64 * 64 * 3, 3);
    let image = Image::new(&data, shape(64, 3)).unwrap();
    let method = Method::IntegratedGradients(IntegratedGradients {
        steps: 4,
        ..IntegratedGradients::default()
    });
    let before = network.store().version();
    let check = Randomization::new(&method, &network, image, Target::Class(1), 2).unwrap();
    let names: Vec<String> = stages(network.graph())
        .into_iter()
        .map(|s| s.name)
        .collect();
    assert_eq!(check.len(), names.len());
    let steps: Vec<_> = check.map(Result::unwrap).collect();
    let found: Vec<&str> = steps.iter().map(|step| step.stage.as_str()).collect();
    assert_eq!(found, names);
    let first = [&found[..3], &found[found.len() - 2..]].concat();
    let expected = [
        "head",
        "segmentation_head",
        "decoder.blocks.4",
        "encoder.blocks.0",
        "encoder",
    ];
    assert_eq!(first, expected);
    let last = steps.last().unwrap();
    assert!(
        last.correlation.unwrap().abs() < 0.2,
        "{:?}",
        last.correlation
    );
    let magnitudes = last.correlation_of_magnitudes.unwrap();
    assert!(magnitudes < 0.5, "{magnitudes}");
    assert_eq!(network.store().version(), before); // the network itself is not changed
}

/// "Random" weights that are the network's own.
#[test]
fn the_same_weights_have_correlation_one() {
    let network = lite(7);
    let data = normal(64 * 64 * 3, 3);
    let image = Image::new(&data, shape(64, 3)).unwrap();
    let method = Method::IntegratedGradients(IntegratedGradients {
        steps: 1,
        ..IntegratedGradients::default()
    });
    let check = Randomization::new(&method, &network, image, Target::Class(1), 7).unwrap();
    for step in check.take(3) {
        assert_eq!(step.unwrap().correlation, Some(1.0));
    }
}

#[test]
fn agreement_is_a_symmetric_matrix() {
    let maps = [
        truth(),
        HeatMap::random(SIDE, SIDE, 1),
        HeatMap::new(SIDE, SIDE, vec![1.0; SIDE * SIDE]).unwrap(),
    ];
    let found = agreement(&maps).unwrap();
    assert!((found[0][0].unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(found[0][1], found[1][0]);
    assert!(found[0][1].unwrap().abs() < 0.2);
    assert_eq!(found[2], [None; 3]);
    let other = [truth(), HeatMap::random(2, 2, 1)];
    assert!(agreement(&other).unwrap_err().to_string().contains("2x2"));
}

#[test]
fn wrong_requests_are_errors_that_say_what_is_possible() {
    let (network, data) = (patch_network(), bright());
    let image = Image::new(&data, shape(SIDE, 1)).unwrap();
    let error = |method: Method, target| {
        let found = method.map(&network, image, target).unwrap_err();
        found.to_string()
    };
    let cam = |at: &str| {
        Method::GradCam(GradCam {
            at: Some(at.into()),
            relu: true,
        })
    };
    let one = Target::Class(1);
    let plain = Method::named("grad_cam").unwrap();
    assert!(error(plain.clone(), Target::Class(2)).contains("has 2 classes, numbered from 0"));
    let same = Target::Contrast {
        class: 1,
        against: 1,
    };
    assert!(error(plain, same).contains("do not differ"));
    assert!(error(cam("features.7"), one).contains("publishes are: features.1"));
    assert!(error(cam("pool"), one).contains("1x1"));
    let occlusion = |window: usize, stride: usize| {
        Method::Occlusion(Occlusion {
            window: [window; 2],
            stride: [stride; 2],
            ..Occlusion::default()
        })
    };
    assert!(error(occlusion(25, 1), one).contains("`window` is 25: it must be from 1 to 24"));
    assert!(error(occlusion(4, 5), one).contains("`stride` is 5: it must be from 1 to 4"));
    assert!(error(occlusion(4, 0), one).contains("`stride` is 0"));
    let steps = IntegratedGradients {
        steps: 0,
        ..IntegratedGradients::default()
    };
    assert!(error(Method::IntegratedGradients(steps), one).contains("`steps` is 0"));
    let colour = IntegratedGradients {
        baseline: Baseline::Colour(vec![0.0; 3]),
        ..IntegratedGradients::default()
    };
    assert!(error(Method::IntegratedGradients(colour), one).contains("1 channels"));
    let short = Image::new(&data[1..], shape(SIDE, 1)).unwrap_err();
    assert!(short.to_string().contains("has 575 values instead of 576"));
    assert!(Image::new(&[f32::NAN; 4], shape(2, 1)).is_err());
    let deletion = Deletion::default();
    let other = deletion.curve(&network, image, one, &HeatMap::random(4, 4, 1));
    assert!(
        other
            .unwrap_err()
            .to_string()
            .contains("the image is 24x24")
    );
    assert!(Method::named("gradcam").is_none());
    for name in Method::NAMES {
        assert_eq!(Method::named(name).unwrap().name(), name);
    }
}
