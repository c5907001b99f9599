//! The report section on overlays and green areas.

use anyhow::Result;
use metrics::Interval;
use report::text::escape;
use report::{Align, Cases, Document, Table, format};

use super::cases::Drawn;
use super::{OverlayStatistics, RegionArea};
use crate::context::Context;
use crate::words::{count, or_dash, percent};

pub(super) fn write(
    context: &Context<'_>,
    statistics: &OverlayStatistics,
    drawn: Vec<Drawn>,
    browsed: Option<Cases>,
) -> Result<Document> {
    let mut section = Document::fragment();
    section.heading(2, "Where the network looks");
    section.paragraph(&meaning(context, statistics));
    section.paragraph(&format!(
        "Areas are given as shares of the image; brackets give {} intervals that resample patients.",
        format::percent(context.settings.evaluate.confidence, 0)
    ));
    section.table(&areas(statistics)?);
    if statistics.classes.iter().all(|c| c.with_green == 0) {
        section.note(&format!(
            "No pixel of any test image reaches {}: the network is not that confident anywhere. The heat maps below \
             show where its confidence is highest; a lower `overlays.certainty` would show more green.",
            statistics.certainty
        ));
    }
    if let Some(table) = regions(statistics)? {
        section.paragraph(
            "Where masks exist, they show whether the green is in the right place. *By chance* is the region's share \
             of the image: of green pixels placed at random, this share would be inside.",
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
        context
            .run
            .figure(&mut section, &group.name, &figure, &group.title, "")?;
    }
    if let Some(cases) = browsed {
        section.cases(cases);
    }
    section.paragraph("The same overlays at the original image size are in `overlays/`.");
    Ok(section)
}

/// What green means: it depends on how the map was trained and on whether the prediction is computed from it.
fn meaning(context: &Context<'_>, statistics: &OverlayStatistics) -> String {
    let OverlayStatistics {
        class, certainty, ..
    } = statistics;
    let green = format!(
        "Green marks every pixel whose softmax probability of {} is at least {certainty}.",
        escape(class)
    );
    let answer = match context.settings.model.head.as_str() {
        "cam" => {
            "The network's prediction is computed from the mean of a map with one score per pixel and class."
        }
        "region" => {
            "The network outputs a map with one score per pixel and class; its prediction is computed from features \
             averaged over the pixels, each weighted with the map's probability that it is not background."
        }
        _ => {
            "In addition to its prediction, the network outputs a map with one score per pixel and class; the \
             prediction is not computed from it."
        }
    };
    if context.settings.train.wants_masks() {
        format!(
            "{answer} The map was trained on the masks of the training images. {green} Green is therefore the \
             network's prediction of what the masks mark."
        )
    } else {
        format!(
            "{answer} {green} The map was trained on image labels only, without pixel labels. Green therefore shows \
             where the evidence for the prediction is, not the outline of a finding."
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
        ("green inside", Align::Right),
        ("by chance", Align::Right),
        ("region that is green", Align::Right),
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

/// The ratio of green inside a region to chance from which the map is reported to point there.
const POINTS: f64 = 2.0;

/// One sentence per region, on the images of the class that the map shows.
fn verdicts(statistics: &OverlayStatistics) -> Vec<String> {
    let own = statistics
        .classes
        .iter()
        .find(|c| c.class == statistics.class);
    // If the map does not show a class of the images, use the last class, which usually has the finding.
    let own = own.or(statistics.classes.last());
    let regions = own.iter().flat_map(|c| &c.regions);
    regions.filter_map(verdict).collect()
}

fn verdict(region: &RegionArea) -> Option<String> {
    let times = region.green_inside?.estimate / region.area?.estimate;
    let meaning = if times >= POINTS {
        "the map points there"
    } else {
        "the map shows whether there is a finding, but hardly where"
    };
    let (name, times) = (escape(&region.region), format::fixed(times, 1));
    Some(format!(
        "Green is inside the masks of *{name}* {times} times as often as by chance: {meaning}."
    ))
}
