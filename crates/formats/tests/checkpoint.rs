//! Checkpoints: files round-trip, and damaged, foreign or inconsistent ones are rejected with an error that names them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;

use formats::checkpoint::{
    AbstentionRule, Checkpoint, Decision, Inference, Meta, Novelty, NoveltyRule, Origin,
    Preprocessing, SetRule, Spread,
};
use model::graph::{Activation, Graph, GraphBuilder, Init, Padding};
use model::store::{Group, ParamStore};

const SIZE: usize = 8;

/// conv-bn-relu → class map → mean → logits.
fn graph() -> Graph {
    let mut g = GraphBuilder::new(1);
    let (padding, init) = (Padding::Symmetric(1), Init::Normal(0.4));
    let x = g.conv("conv", g.input(), 6, 3, 1, padding, false, init);
    let x = g.batch_norm("bn", x, 1e-5, 0.1);
    let x = g.activation("act", x, Activation::Relu);
    let (padding, init) = (Padding::Symmetric(0), Init::Normal(0.3));
    let map = g.conv("map", x, 2, 1, 1, padding, true, init);
    g.publish("map", map);
    let x = g.global_avg_pool("pool", map);
    let logits = g.linear("head", x, 2, Init::Normal(0.7));
    g.publish("logits", logits);
    g.finish(1).unwrap()
}

fn meta() -> Meta {
    let preprocessing = Preprocessing::stretched((SIZE, SIZE), vec![0.5], vec![0.25]);
    Meta::new(["plain", "bar"], preprocessing)
}

fn bits(store: &ParamStore) -> Vec<Vec<u32>> {
    Group::ALL
        .map(|g| store.group(g).iter().map(|v| v.to_bits()).collect())
        .to_vec()
}

#[test]
fn checkpoints_round_trip_and_bad_ones_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let graph = graph();
    let store = ParamStore::initialized(&graph, 5);
    let meta = Meta {
        inference: Inference {
            mirror: true,
            tile_overlap: 0.25,
            certainty: 0.9,
        },
        decision: Some(Decision {
            sets: Some(SetRule {
                coverage: 0.9,
                least: vec![0.1 + 0.2, 0.0],
            }),
            abstention: Some(AbstentionRule {
                least_confidence: 0.7,
                allowed: 0.05,
                level: 0.9,
            }),
            ..Decision::new(Some(0.1 + 0.2), 1.7, vec![0.1, -0.1])
        }),
        origin: Origin {
            version: "0.1.0".into(),
            pipeline: "pneumonia".into(),
            title: "Pneumonia".into(),
            images: 5,
            patients: Some(3),
            data: "abc".into(),
            phantoms: true,
        },
        epoch: 3,
        ..meta()
    };
    let checkpoint = Checkpoint::new(graph, store, meta);
    checkpoint.save(&path).unwrap();
    let loaded = Checkpoint::load(&path).unwrap();
    assert_eq!(
        (&loaded.graph, &loaded.meta),
        (&checkpoint.graph, &checkpoint.meta)
    );
    assert_eq!(bits(&loaded.store), bits(&checkpoint.store));
    let bytes = fs::read(&path).unwrap();
    loaded.save(&path).unwrap();
    assert_eq!(
        fs::read(&path).unwrap(),
        bytes,
        "the same contents, the same bytes"
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );

    let check = |bytes: &[u8], expected: &str| {
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("model.safetensors"),
            "{error}"
        );
    };
    check(
        &bytes[..bytes.len() - 10],
        "is not a checkpoint, or is truncated",
    );
    check(&bytes[..20], "is not a checkpoint, or is truncated");
    check(b"", "is not a checkpoint, or is truncated");
    check(
        b"PK\x03\x04 something else entirely",
        "is not a checkpoint, or is truncated",
    );
    let edited = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .expect(from);
        sealed(&[&bytes[..at], to.as_bytes(), &bytes[at + to.len()..]].concat())
    };
    check(
        &edited("\\\"format\\\":3", "\\\"format\\\":9"),
        "has checkpoint format 9, but this version reads 3",
    );
    check(
        &edited("\\\"format\\\":3", "\\\"format\\\":2"),
        "train again with this one",
    );
    check(
        &edited("\"checkpoint\"", "\"other_data\""),
        "not a checkpoint of this program",
    );
    check(
        &edited("\"map.bias\":", "\"map.bigs\":"),
        "tensor `map.bias`",
    );
    check(
        &edited("\"shape\":[2,6,1,1]", "\"shape\":[6,2,1,1]"),
        "has shape [6, 2, 1, 1] instead of [2, 6, 1, 1]",
    );
    check(&edited("\\\"shape\\\":[2]", "\\\"shape\\\":[9]"), "of");
    assert!(
        Checkpoint::load(&folder.path().join("none"))
            .unwrap_err()
            .to_string()
            .contains("does not exist")
    );
}

/// The file with its checksum updated, for edits that should pass that check.
fn sealed(file: &[u8]) -> Vec<u8> {
    let mark = b"{\\\"sha256\\\":\\\"";
    let at = file.windows(mark.len()).position(|w| w == mark);
    let Some(at) = at.map(|at| at + mark.len()) else {
        return file.into(); // the document itself was edited away
    };
    let mut file = file.to_vec();
    file[at..at + 64].fill(b'0');
    let sum = files::sha256::hex(&file);
    file[at..at + 64].copy_from_slice(sum.as_bytes());
    file
}

/// Flips one bit in every byte of the file.
#[test]
fn a_checkpoint_with_a_flipped_bit_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let graph = graph();
    let store = ParamStore::initialized(&graph, 5);
    let meta = meta();
    Checkpoint::new(graph, store, meta).save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    Checkpoint::load(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains("model.safetensors"), "byte {at}: {error}");
    }
}

