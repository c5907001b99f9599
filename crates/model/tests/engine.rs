//! Tests of every engine through the dfdx bridge: gradients against finite differences, and independence of batching,
//! other outputs and threads. The CUDA engine runs on the host (`cuda_host`).

#![allow(clippy::unwrap_used, clippy::panic)] // clippy does not recognize test helpers as tests

mod cuda_host;
mod fixtures_common;

use cuda_host::engines;
use dfdx::prelude::*;
use fixtures_common::descend;
use kernels::{Activation, Nhwc, Padding};
use model::engine::{Images, Precision};
use model::graph::{Graph, GraphBuilder, Init, Interpolation, NodeId};
use model::network::{Heads, Network};
use model::store::{Group, ParamStore};
use random::Rng;

/// Every operation at least once, with a value read by several nodes and a class map in addition to the logits.
fn every_op() -> Graph {
    let mut g = GraphBuilder::new(2);
    let init = Init::Normal(0.4);
    let x = g.conv("stem", g.input(), 6, 3, 1, Padding::Same, true, init);
    let x = g.batch_norm("stem_bn", x, 1e-3, 0.1);
    let x = g.activation("stem_act", x, Activation::Silu);
    let pooled = g.max_pool("pool", x, 2, 2, Padding::Symmetric(0));
    let y = g.depthwise("dw", pooled, 5, 1, Padding::Symmetric(2), init);
    let y = g.batch_norm("dw_bn", y, 1e-5, 0.1);
    let y = squeeze_excite(&mut g, y, init);
    let y = g.drop_path("drop_path", y, 0.3);
    let y = g.add("residual", pooled, y);
    let near = g.upsample2x("near", y, Interpolation::Nearest);
    let smooth = g.upsample2x("smooth", y, Interpolation::Bilinear);
    let up = g.conv_transpose2x2("up", y, 3, init);
    let y = g.concat("concat", &[near, x, smooth, up]);
    let map = g.conv("map", y, 3, 3, 1, Padding::Symmetric(1), true, init);
    g.publish("map", map);
    let inside = g.region_pool("region_pool", pooled, map);
    let y = g.activation("map_act", map, Activation::Sigmoid);
    let plain = g.crop("crop", y, 1);
    let inner = g.crop("crop_again", y, 1);
    let inner = g.activation("inner_act", inner, Activation::Silu);
    let y = g.mean("mean", &[plain, inner, plain]);
    let y = g.global_avg_pool("gap", y);
    let y = g.concat("vectors", &[y, inside]);
    let y = g.dropout("dropout", y, 0.25);
    let y = g.linear("head", y, 2, Init::Normal(2.0));
    g.publish("logits", y);
    g.finish(2).unwrap()
}

fn squeeze_excite(g: &mut GraphBuilder, x: NodeId, init: Init) -> NodeId {
    let s = g.global_avg_pool("se.pool", x);
    let s = g.conv("se.reduce", s, 3, 1, 1, Padding::Symmetric(0), true, init);
    let s = g.activation("se.act", s, Activation::Silu);
    let s = g.conv("se.expand", s, 6, 1, 1, Padding::Symmetric(0), true, init);
    let s = g.activation("se.gate", s, Activation::Sigmoid);
    g.scale_channels("se.scale", x, s)
}

/// The network of [`every_op`] on every engine.
fn networks(seed: u64) -> Vec<Network> {
    let graph = every_op();
    engines(&graph, &ParamStore::initialized(&graph, seed))
}

fn images(n: usize, size: usize) -> (Vec<f32>, Nhwc) {
    let shape = Nhwc {
        n,
        h: size,
        w: size,
        c: 2,
    };
    let mut rng = Rng::stream(7, 7);
    ((0..shape.len()).map(|_| rng.normal_f32()).collect(), shape)
}

const SEED: u64 = 5;

