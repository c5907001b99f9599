//! Computes an evaluation from checked predictions.

use crate::auc::{RankedScores, bootstrap_auc};
use crate::bootstrap::{Bootstrap, Resampling};
use crate::calibration::{expected_calibration_error, reliability_bins};
use crate::check;
use crate::confusion::{ClassScores, ConfusionMatrix};
use crate::curve::{CurvePoints, average_precision, pr_curve, roc_curve};
use crate::delong::delong_auc;
use crate::error::Result;
use crate::interval::Interval;
use crate::logits::Logits;
use crate::probability::{Probabilities, brier_terms, log_loss_terms};
use crate::proportion::proportion;
use crate::threshold::BinaryCounts;

use super::{
    BinaryEvaluation, ClassCurves, ClassRanking, Curves, Evaluation, EvaluationSettings,
    Predictions, ScoreIntervals,
};

/// The checked inputs, with intermediate results shared by several metrics.
pub(crate) struct CheckedPredictions<'a> {
    names: Vec<String>,
    pub(crate) labels: &'a [usize],
    logits: Logits,
    probabilities: Probabilities,
    pub(crate) decisions: Vec<usize>,
    pub(crate) groups: Option<&'a [usize]>,
    settings: EvaluationSettings,
}

impl<'a> CheckedPredictions<'a> {
    pub(crate) fn new<S: AsRef<str>>(
        predictions: &Predictions<'a, S>,
        settings: &EvaluationSettings,
    ) -> Result<Self> {
        let Predictions {
            class_names,
            labels,
            logits,
            probabilities,
            groups,
        } = *predictions;
        let classes = class_names.len();
        if classes < 2 {
            let expected = "names of two or more classes";
            return Err(check::setting("class_names", classes, expected));
        }
        check::finite("threshold", &[settings.threshold])?;
        let positive = settings.positive;
        if classes == 2 && positive > 1 {
            let expected = "0 or 1, the index of the positive class";
            return Err(check::setting("positive", positive, expected));
        }
        check::not_empty("labels", labels.len())?;
        let logits = Logits::new(classes, logits)?;
        logits.check_labels(labels)?;
        let probabilities = Probabilities::new(classes, probabilities)?;
        probabilities.check_labels(labels)?;
        if let Some(groups) = groups {
            check::same_length("groups", groups.len(), "labels", labels.len())?;
        }
        let rule = settings.rule(classes);
        let outputs = logits.rows().zip(probabilities.rows());
        Ok(Self {
            names: class_names.iter().map(|n| n.as_ref().to_owned()).collect(),
            labels,
            decisions: outputs.map(|(z, p)| rule.decide(z, p)).collect(),
            logits,
            probabilities,
            groups,
            settings: *settings,
        })
    }

    pub(super) fn evaluation(&self) -> Result<Evaluation> {
        let confusion = ConfusionMatrix::new(self.names.len(), self.labels, &self.decisions)?;
        let scores = self.scores(&confusion)?;
        let ranking = self.ranking()?;
        Ok(Evaluation {
            classes: self.names.clone(),
            n: self.labels.len(),
            groups: self.groups.map(count_distinct),
            settings: self.settings,
            accuracy: self.share(|_| true, |i| self.decisions[i] == self.labels[i])?,
            balanced_accuracy: self.balanced_accuracy(&confusion)?,
            mcc: self.of_confusion(|resample| Some(resample.mcc()))?,
            cohen_kappa: confusion
                .cohen_kappa()
                .map(|_| self.of_confusion(ConfusionMatrix::cohen_kappa))
                .transpose()?,
            auc: self.auc(&ranking)?,
            average_precision: self.average_precision()?,
            log_loss: self.mean_of(&log_loss_terms(self.labels, &self.probabilities)?)?,
            brier: self.mean_of(&self.brier_terms()?)?,
            expected_calibration_error: self.calibration_error()?,
            binary: self.is_binary().then(|| self.binary()).transpose()?,
            ranking,
            scores,
            macro_average: self.average("macro average", ConfusionMatrix::macro_average)?,
            weighted_average: self
                .average("weighted average", ConfusionMatrix::weighted_average)?,
            confusion,
        })
    }

