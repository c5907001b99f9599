//! `predictions.csv`: one row per image, in the columns of a run's.

use anyhow::{Context as _, Result};
use metrics::log_odds;

use super::images::Images;
use super::judge::Judged;

/// The table as bytes.
///
/// # Errors
/// Never on valid input: the writer has no file.
pub(super) fn table(images: &Images, judged: &Judged) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(header(judged))?;
    let classes = &judged.evaluation.classes;
    let answers = &judged.answers;
    let scores = answers.scores.chunks(classes.len());
    let probabilities = answers.probabilities.chunks(classes.len());
    let rows = images.rows.iter().zip(&images.labels);
    for (i, (((row, label), scores), p)) in rows.zip(scores).zip(probabilities).enumerate() {
        let record = &images.manifest.rows()[*row];
        let predicted = judged.rule.decide(scores, p);
        let mut line = vec![
            record.path.clone(),
            record.patient.clone(),
            classes[*label].clone(),
            classes[predicted].clone(),
            (predicted == *label).to_string(),
        ];
        line.extend(p.iter().map(|p| format!("{p:.6}")));
        line.extend(scores.iter().map(|score| shortest(*score)));
        for member in &answers.members {
            let own = &member[i * classes.len()..][..classes.len()];
            line.extend(shown(judged).map(|class| shortest(log_odds(own, class))));
        }
        writer.write_record(line)?;
    }
    writer
        .into_inner()
        .context("the table of predictions cannot be written")
}

fn header(judged: &Judged) -> Vec<String> {
    let classes = &judged.evaluation.classes;
    let mut names = ["path", "patient", "class", "predicted", "correct"]
        .map(String::from)
        .to_vec();
    names.extend(classes.iter().map(|class| format!("p_{class}")));
    names.extend(classes.iter().map(|class| format!("score_{class}")));
    for network in 1..=judged.answers.members.len() {
        let column = |class| format!("log_odds_{}_network_{network}", classes[class]);
        names.extend(shown(judged).map(column));
    }
    names
}

/// The classes whose log-odds are listed for each network: with two classes, those of the other have the opposite sign.
fn shown(judged: &Judged) -> std::ops::Range<usize> {
    let positive = judged.evaluation.settings.positive;
    match judged.evaluation.classes.len() {
        2 => positive..positive + 1,
        classes => 0..classes,
    }
}

/// Scores that are f32 values are shorter when written as f32.
fn shortest(value: f64) -> String {
    match f64::from(value as f32) == value {
        true => (value as f32).to_string(),
        false => value.to_string(),
    }
}