/// Cross-entropy of the logits plus the mean square of the map: both outputs have gradients.
fn loss(network: &Network, x: Images<'_>) -> Tensor<Rank0, f32, Cpu, OwnedTape<f32, Cpu>> {
    let mut taped = network.forward(x, SEED, Heads::LogitsAndMap).unwrap();
    let dev = Cpu::default();
    let target = dev.tensor_from_vec(
        (0..2 * x.shape.n)
            .map(|i| (i % 3 == 0) as u8 as f32)
            .collect(),
        (x.shape.n, Const::<2>),
    );
    let target: Tensor<(usize, usize), f32, Cpu> = target.realize();
    let (map_loss, tape) = taped
        .maps
        .remove(0)
        .put_tape(taped.tape)
        .square()
        .mean()
        .split_tape();
    let class_loss = -(taped
        .logits
        .unwrap()
        .put_tape(tape)
        .log_softmax::<Axis<1>>()
        * target)
        .sum::<Rank0, _>();
    class_loss + map_loss
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (data, shape) = images(3, 6);
    let x = Images { data: &data, shape };
    let graph = every_op();
    let store = ParamStore::initialized(&graph, 1);
    for network in engines(&graph, &store) {
        check_gradients(network, x, &store);
    }
}

fn check_gradients(mut network: Network, x: Images<'_>, store: &ParamStore) {
    check_gradients_from(&mut network, x, store, [0; 2]);
}

/// Checks the gradients of each group's values from `first` on.
fn check_gradients_from(
    network: &mut Network,
    x: Images<'_>,
    store: &ParamStore,
    first: [usize; 2],
) {
    let device = network.device_name();
    loss(network, x).backward();
    let gradients = network.gradients().unwrap().clone();
    for group in Group::TRAINABLE {
        let analytic = gradients.group(group).iter();
        for (i, analytic) in analytic.enumerate().skip(first[group as usize]) {
            let mut at = |delta: f32| {
                let mut moved = store.clone();
                moved.group_mut(group)[i] += delta;
                network.set_store(moved);
                loss(network, x).array() as f64
            };
            let (h, scale) = (2e-3f32, 1.0 + f64::from(analytic.abs()));
            let numeric = (at(h) - at(-h)) / f64::from(2.0 * h);
            assert!(
                (numeric - f64::from(*analytic)).abs() < 2e-2 * scale,
                "{device}: {group:?}[{i}]: {numeric} against {}",
                analytic
            );
        }
    }
}

#[test]
fn inference_does_not_depend_on_other_outputs_or_batching() {
    networks(3)
        .into_iter()
        .for_each(check_inference_does_not_depend_on_other_outputs_or_batching);
}

fn check_inference_does_not_depend_on_other_outputs_or_batching(network: Network) {
    let (data, shape) = images(4, 6);
    let all = network
        .infer(Images { data: &data, shape }, &["map", "logits"])
        .unwrap();
    let logits = network
        .infer(Images { data: &data, shape }, &["logits"])
        .unwrap();
    close(&all[1].data, &logits[0].data); // fused differently, so equal up to rounding
    let image = shape.len() / 4;
    for i in 0..4 {
        let one = Images {
            data: &data[i * image..(i + 1) * image],
            shape: Nhwc { n: 1, ..shape },
        };
        let one = network.infer(one, &["logits"]).unwrap();
        close(&one[0].data, &logits[0].data[2 * i..2 * i + 2]);
    }
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} against {b}"));
}

#[test]
fn sizes_can_change_between_calls() {
    networks(3)
        .into_iter()
        .for_each(check_sizes_can_change_between_calls);
}

fn check_sizes_can_change_between_calls(network: Network) {
    let run = |n, size| {
        let (data, shape) = images(n, size);
        network
            .infer(Images { data: &data, shape }, &["logits"])
            .unwrap()
    };
    let first = run(2, 8);
    run(5, 12);
    assert_eq!(run(2, 8), first);
}

#[test]
fn training_passes_update_running_statistics() {
    let graph = every_op();
    let mean = graph
        .params
        .iter()
        .position(|p| p.name == "stem_bn.running_mean")
        .unwrap();
    let id = graph
        .nodes
        .iter()
        .flat_map(|n| n.params.clone())
        .find(|p| p.index() == mean)
        .unwrap();
    for network in engines(&graph, &ParamStore::initialized(&graph, 3)) {
        assert!(network.store().get(id).iter().all(|m| *m == 0.0));
        let (data, shape) = images(2, 6);
        network
            .forward(Images { data: &data, shape }, 0, Heads::Logits)
            .unwrap();
        assert!(network.store().get(id).iter().all(|m| *m != 0.0));
    }
}

