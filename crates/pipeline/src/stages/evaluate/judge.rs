//! From a classifier's outputs to figures of merit. Everything that is chosen is chosen on the validation images.

use anyhow::Result;
use formats::checkpoint::Decision;
use metrics::{
    Bootstrap, Comparison, Curves, DecisionRule, Evaluation, EvaluationSettings, Interval,
    Predictions, Resampling, Scaling, ScalingFit, SubgroupTable, ThresholdRule, Unbounded, compare,
    fit_scaling, log_odds,
};
use serde::{Deserialize, Serialize};

use super::baselines::{Fitted, LinearFit};
use super::benefit::Benefit;
use super::operating::{Operating, RULES};
use super::prior::PriorShiftOnTest;
use super::sets::Sets;
use super::shifts::Shifted;
use crate::context::Data;
use crate::measured::{Explained, Novelty, Probe, Stress};
use crate::scored::Scored;
use settings::{Settings, Threshold};

/// `metrics.json`. It contains no times and no paths, so that identical runs give identical bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Pipeline's name.
    pub pipeline: String,
    /// Whether the data are phantoms.
    pub phantom: bool,
    /// SHA-256 over classes, paths, labels and file contents.
    pub data_fingerprint: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Class names in the order of their labels.
    pub classes: Vec<String>,
    /// Label of the positive class.
    pub positive: usize,
    /// Images of each class in train, val, test.
    pub counts: [Vec<usize>; 3],
    /// The threshold, with two classes.
    pub threshold: Option<Chosen>,
    /// The thresholds that the usual rules choose on validation, and their test results; empty with more than two
    /// classes.
    #[serde(default)]
    pub operating_points: Vec<Operating>,
    /// How scores become probabilities.
    pub calibration: Calibration,
    /// Results on the images that epoch, threshold and calibration were chosen on: optimistic.
    pub validation: Evaluation,
    /// Results on the validation images under the shifts of the settings, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shifts: Vec<Shifted>,
    /// Results on images that nothing was chosen on: the ones to report.
    pub test: Evaluation,
    /// Sets of classes and abstention, calibrated on validation; absent in the files of earlier versions.
    #[serde(default)]
    pub sets: Option<Sets>,
    /// The shares of the classes on test, estimated without labels; `None` where they cannot be.
    #[serde(default)]
    pub prior_shift: Option<PriorShiftOnTest>,
    /// Predictive values at other prevalences and net benefit, with two classes.
    #[serde(default)]
    pub benefit: Option<Benefit>,
    /// Results by subgroup of the test images; `None` if nothing divides them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroups: Option<SubgroupTable>,
    /// Which images are unlike the training images, if the stage `novelty` ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<Novelty>,
    /// Results under changes of growing strength, if the stage `stress` ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stress: Option<Stress>,
    /// What predicts the class besides the finding, if the stage `probe` ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Which pixels the class scores are based on, if the stage `explain` ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<Explained>,
    /// The baselines to beat, on the same test images.
    pub baselines: Baselines,
    /// How much better the network is than the linear baseline, on the same resamples of the test images.
    pub against_linear: Comparison,
}

/// A threshold and how it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// An image is positive if the score of the positive class minus that of the other class is at least this.
    pub log_odds: f64,
    /// The same threshold as a calibrated probability.
    pub probability: f64,
    /// Interval of `probability` over resamples of the validation images; `None` where the threshold was given.
    pub interval: Option<[f64; 2]>,
    /// How it was chosen.
    pub rule: Rule,
    /// Number of validation images that it was chosen on.
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

impl From<ThresholdRule> for Rule {
    fn from(rule: ThresholdRule) -> Self {
        match rule {
            ThresholdRule::Youden => Rule::Youden,
            ThresholdRule::Sensitivity(s) => Rule::Sensitivity(s),
        }
    }
}

/// The fitted calibration and its effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Divides the class scores.
    pub temperature: f64,
    /// Then added to them, per class.
    pub bias: Vec<f64>,
    /// Why the validation images alone determine no finite values; `None` where they do.
    pub unbounded: Option<Unbounded>,
    /// Mean negative log-likelihood on validation before and after, in nats.
    pub validation_nll: [f64; 2],
    /// Expected calibration error on test before and after.
    pub test_ece: [Interval; 2],
    /// Mean negative log-likelihood on test before and after, in nats.
    pub test_nll: [Interval; 2],
    /// Brier score on test before and after.
    pub test_brier: [Interval; 2],
}

