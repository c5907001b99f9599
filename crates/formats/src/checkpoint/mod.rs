//! A trained network as one file that holds everything a prediction needs: structure, weights, classes, preprocessing,
//! inference settings, and how scores become a prediction.
//!
//! The format is safetensors with PyTorch's names and layout, so other programs can read the weights; a JSON document
//! in the header holds the rest. The file contains a checksum of itself: it is rejected if a single bit has changed, if
//! it contradicts itself, or if it holds NaN or infinite weights. `last.safetensors` also holds what training needs to
//! resume, under names that start with `training/`: in the same file, so that a killed process cannot leave weights of
//! one epoch with moments of another.
//!
//! Where a run has determined it, the file also detects images unlike the training images ([`Novelty`], under [`NOVELTY`]).
//! A file may hold more than one network: the segmenter that finds the part of the image which the network sees
//! ([`Region`], tensors under [`REGION`]), and others with which it is averaged ([`Ensemble`], under [`MEMBER`]).
//!
//! ```
//! use formats::checkpoint::{Checkpoint, Meta, Preprocessing};
//! use model::graph::{GraphBuilder, Init};
//! use model::store::ParamStore;
//! let mut g = GraphBuilder::new(3);
//! let x = g.input();
//! let x = g.global_avg_pool("pool", x);
//! let logits = g.linear("head", x, 2, Init::Normal(0.1));
//! g.publish("logits", logits);
//! let graph = g.finish(1)?;
//! let store = ParamStore::initialized(&graph, 1);
//! let preprocessing = Preprocessing::stretched((8, 8), vec![0.5; 3], vec![0.5; 3]);
//! let meta = Meta::new(["NORMAL", "PNEUMONIA"], preprocessing);
//! let path = std::env::temp_dir().join("model_checkpoint_example.safetensors");
//! Checkpoint::new(graph, store, meta).save(&path)?;
//! let (network, meta) = Checkpoint::load(&path)?.into_network();
//! assert_eq!(meta.classes[1], "PNEUMONIA");
//! # let _ = network;
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod ensemble;
mod error;
mod file;
mod novelty;
mod region;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use imaging::{Decoder, Fit, Tones};
use model::graph::{Graph, ParamSpec};
use model::network::Network;
use model::quantization::Ranges;
use model::store::{ParamMap, ParamStore};

pub use ensemble::{Ensemble, MEMBER};
pub use error::CheckpointError;
use file::{Contents, Entry, Tensors};
pub use novelty::{NOVELTY, Novelty, NoveltyRule, Spread};
pub use region::{Plausible, REGION, Region, RegionRule};

/// The format written, and the only one read. Format 1 had its threshold on calibrated probabilities; format 2 had
/// strings for what are now fields.
const FORMAT: u32 = 3;

/// Prefix of the names of tensors that only training reads.
pub const TRAINING: &str = "training/";

/// A network with its values and metadata.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Structure.
    pub graph: Graph,
    /// Weights and running statistics.
    pub store: ParamStore,
    /// Metadata.
    pub meta: Meta,
    /// The segmenter that finds the part of an image which the network sees; `None` if it sees whole images.
    pub region: Option<Box<Region>>,
    /// How it detects images unlike those that it was trained on, if that was determined. It is not written for a network
    /// of an ensemble.
    pub novelty: Option<Box<Novelty>>,
    /// Other networks, with which this one is averaged; `None` if it is alone.
    pub ensemble: Option<Box<Ensemble>>,
}

/// What a prediction needs besides the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Names of the classes, in the order of the scores.
    pub classes: Vec<String>,
    /// Index of the class that thresholds and binary metrics refer to.
    pub positive: usize,
    /// How an image becomes the network's input.
    pub preprocessing: Preprocessing,
    /// Classes of the class map, if it was trained on masks.
    pub map: Option<MapClasses>,
    /// Inference settings.
    pub inference: Inference,
    /// How scores become a prediction, if an evaluation has determined that.
    pub decision: Option<Decision>,
    /// Which feature maps inference in int8 stores as codes, if the run has quantized the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Ranges>,
    /// Epoch of the weights, from 1; 0 for an untrained network.
    pub epoch: usize,
    /// That epoch's metrics (`val_loss` …).
    pub metrics: BTreeMap<String, f64>,
    /// Where the weights come from.
    pub origin: Origin,
}

