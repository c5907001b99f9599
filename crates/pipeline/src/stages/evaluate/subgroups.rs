//! Results by subgroup of the test images: whom does the network fail?

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use dataset::ImageRecord;
use metrics::{
    EvaluationSettings, Grouping, Interval, LEAST_SUBGROUP_PATIENTS, NamedFigure, Predictions,
    Subgroup, SubgroupFigure, SubgroupMetric, SubgroupTable, SubgroupTest, subgroups,
};
use report::text::escape;
use report::{Align, Document, Table, format};
use settings::Settings;

use crate::context::Data;
use crate::words::{number, percent, points};

/// An attribute with more values than this is a measurement or a name, not a grouping.
const MOST_GROUPS: usize = 20;

/// The attribute of DICOM files that is grouped by bands.
const AGE: &str = "age";

/// Bands of age: the first year of each but the first, and its name.
const BANDS: [(f64, &str); 6] = [
    (0.0, "under 2 years"),
    (2.0, "2 to 11 years"),
    (12.0, "12 to 17 years"),
    (18.0, "18 to 39 years"),
    (40.0, "40 to 64 years"),
    (65.0, "65 years and over"),
];

/// The groupings of some images by name, each with the group of every image.
type Groups = BTreeMap<String, Vec<Option<String>>>;

/// The results by the attributes of the images (columns of a table, DICOM's sex, view and bands of age) and by the
/// patterns of the settings; `None` if nothing divides the images.
pub(super) fn of(
    settings: &Settings,
    data: &Data,
    rows: &[usize],
    predictions: &Predictions<'_, String>,
    how: &EvaluationSettings,
) -> Result<Option<SubgroupTable>> {
    let records: Vec<&ImageRecord> = rows.iter().map(|row| &data.manifest.rows()[*row]).collect();
    let mut groups = by_attribute(&records);
    for (name, grouping) in &settings.evaluate.subgroups {
        let of = |record: &&ImageRecord| grouping.of(&record.path).map(str::to_owned);
        groups.insert(name.clone(), records.iter().map(of).collect());
    }
    groups.retain(|_, of| (2..=MOST_GROUPS).contains(&values(of)));
    if groups.is_empty() {
        return Ok(None);
    }
    let groupings = groups.iter();
    let groupings: Vec<Grouping<'_, String>> = groupings
        .map(|(name, groups)| Grouping { name, groups })
        .collect();
    Ok(Some(subgroups(predictions, how, &groupings)?))
}

fn by_attribute(records: &[&ImageRecord]) -> Groups {
    let names = records.iter().flat_map(|record| record.attributes.keys());
    let names: BTreeSet<&String> = names.collect();
    let group = |name: &str, record: &ImageRecord| {
        let value = record.attributes.get(name)?;
        match name {
            AGE => band(value).map(str::to_owned),
            _ => Some(value.clone()),
        }
    };
    let of = |name: &String| {
        let groups = records.iter().map(|record| group(name, record)).collect();
        (name.clone(), groups)
    };
    names.into_iter().map(of).collect()
}

/// The band of an age in years.
fn band(age: &str) -> Option<&'static str> {
    let age: f64 = age.parse().ok()?;
    let reached = BANDS.iter().rev().find(|(from, _)| age >= *from)?;
    Some(reached.1)
}

fn values(groups: &[Option<String>]) -> usize {
    groups.iter().flatten().collect::<BTreeSet<_>>().len()
}

/// The group that a summary has to name: flagged or lowest.
pub(in crate::stages) fn worst(table: &SubgroupTable) -> Option<String> {
    let worst = table.worst()?;
    let value = written(worst.figure.metric, worst.figure.value.as_ref());
    let rest = written(worst.figure.metric, worst.figure.rest.as_ref());
    let (what, group) = (words(worst.figure.metric), escape(worst.group));
    let grouping = escape(worst.grouping);
    Some(match is_flagged(worst.figure) {
        true => format!(
            "**It is significantly worse for {grouping} = {group}: {what} {value}, otherwise {rest}** (adjusted for {} \
             comparisons).",
            table.comparisons
        ),
        false => format!(
            "No subgroup differs significantly; the lowest figure is the {what} for {grouping} = {group}, {value} (otherwise \
             {rest})."
        ),
    })
}

