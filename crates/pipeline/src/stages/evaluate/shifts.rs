//! The validation images again under stated changes, such as another exposure or framing: a recipe that is chosen by its
//! worst result is not chosen for the conditions of one archive.

use anyhow::Result;
use metrics::{Evaluation, Interval};
use report::text::escape;
use report::{Align, Document, Table};
use serde::{Deserialize, Serialize};

use super::judge::Metrics;
use crate::words::{number, or_dash, percent};

/// Results on validation images that were changed, at the threshold and calibration of the unchanged ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shifted {
    /// Name of the change in `evaluate.shifts`.
    pub name: String,
    /// Area under the ROC curve.
    pub auc: Option<Interval>,
    /// Share classified correctly.
    pub accuracy: Interval,
    /// Mean recall.
    pub balanced_accuracy: Interval,
    /// Share of the positive images classified correctly, with two classes.
    pub sensitivity: Option<Interval>,
    /// Share of the negative images classified correctly, with two classes.
    pub specificity: Option<Interval>,
    /// Mean −ln p(true class), in nats.
    pub log_loss: Interval,
}

impl Shifted {
    pub(super) fn new(name: &str, on_validation: &Evaluation) -> Self {
        let binary = on_validation.binary.as_ref();
        Shifted {
            name: name.into(),
            auc: on_validation.auc,
            accuracy: on_validation.accuracy,
            balanced_accuracy: on_validation.balanced_accuracy,
            sensitivity: binary.and_then(|b| b.sensitivity),
            specificity: binary.and_then(|b| b.specificity),
            log_loss: on_validation.log_loss,
        }
    }
}

/// Writes the table of the report, if there are shifts.
pub(super) fn write(section: &mut Document, metrics: &Metrics) -> Result<()> {
    if metrics.shifts.is_empty() {
        return Ok(());
    }
    section.heading(3, "Validation under shift");
    section.paragraph(
        "The validation images again, each changed as stated in the settings (`evaluate.shifts`), at the threshold and \
         calibration chosen on the unchanged ones. The test images play no part in this table: it may be used to choose \
         between recipes, by their worst row.",
    );
    let mut table = Table::new([
        ("validation images", Align::Left),
        ("AUC", Align::Right),
        ("accuracy", Align::Right),
        ("sensitivity", Align::Right),
        ("specificity", Align::Right),
        ("log loss (nats)", Align::Right),
    ]);
    let unchanged = Shifted::new("unchanged", &metrics.validation);
    for row in std::iter::once(&unchanged).chain(&metrics.shifts) {
        table.row([
            escape(&row.name),
            or_dash(row.auc.as_ref(), number),
            percent(&row.accuracy),
            or_dash(row.sensitivity.as_ref(), percent),
            or_dash(row.specificity.as_ref(), percent),
            number(&row.log_loss),
        ])?;
    }
    section.table(&table);
    Ok(())
}
