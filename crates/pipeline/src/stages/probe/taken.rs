//! The network on images from which something is taken away.

use anyhow::Result;
use augment::Draw;
use dataset::{Sample, SampleKey};
use inference::Bundle;
use metrics::proportion;
use report::Plane;

use super::alone::has_region;
use super::parts::{self, Part};
use crate::context::{Context, Data};
use crate::measured::TakenAway;
use crate::pictures::spread;
use crate::scored::{Held, Scored};
use crate::stages::pixels::{coarse, drawn};
use crate::stages::rules::{Rules, sample_size};

/// Test images, at most.
const IMAGES: usize = 100;

/// Changes an image, given the mask of its region.
type Take = Box<dyn Fn(&mut Sample, SampleKey, Option<&Plane>) + Send + Sync>;

/// Something that is taken away.
struct Away {
    what: String,
    may_hold_finding: bool,
    take: Take,
}

/// The AUC on whole images, and on images without something.
pub(super) fn measure(
    context: &Context<'_>,
    data: &Data,
    trained: &Bundle,
    rules: &Rules,
) -> Result<(Option<metrics::Interval>, Vec<TakenAway>)> {
    let asked = context.settings.probe.images;
    let n = sample_size(asked, data.splits.train.len(), IMAGES);
    let rows = spread(&data.splits.test, n);
    let held = Held::read(context, data, &rows)?;
    let region = has_region(context, data);
    let size = held
        .samples()
        .first()
        .map_or((0, 0), |sample| (sample.height, sample.width));
    let masks = match region {
        true => parts::masks(context, data, &rows, size)?.unwrap_or_default(),
        false => vec![],
    };
    let mask_of = |row: usize| {
        let at = rows.iter().position(|own| *own == row)?;
        masks.get(at)
    };
    let all = all(context, region);
    let job = context.progress.job(
        "something taken away",
        "images",
        ((1 + all.len()) * held.len()) as u64,
    );
    let whole = held.scored(context, (trained, None), &|_, _| (), &job)?;
    let auc = rules.auc(&whole)?;
    let mut found = vec![];
    for away in all {
        let change = |sample: &mut Sample, key| {
            let mask = mask_of(sample.row);
            (away.take)(sample, key, mask);
        };
        let scored = held.scored(context, (trained, None), &change, &job)?;
        found.push(taken_away(rules, away, auc, [&whole, &scored])?);
    }
    Ok((auc, found))
}

fn taken_away(
    rules: &Rules,
    away: Away,
    on_whole: Option<metrics::Interval>,
    [whole, left]: [&Scored; 2],
) -> Result<TakenAway> {
    let auc = rules.auc(left)?;
    let [before, after] = [whole, left].map(|scored| rules.decide(scored));
    let changed: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a != b).collect();
    let above = |auc: metrics::Interval| auc.estimate - 0.5;
    let survives = on_whole.zip(auc).filter(|(whole, _)| whole.low > 0.5);
    Ok(TakenAway {
        what: away.what,
        may_hold_finding: away.may_hold_finding,
        survives: survives.map(|(whole, left)| above(left) / above(whole)),
        lost: rules.compare(whole, left)?.auc,
        changed: proportion(&changed, Some(&left.patients), rules.level())?,
        auc,
    })
}

fn all(context: &Context<'_>, region: bool) -> Vec<Away> {
    let ring = Part::Ring(context.settings.probe.ring);
    let part = |part: Part, rest: bool, may_hold_finding: bool| Away {
        what: match rest {
            false => part.name(context),
            true => format!("everything but the {}", part.name(context)),
        },
        may_hold_finding,
        take: Box::new(move |sample, _, mask| part.blank(sample, rest, mask)),
    };
    let mut all = vec![
        part(Part::BORDER, false, false),
        part(Part::Corners, false, false),
        part(ring, false, false),
        part(ring, true, true),
    ];
    if region {
        all.push(part(Part::Region(0), true, false));
        all.push(part(Part::Region(0), false, true));
    }
    all.push(Away {
        what: "exposure: mean and spread of the grey values made equal".into(),
        may_hold_finding: false,
        take: Box::new(|sample, _, _| standardized(sample)),
    });
    // Where predictions are the mean over the image and its mirror image, exchanging the sides changes nothing.
    if !context.settings.evaluate.tta {
        all.push(Away {
            what: "sides: left and right exchanged".into(),
            may_hold_finding: false,
            take: Box::new(|sample, key, _| {
                let draw = Draw {
                    flip_horizontal: true,
                    ..Draw::default()
                };
                drawn(sample, key, draw);
            }),
        });
    }
    all.push(Away {
        what: "detail: 16×16 cells are left".into(),
        may_hold_finding: true,
        take: Box::new(|sample, _, _| coarse(sample, (16, 16))),
    });
    all
}

/// Grey values of mean 0.5 and standard deviation 0.2, clipped.
fn standardized(sample: &mut Sample) {
    let n = sample.image.len().max(1) as f64;
    let mean = sample.image.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let squares = sample.image.iter().map(|v| (f64::from(*v) - mean).powi(2));
    let deviation = (squares.sum::<f64>() / n).sqrt().max(1e-6);
    for value in &mut sample.image {
        let scaled = 0.5 + 0.2 * (f64::from(*value) - mean) / deviation;
        *value = scaled.clamp(0.0, 1.0) as f32;
    }
}
