//! Pictures of more cases than the figures have room for, to be filtered and sorted in the HTML file.

use anyhow::Result;
use inference::Bundle;
use report::{Case, Cases, Outcome, format, overlay};

use super::cases::{self, Group};
use super::statistics::ImageStatistics;
use crate::context::{Context, Data};
use crate::pictures::{THUMBNAILS, save_thumbnail};
use crate::words::count;

/// Saves a picture of each selected case, and describes them; `None` without test images.
pub(super) fn browse(
    context: &mut Context<'_>,
    data: &Data,
    trained: &Bundle,
    images: &[ImageStatistics],
) -> Result<Option<Cases>> {
    let groups = selected(images, data);
    let mut found = vec![];
    for group in &groups {
        let maps = cases::maps(context, trained, group)?;
        for (case, (map, size)) in group.cases.iter().zip(maps) {
            let shown = cases::overlay_case(context, data, case, map, size)?;
            let certainty = context.settings.overlays.certainty;
            let picture = overlay(&shown.image, &shown.map, certainty)?;
            let name = &data.file_names[case.row];
            found.push(Case {
                picture: save_thumbnail(context.run, &format!("overlay-{name}"), &picture)?,
                title: data.manifest.rows()[case.row].path.clone(),
                lines: vec![
                    format!("true: {}", shown.truth),
                    format!(
                        "predicted: {} ({})",
                        shown.predicted,
                        format::percent(case.probability, 1)
                    ),
                ],
                outcome: Some(outcome(data, case)),
                value: case.probability,
            });
        }
    }
    let rule = format!(
        "{} of {}: of each true class the correct and the misclassified ones, evenly spaced from the most to the least \
         confident. Confidence is the calibrated probability of the predicted class.",
        found.len(),
        count(images.len(), "test image"),
    );
    Ok((!found.is_empty()).then(|| Cases {
        name: "Single cases with their green areas".into(),
        rule,
        measure: "confidence".into(),
        cases: found,
    }))
}

/// As many of each group as fit, the same number of each unless it has fewer.
fn selected(images: &[ImageStatistics], data: &Data) -> Vec<Group> {
    let total = |each: usize| {
        let groups = cases::choose(images, data, each);
        groups.iter().map(|group| group.cases.len()).sum::<usize>()
    };
    let each = (1..=THUMBNAILS).rev().find(|n| total(*n) <= THUMBNAILS);
    cases::choose(images, data, each.unwrap_or(1))
}

fn outcome(data: &Data, case: &cases::Case) -> Outcome {
    let truth = data.manifest.rows()[case.row].class;
    match (case.predicted == truth, data.manifest.classes().len()) {
        (true, _) => Outcome::Correct,
        (false, 2) if truth == data.positive => Outcome::FalseNegative,
        (false, 2) => Outcome::FalsePositive,
        (false, _) => Outcome::Wrong,
    }
}