    pub(super) fn curves(&self) -> Result<Curves> {
        let (right, confidence) = self.confidences();
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
        let called: Vec<bool> = self.decisions.iter().map(|d| *d == positive).collect();
        let rate = |among: &dyn Fn(usize) -> bool, hit: &dyn Fn(usize) -> bool| {
            self.share(among, hit).ok()
        };
        Ok(BinaryEvaluation {
            positive: self.names[positive].clone(),
            threshold,
            counts: BinaryCounts::new(&labels, &called)?,
            sensitivity: rate(&|i| labels[i], &|i| called[i]),
            specificity: rate(&|i| !labels[i], &|i| !called[i]),
            ppv: rate(&|i| called[i], &|i| labels[i]),
            npv: rate(&|i| !called[i], &|i| !labels[i]),
            auc_delong: delong_auc(&labels, &scores, self.groups, level).ok(),
        })
    }

    fn ranking(&self) -> Result<Vec<ClassRanking>> {
        let rank = |class: usize| -> Result<ClassRanking> {
            let (labels, scores) = self.one_vs_rest(class);
            let defined = has_both(&labels);
            let auc = || bootstrap_auc(&labels, &scores, self.resampling(), &self.bootstrap());
            let precision = |sample: &[usize]| sampled_average_precision(&labels, &scores, sample);
            Ok(ClassRanking {
                class: self.names[class].clone(),
                auc: defined.then(auc).transpose()?,
                average_precision: defined.then(|| self.resampled(precision)).transpose()?,
            })
        };
        self.ranked_classes().map(rank).collect()
    }

    /// The positive class's AUC, or the macro average. If that is 1 or 0, it is the same on every resample, and its
    /// interval is the mean of the classes' intervals.
    fn auc(&self, ranking: &[ClassRanking]) -> Result<Option<Interval>> {
        let Some(auc) = self.macro_auc()? else {
            return Ok(None);
        };
        let interval = self.resampled(auc)?;
        if interval.estimate > 0.0 && interval.estimate < 1.0 {
            return Ok(Some(interval));
        }
        let of = |end: fn(Interval) -> f64| mean(ranking.iter().map(|class| class.auc.map(end)));
        Ok(Some(Interval {
            low: of(|auc| auc.low).unwrap_or(interval.low),
            high: of(|auc| auc.high).unwrap_or(interval.high),
            ..interval
        }))
    }

    /// The AUC of a sample, as defined by [`Evaluation::auc`]; `None` if a class has no examples.
    pub(super) fn macro_auc(&self) -> Result<Option<impl FnMut(&[usize]) -> Option<f64> + use<>>> {
        let mut ranked = vec![];
        for class in self.ranked_classes() {
            let (labels, scores) = self.one_vs_rest(class);
            if !has_both(&labels) {
                return Ok(None);
            }
            ranked.push(RankedScores::new(&labels, &scores)?);
        }
        let mut tally = Vec::new();
        Ok(Some(move |sample: &[usize]| {
            let one = |class: &RankedScores| class.auc(sample.iter().copied(), &mut tally);
            mean(ranked.iter().map(one))
        }))
    }

    fn average_precision(&self) -> Result<Option<Interval>> {
        let ranked: Vec<_> = self.ranked_classes().map(|c| self.one_vs_rest(c)).collect();
        if ranked.iter().any(|(labels, _)| !has_both(labels)) {
            return Ok(None);
        }
        let macro_average = |sample: &[usize]| {
            let one = |(labels, scores): &(Vec<bool>, Vec<f64>)| {
                sampled_average_precision(labels, scores, sample)
            };
            mean(ranked.iter().map(one))
        };
        self.resampled(macro_average).map(Some)
    }

    /// Redraws resamples that lack a class present in the data.
    fn balanced_accuracy(&self, confusion: &ConfusionMatrix) -> Result<Interval> {
        let present = |support: &[u64]| support.iter().filter(|n| **n > 0).count();
        let wanted = present(&confusion.support());
        self.of_confusion(|resample| {
            (present(&resample.support()) == wanted).then(|| resample.balanced_accuracy())
        })
    }

    fn scores(&self, confusion: &ConfusionMatrix) -> Result<Vec<ScoreIntervals>> {
        let support = confusion.support();
        let score = |class: usize| {
            let (is, called) = (
                |i: usize| self.labels[i] == class,
                |i: usize| self.decisions[i] == class,
            );
            let f1 = |resample: &ConfusionMatrix| {
                let some = resample.support()[class] + resample.predicted()[class] > 0;
                some.then(|| resample.class_scores()[class].f1)
            };
            ScoreIntervals {
                name: self.names[class].clone(),
                precision: self.share(called, is).ok(),
                recall: self.share(is, called).ok(),
                f1: self.of_confusion(f1).ok(),
                support: support[class],
            }
        };
        Ok((0..self.names.len()).map(score).collect())
    }

