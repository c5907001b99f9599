//! Checkpoints of several networks, and of a network with the segmenter of its region.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

use formats::checkpoint::{
    Checkpoint, Decision, Ensemble, MapClasses, Meta, Plausible, Preprocessing, Region, RegionRule,
};
use model::graph::{Graph, GraphBuilder, Init, Padding};
use model::store::ParamStore;

fn graph(map: bool) -> Graph {
    let mut g = GraphBuilder::new(1);
    let x = g.conv(
        "conv",
        g.input(),
        2,
        3,
        1,
        Padding::Same,
        true,
        Init::Normal(0.1),
    );
    g.publish("map", x);
    if !map {
        let pooled = g.global_avg_pool("pool", x);
        let logits = g.linear("head", pooled, 2, Init::Normal(0.1));
        g.publish("logits", logits);
    }
    g.finish(1).unwrap()
}

fn decision() -> Decision {
    Decision::new(Some(0.5), 2.0, vec![0.1, -0.1])
}

fn classifier(seed: u64) -> Checkpoint {
    let graph = graph(false);
    let preprocessing = Preprocessing::stretched((8, 8), vec![0.5], vec![0.5]);
    let meta = Meta {
        decision: Some(decision()),
        ..Meta::new(["a", "b"], preprocessing)
    };
    Checkpoint::new(graph.clone(), ParamStore::initialized(&graph, seed), meta)
}

fn region() -> Region {
    let graph = graph(true);
    let preprocessing = Preprocessing::stretched((8, 8), vec![0.5], vec![0.5]);
    let map = MapClasses {
        classes: vec!["background".into(), "lungs".into()],
        values: vec![0, 255],
    };
    Region {
        store: ParamStore::initialized(&graph, 9),
        meta: Meta {
            map: Some(map),
            ..Meta::new(["a", "b"], preprocessing)
        },
        graph,
        rule: RegionRule {
            classes: vec![1],
            margin: 0.04,
            plausible: Plausible {
                area: [0.1, 0.5],
                extent: [0.2, 0.9],
                components: [1, 2],
            },
            typical: [0.1, 0.2, 0.8, 0.9],
        },
    }
}

fn ensemble() -> Checkpoint {
    let mut second = classifier(2);
    second.region = Some(Box::new(region()));
    Checkpoint {
        region: Some(Box::new(region())),
        ensemble: Some(Box::new(Ensemble {
            others: vec![second, classifier(3)],
            decision: decision(),
        })),
        ..classifier(1)
    }
}

fn weights(checkpoint: &Checkpoint) -> Vec<f32> {
    let ids = checkpoint.graph.parameters();
    ids.flat_map(|(id, _)| checkpoint.store.get(id).to_vec())
        .collect()
}

#[test]
fn all_networks_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ensemble.safetensors");
    let saved = ensemble();
    saved.save(&path).unwrap();
    let read = Checkpoint::load(&path).unwrap();
    assert_eq!(weights(&read), weights(&saved));
    assert_eq!(read.region.as_ref().unwrap().rule, region().rule);
    let (read, saved) = (read.ensemble.unwrap(), saved.ensemble.unwrap());
    assert_eq!(read.decision, saved.decision);
    assert_eq!(read.others.len(), 2);
    for (read, saved) in read.others.iter().zip(&saved.others) {
        assert_eq!((&read.meta, weights(read)), (&saved.meta, weights(saved)));
        assert_eq!(read.region.is_some(), saved.region.is_some());
    }
    let segmenter = read.others[0].region.as_ref().unwrap();
    let stored = |store: &ParamStore, graph: &Graph| -> Vec<f32> {
        graph
            .parameters()
            .flat_map(|(id, _)| store.get(id).to_vec())
            .collect()
    };
    let expected = region();
    assert_eq!(
        stored(&segmenter.store, &segmenter.graph),
        stored(&expected.store, &expected.graph)
    );
}

#[test]
fn networks_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ensemble.safetensors");
    let check = |change: &dyn Fn(&mut Checkpoint), expected: &str| {
        let mut bad = ensemble();
        change(&mut bad);
        let error = bad.save(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let others = |bad: &mut Checkpoint, change: &dyn Fn(&mut Ensemble)| {
        change(bad.ensemble.as_mut().unwrap());
    };
    check(&|bad| others(bad, &|e| e.others.clear()), "at least two");
    check(
        &|bad| {
            others(bad, &|e| {
                e.others[0].meta.classes = vec!["a".into(), "c".into()]
            })
        },
        "has a network for",
    );
    check(
        &|bad| others(bad, &|e| e.others[1].meta.decision = None),
        "without calibration",
    );
    check(&|bad| bad.meta.decision = None, "without calibration");
    check(
        &|bad| others(bad, &|e| e.decision.temperature = -1.0),
        "decision.temperature",
    );
    let region = |bad: &mut Checkpoint, change: &dyn Fn(&mut RegionRule)| {
        change(&mut bad.region.as_mut().unwrap().rule);
    };
    check(
        &|bad| region(bad, &|r| r.classes = vec![2]),
        "region.classes",
    );
    check(
        &|bad| region(bad, &|r| r.margin = f64::NAN),
        "region.margin",
    );
    check(
        &|bad| region(bad, &|r| r.typical = [0.5, 0.0, 0.5, 1.0]),
        "region.typical",
    );
    check(
        &|bad| region(bad, &|r| r.plausible.area = [0.5, 0.1]),
        "region.plausible.area",
    );
}