/// Classes of a class map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapClasses {
    /// Names, in the order of the map's channels.
    pub classes: Vec<String>,
    /// The value that each of them has in mask files.
    pub values: Vec<u16>,
}

/// Where weights come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of the program that trained them.
    pub version: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Its title; empty in checkpoints of earlier versions, as are the next two.
    #[serde(default)]
    pub title: String,
    /// Number of images that the weights were trained on.
    #[serde(default)]
    pub images: usize,
    /// Number of patients that these are of; `None` if patients were not known.
    #[serde(default)]
    pub patients: Option<usize>,
    /// A hash over the images' hashes and classes.
    pub data: String,
    /// Whether they were trained only on generated phantoms, not on real images.
    pub phantoms: bool,
}

/// Inference settings, the same as in the training run's evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inference {
    /// Whether predictions are averaged over the image and its mirror image.
    pub mirror: bool,
    /// Overlap of neighbouring tiles as a share of a tile's side, in 0..1.
    pub tile_overlap: f64,
    /// Pixels whose probability is at least this are shown as certain.
    pub certainty: f32,
}

impl Default for Inference {
    /// No mirroring, nnU-Net's overlap of half a tile, the paper's 97 %.
    fn default() -> Self {
        Inference {
            mirror: false,
            tile_overlap: 0.5,
            certainty: 0.97,
        }
    }
}

/// How scores become a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// With two classes, the lowest log-odds at which the positive class is predicted: its score minus the other's,
    /// before any calibration. Without a threshold the most probable class is predicted.
    pub threshold: Option<f64>,
    /// What scores are divided by before softmax.
    pub temperature: f64,
    /// What is then added to them, one value per class.
    pub bias: Vec<f64>,
    /// Which classes a prediction's set has, where an evaluation has calibrated sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<SetRule>,
    /// Which predictions to leave to a person, where an evaluation has found a limit that can be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstention: Option<AbstentionRule>,
}

/// Which classes are in the set of a prediction, which contains the true class with a promised probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetRule {
    /// The probability that is promised, for an image of a patient to come.
    pub coverage: f64,
    /// The least calibrated probability with which each class is in a set.
    pub least: Vec<f64>,
}

/// From which confidence predictions are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbstentionRule {
    /// The least confidence: with a threshold the distance of the calibrated log-odds from it, otherwise the calibrated
    /// probability of the predicted class.
    pub least_confidence: f64,
    /// The share of errors among accepted predictions that is allowed.
    pub allowed: f64,
    /// The probability that this holds.
    pub level: f64,
}

impl Decision {
    /// A decision without sets and abstention.
    pub fn new(threshold: Option<f64>, temperature: f64, bias: Vec<f64>) -> Self {
        Decision {
            threshold,
            temperature,
            bias,
            sets: None,
            abstention: None,
        }
    }
}

/// From an image file to the network's input: grey or colour, resize, `x/255`, `(x − mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// 1 or 3.
    pub channels: usize,
    /// One value per channel, on the scale 0–1.
    pub mean: Vec<f32>,
    /// One value per channel, on the scale 0–1.
    pub std: Vec<f32>,
    /// How an image of another shape is fitted into the input.
    pub fit: Fit,
    /// Rows and columns of the windows that the network was trained on; `None` for whole images.
    pub window: Option<(usize, usize)>,
    /// Pixels of the largest image file that is read.
    pub max_pixels: u64,
    /// Which frame of a DICOM file with several is read, counted from 1.
    #[serde(default)]
    pub frame: Option<u32>,
    /// How stored values become grey.
    #[serde(default)]
    pub tones: Tones,
}

impl Preprocessing {
    /// Whether files become the same pixels as with another preprocessing, up to the limit for their size.
    pub fn reads_like(&self, other: &Self) -> bool {
        (self.frame, self.tones) == (other.frame, other.tones)
    }

