//! Checks of values whose types are right: each refuses with the key, its place and what to do.

use std::collections::HashSet;
use std::path::Path;

use augment::{AugmentConfig, Augmenter};
use dataset::phantom::{CellsConfig, ClassImages, HeadsConfig, PhantomConfig, Subject};
use dataset::{Dealt, IndexConfig, Layout, SplitPolicy};
use formats::weights::{About, InputNormalization, TensorFile};
use imaging::{Decoder, Marks, MaskCoding};
use model::build::{self, ModelSpec};
use model::engine::{Choice, Device, Precision, cpu};
use model::graph::Graph;
use morphology::BorderWeights;
use train::{Task, TrainConfig, TrainError};

use super::ConfigError;
use super::nearest::did_you_mean;
use super::raw::{self, Threshold};
use super::settings::{EvaluateSettings, ImageSettings, SegmentSettings};
use super::tree::Node;
use crate::stages::{self, Artifact, Stage};

/// The tree, for places in errors.
pub(super) struct Keys<'t> {
    pub(super) tree: &'t Node,
}

impl Keys<'_> {
    fn refuse(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let nearest =
            std::iter::successors(Some(key), |k| k.rsplit_once('.').map(|(table, _)| table))
                .find_map(|k| self.tree.get(k));
        let origin = nearest.map_or_else(|| "settings".into(), |node| node.origin.to_string());
        ConfigError::Value {
            key: key.into(),
            origin,
            message: message.into(),
        }
    }

    fn within<T: PartialOrd + std::fmt::Display>(
        &self,
        key: &str,
        value: T,
        low: T,
        high: T,
    ) -> Result<T, ConfigError> {
        if value >= low && value <= high {
            return Ok(value);
        }
        Err(self.refuse(
            key,
            format!("{value} is out of range: it must be from {low} to {high}"),
        ))
    }
}

/// Names are known, none stands twice, and every stage's input is made by an earlier one.
pub(super) fn stages(
    keys: &Keys<'_>,
    names: &[String],
) -> Result<Vec<&'static dyn Stage>, ConfigError> {
    const KEY: &str = "pipeline.stages";
    let known: Vec<&str> = stages::all().iter().map(|s| s.name()).collect();
    let (mut found, mut made) = (vec![], HashSet::new());
    for name in names {
        let Some(stage) = stages::find(name) else {
            let hint = did_you_mean(name, &known);
            return Err(keys.refuse(
                KEY,
                format!("no stage \"{name}\"{hint}; there are: {}", known.join(", ")),
            ));
        };
        if found
            .iter()
            .any(|earlier: &&dyn Stage| earlier.name() == name)
        {
            return Err(keys.refuse(KEY, format!("the stage \"{name}\" stands twice")));
        }
        if let Some(missing) = stage.reads().iter().find(|a| !made.contains(*a)) {
            return Err(keys.refuse(KEY, unmade(name, *missing)));
        }
        made.extend(stage.writes().iter().copied());
        found.push(stage);
    }
    if found.is_empty() {
        return Err(keys.refuse(
            KEY,
            format!("no stage is given; there are: {}", known.join(", ")),
        ));
    }
    Ok(found)
}

fn unmade(stage: &str, artifact: Artifact) -> String {
    let maker = stages::all()
        .iter()
        .find(|s| s.writes().contains(&artifact))
        .map_or("", |s| s.name());
    format!(
        "the stage \"{stage}\" reads {artifact}, which no earlier stage makes; put \"{maker}\" before it"
    )
}

/// The device of a name, found and tried.
pub(crate) fn device(name: &str, precision: Precision) -> Result<Choice, ConfigError> {
    match Device::choose(name, precision) {
        Some(Ok(choice)) => Ok(choice),
        Some(Err(why)) => Err(ConfigError::Device(format!("device \"{name}\": {why}"))),
        None => Err(ConfigError::Device(format!(
            "no device \"{name}\"{}; there are: {}",
            did_you_mean(name, &Device::NAMES),
            Device::NAMES.join(", ")
        ))),
    }
}

pub(super) fn augment(keys: &Keys<'_>, config: &AugmentConfig) -> Result<(), ConfigError> {
    Augmenter::new(config)
        .map(drop)
        .map_err(|e| keys.refuse("augment", e.to_string()))
}

