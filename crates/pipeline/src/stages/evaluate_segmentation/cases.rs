//! The worst and the best cases by Dice.

use anyhow::Result;
use imaging::Fit;
use inference::Segmenter;
use report::{
    Case, Cases, Figure, Labels, SegmentationCase, SegmentationPanels, error_map, format,
};

use super::JudgedImage;
use super::judge::{MaskEvaluator, dice};
use crate::context::{Context, Data};
use crate::pictures::{save_thumbnail, spread};
use crate::words::count;

/// Most cases to browse. Each is segmented again, so that no map of the whole split is kept.
const BROWSED: usize = 24;

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
    let sorted = by_dice(images);
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

/// The images by ascending Dice. One with foreground in neither truth nor prediction has none and is not shown.
fn by_dice(images: &[JudgedImage]) -> Vec<(f64, &JudgedImage)> {
    let judged = images.iter();
    let mut sorted: Vec<(f64, &JudgedImage)> = judged
        .filter_map(|image| Some((dice(&image.scores)?, image)))
        .collect();
    // Ties are broken by row, so that identical runs show identical cases.
    sorted.sort_by(|(a, first), (b, second)| a.total_cmp(b).then(first.row.cmp(&second.row)));
    sorted
}

/// Saves the error maps of images from the worst to the best, and describes them; `None` if no image has a Dice.
pub(super) fn browse(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskEvaluator<'_>,
    segmenter: &Segmenter<'_>,
    images: &[JudgedImage],
) -> Result<Option<Cases>> {
    let sorted = by_dice(images);
    let mut found = vec![];
    for (dice, image) in spread(&sorted, BROWSED) {
        context.interrupt.check()?;
        let case = case(data, judge, segmenter, (dice, image))?;
        let errors = error_map(&case.image, &case.truth, &case.predicted)?;
        let name = format!("segmentation-{}", data.file_names[image.row]);
        found.push(Case {
            picture: save_thumbnail(context.run, &name, &errors)?,
            title: data.manifest.rows()[image.row].path.clone(),
            lines: vec![format!("Dice {}", format::fixed(dice, 3))],
            outcome: None,
            value: dice,
        });
    }
    let rule = format!(
        "{} of {}, evenly spaced by Dice, the worst first. Green: in truth and prediction; orange: only \
         predicted; blue: only in the truth; purple: predicted as another class.",
        found.len(),
        count(sorted.len(), "test image")
    );
    Ok((!found.is_empty()).then(|| Cases {
        name: "Single segmented images".into(),
        rule,
        measure: "Dice".into(),
        cases: found,
    }))
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
