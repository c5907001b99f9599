//! Checked settings: one type whose values are all valid.

use std::path::{Path, PathBuf};

use augment::AugmentConfig;
use dataset::{DataLayout, MaskPlace};
use model::build::ModelSpec;
use model::engine::{Choice, Precision};
use model::graph::Graph;
use morphology::BorderWeights;
use train::TrainConfig;

use crate::keys::Keys;
use crate::paths::Paths;
use crate::request::Request;
use crate::stage::StageId;
use crate::tables::data::{self, DataSettings};
use crate::tables::evaluate::{self, EvaluateSettings};
use crate::tables::explain::{self, ExplainSettings};
use crate::tables::image::{self, ImageSettings};
use crate::tables::novelty::{self, NoveltySettings};
use crate::tables::overlays::{self, OverlaySettings};
use crate::tables::probe::{self, ProbeSettings};
use crate::tables::quantize::{self, QuantizeSettings};
use crate::tables::stress::{self, StressSettings};
use crate::tables::tracking::{self, TrackingSettings};
use crate::tables::{
    augment as augmentation, model as network, pipeline, report, train as training,
};
use crate::together;
use crate::tree::{ConfigError, Node, Origin, Value, decode};

/// Everything that a run needs to know.
#[derive(Clone)]
pub struct Settings {
    /// The pipeline's name.
    pub name: String,
    /// The report's title.
    pub title: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Where networks run.
    pub device: Choice,
    /// Precision of the factors in convolutions.
    pub precision: Precision,
    /// The stages that run, in order.
    pub stages: Vec<StageId>,
    /// `[data]` and `[phantom]`.
    pub data: DataSettings,
    /// `[image]`.
    pub image: ImageSettings,
    /// `[augment]`.
    pub augment: AugmentConfig,
    /// `[model]`; `classes` is set once the data are known.
    pub model: ModelSpec,
    /// Weights to start the encoder from.
    pub pretrained: Option<PathBuf>,
    /// `[train]`.
    pub train: TrainConfig,
    /// `[train.border]`: weights of the pixels between touching cells.
    pub border: Option<BorderWeights>,
    /// Passes over the training images per epoch, each with new augmentations and crops.
    pub repeats: usize,
    /// `[evaluate]`.
    pub evaluate: EvaluateSettings,
    /// `[novelty]`.
    pub novelty: NoveltySettings,
    /// `[quantize]`.
    pub quantize: QuantizeSettings,
    /// `[stress]`.
    pub stress: StressSettings,
    /// `[probe]`.
    pub probe: ProbeSettings,
    /// `[explain]`.
    pub explain: ExplainSettings,
    /// `[overlays]`.
    pub overlays: OverlaySettings,
    /// Notes from the pipeline file for the report's list of limitations.
    pub notes: Vec<String>,
    /// Images in the report's sample grid.
    pub samples: usize,
    /// `[tracking]`.
    pub tracking: TrackingSettings,
    /// The same settings as a pipeline file, with absolute paths.
    pub resolved: String,
    /// Dotted key and value of each setting that was given, for comparison.
    pub leaves: Vec<(String, String)>,
}

impl Settings {
    /// The network for this number of classes.
    ///
    /// # Errors
    /// As [`model::build::build`].
    pub fn graph(&self, classes: usize) -> Result<Graph, model::build::BuildError> {
        model::build::build(&self.spec(classes))
    }

    /// The network's description for images of this number of classes.
    pub fn spec(&self, classes: usize) -> ModelSpec {
        let coding = self.data.index.masks.as_ref().map(|masks| &masks.coding);
        network::spec(&self.model, &self.train, coding, classes)
    }
}