pub(super) fn train(keys: &Keys<'_>, config: &TrainConfig) -> Result<(), ConfigError> {
    config.check().map_err(|e| match e {
        TrainError::Config { key, must } => {
            keys.refuse(&format!("train.{key}"), format!("it must be {must}"))
        }
        other => keys.refuse("train", other.to_string()),
    })
}

/// Overlays of a map that nothing teaches would show noise, and a map that is smaller than its image lies on nothing.
pub(super) fn class_map(
    keys: &Keys<'_>,
    (spec, graph): (&ModelSpec, &Graph),
    train: &TrainConfig,
    image: &ImageSettings,
    stages: &[&dyn Stage],
) -> Result<(), ConfigError> {
    let wanted = stages
        .iter()
        .any(|s| s.writes().contains(&Artifact::Overlays));
    let no_map = graph.output("map").is_none();
    if let Some((height, width)) = smaller_map(graph, image)
        && wanted
    {
        return Err(keys.refuse(
            "pipeline.stages",
            format!(
                "the class map of {} is {height}x{width} for an image of {}x{}, so that overlays do not fit it; \
                 leave out the stage \"segment\", or choose another architecture",
                spec.label(),
                image.height,
                image.width
            ),
        ));
    }
    if wanted && (no_map || (spec.head != "article" && !train.wants_masks())) {
        return Err(keys.refuse(
            "pipeline.stages",
            format!(
                "the stage \"segment\" needs a class map that training reaches, and this network ({}) has none; \
                 use head = \"article\", teach the map by masks (train.map.loss), or leave the stage out",
                spec.label()
            ),
        ));
    }
    Ok(())
}

/// Height and width of a class map that is smaller than the image.
fn smaller_map(graph: &Graph, image: &ImageSettings) -> Option<(usize, usize)> {
    let map = graph.output("map")?;
    let shape = graph.shapes(image.height, image.width).ok()?[map.index()];
    ((shape.h, shape.w) != (image.height, image.width)).then_some((shape.h, shape.w))
}

/// Weights for an encoder need one in timm's names.
fn has_encoder(keys: &Keys<'_>, spec: &ModelSpec, graph: &Graph) -> Result<(), ConfigError> {
    if graph.params.iter().any(|p| p.name.starts_with("encoder.")) {
        return Ok(());
    }
    Err(keys.refuse(
        "model.pretrained",
        format!(
            "the network ({}) has no EfficientNet encoder to load; leave the key out",
            spec.label()
        ),
    ))
}

/// Keys of a network's description that other tables decide.
pub(super) fn own_keys(keys: &Keys<'_>) -> Result<(), ConfigError> {
    for (key, instead) in [
        ("classes", "the class folders decide it"),
        ("map_classes", "the masks' classes decide it"),
        ("in_channels", "image.channels decides it"),
    ] {
        let key = format!("model.{key}");
        if keys.tree.get(&key).is_some() {
            return Err(keys.refuse(&key, format!("this is no setting of a pipeline: {instead}")));
        }
    }
    Ok(())
}

/// The network for images of so many classes. A map that masks alone teach, or all of whose classes they teach, has the
/// masks' classes; else it has the images', of which binary masks may mark one.
pub(super) fn spec(
    model: &ModelSpec,
    train: &TrainConfig,
    masks: Option<&MaskCoding>,
    classes: usize,
) -> ModelSpec {
    let taught = match train.task() {
        Task::Classify => false,
        Task::Segment => true,
        Task::Both => train.map.loss.is_multiclass(),
    };
    // Without class folders in the settings, and for a segmenter of images of one class: any number that builds.
    let classes = classes.max(2);
    ModelSpec {
        classes,
        map_classes: masks
            .filter(|_| taught)
            .map(|coding| coding.pixel_class_count(classes)),
        ..model.clone()
    }
}

