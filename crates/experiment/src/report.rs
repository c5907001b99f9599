//! `report.md` of an experiment.

mod label_errors;

use ::report::text::{code, escape};
use ::report::{Align, Document, Table, format};
use anyhow::Result;
use dataset::FoldBy;
use metrics::Interval;
use settings::{Artifact, Experiment};

use crate::figures::{CURVES, ROC};
use crate::label_errors::LabelErrors;
use crate::results::{Axis, Results, RunResult, Scores, Summaries, Summary};

/// A metric's name and its part of [`Summaries`].
type Metric = (&'static str, fn(&Summaries) -> &Summary);

const METRICS: [Metric; 3] = [
    ("AUC", |s| &s.auc),
    ("accuracy", |s| &s.accuracy),
    ("log loss", |s| &s.log_loss),
];

pub(crate) fn write(
    experiment: &Experiment,
    results: &Results,
    suspects: Option<&LabelErrors>,
) -> Result<Document> {
    let mut report = Document::fragment();
    if results.phantom {
        report.paragraph(
            "**The images in this report are phantoms: drawn by a program, not taken from patients.** All results below \
             show that the experiment works, and nothing about any disease.",
        );
    }
    report.heading(1, &escape(&experiment.title));
    report.paragraph(&design(results));
    validation(&mut report, results)?;
    out_of_fold(&mut report, results)?;
    if let Some(suspects) = suspects {
        label_errors::write(&mut report, results, suspects)?;
    }
    test(&mut report, results)?;
    curves(&mut report, results);
    runs(&mut report, experiment, results)?;
    report.heading(2, "How to repeat this experiment");
    let program = terminal::program();
    report.code(
        "",
        &format!("{program} experiment THIS_FOLDER/resolved.toml"),
    );
    report.paragraph(&format!(
        "`resolved.toml` has the experiment with all settings of its pipeline; that of a run repeats the run with \
         `{program} pipeline`. `experiment.json` has the figures of this report.",
    ));
    Ok(report)
}

/// "2 settings", "1 seed".
fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn design(results: &Results) -> String {
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    let mut factors = vec![format!(
        "{} ({})",
        count(results.seeds.len(), "seed"),
        seeds.join(", ")
    )];
    factors.extend(results.folds.map(|folds| count(folds, "fold")));
    if !results.grid.is_empty() {
        factors.push(count(results.settings.len(), "setting"));
    }
    let of_folds = "Each fold is the validation of one run, which is trained on the others. A run chooses its epoch, \
                    threshold and calibration on its fold.";
    let validation = match (results.folds, &results.folds_by) {
        (Some(folds), FoldBy::Column(name)) => format!(
            "The training images are divided into {folds} folds by the attribute {}: images with the same value of it are \
             in one fold. {of_folds}",
            code(name)
        ),
        (Some(folds), FoldBy::Appearance) => format!(
            "The training images are divided, where patients are known by patient, into {folds} folds that look different: \
             clusters of similar brightness, contrast, width and height, the darkest first. {of_folds}"
        ),
        (Some(folds), FoldBy::Class) => format!(
            "The training images are divided into {folds} folds, stratified by class and, where patients are known, by \
             patient, anew for each seed. {of_folds}"
        ),
        (None, _) => "A seed determines the initial weights, the order of the images, augmentation and, where validation is \
                 drawn at random, which images it has. A run chooses its epoch, threshold and calibration on its \
                 validation images."
            .into(),
    };
    format!(
        "{} of the pipeline {}: {}. {validation} The test images are the same in all runs and play no part in any choice.",
        count(results.runs.len(), "run"),
        code(&results.pipeline),
        factors.join(" × "),
    )
}

/// The columns that identify a setting: its number and its values.
fn setting_columns(results: &Results) -> Vec<(String, Align)> {
    let keys = results
        .grid
        .iter()
        .map(|axis| (code(&axis.key), Align::Right));
    match results.grid.is_empty() {
        true => vec![],
        false => [("setting".to_owned(), Align::Left)]
            .into_iter()
            .chain(keys)
            .collect(),
    }
}

fn setting_cells(results: &Results, index: usize) -> Vec<String> {
    if results.grid.is_empty() {
        return vec![];
    }
    let number = match index + 1 == results.chosen {
        true => format!("**{}**", index + 1),
        false => (index + 1).to_string(),
    };
    let values = results.settings[index].values.iter();
    let values = values
        .zip(&results.grid)
        .map(|(value, axis)| match letter(axis, value) {
            Some(letter) => letter.to_string(),
            None => code(value),
        });
    [number].into_iter().chain(values).collect()
}

/// Longest value, in characters, that a table has in full.
const WIDE: usize = 32;

/// What tables show for a value of a key that has long values: A, B, …; `None` where they show the value itself.
fn letter(axis: &Axis, value: &str) -> Option<char> {
    let wide = axis.values.iter().any(|value| value.chars().count() > WIDE);
    let at = axis.values.iter().position(|known| known == value);
    let at = at.filter(|_| wide && axis.values.len() <= LETTERS.len())?;
    LETTERS.chars().nth(at)
}

const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What the letters in the tables stand for.
fn legend(report: &mut Document, results: &Results) {
    for axis in &results.grid {
        let values = axis.values.iter();
        let lettered = values.filter_map(|value| Some((letter(axis, value)?, value)));
        let lettered: Vec<String> = lettered
            .map(|(letter, value)| format!("{letter}: {}", code(value)))
            .collect();
        if !lettered.is_empty() {
            report.paragraph(&format!("The values of {}:", code(&axis.key)));
            report.list(lettered);
        }
    }
}

fn validation(report: &mut Document, results: &Results) -> Result<()> {
    report.heading(2, "Validation");
    let shifted = results.settings.iter().all(|s| s.under_shift.is_some());
    let metrics = METRICS.map(|(name, _)| (name.to_owned(), Align::Right));
    let columns = setting_columns(results).into_iter();
    let columns = columns
        .chain([("runs".to_owned(), Align::Right)])
        .chain(metrics)
        .chain(shifted.then(|| ("lowest AUC under shift".to_owned(), Align::Right)));
    let mut table = Table::new(columns);
    for (i, setting) in results.settings.iter().enumerate() {
        let mut row = setting_cells(results, i);
        row.push(setting.validation.auc.runs.n.to_string());
        row.extend(METRICS.map(|(_, of)| of(&setting.validation).runs.to_string()));
        row.extend(setting.under_shift.iter().map(|s| s.runs.to_string()));
        table.row(row)?;
    }
    report.table(&table);
    legend(report, results);
    let spread = match results.folds {
        Some(_) => "seeds and folds",
        None => "seeds",
    };
    report.paragraph(&format!(
        "Mean ± standard deviation over {spread}. Accuracy is measured at the threshold chosen on the same images, log \
         loss after calibration on them (in nats): both are optimistic for every setting."
    ));
    report.paragraph(&match results.settings.len() {
        1 => "There is one setting, so none has to be chosen.".to_owned(),
        n => format!(
            "**Setting {} of {n} is chosen**: it has the highest {} of the {} (of equal ones, the lower mean log loss decides). \
             The best of several settings looks better on validation than it is.",
            results.chosen,
            match results.folds_by {
                FoldBy::Class => "mean",
                FoldBy::Appearance | FoldBy::Column(_) => "value in the worst fold",
            },
            match shifted {
                true => "lowest validation AUC of a run, unchanged or under a shift of `evaluate.shifts`",
                false => "validation AUC",
            }
        ),
    });
    Ok(())
}

fn out_of_fold(report: &mut Document, results: &Results) -> Result<()> {
    if results.out_of_fold.is_empty() {
        return Ok(());
    }
    report.heading(2, "Out-of-fold predictions");
    let mut columns = vec![];
    if !results.grid.is_empty() {
        columns.push(("setting", Align::Left));
    }
    columns.extend(["seed", "images", "patients", "AUC"].map(|name| (name, Align::Right)));
    let mut table = Table::new(columns);
    for all in &results.out_of_fold {
        let mut row = vec![];
        if !results.grid.is_empty() {
            row.push(all.setting.to_string());
        }
        row.extend([
            all.seed.to_string(),
            format::thousands(all.auc.n as u64),
            format::thousands(all.patients as u64),
            interval(&all.auc),
        ]);
        table.row(row)?;
    }
    report.table(&table);
    report.paragraph(&format!(
        "Every training image, as predicted by the run that had it in its validation fold (`out_of_fold.csv`). The AUC is \
         that of the uncalibrated scores of all folds together, with a {} bootstrap interval over patients. Scores of \
         different networks are on slightly different scales, which lowers this AUC compared with the mean over folds. \
         Each network's epoch was chosen on its fold, which makes it slightly optimistic.",
        level(results.out_of_fold.first().map(|all| all.auc.level))
    ));
    Ok(())
}

fn test(report: &mut Document, results: &Results) -> Result<()> {
    report.heading(2, "Test: to report, not to choose by");
    let names = [
        "metric",
        "runs",
        "mean ± sd",
        "worst",
        "best",
        "mean over seeds",
    ];
    let columns = names.iter().enumerate().map(|(i, name)| {
        let align = if i == 0 { Align::Left } else { Align::Right };
        ((*name).to_owned(), align)
    });
    let mut table = Table::new(setting_columns(results).into_iter().chain(columns));
    for (i, setting) in results.settings.iter().enumerate() {
        for (name, of) in METRICS {
            let summary = of(&setting.test);
            let mut row = setting_cells(results, i);
            row.extend([
                name.to_owned(),
                summary.runs.n.to_string(),
                summary.runs.to_string(),
                format::fixed(summary.worst, 3),
                format::fixed(summary.best, 3),
                match &summary.over_seeds {
                    Some(mean) => format!("{}, n = {}", interval(mean), mean.n),
                    None => "–".into(),
                },
            ]);
            table.row(row)?;
        }
    }
    report.table(&table);
    let n = results.runs.first().map_or(0, |run| run.test.n);
    let first = &results.settings.first().map(|setting| &setting.test.auc);
    let level = first.and_then(|auc| auc.over_seeds).map(|mean| mean.level);
    let about_mean = match level {
        None => "A mean over seeds, with an interval, needs two seeds; the interval over patients is in each run's \
                 report."
            .to_owned(),
        Some(_) => format!(
            "The last column is Student's {} interval of the mean over n seeds{}. It says how far the mean would vary with \
             other seeds on these test images, not with other patients: that interval is in each run's report. Its \
             bounds may lie outside 0 to 1, because it assumes a normal distribution.",
            self::level(level),
            match results.folds {
                Some(_) => ", where a seed's value is its mean over the folds",
                None => "",
            }
        ),
    };
    let n = format::thousands(n as u64);
    report.paragraph(&format!("{n} test images. {about_mean}"));
    if results.settings.len() > 1 {
        report.warning(
            "Choosing a setting by these figures would make them optimistic. The choice above was made on validation.",
        );
    }
    if results.classes.len() == 2 {
        report.figure(
            ROC,
            "ROC curves on the test images, one per run",
            &match results.settings.len() {
                1 => "Each run on the test images.".to_owned(),
                _ => format!("Each run of setting {} on the test images.", results.chosen),
            },
        );
    }
    Ok(())
}

fn curves(report: &mut Document, results: &Results) {
    report.heading(2, "Training");
    let color = match (results.settings.len(), results.seeds.len()) {
        (2.., _) => "setting",
        (_, 1) if results.folds.is_some() => "fold",
        _ => "seed",
    };
    report.figure(
        CURVES,
        "Training and validation loss and validation AUC over the epochs, one line per run",
        &format!("All runs, coloured by {color}."),
    );
}

fn runs(report: &mut Document, experiment: &Experiment, results: &Results) -> Result<()> {
    report.heading(2, "Runs");
    let names = [
        "validation AUC",
        "accuracy",
        "log loss",
        "threshold",
        "test AUC",
        "accuracy",
        "log loss",
    ];
    let columns = [("run", Align::Left)].into_iter();
    let mut table = Table::new(columns.chain(names.map(|name| (name, Align::Right))));
    for run in &results.runs {
        table.row(run_cells(experiment, run))?;
    }
    report.table(&table);
    Ok(())
}

fn run_cells(experiment: &Experiment, run: &RunResult) -> Vec<String> {
    let has_report = experiment.runs.iter().any(|known| {
        let stages = &known.settings.stages;
        known.name == run.name && stages.iter().any(|stage| stage.makes(Artifact::Report))
    });
    let target = if has_report {
        "report.md"
    } else {
        "metrics.json"
    };
    let scores = |scores: &Scores| {
        [scores.auc, scores.accuracy, scores.log_loss].map(|value| format::fixed(value, 3))
    };
    let mut row = vec![format!("[{0}]({0}/{target})", run.name)];
    row.extend(scores(&run.validation));
    row.push(
        run.threshold
            .map_or_else(|| "–".into(), |p| format::fixed(p, 3)),
    );
    row.extend(scores(&run.test));
    row
}

fn interval(interval: &Interval) -> String {
    format::interval(interval.estimate, (interval.low, interval.high), 3)
}

/// "95 %"; empty if there is no interval.
fn level(level: Option<f64>) -> String {
    level.map_or_else(String::new, |level| format::percent(level, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_get_letters() {
        let axis = |values: [&str; 2]| Axis {
            key: "augment".into(),
            values: values.map(Into::into).into(),
        };
        let short = axis(["1e-4", "3e-4"]);
        assert_eq!(letter(&short, "3e-4"), None);
        let long = axis([
            "{ zoom = { min = 0.9, max = 1.1, probability = 0.5 } }",
            "{}",
        ]);
        assert_eq!(letter(&long, "{}"), Some('B'));
    }
}