/// An encoder with all that differs between training and inference, and a decoder without: frozen, it trains on the
/// values of inference.
fn encoder_decoder() -> Graph {
    let mut g = GraphBuilder::new(2);
    let init = Init::Normal(0.4);
    let same = Padding::Symmetric(1);
    let (skip, deep) = g.scope("encoder", |g| {
        let x = g.conv("stem", g.input(), 6, 3, 1, same, true, init);
        let x = g.batch_norm("bn1", x, 1e-3, 0.1);
        let skip = g.activation("act1", x, Activation::Silu);
        let x = g.conv("point", skip, 6, 1, 1, Padding::Symmetric(0), false, init);
        let x = g.batch_norm("bn2", x, 1e-3, 0.1);
        let x = squeeze_excite(g, x, init);
        let x = g.drop_path("drop_path", x, 0.5);
        let x = g.add("residual", x, skip);
        let x = g.depthwise("dw", x, 3, 1, same, init);
        let x = g.batch_norm("bn3", x, 1e-3, 0.1);
        (skip, g.max_pool("pool", x, 2, 2, Padding::Symmetric(0)))
    });
    let up = g.upsample2x("up", deep, Interpolation::Nearest);
    let side = g.conv_transpose2x2("side", deep, 3, init);
    let x = g.concat("concat", &[up, skip]);
    let x = g.conv("decoder", x, 3, 3, 1, same, true, init);
    let x = g.add("sum", x, side);
    let x = g.conv("map", x, 3, 1, 1, Padding::Symmetric(0), true, init);
    g.publish("map", x);
    let x = g.global_avg_pool("gap", x);
    let x = g.linear("head", x, 2, Init::Normal(2.0));
    g.publish("logits", x);
    g.finish(2).unwrap()
}

#[test]
fn a_frozen_encoder_computes_as_in_inference_and_has_no_gradients() {
    let graph = encoder_decoder();
    let mut store = ParamStore::initialized(&graph, 1);
    let mut rng = Rng::stream(3, 3);
    for value in store.group_mut(Group::Buffers) {
        *value += 0.5 * rng.unit_f32(); // running statistics that are not those of any batch
    }
    let (data, shape) = images(3, 6);
    let x = Images { data: &data, shape };
    let [decayed, plain, _] = store.map().first(graph.encoder_params());
    let buffers = |network: &Network| network.store().group(Group::Buffers).to_vec();
    for mut network in engines(&graph, &store) {
        let unfrozen = loss(&network, x).array();
        assert_ne!(buffers(&network), store.group(Group::Buffers));
        network.set_store(store.clone());
        network.freeze_encoder(true);
        let taped = network.forward(x, SEED, Heads::LogitsAndMap).unwrap();
        let inferred = network.infer(x, &["logits", "map"]).unwrap();
        close(&taped.logits.unwrap().as_vec(), &inferred[0].data);
        close(&taped.maps[0].as_vec(), &inferred[1].data);
        for _ in 0..3 {
            // The CUDA engine records the second pass and replays the third.
            let frozen = loss(&network, x);
            assert!((frozen.array() - unfrozen).abs() > 1e-3);
            frozen.backward();
            let gradients = network.gradients().unwrap().clone();
            for (group, len) in Group::TRAINABLE.into_iter().zip([decayed, plain]) {
                let (encoder, rest) = gradients.group(group).split_at(len);
                assert!(encoder.iter().all(|g| *g == 0.0), "{group:?}");
                assert!(rest.iter().any(|g| *g != 0.0), "{group:?}");
            }
            assert_eq!(buffers(&network), store.group(Group::Buffers));
        }
        check_gradients_from(&mut network, x, &store, [decayed, plain]);
        network.set_store(store.clone());
        network.freeze_encoder(false);
        let thawed = loss(&network, x);
        assert_eq!(thawed.array(), unfrozen);
        thawed.backward();
        let gradients = network.gradients().unwrap().clone();
        let encoder = &gradients.group(Group::Decayed)[..decayed];
        assert!(encoder.iter().any(|g| *g != 0.0));
        assert_ne!(buffers(&network), store.group(Group::Buffers));
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let network = Network::new(every_op(), 9);
            let (data, shape) = images(5, 16);
            loss(&network, Images { data: &data, shape }).backward();
            let gradients = network.gradients().unwrap();
            Group::TRAINABLE.map(|group| gradients.group(group).to_vec())
        })
    };
    assert_eq!(run(1), run(2));
    assert_eq!(run(2), run(3));
}

