//! Reads what a run wrote.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use dataset::Split;
use metrics::ConformalSets;
use pipeline::outputs::{Csv, Line};
use pipeline::{RESOLVED, RunDir};
use serde::Deserialize;

use super::images::Images;
use super::{Case, Classes, Study, Threshold};

const METRICS: &str = "metrics.json";
const PREDICTIONS: &str = "predictions.csv";
const SEGMENTATION: &str = "segmentation.csv";

pub(super) fn study(run: &RunDir, data: Option<&Path>, root: &Path) -> Result<Study> {
    let record = run
        .record()
        .with_context(|| format!("{} is not the folder of a run", run.path().display()))?;
    let (mut classes, mut cases) = (None, vec![]);
    if run.file(PREDICTIONS).is_file() {
        let metrics: Metrics = run.read_json(METRICS)?;
        let found = Classes::from(metrics);
        if found.positive >= found.names.len() {
            bail!(
                "{} is damaged: the positive class has number {}, and there are {} classes",
                run.file(METRICS).display(),
                found.positive,
                found.names.len()
            );
        }
        cases = classified(run, &found)?;
        classes = Some(found);
    }
    if run.file(SEGMENTATION).is_file() {
        join(&mut cases, segmented(run)?);
    }
    if cases.is_empty() {
        bail!(
            "{} has no results per image ({PREDICTIONS} or {SEGMENTATION}): has the run finished its evaluation?",
            run.path().display()
        );
    }
    let request = settings::Request {
        data: data.map(Path::to_path_buf),
        out: settings::runs_around(run.path()).map(Path::to_path_buf),
        // The images may be elsewhere by now, or nowhere: this is found out when one is shown.
        dry: true,
        ..settings::Request::new(root, run.file(RESOLVED).to_string_lossy())
    };
    let settings = settings::load(&request)?;
    Ok(Study {
        title: match settings.title.is_empty() {
            true => record.pipeline,
            false => settings.title.clone(),
        },
        folder: run.path().into(),
        phantoms: settings.data.phantom.is_some(),
        classes,
        cases,
        images: Images::of(run, &settings)?,
    })
}

/// The part of `metrics.json` that is needed here.
#[derive(Deserialize)]
struct Metrics {
    classes: Vec<String>,
    positive: usize,
    threshold: Option<Chosen>,
    /// Absent in the files of earlier versions.
    #[serde(default)]
    sets: Option<CalibratedSets>,
}

#[derive(Deserialize)]
struct CalibratedSets {
    calibrated: ConformalSets,
}

#[derive(Deserialize)]
struct Chosen {
    probability: f64,
    #[serde(default)]
    interval: Option<[f64; 2]>,
}

impl From<Metrics> for Classes {
    fn from(metrics: Metrics) -> Self {
        Classes {
            names: metrics.classes,
            positive: metrics.positive,
            threshold: metrics.threshold.map(|chosen| Threshold {
                probability: chosen.probability,
                interval: chosen.interval,
            }),
            sets: metrics.sets.map(|sets| sets.calibrated),
        }
    }
}

/// The test images in `predictions.csv`.
fn classified(run: &RunDir, classes: &Classes) -> Result<Vec<Case>> {
    let mut cases = vec![];
    Csv::open(&run.file(PREDICTIONS))?.each(|line| {
        if line.field("split")? != Split::Test.name() {
            return Ok(());
        }
        let class = |column: &str| {
            let name = line.field(column)?;
            let index = classes.names.iter().position(|class| class == name);
            index.ok_or_else(|| anyhow!("class {name:?} is not in {METRICS}"))
        };
        let probabilities = classes
            .names
            .iter()
            .map(|class| number(&line, &format!("p_{class}")));
        cases.push(Case {
            truth: Some(class("class")?),
            predicted: Some(class("predicted")?),
            probabilities: probabilities.collect::<Result<_>>()?,
            ..case(&line)?
        });
        Ok(())
    })?;
    Ok(cases)
}

/// The images in `segmentation.csv`.
fn segmented(run: &RunDir) -> Result<Vec<Case>> {
    let mut cases = vec![];
    Csv::open(&run.file(SEGMENTATION))?.each(|line| {
        // Empty where the image has neither the class nor pixels predicted as such.
        let dice = match line.field("dice")? {
            "" => None,
            _ => Some(number(&line, "dice")?),
        };
        cases.push(Case {
            dice,
            ..case(&line)?
        });
        Ok(())
    })?;
    Ok(cases)
}

fn case(line: &Line<'_>) -> Result<Case> {
    let (path, patient) = (line.field("path")?, line.field("patient")?);
    Ok(Case {
        path: path.to_owned(),
        // An unknown patient has the image's path as its key.
        patient: (patient != path).then(|| patient.to_owned()),
        ..Case::default()
    })
}

fn number(line: &Line<'_>, column: &str) -> Result<f64> {
    let text = line.field(column)?;
    let number: f64 = text
        .parse()
        .with_context(|| format!("{column}: {text:?} is not a number"))?;
    match number.is_finite() {
        true => Ok(number),
        false => Err(anyhow!("{column}: {text:?} is not a number")),
    }
}

/// Adds the Dice coefficients to the cases of the same images; images that were only segmented become cases.
fn join(cases: &mut Vec<Case>, segmented: Vec<Case>) {
    let rows: BTreeMap<String, usize> = cases
        .iter()
        .enumerate()
        .map(|(i, case)| (case.path.clone(), i))
        .collect();
    for found in segmented {
        match rows.get(&found.path) {
            Some(row) => cases[*row].dice = found.dice,
            None => cases.push(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_is_added_to_the_cases_of_the_same_images() {
        let case = |path: &str, truth, dice| Case {
            path: path.into(),
            truth,
            dice,
            ..Case::default()
        };
        let mut cases = vec![case("a", Some(1), None), case("b", Some(0), None)];
        join(
            &mut cases,
            vec![case("b", None, Some(0.9)), case("c", None, None)],
        );
        let expected = [
            case("a", Some(1), None),
            case("b", Some(0), Some(0.9)),
            case("c", None, None),
        ];
        assert_eq!(cases, expected);
    }
}
