//! The worst and the best cases by Dice.

use anyhow::Result;
use imaging::Fit;
use inference::Segmenter;
use report::{Figure, Labels, SegmentationCase, SegmentationPanels, format};

use super::JudgedImage;
use super::judge::{MaskEvaluator, dice};
use crate::context::{Context, Data};

/// A figure of several cases.
pub(super) struct Drawn {
    /// File name of the figure.
    pub(super) name: &'static str,
    pub(super) title: String,
    pub(super) figure: Figure,
}

pub(super) fn draw(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskEvaluator<'_>,
    segmenter: &Segmenter<'_>,
    images: &[JudgedImage],
) -> Result<Vec<Drawn>> {
    // An image with foreground in neither truth nor prediction has no Dice and is not shown.
    let judged = images.iter();
    let mut sorted: Vec<(f64, &JudgedImage)> = judged
        .filter_map(|image| Some((dice(&image.scores)?, image)))
        .collect();
    // Ties are broken by row, so that identical runs show identical cases.
    sorted.sort_by(|(a, first), (b, second)| a.total_cmp(b).then(first.row.cmp(&second.row)));
    let n = context.settings.overlays.examples;
    let worst: Vec<_> = sorted.iter().copied().take(n).collect();
    let best: Vec<_> = sorted.iter().rev().copied().take(n).collect();
    let mut drawn = vec![];
    for (name, title, cases) in [
        ("segmentation-worst", "Worst test images by Dice", worst),
        ("segmentation-best", "Best test images by Dice", best),
    ] {
        let cases: Result<Vec<_>> = cases
            .into_iter()
            .map(|image| case(data, judge, segmenter, image))
            .collect();
        let panels = SegmentationPanels {
            title: title.into(),
            classes: judge.classes.clone(),
            cases: cases?,
        };
        drawn.push(Drawn {
            name,
            title: title.into(),
            figure: panels.draw()?,
        });
    }
    Ok(drawn)
}

fn case(
    data: &Data,
    judge: &MaskEvaluator<'_>,
    segmenter: &Segmenter<'_>,
    (dice, image): (f64, &JudgedImage),
) -> Result<SegmentationCase> {
    let record = &data.manifest.rows()[image.row];
    let found = segmenter.segment(&data.manifest.read(record)?)?;
    let truth = judge.truth(image.row)?.unwrap_or_default();
    Ok(SegmentationCase {
        caption: format!("{}: Dice {}", record.path, format::fixed(dice, 3)),
        image: data.grey(record, (found.height, found.width), Fit::Stretch)?,
        truth: Labels::new(record.width, record.height, truth)?,
        predicted: Labels::new(record.width, record.height, judge.predicted(&found))?,
    })
}
