//! Checkpoints, opened and used as by `predict`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use formats::checkpoint::{
    AbstentionRule, Checkpoint, Decision, Ensemble, MapClasses, Meta, Novelty, NoveltyRule,
    Plausible, Preprocessing, Region, RegionRule, SetRule, Spread,
};
use imaging::Fit;
use model::graph::{Activation, Padding};
use model::graph::{Graph, GraphBuilder, GraphError, Init, Interpolation, NodeId};
use model::store::ParamStore;
use pipeline::predict::{Prediction, Predictor};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::formats::{json, safetensors};
use crate::seeds::{self, two};
use crate::{Case, Outcome, Rng, Session, Target, mutate};

const FILE: &str = "model.safetensors";
/// Side of the networks' input, in pixels.
const SIDE: usize = 16;

pub(super) struct Crafted;

impl Target for Crafted {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn about(&self) -> &'static str {
        "checkpoints with a changed network, classes, preprocessing and shapes, in a file with a right checksum"
    }

    fn short(&self) -> u64 {
        800
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn open(&self, home: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(CraftedFiles(Asked::new(home)?)))
    }
}

pub(super) struct Damaged;

impl Target for Damaged {
    fn name(&self) -> &'static str {
        "checkpoint-damaged"
    }

    fn about(&self) -> &'static str {
        "checkpoints with flipped bits and lost bytes: refused, or with unchanged predictions"
    }

    fn short(&self) -> u64 {
        800
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn open(&self, home: &Path) -> Result<Box<dyn Session>> {
        let asked = Asked::new(home)?;
        let mut known = vec![];
        for bytes in &asked.seeds {
            let path = home.join(FILE);
            fs::write(&path, bytes)?;
            known.push(answer(&asked.predict(&path)?));
        }
        Ok(Box::new(DamagedFiles { asked, known }))
    }
}

/// Valid checkpoints, and an image to predict.
struct Asked {
    seeds: Vec<Vec<u8>>,
    image: PathBuf,
    overlays: PathBuf,
}

impl Asked {
    fn new(home: &Path) -> Result<Self> {
        let image = home.join("image.png");
        fs::write(&image, seeds::grey_png(20, 15))?;
        let seeds = [
            classifier()?,
            segmenter()?,
            squeezed()?,
            regional()?,
            cascade()?,
            doubting()?,
            ensemble()?,
        ];
        let saved = seeds
            .iter()
            .map(|checkpoint| saved(checkpoint, &home.join(FILE)));
        Ok(Self {
            seeds: saved.collect::<Result<_>>()?,
            image,
            overlays: home.join("overlays"),
        })
    }

    fn predict(&self, checkpoint: &Path) -> Result<Prediction> {
        Predictor::open(checkpoint)?.predict(&self.image, &self.overlays)
    }
}

fn saved(checkpoint: &Checkpoint, path: &Path) -> Result<Vec<u8>> {
    checkpoint.save(path)?;
    Ok(fs::read(path)?)
}

/// What a user reads from a prediction: classes, probabilities, shares.
fn answer(prediction: &Prediction) -> String {
    let (class, positive) = (&prediction.class, &prediction.positive);
    let shares = prediction.segmentation.as_ref().map(|s| &s.shares);
    let (p, threshold) = (&prediction.probabilities, prediction.threshold);
    format!(
        "{class:?} {positive:?} {p:?} {threshold:?} {:?} {shares:?}",
        prediction.green_share
    )
}

struct CraftedFiles(Asked);

impl Session for CraftedFiles {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let (seed, other) = two(rng, &self.0.seeds);
        Case::file(FILE, crafted(rng, seed, other))
    }

    fn run(&mut self, input: &Path) -> Outcome {
        match self.0.predict(&input.join(FILE)) {
            // A checkpoint may be valid for other images than this one; the error does not name the checkpoint then.
            Err(_) => Outcome::Refused,
            Ok(prediction) => check(&prediction),
        }
    }
}

/// Probabilities and shares are in [0, 1], and probabilities sum to 1.
fn check(prediction: &Prediction) -> Outcome {
    let p = prediction.probabilities.iter().map(|p| p.probability);
    let shares = prediction
        .segmentation
        .iter()
        .flat_map(|s| &s.shares)
        .map(|s| s.share);
    let bad = p
        .clone()
        .chain(shares)
        .chain(prediction.green_share)
        .find(|p| !(0.0..=1.0).contains(p));
    let sum: f64 = p.clone().sum();
    match bad {
        Some(p) => Outcome::Wrong(format!("predicts a probability or share of {p}")),
        None => Outcome::accepted_if(p.count() == 0 || (sum - 1.0).abs() < 1e-6, || {
            format!("predicts probabilities that sum to {sum}")
        }),
    }
}

