//! The results in a few sentences, as the report and the model card begin with them.

use report::text::escape;

use super::super::evaluate::worst_subgroup;
use super::super::{Metrics, SegmentationMetrics};
use crate::results;
use crate::words::{count, number, or_dash, percent};

/// A classifier's results beside those of its baselines.
pub(super) fn classification(metrics: &Metrics) -> String {
    let mut text = results::summary(&metrics.test, "test image") + " ";
    let linear = &metrics.baselines.linear;
    if let Some(frozen) = &metrics.baselines.frozen_encoder {
        text += &format!(
            "The frozen pretrained encoder with a linear classifier reaches an accuracy of {} and an AUC of {}. ",
            percent(&frozen.test.accuracy),
            or_dash(frozen.test.auc.as_ref(), number)
        );
    }
    text + &format!(
        "A linear model on {0}×{0} grey pixels reaches an accuracy of {1} and an AUC of {2}; the majority-class \
         baseline reaches an accuracy of {3}.",
        metrics.baselines.linear_side,
        percent(&linear.accuracy),
        or_dash(linear.auc.as_ref(), number),
        percent(&metrics.baselines.majority.accuracy)
    )
}

/// What the stages after the evaluation found that a reader must know first; one sentence each.
pub(super) fn warnings(metrics: &Metrics) -> Vec<String> {
    let subgroup = metrics.subgroups.as_ref().and_then(worst_subgroup);
    let novelty = metrics.novelty.as_ref().map(|novelty| {
        let most = |kind: &&crate::measured::NoveltyKind| kind.detected.estimate >= 0.5;
        format!(
            "It detects most images of {} of {} other kinds, and accepts {} of the test images.",
            novelty.kinds.iter().filter(most).count(),
            novelty.kinds.len(),
            percent(&novelty.test)
        )
    });
    let stress = metrics.stress.as_ref().map(|stress| {
        let broken = stress.changes.iter().filter(|change| change.breaks_at.is_some());
        format!(
            "Of {} kinds of change to the images, {} make it significantly worse at their strongest.",
            stress.changes.len(),
            broken.count()
        )
    });
    let probe = metrics.probe.as_ref().and_then(|probe| {
        let best = probe.alone.iter().filter(|alone| !alone.may_hold_finding);
        let auc = |alone: &&crate::measured::Alone| alone.auc.map_or(0.0, |auc| auc.estimate);
        let best = best.max_by(|a, b| auc(a).total_cmp(&auc(b)))?;
        Some(format!(
            "Without the finding, a model of the {} alone predicts the class with an AUC of {}.",
            escape(&best.sees),
            or_dash(best.auc.as_ref(), number)
        ))
    });
    [subgroup, probe, stress, novelty]
        .into_iter()
        .flatten()
        .collect()
}

/// A segmenter's results beside those of its baselines.
pub(super) fn segmentation(metrics: &SegmentationMetrics) -> String {
    let test = &metrics.test;
    let found = metrics.classes.get(1..).unwrap_or_default();
    let found: Vec<String> = found.iter().map(|class| escape(class)).collect();
    let found = found.join(", ");
    let mut text = format!(
        "On {} with masks, the segmentation of {found} reaches a Dice of {}",
        count(test.n, "test image"),
        or_dash(test.mean_dice.as_ref(), number)
    );
    if let Some(marked) = &metrics.marked {
        text += &format!(
            " ({} if only the location counts)",
            or_dash(marked.mean_dice.as_ref(), number)
        );
    }
    let mean = or_dash(metrics.baselines.mean_mask.test.mean_dice.as_ref(), number);
    match &metrics.baselines.otsu {
        Some(otsu) => {
            text += &format!(
                "; Otsu's threshold reaches {}, the mean of the training masks {mean}.",
                or_dash(otsu.baseline.test.mean_dice.as_ref(), number),
            );
        }
        None => text += &format!("; the mean of the training masks reaches {mean}."),
    }
    text
}
