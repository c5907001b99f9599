//! Likely label errors among the training images, from their out-of-fold predictions.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use metrics::{ConfidentJoint, LabelErrorFilter, LabelQuality, Probabilities, label_errors};
use pipeline::OwnRun;
use serde::{Deserialize, Serialize};

use crate::finished::FinishedRun;
use crate::out_of_fold::{Row, rows};

/// `label_errors.json`: the training images whose label the networks that did not see them find improbable, by confident
/// learning (Northcutt, Jiang & Chuang 2021; [`metrics::label_errors`] with cleanlab's defaults).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelErrors {
    /// Number of the setting whose networks predicted, from 1: the chosen one.
    pub setting: usize,
    /// The seeds whose out-of-fold probabilities were averaged.
    pub seeds: Vec<u64>,
    /// Number of images.
    pub images: usize,
    /// Class names in the order of their labels.
    pub classes: Vec<String>,
    /// Estimated share of the labels that are wrong, in 0..=1.
    pub error_rate: f64,
    /// Estimated number of images by given and true class, row-major; each row sums to the images given its class.
    pub counts: Vec<u64>,
    /// The likely errors, the least self-confident label first.
    pub errors: Vec<LabelError>,
}

/// An image whose label is likely wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelError {
    /// Path in the data folder.
    pub path: String,
    /// Its patient.
    pub patient: String,
    /// The label that it has.
    pub given: String,
    /// The most probable class.
    pub suggested: String,
    /// Probability of the given label.
    pub self_confidence: f64,
    /// Probability of the suggested class.
    pub probability: f64,
}

/// The likely label errors by the runs of a setting (from 0), which together have each image in the validation fold of
/// one run per seed.
///
/// # Errors
/// Predictions that cannot be read.
pub(crate) fn find(runs: &[FinishedRun], setting: usize) -> Result<LabelErrors> {
    let own = runs.chunk_by(|a, b| (a.setting, a.seed) == (b.setting, b.seed));
    let own = own.filter(|folds| folds.iter().any(|run| run.setting == setting));
    let (mut seeds, mut tables) = (vec![], vec![]);
    let mut classes = vec![];
    for folds in own {
        seeds.extend(folds.first().map(|run| run.seed));
        classes = folds
            .first()
            .map_or(classes, |run| run.metrics.classes.clone());
        tables.extend(rows(folds)?);
    }
    let found = judge(&classes, &joined(tables)).context("likely label errors")?;
    Ok(LabelErrors {
        setting: setting + 1,
        seeds,
        ..found
    })
}

/// An image and the mean of its out-of-fold probabilities.
#[derive(Debug, PartialEq)]
struct Image {
    path: String,
    patient: String,
    label: usize,
    probabilities: Vec<f64>,
}

/// One entry per image, by path.
fn joined(rows: Vec<Row>) -> Vec<Image> {
    let mut by_path = BTreeMap::<String, Vec<Row>>::new();
    for row in rows {
        let path = row.prediction.path.clone();
        by_path.entry(path).or_default().push(row);
    }
    let image = |(path, rows): (String, Vec<Row>)| {
        let first = rows.first()?;
        let mean = |class: usize| {
            let all = rows.iter().filter_map(|row| row.probabilities.get(class));
            all.sum::<f64>() / rows.len() as f64
        };
        Some(Image {
            path,
            patient: first.prediction.patient.clone(),
            label: first.prediction.label,
            probabilities: (0..first.probabilities.len()).map(mean).collect(),
        })
    };
    by_path.into_iter().filter_map(image).collect()
}

fn judge(classes: &[String], images: &[Image]) -> Result<LabelErrors> {
    let labels: Vec<usize> = images.iter().map(|image| image.label).collect();
    let values: Vec<f64> = images
        .iter()
        .flat_map(|image| image.probabilities.clone())
        .collect();
    let probabilities = Probabilities::new(classes.len(), &values)?;
    let joint = ConfidentJoint::new(&labels, &probabilities)?;
    let (filter, order) = (LabelErrorFilter::default(), LabelQuality::default());
    let found = label_errors(&labels, &probabilities, filter, order)?;
    let suggested = probabilities.argmax();
    let error = |i: usize| {
        let (image, class) = (&images[i], suggested[i]);
        LabelError {
            path: image.path.clone(),
            patient: image.patient.clone(),
            given: classes[image.label].clone(),
            suggested: classes[class].clone(),
            self_confidence: image.probabilities[image.label],
            probability: image.probabilities[class],
        }
    };
    Ok(LabelErrors {
        setting: 0,
        seeds: vec![],
        images: images.len(),
        classes: classes.to_vec(),
        error_rate: joint.error_rate(),
        counts: joint.calibrated().to_vec(),
        errors: found.into_iter().map(error).collect(),
    })
}

