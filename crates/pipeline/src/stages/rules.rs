//! The calibration and threshold of the evaluation, applied to the network's outputs on other or changed images.

use anyhow::Result;
use metrics::{
    Comparison, Evaluation, EvaluationSettings, Interval, Predictions, Scaling, compare, evaluate,
};

use super::Metrics;
use crate::context::Context;
use crate::scored::Scored;

/// Bootstrap resamples of a figure among many, unless the settings want fewer.
const RESAMPLES: usize = 500;

/// What the evaluation chose on validation.
pub(super) struct Rules {
    classes: Vec<String>,
    scaling: Scaling,
    settings: EvaluationSettings,
}

impl Rules {
    /// Of the results in `metrics.json`.
    pub(super) fn of(metrics: &Metrics) -> Result<Self> {
        let settings = metrics.test.settings;
        Ok(Rules {
            classes: metrics.classes.clone(),
            scaling: metrics.calibration.scaling()?,
            settings: EvaluationSettings {
                resamples: settings.resamples.min(RESAMPLES),
                ..settings
            },
        })
    }

    /// Confidence level of intervals.
    pub(super) fn level(&self) -> f64 {
        self.settings.level
    }

    /// Number of classes.
    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The results on some images.
    pub(super) fn evaluate(&self, scored: &Scored) -> Result<Evaluation> {
        let probabilities = self.probabilities(scored);
        let (found, _) = evaluate(&self.predictions(scored, &probabilities), &self.settings)?;
        Ok(found)
    }

    /// The area under the ROC curve; `None` if a class has no images.
    pub(super) fn auc(&self, scored: &Scored) -> Result<Option<Interval>> {
        Ok(self.evaluate(scored)?.auc)
    }

    /// How much better the results on images are than those on the same images after a change.
    pub(super) fn compare(&self, whole: &Scored, changed: &Scored) -> Result<Comparison> {
        let probabilities = [whole, changed].map(|scored| self.probabilities(scored));
        let both = [
            &self.predictions(whole, &probabilities[0]),
            &self.predictions(changed, &probabilities[1]),
        ];
        Ok(compare(both, [&self.settings; 2])?)
    }

    /// The predicted class of each image.
    pub(super) fn decide(&self, scored: &Scored) -> Vec<usize> {
        let rule = self.settings.rule(self.classes());
        let each = scored.logits.chunks(self.classes());
        each.map(|logits| rule.decide(logits, &self.scaling.probabilities(logits)))
            .collect()
    }

    /// Calibrated probabilities, `[n, classes]`.
    pub(super) fn probabilities(&self, scored: &Scored) -> Vec<f64> {
        let each = scored.logits.chunks(self.classes());
        each.flat_map(|logits| self.scaling.probabilities(logits))
            .collect()
    }

    fn predictions<'a>(
        &'a self,
        scored: &'a Scored,
        probabilities: &'a [f64],
    ) -> Predictions<'a, String> {
        Predictions {
            class_names: &self.classes,
            labels: &scored.labels,
            logits: &scored.logits,
            probabilities,
            groups: Some(&scored.patients),
        }
    }
}

/// Adds a stage's figures to `metrics.json`.
pub(super) fn add(context: &Context<'_>, add: impl FnOnce(&mut Metrics)) -> Result<()> {
    let mut metrics: Metrics = context.run.read_json(super::METRICS)?;
    add(&mut metrics);
    context.run.write_json(super::METRICS, &metrics)
}

/// How many images to try something on, if the settings leave it open: few enough that a few dozen passes over them take
/// a fraction of an epoch's time, which is three passes' worth of arithmetic over the training images.
pub(super) fn sample_size(asked: Option<usize>, train: usize, most: usize) -> usize {
    asked.unwrap_or((train / 16).clamp(24, most))
}
