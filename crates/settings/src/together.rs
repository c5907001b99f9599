//! Checks of constraints between tables.

use dataset::{DataLayout, IndexConfig};
use imaging::{Marks, MaskCoding};
use model::build::{self, ModelSpec};
use model::engine::{Device, cpu};
use model::graph::Graph;
use train::freeze::Freeze;
use train::{Task, TrainConfig};

use crate::keys::Keys;
use crate::stage::{Artifact, StageId};
use crate::tables::image::ImageSettings;
use crate::tree::ConfigError;

/// Overlays of an untrained map would show noise, and a map that is smaller than its image does not match it.
pub(crate) fn class_map(
    keys: &Keys<'_>,
    (spec, graph): (&ModelSpec, &Graph),
    train: &TrainConfig,
    image: &ImageSettings,
    stages: &[StageId],
) -> Result<(), ConfigError> {
    let wanted = stages.iter().any(|s| s.makes(Artifact::Overlays));
    let no_map = graph.output("map").is_none();
    if let Some((height, width)) = smaller_map(graph, image)
        && wanted
    {
        return Err(keys.refuse(
            "pipeline.stages",
            format!(
                "the class map of {} is {height}x{width} for an image of {}x{}, so overlays do not match the image; \
                 remove the stage \"overlays\", or choose another architecture",
                spec.label(),
                image.height,
                image.width
            ),
        ));
    }
    if wanted && (no_map || (spec.head != "cam" && !train.wants_masks())) {
        return Err(keys.refuse(
            "pipeline.stages",
            format!(
                "the stage \"overlays\" needs a trained class map, and this network ({}) has none; \
                 use head = \"cam\", train the map on masks (train.map.loss), or remove the stage",
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

/// The task, the head and the stages are consistent.
pub(crate) fn task(
    keys: &Keys<'_>,
    model: &ModelSpec,
    train: &TrainConfig,
    index: &IndexConfig,
    stages: &[StageId],
) -> Result<(), ConfigError> {
    let head =
        build::find_head(&model.head).map_err(|e| keys.refuse("model.head", e.to_string()))?;
    let classifies = train.task().classifies();
    if classifies && !head.scores {
        let message = "this head has no class scores to train; set train.task = \"segment\", or choose another head";
        return Err(keys.refuse("model.head", message));
    }
    if !classifies && head.scores {
        let message = "train.task = \"segment\" does not train a head of class scores; set model.head = \"none\"";
        return Err(keys.refuse("model.head", message));
    }
    let has = |artifact| stages.iter().find(|s| s.makes(artifact));
    let single = index.classes.len() == 1 || index.layout == DataLayout::Images;
    if classifies && single && has(Artifact::Model).is_some() {
        let message = "the images are of one class, so there is nothing to classify; set task = \"segment\" (with \
                       model.head = \"none\" and masks), or name at least two classes in data.classes";
        return Err(keys.refuse("train.task", message));
    }
    let judges_scores = has(Artifact::Metrics).or_else(|| has(Artifact::Overlays));
    if let (false, Some(stage)) = (classifies, judges_scores) {
        let message = format!(
            "the stage \"{}\" needs class scores, which task = \"segment\" does not train; use \"evaluate-segmentation\" instead",
            stage.name()
        );
        return Err(keys.refuse("pipeline.stages", message));
    }
    if let (false, Some(stage)) = (train.wants_masks(), has(Artifact::Segmentation)) {
        let message = format!(
            "the stage \"{}\" evaluates a map trained on masks; set train.map.loss, or remove the stage",
            stage.name()
        );
        return Err(keys.refuse("pipeline.stages", message));
    }
    Ok(())
}

/// A head that pools over the map's region needs a map that masks teach in all of its classes: one that learns from
/// image labels, or one class of the images against the rest, has no background.
pub(crate) fn region_head(
    keys: &Keys<'_>,
    model: &ModelSpec,
    train: &TrainConfig,
    masks: Option<&MaskCoding>,
) -> Result<(), ConfigError> {
    let needs = build::find_head(&model.head).is_ok_and(|head| head.needs_masks);
    if !needs || (masks.is_some() && train.map.loss.is_multiclass()) {
        return Ok(());
    }
    let masks = match keys.tree.get("phantom").is_some() {
        true => "phantom.masks",
        false => "data.masks",
    };
    let message = format!(
        "head = \"{}\" computes scores from the region that masks teach the map, and here no masks teach it where the \
         background is: set {masks} and train.map.loss to cross_entropy, multiclass_dice or cross_entropy_dice, or choose \
         another head",
        model.head
    );
    Err(keys.refuse("model.head", message))
}

/// Freezing and a learning rate of its own need an encoder; freezing leaves no training for its drop path.
pub(crate) fn encoder(
    keys: &Keys<'_>,
    (spec, graph): (&ModelSpec, &Graph),
    train: &TrainConfig,
) -> Result<(), ConfigError> {
    let scaled = train.optimizer.encoder_lr_scale() != 1.0;
    for (set, key) in [
        (train.freeze.is_some(), "train.freeze"),
        (scaled, "train.optimizer.encoder_lr_scale"),
    ] {
        if set && graph.encoder_params() == 0 {
            let message = format!(
                "the network ({}) has no encoder to which this could apply; remove the key",
                spec.label()
            );
            return Err(keys.refuse(key, message));
        }
    }
    if train.freeze == Some(Freeze::Encoder) && spec.drop_path != 0.0 {
        let message = "drop path has no effect in an encoder that train.freeze = \"encoder\" freezes; remove one of the two";
        return Err(keys.refuse("model.drop_path", message));
    }
    Ok(())
}

/// A training step fits into memory. A GPU's memory is checked when the GPU is used, where more is known.
pub(crate) fn memory(
    keys: &Keys<'_>,
    graph: &Graph,
    image: &ImageSettings,
    (train, device): (&TrainConfig, Device),
    stages: &[StageId],
) -> Result<(), ConfigError> {
    let trains = stages.iter().any(|s| s.makes(Artifact::Model));
    if !trains || device != Device::Cpu {
        return Ok(());
    }
    let batch = (train.batch_size, image.height, image.width);
    cpu::check_training(graph, batch).map_err(|e| keys.refuse("train.batch_size", e.to_string()))
}

/// Training on masks, or on crops of images, needs masks.
pub(crate) fn mask_use(
    keys: &Keys<'_>,
    masks: Option<&MaskCoding>,
    train: &TrainConfig,
    image: &ImageSettings,
    stages: &[StageId],
) -> Result<(), ConfigError> {
    if train.wants_masks() && masks.is_none() {
        let key = match keys.tree.get("phantom").is_some() {
            true => "phantom.masks",
            false => "data.masks",
        };
        let message = format!("the map cannot be trained without masks: set {key}");
        return Err(keys.refuse("train.map", message));
    }
    if let Some(coding) = masks.filter(|_| train.wants_masks() && !train.map.loss.is_multiclass()) {
        binary_loss(keys, coding, train)?;
    }
    if image.crop.is_some() && !train.wants_masks() {
        let message = "a crop of an image may not show what determines its class; crops need masks that train the map \
                       (data.masks and train.map.loss)";
        return Err(keys.refuse("image.crop", message));
    }
    let overlays = |stage: &&StageId| stage.makes(Artifact::Overlays);
    if let (Some(_), Some(stage)) = (image.crop, stages.iter().find(overlays)) {
        let message = format!(
            "the stage \"{}\" draws whole images, which a network trained on crops does not see; remove the stage",
            stage.name()
        );
        return Err(keys.refuse("image.crop", message));
    }
    Ok(())
}

/// Regions are found before anything uses them.
pub(crate) fn region(
    keys: &Keys<'_>,
    image: &ImageSettings,
    stages: &[StageId],
) -> Result<(), ConfigError> {
    if image.region.is_none() {
        return Ok(());
    }
    if image.crop.is_some() {
        let message =
            "crops are taken from whole images, not from regions; remove one of the two keys";
        return Err(keys.refuse("image.crop", message));
    }
    let uses = |stage: &&StageId| {
        let unaffected = [
            StageId::Index,
            StageId::Region,
            StageId::Eda,
            StageId::Report,
        ];
        !unaffected.contains(stage)
    };
    let finds = stages
        .iter()
        .position(|stage| stage.makes(Artifact::Regions));
    let first = stages.iter().find(uses);
    let early = stages.iter().take(finds.unwrap_or(stages.len())).find(uses);
    match (finds, early.or(first)) {
        (None, Some(stage)) => Err(keys.refuse(
            "pipeline.stages",
            format!(
                "the stage \"{}\" uses the regions of image.region: put the stage \"region\" before it, or set \
                 image.region = \"none\"",
                stage.name()
            ),
        )),
        (Some(_), Some(stage)) if early.is_some() => Err(keys.refuse(
            "pipeline.stages",
            format!(
                "the stage \"region\" must come before \"{}\", which uses the regions",
                stage.name()
            ),
        )),
        _ => Ok(()),
    }
}

/// A loss on one class needs binary masks.
fn binary_loss(
    keys: &Keys<'_>,
    coding: &MaskCoding,
    train: &TrainConfig,
) -> Result<(), ConfigError> {
    let several = coding.classes() > 2 || coding.marks == Marks::ImageClass;
    if several {
        let message = "this loss is for one class against the rest, but the masks have more classes; use \
                       cross_entropy, multiclass_dice or cross_entropy_dice";
        return Err(keys.refuse("train.map.loss", message));
    }
    if train.task() == Task::Segment && train.map.class.is_some_and(|class| class != 1) {
        let message = "with train.task = \"segment\", the class is always 1, which the masks mark; remove the key";
        return Err(keys.refuse("train.map.class", message));
    }
    Ok(())
}