    fn average(
        &self,
        name: &str,
        average: impl Fn(&ConfusionMatrix) -> ClassScores,
    ) -> Result<ScoreIntervals> {
        let of = |score: fn(ClassScores) -> f64| {
            self.of_confusion(|resample| Some(score(average(resample))))
                .map(Some)
        };
        Ok(ScoreIntervals {
            name: name.into(),
            precision: of(|scores| scores.precision)?,
            recall: of(|scores| scores.recall)?,
            f1: of(|scores| scores.f1)?,
            support: self.labels.len() as u64,
        })
    }

    fn calibration_error(&self) -> Result<Interval> {
        let (right, confidence) = self.confidences();
        let bins = self.settings.calibration_bins;
        // Reports errors in the inputs or the number of bins once, rather than for a resample.
        expected_calibration_error(&right, &confidence, bins)?;
        self.resampled(|sample| {
            let (right, confidence): (Vec<bool>, Vec<f64>) =
                sample.iter().map(|i| (right[*i], confidence[*i])).unzip();
            expected_calibration_error(&right, &confidence, bins).ok()
        })
    }

    /// The terms of the mean in [`Evaluation::brier`], one per example.
    pub(crate) fn brier_terms(&self) -> Result<Vec<f64>> {
        let terms = brier_terms(self.labels, &self.probabilities)?;
        let half = if self.is_binary() { 0.5 } else { 1.0 };
        Ok(terms.into_iter().map(|term| half * term).collect())
    }

    /// The outcomes and predicted probabilities that calibration compares: those of the positive class with two
    /// classes, and of the predicted class with more.
    fn confidences(&self) -> (Vec<bool>, Vec<f64>) {
        if self.is_binary() {
            let positive = self.settings.positive;
            let labels = check::is_class(self.labels, positive);
            return (labels, self.probabilities.class(positive));
        }
        let decided = self.labels.iter().zip(&self.decisions);
        let called = self.probabilities.rows().zip(&self.decisions);
        (
            decided.map(|(label, decision)| label == decision).collect(),
            called.map(|(row, decision)| row[*decision]).collect(),
        )
    }

    /// Whether each example belongs to the class, and its log-odds.
    pub(crate) fn one_vs_rest(&self, class: usize) -> (Vec<bool>, Vec<f64>) {
        (
            check::is_class(self.labels, class),
            self.logits.log_odds(class),
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

    /// The share of hits among the examples selected by `among`.
    fn share(
        &self,
        among: impl Fn(usize) -> bool,
        hit: impl Fn(usize) -> bool,
    ) -> Result<Interval> {
        let examples: Vec<usize> = (0..self.labels.len()).filter(|i| among(*i)).collect();
        let hits: Vec<bool> = examples.iter().map(|i| hit(*i)).collect();
        let groups: Option<Vec<usize>> = self
            .groups
            .map(|groups| examples.iter().map(|i| groups[*i]).collect());
        proportion(&hits, groups.as_deref(), self.settings.level)
    }

    fn of_confusion(
        &self,
        statistic: impl Fn(&ConfusionMatrix) -> Option<f64>,
    ) -> Result<Interval> {
        self.resampled(|sample| {
            let pairs = sample.iter().map(|&i| (self.labels[i], self.decisions[i]));
            statistic(&ConfusionMatrix::count(self.names.len(), pairs))
        })
    }

    fn mean_of(&self, values: &[f64]) -> Result<Interval> {
        self.resampled(|sample| {
            Some(sample.iter().map(|i| values[*i]).sum::<f64>() / sample.len() as f64)
        })
    }

    pub(super) fn resampled(
        &self,
        statistic: impl FnMut(&[usize]) -> Option<f64>,
    ) -> Result<Interval> {
        self.bootstrap()
            .interval(self.labels.len(), self.resampling(), statistic)
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

/// Average precision of a sample; `None` if it lacks positives or negatives.
fn sampled_average_precision(labels: &[bool], scores: &[f64], sample: &[usize]) -> Option<f64> {
    let (labels, scores): (Vec<bool>, Vec<f64>) =
        sample.iter().map(|i| (labels[*i], scores[*i])).unzip();
    average_precision(&labels, &scores).ok()
}

fn has_both(labels: &[bool]) -> bool {
    labels.contains(&true) && labels.contains(&false)
}

/// The mean, if every value is present.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

fn count_distinct(ids: &[usize]) -> usize {
    ids.iter().collect::<std::collections::BTreeSet<_>>().len()
}