/// Writes `label_errors.json` and `label_errors.csv`.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write(own: &OwnRun, found: &LabelErrors) -> Result<()> {
    own.write_json("label_errors.json", found)?;
    own.write("label_errors.csv", &csv_table(found)?)
}

fn csv_table(found: &LabelErrors) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(vec![]);
    csv.write_record([
        "path",
        "patient",
        "given",
        "suggested",
        "self_confidence",
        "probability",
    ])?;
    for error in &found.errors {
        csv.write_record([
            &error.path,
            &error.patient,
            &error.given,
            &error.suggested,
            &format!("{:.6}", error.self_confidence),
            &format!("{:.6}", error.probability),
        ])?;
    }
    csv.into_inner().context("writing label_errors.csv")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::outputs::Prediction;

    const CLASSES: [&str; 3] = ["a", "b", "c"];

    /// Images of three classes in turn, predicted by two seeds, each with an uncertainty of its own; every 20th label is
    /// that of the next class.
    fn table() -> (Vec<Row>, Vec<String>) {
        let mut rng = random::Rng::stream(1, 2);
        let (mut rows, mut flipped) = (vec![], vec![]);
        for i in 0..300 {
            let (path, class) = (format!("{i:03}.png"), i % 3);
            let label = if i % 20 == 7 { (class + 1) % 3 } else { class };
            if label != class {
                flipped.push(path.clone());
            }
            for fold in [1, 2] {
                let top = rng.range(0.55, 0.99);
                let mut probabilities = vec![(1.0 - top) / 2.0; 3];
                probabilities[class] = top;
                rows.push(Row {
                    fold,
                    prediction: Prediction {
                        path: path.clone(),
                        patient: format!("patient {i}"),
                        label,
                        logits: vec![0.0; 3],
                    },
                    probabilities,
                });
            }
        }
        rng.shuffle(&mut rows);
        (rows, flipped)
    }

    fn found() -> (LabelErrors, Vec<String>) {
        let (rows, flipped) = table();
        (
            judge(&CLASSES.map(String::from), &joined(rows)).unwrap(),
            flipped,
        )
    }

    #[test]
    fn most_planted_errors_are_found_and_nothing_else() {
        let (found, flipped) = found();
        assert_eq!((found.images, flipped.len()), (300, 15));
        // As in cleanlab, a flipped image counts only if its probability reaches the mean of its true class.
        assert!(found.errors.len() >= 12, "{}", found.errors.len());
        assert!(
            found
                .errors
                .iter()
                .all(|error| flipped.contains(&error.path))
        );
        assert!(
            (found.error_rate - 0.05).abs() < 0.01,
            "{}",
            found.error_rate
        );
        for error in &found.errors {
            let number: usize = error.path[..3].parse().unwrap();
            assert_eq!(error.suggested, CLASSES[number % 3]);
            assert_eq!(error.given, CLASSES[(number + 1) % 3]);
            assert!(error.self_confidence < error.probability);
        }
        let sorted = |pair: &[LabelError]| pair[0].self_confidence <= pair[1].self_confidence;
        assert!(found.errors.windows(2).all(sorted));
    }

    #[test]
    fn seeds_are_averaged_and_the_table_has_a_line_for_each_error() {
        let (rows, _) = table();
        let of = |rows: &[Row], path: &str| -> Vec<f64> {
            let own = rows.iter().filter(|row| row.prediction.path == path);
            own.map(|row| row.probabilities[0]).collect()
        };
        let own = of(&rows, "000.png");
        let images = joined(rows);
        assert_eq!(images[0].probabilities[0], own.iter().sum::<f64>() / 2.0);
        let (found, _) = found();
        let text = String::from_utf8(csv_table(&found).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 1 + found.errors.len());
        assert!(text.starts_with("path,patient,given,suggested,self_confidence,probability\n"));
    }
}
