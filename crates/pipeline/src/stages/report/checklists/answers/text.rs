//! What answers are put together from.

use settings::StageId;

use super::super::facts::Facts;

/// A section of the report: the stage that writes it, and its heading.
type Place = (StageId, &'static str);

pub(super) const DATA: Place = (StageId::Index, "Data");
pub(super) const NETWORK: Place = (StageId::Train, "Network");
pub(super) const TRAINING: Place = (StageId::Train, "Training");
pub(super) const AUGMENTATION: Place = (StageId::AugmentPreview, "Augmentation");
pub(super) const RESULTS: Place = (StageId::Evaluate, "Results");
pub(super) const SEGMENTATION: Place = (StageId::EvaluateSegmentation, "Segmentation");
pub(super) const NOVELTY: Place = (StageId::Novelty, "Images unlike the training images");
pub(super) const STRESS: Place = (StageId::Stress, "Under stress");
pub(super) const PROBE: Place = (StageId::Probe, "Shortcuts");
pub(super) const EXPLAIN: Place = (StageId::Explain, "What the class scores are based on");
pub(super) const OVERLAYS: Place = (StageId::Overlays, "Where the network looks");

/// Where more is in the report: the sections whose stage has run.
pub(super) fn see<const N: usize>(facts: &Facts, sections: [Place; N]) -> Option<String> {
    let links = sections.into_iter();
    let links: Vec<String> = links
        .filter_map(|(stage, heading)| facts.see(stage, heading))
        .collect();
    (!links.is_empty()).then(|| format!("See {}.", links.join(" and ")))
}

/// The parts that are known, as one text.
pub(super) fn join<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let known: Vec<String> = parts.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(" "))
}
