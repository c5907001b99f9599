//! How well the map finds what the masks mark: pixel by pixel at the images' own size, beside baselines that see no
//! anatomy, or nothing but anatomy.

mod baselines;
mod cases;
mod judge;
mod section;

use anyhow::{Result, bail};
use dataset::Split;
use inference::Segmenter;
use metrics::{SegmentationEvaluation, SegmentedImage};
use serde::{Deserialize, Serialize};

use crate::context::{Context, Data};
use crate::scoring;
use judge::MaskJudge;

/// `segmentation.json`. It holds no times and no paths, so that equal runs give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentationMetrics {
    /// Pipeline's name.
    pub pipeline: String,
    /// Whether the data are phantoms.
    pub phantom: bool,
    /// SHA-256 over classes, paths, labels and file contents.
    pub data_fingerprint: String,
    /// Decides every random number.
    pub seed: u64,
    /// What a pixel can be; the first is the background, which means over classes leave out.
    pub classes: Vec<String>,
    /// Test images without a usable mask, which are not judged.
    pub without_mask: usize,
    /// Most overlapping tiles that an image was read in; 1 where images were read whole.
    pub tiles: usize,
    /// On the test images: the result.
    pub test: SegmentationEvaluation,
    /// The same with all classes but the background taken as one, where there are several.
    pub marked: Option<SegmentationEvaluation>,
    /// What is to be beaten, on the same images.
    pub baselines: SegmentationBaselines,
}

/// Segmentations that need no network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentationBaselines {
    /// The class that each place of the frame has most often in the training masks, whatever the image shows.
    pub mean_mask: SegmentationEvaluation,
    /// Otsu's threshold of each image's brightness, where masks are binary.
    pub otsu: Option<Otsu>,
}

/// Otsu's threshold as a segmentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Otsu {
    /// Whether the brighter part is taken for class 1; by Dice on the validation images.
    pub bright: bool,
    /// On the test images.
    pub test: SegmentationEvaluation,
}

/// A judged test image.
pub(super) struct JudgedImage {
    pub(super) row: usize,
    pub(super) scores: SegmentedImage,
    /// All classes but the background as one, where there are several.
    pub(super) marked: Option<SegmentedImage>,
    pub(super) tiles: usize,
}

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let trained = scoring::trained(context)?;
    let segmenter = Segmenter::new(&trained)?;
    let judge = MaskJudge::new(context.settings, &data);
    let images = judged(context, &data, &judge, &segmenter)?;
    let metrics = summarized(context, &data, &judge, &images)?;
    context.run.write_json("segmentation.json", &metrics)?;
    context.run.write(
        "segmentation.csv",
        section::per_image(&data, &metrics, &images).as_bytes(),
    )?;
    context
        .progress
        .say(format!("  test: {}", section::headline(&metrics)));
    let figures = cases::draw(context, &data, &judge, &segmenter, &images)?;
    context.section(
        "evaluate-segmentation",
        &section::write(context, &data, &metrics, figures)?,
    )
}

/// One pass over the test images; of each only its counts stay in memory, its mask goes to `masks/`.
fn judged(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskJudge<'_>,
    segmenter: &Segmenter<'_>,
) -> Result<Vec<JudgedImage>> {
    let rows = data.splits.rows(Split::Test);
    let (folder, values) = (context.run.folder("masks")?, judge.values());
    let job = context
        .progress
        .job("segmentation, test", "images", rows.len() as u64);
    let mut images = vec![];
    for &row in rows {
        context.interrupt.check()?;
        let record = &data.manifest.rows()[row];
        let found = segmenter.segment(&data.manifest.read(record)?)?;
        let labels = judge.predicted(&found);
        let file = folder.join(format!("{}.png", data.file_names[row]));
        crate::pictures::save_mask(&file, (found.height, found.width), &labels, &values)?;
        if let Some(truth) = judge.truth(row)? {
            let (scores, marked) = judge.image(row, &truth, &labels)?;
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
            "no test image has a usable mask, so that the map cannot be judged: name masks of the test images, or leave the \
             stage \"evaluate-segmentation\" out"
        );
    }
    Ok(images)
}

fn summarized(
    context: &Context<'_>,
    data: &Data,
    judge: &MaskJudge<'_>,
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
        baselines: baselines::judged(context, data, judge, &rows)?,
    })
}
