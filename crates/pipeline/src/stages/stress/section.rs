//! The stage's part of the report.

use anyhow::Result;
use metrics::Interval;
use report::text::escape;
use report::{Align, CurveLine, Document, StrengthCurves, StrengthPanel, Table, format};

use crate::measured::{Change, Strength, Stress};
use crate::run_dir::RunDir;
use crate::words::{count, number, or_dash, percent};

pub(super) fn write(run: &RunDir, stress: &Stress) -> Result<Document> {
    let mut section = Document::fragment();
    section.heading(2, "Under stress");
    section.paragraph(&format!(
        "The same {}, each changed at the size of the network's input, at the threshold and calibration chosen on the \
         unchanged validation images. A network breaks where from some strength on its AUC or its accuracy is significantly \
         lower than on the unchanged images (bootstrap of patients, paired; no correction for the number of changes).",
        count(stress.images, "test image")
    ));
    section.paragraph(&verdict(stress));
    section.table(&table(stress)?);
    let alt =
        "AUC, sensitivity, specificity and calibration error against the strength of each change";
    run.figure(&mut section, "stress", &figure(stress).draw()?, alt, "")?;
    Ok(section)
}

fn verdict(stress: &Stress) -> String {
    let early = |change: &&Change| {
        let weak = change.strengths.iter().take(2);
        weak.map(|strength| Some(strength.value))
            .any(|value| value == change.breaks_at)
    };
    let broken: Vec<String> = stress
        .changes
        .iter()
        .filter(early)
        .map(|change| {
            format!(
                "{} ({} {})",
                change.name,
                change.unit,
                plain(change.breaks_at)
            )
        })
        .collect();
    match broken.as_slice() {
        [] => "No change breaks the network at one of its two weakest strengths.".into(),
        names => format!(
            "**These break it at one of their two weakest strengths: {}.** Images from other devices differ by as much.",
            names.join("; ")
        ),
    }
}

fn plain(value: Option<f64>) -> String {
    or_dash(value, |value| format!("{value}"))
}

fn table(stress: &Stress) -> Result<Table> {
    let mut table = Table::new([
        ("change", Align::Left),
        ("strengths", Align::Left),
        ("breaks at", Align::Right),
        ("AUC at the strongest", Align::Right),
        ("sensitivity", Align::Right),
        ("specificity", Align::Right),
        ("accuracy", Align::Right),
        ("calibration error", Align::Right),
    ]);
    let figures = |strength: &Strength| {
        let share = |interval: &Option<Interval>| or_dash(interval.as_ref(), percent);
        [
            or_dash(strength.auc.as_ref(), number),
            share(&strength.sensitivity),
            share(&strength.specificity),
            percent(&strength.accuracy),
            format::fixed(strength.calibration_error, 3),
        ]
    };
    let mut row = |first: [String; 3], strength: &Strength| {
        table
            .row(first.into_iter().chain(figures(strength)))
            .map(drop)
    };
    row(
        ["unchanged".into(), "–".into(), "–".into()],
        &stress.unchanged,
    )?;
    for change in &stress.changes {
        let values = change.strengths.iter().map(|s| format!("{}", s.value));
        let strengths = format!(
            "{} ({})",
            values.collect::<Vec<_>>().join(", "),
            change.unit
        );
        if let Some(strongest) = change.strengths.last() {
            let first = [
                escape(&change.name),
                escape(&strengths),
                plain(change.breaks_at),
            ];
            row(first, strongest)?;
        }
    }
    Ok(table)
}

fn figure(stress: &Stress) -> StrengthCurves {
    let panel = |change: &Change| {
        let all: Vec<&Strength> = std::iter::once(&stress.unchanged)
            .chain(&change.strengths)
            .collect();
        let line = |name: &str, of: &dyn Fn(&Strength) -> Option<f64>| CurveLine {
            name: name.into(),
            points: all
                .iter()
                .enumerate()
                .filter_map(|(i, strength)| Some((i as f64, of(strength)?)))
                .collect(),
        };
        let estimate = |interval: Option<Interval>| interval.map(|own| own.estimate);
        let mut lines = vec![line("AUC", &|s| estimate(s.auc))];
        match stress.unchanged.sensitivity {
            Some(_) => {
                lines.push(line("sensitivity", &|s| estimate(s.sensitivity)));
                lines.push(line("specificity", &|s| estimate(s.specificity)));
            }
            None => lines.push(line("accuracy", &|s| Some(s.accuracy.estimate))),
        }
        lines.push(line("calibration error", &|s| Some(s.calibration_error)));
        let named = change.strengths.iter().map(|s| format!("{}", s.value));
        let breaks = |value| change.strengths.iter().position(|s| s.value == value);
        StrengthPanel {
            title: change.name.clone(),
            unit: change.unit.clone(),
            steps: std::iter::once("none".to_owned()).chain(named).collect(),
            lines,
            breaks_at: change.breaks_at.and_then(breaks).map(|i| i + 1),
        }
    };
    StrengthCurves {
        title: "Test: results against the strength of each change".into(),
        panels: stress.changes.iter().map(panel).collect(),
    }
}
