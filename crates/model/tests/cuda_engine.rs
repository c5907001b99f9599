//! The CUDA engine, run on the host (`cuda_host`) and on a GPU if there is one, compared with the CPU engine: operation
//! by operation, network by network.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cuda_host;

use std::sync::Arc;

use cuda_host::{Host, gpu};
use kernels::{Activation, Nhwc, Padding, Precision};
use model::build::{ModelSpec, architectures, build};
use model::engine::cpu::CpuEngine;
use model::engine::cuda::driver::Dry;
use model::engine::cuda::{CudaEngine, check as check_device};
use model::engine::{Engine, Images, Value};
use model::graph::{Graph, GraphBuilder, Init, Interpolation, NodeId};
use model::store::{Group, ParamStore};
use random::Rng;

const INIT: Init = Init::Normal(0.4);

/// Results of an inference and a training step.
struct Results {
    inferred: Vec<Value>,
    values: Vec<Value>,
    grads: ParamStore,
    params: ParamStore,
}

/// Seeds of a step's inputs.
#[derive(Clone, Copy)]
struct Input {
    images: u64,
    weights: u64,
    seed: u64,
}

fn run(engine: &mut dyn Engine, graph: &Graph, n: usize, size: (usize, usize)) -> Results {
    let input = Input {
        images: 1,
        weights: 3,
        seed: 5,
    };
    run_on(engine, graph, n, size, input)
}

fn run_on(
    engine: &mut dyn Engine,
    graph: &Graph,
    n: usize,
    (h, w): (usize, usize),
    input: Input,
) -> Results {
    let shape = Nhwc {
        n,
        h,
        w,
        c: graph.in_channels(),
    };
    let data = normal(shape.len(), input.images);
    let x = Images { data: &data, shape };
    let outputs: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let mut params = ParamStore::initialized(graph, input.weights);
    // Running statistics other than 0 and 1, so that they affect inference.
    let running = params.group_mut(Group::Buffers);
    let moved = normal(running.len(), 9);
    running
        .iter_mut()
        .zip(moved)
        .for_each(|(r, v)| *r += 0.1 * v.abs());
    let inferred = engine.infer(&params, x, &outputs).unwrap();
    let values = engine
        .forward(&mut params, x, input.seed, &outputs)
        .unwrap();
    let output_grads: Vec<Vec<f32>> = values
        .iter()
        .enumerate()
        .map(|(i, v)| normal(v.data.len(), 20 + i as u64))
        .collect();
    let mut grads = ParamStore::zeros(params.map().clone());
    engine
        .backward(&params, &output_grads, &mut grads, None)
        .unwrap();
    Results {
        inferred,
        values,
        grads,
        params,
    }
}

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::stream(seed, 0);
    (0..len).map(|_| rng.normal_f32()).collect()
}

/// Each device twice; both must give the same bits. The second host runs blocks and threads in reverse order.
fn devices(graph: &Graph, precision: Precision) -> Vec<(String, [CudaEngine; 2])> {
    let engine = |driver| CudaEngine::with_driver(Arc::new(graph.clone()), precision, driver);
    let host = |reverse| {
        let mut host = Host::new(precision)?;
        host.reverse = reverse;
        Some(engine(Box::new(host)))
    };
    let gpu = || gpu(precision).map(|gpu| engine(Box::new(gpu)));
    let pairs = [
        ("host", host(false).zip(host(true))),
        ("GPU", gpu().zip(gpu())),
    ];
    let there = |(name, pair): (_, Option<(_, _)>)| {
        pair.map(|(a, b)| (format!("{name}, {precision}"), [a, b]))
    };
    pairs.into_iter().filter_map(there).collect()
}

/// Allowed deviation of a tensor from the expected one.
#[derive(Clone, Copy)]
enum Bar {
    /// Of each value, relative to the largest.
    Each(f32),
    /// Of the norm of the difference, relative to the norm: rounding that moves a ReLU or a pooling across its kink
    /// changes a few values by much.
    Norm(f32),
}

