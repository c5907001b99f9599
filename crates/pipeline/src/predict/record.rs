//! What is recorded of a prediction.

use std::path::{Path, PathBuf};

use inference::Found;
use serde::{Deserialize, Serialize};

use crate::regions::reason;

/// The prediction for one image, and everything that it depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The file.
    pub image: PathBuf,
    /// SHA-256 of its bytes.
    pub image_sha256: String,
    /// Height and width of the image in the file, in pixels.
    pub original_size: [usize; 2],
    /// The part of the image that the network saw; `null` where it saw all of it.
    pub region: Option<SeenRegion>,
    /// The predicted class; `null` where the network only segments.
    pub class: Option<String>,
    /// Calibrated, per class.
    pub probabilities: Vec<ClassProbability>,
    /// Each network's own calibrated probabilities, in the order of `probabilities`, if several predict together.
    pub members: Vec<Vec<f64>>,
    /// Probability of `positive` from which it is predicted; without one, the most probable class is
    /// predicted.
    pub threshold: Option<f64>,
    /// The same as log-odds: the score of `positive` minus the other class's. This is what is compared.
    pub threshold_log_odds: Option<f64>,
    /// The class that the threshold applies to.
    pub positive: Option<String>,
    /// The classes of which the true one is one with the probability `set_coverage`, where the network's evaluation has
    /// calibrated sets. All of them: the network cannot tell; none: the image is like none of the calibration.
    #[serde(default)]
    pub set: Option<Vec<String>>,
    /// See `set`; for an image of a patient to come, like those of the evaluation.
    #[serde(default)]
    pub set_coverage: Option<f64>,
    /// The distance of the calibrated log-odds from the threshold or, without one, the calibrated probability of the
    /// class, where the network's evaluation has found from which confidence errors are rare enough.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// Whether the confidence is too low, and a person should decide.
    #[serde(default)]
    pub abstains: Option<bool>,
    /// How unlike the training images it is, where the network's checkpoint tells: above 1 it is unlike them.
    #[serde(default)]
    pub novelty: Option<f64>,
    /// Whether it is unlike the training images, so that the prediction means little, and a person should decide.
    #[serde(default)]
    pub unlike_training: Option<bool>,
    /// Divides the scores before they become probabilities.
    pub temperature: f64,
    /// Then added to them, per class.
    pub bias: Vec<f64>,
    /// Whether the prediction is the mean over the image and its mirror image.
    pub mirrored: bool,
    /// The numbers that the network computed in: `f32`, `tf32`, `bf16` or `int8`.
    pub precision: String,
    /// Whether the network was trained on phantoms only.
    pub trained_on_phantoms: bool,
    /// The preprocessing steps, in order.
    pub preprocessing: Vec<String>,
    /// SHA-256 of the checkpoint.
    pub weights_sha256: String,
    /// Version that trained the network, and version that made the prediction.
    pub versions: [String; 2],
    /// Pixels of at least this probability are green.
    pub certainty: f32,
    /// Green share of the image.
    pub green_share: Option<f64>,
    /// The overlay written, where the network has a class map and pictures were requested.
    pub overlay: Option<PathBuf>,
    /// The segmentation, where the network was trained on masks.
    pub segmentation: Option<Segmentation>,
    /// The results written as DICOM, where that was requested.
    pub dicom: Option<DicomFiles>,
}

/// DICOM files about an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DicomFiles {
    /// The segmentation, where the network was trained on masks.
    pub segmentation: Option<PathBuf>,
    /// The overlay as a secondary capture, where the network has a class map.
    pub overlay: Option<PathBuf>,
    /// Class, probabilities and areas as a structured report.
    pub report: Option<PathBuf>,
}

/// The part of an image that the network saw, in pixels of the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenRegion {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Why it is not what the segmenter found, but the typical part of the training images: `absent`, `area`, `extent`
    /// or `components` (implausible); `null` if it is what the segmenter found.
    pub fallback: Option<String>,
}

impl From<Found> for SeenRegion {
    fn from(found: Found) -> Self {
        SeenRegion {
            top: found.part.top,
            left: found.part.left,
            height: found.part.height,
            width: found.part.width,
            fallback: found.fallback.map(|why| reason(why).into()),
        }
    }
}

/// The predicted class of each pixel of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segmentation {
    /// The mask written: the most probable class of each pixel at the image's own size, in the values of the masks
    /// that the network was trained on; `null` where no pictures were requested.
    pub mask: Option<PathBuf>,
    /// Each class's share of the image.
    pub shares: Vec<ClassShare>,
    /// Number of overlapping tiles that the image was processed in; 1 where it was processed whole.
    pub tiles: usize,
}

/// The share of an image that a class covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassShare {
    /// Class of pixels.
    pub class: String,
    /// Its value in the mask.
    pub value: u16,
    /// In [0, 1].
    pub share: f64,
    /// In square millimetres, where the image states the distance between its pixels; of projections, at the detector.
    pub area_mm2: Option<f64>,
}

impl Prediction {
    /// The same prediction, with the paths of the files written relative to `folder` where they are inside it.
    pub fn relative_to(mut self, folder: &Path) -> Self {
        let dicom = self.dicom.iter_mut();
        let dicom = dicom.flat_map(|files| {
            [
                &mut files.segmentation,
                &mut files.overlay,
                &mut files.report,
            ]
        });
        let masks = self.segmentation.iter_mut().map(|found| &mut found.mask);
        let written = dicom.chain(masks).chain([&mut self.overlay]).flatten();
        for path in written {
            if let Ok(inside) = path.strip_prefix(folder) {
                *path = inside.to_owned();
            }
        }
        self
    }

    /// A readable summary: the class, its probability and the threshold, and the share of each class of pixels.
    pub fn in_words(&self) -> String {
        let of = |name: &str| {
            let found = self.probabilities.iter().find(|p| p.class == name);
            100.0 * found.map_or(f64::NAN, |p| p.probability)
        };
        let class = match (&self.class, self.threshold, &self.positive) {
            (Some(class), Some(t), Some(positive)) => Some(format!(
                "{class} (probability of {positive} {:.1} %, threshold {:.1} %)",
                of(positive),
                100.0 * t
            )),
            (Some(class), ..) => Some(format!("{class} (probability {:.1} %)", of(class))),
            (None, ..) if self.abstains == Some(true) || self.unlike_training == Some(true) => {
                Some("left to a person".into())
            }
            (None, ..) => None,
        };
        let set = self.set.as_ref().zip(self.set_coverage);
        let set = set.map(|(set, coverage)| {
            let classes = match set.as_slice() {
                [] => "none".into(),
                classes => classes.join(" or "),
            };
            format!("{:.0} % set: {classes}", 100.0 * coverage)
        });
        let unlike = (self.unlike_training == Some(true)).then(|| {
            let novelty = self.novelty.unwrap_or(f64::NAN);
            format!("unlike the training images (novelty {novelty:.1}), so a person should decide")
        });
        let doubt = (self.class.is_some() && self.abstains == Some(true) && unlike.is_none())
            .then(|| "a person should decide".to_owned());
        let shares = self.segmentation.iter().flat_map(|s| &s.shares);
        let shares = shares.map(|s| format!("{} {:.1} %", s.class, 100.0 * s.share));
        let shares = shares.collect::<Vec<_>>().join(", ");
        let shares = (!shares.is_empty()).then(|| format!("pixels: {shares}"));
        [class, set, unlike, doubt, shares]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassProbability {
    /// Class.
    pub class: String,
    /// In [0, 1].
    pub probability: f64,
}