impl Calibration {
    /// The function from scores to probabilities.
    ///
    /// # Errors
    /// A temperature or bias that is not valid, as in an edited file.
    pub fn scaling(&self) -> Result<Scaling> {
        Ok(Scaling::new(self.temperature, self.bias.clone())?)
    }
}

/// The baselines on the test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// Predicts the class shares of the training split for every image.
    pub majority: Evaluation,
    /// Logistic regression on small grey images, with calibration and threshold as for the network.
    pub linear: Evaluation,
    /// Side of those images in pixels.
    pub linear_side: usize,
    /// Its penalty, chosen on validation.
    pub linear_penalty: f64,
    /// With pretrained weights: logistic regression on what the untrained encoder computes.
    pub frozen_encoder: Option<FrozenEncoder>,
}

/// A logistic regression on the features of the pretrained encoder, as it is before training, with calibration and
/// threshold as for the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrozenEncoder {
    /// Its results on the test images.
    pub test: Evaluation,
    /// Number of features: mean and standard deviation of each channel of the last two feature maps.
    pub features: usize,
    /// Its penalty, chosen on validation.
    pub penalty: f64,
    /// How much better the trained network is, on the same resamples of the test images.
    pub against: Comparison,
}

/// The metrics and what the figures are drawn from.
pub(super) struct Judged {
    pub(super) metrics: Metrics,
    /// How scores become a class.
    pub(super) rule: DecisionRule,
    /// Curves of the test split: calibrated, uncalibrated.
    pub(super) curves: [Curves; 2],
    pub(super) linear_curves: Curves,
    /// Calibrated probabilities on validation and test.
    pub(super) probabilities: [Vec<f64>; 2],
    /// True classes of the test images.
    pub(super) test_labels: Vec<usize>,
}

impl Metrics {
    /// The part that a checkpoint stores.
    pub(super) fn decision(&self) -> Decision {
        Decision {
            sets: self.sets.as_ref().map(Sets::rule),
            abstention: self.sets.as_ref().and_then(Sets::abstention_rule),
            ..Decision::new(
                self.threshold.map(|chosen| chosen.log_odds),
                self.calibration.temperature,
                self.calibration.bias.clone(),
            )
        }
    }
}

/// What was fitted and chosen for a classifier on validation.
struct Rules {
    fit: ScalingFit,
    threshold: Option<Chosen>,
    settings: EvaluationSettings,
}

pub(super) fn judge(
    settings: &Settings,
    data: &Data,
    [val, test]: [&Scored; 2],
    shifted: &[(String, Scored)],
    baselines: &Fitted,
) -> Result<Judged> {
    let judge = ClassEvaluator { settings, data };
    let network = judge.rules(val)?;
    let scaled = |scored: &Scored| judge.probabilities(scored, &network.fit.scaling);
    let plain = judge.probabilities(test, &Scaling::identity(judge.classes().len()));
    let probabilities = [scaled(val), scaled(test)];
    let (validation, _) = judge.evaluate(val, &probabilities[0], &network.settings)?;
    let (on_test, curves) = judge.evaluate(test, &probabilities[1], &network.settings)?;
    let (uncalibrated, raw_curves) = judge.evaluate(test, &plain, &network.settings)?;

    let predicted = (
        &judge.predictions(test, &probabilities[1]),
        &network.settings,
    );
    let (on_linear, linear_curves, against_linear) = judge.linear(&baselines.linear, predicted)?;
    let frozen = |fit: &LinearFit| -> Result<FrozenEncoder> {
        let (test, _, against) = judge.linear(fit, predicted)?;
        Ok(FrozenEncoder {
            test,
            features: fit.features,
            penalty: fit.penalty,
            against,
        })
    };
    let under = |(name, scored): &(String, Scored)| -> Result<Shifted> {
        let (found, _) = judge.evaluate(scored, &scaled(scored), &network.settings)?;
        Ok(Shifted::new(name, &found))
    };
    let metrics = Metrics {
        pipeline: settings.name.clone(),
        phantom: settings.data.phantom.is_some(),
        data_fingerprint: data.manifest.fingerprint(),
        seed: settings.seed,
        classes: data.manifest.classes().to_vec(),
        positive: data.positive,
        counts: dataset::Split::ALL
            .map(|split| data.manifest.class_counts(data.splits.rows(split))),
        threshold: network.threshold,
        operating_points: judge.operating_points([val, test], &network)?,
        calibration: calibration(&network.fit, &uncalibrated, &on_test),
        validation,
        shifts: shifted.iter().map(under).collect::<Result<_>>()?,
        prior_shift: PriorShiftOnTest::of(
            [(val, &probabilities[0]), (test, &probabilities[1])],
            judge.classes().len(),
            judge.bootstrap(),
        ),
        benefit: judge.benefit(&on_test, test, &probabilities[1])?,
        test: on_test,
        sets: Some(Sets::of(
            [(val, &probabilities[0]), (test, &probabilities[1])],
            (
                network.settings.rule(judge.classes().len()),
                &network.fit.scaling,
            ),
            &settings.evaluate,
        )?),
        subgroups: super::subgroups::of(settings, data, &test.rows, predicted.0, predicted.1)?,
        novelty: None,
        stress: None,
        probe: None,
        explained: None,
        baselines: Baselines {
            majority: judge.majority(test, &baselines.prior)?,
            linear: on_linear,
            linear_side: baselines.side,
            linear_penalty: baselines.linear.penalty,
            frozen_encoder: baselines.frozen.as_ref().map(frozen).transpose()?,
        },
        against_linear,
    };
    Ok(Judged {
        rule: network.settings.rule(judge.classes().len()),
        metrics,
        curves: [curves, raw_curves],
        linear_curves,
        probabilities,
        test_labels: test.labels.clone(),
    })
}

