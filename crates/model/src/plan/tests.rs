use kernels::{Activation, Padding};
use random::Rng;

use super::*;
use crate::graph::{GraphBuilder, Init};

/// conv-bn-act, squeeze-excite, residual, 1×1 head: every kind of step.
fn small() -> Graph {
    let mut g = GraphBuilder::new(3);
    let init = Init::Normal(0.3);
    let x = g.conv(
        "conv",
        g.input(),
        8,
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
    let s = g.conv("se.expand", s, 8, 1, 1, Padding::Symmetric(0), true, init);
    let s = g.activation("se.gate", s, Activation::Sigmoid);
    let y = g.scale_channels("scale", x, s);
    let y = g.conv("project", y, 8, 1, 1, Padding::Symmetric(0), false, init);
    let y = g.batch_norm("project_bn", y, 1e-5, 0.1);
    let y = g.add("add", x, y);
    let y = g.global_avg_pool("pool", y);
    let y = g.linear("head", y, 2, init);
    g.publish("features", x);
    g.publish("logits", y);
    g.finish(2).unwrap()
}

fn plan(mode: Mode, outputs: &[&str]) -> (Graph, Plan) {
    let graph = small();
    let ids: Vec<NodeId> = outputs.iter().map(|o| graph.output(o).unwrap()).collect();
    let plan = Plan::new(&graph, mode, 2, 8, 8, &ids).unwrap();
    (graph, plan)
}

fn names(graph: &Graph, plan: &Plan) -> Vec<String> {
    let name = |id: &NodeId| graph.node(*id).name.clone();
    let text = |step: &Step| match step {
        Step::Single(id) => name(id),
        Step::NormAct { norm, act } => format!("{}+{}", name(norm), name(act)),
        Step::ConvNormAct { conv, norm, act } => {
            let parts = [Some(*conv), *norm, *act];
            parts
                .iter()
                .flatten()
                .map(name)
                .collect::<Vec<_>>()
                .join("+")
        }
    };
    plan.steps.iter().map(text).collect()
}

#[test]
fn inference_folds_norm_and_activation_into_convolutions() {
    let (graph, plan) = plan(Mode::Infer, &["logits"]);
    let expected = "conv+bn+act se.pool se.reduce+se.act se.expand+se.gate scale project+project_bn add pool head";
    assert_eq!(names(&graph, &plan).join(" "), expected);
}

#[test]
fn training_fuses_norm_with_activation_only() {
    let (graph, plan) = plan(Mode::Train, &["logits"]);
    let expected = "conv bn+act se.pool se.reduce se.act se.expand se.gate scale project project_bn add pool head";
    assert_eq!(names(&graph, &plan).join(" "), expected);
}

#[test]
fn steps_not_needed_for_outputs_are_left_out() {
    let (graph, plan) = plan(Mode::Infer, &["features"]);
    assert_eq!(names(&graph, &plan), ["conv+bn+act"]);
}

#[test]
fn values_read_by_the_caller_are_written_out() {
    let graph = small();
    let conv = graph.ids().nth(1).unwrap();
    let plan = Plan::new(
        &graph,
        Mode::Infer,
        1,
        8,
        8,
        &[conv, graph.output("logits").unwrap()],
    )
    .unwrap();
    assert_eq!(names(&graph, &plan)[..2], ["conv", "bn+act"]);
    assert!(plan.values[conv.index()].is_some());
}

#[test]
fn input_has_no_gradient_and_fused_values_have_no_buffer() {
    let (graph, plan) = plan(Mode::Train, &["logits"]);
    assert_eq!(plan.grads[0], None);
    let bn = graph.nodes.iter().position(|n| n.name == "bn").unwrap();
    assert_eq!((plan.values[bn], plan.grads[bn]), (None, None));
}

/// An encoder of two convolutions with norms, and a decoder that reads both of its values.
fn encoder_decoder() -> Graph {
    let mut g = GraphBuilder::new(3);
    let (init, same) = (Init::Normal(0.3), Padding::Symmetric(1));
    let (skip, deep) = g.scope("encoder", |g| {
        let layer = |g: &mut GraphBuilder, name: &str, x, stride| {
            let x = g.conv(name, x, 8, 3, stride, same, false, init);
            let x = g.batch_norm(&format!("{name}.bn"), x, 1e-5, 0.1);
            g.activation(&format!("{name}.act"), x, Activation::Silu)
        };
        let skip = layer(g, "first", g.input(), 1);
        (skip, layer(g, "second", skip, 2))
    });
    let up = g.upsample2x("up", deep, crate::graph::Interpolation::Nearest);
    let x = g.concat("concat", &[up, skip]);
    let x = g.conv("decoder", x, 2, 3, 1, same, true, init);
    let x = g.global_avg_pool("pool", x);
    g.publish("logits", x);
    g.finish(2).unwrap()
}

#[test]
fn a_frozen_encoder_has_no_gradients_and_needs_less_memory() {
    let graph = encoder_decoder();
    let outputs = [graph.output("logits").unwrap()];
    let plan = |frozen| {
        let batch = (2, 16, 16);
        Plan::with_frozen(&graph, Kind::F32, Mode::Train, batch, &outputs, frozen).unwrap()
    };
    let (trained, frozen) = (plan(false), plan(true));
    for id in graph.ids() {
        let encoder = graph.in_encoder(id);
        assert_eq!(frozen.trains(id), !encoder, "{}", graph.node(id).name);
        assert!(!encoder || frozen.grads[id.index()].is_none());
        assert!(!encoder || frozen.norms[id.index()].is_none());
    }
    assert!(graph.ids().all(|id| trained.trains(id)));
    assert!(trained.norms.iter().any(Option::is_some));
    assert!(
        4 * frozen.bytes() < 3 * trained.bytes(),
        "{} of {} bytes",
        frozen.bytes(),
        trained.bytes()
    );
    // The decoder's convolution reads both values of the encoder in place, frozen or not.
    assert_eq!(frozen.sources, trained.sources);
    let inference = Plan::with_frozen(&graph, Kind::F32, Mode::Infer, (2, 16, 16), &outputs, true);
    assert_eq!(inference.unwrap().frozen, vec![false; graph.nodes.len()]);
}

#[test]
fn sensitivities_keep_the_requested_gradients_and_only_what_they_need() {
    let graph = small();
    let [features, logits] = ["features", "logits"].map(|name| graph.output(name).unwrap());
    let plan = |at: &[NodeId]| Plan::sensitivities(&graph, (2, 8, 8), logits, at).unwrap();
    let (image, inner) = (plan(&[NodeId::INPUT]), plan(&[features]));
    assert!(image.grads[0].is_some() && inner.grads[0].is_none());
    assert_eq!(inner.outputs, [logits, features]);
    // No gradient flows to what comes before the features.
    let mut before = graph.ids().filter(|id| *id < features);
    assert!(before.all(|id| inner.grads[id.index()].is_none()));
    assert!(graph.ids().all(|id| !image.trains(id)));
    let training = Plan::new(&graph, Mode::Train, 2, 8, 8, &[logits]).unwrap();
    assert!(inner.bytes() < training.bytes());
}

#[test]
fn maps_of_bf16_take_half_the_memory_and_images_and_vectors_stay_f32() {
    let graph = encoder_decoder();
    let outputs = [graph.output("logits").unwrap()];
    let f32 = Plan::new(&graph, Mode::Infer, 2, 64, 64, &outputs).unwrap();
    let bf16 = Plan::bf16(&graph, (2, 64, 64), &outputs).unwrap();
    assert_eq!(bf16.precision, kernels::Precision::Bf16);
    let kind = |name: &str| {
        let node = graph.nodes.iter().position(|node| node.name == name);
        bf16.kinds[node.unwrap()]
    };
    assert_eq!(bf16.kinds[0], Kind::F32);
    assert_eq!(
        (kind("encoder.first.act"), kind("pool")),
        (Kind::Bf16, Kind::F32)
    );
    let image = 4 * bf16.shapes[0].len();
    assert!(
        2 * (bf16.bytes() - image) <= f32.bytes(),
        "{} of {}",
        bf16.bytes(),
        f32.bytes()
    );
}

#[test]
fn inference_needs_far_less_memory_than_the_sum_of_values() {
    let (_, plan) = plan(Mode::Infer, &["logits"]);
    let all: usize = plan.shapes.iter().map(|s| 4 * s.len()).sum();
    assert!(plan.bytes() * 2 < all, "{} of {all}", plan.bytes());
}

#[test]
fn buffers_are_never_shared_by_live_tensors() {
    for seed in 0..200 {
        let mut rng = Rng::stream(seed, 0);
        let mut below = |n: u64| (rng.next_u64() % n) as usize;
        let tensors: Vec<Option<Interval>> = (0..40)
            .map(|_| {
                let start = below(50);
                (below(10) > 0).then(|| Interval {
                    start,
                    end: start + below(20),
                    len: 1 + below(1000),
                })
            })
            .collect();
        check_disjoint(&tensors);
    }
}

fn check_disjoint(tensors: &[Option<Interval>]) {
    let (places, slots) = assign(tensors);
    for (i, a) in tensors.iter().enumerate() {
        let Some(a) = a else {
            assert_eq!(places[i], None);
            continue;
        };
        assert!(slots[places[i].unwrap().index()] >= a.len);
        for (j, b) in tensors.iter().enumerate().skip(i + 1) {
            let overlap = b.is_some_and(|b| a.start <= b.end && b.start <= a.end);
            assert!(
                !overlap || places[i] != places[j],
                "{a:?} and {b:?} share {:?}",
                places[i]
            );
        }
    }
}
