//! `experiment.json`: what all runs together show, as data.

use anyhow::{Context as _, Result};
use dataset::FoldBy;
use metrics::{Evaluation, Interval, Spread, mean_interval};
use pipeline::stages::Metrics;
use serde::{Deserialize, Serialize};
use settings::Experiment;

use crate::finished::FinishedRun;
use crate::out_of_fold::OutOfFold;

/// The results of an experiment. They contain no times and no paths, so that equal experiments give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The experiment's name.
    pub experiment: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// Whether the data are phantoms.
    pub phantom: bool,
    /// SHA-256 over classes, paths, labels and file contents: the same for all runs.
    pub data_fingerprint: String,
    /// Class names in the order of their labels.
    pub classes: Vec<String>,
    /// Label of the positive class.
    pub positive: usize,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Number of folds, if the runs are a cross-validation.
    pub folds: Option<usize>,
    /// What the images of a fold have in common.
    #[serde(default)]
    pub folds_by: FoldBy,
    /// What the grid varies.
    pub grid: Vec<Axis>,
    /// Each combination of the grid's values; a single one without a grid.
    pub settings: Vec<SettingResult>,
    /// Number of the setting that validation chooses, from 1: the highest mean AUC on validation, or where the pipeline
    /// has shifts, the highest mean of a run's lowest AUC on unchanged and shifted validation images; where folds look
    /// different, that of the worst run instead of the mean. Of equal ones that with the lowest mean log loss, then the
    /// first.
    pub chosen: usize,
    /// Results on the training images, each predicted by the network that did not see it; empty without folds.
    pub out_of_fold: Vec<OutOfFold>,
    /// Each run, in order.
    pub runs: Vec<RunResult>,
}

/// A key of the grid and its values, as TOML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Dotted key.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
}

/// The results of one setting over its seeds and folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingResult {
    /// The value of each key of the grid, in the grid's order.
    pub values: Vec<String>,
    /// On validation, which the setting is chosen by.
    pub validation: Summaries,
    /// The lowest AUC of each run on its validation images, unchanged and under the shifts of `evaluate.shifts`, if there
    /// are any.
    pub under_shift: Option<Summary>,
    /// On the test images, which nothing is chosen by.
    pub test: Summaries,
}

/// Each metric over the runs of a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summaries {
    /// Area under the ROC curve, or its one-vs-rest macro average.
    pub auc: Summary,
    /// Share of correct predictions at the threshold that the run chose on its validation images.
    pub accuracy: Summary,
    /// Mean −ln p(true class) of the calibrated probabilities, in nats.
    pub log_loss: Summary,
}

/// A metric over the runs of a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean and standard deviation over all runs, and their number.
    pub runs: Spread,
    /// The least favourable value.
    pub worst: f64,
    /// The most favourable value.
    pub best: f64,
    /// Student's t interval of the mean over seeds, whose number is `n`; with folds, a seed's value is its mean over
    /// them. `None` with a single seed.
    pub over_seeds: Option<Interval>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Name of its folder.
    pub name: String,
    /// Number of its setting, from 1.
    pub setting: usize,
    /// Its seed.
    pub seed: u64,
    /// Number of the fold that was its validation, from 1.
    pub fold: Option<usize>,
    /// The threshold as a calibrated probability, with two classes.
    pub threshold: Option<f64>,
    /// Results on its validation images.
    pub validation: Scores,
    /// Its lowest AUC on the validation images, unchanged and under each shift, if there are any.
    pub under_shift: Option<f64>,
    /// Results on the test images.
    pub test: Scores,
}

/// Results of one run on one split; see [`Summaries`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Number of images.
    pub n: usize,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Share of correct predictions.
    pub accuracy: f64,
    /// Log loss in nats.
    pub log_loss: f64,
}