struct DamagedFiles {
    asked: Asked,
    /// The predictions of the undamaged files.
    known: Vec<String>,
}

impl Session for DamagedFiles {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let mut bytes = two(rng, &self.asked.seeds).0.to_vec();
        mutate::damage(rng, &mut bytes);
        Case::file(FILE, bytes)
    }

    fn run(&mut self, input: &Path) -> Outcome {
        match self.asked.predict(&input.join(FILE)) {
            Err(error) => Outcome::refused(format!("{error:#}"), FILE),
            Ok(prediction) => {
                Outcome::accepted_if(self.known.contains(&answer(&prediction)), || {
                    "a damaged checkpoint is accepted and its predictions differ".into()
                })
            }
        }
    }
}

/// Mutates the document in the header, including shapes, as JSON, and keeps the file's checksum right.
fn crafted(rng: &mut Rng, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let Some((header, data)) = safetensors::split(seed).filter(|_| !rng.once_in(8)) else {
        return safetensors::mutate(rng, seed, other);
    };
    let mut header: Value = serde_json::from_slice(header).unwrap_or_default();
    let place = "/__metadata__/checkpoint";
    let text = header
        .pointer(place)
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut document: Value = serde_json::from_str(text).unwrap_or_default();
    json::mutate(rng, &mut document);
    if let Some(entries) = document.as_object_mut() {
        entries.insert("sha256".into(), NO_SUM.into());
    }
    if let Some(slot) = header.pointer_mut(place) {
        *slot = Value::String(document.to_string());
    }
    with_sum(safetensors::join(&header.to_string(), data))
}

/// Placeholder for a checkpoint's checksum while it is computed.
const NO_SUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn with_sum(mut file: Vec<u8>) -> Vec<u8> {
    let sum: String = Sha256::digest(&file)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let place = file
        .windows(NO_SUM.len())
        .position(|text| text == NO_SUM.as_bytes());
    if let Some(place) = place {
        file[place..place + sum.len()].copy_from_slice(sum.as_bytes());
    }
    file
}

/// A classifier with convolutions of all kinds, downsampling and upsampling, with a map and class scores from its mean.
fn classifier() -> Result<Checkpoint> {
    let graph = network(|g, map| {
        g.publish("map", map);
        let pooled = g.global_avg_pool("pool", map);
        let logits = g.linear("head", pooled, 2, Init::Normal(0.5));
        g.publish("logits", logits);
    })?;
    checkpoint(graph, None)
}

/// The same network without scores, with a map trained on masks.
fn segmenter() -> Result<Checkpoint> {
    let graph = network(|g, map| g.publish("map", map))?;
    checkpoint(graph, Some(lungs()))
}

/// The same network with such a map, and with scores from the region that it predicts.
fn regional() -> Result<Checkpoint> {
    let graph = network(|g, map| {
        g.publish("map", map);
        let pooled = g.region_pool("region_pool", map, map);
        let logits = g.linear("region_head", pooled, 2, Init::Normal(0.5));
        g.publish("logits", logits);
    })?;
    checkpoint(graph, Some(lungs()))
}

fn lungs() -> MapClasses {
    MapClasses {
        classes: vec!["background".into(), "lung".into()],
        values: vec![0, 255],
    }
}

/// A classifier without a map, with a squeeze-and-excitation block.
fn squeezed() -> Result<Checkpoint> {
    let mut g = GraphBuilder::new(3);
    let x = g.input();
    let x = g.conv(
        "stem",
        x,
        4,
        3,
        2,
        Padding::Symmetric(1),
        true,
        Init::Normal(0.3),
    );
    let pooled = g.global_avg_pool("squeeze", x);
    let gate = g.linear("excite", pooled, 4, Init::Normal(0.3));
    let gate = g.activation("gate", gate, Activation::Sigmoid);
    let x = g.scale_channels("scaled", x, gate);
    let x = g.crop("cropped", x, 1);
    let pooled = g.global_avg_pool("pool", x);
    let dropped = g.dropout("drop", pooled, 0.2);
    let logits = g.linear("head", dropped, 2, Init::Normal(0.5));
    g.publish("logits", logits);
    checkpoint(g.finish(2)?, None)
}

