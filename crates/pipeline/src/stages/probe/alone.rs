//! Models that see only what should not predict the class.

use anyhow::Result;
use dataset::Split;

use super::parts::Part;
use super::seen::{Network, Seen, View, read};
use crate::baseline::{Labelled, Linear};
use crate::context::{Context, Data};
use crate::measured::Alone;
use crate::pictures::spread;
use crate::scored::Scored;
use crate::stages::overlays::region_file;
use crate::stages::rules::Rules;

/// Images of each split, at most.
const IMAGES: [usize; 3] = [800, 300, 400];

/// Fits them on training images, with the penalty chosen on validation, and measures them on test.
pub(super) fn measure(
    context: &Context<'_>,
    data: &Data,
    network: Network<'_>,
    rules: &Rules,
) -> Result<Vec<Alone>> {
    let views = views(context, data, network);
    let rows = Split::ALL.map(|split| {
        let all = data.splits.rows(split);
        let half = (all.len() / 2).max(200);
        spread(all, IMAGES[split as usize].min(half))
    });
    let total: usize = rows.iter().map(Vec::len).sum();
    let job = context
        .progress
        .job("parts of images", "images", total as u64);
    let [train, val, test] = rows.map(|rows| read(context, data, network, (rows, &views), &job));
    let (train, val, test) = (train?, val?, test?);
    drop(job);
    let job = context.progress.job("probes", "fits", views.len() as u64);
    let fit = |(i, view): (usize, &View)| {
        let found = alone(context, rules, (i, *view), [&train, &val, &test]);
        job.advance(1);
        found
    };
    views.iter().enumerate().map(fit).collect()
}

fn views(context: &Context<'_>, data: &Data, (_, output): Network<'_>) -> Vec<View> {
    let ring = Part::Ring(context.settings.probe.ring);
    let mut views = vec![
        View::File,
        View::Exposure,
        View::Thumbnail,
        View::Cells(Part::BORDER, false),
        View::Cells(Part::Corners, false),
        View::Cells(ring, false),
    ];
    if output.is_some() {
        views.extend([
            View::Features(Part::Corners, false),
            View::Features(ring, false),
        ]);
    }
    if has_region(context, data) {
        views.push(View::Cells(Part::Region(0), true));
        if output.is_some() {
            views.push(View::Features(Part::Region(0), true));
        }
    }
    views
}

/// Whether every image has a mask of the first region of the settings, at the network's own view of it.
pub(super) fn has_region(context: &Context<'_>, data: &Data) -> bool {
    let settings = context.settings;
    let has = |row| region_file(settings, data, row, 0).is_some();
    settings.image.region.is_none() && (0..data.manifest.rows().len()).all(has)
}

fn alone(
    context: &Context<'_>,
    rules: &Rules,
    (i, view): (usize, View),
    [train, val, test]: [&Seen; 3],
) -> Result<Alone> {
    let both = [train, val].map(|seen| Labelled {
        x: &seen.views[i],
        labels: &seen.labels,
    });
    let classes = rules.classes();
    let (linear, _) = Linear::chosen(both, classes, || Ok(context.interrupt.check()?))?;
    let scored = Scored {
        rows: test.rows.clone(),
        labels: test.labels.clone(),
        logits: linear.scores(&test.views[i]),
        patients: test.patients.clone(),
        features: vec![],
    };
    let auc = rules.auc(&scored)?;
    Ok(Alone {
        sees: view.words(context),
        model: view.model().into(),
        may_hold_finding: view == View::Thumbnail,
        inputs: test.views[i].len() / test.labels.len().max(1),
        n: test.labels.len(),
        auc,
    })
}
