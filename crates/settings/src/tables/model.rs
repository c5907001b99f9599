//! `[model]`: the network, and the weights that its encoder starts from.

use std::path::Path;

use formats::weights::{About, InputNormalization, TensorFile};
use imaging::MaskCoding;
use model::build::{self, ModelSpec};
use model::graph::Graph;
use serde::Deserialize;
use train::{Task, TrainConfig};

use super::image::ImageSettings;
use crate::keys::Keys;
use crate::tree::ConfigError;

/// Keys of `[model]` that do not belong to the network's description.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ModelExtra {
    pub(crate) pretrained: Option<String>,
}

/// Refuses keys of a network's description that other tables determine.
pub(crate) fn own_keys(keys: &Keys<'_>) -> Result<(), ConfigError> {
    for (key, instead) in [
        ("classes", "the class folders determine it"),
        ("map_classes", "the masks' classes determine it"),
        ("in_channels", "image.channels determines it"),
    ] {
        let key = format!("model.{key}");
        if keys.tree.get(&key).is_some() {
            return Err(keys.refuse(&key, format!("this is not a pipeline setting: {instead}")));
        }
    }
    Ok(())
}

/// The input normalization that pretrained weights were trained with, according to their file. A network that cannot
/// use any weights is refused first, because the network then has to be changed, whatever the file contains.
pub(crate) fn trained_with(
    keys: &Keys<'_>,
    spec: &ModelSpec,
    pretrained: Option<&Path>,
) -> Result<Option<InputNormalization>, ConfigError> {
    let Some(path) = pretrained else {
        return Ok(None);
    };
    // Classes and channels are not known yet, but the names of an encoder do not depend on them; a network that cannot
    // be built is refused later, with its other faults.
    if let Ok(graph) = build::build(spec) {
        has_encoder(keys, spec, &graph)?;
    }
    let file =
        TensorFile::read(path).map_err(|e| keys.refuse("model.pretrained", e.to_string()))?;
    Ok(About::of(&file).normalization)
}

/// Pretrained encoder weights need an encoder with timm's names.
fn has_encoder(keys: &Keys<'_>, spec: &ModelSpec, graph: &Graph) -> Result<(), ConfigError> {
    if graph.params.iter().any(|p| p.name.starts_with("encoder.")) {
        return Ok(());
    }
    Err(keys.refuse(
        "model.pretrained",
        format!(
            "the network ({}) has no EfficientNet encoder to load weights into; remove the key",
            spec.label()
        ),
    ))
}

/// The network for images of this number of classes. A map that is trained on masks alone, or on masks in all of its
/// classes, has the masks' classes; otherwise it has the images' classes, of which binary masks may mark one.
pub(crate) fn spec(
    model: &ModelSpec,
    train: &TrainConfig,
    masks: Option<&MaskCoding>,
    classes: usize,
) -> ModelSpec {
    let trained = match train.task() {
        Task::Classify => false,
        Task::Segment => true,
        Task::Both => train.map.loss.is_multiclass(),
    };
    // Where the settings name no classes, and for a segmenter of images of one class: any number that can be built.
    let classes = classes.max(2);
    ModelSpec {
        classes,
        map_classes: masks
            .filter(|_| trained)
            .map(|coding| coding.pixel_class_count(classes)),
        ..model.clone()
    }
}

/// Builds the network and checks that it accepts the image size, before a single image is read.
pub(crate) fn model(
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