/// Bad contents with a valid checksum.
#[test]
fn an_inconsistent_checkpoint_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let graph = graph();
    let good = Checkpoint::new(graph.clone(), ParamStore::initialized(&graph, 5), meta());
    good.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&path, sealed(bytes)).unwrap();
        Checkpoint::load(&path)
    };
    read(&bytes).unwrap();
    let check = |from: &str, to: &str, expected: &str| {
        // The header's length precedes it and is a multiple of 8.
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes());
        let at = at.expect(from);
        let (len, rest) = bytes.split_first_chunk::<8>().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*len) as usize);
        let mut header = [
            &header[..at - 8],
            to.as_bytes(),
            &header[at - 8 + from.len()..],
        ]
        .concat();
        header.resize(header.len().next_multiple_of(8), b' ');
        let edited = [&header.len().to_le_bytes(), header.as_slice(), data].concat();
        let error = read(&edited).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("model.safetensors"),
            "{error}"
        );
    };
    let key = |key: &str, value: &str| format!("\\\"{key}\\\":{value}");
    let (mean, std) = (key("mean", "[0.5"), key("std", "[0.25"));
    check(&mean, &key("mean", "[1e39"), "out of range");
    check(&mean, &key("mean", "[0.5,0.5"), "`preprocessing.mean`");
    check(&std, &key("std", "[0.0"), "`preprocessing.std`");
    check(&std, &key("std", "[-1.0"), "`preprocessing.std`");
    let channels = key("channels", "1,\\\"mean");
    check(
        &channels,
        &key("channels", "3,\\\"mean"),
        "`preprocessing.channels`",
    );
    check(
        &key("height", ""),
        &key("height", "99999"),
        "`preprocessing`",
    );
    check("\\\"plain\\\",", "", "`classes`");
    check(&key("positive", "1"), &key("positive", "2"), "`positive`");
    let map = "{\\\"classes\\\":[\\\"a\\\"],\\\"values\\\":[0]}";
    check(&key("map", "null"), &key("map", map), "`map`");
    check(
        &key("window", "null"),
        &key("window", "[0,3]"),
        "`preprocessing.window`",
    );
    check("\\\"plain\\\"", "\\\"bar\\\"", "`classes`");
    check(
        &key("decision", "null"),
        &key(
            "decision",
            "{\\\"threshold\\\":null,\\\"temperature\\\":0.0,\\\"bias\\\":[0.0,0.0]}",
        ),
        "`decision.temperature`",
    );
    check(
        &key("decision", "null"),
        &key(
            "decision",
            "{\\\"threshold\\\":null,\\\"temperature\\\":1.0,\\\"bias\\\":[0.0]}",
        ),
        "`decision.bias`",
    );
    check(
        &key("tile_overlap", "0.5"),
        &key("tile_overlap", "1.0"),
        "`inference.tile_overlap`",
    );
    check(
        &key("certainty", "0.97"),
        &key("certainty", "9.7"),
        "`inference.certainty`",
    );
    for (name, value) in [("map.bias", f32::NAN), ("map.bias", f32::INFINITY)] {
        let mut store = good.store.clone();
        let index = good
            .graph
            .params
            .iter()
            .position(|p| p.name == name)
            .unwrap();
        let ids: Vec<_> = good
            .graph
            .nodes
            .iter()
            .flat_map(|n| n.params.iter().copied())
            .collect();
        let id = ids.into_iter().find(|id| id.index() == index).unwrap();
        store.get_mut(id)[0] = value;
        let bad = Checkpoint {
            store,
            ..good.clone()
        };
        bad.save(&path).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(
            error.contains("`map.bias`") && error.contains("NaN or infinite"),
            "{error}"
        );
    }
}

/// The score of novelty needs one number for each channel of the features that it names.
#[test]
fn a_novelty_score_round_trips_and_must_fit_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut graph = graph();
    let features = graph
        .ids()
        .find(|id| graph.node(*id).name == "act")
        .unwrap();
    graph.outputs.push(("features.1".into(), features));
    let store = ParamStore::initialized(&graph, 5);
    let spread = Spread {
        median: 1.0,
        high: 2.5,
    };
    // Six channels, two classes.
    let novelty = |width: usize, output: &str| Novelty {
        rule: NoveltyRule {
            output: output.into(),
            shrinkage: 0.1,
            distance: spread,
            energy: spread,
            threshold: 1.2,
            accepted: 0.95,
        },
        mean: vec![0.5; width],
        factor: vec![1.0; width * (width + 1) / 2],
        class_means: vec![0.25; 2 * width],
    };
    let saved = |novelty: Novelty| {
        let checkpoint = Checkpoint {
            novelty: Some(Box::new(novelty)),
            ..Checkpoint::new(graph.clone(), store.clone(), meta())
        };
        checkpoint.save(&path)
    };
    let good = novelty(6, "features.1");
    saved(good.clone()).unwrap();
    assert_eq!(
        Checkpoint::load(&path).unwrap().novelty.as_deref(),
        Some(&good)
    );

    let refused = |error: String, part: &str| {
        assert!(
            error.contains(part) && error.contains("model.safetensors"),
            "{error}"
        );
    };
    refused(
        saved(novelty(6, "features.9")).unwrap_err().to_string(),
        "features.9",
    );
    // Otherwise the features of several images would be taken for those of one.
    saved(novelty(3, "features.1")).unwrap();
    refused(
        Checkpoint::load(&path).unwrap_err().to_string(),
        "novelty/factor",
    );
}