    /// How files become pixels, in words: one step for each setting that is not the default.
    pub fn reading_steps(&self) -> Vec<String> {
        let frame = self.frame.map(|frame| format!("frame {frame}"));
        frame.into_iter().chain(self.tones.steps()).collect()
    }

    /// Whole images stretched to a size, with the default limit for image files.
    pub fn stretched((height, width): (usize, usize), mean: Vec<f32>, std: Vec<f32>) -> Self {
        Preprocessing {
            height,
            width,
            channels: mean.len(),
            mean,
            std,
            fit: Fit::Stretch,
            window: None,
            max_pixels: Decoder::default().max_pixels,
            frame: None,
            tones: Tones::default(),
        }
    }
}

impl Meta {
    /// Metadata of an untrained network; the last class is the positive one.
    pub fn new<S: Into<String>>(
        classes: impl IntoIterator<Item = S>,
        preprocessing: Preprocessing,
    ) -> Self {
        let classes: Vec<String> = classes.into_iter().map(Into::into).collect();
        Meta {
            positive: classes.len().saturating_sub(1),
            classes,
            preprocessing,
            map: None,
            inference: Inference::default(),
            decision: None,
            quantization: None,
            epoch: 0,
            metrics: BTreeMap::new(),
            origin: Origin::default(),
        }
    }
}

impl Checkpoint {
    /// A network that sees whole images.
    pub fn new(graph: Graph, store: ParamStore, meta: Meta) -> Self {
        Checkpoint {
            graph,
            store,
            meta,
            region: None,
            novelty: None,
            ensemble: None,
        }
    }

    /// Writes the file, whole or not at all; the same contents give the same bytes.
    ///
    /// # Errors
    /// The file cannot be written; an existing one is then left unchanged.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        save(
            path,
            &Parts {
                graph: &self.graph,
                store: &self.store,
                meta: &self.meta,
                region: self.region.as_deref(),
                novelty: self.novelty.as_deref(),
                ensemble: self.ensemble.as_deref(),
            },
            None,
        )
    }

    /// Reads a file that [`Checkpoint::save`] or a training run wrote.
    ///
    /// # Errors
    /// No such file, or one that is truncated, foreign or inconsistent.
    pub fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
        load(path).map(|(checkpoint, _)| checkpoint)
    }

    /// Returns a network that is ready to run, and the metadata.
    pub fn into_network(self) -> (Network, Meta) {
        (Network::with_store(self.graph, self.store), self.meta)
    }
}

/// The folder of a run's two checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointDir {
    path: PathBuf,
}

impl CheckpointDir {
    /// Creates the folder if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        match files::create_folder(&path) {
            Ok(()) => Ok(CheckpointDir { path }),
            Err(source) => Err(CheckpointError::Io {
                action: "create the folder",
                path,
                source,
            }),
        }
    }

    /// Path of the checkpoint with the best monitored metric.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// Path of the checkpoint of the last completed epoch, from which a run resumes.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }
}

/// A checkpoint that is about to be written.
pub struct Parts<'a> {
    /// Structure.
    pub graph: &'a Graph,
    /// Weights and running statistics.
    pub store: &'a ParamStore,
    /// Metadata.
    pub meta: &'a Meta,
    /// The segmenter that finds the part of an image which the network sees.
    pub region: Option<&'a Region>,
    /// How it detects images unlike those that it was trained on.
    pub novelty: Option<&'a Novelty>,
    /// Other networks, with which this one is averaged.
    pub ensemble: Option<&'a Ensemble>,
}

/// What training needs to resume: a document and flat buffers.
pub struct Training<'a> {
    /// Progress so far.
    pub progress: Value,
    /// Moments and averages, written under `training/` followed by the name.
    pub buffers: Vec<(String, Cow<'a, [f32]>)>,
}

