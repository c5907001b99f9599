//! The part about nearly identical images.

use anyhow::{Context as _, Result};
use dataset::{ImageRecord, NearCopies, NearCopy};
use imaging::Fit;
use report::text::{code, escape};
use report::{Align, Document, ImageGrid, Table, Tile, format};

use crate::context::{Context, Data};

/// Most pairs that are shown as pictures.
const SHOWN: usize = 8;

/// Most pairs in the table; `eda.json` has more.
const LISTED: usize = 50;

/// Side of a picture in pixels.
const SIDE: usize = 192;

/// Writes the pairs, those between splits first, if there are any.
pub(super) fn write(
    context: &Context<'_>,
    data: &Data,
    found: &NearCopies,
    section: &mut Document,
) -> Result<()> {
    if found.closest.is_empty() {
        return Ok(());
    }
    section.heading(3, "Nearly identical images");
    section.paragraph(&explanation(found));
    pictures(context, data, found, section)?;
    let mut list = Document::fragment();
    list.table(&table(found)?);
    let shown = found.closest.len().min(LISTED);
    let title = match shown < found.pairs {
        true => format!("The first {shown} pairs; eda.json has up to 500"),
        false => "The pairs".to_owned(),
    };
    section.details(&title, &list);
    Ok(())
}

fn explanation(found: &NearCopies) -> String {
    let missing = match found.exhaustive {
        true => "",
        false => {
            " Not every pair was compared, because there are many images: some that correlate little more than that may \
             be missing."
        }
    };
    format!(
        "Pairs of different files whose correlation is at least {} after reduction to 64×64 grey values, as they are or \
         one of them mirrored (byte-identical files are counted above).{missing} Such images are copies \
         that were compressed again, resized, brightened or mirrored, or neighbouring slices and frames: look at them \
         before removing any. A copy in both training and test makes results look better than they are; remove one of \
         its images, or put both into the same split (`data.validation.policy = \"list\"`).",
        format::fixed(found.min_correlation, 3),
    )
}

/// The closest pairs between splits or, without any, of those that come first.
fn pictures(
    context: &Context<'_>,
    data: &Data,
    found: &NearCopies,
    section: &mut Document,
) -> Result<()> {
    let between = found.across_splits > 0;
    let pairs = found.closest.iter();
    let pairs = pairs.filter(|pair| pair.crosses_splits == between);
    let mut tiles = vec![];
    for (number, pair) in pairs.take(SHOWN).enumerate() {
        tiles.extend(both(data, pair, number + 1)?);
    }
    let figure = ImageGrid {
        title: match between {
            true => "The closest pairs between splits".into(),
            false => "The closest pairs".into(),
        },
        subtitle: "two neighbours are a pair".into(),
        columns: 4,
        tiles,
    };
    let alt = "Pairs of nearly identical images";
    context
        .run
        .figure(section, "near-copies", &figure.draw()?, alt, "")
}

fn both(data: &Data, pair: &NearCopy, number: usize) -> Result<Vec<Tile>> {
    let tile = |i: usize| {
        let record = record(data, &pair.paths[i])?;
        let name = record.path.rsplit('/').next().unwrap_or_default();
        let image = data.grey(record, (SIDE, SIDE), Fit::Pad)?;
        Ok(Tile {
            image: image.into(),
            caption: format!("{number}: {}, {}: {name}", pair.splits[i], pair.classes[i]),
            border: None,
        })
    };
    [0, 1].into_iter().map(tile).collect()
}

fn record<'d>(data: &'d Data, path: &str) -> Result<&'d ImageRecord> {
    let rows = data.manifest.rows();
    let found = rows.binary_search_by(|record| record.path.as_str().cmp(path));
    let row = found.ok().and_then(|row| rows.get(row));
    row.with_context(|| format!("{path} is not in the manifest"))
}

fn table(found: &NearCopies) -> Result<Table> {
    let mut table = Table::new([
        ("image", Align::Left),
        ("nearly identical to", Align::Left),
        ("correlation", Align::Right),
        ("of another", Align::Left),
    ]);
    for pair in found.closest.iter().take(LISTED) {
        let of = |i: usize| format!("{} ({})", code(&pair.paths[i]), escape(&pair.classes[i]));
        table.row([
            of(0),
            of(1),
            format::fixed(pair.correlation, 4),
            differs(pair).join(", "),
        ])?;
    }
    Ok(table)
}

fn differs(pair: &NearCopy) -> Vec<&'static str> {
    let what = [
        (pair.crosses_splits, "split"),
        (pair.crosses_classes, "label"),
        (pair.crosses_patients, "patient"),
        (pair.mirrored, "side (mirrored)"),
    ];
    let true_ones = what.into_iter().filter(|(differs, _)| *differs);
    true_ones.map(|(_, what)| what).collect()
}