pub(crate) fn checked(
    tree: Node,
    name: String,
    request: &Request,
) -> Result<Settings, ConfigError> {
    let raw_pipeline: pipeline::Pipeline = table(&tree, "pipeline")?;
    let keys = Keys { tree: &tree };
    let stages = pipeline::stages(&keys, &raw_pipeline.stages)?;
    let (device, precision) = pipeline::compute(&raw_pipeline.device, raw_pipeline.precision)?;
    let paths = Paths {
        root: &request.root,
        tree: &tree,
        dry: request.dry,
    };
    let (model, extra): (ModelSpec, network::ModelExtra) =
        split_table(&tree, "model", &["pretrained"])?;
    let (train, train_extra): (TrainConfig, training::TrainExtra) =
        split_table(&tree, "train", &["border", "repeats"])?;
    let image: image::Image = table(&tree, "image")?;
    let augment = table(&tree, "augment")?;
    augmentation::augment(&keys, &augment)?;
    training::train(&keys, &train)?;
    // A wrong data folder is the most likely mistake: it is reported before absent weights.
    let raw_data: data::Data = table(&tree, "data")?;
    let mut data = data::data(&keys, &paths, raw_data, raw_pipeline.seed, &request.runs())?;
    augmentation::mixing(&keys, &augment, train.wants_masks())?;
    let pretrained = paths.weights("model.pretrained", extra.pretrained.as_deref())?;
    let trained_with = network::trained_with(&keys, &model, pretrained.as_deref())?;
    let image = image::image(
        &keys,
        &paths,
        image,
        &model,
        trained_with.as_ref(),
        &request.runs(),
    )?;
    let model = ModelSpec {
        in_channels: image.channels,
        ..model
    };
    network::own_keys(&keys)?;
    data.index.decoder = image.decoder;
    let masks = data.index.masks.as_ref().map(|masks| &masks.coding);
    together::task(&keys, &model, &train, &data.index, &stages)?;
    together::region_head(&keys, &model, &train, masks)?;
    together::mask_use(&keys, masks, &train, &image, &stages)?;
    together::region(&keys, &image, &stages)?;
    let repeats = training::repeats(&keys, train_extra.repeats)?;
    let border = training::border(&keys, train_extra.border, &train, masks)?;
    let spec = network::spec(&model, &train, masks, data.index.classes.len());
    let graph = network::model(&keys, &spec, &image)?;
    together::encoder(&keys, (&model, &graph), &train)?;
    together::class_map(&keys, (&model, &graph), &train, &image, &stages)?;
    if !request.dry {
        together::memory(&keys, &graph, &image, (&train, device.device), &stages)?;
    }
    let evaluate = evaluate::evaluate(&keys, table(&tree, "evaluate")?)?;
    let novelty = novelty::novelty(&keys, &paths, table(&tree, "novelty")?)?;
    let quantize = quantize::quantize(&keys, &table(&tree, "quantize")?)?;
    let stress = stress::stress(&keys, &table(&tree, "stress")?)?;
    let probe = probe::probe(&keys, &table(&tree, "probe")?)?;
    let explain = explain::explain(&keys, &table(&tree, "explain")?)?;
    let overlays = overlays::overlays(&keys, table(&tree, "overlays")?)?;
    let report::Report { notes, samples } = table(&tree, "report")?;
    report::samples(&keys, samples)?;
    let tracking = tracking::tracking(&paths, table(&tree, "tracking")?);
    let mut resolved = resolved(&tree, &data, &image, pretrained.as_deref());
    if tree.get("pipeline.precision").is_some() {
        // Not `auto`, so that the run goes on in the same precision on another machine.
        resolved.put("pipeline.precision", words(precision.to_string()));
    }
    for (name, path) in &novelty.others {
        resolved.put(&format!("novelty.others.{name}"), text(path));
    }
    if let Some(folder) = &tracking.mlflow {
        resolved.put("tracking.mlflow", text(folder));
    }
    Ok(Settings {
        title: if raw_pipeline.title.is_empty() {
            name.clone()
        } else {
            raw_pipeline.title
        },
        name,
        seed: raw_pipeline.seed,
        device,
        precision,
        stages,
        data,
        image,
        augment,
        model,
        pretrained,
        train,
        border,
        repeats,
        evaluate,
        novelty,
        quantize,
        stress,
        probe,
        explain,
        overlays,
        notes,
        samples,
        tracking,
        resolved: resolved.to_document(),
        leaves: resolved.leaves(),
    })
}