/// Tolerances for the rounding of a few consecutive operations: of factors to TF32 (2⁻¹²) and of values and gradients
/// to bf16 (2⁻⁹). If 10⁻³ of the values cross a kink, that is 3 % of the norm of a gradient.
fn bars(f32: f32) -> [(Precision, Bar); 3] {
    [
        (Precision::F32, Bar::Each(f32)),
        (Precision::Tf32, Bar::Norm(6e-2)),
        (Precision::Bf16, Bar::Norm(1.2e-1)),
    ]
}

/// Checks that values, gradients and running statistics are those of the CPU engine within `tolerance` of each tensor's
/// scale in f32, or within rounding in the other precisions; and that they are bit-identical when run again with any
/// order of blocks and threads.
fn check(name: &str, graph: &Graph, n: usize, size: (usize, usize), tolerance: f32) {
    let mut cpu = CpuEngine::new(Arc::new(graph.clone()), Precision::F32);
    let expected = run(&mut cpu, graph, n, size);
    for (precision, bar) in bars(tolerance) {
        for (device, [mut first, mut second]) in devices(graph, precision) {
            let name = format!("{device}: {name}");
            let found = run(&mut first, graph, n, size);
            check_close(&name, graph, &found, &expected, bar);
            check_same(&name, &found, &run(&mut second, graph, n, size));
        }
    }
}

fn values(results: &Results) -> impl Iterator<Item = &Value> {
    results.inferred.iter().chain(&results.values)
}

fn check_close(name: &str, graph: &Graph, found: &Results, expected: &Results, bar: Bar) {
    for (i, (a, b)) in values(found).zip(values(expected)).enumerate() {
        assert_eq!(a.shape, b.shape, "{name}: value {i}");
        close(&format!("{name}: value {i}"), &a.data, &b.data, bar);
    }
    // The gradient of a shift that is read only by a norm is pure rounding error, whose size depends on the other
    // gradients.
    let share = match bar {
        Bar::Each(_) => 1e-2,
        Bar::Norm(_) => 1e-1,
    };
    let floor = share
        * Group::TRAINABLE
            .map(|g| largest(expected.grads.group(g)))
            .iter()
            .fold(0.0f32, |m, v| m.max(*v));
    for (id, param) in named(graph) {
        if graph.param(id).role.trainable() {
            let (found, expected) = (found.grads.get(id), expected.grads.get(id));
            close_beside(
                &format!("{name}: gradient of {param}"),
                found,
                expected,
                floor,
                bar,
            );
        } else {
            close(
                &format!("{name}: {param}"),
                found.params.get(id),
                expected.params.get(id),
                bar,
            );
        }
    }
}

fn check_same(name: &str, a: &Results, b: &Results) {
    for (a, b) in values(a).zip(values(b)) {
        same(name, &a.data, &b.data);
    }
    for group in Group::TRAINABLE {
        same(name, a.grads.group(group), b.grads.group(group));
    }
    let buffers = |r: &Results| r.params.group(Group::Buffers).to_vec();
    same(name, &buffers(a), &buffers(b));
}

fn named(graph: &Graph) -> Vec<(model::graph::ParamId, String)> {
    let mut ids: Vec<_> = graph.nodes.iter().flat_map(|n| n.params.clone()).collect();
    ids.sort();
    ids.into_iter()
        .map(|id| (id, graph.param(id).name.clone()))
        .collect()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

fn close(what: &str, found: &[f32], expected: &[f32], bar: Bar) {
    close_beside(what, found, expected, 1e-3, bar);
}

/// Checks against the bar, with a scale of at least `floor` per value.
fn close_beside(what: &str, found: &[f32], expected: &[f32], floor: f32, bar: Bar) {
    assert_eq!(found.len(), expected.len(), "{what}");
    match bar {
        Bar::Each(tolerance) => {
            let scale = largest(expected).max(floor);
            for (i, (a, b)) in found.iter().zip(expected).enumerate() {
                let off = (a - b).abs() / scale;
                assert!(
                    off < tolerance,
                    "{what} [{i}]: {a}, expected {b}: off by {off:.1e} of its scale"
                );
            }
        }
        Bar::Norm(tolerance) => {
            let differences = found.iter().zip(expected).map(|(a, b)| a - b);
            let scale = norm(expected.iter().copied()).max(floor * (expected.len() as f32).sqrt());
            let off = norm(differences) / scale;
            assert!(off < tolerance, "{what}: off by {off:.1e} of its norm");
        }
    }
}

fn norm(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|v| v * v).sum::<f32>().sqrt()
}