/// The task, the head and the stages speak of the same thing.
pub(super) fn task(
    keys: &Keys<'_>,
    model: &ModelSpec,
    train: &TrainConfig,
    index: &IndexConfig,
    stages: &[&dyn Stage],
) -> Result<(), ConfigError> {
    let head =
        build::find_head(&model.head).map_err(|e| keys.refuse("model.head", e.to_string()))?;
    let classifies = train.task().classifies();
    if classifies && !head.scores {
        let message = "this head has no class scores to teach; set train.task = \"segment\", or choose another head";
        return Err(keys.refuse("model.head", message));
    }
    if !classifies && head.scores {
        let message = "masks alone teach nothing to a head of class scores; set model.head = \"none\" beside train.task = \"segment\"";
        return Err(keys.refuse("model.head", message));
    }
    let has = |artifact| stages.iter().find(|s| s.writes().contains(&artifact));
    let single = index.classes.len() == 1 || index.layout == Layout::Images;
    if classifies && single && has(Artifact::Model).is_some() {
        let message = "the images are of one class, so that there is nothing to classify; set task = \"segment\" (with model.head = \"none\" \
                       and masks), or name at least two classes in data.classes";
        return Err(keys.refuse("train.task", message));
    }
    let judges_scores = has(Artifact::Metrics).or_else(|| has(Artifact::Overlays));
    if let (false, Some(stage)) = (classifies, judges_scores) {
        let message = format!(
            "the stage \"{}\" is about class scores, which task = \"segment\" does not train; use \"evaluate-map\" instead",
            stage.name()
        );
        return Err(keys.refuse("pipeline.stages", message));
    }
    if let (false, Some(stage)) = (train.wants_masks(), has(Artifact::Segmentation)) {
        let message = format!(
            "the stage \"{}\" judges a map that masks have taught; set train.map.loss, or leave the stage out",
            stage.name()
        );
        return Err(keys.refuse("pipeline.stages", message));
    }
    Ok(())
}

/// Of the training images in an epoch; 1 if left out.
pub(super) fn repeats(keys: &Keys<'_>, raw: Option<usize>) -> Result<usize, ConfigError> {
    keys.within("train.repeats", raw.unwrap_or(1), 1, 10_000)
}

/// `[train.border]` is for masks of cells that teach.
pub(super) fn border(
    keys: &Keys<'_>,
    raw: Option<raw::Border>,
    train: &TrainConfig,
    masks: Option<&MaskCoding>,
) -> Result<Option<BorderWeights>, ConfigError> {
    let Some(raw::Border { w0, sigma, balance }) = raw else {
        return Ok(None);
    };
    let binary = masks.is_some_and(|coding| coding.classes() == 2);
    if !train.wants_masks() || !binary {
        let message = "border weights are for binary masks of cells that teach the map (data.masks and train.map.loss)";
        return Err(keys.refuse("train.border", message));
    }
    let weights = BorderWeights { w0, sigma, balance };
    let pixel = morphology::Mask::new(1, 1, &[true]);
    match pixel.and_then(|pixel| weights.of(pixel, pixel)) {
        Ok(_) => Ok(Some(weights)),
        Err(error) => Err(keys.refuse("train.border", error.to_string())),
    }
}

/// Network and image size agree, before a single image is read.
pub(super) fn model(
    keys: &Keys<'_>,
    spec: &ModelSpec,
    image: &ImageSettings,
) -> Result<Graph, ConfigError> {
    let graph = build::build(spec).map_err(|e| keys.refuse("model", e.to_string()))?;
    graph
        .check_size(image.height, image.width)
        .map_err(|e| keys.refuse("image.size", e.to_string()))?;
    Ok(graph)
}

/// A training step fits into memory. A GPU's is asked when it is used, and knows more.
pub(super) fn memory(
    keys: &Keys<'_>,
    graph: &Graph,
    image: &ImageSettings,
    (train, device): (&TrainConfig, Device),
    stages: &[&dyn Stage],
) -> Result<(), ConfigError> {
    let trains = stages.iter().any(|s| s.writes().contains(&Artifact::Model));
    if !trains || device != Device::Cpu {
        return Ok(());
    }
    let batch = (train.batch_size, image.height, image.width);
    cpu::check_training(graph, batch).map_err(|e| keys.refuse("train.batch_size", e.to_string()))
}

