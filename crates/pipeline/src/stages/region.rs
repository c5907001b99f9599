//! Finds the part of each image that the network sees: the bounding box of what a trained segmenter finds, if it is
//! plausible compared with the training images, otherwise their typical box.

use anyhow::{Result, bail};
use dataset::{ImageRecord, Split};
use formats::checkpoint::{Plausible, RegionRule};
use imaging::ImageFile;
use inference::{Bundle, Found, Measured, RegionFinder, part};
use model::engine::Precision;
use rayon::prelude::*;
use report::palette;
use report::text::escape;
use report::{Align, Document, ImageGrid, Plane, Table, Tile, format, outline};
use settings::RegionSettings;

use crate::context::{Context, Data};
use crate::pictures::spread;
use crate::regions::{ImageRegion, REGIONS, Regions, SEGMENTER, copy_segmenter, reason};
use crate::words::count;

/// Images in one batch of the segmenter.
const BATCH: usize = 16;
/// Shares of the training images that may be below and above the plausible range before it is widened.
const TAIL: f64 = 0.005;
/// By which the range of areas among training images is widened on both sides.
const SLACK: f64 = 1.5;
/// Images in each figure.
const SHOWN: usize = 12;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let Some(settings) = context.settings.image.region.clone() else {
        context.progress.say("  networks see whole images");
        return Ok(());
    };
    let data = context.data_cloned()?;
    copy_segmenter(context.run, &settings.model)?;
    let finder = finder(context, &settings)?;
    let measured = measure(context, &data, &finder)?;
    let rule = rule(&settings, &data, &measured)?;
    let rows = data.manifest.rows();
    let found: Vec<Found> = rows
        .iter()
        .zip(&measured)
        .map(|(record, found)| part(&rule, found.as_ref(), size(record)))
        .collect();
    let regions = Regions {
        rule,
        images: rows.iter().zip(&found).map(image_region).collect(),
    };
    context.run.write_json(REGIONS, &regions)?;
    context.attach(&regions)?;
    let fallbacks = found.iter().filter(|f| f.fallback.is_some()).count();
    context.progress.say(format!(
        "  {}: found in {} of {} images; the others show the typical part",
        settings.names.join(", "),
        found.len() - fallbacks,
        found.len()
    ));
    let section = section(context, &data, (&settings, &regions.rule), &found)?;
    context.section("region", &section)
}

fn size(record: &ImageRecord) -> (usize, usize) {
    (record.height as usize, record.width as usize)
}

fn image_region((record, found): (&ImageRecord, &Found)) -> ImageRegion {
    let p = found.part;
    ImageRegion {
        path: record.path.clone(),
        part: [p.top, p.left, p.height, p.width],
        fallback: found.fallback.map(|why| reason(why).into()),
    }
}

fn finder(context: &Context<'_>, settings: &RegionSettings) -> Result<RegionFinder> {
    let path = context.run.file(SEGMENTER);
    // In f32 whatever the precision of the settings, as in predictions.
    let segmenter = Bundle::load(&path, context.settings.device.device, Precision::F32)?;
    if segmenter.meta().origin.phantoms && context.settings.data.phantom.is_none() {
        bail!(
            "the segmenter {} was trained on generated phantoms, so it cannot find anything in real images; train it \
             on real images, or set image.region = \"none\"",
            settings.model.display()
        );
    }
    Ok(RegionFinder::new(segmenter, settings.classes.clone())?)
}

/// What the segmenter finds in each image of the data set.
fn measure(
    context: &Context<'_>,
    data: &Data,
    finder: &RegionFinder,
) -> Result<Vec<Option<Measured>>> {
    let rows = data.manifest.rows();
    let job = context.progress.job("regions", "images", rows.len() as u64);
    let mut measured = Vec::with_capacity(rows.len());
    for batch in rows.chunks(BATCH) {
        context.interrupt.check()?;
        let images: Result<Vec<ImageFile>, _> = batch
            .par_iter()
            .map(|record| data.manifest.read(record))
            .collect();
        measured.extend(finder.measure(&images?)?);
        job.advance(batch.len() as u64);
    }
    Ok(measured)
}

/// What a plausible region is, and the typical one: from the training images alone.
fn rule(
    settings: &RegionSettings,
    data: &Data,
    measured: &[Option<Measured>],
) -> Result<RegionRule> {
    let training = data.splits.rows(Split::Train);
    let found: Vec<Measured> = training.iter().filter_map(|row| measured[*row]).collect();
    if 2 * found.len() < training.len() || found.is_empty() {
        bail!(
            "the segmenter {} finds no {} in {} of {} training images: was it trained on such images?",
            settings.model.display(),
            settings.names.join(" or "),
            training.len() - found.len(),
            training.len()
        );
    }
    let of = |property: &dyn Fn(&Measured) -> f64| {
        let mut values: Vec<f64> = found.iter().map(property).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let range = |property: &dyn Fn(&Measured) -> f64| {
        let values = of(property);
        let (least, greatest) = (quantile(&values, TAIL), quantile(&values, 1.0 - TAIL));
        [least / SLACK, (greatest * SLACK).min(1.0)]
    };
    let components = of(&|m| m.components as f64);
    let fewest = quantile(&components, TAIL) as usize;
    let most = quantile(&components, 1.0 - TAIL) as usize;
    Ok(RegionRule {
        classes: settings.classes.clone(),
        margin: settings.margin,
        plausible: Plausible {
            area: range(&|m| m.area),
            extent: range(&Measured::extent),
            components: [fewest, most],
        },
        typical: [0, 1, 2, 3].map(|edge| quantile(&of(&|m| m.edges[edge]), 0.5)),
    })
}

/// The value below which a share of sorted values are; the nearest of them, without interpolation.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((share * last as f64).round() as usize)
        .copied()
        .unwrap_or(0.0)
}