/// Writes the part of the report.
pub(super) fn write(section: &mut Document, table: &SubgroupTable) -> Result<()> {
    section.heading(3, "By subgroup");
    section.paragraph(&format!(
        "Results on parts of the test split, each compared with the rest of its grouping (patients are the units). The \
         p-values are adjusted for all {} comparisons together (Holm): with a probability of {} nothing is marked ⚠ if \
         nothing differs. Groups of fewer than {LEAST_SUBGROUP_PATIENTS} patients are shown, but not tested.",
        table.comparisons,
        format::percent(table.level, 0)
    ));
    if let Some(worst) = worst(table) {
        section.paragraph(&worst);
    }
    let metrics = metrics_of(table);
    let columns = metrics.iter().map(|metric| (words(*metric), Align::Right));
    let fixed = [
        ("grouping", Align::Left),
        ("group", Align::Left),
        ("n", Align::Right),
        ("patients", Align::Right),
    ];
    let mut rows = Table::new(fixed.into_iter().chain(columns).collect::<Vec<_>>());
    for grouping in &table.groupings {
        for group in &grouping.groups {
            rows.row(row(&grouping.name, group))?;
        }
    }
    section.table(&rows);
    let flagged: Vec<String> = table.flagged().map(flag).collect();
    if !flagged.is_empty() {
        section.list(flagged);
    }
    Ok(())
}

fn metrics_of(table: &SubgroupTable) -> Vec<SubgroupMetric> {
    let first = table.groupings.first().and_then(|own| own.groups.first());
    let figures = first.map(|group| group.figures.as_slice());
    let figures = figures.unwrap_or_default().iter();
    figures.map(|figure| figure.metric).collect()
}

fn row(grouping: &str, group: &Subgroup) -> Vec<String> {
    let figures = group.figures.iter().map(|figure| {
        let mark = if is_flagged(figure) { "⚠ " } else { "" };
        mark.to_owned() + &written(figure.metric, figure.value.as_ref())
    });
    let fixed = [
        escape(grouping),
        escape(&group.name),
        group.n.to_string(),
        group.patients.to_string(),
    ];
    fixed.into_iter().chain(figures).collect()
}

/// A flagged figure in words.
fn flag(named: NamedFigure<'_>) -> String {
    let figure = named.figure;
    let difference = figure.difference.as_ref().map(|by| match figure.metric {
        SubgroupMetric::Auc | SubgroupMetric::Brier => number(by),
        _ => points(by),
    });
    let p = match figure.test {
        SubgroupTest::Tested(test) => format::fixed(test.adjusted_p, 4),
        SubgroupTest::Untested(_) => "–".into(),
    };
    format!(
        "⚠ {} for {} = {}: {} against the rest, adjusted p = {p}",
        words(figure.metric),
        escape(named.grouping),
        escape(named.group),
        difference.unwrap_or_else(|| "–".into())
    )
}

fn is_flagged(figure: &SubgroupFigure) -> bool {
    matches!(figure.test, SubgroupTest::Tested(test) if test.flagged)
}

fn written(metric: SubgroupMetric, value: Option<&Interval>) -> String {
    crate::words::or_dash(value, |value| match metric {
        SubgroupMetric::Auc | SubgroupMetric::Brier => number(value),
        _ => percent(value),
    })
}

fn words(metric: SubgroupMetric) -> &'static str {
    match metric {
        SubgroupMetric::Auc => "AUC",
        SubgroupMetric::Sensitivity => "sensitivity",
        SubgroupMetric::Specificity => "specificity",
        SubgroupMetric::Accuracy => "accuracy",
        SubgroupMetric::BalancedAccuracy => "balanced accuracy",
        SubgroupMetric::Brier => "Brier score",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_fall_into_bands() {
        let bands = ["0.5", "2", "11.9", "64", "90", "unknown"].map(band);
        let expected = [
            Some("under 2 years"),
            Some("2 to 11 years"),
            Some("2 to 11 years"),
            Some("40 to 64 years"),
            Some("65 years and over"),
            None,
        ];
        assert_eq!(bands, expected);
    }
}
