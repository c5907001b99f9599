//! The comparison as a report.

use anyhow::Result;
use pipeline::words::{count, number, or_dash, percent, points};
use report::text::{code, escape};
use report::{Align, Document, Table, format};

use super::run::ComparedRun;
use super::{Pair, RunComparison};

/// Number of disagreements listed in the report; the JSON file has all of them.
const LISTED: usize = 20;

pub(super) fn write(runs: &[ComparedRun], compared: &RunComparison) -> Result<Document> {
    let mut document = Document::new(&format!("Comparison of {}", count(runs.len(), "run")));
    document.paragraph(&format!(
        "On the same {} of the test split, of {}. Each run is evaluated with its own threshold and \
         calibration, which were chosen on validation.",
        count(runs[0].images.len(), "image"),
        count(patients(&runs[0]), "patient"),
    ));
    document.table(&figures(runs)?);
    document.heading(2, "Differences");
    document.paragraph(&reading(compared.pairs.len()));
    document.table(&differences(compared)?);
    document.heading(2, "Settings that differ");
    settings(&mut document, compared)?;
    document.heading(2, "Images on which the runs disagree");
    disagreements(&mut document, compared)?;
    Ok(document)
}

fn patients(run: &ComparedRun) -> usize {
    run.patients.iter().max().map_or(0, |last| last + 1)
}

/// "A", "B", …: what a run is called in the tables.
fn letter(run: usize) -> String {
    match u8::try_from(run) {
        Ok(i) if i < 26 => char::from(b'A' + i).to_string(),
        _ => format!("run {}", run + 1),
    }
}

fn figures(runs: &[ComparedRun]) -> Result<Table> {
    let columns = [
        "AUC",
        "accuracy",
        "sensitivity",
        "specificity",
        "log loss (nats)",
        "Brier score",
        "ECE",
        "temperature",
    ];
    let names = [("", Align::Left), ("run", Align::Left)];
    let mut table = Table::new(
        names
            .into_iter()
            .chain(columns.map(|name| (name, Align::Right))),
    );
    for (i, run) in runs.iter().enumerate() {
        let test = &run.metrics.test;
        let binary = test.binary.as_ref();
        table.row([
            letter(i),
            code(&run.name()),
            or_dash(test.auc.as_ref(), number),
            percent(&test.accuracy),
            or_dash(binary.and_then(|b| b.sensitivity.as_ref()), percent),
            or_dash(binary.and_then(|b| b.specificity.as_ref()), percent),
            number(&test.log_loss),
            number(&test.brier),
            number(&test.expected_calibration_error),
            format::fixed(run.metrics.calibration.temperature, 3),
        ])?;
    }
    Ok(table)
}

fn reading(pairs: usize) -> String {
    let several = if pairs > 1 {
        format!(" The p-values of the {pairs} pairs are not corrected for multiple comparisons.")
    } else {
        String::new()
    };
    format!(
        "Differences are the first run minus the second. Their intervals are from a bootstrap that draws the same patients \
         for both runs; an interval that contains 0 shows no difference. DeLong's test is of equal AUCs, with \
         Obuchowski's variance for several images per patient. McNemar's test is exact, of equal accuracies, and assumes \
         independent images: if patients have several, rely on the interval instead.{several}"
    )
}

fn differences(compared: &RunComparison) -> Result<Table> {
    let mut table = Table::new([
        ("pair", Align::Left),
        ("AUC", Align::Right),
        ("DeLong p", Align::Right),
        ("accuracy", Align::Right),
        ("only first correct", Align::Right),
        ("only second correct", Align::Right),
        ("McNemar p", Align::Right),
    ]);
    for Pair {
        runs: [i, j],
        bootstrap,
        delong,
        mcnemar,
    } in &compared.pairs
    {
        table.row([
            format!("{} − {}", letter(*i), letter(*j)),
            or_dash(bootstrap.auc.as_ref(), number),
            or_dash(delong.as_ref(), |d| p_value(d.p)),
            points(&bootstrap.accuracy),
            format::thousands(mcnemar.first_only),
            format::thousands(mcnemar.second_only),
            p_value(mcnemar.p),
        ])?;
    }
    Ok(table)
}

fn p_value(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".into()
    } else {
        format::fixed(p, 3)
    }
}

fn settings(document: &mut Document, compared: &RunComparison) -> Result<()> {
    if compared.settings.is_empty() {
        document.paragraph("None.");
        return Ok(());
    }
    let letters = (0..compared.runs.len()).map(letter);
    let names = std::iter::once(String::from("setting")).chain(letters);
    let mut table = Table::new(names.map(|name| (name, Align::Left)));
    for (key, values) in &compared.settings {
        let values = values.iter().map(|v| or_dash(v.as_ref(), |v| code(v)));
        table.row([code(key)].into_iter().chain(values))?;
    }
    document.table(&table);
    Ok(())
}

fn disagreements(document: &mut Document, compared: &RunComparison) -> Result<()> {
    let found = &compared.disagreements;
    if found.is_empty() {
        document.paragraph("None: all runs classify every image the same.");
        return Ok(());
    }
    let listed = found.len().min(LISTED);
    let which = if listed < found.len() {
        format!(" The {listed} with the largest difference in probability:")
    } else {
        String::new()
    };
    document.paragraph(&format!(
        "{}; in brackets the probability of the true class.{which}",
        count(found.len(), "image")
    ));
    let letters = (0..compared.runs.len()).map(letter);
    let names = ["image".to_owned(), "true class".to_owned()];
    let mut table = Table::new(
        names
            .into_iter()
            .chain(letters)
            .map(|name| (name, Align::Left)),
    );
    for image in &found[..listed] {
        let decided = image.decisions.iter().zip(&image.probabilities);
        let decided =
            decided.map(|(class, p)| format!("{} ({})", escape(class), format::fixed(*p, 3)));
        let names = [code(&image.path), escape(&image.class)];
        table.row(names.into_iter().chain(decided))?;
    }
    document.table(&table);
    Ok(())
}
