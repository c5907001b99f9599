//! From answers to figures of merit. Whatever is chosen is chosen on the validation images.

use anyhow::Result;
use metrics::{
    Curves, Evaluation, EvaluationSettings, Predictions, TemperatureFit, fit_temperature,
    threshold_for_sensitivity, youden_threshold,
};
use serde::{Deserialize, Serialize};

use super::Scored;
use super::baselines::Fitted;
use crate::config::{Settings, Threshold};
use crate::context::Data;

/// `metrics.json`. It holds no times and no paths, so that equal runs give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Pipeline's name.
    pub pipeline: String,
    /// Whether the data are phantoms.
    pub phantom: bool,
    /// SHA-256 over classes, paths, labels and file contents.
    pub data_fingerprint: String,
    /// Decides every random number.
    pub seed: u64,
    /// Class names in the order of their labels.
    pub classes: Vec<String>,
    /// Label of the positive class.
    pub positive: usize,
    /// Images of each class in train, val, test.
    pub counts: [Vec<usize>; 3],
    /// The threshold, with two classes.
    pub threshold: Option<Chosen>,
    /// The temperature.
    pub calibration: Calibration,
    /// On the images that chose epoch, threshold and temperature: optimistic.
    pub validation: Evaluation,
    /// On the images that chose nothing: the result.
    pub test: Evaluation,
    /// What is to be beaten, on the same test images.
    pub baselines: Baselines,
}

/// A threshold and how it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Positive means: probability (at the fitted temperature) of at least this.
    pub threshold: f64,
    /// How.
    pub rule: Rule,
    /// Validation images that it was chosen on.
    pub n: usize,
}

/// How a threshold was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Largest sensitivity + specificity − 1 on validation.
    Youden,
    /// Given in the settings.
    Fixed,
    /// The highest with at least this sensitivity on validation.
    Sensitivity(f64),
}

/// What the temperature did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Divides the class scores.
    pub temperature: f64,
    /// Mean negative log-likelihood on validation before and after, in nats.
    pub validation_nll: [f64; 2],
    /// Expected calibration error on test before and after.
    pub test_ece: [f64; 2],
    /// Mean negative log-likelihood on test before and after.
    pub test_nll: [f64; 2],
    /// Brier score on test before and after.
    pub test_brier: [f64; 2],
}

/// On the test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// Answers the classes' shares in training to every image.
    pub majority: Evaluation,
    /// Logistic regression on small grey images; its threshold by the same rule, on validation.
    pub linear: Evaluation,
    /// Side of those images in pixels.
    pub linear_side: usize,
}

/// The figures and what is drawn from them.
pub(super) struct Judged {
    pub(super) metrics: Metrics,
    /// Of the test split: calibrated, uncalibrated.
    pub(super) curves: [Curves; 2],
    pub(super) linear_curves: Curves,
    /// Calibrated, of validation and test.
    pub(super) probabilities: [Vec<f64>; 2],
    /// True classes of the test.
    pub(super) test_labels: Vec<usize>,
}

impl Metrics {
    /// The class that probabilities stand for: by the threshold, or with more than two classes the most probable.
    pub fn decide(&self, probabilities: &[f64]) -> usize {
        decide(
            probabilities,
            self.positive,
            self.threshold.map(|t| t.threshold),
        )
    }
}

/// As [`Metrics::decide`].
pub(crate) fn decide(probabilities: &[f64], positive: usize, threshold: Option<f64>) -> usize {
    match threshold {
        Some(t) if probabilities.len() == 2 => {
            let is_positive = probabilities.get(positive).is_some_and(|p| *p >= t);
            if is_positive {
                positive
            } else {
                1 - positive.min(1)
            }
        }
        _ => (0..probabilities.len())
            .rev()
            .max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]))
            .unwrap_or(0),
    }
}

pub(super) fn judge(
    settings: &Settings,
    data: &Data,
    [val, test]: [&Scored; 2],
    baselines: &Fitted,
) -> Result<Judged> {
    let classes = data.manifest.classes().len();
    let judge = Judge { settings, data };
    let fit = fit_temperature(&val.labels, &val.logits, classes)?;
    let probabilities = [val, test].map(|s| calibrated(s, classes, &fit));
    let threshold = judge.choose(&val.labels, &probabilities[0])?;
    let (validation, _) = judge.evaluate(val, &probabilities[0], threshold)?;
    let (on_test, curves) = judge.evaluate(test, &probabilities[1], threshold)?;
    let raw: Vec<f64> = test
        .logits
        .chunks(classes)
        .flat_map(|row| {
            metrics::Temperature::new(1.0)
                .map(|t| t.softmax(row))
                .unwrap_or_default()
        })
        .collect();
    let (uncalibrated, raw_curves) = judge.evaluate(test, &raw, threshold)?;
    let (baselines, linear_curves) = judge.baselines(test, baselines)?;
    let metrics = Metrics {
        pipeline: settings.name.clone(),
        phantom: settings.data.phantom.is_some(),
        data_fingerprint: data.manifest.fingerprint(),
        seed: settings.seed,
        classes: data.manifest.classes().to_vec(),
        positive: data.positive,
        counts: dataset::Split::ALL
            .map(|split| data.manifest.class_counts(data.splits.rows(split))),
        threshold,
        calibration: calibration(&fit, &uncalibrated, &on_test),
        validation,
        test: on_test,
        baselines,
    };
    Ok(Judged {
        metrics,
        curves: [curves, raw_curves],
        linear_curves,
        probabilities,
        test_labels: test.labels.clone(),
    })
}