fn table<T: serde::de::DeserializeOwned>(tree: &Node, name: &str) -> Result<T, ConfigError> {
    decode(tree.get(name).unwrap_or(&Node::table()), name, &[])
}

/// Decodes a table that contains the keys of two structs; the keys `own` belong to the second.
fn split_table<T, U>(tree: &Node, name: &str, own: &[&str]) -> Result<(T, U), ConfigError>
where
    T: serde::de::DeserializeOwned,
    U: serde::de::DeserializeOwned,
{
    let mut foreign = tree.get(name).cloned().unwrap_or_else(Node::table);
    let mut ours = Node {
        origin: foreign.origin.clone(),
        ..Node::table()
    };
    for key in own {
        if let Some(node) = foreign.take(key) {
            ours.put(key, node);
        }
    }
    Ok((decode(&foreign, name, own)?, decode(&ours, name, &[])?))
}

fn resolved(
    tree: &Node,
    data: &DataSettings,
    image: &ImageSettings,
    pretrained: Option<&Path>,
) -> Node {
    let mut tree = tree.clone();
    if data.phantom.is_none() {
        // The root of the index already combines `dir` and `images`.
        if tree.get("data.images").is_some() {
            tree.put("data.images", text(Path::new(".")));
        }
        tree.put("data.dir", text(&data.index.root));
        resolve_masks(&mut tree, data);
        if let DataLayout::Csv(layout) = &data.index.layout {
            tree.put("data.csv.file", text(&layout.file));
        }
        for (name, path) in &data.regions {
            tree.put(&format!("data.regions.{name}"), text(path));
        }
    }
    if let (Some(_), Some(path)) = (tree.get("data.cache"), &data.index.cache) {
        tree.put("data.cache", text(path));
    }
    if let Some(path) = pretrained {
        tree.put("model.pretrained", text(path));
    }
    if let Some(region) = &image.region {
        tree.put("image.region.model", text(&region.model));
    }
    tree
}

/// Replaces the trees of masks by absolute paths.
fn resolve_masks(tree: &mut Node, data: &DataSettings) {
    let places = data.index.masks.iter().flat_map(|masks| &masks.places);
    let resolved: Vec<Option<PathBuf>> = places.map(absolute).collect();
    let Some(node) = tree.get("data.masks").cloned() else {
        return;
    };
    let replaced = |mut node: Node, path: &Option<PathBuf>| {
        if let Some(path) = path {
            node = text(path);
        }
        node
    };
    let resolved = match node.value {
        Value::Array(nodes) => Node {
            value: Value::Array(
                nodes
                    .into_iter()
                    .zip(&resolved)
                    .map(|(n, p)| replaced(n, p))
                    .collect(),
            ),
            origin: Origin::Implied,
        },
        _ => replaced(node, resolved.first().unwrap_or(&None)),
    };
    tree.put("data.masks", resolved);
}

/// The path of a tree with the pattern in it; `None` for masks next to the images.
fn absolute(place: &MaskPlace) -> Option<PathBuf> {
    match place {
        MaskPlace::Tree { root, pattern } if pattern == "{stem}.png" => Some(root.clone()),
        MaskPlace::Tree { root, pattern } => Some(root.join(pattern)),
        MaskPlace::Adjacent(_) | MaskPlace::Column => None,
    }
}

fn text(path: &Path) -> Node {
    words(path.to_string_lossy().into_owned())
}

fn words(text: String) -> Node {
    Node {
        value: Value::Text(text),
        origin: Origin::Implied,
    }
}