fn same(what: &str, a: &[f32], b: &[f32]) {
    let differ = a
        .iter()
        .zip(b)
        .filter(|(a, b)| a.to_bits() != b.to_bits())
        .count();
    assert_eq!(differ, 0, "{what}: values depend on the order of threads");
}

/// The operation between a 3×3 convolution, whose gradients verify the operation's input gradient, and a 1×1
/// convolution.
fn between(channels: usize, op: impl Fn(&mut GraphBuilder, NodeId) -> NodeId) -> Graph {
    let mut g = GraphBuilder::new(2);
    let x = g.conv(
        "before",
        g.input(),
        channels,
        3,
        1,
        Padding::Symmetric(1),
        true,
        INIT,
    );
    let y = op(&mut g, x);
    g.publish("op", y);
    let y = g.conv("after", y, 2, 1, 1, Padding::Symmetric(0), true, INIT);
    g.publish("after", y);
    g.finish(1).unwrap()
}

/// Widths around the tiles' widths of 16, 32 and 64 columns.
const WIDTHS: [usize; 6] = [1, 3, 16, 33, 64, 70];

#[test]
fn convolutions() {
    for (i, cout) in WIDTHS.into_iter().enumerate() {
        let channels = WIDTHS[(i + 2) % WIDTHS.len()];
        for (kernel, stride, padding) in [
            (1, 1, Padding::Symmetric(0)),
            (3, 1, Padding::Symmetric(1)),
            (3, 1, Padding::Symmetric(0)),
            (3, 2, Padding::Same),
            (1, 2, Padding::Symmetric(0)),
            (5, 2, Padding::Symmetric(2)),
        ] {
            let graph = between(channels, |g, x| {
                g.conv("op", x, cout, kernel, stride, padding, true, INIT)
            });
            let name = format!("conv {channels} to {cout}, {kernel}x{kernel} by {stride}");
            check(&name, &graph, 2, (7, 6), 1e-4);
        }
    }
}

#[test]
fn depthwise_convolutions() {
    for channels in WIDTHS {
        for (kernel, stride, padding) in [
            (3, 1, Padding::Symmetric(1)),
            (5, 2, Padding::Same),
            (3, 2, Padding::Symmetric(1)),
        ] {
            let graph = between(channels, |g, x| {
                g.depthwise("op", x, kernel, stride, padding, INIT)
            });
            check(
                &format!("depthwise {channels}, {kernel} by {stride}"),
                &graph,
                2,
                (9, 8),
                1e-4,
            );
        }
    }
}

#[test]
fn transposed_convolutions() {
    for (channels, cout) in [(1, 1), (5, 3), (16, 16), (40, 20)] {
        let graph = between(channels, |g, x| g.conv_transpose2x2("op", x, cout, INIT));
        check(
            &format!("transposed {channels} to {cout}"),
            &graph,
            3,
            (5, 4),
            1e-4,
        );
    }
}

/// Every activation at one width, and every width with one: a kernel's activation does not depend on its width.
#[test]
fn norms_with_every_activation() {
    let check = |channels, kind: Option<Activation>| {
        let graph = between(channels, |g, x| {
            let y = g.batch_norm("op", x, 1e-3, 0.1);
            kind.map_or(y, |kind| g.activation("act", y, kind))
        });
        let name = format!("norm of {channels}, {kind:?}");
        check(&name, &graph, 3, (9, 7), 2e-4);
    };
    for kind in [
        None,
        Some(Activation::Relu),
        Some(Activation::Relu6),
        Some(Activation::Sigmoid),
    ] {
        check(33, kind);
    }
    for channels in WIDTHS {
        check(channels, Some(Activation::Silu));
    }
}

