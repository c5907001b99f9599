//! The labels that out-of-fold predictions contradict.

use ::report::text::{code, escape};
use ::report::{Align, Document, Table, format};
use anyhow::Result;

use super::count;
use crate::figures::{SHOWN, SUSPECTS};
use crate::label_errors::LabelErrors;
use crate::results::Results;

/// Writes the part of the report.
pub(super) fn write(report: &mut Document, results: &Results, found: &LabelErrors) -> Result<()> {
    report.heading(2, "Labels to look at");
    let n = found.errors.len();
    let setting = match results.grid.is_empty() {
        true => String::new(),
        false => format!(" of setting {}", found.setting),
    };
    report.paragraph(&format!(
        "Confident learning (Northcutt 2021) on the out-of-fold probabilities{setting}, averaged over {}, lists {} of {}; \
         by its estimate {} of all labels are wrong. The list has images whose given label is improbable to networks that \
         did not train on them. It is not a list of errors: rare and difficult cases, poor images and faults of the \
         networks are among them, and errors that the networks have learned from similar ones are not. Each image needs \
         a second reading by someone who does not know its label or this suggestion; the results above and below are \
         those of the labels as given.",
        count(found.seeds.len(), "seed"),
        count(n, "image"),
        format::thousands(found.images as u64),
        format::percent(found.error_rate, 1),
    ));
    if n == 0 {
        return Ok(());
    }
    let alt = "Images whose labels the out-of-fold predictions contradict";
    report.figure(SUSPECTS, alt, "");
    let mut list = Document::fragment();
    list.table(&table(found)?);
    report.details(&format!("The first {}", n.min(SHOWN)), &list);
    report.note("All are in `label_errors.csv` and, with the estimated counts of given and true classes, in `label_errors.json`.");
    Ok(())
}

fn table(found: &LabelErrors) -> Result<Table> {
    let mut table = Table::new([
        ("", Align::Right),
        ("image", Align::Left),
        ("given", Align::Left),
        ("suggested", Align::Left),
        ("probability of the given label", Align::Right),
    ]);
    for (i, error) in found.errors.iter().take(SHOWN).enumerate() {
        table.row([
            (i + 1).to_string(),
            code(&error.path),
            escape(&error.given),
            escape(&error.suggested),
            format::fixed(error.self_confidence, 3),
        ])?;
    }
    Ok(table)
}