/// The input normalization that pretrained weights say they were trained with. A network that cannot take any is refused
/// first: it is what the user has to change, whatever the file holds.
pub(super) fn trained_with(
    keys: &Keys<'_>,
    spec: &ModelSpec,
    pretrained: Option<&Path>,
) -> Result<Option<InputNormalization>, ConfigError> {
    let Some(path) = pretrained else {
        return Ok(None);
    };
    // Classes and channels are not known yet, and an encoder has its names without them; what cannot be built is
    // refused with all else that is wrong with the network.
    if let Ok(graph) = build::build(spec) {
        has_encoder(keys, spec, &graph)?;
    }
    let file =
        TensorFile::read(path).map_err(|e| keys.refuse("model.pretrained", e.to_string()))?;
    Ok(About::of(&file).normalization)
}

pub(super) fn image(
    keys: &Keys<'_>,
    raw: raw::Image,
    spec: &ModelSpec,
    trained_with: Option<&InputNormalization>,
) -> Result<ImageSettings, ConfigError> {
    let raw::Size(height, width) = raw.size;
    if raw.channels != 1 && raw.channels != 3 {
        return Err(keys.refuse(
            "image.channels",
            format!("{} is not possible: 1 (grey) or 3 (RGB)", raw.channels),
        ));
    }
    keys.within("image.cache_mib", raw.cache_mib, 0, 1 << 20)?;
    keys.within("image.max_megapixels", raw.max_megapixels, 1, 4000)?;
    if let Some(raw::Size(rows, columns)) = raw.crop {
        keys.within("image.crop", rows.min(columns), 1, 1 << 16)?;
        keys.within("image.crop", rows.max(columns), 1, 1 << 16)?;
    }
    let trained_with = trained_with.map(|n| n.channels(raw.channels));
    let InputNormalization { mean, std } = match (&raw.normalization, trained_with) {
        (raw::Normalization::Named(name), Some(weights)) if name == "auto" => weights,
        (chosen, weights) => {
            let chosen = normalization(keys, chosen, raw.channels, spec)?;
            agree(keys, &chosen, weights.as_ref())?;
            chosen
        }
    };
    Ok(ImageSettings {
        height,
        width,
        fit: raw.fit,
        crop: raw.crop.map(|raw::Size(rows, columns)| (rows, columns)),
        channels: raw.channels,
        mean,
        std,
        cache_bytes: raw.cache_mib << 20,
        decoder: Decoder::of_megapixels(raw.max_megapixels),
    })
}

/// Pretrained weights on another input than theirs start from features that mean nothing.
fn agree(
    keys: &Keys<'_>,
    chosen: &InputNormalization,
    weights: Option<&InputNormalization>,
) -> Result<(), ConfigError> {
    match weights {
        Some(weights) if !weights.agrees(chosen) => Err(keys.refuse(
            "image.normalization",
            format!(
                "this is {chosen}, but the weights of model.pretrained were trained with {weights}: leave it at \"auto\" to take theirs"
            ),
        )),
        _ => Ok(()),
    }
}

fn normalization(
    keys: &Keys<'_>,
    raw: &raw::Normalization,
    channels: usize,
    spec: &ModelSpec,
) -> Result<InputNormalization, ConfigError> {
    const KEY: &str = "image.normalization";
    let chosen = match raw {
        raw::Normalization::Values { mean, std } => {
            let whole = mean.len() == channels && std.len() == channels;
            if !whole
                || mean.iter().chain(std).any(|v| !v.is_finite())
                || std.iter().any(|s| *s <= 0.0)
            {
                return Err(keys.refuse(
                    KEY,
                    format!("mean and std need {channels} finite numbers each, std above 0"),
                ));
            }
            return Ok(InputNormalization {
                mean: mean.clone(),
                std: std.clone(),
            });
        }
        raw::Normalization::Named(name) => match name.as_str() {
            "auto" => spec.normalization().map_err(|e| {
                let key = e.key().map_or("model".into(), |key| format!("model.{key}"));
                keys.refuse(&key, e.to_string())
            })?,
            "half" => build::Normalization::HALF,
            "imagenet" => build::Normalization::IMAGENET,
            other => {
                let hint = did_you_mean(other, &["auto", "half", "imagenet"]);
                return Err(keys.refuse(KEY, format!("\"{other}\" is not known{hint}; it may be auto, half, imagenet or {{ mean, std }}")));
            }
        },
    };
    Ok(InputNormalization::from(chosen).channels(channels))
}

