//! How an evaluation is computed from checked predictions.

use crate::auc::{RankedScores, bootstrap_auc};
use crate::bootstrap::{Bootstrap, Resampling};
use crate::calibration::{expected_calibration_error, reliability_bins, top_label_confidence};
use crate::check;
use crate::confusion::ConfusionMatrix;
use crate::curve::{CurvePoints, average_precision, pr_curve, roc_curve};
use crate::delong::delong_auc;
use crate::error::Result;
use crate::interval::{Interval, wilson};
use crate::probability::{Probabilities, brier_score, brier_score_multiclass, log_loss};
use crate::report::ClassificationReport;
use crate::threshold::BinaryCounts;

use super::{
    BinaryEvaluation, ClassCurves, ClassRanking, Curves, Evaluation, EvaluationSettings,
    Predictions,
};

/// The checked inputs, and what several figures share.
pub(super) struct Judge<'a> {
    names: Vec<String>,
    labels: &'a [usize],
    probabilities: Probabilities,
    decisions: Vec<usize>,
    groups: Option<&'a [usize]>,
    settings: EvaluationSettings,
}

impl<'a> Judge<'a> {
    pub(super) fn new<S: AsRef<str>, P: Copy + Into<f64>>(
        predictions: &Predictions<'a, S, P>,
        settings: &EvaluationSettings,
    ) -> Result<Self> {
        let Predictions {
            class_names,
            labels,
            probabilities,
            groups,
        } = *predictions;
        if class_names.len() < 2 {
            return Err(check::setting(
                "class_names",
                class_names.len(),
                "names of two or more classes",
            ));
        }
        check::finite("threshold", &[settings.threshold])?;
        let positive = settings.positive;
        if class_names.len() == 2 && positive > 1 {
            return Err(check::setting(
                "positive",
                positive,
                "0 or 1, the index of the positive class",
            ));
        }
        check::not_empty("labels", labels.len())?;
        let probabilities = Probabilities::new(class_names.len(), probabilities)?;
        probabilities.check_labels(labels)?;
        let decisions = decide(&probabilities, settings);
        let names = class_names
            .iter()
            .map(|name| name.as_ref().to_owned())
            .collect();
        Ok(Self {
            names,
            labels,
            probabilities,
            decisions,
            groups,
            settings: *settings,
        })
    }

    pub(super) fn evaluation(&self) -> Result<Evaluation> {
        let confusion = ConfusionMatrix::new(self.names.len(), self.labels, &self.decisions)?;
        let (right, confidence) = self.confidences()?;
        let ranking = self.ranking()?;
        Ok(Evaluation {
            classes: self.names.clone(),
            n: self.labels.len(),
            groups: self.groups.map(count_distinct),
            settings: self.settings,
            accuracy: wilson(confusion.correct(), confusion.total(), self.settings.level)?,
            balanced_accuracy: self.balanced_accuracy(&confusion)?,
            mcc: self.bootstrap_confusion(|resample| Some(resample.mcc()))?,
            cohen_kappa: confusion.cohen_kappa(),
            auc: self.auc(&ranking)?,
            average_precision: mean(ranking.iter().map(|class| class.average_precision)),
            log_loss: log_loss(self.labels, &self.probabilities)?,
            brier: self.brier()?,
            expected_calibration_error: expected_calibration_error(
                &right,
                &confidence,
                self.settings.calibration_bins,
            )?,
            binary: self.is_binary().then(|| self.binary()).transpose()?,
            ranking,
            report: ClassificationReport::new(&confusion, &self.names)?,
            confusion,
        })
    }

    pub(super) fn curves(&self) -> Result<Curves> {
        let (right, confidence) = self.confidences()?;
        let classes = self
            .ranked_classes()
            .filter_map(|class| self.class_curves(class).transpose());
        Ok(Curves {
            classes: classes.collect::<Result<_>>()?,
            reliability: reliability_bins(&right, &confidence, self.settings.calibration_bins)?,
        })
    }

    fn class_curves(&self, class: usize) -> Result<Option<ClassCurves>> {
        let (labels, scores) = self.one_vs_rest(class);
        if !has_both(&labels) {
            return Ok(None);
        }
        Ok(Some(ClassCurves {
            class: self.names[class].clone(),
            roc: roc_curve(&labels, &scores, CurvePoints::Corners)?,
            pr: pr_curve(&labels, &scores, CurvePoints::Corners)?,
        }))
    }

    fn binary(&self) -> Result<BinaryEvaluation> {
        let EvaluationSettings {
            positive,
            threshold,
            level,
            ..
        } = self.settings;
        let (labels, scores) = self.one_vs_rest(positive);
        let counts = BinaryCounts::at_threshold(&labels, &scores, threshold)?;
        Ok(BinaryEvaluation {
            positive: self.names[positive].clone(),
            threshold,
            counts,
            sensitivity: counts.sensitivity_interval(level),
            specificity: counts.specificity_interval(level),
            ppv: counts.ppv_interval(level),
            npv: counts.npv_interval(level),
            auc_delong: delong_auc(&labels, &scores, level).ok(),
        })
    }