/// Puts the results of all runs together.
pub(crate) fn collect(
    experiment: &Experiment,
    runs: &[FinishedRun],
    out_of_fold: Vec<OutOfFold>,
) -> Result<Results> {
    let first = &runs.first().context("the experiment has no runs")?.metrics;
    let level = first.test.settings.level;
    let runs = runs.iter().map(result).collect::<Result<Vec<_>>>()?;
    let settings = (0..experiment.settings()).map(|setting| {
        let own: Vec<&RunResult> = runs.iter().filter(|r| r.setting == setting + 1).collect();
        let values = experiment.values(setting);
        Ok(SettingResult {
            values: values.iter().map(|(_, value)| (*value).into()).collect(),
            validation: Summaries::of(&own, |run| &run.validation, level)?,
            under_shift: under_shift(&own, level)?,
            test: Summaries::of(&own, |run| &run.test, level)?,
        })
    });
    let settings = settings.collect::<Result<Vec<_>>>()?;
    let axis = |(key, values): &(String, Vec<String>)| Axis {
        key: key.clone(),
        values: values.clone(),
    };
    Ok(Results {
        experiment: experiment.name.clone(),
        pipeline: experiment.pipeline.clone(),
        phantom: first.phantom,
        data_fingerprint: first.data_fingerprint.clone(),
        classes: first.classes.clone(),
        positive: first.positive,
        seeds: experiment.seeds.clone(),
        folds: experiment.folds,
        folds_by: experiment.folds_by.clone(),
        grid: experiment.grid.iter().map(axis).collect(),
        chosen: choose(&settings, &experiment.folds_by) + 1,
        settings,
        out_of_fold,
        runs,
    })
}

/// The lowest AUC of each run under shift, summarized; `None` unless all runs have one.
fn under_shift(runs: &[&RunResult], level: f64) -> Result<Option<Summary>> {
    let of_run = |run: &&RunResult| Some((run.seed, run.under_shift?));
    let lowest: Option<Vec<(u64, f64)>> = runs.iter().map(of_run).collect();
    lowest
        .map(|lowest| Summary::of(&lowest, true, level))
        .transpose()
}

/// Index of the setting with the highest AUC on validation (under shift, if there are shifts), then the lowest log loss,
/// then the first. The AUC is the mean over the runs, or where folds look different that of the worst run, because any
/// of them may be what other images look like.
fn choose(settings: &[SettingResult], folds_by: &FoldBy) -> usize {
    let order = |a: &&SettingResult, b: &&SettingResult| {
        let auc = |s: &SettingResult| {
            let summary = s.under_shift.as_ref().unwrap_or(&s.validation.auc);
            match folds_by {
                FoldBy::Class => summary.runs.mean,
                FoldBy::Appearance | FoldBy::Column(_) => summary.worst,
            }
        };
        let loss = |s: &SettingResult| s.validation.log_loss.runs.mean;
        (auc(b).total_cmp(&auc(a))).then(loss(a).total_cmp(&loss(b)))
    };
    // The first of equals.
    let best = settings.iter().enumerate();
    best.min_by(|a, b| order(&a.1, &b.1)).map_or(0, |(i, _)| i)
}

fn result(run: &FinishedRun) -> Result<RunResult> {
    let scores = |evaluation: &Evaluation| {
        let auc = evaluation.auc.with_context(|| {
            format!("run {} has no AUC, because a split lacks a class", run.name)
        })?;
        Ok::<_, anyhow::Error>(Scores {
            n: evaluation.n,
            auc: auc.estimate,
            accuracy: evaluation.accuracy.estimate,
            log_loss: evaluation.log_loss.estimate,
        })
    };
    Ok(RunResult {
        name: run.name.clone(),
        setting: run.setting + 1,
        seed: run.seed,
        fold: run.fold,
        threshold: run.metrics.threshold.map(|chosen| chosen.probability),
        validation: scores(&run.metrics.validation)?,
        under_shift: lowest_auc(&run.metrics),
        test: scores(&run.metrics.test)?,
    })
}

/// The lowest AUC on the validation images, unchanged and under each shift; `None` without shifts.
fn lowest_auc(metrics: &Metrics) -> Option<f64> {
    let shifted = metrics.shifts.iter().map(|shifted| shifted.auc);
    let all = shifted.chain([metrics.validation.auc]).flatten();
    let lowest = all.map(|auc| auc.estimate).fold(f64::INFINITY, f64::min);
    (!metrics.shifts.is_empty()).then_some(lowest)
}