pub(super) fn policy(
    keys: &Keys<'_>,
    raw: &raw::Validation,
    seed: u64,
) -> Result<SplitPolicy, ConfigError> {
    let share =
        |key: &str, value: f64| keys.within(&format!("data.validation.{key}"), value, 0.01, 0.9);
    let images = |key: &str, value: usize| {
        keys.within(&format!("data.validation.{key}"), value, 1, usize::MAX)
    };
    validation_keys(keys, raw.policy)?;
    Ok(match raw.policy {
        raw::Policy::Official => SplitPolicy::Official,
        raw::Policy::FromTrain => SplitPolicy::ValidationFromTrain {
            fraction: share("fraction", raw.fraction)?,
            seed,
            official_val: raw.official_val,
        },
        raw::Policy::Holdout => SplitPolicy::Holdout {
            val: share("fraction", raw.fraction)?,
            test: share("test_fraction", raw.test_fraction)?,
            seed,
        },
        raw::Policy::Count => SplitPolicy::Count {
            val: images("count", raw.count)?,
            test: images("test_count", raw.test_count)?,
            by: match raw.by {
                raw::By::Seed => Dealt::Seed(seed),
                raw::By::Order => Dealt::Order,
            },
        },
        raw::Policy::List => SplitPolicy::List(raw.lists.clone()),
    })
}

/// A key of another policy would be read by nobody.
fn validation_keys(keys: &Keys<'_>, policy: raw::Policy) -> Result<(), ConfigError> {
    let of_counts = ["count", "test_count", "by"];
    let foreign: &[&str] = match policy {
        raw::Policy::Count => &["lists"],
        raw::Policy::List => &of_counts,
        _ => &["count", "test_count", "by", "lists"],
    };
    for key in foreign {
        let key = format!("data.validation.{key}");
        if keys.tree.get(&key).is_some() {
            let policy = if key.ends_with("lists") {
                "list"
            } else {
                "count"
            };
            return Err(keys.refuse(
                &key,
                format!("this is read with policy = \"{policy}\" only"),
            ));
        }
    }
    Ok(())
}

/// Keys of `[data]` that do not go together.
pub(super) fn data(keys: &Keys<'_>, raw: &raw::Data) -> Result<(), ConfigError> {
    layout(keys, raw)?;
    masks(keys, raw)?;
    raw.mask
        .check()
        .map_err(|reason| keys.refuse("data.mask", reason))?;
    let known: Vec<&str> = raw.classes.iter().map(String::as_str).collect();
    match raw
        .names
        .keys()
        .find(|name| !known.is_empty() && !known.contains(&name.as_str()))
    {
        None => Ok(()),
        Some(name) => Err(keys.refuse(
            &format!("data.names.{name}"),
            format!("\"{name}\" is no class{}", did_you_mean(name, &known)),
        )),
    }
}

fn layout(keys: &Keys<'_>, raw: &raw::Data) -> Result<(), ConfigError> {
    let only = [
        ("data.images", raw::Layout::Images),
        ("data.csv", raw::Layout::Csv),
    ];
    for (key, layout) in only {
        if raw.layout != layout && keys.tree.get(key).is_some() {
            let (wanted, found) = (layout.name(), raw.layout.name());
            let message = format!("this is read with layout = \"{wanted}\", not \"{found}\"");
            return Err(keys.refuse(key, message));
        }
    }
    if raw.layout == raw::Layout::Csv && raw.folders.is_some() {
        let message = "the table's split column says what is in which split; leave the folders out";
        return Err(keys.refuse("data.folders", message));
    }
    if raw.layout == raw::Layout::Csv && raw.csv.file.is_none() {
        return Err(keys.refuse(
            "data.csv",
            "name the table: csv = { file = \"images.csv\" }",
        ));
    }
    if raw.layout == raw::Layout::Images && raw.classes.len() > 1 {
        let message =
            "with layout = \"images\" no folder tells classes apart; give one name or none";
        return Err(keys.refuse("data.classes", message));
    }
    Ok(())
}