#[test]
fn norms_fold_into_depthwise_and_dense_convolutions() {
    let graph = between(24, |g, x| {
        let y = g.depthwise("dw", x, 3, 1, Padding::Symmetric(1), INIT);
        let y = g.batch_norm("bn", y, 1e-3, 0.1);
        let y = g.activation("act", y, Activation::Silu);
        let y = g.conv("pw", y, 40, 1, 1, Padding::Symmetric(0), false, INIT);
        let y = g.batch_norm("pw_bn", y, 1e-3, 0.1);
        g.activation("pw_act", y, Activation::Relu6)
    });
    check("folded", &graph, 2, (8, 8), 2e-4);
}

#[test]
fn activations_alone() {
    for kind in [
        Activation::Silu,
        Activation::Relu,
        Activation::Relu6,
        Activation::Sigmoid,
    ] {
        let graph = between(5, |g, x| {
            let pool = g.max_pool("pool", x, 2, 1, Padding::Symmetric(0));
            g.activation("op", pool, kind)
        });
        check(&format!("{kind:?}"), &graph, 2, (6, 5), 1e-4);
    }
}

#[test]
fn pools() {
    for (kernel, stride, padding) in [
        (2, 2, Padding::Symmetric(0)),
        (3, 2, Padding::Symmetric(1)),
        (3, 1, Padding::Same),
        (2, 1, Padding::Symmetric(0)),
    ] {
        let graph = between(5, |g, x| g.max_pool("op", x, kernel, stride, padding));
        check(
            &format!("max pool {kernel} by {stride}"),
            &graph,
            2,
            (8, 6),
            1e-4,
        );
    }
    for channels in WIDTHS {
        let graph = between(channels, |g, x| g.global_avg_pool("op", x));
        check(&format!("average of {channels}"), &graph, 3, (17, 16), 1e-4);
    }
}

/// Features that a map weights: of its size or smaller; the map is a class map or, in every second case, also read by a
/// convolution, so that in a bf16 program it is bf16.
#[test]
fn region_pools() {
    let cases = [
        (1, 2, 1),
        (3, 3, 2),
        (16, 8, 4),
        (33, 2, 2),
        (64, 16, 1),
        (70, 4, 4),
    ];
    for (i, (channels, classes, side)) in cases.into_iter().enumerate() {
        let graph = region_pool(channels, classes, side, i % 2 == 1);
        let name = format!("region of {channels} by {side}, {classes} classes");
        check(&name, &graph, 3, (8, 12), 1e-4);
    }
    // More pixels than fit in one chunk.
    let graph = region_pool(5, 3, 1, false);
    check("a large region", &graph, 2, (96, 100), 5e-4);
}

fn region_pool(channels: usize, classes: usize, side: usize, read_again: bool) -> Graph {
    let mut g = GraphBuilder::new(2);
    let (none, input) = (Padding::Symmetric(0), g.input());
    let x = g.conv("features", input, channels, side, side, none, true, INIT);
    let map = g.conv("map", input, classes, 1, 1, none, true, INIT);
    if read_again {
        let y = g.conv("after", map, 2, 1, 1, none, true, INIT);
        g.publish("after", y);
    }
    let y = g.region_pool("op", x, map);
    let y = g.linear("head", y, 2, INIT);
    g.publish("head", y);
    g.publish("map", map);
    g.finish(side).unwrap()
}

#[test]
fn upsampling_and_cropping() {
    for mode in [Interpolation::Nearest, Interpolation::Bilinear] {
        for size in [(1, 1), (2, 3), (5, 4)] {
            let graph = between(3, |g, x| {
                let up = g.upsample2x("op", x, mode);
                g.activation("act", up, Activation::Sigmoid)
            });
            check(&format!("{mode:?} {size:?}"), &graph, 2, size, 1e-4);
        }
    }
    let graph = between(3, |g, x| g.crop("op", x, 2));
    check("crop", &graph, 2, (7, 6), 1e-4);
}

/// Squeeze-excite, residuals, means, dropout, drop path, and values with several readers.
#[test]
fn sums_scales_and_drops() {
    for channels in WIDTHS {
        let graph = between(channels, |g, x| {
            let s = g.global_avg_pool("pool", x);
            let s = g.activation("gate", s, Activation::Sigmoid);
            let y = g.scale_channels("scale", x, s);
            let y = g.drop_path("path", y, 0.4);
            let y = g.add("add", x, y);
            let z = g.dropout("drop", y, 0.3);
            let y = g.mean("mean", &[x, y, z, y]);
            let crop = g.crop("crop", y, 1);
            g.concat("concat", &[crop, crop])
        });
        check(&format!("sums of {channels}"), &graph, 5, (6, 5), 1e-4);
    }
}