impl Summaries {
    fn of(runs: &[&RunResult], split: impl Fn(&RunResult) -> &Scores, level: f64) -> Result<Self> {
        let of = |metric: fn(&Scores) -> f64, rises: bool| {
            let values: Vec<(u64, f64)> = runs
                .iter()
                .map(|run| (run.seed, metric(split(run))))
                .collect();
            Summary::of(&values, rises, level)
        };
        Ok(Self {
            auc: of(|scores| scores.auc, true)?,
            accuracy: of(|scores| scores.accuracy, true)?,
            log_loss: of(|scores| scores.log_loss, false)?,
        })
    }
}

impl Summary {
    /// From the seed and the value of each run, those of a seed next to one another.
    fn of(runs: &[(u64, f64)], rises: bool, level: f64) -> Result<Self> {
        let values: Vec<f64> = runs.iter().map(|(_, value)| *value).collect();
        let of_seed = |runs: &[(u64, f64)]| {
            runs.iter().map(|(_, value)| value).sum::<f64>() / runs.len() as f64
        };
        let seeds: Vec<f64> = runs.chunk_by(|a, b| a.0 == b.0).map(of_seed).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok(Self {
            runs: Spread::of(&values).context("a setting has no runs")?,
            worst: if rises { least } else { most },
            best: if rises { most } else { least },
            over_seeds: mean_interval(&seeds, level)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(auc: f64, log_loss: f64, test_auc: f64) -> SettingResult {
        let one = |value: f64| Summary::of(&[(1, value)], true, 0.95).unwrap();
        let all = |auc: f64| Summaries {
            auc: one(auc),
            accuracy: one(0.5),
            log_loss: one(log_loss),
        };
        SettingResult {
            values: vec![],
            validation: all(auc),
            under_shift: None,
            test: all(test_auc),
        }
    }

    #[test]
    fn the_choice_is_by_validation() {
        let check = |settings: &[SettingResult], expected| {
            assert_eq!(choose(settings, &FoldBy::Class), expected)
        };
        check(&[setting(0.8, 0.3, 0.9), setting(0.9, 0.5, 0.1)], 1);
        check(
            &[
                setting(0.9, 0.5, 0.9),
                setting(0.9, 0.3, 0.1),
                setting(0.9, 0.3, 0.9),
            ],
            1,
        );
    }

    #[test]
    fn with_shifts_the_worst_of_them_decides() {
        let shifted = |auc: f64, worst: f64| SettingResult {
            under_shift: Some(Summary::of(&[(1, worst)], true, 0.95).unwrap()),
            ..setting(auc, 0.5, 0.5)
        };
        let settings = [shifted(0.99, 0.7), shifted(0.98, 0.9)];
        assert_eq!(choose(&settings, &FoldBy::Class), 1);
    }

    #[test]
    fn with_folds_that_look_different_the_worst_of_them_decides() {
        let folds = |aucs: [f64; 2]| {
            let mut all = setting(0.0, 0.5, 0.5);
            let runs = aucs.map(|auc| (1, auc));
            all.validation.auc = Summary::of(&runs, true, 0.95).unwrap();
            all
        };
        let settings = [folds([0.99, 0.7]), folds([0.8, 0.8])];
        assert_eq!(choose(&settings, &FoldBy::Class), 0);
        assert_eq!(choose(&settings, &FoldBy::Appearance), 1);
    }

    #[test]
    fn seeds_are_the_units_of_the_interval() {
        let runs = [(1, 0.7), (1, 0.9), (2, 0.9), (2, 0.9), (3, 1.0), (3, 1.0)];
        let summary = Summary::of(&runs, true, 0.95).unwrap();
        assert_eq!((summary.runs.n, summary.worst, summary.best), (6, 0.7, 1.0));
        // Means 0.8, 0.9, 1.0: sd 0.1; t with two degrees of freedom is 4.302653.
        let interval = summary.over_seeds.unwrap();
        assert_eq!(interval.n, 3);
        assert!((interval.estimate - 0.9).abs() < 1e-12);
        assert!((interval.high - 0.9 - 4.302_653 * 0.1 / 3f64.sqrt()).abs() < 1e-6);
        let single = Summary::of(&[(5, 0.4), (5, 0.2)], false, 0.95).unwrap();
        assert_eq!(
            (single.worst, single.best, single.over_seeds),
            (0.4, 0.2, None)
        );
    }
}
