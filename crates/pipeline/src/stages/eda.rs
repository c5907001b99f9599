//! Exploratory analysis of the data, before anything is trained on them.

mod near_copies;

use anyhow::{Result, bail};
use dataset::{Eda, EdaConfig, Split};
use report::text::escape;
use report::{
    Align, ClassDistribution, Document, Histogram, HistogramSeries, ImageGrid, SplitCounts, Table,
    Tile, format,
};

use crate::context::{Context, Data};
use crate::order::{Order, Work};
use crate::pictures::spread;
use crate::words::count;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    if context.processes.size() > 1 {
        let images = data.manifest.fingerprint();
        Order::on(context.run, Work::Analyse { images }).give(context.processes)?;
    }
    let eda = Eda::over(context.processes, &data.manifest, &EdaConfig::default())?;
    context.run.write_json("eda.json", &eda)?;
    let mut section = Document::fragment();
    section.heading(2, "Exploratory analysis");
    class_figure(context, &data, &mut section)?;
    samples(context, &data, &mut section)?;
    section.heading(3, "Points to note").list(warnings(&eda));
    section.table(&facts(&eda)?);
    near_copies::write(context, &data, &eda.near_copies, &mut section)?;
    if !eda.masks.is_empty() {
        section.heading(3, "Masks").table(&masks(&eda)?);
    }
    intensity(context, &eda, &mut section)?;
    context.section("eda", &section)
}

/// Takes part in the analysis by rank 0 of images with this fingerprint, on another rank.
pub(crate) fn take_part(context: &mut Context<'_>, images: &str) -> Result<()> {
    let data = context.data_cloned()?;
    if data.manifest.fingerprint() != images {
        let rank = context.processes.rank();
        bail!(
            "process {rank} cannot analyse with process 0: it finds other images in its data folder"
        );
    }
    Ok(Eda::take_part(context.processes, &data.manifest)?)
}

fn class_figure(context: &Context<'_>, data: &Data, section: &mut Document) -> Result<()> {
    let split = |split: Split| SplitCounts {
        name: split.name().into(),
        counts: data
            .manifest
            .class_counts(data.splits.rows(split))
            .iter()
            .map(|n| *n as u64)
            .collect(),
    };
    let figure = ClassDistribution {
        title: "Images of each class in each split".into(),
        classes: data.manifest.classes().to_vec(),
        splits: Split::ALL.map(split).to_vec(),
    };
    context.run.figure(
        section,
        "classes",
        &figure.draw()?,
        "Class distribution",
        "",
    )
}

fn samples(context: &Context<'_>, data: &Data, section: &mut Document) -> Result<()> {
    let classes = data.manifest.classes();
    let each = context.settings.samples.div_ceil(classes.len()).max(1);
    let size = (context.settings.image.height, context.settings.image.width);
    let mut tiles = vec![];
    for (label, class) in classes.iter().enumerate() {
        let rows: Vec<usize> = data
            .splits
            .train
            .iter()
            .copied()
            .filter(|r| data.manifest.rows()[*r].class == label)
            .collect();
        for row in spread(&rows, each) {
            let record = &data.manifest.rows()[row];
            let image = data.grey(record, size, context.settings.image.fit)?;
            let name = record.path.rsplit('/').next().unwrap_or_default();
            tiles.push(Tile {
                image: image.into(),
                caption: format!("{class}: {name}"),
                border: None,
            });
        }
    }
    let (height, width) = size;
    let subtitle = format!("training split, as the network sees them: {height}×{width}");
    let figure = ImageGrid {
        title: "Samples".into(),
        subtitle,
        columns: 0,
        tiles,
    };
    context.run.figure(
        section,
        "samples",
        &figure.draw()?,
        "Sample images of each class",
        "",
    )
}

fn warnings(eda: &dataset::Eda) -> Vec<String> {
    if eda.warnings.is_empty() {
        vec!["Nothing stands out.".into()]
    } else {
        eda.warnings.iter().map(|w| escape(w)).collect()
    }
}