fn calibrated(scored: &Scored, classes: usize, fit: &TemperatureFit) -> Vec<f64> {
    scored
        .logits
        .chunks(classes)
        .flat_map(|row| fit.temperature.softmax(row))
        .collect()
}

fn calibration(fit: &TemperatureFit, before: &Evaluation, after: &Evaluation) -> Calibration {
    Calibration {
        temperature: fit.temperature.value(),
        validation_nll: [fit.nll_before, fit.nll_after],
        test_ece: [
            before.expected_calibration_error,
            after.expected_calibration_error,
        ],
        test_nll: [before.log_loss, after.log_loss],
        test_brier: [before.brier, after.brier],
    }
}

struct Judge<'a> {
    settings: &'a Settings,
    data: &'a Data,
}

impl Judge<'_> {
    fn classes(&self) -> &[String] {
        self.data.manifest.classes()
    }

    /// By the rule of the settings, on validation; none with more than two classes.
    fn choose(&self, labels: &[usize], probabilities: &[f64]) -> Result<Option<Chosen>> {
        if self.classes().len() != 2 {
            return Ok(None);
        }
        let positive = self.data.positive;
        let truth: Vec<bool> = labels.iter().map(|l| *l == positive).collect();
        let scores: Vec<f64> = probabilities.chunks(2).map(|p| p[positive]).collect();
        let (threshold, rule) = match self.settings.evaluate.threshold {
            Threshold::Fixed(p) => (p, Rule::Fixed),
            Threshold::Youden => (youden_threshold(&truth, &scores)?.threshold, Rule::Youden),
            Threshold::Sensitivity(s) => (
                threshold_for_sensitivity(&truth, &scores, s)?.threshold,
                Rule::Sensitivity(s),
            ),
        };
        Ok(Some(Chosen {
            threshold,
            rule,
            n: labels.len(),
        }))
    }

    fn evaluate(
        &self,
        scored: &Scored,
        probabilities: &[f64],
        threshold: Option<Chosen>,
    ) -> Result<(Evaluation, Curves)> {
        let predictions = Predictions {
            class_names: self.classes(),
            labels: &scored.labels,
            probabilities,
            groups: Some(&scored.patients),
        };
        let settings = EvaluationSettings {
            positive: self.data.positive,
            threshold: threshold.map_or(0.5, |t| t.threshold),
            level: self.settings.evaluate.confidence,
            resamples: self.settings.evaluate.bootstrap,
            seed: self.settings.seed,
            ..EvaluationSettings::default()
        };
        Ok(metrics::evaluate(&predictions, &settings)?)
    }

    fn baselines(&self, test: &Scored, fitted: &Fitted) -> Result<(Baselines, Curves)> {
        let prior: Vec<f64> = test
            .labels
            .iter()
            .flat_map(|_| fitted.prior.iter().copied())
            .collect();
        let (majority, _) = self.evaluate(test, &prior, None)?;
        let [(val, val_p), (test, test_p)] = &fitted.linear;
        let threshold = self.choose(&val.labels, val_p)?;
        let (linear, curves) = self.evaluate(test, test_p, threshold)?;
        Ok((
            Baselines {
                majority,
                linear,
                linear_side: fitted.side,
            },
            curves,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let check = |p: &[f64], positive, threshold, expected| {
            assert_eq!(
                decide(p, positive, threshold),
                expected,
                "{p:?} {threshold:?}"
            )
        };
        check(&[0.4, 0.6], 1, Some(0.7), 0);
        check(&[0.4, 0.6], 1, Some(0.6), 1);
        check(&[0.4, 0.6], 0, Some(0.3), 0);
        check(&[0.4, 0.6], 1, None, 1);
        check(&[0.2, 0.5, 0.3], 2, Some(0.1), 1);
        check(&[0.5, 0.5], 1, None, 0);
    }
}