    fn ranking(&self) -> Result<Vec<ClassRanking>> {
        let rank = |class: usize| -> Result<ClassRanking> {
            let (labels, scores) = self.one_vs_rest(class);
            let defined = has_both(&labels);
            let auc = || bootstrap_auc(&labels, &scores, self.resampling(), &self.bootstrap());
            Ok(ClassRanking {
                class: self.names[class].clone(),
                auc: defined.then(auc).transpose()?,
                average_precision: defined
                    .then(|| average_precision(&labels, &scores))
                    .transpose()?,
            })
        };
        self.ranked_classes().map(rank).collect()
    }

    /// The positive class's AUC, or the macro average with an interval of its own.
    fn auc(&self, ranking: &[ClassRanking]) -> Result<Option<Interval>> {
        if let [only] = ranking {
            return Ok(only.auc);
        }
        if ranking.iter().any(|class| class.auc.is_none()) {
            return Ok(None);
        }
        let ranked = self.ranked_classes().map(|class| {
            let (labels, scores) = self.one_vs_rest(class);
            RankedScores::new(&labels, &scores)
        });
        let ranked: Vec<RankedScores> = ranked.collect::<Result<_>>()?;
        let mut tally = Vec::new();
        let macro_average = |sample: &[usize]| {
            mean(
                ranked
                    .iter()
                    .map(|class| class.auc(sample.iter().copied(), &mut tally)),
            )
        };
        self.bootstrap()
            .interval(self.labels.len(), self.resampling(), macro_average)
            .map(Some)
    }

    /// Resamples that lack a class which the data have are redrawn.
    fn balanced_accuracy(&self, confusion: &ConfusionMatrix) -> Result<Interval> {
        let present = |support: &[u64]| support.iter().filter(|n| **n > 0).count();
        let wanted = present(&confusion.support());
        self.bootstrap_confusion(|resample| {
            (present(&resample.support()) == wanted).then(|| resample.balanced_accuracy())
        })
    }

    fn bootstrap_confusion(
        &self,
        statistic: impl Fn(&ConfusionMatrix) -> Option<f64>,
    ) -> Result<Interval> {
        self.bootstrap()
            .interval(self.labels.len(), self.resampling(), |sample| {
                let pairs = sample.iter().map(|&i| (self.labels[i], self.decisions[i]));
                statistic(&ConfusionMatrix::count(self.names.len(), pairs))
            })
    }

    fn brier(&self) -> Result<f64> {
        if !self.is_binary() {
            return brier_score_multiclass(self.labels, &self.probabilities);
        }
        let (labels, scores) = self.one_vs_rest(self.settings.positive);
        brier_score(&labels, &scores)
    }

    /// What calibration compares: did it happen, and how probable was it called.
    fn confidences(&self) -> Result<(Vec<bool>, Vec<f64>)> {
        if self.is_binary() {
            return Ok(self.one_vs_rest(self.settings.positive));
        }
        top_label_confidence(self.labels, &self.probabilities)
    }

    fn one_vs_rest(&self, class: usize) -> (Vec<bool>, Vec<f64>) {
        (
            check::is_class(self.labels, class),
            self.probabilities.class(class),
        )
    }

    fn is_binary(&self) -> bool {
        self.names.len() == 2
    }

    fn ranked_classes(&self) -> std::ops::Range<usize> {
        let EvaluationSettings { positive, .. } = self.settings;
        if self.is_binary() {
            positive..positive + 1
        } else {
            0..self.names.len()
        }
    }

    fn resampling(&self) -> Resampling<'a> {
        self.groups.map_or(Resampling::Simple, Resampling::Grouped)
    }

    fn bootstrap(&self) -> Bootstrap {
        let EvaluationSettings {
            resamples,
            seed,
            level,
            ..
        } = self.settings;
        Bootstrap {
            resamples,
            seed,
            level,
        }
    }
}

fn decide(probabilities: &Probabilities, settings: &EvaluationSettings) -> Vec<usize> {
    let EvaluationSettings {
        positive,
        threshold,
        ..
    } = *settings;
    if probabilities.classes() != 2 {
        return probabilities.argmax();
    }
    let decide = |p: f64| {
        if p >= threshold {
            positive
        } else {
            1 - positive
        }
    };
    probabilities
        .class(positive)
        .into_iter()
        .map(decide)
        .collect()
}

fn has_both(labels: &[bool]) -> bool {
    labels.contains(&true) && labels.contains(&false)
}

/// The mean, if every value is there.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

fn count_distinct(ids: &[usize]) -> usize {
    ids.iter().collect::<std::collections::BTreeSet<_>>().len()
}
