//! From scores to results, with the threshold and calibration of the checkpoint.

use anyhow::Result;
use inference::Bundle;
use metrics::{
    Comparison, Curves, DecisionRule, Evaluation, EvaluationSettings, Interval, Predictions,
    Scaling, compare, softmax,
};
use serde::Serialize;
use settings::Settings;

use super::answers::Answers;
use super::images::Images;
use super::trained::Trained;

/// A threshold of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// An image is positive if the score of the positive class minus that of the other class is at least this.
    pub log_odds: f64,
    /// The same threshold as a calibrated probability.
    pub probability: f64,
}

/// One of the networks that predict together, at its own threshold.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// The pipeline that trained it.
    pub pipeline: String,
    /// Its own threshold, as a probability.
    pub threshold: Option<f64>,
    /// Area under the ROC curve.
    pub auc: Option<Interval>,
    /// Share of the images classified correctly.
    pub accuracy: Interval,
    /// Share of the positive images classified correctly.
    pub sensitivity: Option<Interval>,
    /// Share of the negative images classified correctly.
    pub specificity: Option<Interval>,
    /// The ensemble minus this network, on the same resamples of the patients.
    pub ensemble_minus: Comparison,
}

/// Results and what figures are drawn from.
pub(super) struct Judged {
    pub(super) answers: Answers,
    pub(super) rule: DecisionRule,
    pub(super) threshold: Option<Threshold>,
    pub(super) evaluation: Evaluation,
    pub(super) curves: Curves,
    /// The same with temperature 1 and without biases.
    pub(super) as_trained: (Evaluation, Curves),
    pub(super) members: Vec<Member>,
}

pub(super) fn judge(
    settings: &Settings,
    trained: &Trained,
    images: &Images,
    answers: Answers,
) -> Result<Judged> {
    let networks = &trained.networks;
    let classes = trained.classes();
    let positive = networks.first().meta().positive;
    let judge = Judge {
        classes,
        images,
        settings: EvaluationSettings {
            positive,
            level: settings.evaluate.confidence,
            resamples: settings.evaluate.bootstrap,
            seed: settings.seed,
            ..EvaluationSettings::default()
        },
    };
    let rule = networks.rule();
    let own = judge.at(threshold_of(rule, networks.scaling(), positive));
    let (evaluation, curves) = judge.evaluate(&answers.scores, &answers.probabilities, &own)?;
    let plain = scaled(&answers.scores, &Scaling::identity(classes.len()));
    let as_trained = judge.evaluate(&answers.scores, &plain, &own)?;
    let classifying = networks.members().filter(|member| member.classifies());
    let members = classifying.zip(&answers.members).map(|(member, scores)| {
        let ensemble = judge.predictions(&answers.scores, &answers.probabilities);
        judge.member(member, scores, (&ensemble, &own))
    });
    Ok(Judged {
        rule,
        threshold: match rule {
            DecisionRule::Threshold { log_odds, .. } => Some(Threshold {
                log_odds,
                probability: networks.scaling().probability_at(log_odds, positive),
            }),
            DecisionRule::MostProbable => None,
        },
        evaluation,
        curves,
        as_trained,
        members: members.collect::<Result<_>>()?,
        answers,
    })
}

/// In log-odds before calibration: of two classes the positive one is the most probable from a half on. More classes have
/// no threshold.
fn threshold_of(rule: DecisionRule, scaling: &Scaling, positive: usize) -> f64 {
    match rule {
        DecisionRule::Threshold { log_odds, .. } => log_odds,
        DecisionRule::MostProbable if scaling.bias().len() == 2 => {
            scaling.log_odds_at(0.5, positive)
        }
        DecisionRule::MostProbable => 0.0,
    }
}

fn scaled(scores: &[f64], scaling: &Scaling) -> Vec<f64> {
    let rows = scores.chunks(scaling.bias().len().max(1));
    rows.flat_map(|row| scaling.probabilities(row)).collect()
}

struct Judge<'a> {
    classes: &'a [String],
    images: &'a Images,
    settings: EvaluationSettings,
}

impl Judge<'_> {
    fn at(&self, threshold: f64) -> EvaluationSettings {
        EvaluationSettings {
            threshold,
            ..self.settings
        }
    }

    fn predictions<'p>(
        &'p self,
        logits: &'p [f64],
        probabilities: &'p [f64],
    ) -> Predictions<'p, String> {
        Predictions {
            class_names: self.classes,
            labels: &self.images.labels,
            logits,
            probabilities,
            groups: Some(&self.images.patients),
        }
    }

    fn evaluate(
        &self,
        logits: &[f64],
        probabilities: &[f64],
        settings: &EvaluationSettings,
    ) -> Result<(Evaluation, Curves)> {
        let predictions = self.predictions(logits, probabilities);
        Ok(metrics::evaluate(&predictions, settings)?)
    }

    /// A network on its own; `scores` are calibrated, and its threshold is converted accordingly.
    fn member(
        &self,
        network: &Bundle,
        scores: &[f64],
        (ensemble, its_settings): (&Predictions<'_, String>, &EvaluationSettings),
    ) -> Result<Member> {
        let (scaling, positive) = (network.scaling(), self.settings.positive);
        let raw = threshold_of(network.rule(), scaling, positive);
        let settings = self.at(match self.classes.len() {
            2 => scaling.scaled_log_odds(raw, positive),
            _ => 0.0,
        });
        let rows = scores.chunks(self.classes.len());
        let probabilities: Vec<f64> = rows.flat_map(softmax).collect();
        let (evaluation, _) = self.evaluate(scores, &probabilities, &settings)?;
        let own = self.predictions(scores, &probabilities);
        let binary = evaluation.binary.as_ref();
        Ok(Member {
            pipeline: network.meta().origin.pipeline.clone(),
            threshold: (self.classes.len() == 2).then(|| scaling.probability_at(raw, positive)),
            auc: evaluation.auc,
            accuracy: evaluation.accuracy,
            sensitivity: binary.and_then(|b| b.sensitivity),
            specificity: binary.and_then(|b| b.specificity),
            ensemble_minus: compare([ensemble, &own], [its_settings, &settings])?,
        })
    }
}
