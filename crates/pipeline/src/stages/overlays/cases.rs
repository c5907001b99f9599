//! Selects the cases to show: correct and incorrect ones, from the most to the least confident, by fixed rules rather
//! than by hand.

use anyhow::Result;
use imaging::{Fit, Placement};
use inference::Bundle;
use report::{Colormap, Figure, OverlayCase, OverlayPanels, Plane, overlay};

use super::over_image;
use super::statistics::{ImageStatistics, region_mask};
use crate::context::{Context, Data};
use crate::names::{file_names, slug};
use crate::scoring;

/// A group of cases that are shown in one figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    /// File name of the figure.
    pub(super) name: String,
    /// Heading.
    pub(super) title: String,
    /// How the cases were selected.
    pub(super) rule: &'static str,
    pub(super) cases: Vec<Case>,
    /// Number of cases that the rule selected from.
    pub(super) of: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    pub(super) row: usize,
    pub(super) predicted: usize,
    pub(super) probability: f64,
}

/// A group and its figure.
pub(super) struct Drawn {
    pub(super) group: Group,
    pub(super) figure: Figure,
}

pub(super) fn choose(images: &[ImageStatistics], data: &Data, examples: usize) -> Vec<Group> {
    let mut groups = vec![];
    let classes = data.manifest.classes();
    let names: Vec<&str> = classes.iter().map(String::as_str).collect();
    let slugs = file_names(&names, slug);
    for (label, (class, slug)) in classes.iter().zip(slugs).enumerate() {
        let right: Vec<_> = images
            .iter()
            .filter(|i| i.label == label && i.predicted == label)
            .collect();
        let wrong: Vec<_> = images
            .iter()
            .filter(|i| i.label == label && i.predicted != label)
            .collect();
        groups.push(group(
            format!("overlay-{slug}-right"),
            format!("{class}, classified correctly"),
            "evenly spaced from the most to the least confident",
            &right,
            examples,
        ));
        groups.push(group(
            format!("overlay-{slug}-wrong"),
            format!("{class}, misclassified"),
            "evenly spaced from the most to the least confident error",
            &wrong,
            examples,
        ));
    }
    groups.retain(|g| !g.cases.is_empty());
    groups
}

fn group(
    name: String,
    title: String,
    rule: &'static str,
    images: &[&ImageStatistics],
    examples: usize,
) -> Group {
    let confidence = |i: &ImageStatistics| i.probabilities.get(i.predicted).copied().unwrap_or(0.0);
    let mut sorted = images.to_vec();
    // Ties are broken by row, so that identical runs show identical cases.
    sorted.sort_by(|a, b| {
        confidence(b)
            .total_cmp(&confidence(a))
            .then(a.row.cmp(&b.row))
    });
    let n = examples.min(sorted.len());
    // Both ends included.
    let picked = (0..n).filter_map(|i| {
        sorted.get(if n > 1 {
            i * (sorted.len() - 1) / (n - 1)
        } else {
            0
        })
    });
    let cases = picked
        .map(|i| Case {
            row: i.row,
            predicted: i.predicted,
            probability: confidence(i),
        })
        .collect();
    Group {
        name,
        title,
        rule,
        cases,
        of: images.len(),
    }
}

pub(super) fn draw(
    context: &mut Context<'_>,
    data: &Data,
    trained: &Bundle,
    groups: &[Group],
) -> Result<Vec<Drawn>> {
    groups
        .iter()
        .map(|group| draw_group(context, data, trained, group))
        .collect()
}

fn draw_group(
    context: &mut Context<'_>,
    data: &Data,
    trained: &Bundle,
    group: &Group,
) -> Result<Drawn> {
    let maps = maps(context, trained, group)?;
    let folder = context.run.folder("overlays")?;
    let certainty = context.settings.overlays.certainty;
    let mut cases = vec![];
    for (case, (map, size)) in group.cases.iter().zip(maps) {
        let record = &data.manifest.rows()[case.row];
        let shown = overlay_case(context, data, case, map, size)?;
        let path = folder.join(format!("{}.png", data.file_names[case.row]));
        let size = (record.height as usize, record.width as usize);
        let original = data.grey(record, size, Fit::Stretch)?;
        let map = at_original_size(context, &shown.map, &original)?;
        crate::pictures::save_png(&path, &overlay(&original, &map, certainty)?)?;
        cases.push(shown);
    }
    let figure = OverlayPanels {
        title: group.title.clone(),
        threshold: certainty,
        colormap: Colormap::Inferno,
        cases,
    };
    Ok(Drawn {
        group: group.clone(),
        figure: figure.draw()?,
    })
}

/// The map without the border that padding added around the image. That of a region is at the original size already.
fn at_original_size(context: &Context<'_>, map: &Plane, original: &Plane) -> Result<Plane> {
    let size = |plane: &Plane| {
        let (width, height) = plane.dimensions();
        (height as usize, width as usize)
    };
    if size(original) == size(map) {
        return Ok(map.clone());
    }
    let placement = Placement::new(context.settings.image.fit, size(original), size(map));
    let (width, height) = original.dimensions();
    Ok(Plane::new(width, height, placement.restore(map.values()))?)
}

/// A class map with its rows and columns.
pub(super) type Map = (Vec<f32>, (usize, usize));

/// Class maps of a group's cases, in the order of the cases.
pub(super) fn maps(context: &mut Context<'_>, trained: &Bundle, group: &Group) -> Result<Vec<Map>> {
    let loader = context.loader(group.cases.iter().map(|c| c.row).collect())?;
    let job = context
        .progress
        .job(&group.title, "overlays", loader.len() as u64);
    let mut maps = vec![];
    scoring::each(
        trained,
        &loader,
        scoring::with_map(trained),
        (&job, context.interrupt),
        |batch, scores| {
            let each = scores.maps.chunks(batch.height * batch.width);
            maps.extend(each.zip(&batch.placements).map(|(map, placement)| {
                let (map, size) = over_image(map, placement);
                (map.into_owned(), size)
            }));
            Ok(())
        },
    )?;
    Ok(maps)
}

pub(super) fn overlay_case(
    context: &Context<'_>,
    data: &Data,
    case: &Case,
    map: Vec<f32>,
    (height, width): (usize, usize),
) -> Result<OverlayCase> {
    let (record, classes) = (&data.manifest.rows()[case.row], data.manifest.classes());
    // The last region is the narrowest: the finding itself where its mask is known, otherwise the lungs.
    let region = context.settings.data.regions.len().checked_sub(1);
    let truth_mask = match region {
        Some(i) => region_mask(context.settings, data, case.row, i, (height, width))?
            .filter(|m| m.values().contains(&1.0)),
        None => None,
    };
    Ok(OverlayCase {
        name: record.path.rsplit('/').next().unwrap_or_default().into(),
        image: data.grey(record, (height, width), context.settings.image.fit)?,
        map: Plane::new(width as u32, height as u32, map)?,
        truth_mask,
        truth: classes[record.class].clone(),
        predicted: classes[case.predicted].clone(),
        probability: case.probability,
    })
}