#[test]
fn linear_layers() {
    for outputs in [2, 16, 70] {
        let mut g = GraphBuilder::new(2);
        let x = g.conv(
            "before",
            g.input(),
            33,
            3,
            1,
            Padding::Symmetric(1),
            true,
            INIT,
        );
        let x = g.global_avg_pool("pool", x);
        let y = g.linear("op", x, outputs, INIT);
        g.publish("op", y);
        check(
            &format!("linear to {outputs}"),
            &g.finish(1).unwrap(),
            5,
            (4, 4),
            1e-4,
        );
    }
}

/// A concatenation and the upsampling before it, which the 3×3 convolution after them reads in place.
#[test]
fn joined_inputs() {
    for widths in [[3, 5, 8], [16, 20, 33], [70, 2, 1]] {
        let mut g = GraphBuilder::new(2);
        let conv = |g: &mut GraphBuilder, name: &str, x, cout| {
            g.conv(name, x, cout, 3, 1, Padding::Symmetric(1), true, INIT)
        };
        let input = g.input();
        let a = conv(&mut g, "a", input, widths[0]);
        let small = g.max_pool("pool", a, 2, 2, Padding::Symmetric(0));
        let small = conv(&mut g, "small", small, widths[1]);
        let near = g.upsample2x("near", small, Interpolation::Nearest);
        let b = conv(&mut g, "b", a, widths[2]);
        let joined = g.concat("concat", &[near, a, b]);
        let y = conv(&mut g, "joined", joined, 6);
        let y = g.batch_norm("bn", y, 1e-3, 0.1);
        let y = g.activation("act", y, Activation::Silu);
        g.publish("op", y);
        let small = conv(&mut g, "small2", small, 4);
        let near = g.upsample2x("near2", small, Interpolation::Nearest);
        let y = conv(&mut g, "alone", near, 18);
        g.publish("alone", y);
        check(
            &format!("joined {widths:?}"),
            &g.finish(2).unwrap(),
            2,
            (8, 6),
            2e-4,
        );
    }
}

#[test]
fn patches_without_padding() {
    patches([8, 16, 24], Padding::Symmetric(0));
}

#[test]
fn patches_with_padding_as_needed() {
    patches([40, 8, 72], Padding::Same);
}

#[test]
fn patches_with_padding() {
    patches([16, 48, 16], Padding::Symmetric(1));
}

/// Enough pixels for 3×3 convolutions to be computed by patches whose edges are inside the images: with one input, with
/// several parts, with parts that are read doubled.
fn patches(widths: [usize; 3], padding: Padding) {
    let mut g = GraphBuilder::new(2);
    let conv = |g: &mut GraphBuilder, name: &str, x, cout, padding| {
        g.conv(name, x, cout, 3, 1, padding, true, INIT)
    };
    let same = Padding::Symmetric(1);
    let input = g.input();
    let a = conv(&mut g, "a", input, widths[0], same);
    let small = g.max_pool("pool", a, 2, 2, Padding::Symmetric(0));
    let small = conv(&mut g, "small", small, widths[1], same);
    let near = g.upsample2x("near", small, Interpolation::Nearest);
    let joined = g.concat("concat", &[near, a]);
    let y = conv(&mut g, "joined", joined, widths[2], same);
    let y = g.batch_norm("bn", y, 1e-3, 0.1);
    let y = g.activation("act", y, Activation::Silu);
    let y = conv(&mut g, "alone", y, widths[0], padding);
    g.publish("op", y);
    let name = format!("patches {widths:?}");
    check(&name, &g.finish(1).unwrap(), 8, (20, 36), 2e-4);
}