impl Training<'_> {
    /// Removes a buffer and returns it.
    pub fn take(&mut self, name: &str) -> Option<Vec<f32>> {
        let at = self.buffers.iter().position(|(n, _)| n == name)?;
        Some(self.buffers.swap_remove(at).1.into_owned())
    }
}

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    /// See [`file::NO_SUM`]; must come first.
    sha256: Cow<'a, str>,
    format: u32,
    graph: Cow<'a, Graph>,
    meta: Cow<'a, Meta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<region::Document<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    novelty: Option<Cow<'a, NoveltyRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ensemble: Option<ensemble::Document<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<Value>,
}

/// Writes a checkpoint, whole or not at all, including what training needs to resume, if given.
///
/// # Errors
/// The file cannot be written, or the metadata are inconsistent.
pub fn save(
    path: &Path,
    parts: &Parts<'_>,
    training: Option<Training<'_>>,
) -> Result<(), CheckpointError> {
    let (progress, buffers) = training.map_or((None, vec![]), |t| (Some(t.progress), t.buffers));
    check::meta(path, parts.graph, parts.meta)?;
    if let Some(region) = parts.region {
        region.check(path)?;
    }
    if let Some(novelty) = parts.novelty {
        novelty.rule.check(path, parts.graph, parts.meta)?;
    }
    if let Some(ensemble) = parts.ensemble {
        ensemble.check(path, parts.meta)?;
    }
    let document = Document {
        sha256: Cow::Borrowed(file::NO_SUM),
        format: FORMAT,
        graph: Cow::Borrowed(parts.graph),
        meta: Cow::Borrowed(parts.meta),
        region: parts.region.map(region::Document::of),
        novelty: parts.novelty.map(|novelty| Cow::Borrowed(&novelty.rule)),
        ensemble: parts.ensemble.map(ensemble::Document::of),
        training: progress,
    };
    let document = serde_json::to_string(&document).map_err(|e| CheckpointError::Io {
        action: "write",
        path: path.into(),
        source: std::io::Error::other(e),
    })?;
    let mut entries = entries("", parts.graph, parts.store);
    if let Some(region) = parts.region {
        entries.extend(self::entries(REGION, &region.graph, &region.store));
    }
    if let Some(novelty) = parts.novelty {
        entries.extend(novelty.entries());
    }
    if let Some(ensemble) = parts.ensemble {
        entries.extend(ensemble.entries());
    }
    entries.extend(buffers.into_iter().map(|(name, data)| {
        (
            format!("{TRAINING}{name}"),
            Entry {
                shape: vec![data.len()],
                data,
            },
        )
    }));
    file::write(path, &document, entries)
}

/// The parameters of a network as tensors of the file, their names preceded by `prefix`.
fn entries(prefix: &str, graph: &Graph, store: &ParamStore) -> Vec<(String, Entry<'static>)> {
    let entry = |(id, spec): (_, &ParamSpec)| {
        let data = spec.to_torch(store.get(id)).into();
        let shape = spec.torch_shape();
        (format!("{prefix}{}", spec.name), Entry { shape, data })
    };
    graph.parameters().map(entry).collect()
}

/// Reads a checkpoint and, if it holds that, what training needs to resume.
///
/// # Errors
/// No such file, or one that is truncated, foreign or inconsistent.
pub fn load(path: &Path) -> Result<(Checkpoint, Option<Training<'static>>), CheckpointError> {
    let contents = Contents::read(path)?;
    let document = contents.document()?;
    check_format(path, &document)?;
    contents.check_sum(&document)?;
    let document: Document<'static> =
        serde_json::from_str(&document).map_err(|e| contents.damaged(e))?;
    let graph = document.graph.into_owned();
    graph.check().map_err(|source| CheckpointError::Graph {
        path: path.into(),
        source,
    })?;
    let meta = document.meta.into_owned();
    check::meta(path, &graph, &meta)?;
    let region = document.region.map(|r| r.checked(path)).transpose()?;
    let novelty = document.novelty.map(Cow::into_owned);
    if let Some(rule) = &novelty {
        rule.check(path, &graph, &meta)?;
    }
    let ensemble = document.ensemble.map(|e| e.checked(path, &meta));
    let ensemble = ensemble.transpose()?;
    let tensors = contents.tensors()?;
    let store = read_store("", &graph, &tensors)?;
    let region = region.map(|r| r.read("", &tensors)).transpose()?;
    let novelty = novelty
        .map(|rule| rule.read(&graph, &tensors))
        .transpose()?;
    let ensemble = ensemble.map(|e| e.read(&tensors)).transpose()?;
    let others = (region.as_ref(), novelty.as_ref(), ensemble.as_ref());
    check_names(&graph, others, &tensors)?;
    let training = document
        .training
        .map(|progress| read_training(progress, &tensors))
        .transpose()?;
    let checkpoint = Checkpoint {
        graph,
        store,
        meta,
        region: region.map(Box::new),
        novelty: novelty.map(Box::new),
        ensemble: ensemble.map(Box::new),
    };
    Ok((checkpoint, training))
}

