//! The results in a few sentences, as the report and the model card begin with them.

use report::text::escape;

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
