//! Compares finished runs on the same test images.

mod run;
mod section;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use metrics::{AucDifference, Comparison, McNemar, delong_difference, log_odds, mcnemar};
use pipeline::RunDir;
use report::Document;
use serde::Serialize;

use run::ComparedRun;

/// The comparison, serializable as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct RunComparison {
    /// The runs, in the order in which they were given.
    pub runs: Vec<PathBuf>,
    /// Each pair of runs.
    pub pairs: Vec<Pair>,
    /// Settings that differ between runs: the value in each run, if it has one.
    pub settings: BTreeMap<String, Vec<Option<String>>>,
    /// Test images that the runs classify differently.
    pub disagreements: Vec<Disagreement>,
    /// The comparison as a report.
    #[serde(skip)]
    pub document: Document,
}

/// Two runs; every difference is the first minus the second.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Indices of the two runs.
    pub runs: [usize; 2],
    /// Differences with intervals from a bootstrap that draws the same patients for both.
    pub bootstrap: Comparison,
    /// With two classes; none if a class has fewer than two patients.
    pub delong: Option<AucDifference>,
    /// McNemar's test of the decisions.
    pub mcnemar: McNemar,
}

/// A test image that runs classify differently.
#[derive(Clone, Debug, Serialize)]
pub struct Disagreement {
    /// Path in the data folder.
    pub path: String,
    /// Its true class.
    pub class: String,
    /// The class predicted by each run.
    pub decisions: Vec<String>,
    /// The probability of the true class in each run.
    pub probabilities: Vec<f64>,
}

/// Compares two or more finished runs pair by pair.
///
/// # Errors
/// Fewer than two runs, a folder that is not a finished run with a stage `evaluate`, or runs whose classes or test images (path,
/// class, patient or content) are not the same.
pub fn compare(folders: &[PathBuf]) -> Result<RunComparison> {
    if folders.len() < 2 {
        bail!(
            "a comparison needs two or more run folders, not {}",
            folders.len()
        );
    }
    let runs = folders.iter().map(|folder| ComparedRun::open(folder));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    let (first, others) = (&runs[0], &runs[1..]);
    others.iter().try_for_each(|run| same_images(first, run))?;
    let indices = 0..runs.len();
    let pairs = indices.flat_map(|i| (i + 1..runs.len()).map(move |j| [i, j]));
    let pairs = pairs.map(|pair| compare_pair(&runs, pair));
    let mut compared = RunComparison {
        runs: runs.iter().map(|run| run.folder.clone()).collect(),
        pairs: pairs.collect::<Result<_>>()?,
        settings: differing_settings(&runs),
        disagreements: disagreements(&runs),
        document: Document::default(),
    };
    compared.document = section::write(&runs, &compared)?;
    Ok(compared)
}

/// Writes `compare.md`, `compare.html` and `compare.json` into a folder, which is created if necessary.
///
/// # Errors
/// The files cannot be written.
pub fn write(compared: &RunComparison, folder: &Path) -> Result<()> {
    let folder = RunDir::at(folder)?;
    folder.write_json("compare.json", compared)?;
    Ok(compared
        .document
        .save_with_html(&folder.file("compare.md"))?)
}

fn same_images(first: &ComparedRun, other: &ComparedRun) -> Result<()> {
    let (a, b) = (first.folder.display(), other.folder.display());
    if first.metrics.classes != other.metrics.classes
        || first.metrics.positive != other.metrics.positive
    {
        bail!(
            "{a} and {b} have different classes: {:?} and {:?}",
            first.metrics.classes,
            other.metrics.classes
        );
    }
    let missing = |from: &ComparedRun, of: &ComparedRun| {
        let absent = of.images.iter();
        let mut absent = absent.filter(|image| from.images.binary_search(image).is_err());
        let example = absent.next().map(|image| image.path.clone());
        example.map(|path| (path, absent.count() + 1))
    };
    let (only_a, only_b) = (missing(other, first), missing(first, other));
    let Some((example, _)) = only_a.as_ref().or(only_b.as_ref()) else {
        return Ok(());
    };
    bail!(
        "{a} and {b} were evaluated on different test images ({} only in the first, {} only in the second; for example \
         {example}), so their figures cannot be paired. Run both pipelines on one data folder with one split",
        only_a.as_ref().map_or(0, |(_, n)| *n),
        only_b.as_ref().map_or(0, |(_, n)| *n),
    );
}

fn compare_pair(runs: &[ComparedRun], [i, j]: [usize; 2]) -> Result<Pair> {
    let (a, b) = (&runs[i], &runs[j]);
    let bootstrap = metrics::compare(
        [&a.predictions(), &b.predictions()],
        [&a.judged_by(), &b.judged_by()],
    )?;
    Ok(Pair {
        runs: [i, j],
        bootstrap,
        delong: delong(a, b),
        mcnemar: mcnemar(&a.correct(), &b.correct())?,
    })
}

/// DeLong's test, for two classes with at least two patients each.
fn delong(a: &ComparedRun, b: &ComparedRun) -> Option<AucDifference> {
    if a.metrics.classes.len() != 2 {
        return None;
    }
    let positive = a.judged_by().positive;
    let labels: Vec<bool> = a.labels.iter().map(|label| *label == positive).collect();
    let scores = |run: &ComparedRun| -> Vec<f64> {
        let rows = run.logits.chunks(2);
        rows.map(|logits| log_odds(logits, positive)).collect()
    };
    let level = a.judged_by().level;
    delong_difference(&labels, [&scores(a), &scores(b)], Some(&a.patients), level).ok()
}

/// The settings that are not the same in all runs.
fn differing_settings(runs: &[ComparedRun]) -> BTreeMap<String, Vec<Option<String>>> {
    let keys = runs.iter().flat_map(|run| run.settings.keys());
    keys.map(|key| {
        let values = runs.iter().map(|run| run.settings.get(key).cloned());
        (key.clone(), values.collect::<Vec<_>>())
    })
    .filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1]))
    .collect()
}

/// The images that the runs classify differently, those with the largest difference in probability first.
fn disagreements(runs: &[ComparedRun]) -> Vec<Disagreement> {
    let decisions: Vec<Vec<usize>> = runs.iter().map(ComparedRun::decisions).collect();
    let classes = &runs[0].metrics.classes;
    let mut found: Vec<Disagreement> = (0..runs[0].images.len())
        .filter(|i| decisions.windows(2).any(|pair| pair[0][*i] != pair[1][*i]))
        .map(|i| Disagreement {
            path: runs[0].images[i].path.clone(),
            class: runs[0].images[i].class.clone(),
            decisions: decisions.iter().map(|d| classes[d[i]].clone()).collect(),
            probabilities: runs
                .iter()
                .map(|run| run.probabilities[i * classes.len() + run.labels[i]])
                .collect(),
        })
        .collect();
    let spread = |d: &Disagreement| {
        let (low, high) = d
            .probabilities
            .iter()
            .fold((1.0f64, 0.0f64), |(low, high), p| {
                (low.min(*p), high.max(*p))
            });
        high - low
    };
    found.sort_by(|a, b| {
        spread(b)
            .total_cmp(&spread(a))
            .then_with(|| a.path.cmp(&b.path))
    });
    found
}