/// 3×3 convolutions to a few channels that no other convolution reads, followed by a class-activation head.
#[test]
fn class_maps() {
    let paddings = [Padding::Symmetric(1), Padding::Symmetric(0), Padding::Same];
    for few in 1..=4 {
        let mut g = GraphBuilder::new(2);
        let width = [8, 16, 40, 24][few - 1];
        let input = g.input();
        let x = g.conv(
            "before",
            input,
            width,
            3,
            1,
            Padding::Symmetric(1),
            true,
            INIT,
        );
        let map = g.conv("map", x, few, 3, 1, paddings[few % 3], true, INIT);
        g.publish("map", map);
        let pooled = g.global_avg_pool("pool", map);
        let logits = g.linear("head", pooled, 3, INIT);
        g.publish("logits", logits);
        check(
            &format!("a map of {few}"),
            &g.finish(1).unwrap(),
            2,
            (9, 13),
            1e-4,
        );
    }
}

/// Sums over more pixels than fit in one chunk or slice.
#[test]
fn many_pixels() {
    let graph = between(4, |g, x| {
        let y = g.batch_norm("bn", x, 1e-3, 0.1);
        let y = g.activation("act", y, Activation::Silu);
        let y = g.depthwise("dw", y, 3, 1, Padding::Symmetric(1), INIT);
        g.conv_transpose2x2("up", y, 3, INIT)
    });
    check("many pixels", &graph, 2, (96, 100), 5e-4);
}

/// A value requested as an output twice gets the sum of both gradients.
#[test]
fn output_published_twice() {
    let mut g = GraphBuilder::new(2);
    let x = g.conv(
        "conv",
        g.input(),
        3,
        3,
        1,
        Padding::Symmetric(1),
        true,
        INIT,
    );
    g.publish("one", x);
    g.publish("two", x);
    check("twice", &g.finish(1).unwrap(), 2, (4, 4), 1e-4);
}

/// A plan's launches are recorded the second time and replayed from then on: with other images, weights and seeds, with
/// other plans run in between, and after the arena was reallocated, they compute the same as an engine that has
/// recorded nothing.
#[test]
fn recorded_passes_give_the_same_results_as_unrecorded_ones() {
    let graph = between(16, |g, x| {
        let y = g.batch_norm("bn", x, 1e-3, 0.1);
        let y = g.activation("act", y, Activation::Silu);
        g.dropout("drop", y, 0.4)
    });
    for precision in [Precision::F32, Precision::Bf16] {
        for (device, [mut engine, _]) in devices(&graph, precision) {
            for (round, size) in [4, 4, 4, 6, 4, 4, 4, 4].into_iter().enumerate() {
                let input = Input {
                    images: round as u64,
                    weights: round as u64 / 2,
                    seed: round as u64 % 3,
                };
                let found = run_on(&mut engine, &graph, 2, (size, size), input);
                let (_, [mut fresh, _]) = devices(&graph, precision)
                    .into_iter()
                    .find(|(name, _)| *name == device)
                    .unwrap();
                let expected = run_on(&mut fresh, &graph, 2, (size, size), input);
                check_same(&format!("{device}, round {round}"), &found, &expected);
            }
        }
    }
}