fn masks(keys: &Keys<'_>, raw: &raw::Data) -> Result<(), ConfigError> {
    let has_column = raw.layout == raw::Layout::Csv && raw.csv.mask.is_some();
    if has_column && raw.masks.is_some() {
        let message = "the masks are named by csv.mask already; keep one of the two";
        return Err(keys.refuse("data.masks", message));
    }
    if let Some(pattern) = raw.masks.as_ref().filter(|masks| masks.contains("{stem}")) {
        if raw.layout == raw::Layout::Csv {
            let message = "a table names its masks by a column: csv.mask";
            return Err(keys.refuse("data.masks", message));
        }
        dataset::check_mask_pattern(pattern)
            .map_err(|reason| keys.refuse("data.masks", format!("the pattern {reason}")))?;
    }
    if has_column || raw.masks.is_some() {
        return Ok(());
    }
    let of_masks = ["mask", "on_bad_mask", "on_missing_mask", "resize_masks"];
    let unread = of_masks
        .iter()
        .find(|key| keys.tree.get(&format!("data.{key}")).is_some());
    match unread {
        // Phantoms have masks of their own.
        Some(key) if keys.tree.get("phantom").is_none() => Err(keys.refuse(
            &format!("data.{key}"),
            "there are no masks: name them by data.masks",
        )),
        _ => Ok(()),
    }
}

/// Training that reads masks, or pieces of images, needs masks.
pub(super) fn mask_use(
    keys: &Keys<'_>,
    masks: Option<&MaskCoding>,
    train: &TrainConfig,
    image: &ImageSettings,
    stages: &[&dyn Stage],
) -> Result<(), ConfigError> {
    if train.wants_masks() && masks.is_none() {
        let key = match keys.tree.get("phantom").is_some() {
            true => "phantom.masks",
            false => "data.masks",
        };
        let message = format!("the map cannot be taught without masks: name them by {key}");
        return Err(keys.refuse("train.map", message));
    }
    if let Some(coding) = masks.filter(|_| train.wants_masks() && !train.map.loss.is_multiclass()) {
        binary_loss(keys, coding, train)?;
    }
    if image.crop.is_some() && !train.wants_masks() {
        let message = "a piece of an image may not show what its class is about; crops need masks that teach the map \
                       (data.masks and train.map.loss)";
        return Err(keys.refuse("image.crop", message));
    }
    let overlays = |stage: &&&dyn Stage| stage.writes().contains(&Artifact::Overlays);
    if let (Some(_), Some(stage)) = (image.crop, stages.iter().find(overlays)) {
        let message = format!(
            "the stage \"{}\" paints whole images, which a network of crops does not see; leave it out",
            stage.name()
        );
        return Err(keys.refuse("image.crop", message));
    }
    Ok(())
}

/// A loss on one class reads masks of 0 and 1.
fn binary_loss(
    keys: &Keys<'_>,
    coding: &MaskCoding,
    train: &TrainConfig,
) -> Result<(), ConfigError> {
    let several = coding.classes() > 2 || coding.marks == Marks::ImageClass;
    if several {
        let message = "this loss is on one class against the rest, and the masks have more; use cross_entropy, multiclass_dice \
                       or cross_entropy_dice";
        return Err(keys.refuse("train.map.loss", message));
    }
    if train.task() == Task::Segment && train.map.class.is_some_and(|class| class != 1) {
        let message =
            "masks alone teach this map, whose class 1 is what they mark; leave the key out";
        return Err(keys.refuse("train.map.class", message));
    }
    Ok(())
}

pub(super) fn positive(
    keys: &Keys<'_>,
    positive: Option<&str>,
    classes: &[String],
    names: &std::collections::BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let known = |name: &str| classes.iter().any(|c| c == name) || names.values().any(|n| n == name);
    let Some(name) = positive.filter(|name| !classes.is_empty() && !known(name)) else {
        return Ok(());
    };
    let known: Vec<&str> = classes.iter().map(String::as_str).collect();
    Err(keys.refuse(
        "data.positive",
        format!(
            "\"{name}\" is no class{}; data.classes has {}",
            did_you_mean(name, &known),
            known.join(", ")
        ),
    ))
}

pub(super) fn limit(keys: &Keys<'_>, limit: Option<usize>) -> Result<(), ConfigError> {
    limit.map_or(Ok(()), |n| {
        keys.within("data.limit_per_class", n, 1, usize::MAX)
            .map(drop)
    })
}

