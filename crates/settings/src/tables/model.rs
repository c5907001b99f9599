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

/// Keys of `[model]` that are not the network's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ModelExtra {
    pub(crate) pretrained: Option<String>,
}

/// Keys of a network's description that other tables decide.
pub(crate) fn own_keys(keys: &Keys<'_>) -> Result<(), ConfigError> {
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

/// The input normalization that pretrained weights say they were trained with. A network that cannot take any is refused
/// first: it is what the user has to change, whatever the file holds.
pub(crate) fn trained_with(
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

/// The network for images of so many classes. A map that masks alone teach, or all of whose classes they teach, has the
/// masks' classes; else it has the images', of which binary masks may mark one.
pub(crate) fn spec(
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

/// Network and image size agree, before a single image is read.
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
