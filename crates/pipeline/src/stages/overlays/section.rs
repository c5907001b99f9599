//! Overlays and areas in words.

use anyhow::Result;
use metrics::Interval;
use report::text::escape;
use report::{Align, Document, Table, format};

use super::cases::Drawn;
use super::{OverlayStatistics, RegionArea};
use crate::context::Context;
use crate::words::{count, or_dash, percent};

pub(super) fn write(
    context: &Context<'_>,
    statistics: &OverlayStatistics,
    drawn: Vec<Drawn>,
) -> Result<Document> {
    let mut section = Document::fragment();
    section.heading(2, "Where the network looks");
    section.paragraph(&meaning(context, statistics));
    section.paragraph(&format!(
        "Areas are given as shares of the image, with {} intervals by patient in brackets.",
        format::percent(context.settings.evaluate.confidence, 0)
    ));
    section.table(&areas(statistics)?);
    if statistics.classes.iter().all(|c| c.with_green == 0) {
        section.note(&format!(
            "No pixel of any test image reaches {}: the network is not that sure of any place. The heat maps below show \
             where it leans; a lower `overlays.certainty` would show more green.",
            statistics.certainty
        ));
    }
    if let Some(table) = regions(statistics)? {
        section.paragraph(
            "Where masks are known, they say whether the green lies where it should. *By chance* is the region's share of the \
             image: green that is spread blindly would have as much inside.",
        );
        section.table(&table);
        section.list(verdicts(statistics));
    }
    for Drawn { group, figure } in drawn {
        section.heading(3, &escape(&group.title));
        section.paragraph(&format!(
            "{} of {}, {}.",
            group.cases.len(),
            count(group.of, "test image"),
            group.rule
        ));
        context.figure(&mut section, &group.name, &figure, &group.title, "")?;
    }
    section.paragraph("The same overlays at the images' own size are in `overlays/`.");
    Ok(section)
}

/// What green stands for: it depends on what has taught the map, and on whether the answer is made from it.
fn meaning(context: &Context<'_>, statistics: &OverlayStatistics) -> String {
    let OverlayStatistics {
        class, certainty, ..
    } = statistics;
    let green = format!(
        "Green is every pixel whose share of the scores (softmax) gives {} at least {certainty}.",
        escape(class)
    );
    let answer = match context.settings.model.head.as_str() {
        "cam" => {
            "The network's answer is made from the mean of a map with one score a pixel and class."
        }
        _ => {
            "Beside its answer the network has a map with one score a pixel and class, from which the answer is not made."
        }
    };
    if context.settings.train.wants_masks() {
        format!(
            "{answer} Masks of the training images have taught the map pixels. {green} So green says what the masks say, as far \
             as the network has learned it."
        )
    } else {
        format!(
            "{answer} {green} It was taught images only, never pixels. So green says where the evidence for the answer lies; it \
             is no outline of a finding."
        )
    }
}

fn areas(statistics: &OverlayStatistics) -> Result<Table> {
    let mut table = Table::new([
        ("true class", Align::Left),
        ("test images", Align::Right),
        ("with any green", Align::Right),
        ("share of them", Align::Right),
        ("mean green area", Align::Right),
        ("median", Align::Right),
    ]);
    for c in &statistics.classes {
        let cell = |share: &Option<Interval>| or_dash(share.as_ref(), percent);
        table.row([
            escape(&c.class),
            c.n.to_string(),
            c.with_green.to_string(),
            cell(&c.with_green_share),
            cell(&c.mean_share),
            cell(&c.median_share),
        ])?;
    }
    Ok(table)
}

fn regions(statistics: &OverlayStatistics) -> Result<Option<Table>> {
    let mut table = Table::new([
        ("true class", Align::Left),
        ("region", Align::Left),
        ("images", Align::Right),
        ("green inside it", Align::Right),
        ("by chance", Align::Right),
        ("of the region green", Align::Right),
    ]);
    for c in &statistics.classes {
        for r in c.regions.iter().filter(|r| r.n > 0) {
            let cell = |share: &Option<Interval>| or_dash(share.as_ref(), percent);
            table.row([
                escape(&c.class),
                escape(&r.region),
                r.n.to_string(),
                cell(&r.green_inside),
                cell(&r.area),
                cell(&r.covered),
            ])?;
        }
    }
    Ok((!table.is_empty()).then_some(table))
}

/// Green that lies in a region this many times as often as by chance points there.
const POINTS: f64 = 2.0;

/// A sentence a region, on the images of the class that the map speaks of.
fn verdicts(statistics: &OverlayStatistics) -> Vec<String> {
    let own = statistics
        .classes
        .iter()
        .find(|c| c.class == statistics.class);
    // A map of something else than a class of the images: on the last class, which usually has the finding.
    let own = own.or(statistics.classes.last());
    let regions = own.iter().flat_map(|c| &c.regions);
    regions.filter_map(verdict).collect()
}

fn verdict(region: &RegionArea) -> Option<String> {
    let times = region.green_inside?.estimate / region.area?.estimate;
    let meaning = if times >= POINTS {
        "the map points there"
    } else {
        "the map says whether there is a finding, and hardly where"
    };
    let (name, times) = (escape(&region.region), format::fixed(times, 1));
    Some(format!(
        "Green lies in the masks of *{name}* {times} times as often as by chance: {meaning}."
    ))
}