/// The check that a GPU must pass before it is used passes here, and fails for a device that computes wrong results.
#[test]
fn a_device_is_checked_before_it_is_used() {
    for precision in Precision::ALL {
        if let Some(host) = Host::new(precision) {
            check_device(precision, Box::new(host)).unwrap();
        }
        if let Some(gpu) = gpu(precision) {
            check_device(precision, Box::new(gpu)).unwrap();
        }
    }
    let error = check_device(Precision::F32, Box::new(Dry::default()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("as the CPU does"), "{error}");
}

fn network(name: &str, spec: &ModelSpec, size: usize) {
    let spec = ModelSpec {
        in_channels: 1,
        ..spec.clone()
    };
    let graph = build(&spec).unwrap();
    let shape = Nhwc {
        n: 2,
        h: size,
        w: size,
        c: 1,
    };
    let data = normal(shape.len(), 1);
    let x = Images { data: &data, shape };
    let outputs: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let params = ParamStore::initialized(&graph, 3);
    let infer = |engine: &mut dyn Engine| engine.infer(&params, x, &outputs).unwrap();
    let expected = infer(&mut CpuEngine::new(Arc::new(graph.clone()), Precision::F32));
    for (precision, bar) in bars(1e-3) {
        for (device, [mut first, mut second]) in devices(&graph, precision) {
            let (found, again) = (infer(&mut first), infer(&mut second));
            for (((a, b), again), (output, _)) in
                found.iter().zip(&expected).zip(&again).zip(&graph.outputs)
            {
                let what = format!("{device}: {name}: {output}");
                close(&what, &a.data, &b.data, bar);
                same(name, &a.data, &again.data);
            }
        }
    }
}

/// Each encoder family and each decoder, with all published values.
#[test]
fn encoders_and_decoders_infer_as_on_the_cpu() {
    for (encoder, decoder) in [
        ("efficientnet_b0", "unetpp"),
        ("tf_efficientnet_b0", "unet"),
        ("efficientnet_lite0", "unet"),
        ("tf_efficientnet_lite0", "unetpp"),
    ] {
        let spec = ModelSpec {
            encoder: Some(encoder.into()),
            decoder: Some(decoder.into()),
            ..ModelSpec::default()
        };
        network(&format!("{encoder} {decoder}"), &spec, 32);
    }
}

#[test]
fn whole_networks_infer_as_on_the_cpu() {
    for entry in architectures().iter().skip(1) {
        let narrow = ModelSpec {
            architecture: entry.name.into(),
            head: if entry.name == "tpcuar_classifier" {
                "bottleneck"
            } else {
                "cam"
            }
            .into(),
            ..ModelSpec::default()
        };
        let wide = narrow.clone();
        let narrow = ModelSpec {
            base_channels: Some(8),
            ..narrow
        };
        let spec = if build(&narrow).is_ok() { narrow } else { wide };
        let size = if entry.name == "unet_2015_valid" {
            188
        } else {
            32
        };
        network(entry.name, &spec, size);
    }
}

/// Deviations of a training step's values and gradients from the expected ones, relative to the expected norms: the
/// largest over the values, and that of all gradients together.
fn distance(found: &Results, expected: &Results) -> [f32; 2] {
    let off = |a: &[f32], b: &[f32]| {
        let differences = a.iter().zip(b).map(|(a, b)| a - b);
        norm(differences) / norm(b.iter().copied())
    };
    let pairs = found.values.iter().zip(&expected.values);
    let values = pairs
        .map(|(a, b)| off(&a.data, &b.data))
        .fold(0.0, f32::max);
    let all = |r: &Results| Group::TRAINABLE.map(|g| r.grads.group(g).to_vec()).concat();
    [values, off(&all(found), &all(expected))]
}

/// The demo's network with random weights is the hardest case for rounding: from its first layer to its last a
/// difference grows fifty times and moves ReLUs across their kinks. The growth does not depend on the size of the
/// difference, so the error allowed for a coarser precision is scaled with its rounding.
#[test]
fn whole_network_trains_as_on_the_cpu() {
    let spec = ModelSpec {
        encoder: Some("tf_efficientnet_lite0".into()),
        decoder: Some("unet".into()),
        head: "cam".into(),
        ..ModelSpec::default()
    };
    let graph = build(&spec).unwrap();
    let step = |engine: &mut dyn Engine| run(engine, &graph, 6, (64, 64));
    let expected = step(&mut CpuEngine::new(Arc::new(graph.clone()), Precision::F32));
    let off = |engine: &mut CudaEngine| distance(&step(engine), &expected);
    let mut f32 = 0.0;
    for (device, [mut engine, _]) in devices(&graph, Precision::F32) {
        let [values, gradients] = off(&mut engine);
        assert!(values < 2e-4, "{device}: values are off by {values}");
        assert!(
            gradients < 5e-2,
            "{device}: gradients are off by {gradients}"
        );
        f32 = values;
    }
    // Matrix products in the other precisions would take a minute on the host.
    for (precision, coarser) in [(Precision::Tf32, 4096.0), (Precision::Bf16, 32768.0)] {
        if let Some(gpu) = gpu(precision) {
            let graph = Arc::new(graph.clone());
            let [values, _] = off(&mut CudaEngine::with_driver(
                graph,
                precision,
                Box::new(gpu),
            ));
            assert!(
                values < coarser * f32,
                "{precision}: values are off by {values}, in f32 by {f32}"
            );
        }
    }
}