/// Pictures of a grid, all of which are drawn at once.
pub(super) fn samples(keys: &Keys<'_>, samples: usize) -> Result<usize, ConfigError> {
    keys.within("report.samples", samples, 0, 400)
}

/// Keys of another phantom than the one drawn are refused, and so are values out of range.
pub(super) fn phantom(keys: &Keys<'_>, raw: &raw::Phantom) -> Result<Subject, ConfigError> {
    for (kind, name, own) in raw::PhantomKind::OWN_KEYS {
        let unread = own.iter().map(|key| format!("phantom.{key}"));
        let mut unread = unread.filter(|key| kind != raw.kind && keys.tree.get(key).is_some());
        if let Some(key) = unread.next() {
            return Err(keys.refuse(&key, format!("this is read with kind = \"{name}\" only")));
        }
    }
    let (size, seed) = (raw.size, raw.seed);
    match raw.kind {
        raw::PhantomKind::Chest => chest(keys, chest_config(raw)).map(Subject::Chest),
        raw::PhantomKind::Cells => {
            keys.within("phantom.size", size, 32, 4096)?;
            let images = keys.within("phantom.images", raw.images, 1, 100_000)?;
            Ok(Subject::Cells(CellsConfig { size, images, seed }))
        }
        raw::PhantomKind::Heads => {
            keys.within("phantom.size", size, 32, 4096)?;
            let [train, test] = raw.per_class;
            keys.within("phantom.per_class", train.min(test), 1, 100_000)?;
            Ok(Subject::Heads(HeadsConfig {
                size,
                train,
                test,
                seed,
            }))
        }
    }
}

fn chest_config(raw: &raw::Phantom) -> PhantomConfig {
    let class = |[normal, pneumonia]: [usize; 2]| ClassImages { normal, pneumonia };
    PhantomConfig {
        size: raw.size,
        train: class(raw.train),
        val: class(raw.val),
        test: class(raw.test),
        images_per_patient: raw.images_per_patient,
        difficulty: raw.difficulty,
        seed: raw.seed,
        ..PhantomConfig::default()
    }
}

fn chest(keys: &Keys<'_>, config: PhantomConfig) -> Result<PhantomConfig, ConfigError> {
    keys.within("phantom.size", config.size, 16, 4096)?;
    keys.within("phantom.difficulty", config.difficulty, 0.0, 1.0)?;
    keys.within(
        "phantom.images_per_patient",
        config.images_per_patient,
        1,
        1000,
    )?;
    for (key, counts) in [
        ("train", config.train),
        ("val", config.val),
        ("test", config.test),
    ] {
        keys.within(
            &format!("phantom.{key}"),
            counts.normal.min(counts.pneumonia),
            1,
            1_000_000,
        )?;
    }
    Ok(config)
}

pub(super) fn evaluate(
    keys: &Keys<'_>,
    raw: raw::Evaluate,
) -> Result<EvaluateSettings, ConfigError> {
    match raw.threshold {
        Threshold::Youden => {}
        Threshold::Fixed(p) => {
            keys.within("evaluate.threshold", p, 0.0, 1.0)?;
        }
        Threshold::Sensitivity(s) => {
            keys.within("evaluate.threshold.sensitivity", s, 0.01, 1.0)?;
        }
    }
    keys.within("evaluate.bootstrap", raw.bootstrap, 10, 1_000_000)?;
    keys.within("evaluate.confidence", raw.confidence, 0.5, 0.999)?;
    keys.within("evaluate.baseline_size", raw.baseline_size, 4, 256)?;
    keys.within("evaluate.tile_overlap", raw.tile_overlap, 0.0, 0.95)?;
    let raw::Evaluate {
        threshold,
        bootstrap,
        confidence,
        tta,
        baseline_size,
        tile_overlap,
    } = raw;
    Ok(EvaluateSettings {
        threshold,
        bootstrap,
        confidence,
        tta,
        baseline_size,
        tile_overlap,
    })
}

pub(super) fn segment(keys: &Keys<'_>, raw: raw::Segment) -> Result<SegmentSettings, ConfigError> {
    keys.within("segment.certainty", raw.certainty, 0.0, 1.0)?;
    keys.within("segment.examples", raw.examples, 1, 50)?;
    Ok(SegmentSettings {
        certainty: raw.certainty,
        examples: raw.examples,
    })
}