/// Network and metadata in a checkpoint's header, without the weights; `None` if the header is not a checkpoint's.
pub fn peek(header: &BTreeMap<String, String>) -> Option<(Graph, Meta)> {
    let document: Document<'_> = serde_json::from_str(header.get(file::DOCUMENT)?).ok()?;
    Some((document.graph.into_owned(), document.meta.into_owned()))
}

/// The network in a checkpoint's header; `None` if the header is not a checkpoint's or the network is invalid.
pub fn network(header: &BTreeMap<String, String>) -> Option<Graph> {
    let (graph, _) = peek(header)?;
    graph.check().is_ok().then_some(graph)
}

/// Checks the format version before anything else, because another version may differ in everything else.
fn check_format(path: &Path, document: &str) -> Result<(), CheckpointError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    match serde_json::from_str(document) {
        Ok(Format { format: FORMAT }) => Ok(()),
        Ok(Format { format: found }) => Err(CheckpointError::Version {
            path: path.into(),
            found,
            known: FORMAT,
        }),
        Err(_) => Err(CheckpointError::Foreign { path: path.into() }),
    }
}

/// Shapes are compared before anything is allocated: a damaged network may request any amount.
fn read_store(
    prefix: &str,
    graph: &Graph,
    tensors: &Tensors<'_>,
) -> Result<ParamStore, CheckpointError> {
    let mut values = Vec::with_capacity(graph.params.len());
    for spec in &graph.params {
        let name = format!("{prefix}{}", spec.name);
        let own = tensors.get(&name, Some(&spec.torch_shape()))?;
        check::values(spec, &own).map_err(|problem| tensors.error(&name, problem))?;
        values.push(own);
    }
    let mut store = ParamStore::zeros(Arc::new(ParamMap::new(graph)));
    for ((id, spec), values) in graph.parameters().zip(&values) {
        spec.store_torch(values, store.get_mut(id));
    }
    Ok(store)
}

/// Refuses a tensor that belongs neither to a network in the file nor to training.
fn check_names(
    graph: &Graph,
    (region, novelty, ensemble): (Option<&Region>, Option<&Novelty>, Option<&Ensemble>),
    tensors: &Tensors<'_>,
) -> Result<(), CheckpointError> {
    let own = graph.params.iter().map(|p| p.name.clone());
    let of_region = region.iter().flat_map(|region| &region.graph.params);
    let of_region = of_region.map(|p| format!("{REGION}{}", p.name));
    let of_others = ensemble.map(Ensemble::names).unwrap_or_default();
    let of_novelty = novelty.iter().flat_map(|_| Novelty::names());
    let known: HashSet<String> = own
        .chain(of_region)
        .chain(of_novelty)
        .chain(of_others)
        .collect();
    let foreign = |name: &&&str| !name.starts_with(TRAINING) && !known.contains(**name);
    match tensors.names().iter().find(foreign) {
        None => Ok(()),
        Some(name) => Err(tensors.error(name, "belongs to no parameter of a network in the file")),
    }
}

fn read_training(
    progress: Value,
    tensors: &Tensors<'_>,
) -> Result<Training<'static>, CheckpointError> {
    let mut buffers = vec![];
    for name in tensors.names() {
        if let Some(short) = name.strip_prefix(TRAINING) {
            buffers.push((short.to_string(), Cow::Owned(tensors.get(name, None)?)));
        }
    }
    Ok(Training { progress, buffers })
}