fn section(
    context: &Context<'_>,
    data: &Data,
    (settings, rule): (&RegionSettings, &RegionRule),
    found: &[Found],
) -> Result<Document> {
    let mut section = Document::fragment();
    section.heading(2, "What the network sees");
    let classes: Vec<String> = settings.names.iter().map(|name| escape(name)).collect();
    section.paragraph(&format!(
        "The network does not see whole images, but the bounding box of {} in each, with a margin of {} of the image's \
         height and width on each side. A segmenter finds the region in the same way in training, validation and test \
         images; it is part of the checkpoint, and predictions use it, too. No mask drawn by a human is used for this.",
        classes.join(" and "),
        format::percent(settings.margin, 0)
    ));
    section.paragraph(&format!(
        "A region counts as plausible if it covers {} to {} of the image, its box {} to {}, and it has {} \
         (the ranges among training images, those of area and box widened by half); otherwise the network sees the box \
         whose edges are the medians of the training images. Components of less than a tenth of the largest one are \
         ignored.",
        format::percent(rule.plausible.area[0], 0),
        format::percent(rule.plausible.area[1], 0),
        format::percent(rule.plausible.extent[0], 0),
        format::percent(rule.plausible.extent[1], 0),
        components(rule.plausible.components),
    ));
    section.table(&counts(data, found)?);
    let (typical, plausible): (Vec<usize>, Vec<usize>) =
        (0..found.len()).partition(|row| found[*row].fallback.is_some());
    let figures = [
        ("regions", "Regions found", plausible),
        (
            "regions-typical",
            "No plausible region: the typical box",
            typical,
        ),
    ];
    for (name, title, rows) in figures {
        if !rows.is_empty() {
            let figure = figure(data, title, &rows, found)?;
            context
                .run
                .figure(&mut section, name, &figure.draw()?, title, "")?;
        }
    }
    Ok(section)
}

/// "2 connected components", "1 to 3 connected components".
fn components([fewest, most]: [usize; 2]) -> String {
    match fewest == most {
        true => count(fewest, "connected component"),
        false => format!("{fewest} to {}", count(most, "connected component")),
    }
}

/// Images of each split, and those without a plausible region by reason.
fn counts(data: &Data, found: &[Found]) -> Result<Table> {
    let reasons = ["absent", "area", "extent", "components"];
    let columns = [
        "split",
        "images",
        "region found",
        "nothing found",
        "implausible area",
        "implausible box",
        "implausible number of components",
    ];
    let align = |(i, c): (usize, &&str)| {
        let side = if i == 0 { Align::Left } else { Align::Right };
        (c.to_string(), side)
    };
    let mut table = Table::new(columns.iter().enumerate().map(align));
    for split in Split::ALL {
        let rows = data.splits.rows(split);
        let of = |why: Option<&str>| {
            let same = |row: &&usize| found[**row].fallback.map(reason) == why;
            format::thousands(rows.iter().filter(same).count() as u64)
        };
        let counts = [
            split.name().into(),
            format::thousands(rows.len() as u64),
            of(None),
        ];
        let by_reason = reasons.iter().map(|why| of(Some(why)));
        table.row(counts.into_iter().chain(by_reason).collect::<Vec<_>>())?;
    }
    Ok(table)
}

/// Whole images with the border of the part that the network sees.
fn figure(data: &Data, title: &str, rows: &[usize], found: &[Found]) -> Result<ImageGrid> {
    let mut tiles = vec![];
    for row in spread(rows, SHOWN) {
        let record = &data.manifest.rows()[row];
        let (height, width) = size(record);
        let image = data.grey(record, (height, width), imaging::Fit::Stretch)?;
        let mut picture = image.to_rgb();
        let p = found[row].part;
        let inside = |i: usize| {
            let (y, x) = (i / width, i % width);
            let rows = p.top..p.top + p.height;
            rows.contains(&y) && (p.left..p.left + p.width).contains(&x)
        };
        let values = (0..height * width).map(|i| f32::from(u8::from(inside(i))));
        let border = Plane::new(width as u32, height as u32, values.collect())?;
        outline(&mut picture, &border, palette::OVERLAY_GREEN)?;
        let name = record.path.rsplit('/').next().unwrap_or_default();
        tiles.push(Tile {
            image: picture.into(),
            caption: format!("{}: {name}", data.manifest.classes()[record.class]),
            border: None,
        });
    }
    Ok(ImageGrid {
        title: title.into(),
        subtitle: format!("{} of {} images", tiles.len(), rows.len()),
        columns: 0,
        tiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values() {
        let values: Vec<f64> = (0..=1000).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.005), 5.0);
        assert_eq!(quantile(&values, 0.5), 500.0);
        assert_eq!(quantile(&[3.0], 0.995), 3.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