/// A classifier that detects images unlike its training images.
fn doubting() -> Result<Checkpoint> {
    let graph = network(|g, map| {
        g.publish("map", map);
        let seen = g.activation("seen", map, Activation::Relu);
        g.publish("features.1", seen);
        let pooled = g.global_avg_pool("pool", seen);
        let logits = g.linear("head", pooled, 2, Init::Normal(0.5));
        g.publish("logits", logits);
    })?;
    let mut quantized = checkpoint(graph, None)?;
    let ranges = [("seen".to_owned(), [0.0, 4.0])];
    quantized.meta.quantization = Some(ranges.into_iter().collect());
    let spread = Spread {
        median: 1.0,
        high: 2.0,
    };
    Ok(Checkpoint {
        novelty: Some(Box::new(Novelty {
            rule: NoveltyRule {
                output: "features.1".into(),
                shrinkage: 0.1,
                distance: spread,
                energy: spread,
                threshold: 1.0,
                accepted: 0.95,
            },
            mean: vec![0.5, 0.5],
            factor: vec![1.0, 0.0, 1.0],
            class_means: vec![-0.5, 0.0, 0.5, 0.0],
        })),
        ..quantized
    })
}

/// A classifier that sees the region that a segmenter finds.
fn cascade() -> Result<Checkpoint> {
    let Checkpoint {
        graph, store, meta, ..
    } = segmenter()?;
    let rule = RegionRule {
        classes: vec![1],
        margin: 0.1,
        plausible: Plausible {
            area: [0.0, 1.0],
            extent: [0.0, 1.0],
            components: [1, 1000],
        },
        typical: [0.1, 0.2, 0.8, 0.9],
    };
    Ok(Checkpoint {
        region: Some(Box::new(Region {
            graph,
            store,
            meta,
            rule,
        })),
        ..classifier()?
    })
}

fn ensemble() -> Result<Checkpoint> {
    Ok(Checkpoint {
        ensemble: Some(Box::new(Ensemble {
            others: vec![cascade()?],
            decision: decision(),
        })),
        ..classifier()?
    })
}

fn decision() -> Decision {
    Decision {
        sets: Some(SetRule {
            coverage: 0.9,
            least: vec![0.3, 0.2],
        }),
        abstention: Some(AbstentionRule {
            least_confidence: 0.4,
            allowed: 0.05,
            level: 0.9,
        }),
        ..Decision::new(Some(0.1), 1.5, vec![0.2, -0.2])
    }
}

fn network(head: impl FnOnce(&mut GraphBuilder, NodeId)) -> Result<Graph, GraphError> {
    let mut g = GraphBuilder::new(3);
    let x = g.input();
    let x = g.conv(
        "stem",
        x,
        4,
        3,
        1,
        Padding::Symmetric(1),
        false,
        Init::Normal(0.3),
    );
    let x = g.batch_norm("bn", x, 1e-3, 0.1);
    let skip = g.activation("act", x, Activation::Silu);
    let x = g.max_pool("down", skip, 2, 2, Padding::Symmetric(0));
    let x = g.depthwise("dw", x, 3, 2, Padding::Same, Init::Normal(0.3));
    let x = g.upsample2x("up", x, Interpolation::Bilinear);
    let x = g.conv_transpose2x2("up2", x, 4, Init::Normal(0.3));
    let x = g.add("sum", x, skip);
    let x = g.concat("cat", &[x, skip]);
    let map = g.conv(
        "segmentation_head.0",
        x,
        2,
        1,
        1,
        Padding::Symmetric(0),
        true,
        Init::Normal(0.3),
    );
    head(&mut g, map);
    g.finish(4)
}

fn checkpoint(graph: Graph, map: Option<MapClasses>) -> Result<Checkpoint> {
    let mut preprocessing = Preprocessing::stretched((SIDE, SIDE), vec![0.5; 3], vec![0.25; 3]);
    if map.is_some() {
        preprocessing.fit = Fit::Pad;
    }
    let mut meta = Meta::new(["WELL", "ILL"], preprocessing);
    meta.map = map;
    meta.inference.mirror = true;
    meta.decision = Some(decision());
    let store = ParamStore::initialized(&graph, 7);
    Ok(Checkpoint::new(graph, store, meta))
}
