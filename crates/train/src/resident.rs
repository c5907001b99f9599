//! Translates a run's settings into the recipe for training steps on a GPU, where weights, moments and averages stay.

use super::TrainConfig;
use super::loss::{ClassLoss, ClassObjective, LossError};
use super::map_loss::{MapLoss, MapObjective};
use model::engine::recipe::{ClassKind, ClassTerm, MapKind, MapTerm, Recipe};

/// The recipe of a run with this class loss, for a network that outputs `maps` class maps (see
/// [`model::graph::Graph::maps`]) of `map_classes` channels. The class weights are not part of it: they are in device
/// memory.
///
/// # Errors
/// The marked class does not exist in the map.
pub fn recipe(
    config: &TrainConfig,
    objective: &ClassObjective,
    map_classes: usize,
    maps: usize,
) -> Result<Recipe, LossError> {
    let classifies = config.task().classifies();
    let map = map_term(&config.map, map_classes, maps)?;
    // Without a class loss, the map loss is the whole loss.
    let weight = if classifies { config.map.weight } else { 1.0 };
    Ok(Recipe {
        update: config.optimizer.update(),
        encoder: [0; 2],
        clip_norm: config.clip_norm,
        averages: config.ema > 0.0,
        class: classifies.then(|| class_term(objective)),
        map: map.map(|term| MapTerm { weight, ..term }),
    })
}

/// A class loss without its class weights.
pub fn class_term(objective: &ClassObjective) -> ClassTerm {
    ClassTerm {
        kind: match objective.loss {
            ClassLoss::CrossEntropy => ClassKind::CrossEntropy,
            ClassLoss::SoftmaxBce => ClassKind::SoftmaxBce,
        },
        label_smoothing: objective.label_smoothing,
    }
}

/// A map loss with its weight relative to the class loss; `None` if it is off.
///
/// # Errors
/// The marked class does not exist in the map.
pub fn map_term(
    objective: &MapObjective,
    classes: usize,
    maps: usize,
) -> Result<Option<MapTerm>, LossError> {
    let Some(kind) = map_kind(objective) else {
        return Ok(None);
    };
    Ok(Some(MapTerm {
        kind,
        class: objective.marked_class(classes)?,
        weight: objective.weight,
        maps: if objective.deep_supervision { maps } else { 1 },
    }))
}

fn map_kind(objective: &MapObjective) -> Option<MapKind> {
    let MapObjective {
        alpha, beta, gamma, ..
    } = *objective;
    match objective.loss {
        MapLoss::None => None,
        MapLoss::Bce => Some(MapKind::Bce),
        MapLoss::Dice => Some(MapKind::Dice),
        MapLoss::BceDice => Some(MapKind::BceDice),
        MapLoss::Focal => Some(MapKind::Focal { alpha, gamma }),
        MapLoss::Tversky => Some(MapKind::Tversky { alpha, beta }),
        MapLoss::CrossEntropy => Some(MapKind::CrossEntropy),
        MapLoss::MulticlassDice => Some(MapKind::MulticlassDice),
        MapLoss::CrossEntropyDice => Some(MapKind::CrossEntropyDice),
    }
}