fn facts(eda: &dataset::Eda) -> Result<Table> {
    let mut table = Table::new([("fact", Align::Left), ("value", Align::Left)]);
    let sizes = &eda.sizes;
    let copies: usize = eda.duplicates.iter().map(|g| g.paths.len()).sum();
    let most = eda
        .images_per_patient
        .iter()
        .map(|p| p.images)
        .max()
        .unwrap_or(0);
    let formats: Vec<String> = eda
        .formats
        .iter()
        .map(|f| {
            format!(
                "{} with {} of {} bits",
                f.images,
                count(f.channels.into(), "channel"),
                f.bit_depth
            )
        })
        .collect();
    let imbalance: Vec<String> = eda
        .splits
        .iter()
        .filter_map(|s| Some(format!("{} {}:1", s.split, format::fixed(s.imbalance?, 2))))
        .collect();
    // Where no patient is known each image counts as one; reporting these would suggest that no patient is in two
    // splits.
    let of_patients = |value: String| match eda.patients_known {
        true => value,
        false => "not known".into(),
    };
    table.row(["images", &eda.images.to_string()])?;
    table.row(["patients", &of_patients(eda.patients.to_string())])?;
    table.row(["images per patient", &of_patients(format!("1 to {most}"))])?;
    table.row(["class imbalance", &imbalance.join(", ")])?;
    table.row([
        "widths (5 % – median – 95 %)",
        &format!(
            "{:.0} – {:.0} – {:.0} pixels",
            sizes.width.p05, sizes.width.median, sizes.width.p95
        ),
    ])?;
    table.row([
        "heights (5 % – median – 95 %)",
        &format!(
            "{:.0} – {:.0} – {:.0} pixels",
            sizes.height.p05, sizes.height.median, sizes.height.p95
        ),
    ])?;
    table.row(["stored as", &formats.join(", ")])?;
    table.row([
        "byte-identical files",
        &format!(
            "{} in {}",
            count(copies, "file"),
            count(eda.duplicates.len(), "group")
        ),
    ])?;
    let near = &eda.near_copies;
    table.row([
        "nearly identical images",
        &format!(
            "{}, {} of them between splits",
            count(near.pairs, "pair"),
            near.across_splits
        ),
    ])?;
    table.row([
        "patients in more than one split",
        &of_patients(count(eda.leaked_patients.len(), "patient")),
    ])?;
    table.row([
        "files that could not be read",
        &count(eda.bad_images.len(), "file"),
    ])?;
    Ok(table)
}

/// One row per split; each class of pixels has a column with its mean share of the image.
fn masks(eda: &dataset::Eda) -> Result<Table> {
    let areas = eda.masks.iter().flat_map(|m| &m.areas);
    let mut names: Vec<&str> = areas.map(|area| area.class.as_str()).collect();
    names.truncate(eda.masks.first().map_or(0, |m| m.areas.len()));
    let mut columns = vec![("split".to_owned(), Align::Left)];
    let counts = ["images", "masks", "missing", "bad", "empty"];
    let counts = counts.into_iter().map(str::to_owned);
    let shares = names
        .iter()
        .map(|name| format!("mean area of {}", escape(name)));
    columns.extend(counts.chain(shares).map(|name| (name, Align::Right)));
    let mut table = Table::new(columns);
    for m in &eda.masks {
        let counts = [m.images, m.with_mask, m.missing, m.bad, m.empty];
        let mut row = vec![m.split.clone()];
        row.extend(counts.map(|n| format::thousands(n as u64)));
        row.extend(m.areas.iter().map(|area| match m.with_mask {
            0 => "–".to_owned(),
            _ => format::percent(area.mean_share, 1),
        }));
        table.row(row)?;
    }
    Ok(table)
}

fn intensity(context: &Context<'_>, eda: &dataset::Eda, section: &mut Document) -> Result<()> {
    let series = |c: &dataset::ClassIntensity| HistogramSeries {
        name: c.class.clone(),
        counts: c.mean_histogram.iter().map(|n| *n as u64).collect(),
    };
    let figure = Histogram {
        title: "Mean brightness of the images".into(),
        x_label: "mean grey value, 0 black, 1 white".into(),
        range: (0.0, 1.0),
        series: eda.intensity.iter().map(series).collect(),
        as_share: true,
        markers: vec![],
    };
    let caption = "Where these curves differ, brightness alone separates the classes, which is not a finding.";
    context.run.figure(
        section,
        "intensity",
        &figure.draw()?,
        "Histogram of mean brightness by class",
        caption,
    )
}