#[test]
fn optimizer_steps_affect_the_next_pass() {
    networks(2)
        .into_iter()
        .for_each(check_optimizer_steps_affect_the_next_pass);
}

fn check_optimizer_steps_affect_the_next_pass(mut network: Network) {
    let (data, shape) = images(2, 6);
    let x = Images { data: &data, shape };
    let before = loss(&network, x).array();
    for _ in 0..20 {
        loss(&network, x).backward();
        descend(&mut network, 0.02);
    }
    let after = loss(&network, x).array();
    assert!(after < 0.8 * before, "{before} → {after}");
}

#[test]
fn bad_batches_are_errors() {
    networks(2)
        .into_iter()
        .for_each(check_bad_batches_are_errors);
}

fn check_bad_batches_are_errors(network: Network) {
    let check = |len: usize, shape: Nhwc, expected: &str| {
        let data = vec![0.0; len];
        let error = network
            .infer(Images { data: &data, shape }, &["logits"])
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        72,
        Nhwc {
            n: 1,
            h: 6,
            w: 6,
            c: 3,
        },
        "takes 2 channels",
    );
    check(
        72,
        Nhwc {
            n: 1,
            h: 7,
            w: 6,
            c: 2,
        },
        "does not fit",
    );
    check(
        98,
        Nhwc {
            n: 1,
            h: 7,
            w: 7,
            c: 2,
        },
        "nearest valid sizes: 6x6 and 8x8",
    );
    let data = [0.0; 72];
    let unknown = network.infer(
        Images {
            data: &data,
            shape: Nhwc {
                n: 1,
                h: 6,
                w: 6,
                c: 2,
            },
        },
        &["depth"],
    );
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("no output `depth`; it has: map, logits")
    );
}

/// bf16 products change a network's outputs only by rounding, and the network can be trained with them.
#[test]
fn bf16_is_close_to_f32_and_trains() {
    let spec = model::build::ModelSpec {
        encoder: Some("tf_efficientnet_lite0".into()),
        decoder: Some("unet".into()),
        ..Default::default()
    };
    let graph = model::build::build(&spec).unwrap();
    let shape = Nhwc {
        n: 4,
        h: 64,
        w: 64,
        c: 3,
    };
    let mut rng = Rng::stream(1, 1);
    let data: Vec<f32> = (0..shape.len()).map(|_| rng.normal_f32()).collect();
    let images = Images { data: &data, shape };
    let wide = Network::new(graph.clone(), 3);
    let mut narrow = Network::new(graph, 3).with_precision(Precision::Bf16);
    let outputs = |network: &Network| network.infer(images, &["decoder"]).unwrap().remove(0).data;
    let (a, b) = (outputs(&wide), outputs(&narrow));
    let scale = a.iter().fold(0f32, |m, v| m.max(v.abs()));
    let off = a
        .iter()
        .zip(&b)
        .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(
        off > 1e-6 * scale && off < 5e-2 * scale,
        "off by {off} of {scale}"
    );
    let mut losses = Vec::new();
    for step in 0..8 {
        let taped = narrow.forward(images, step, Heads::Logits).unwrap();
        let loss = taped.logits.unwrap().put_tape(taped.tape).square().mean();
        losses.push(loss.array());
        loss.backward();
        descend(&mut narrow, 0.05);
    }
    assert!(losses[7] < 0.5 * losses[0], "{losses:?}");
}
