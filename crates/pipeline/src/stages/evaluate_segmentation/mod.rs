//! Evaluates the map against the masks, pixel by pixel at the images' own size, next to two baselines: one that uses no
//! anatomy and one that uses nothing else.

mod baselines;
mod cases;
mod guarantee;
mod judge;
mod section;

use anyhow::{Result, bail};
use dataset::Split;
use inference::Segmenter;
use metrics::{SegmentationComparison, SegmentationEvaluation, SegmentedImage};
use serde::{Deserialize, Serialize};

use crate::context::{Context, Data};
use crate::scoring;
use guarantee::Counted;
pub use guarantee::Guarantees;
use judge::MaskEvaluator;

/// `segmentation.json`. It contains no times and no paths, so that identical runs give identical bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentationMetrics {
    /// Pipeline's name.
    pub pipeline: String,
    /// Whether the data are phantoms.
    pub phantom: bool,
    /// SHA-256 over classes, paths, labels and file contents.
    pub data_fingerprint: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Classes of a pixel; the first is the background, which is excluded from means over classes.
    pub classes: Vec<String>,
    /// Number of test images without a usable mask, which are not evaluated.
    pub without_mask: usize,
    /// Largest number of overlapping tiles per image; 1 where images were processed whole.
    pub tiles: usize,
    /// Results on the test images.
    pub test: SegmentationEvaluation,
    /// The same with all classes except the background merged, where there are several.
    pub marked: Option<SegmentationEvaluation>,
    /// Thresholds on the map with a promise; `None` without validation masks.
    #[serde(default)]
    pub guarantees: Option<Guarantees>,
    /// The baselines to beat, on the same images.
    pub baselines: SegmentationBaselines,
}

/// Segmentations that need no network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentationBaselines {
    /// The most frequent class of the training masks at each position of the frame, whatever the image shows.
    pub mean_mask: SegmentationBaseline,
    /// Otsu's threshold of each image's brightness, where masks are binary.
    pub otsu: Option<Otsu>,
}

/// A baseline on the test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentationBaseline {
    /// Its results.
    pub test: SegmentationEvaluation,
    /// Network minus baseline, on the same images.
    pub against: SegmentationComparison,
}

/// Otsu's threshold as a segmentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Otsu {
    /// Whether the brighter part is class 1; chosen by Dice on the validation images.
    pub bright: bool,
    /// As a baseline.
    #[serde(flatten)]
    pub baseline: SegmentationBaseline,
}

/// An evaluated test image.
pub(super) struct JudgedImage {
    pub(super) row: usize,
    pub(super) scores: SegmentedImage,
    /// With all classes except the background merged, where there are several.
    pub(super) marked: Option<SegmentedImage>,
    pub(super) tiles: usize,
}

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let trained = scoring::trained(context)?;
    let segmenter = Segmenter::new(&trained)?;
    let judge = MaskEvaluator::new(context.settings, &data);
    let val = guarantee::on_validation(context, &data, &judge, &segmenter)?;
    let (images, test) = judged(context, &data, &judge, &segmenter)?;
    let mut metrics = summarized(context, &data, &judge, &images)?;
    metrics.guarantees = guarantee::of(context, &data, [&val, &test])?;
    context.run.write_json("segmentation.json", &metrics)?;
    context.run.write(
        "segmentation.csv",
        section::per_image(&data, &metrics, &images).as_bytes(),
    )?;
    context
        .progress
        .say(format!("  test: {}", section::headline(&metrics)));
    let figures = cases::draw(context, &data, &judge, &segmenter, &images)?;
    let browsed = cases::browse(context, &data, &judge, &segmenter, &images)?;
    context.section(
        "evaluate-segmentation",
        &section::write(context, &data, &metrics, &images, (figures, browsed))?,
    )
}

/// One pass over the test images; only counts stay in memory, the predicted masks are written to `masks/`.
fn judged(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskEvaluator<'_>,
    segmenter: &Segmenter<'_>,
) -> Result<(Vec<JudgedImage>, Counted)> {
    let rows = data.splits.rows(Split::Test);
    let (folder, values) = (context.run.folder("masks")?, judge.values());
    let job = context
        .progress
        .job("segmentation, test", "images", rows.len() as u64);
    let (mut images, mut counted) = (vec![], Counted::default());
    for &row in rows {
        context.interrupt.check()?;
        let record = &data.manifest.rows()[row];
        let found = segmenter.segment(&data.manifest.read(record)?)?;
        let labels = judge.predicted(&found);
        let file = folder.join(format!("{}.png", data.file_names[row]));
        crate::pictures::save_mask(&file, (found.height, found.width), &labels, &values)?;
        if let Some(truth) = judge.truth(row)? {
            let (scores, marked) = judge.image(row, &truth, &labels)?;
            counted.add(judge, row, (&found, &truth))?;
            images.push(JudgedImage {
                row,
                scores,
                marked,
                tiles: found.tiles,
            });
        }
        job.advance(1);
    }
    if images.is_empty() {
        bail!(
            "no test image has a usable mask, so the map cannot be evaluated: provide masks of the test images \
             (data.masks), or remove the stage \"evaluate-segmentation\" from pipeline.stages"
        );
    }
    Ok((images, counted))
}

fn summarized(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskEvaluator<'_>,
    images: &[JudgedImage],
) -> Result<SegmentationMetrics> {
    let rows: Vec<usize> = images.iter().map(|image| image.row).collect();
    let scores: Vec<SegmentedImage> = images.iter().map(|image| image.scores.clone()).collect();
    let marked: Option<Vec<SegmentedImage>> =
        images.iter().map(|image| image.marked.clone()).collect();
    let settings = context.settings;
    Ok(SegmentationMetrics {
        pipeline: settings.name.clone(),
        phantom: settings.data.phantom.is_some(),
        data_fingerprint: data.manifest.fingerprint(),
        seed: settings.seed,
        classes: judge.classes.clone(),
        without_mask: data.splits.rows(Split::Test).len() - images.len(),
        tiles: images.iter().map(|image| image.tiles).max().unwrap_or(1),
        test: judge.over(&rows, &scores)?,
        marked: marked
            .map(|marked| judge.over_marked(&rows, &marked))
            .transpose()?,
        guarantees: None,
        baselines: baselines::judged(context, data, judge, &rows, &scores)?,
    })
}
