//! A run's settings as the recipe of steps that are made on a GPU, where weights, moments and averages stay.

use super::TrainConfig;
use super::loss::{ClassLoss, ClassObjective, LossError};
use super::map_loss::{MapLoss, MapObjective};
use super::optimizer::OptimizerConfig;
use model::engine::recipe::{ClassKind, ClassTerm, MapKind, MapTerm, Recipe, Update};

/// The recipe of a run with this class loss, on a network whose maps have `map_classes` channels and which publishes so
/// many `maps` (see [`model::graph::Graph::maps`]). The class weights are not in it: they lie in the device's memory.
///
/// # Errors
/// A marked class that the map does not have.
pub fn recipe(
    config: &TrainConfig,
    objective: &ClassObjective,
    map_classes: usize,
    maps: usize,
) -> Result<Recipe, LossError> {
    let classifies = config.task().classifies();
    let map = map_term(&config.map, map_classes, maps)?;
    // A map that is alone is the whole loss.
    let weight = if classifies { config.map.weight } else { 1.0 };
    Ok(Recipe {
        update: update(&config.optimizer),
        clip_norm: config.clip_norm,
        averages: config.ema > 0.0,
        class: classifies.then(|| class_term(objective)),
        map: map.map(|term| MapTerm { weight, ..term }),
    })
}

/// An optimizer's rule; its learning rate is each step's.
pub fn update(config: &OptimizerConfig) -> Update {
    match config {
        OptimizerConfig::Adam(c) => Update::Adam {
            betas: c.betas,
            eps: c.eps,
            weight_decay: c.weight_decay,
        },
        OptimizerConfig::AdamW(c) => Update::AdamW {
            betas: c.betas,
            eps: c.eps,
            weight_decay: c.weight_decay,
        },
        OptimizerConfig::Sgd(c) => Update::Sgd {
            momentum: c.momentum,
            nesterov: c.nesterov,
            weight_decay: c.weight_decay,
        },
        OptimizerConfig::RmsProp(c) => Update::RmsProp {
            alpha: c.alpha,
            eps: c.eps,
            momentum: c.momentum,
            weight_decay: c.weight_decay,
        },
    }
}

/// A class loss without its weights.
pub fn class_term(objective: &ClassObjective) -> ClassTerm {
    ClassTerm {
        kind: match objective.loss {
            ClassLoss::CrossEntropy => ClassKind::CrossEntropy,
            ClassLoss::SoftmaxBce => ClassKind::SoftmaxBce,
        },
        label_smoothing: objective.label_smoothing,
    }
}

/// A map loss beside a class loss; `None` where it is off.
///
/// # Errors
/// A marked class that the map does not have.
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