fn calibration(fit: &ScalingFit, before: &Evaluation, after: &Evaluation) -> Calibration {
    Calibration {
        temperature: fit.scaling.temperature(),
        bias: fit.scaling.bias().to_vec(),
        unbounded: fit.unbounded,
        validation_nll: [fit.nll_before, fit.nll_after],
        test_ece: [before, after].map(|e| e.expected_calibration_error),
        test_nll: [before, after].map(|e| e.log_loss),
        test_brier: [before, after].map(|e| e.brier),
    }
}

struct ClassEvaluator<'a> {
    settings: &'a Settings,
    data: &'a Data,
}

impl<'a> ClassEvaluator<'a> {
    fn classes(&self) -> &'a [String] {
        self.data.manifest.classes()
    }

    /// Calibration and threshold of a classifier, from its outputs on the validation images.
    fn rules(&self, val: &Scored) -> Result<Rules> {
        let fit = fit_scaling(&val.labels, &val.logits, self.classes().len())?;
        let threshold = self.choose(val, &fit.scaling)?;
        let settings = EvaluationSettings {
            threshold: threshold.map_or(0.0, |chosen| chosen.log_odds),
            ..self.evaluation_settings()
        };
        Ok(Rules {
            fit,
            threshold,
            settings,
        })
    }

    /// The threshold by the rule of the settings; `None` with more than two classes.
    fn choose(&self, val: &Scored, scaling: &Scaling) -> Result<Option<Chosen>> {
        if self.classes().len() != 2 {
            return Ok(None);
        }
        match self.settings.evaluate.threshold {
            // A threshold of 0 or 1 has no finite log-odds, but the nearest representable probability has.
            Threshold::Fixed(p) => {
                let p = p.clamp(f64::MIN_POSITIVE, 1.0 - 0.5 * f64::EPSILON);
                Ok(Some(Chosen {
                    log_odds: scaling.log_odds_at(p, self.data.positive),
                    probability: p,
                    interval: None,
                    rule: Rule::Fixed,
                    n: val.labels.len(),
                }))
            }
            Threshold::Youden => self
                .chosen_by(ThresholdRule::Youden, val, scaling)
                .map(Some),
            Threshold::Sensitivity(s) => {
                let rule = ThresholdRule::Sensitivity(s);
                self.chosen_by(rule, val, scaling).map(Some)
            }
        }
    }

    /// The threshold in use, and those that the usual rules choose on validation, with their test results.
    fn operating_points(
        &self,
        [val, test]: [&Scored; 2],
        network: &Rules,
    ) -> Result<Vec<Operating>> {
        let Some(used) = network.threshold else {
            return Ok(vec![]);
        };
        let others = RULES
            .into_iter()
            .filter(|rule| Rule::from(*rule) != used.rule);
        let mut chosen = vec![used];
        for rule in others {
            // No rule applies if validation lacks a class.
            chosen.extend(self.chosen_by(rule, val, &network.fit.scaling).ok());
        }
        let level = self.settings.evaluate.confidence;
        chosen
            .into_iter()
            .map(|chosen| Operating::new(chosen, test, self.data.positive, level))
            .collect()
    }

    /// The threshold that a rule chooses on the validation images, with its interval over their patients.
    fn chosen_by(&self, rule: ThresholdRule, val: &Scored, scaling: &Scaling) -> Result<Chosen> {
        let positive = self.data.positive;
        let truth: Vec<bool> = val.labels.iter().map(|l| *l == positive).collect();
        let rows = val.logits.chunks(2);
        let scores: Vec<f64> = rows.map(|z| log_odds(z, positive)).collect();
        let bootstrap = self.bootstrap();
        let patients = Resampling::Grouped(&val.patients);
        let found = rule.interval(&truth, &scores, patients, &bootstrap)?;
        let probability = |log_odds| scaling.probability_at(log_odds, positive);
        Ok(Chosen {
            log_odds: found.estimate,
            probability: probability(found.estimate),
            interval: Some([found.low, found.high].map(probability)),
            rule: rule.into(),
            n: val.labels.len(),
        })
    }

    /// A linear model on the test images, and how much better the network is.
    fn linear(
        &self,
        fit: &LinearFit,
        (network, settings): (&Predictions<'_, String>, &EvaluationSettings),
    ) -> Result<(Evaluation, Curves, Comparison)> {
        let [val, test] = &fit.scored;
        let rules = self.rules(val)?;
        let probabilities = self.probabilities(test, &rules.fit.scaling);
        let (evaluation, curves) = self.evaluate(test, &probabilities, &rules.settings)?;
        let predictions = self.predictions(test, &probabilities);
        let comparison = compare([network, &predictions], [settings, &rules.settings])?;
        Ok((evaluation, curves, comparison))
    }

    fn evaluation_settings(&self) -> EvaluationSettings {
        EvaluationSettings {
            positive: self.data.positive,
            level: self.settings.evaluate.confidence,
            resamples: self.settings.evaluate.bootstrap,
            seed: self.settings.seed,
            ..EvaluationSettings::default()
        }
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            resamples: self.settings.evaluate.bootstrap,
            seed: self.settings.seed,
            level: self.settings.evaluate.confidence,
        }
    }

    /// Predictive values and net benefit; `None` with more than two classes.
    fn benefit(
        &self,
        evaluation: &Evaluation,
        test: &Scored,
        probabilities: &[f64],
    ) -> Result<Option<Benefit>> {
        let Some(binary) = &evaluation.binary else {
            return Ok(None);
        };
        let label = self.data.positive;
        let positive: Vec<f64> = probabilities.chunks(2).map(|p| p[label]).collect();
        let prevalences = &self.settings.evaluate.prevalences;
        let how = (prevalences.as_slice(), &self.bootstrap());
        Benefit::of(binary, (test, &positive), label, how)
    }

    fn probabilities(&self, scored: &Scored, scaling: &Scaling) -> Vec<f64> {
        let rows = scored.logits.chunks(self.classes().len());
        rows.flat_map(|row| scaling.probabilities(row)).collect()
    }

    fn predictions<'p>(
        &self,
        scored: &'p Scored,
        probabilities: &'p [f64],
    ) -> Predictions<'p, String>
    where
        'a: 'p,
    {
        Predictions {
            class_names: self.classes(),
            labels: &scored.labels,
            logits: &scored.logits,
            probabilities,
            groups: Some(&scored.patients),
        }
    }

    fn evaluate(
        &self,
        scored: &Scored,
        probabilities: &[f64],
        settings: &EvaluationSettings,
    ) -> Result<(Evaluation, Curves)> {
        Ok(metrics::evaluate(
            &self.predictions(scored, probabilities),
            settings,
        )?)
    }

    /// Evaluates the class shares of the training split as the prediction for every image.
    fn majority(&self, test: &Scored, prior: &[f64]) -> Result<Evaluation> {
        // A class without training images has a share of 0, whose logarithm is not finite.
        let logits: Vec<f64> = prior.iter().map(|p| p.max(1e-12).ln()).collect();
        let scored = Scored {
            logits: test.labels.iter().flat_map(|_| logits.clone()).collect(),
            ..test.clone()
        };
        let all: Vec<f64> = test.labels.iter().flat_map(|_| prior.to_vec()).collect();
        let (majority, _) = self.evaluate(&scored, &all, &self.evaluation_settings())?;
        Ok(majority)
    }
}
