//! Applies a trained network to new images: class, probability, overlay, and a record of how the prediction was made.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use dataset::{OVERLAY, PREDICTED_MASK, Spacing};
use imaging::{Fit, Frame, ImageFile};
use inference::{Answer, Bundle, Ensemble, Found, Segmented};
use metrics::{DecisionRule, softmax};
use model::engine::{Device, Precision};
use report::{Plane, overlay};
use serde::Serialize;

use crate::pictures::plane;
use crate::regions::reason;
use crate::scoring;

/// The prediction for one image, and everything that it depends on.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Probability of `positive` from which it is predicted; without one, the class with the largest score is
    /// predicted.
    pub threshold: Option<f64>,
    /// The same as log-odds: the score of `positive` minus the other class's. This is what is compared.
    pub threshold_log_odds: Option<f64>,
    /// The class that the threshold applies to.
    pub positive: Option<String>,
    /// Divides the scores before they become probabilities.
    pub temperature: f64,
    /// Then added to them, per class.
    pub bias: Vec<f64>,
    /// Whether the prediction is the mean over the image and its mirror image.
    pub mirrored: bool,
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
    /// The overlay written, where the network has a class map.
    pub overlay: Option<PathBuf>,
    /// The segmentation, where the network was trained on masks.
    pub segmentation: Option<Segmentation>,
}

/// The part of an image that the network saw, in pixels of the image.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Segmentation {
    /// The mask written: the most probable class of each pixel at the image's own size, in the values of the masks
    /// that the network was trained on.
    pub mask: PathBuf,
    /// Each class's share of the image.
    pub shares: Vec<ClassShare>,
    /// Number of overlapping tiles that the image was processed in; 1 where it was processed whole.
    pub tiles: usize,
}

/// The share of an image that a class covers.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
            (None, ..) => None,
        };
        let shares = self.segmentation.iter().flat_map(|s| &s.shares);
        let shares = shares.map(|s| format!("{} {:.1} %", s.class, 100.0 * s.share));
        let shares = shares.collect::<Vec<_>>().join(", ");
        let shares = (!shares.is_empty()).then(|| format!("pixels: {shares}"));
        [class, shares]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassProbability {
    /// Class.
    pub class: String,
    /// In [0, 1].
    pub probability: f64,
}

/// Refuses a network that was trained on phantoms only, unless that is allowed.
///
/// # Errors
/// The network's predictions on real images would be meaningless.
pub fn check_origin(networks: &Ensemble, path: &Path, phantoms_allowed: bool) -> Result<()> {
    let phantoms = |network: &Bundle| network.meta().origin.phantoms;
    if networks.members().any(phantoms) && !phantoms_allowed {
        bail!(
            "{} was trained on phantoms only: its predictions on real images are meaningless. Train on real images \
             (`cargo xtask pipeline NAME --data DIR`), or pass --allow-phantom-model to use it on phantoms",
            path.display()
        );
    }
    Ok(())
}

/// A loaded network, ready to predict.
pub struct Predictor {
    networks: Ensemble,
    sha256: String,
}

impl Predictor {
    /// Opens a run's folder or a checkpoint file.
    ///
    /// # Errors
    /// The file does not exist or is damaged.
    pub fn open(run_or_checkpoint: &Path) -> Result<Self> {
        Self::open_on(run_or_checkpoint, Device::Cpu)
    }

    /// As [`Predictor::open`], on the given device.
    ///
    /// # Errors
    /// As [`Predictor::open`], and a GPU that is missing or unsuitable.
    pub fn open_on(run_or_checkpoint: &Path, device: Device) -> Result<Self> {
        let path = scoring::find(run_or_checkpoint)?;
        Ok(Predictor {
            networks: Ensemble::load(&path, device, Precision::F32)?,
            sha256: crate::hash::of_file(&path)?,
        })
    }

    /// The networks.
    pub fn networks(&self) -> &Ensemble {
        &self.networks
    }

    /// Predicts one image exactly as the run that trained the network evaluates its test images; overlay and mask are
    /// written into `folder`, under the image's name.
    ///
    /// # Errors
    /// The image cannot be read, or the overlay or mask cannot be written.
    pub fn predict(&self, image: &Path, folder: &Path) -> Result<Prediction> {
        let files = crate::beside(&[image.to_path_buf()], Some(folder));
        self.predict_as(image, files.first().map_or(folder, PathBuf::as_path))
    }

    /// As [`Predictor::predict`], but the paths of overlay and mask are `files` with a suffix each: for several images,
    /// whose names may collide ([`crate::beside`]).
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn predict_as(&self, image: &Path, files: &Path) -> Result<Prediction> {
        if image.is_dir() {
            bail!(
                "{} is a folder: pass its images, such as {}",
                image.display(),
                image.join("*.png").display()
            );
        }
        tracing::debug!(image = %image.display(), "reading");
        let image = ImageFile::read(image, self.networks.first().decoder())?;
        if let Some(folder) = files.parent() {
            files::create_folder(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let answers = self.networks.answer(std::slice::from_ref(&image))?;
        let answer = answers
            .into_iter()
            .next()
            .context("the network returned no prediction")?;
        self.recorded(&image, files, answer)
    }

    /// Writes the overlay and mask of a prediction, and records everything that it depends on.
    fn recorded(&self, image: &ImageFile, files: &Path, answer: Answer) -> Result<Prediction> {
        let meta = self.networks.first().meta();
        let (height, width) = image.size();
        let drawn = answer.map.map(|map| self.draw(image, files, map));
        let drawn = drawn.transpose()?;
        let segmentation = answer
            .segmentation
            .map(|found| self.segmentation(image, files, &found));
        let named = meta.classes.iter().zip(&answer.probabilities);
        Ok(Prediction {
            image: image.path().into(),
            image_sha256: image.sha256().into(),
            original_size: [height, width],
            region: answer.region.map(SeenRegion::from),
            class: answer
                .class
                .and_then(|class| meta.classes.get(class))
                .cloned(),
            probabilities: named
                .map(|(class, p)| ClassProbability {
                    class: class.clone(),
                    probability: *p,
                })
                .collect(),
            members: answer
                .members
                .iter()
                .map(|scores| softmax(scores))
                .collect(),
            threshold: self.threshold(),
            threshold_log_odds: self.threshold_log_odds(),
            positive: answer.class.map(|_| meta.classes[meta.positive].clone()),
            temperature: self.networks.scaling().temperature(),
            bias: self.networks.scaling().bias().to_vec(),
            mirrored: meta.inference.mirror,
            trained_on_phantoms: meta.origin.phantoms,
            preprocessing: self.steps(),
            weights_sha256: self.sha256.clone(),
            versions: [meta.origin.version.clone(), crate::VERSION.into()],
            certainty: meta.inference.certainty,
            green_share: drawn.as_ref().map(|(_, share)| *share),
            overlay: drawn.map(|(path, _)| path),
            segmentation: segmentation.transpose()?,
        })
    }

    /// Writes the mask at the image's own size.
    fn segmentation(
        &self,
        image: &ImageFile,
        files: &Path,
        found: &Segmented,
    ) -> Result<Segmentation> {
        let values = self.networks.first().map_values();
        let mask = with_ending(files, PREDICTED_MASK);
        crate::pictures::save_mask(&mask, (found.height, found.width), &found.labels(), &values)?;
        let pixels = (found.height * found.width) as f64;
        let pixel_mm2 = image.header().and_then(Spacing::of).map(|s| s.pixel_mm2());
        let classes = self.networks.first().map_classes().iter().cloned();
        let shares = classes.zip(values).zip(found.shares());
        Ok(Segmentation {
            mask,
            shares: shares
                .map(|((class, value), share)| ClassShare {
                    class,
                    value,
                    share,
                    area_mm2: pixel_mm2.map(|mm2| share * pixels * mm2),
                })
                .collect(),
            tiles: found.tiles,
        })
    }

    fn threshold_log_odds(&self) -> Option<f64> {
        match self.networks.rule() {
            DecisionRule::Threshold { log_odds, .. } => Some(log_odds),
            DecisionRule::Largest => None,
        }
    }

    /// The threshold as a calibrated probability.
    fn threshold(&self) -> Option<f64> {
        let at = |log_odds| {
            let positive = self.networks.first().meta().positive;
            self.networks.scaling().probability_at(log_odds, positive)
        };
        self.threshold_log_odds().map(at)
    }

    /// The preprocessing steps; those of each network where they differ.
    fn steps(&self) -> Vec<String> {
        let each: Vec<Vec<String>> = self.networks.members().map(steps).collect();
        let numbered = each.iter().enumerate();
        match each.windows(2).all(|pair| pair[0] == pair[1]) {
            true => each.into_iter().next().unwrap_or_default(),
            false => numbered
                .flat_map(|(i, own)| {
                    own.iter()
                        .map(move |step| format!("network {}: {step}", i + 1))
                })
                .collect(),
        }
    }

    /// Writes the overlay at the image's own size; returns its path and its green share.
    fn draw(&self, image: &ImageFile, files: &Path, map: Vec<f32>) -> Result<(PathBuf, f64)> {
        let (height, width) = image.size();
        let map = Plane::new(width as u32, height as u32, map)?;
        let original = plane(&image.framed(Frame {
            height,
            width,
            channels: 1,
            fit: Fit::Stretch,
        })?)?;
        let path = with_ending(files, OVERLAY);
        let certainty = self.networks.first().meta().inference.certainty;
        crate::pictures::save_png(&path, &overlay(&original, &map, certainty)?)?;
        let green = map.values().iter().filter(|v| **v >= certainty).count();
        Ok((path, green as f64 / map.values().len() as f64))
    }
}

/// The preprocessing steps of a network, in order.
fn steps(network: &Bundle) -> Vec<String> {
    let p = &network.meta().preprocessing;
    let cut = network
        .sees_region()
        .then(|| "cut to the region".to_owned());
    let resize = match p.fit {
        Fit::Stretch => format!("resize to {}x{}", p.height, p.width),
        Fit::Pad => format!(
            "resize to fit {}x{}, keeping the aspect ratio, black border",
            p.height, p.width
        ),
    };
    let channels = match p.channels {
        1 => "grey",
        _ => "grey replicated to RGB",
    };
    let rest = [
        resize,
        channels.into(),
        "divide by full scale".into(),
        format!("subtract {:?}, divide by {:?}", p.mean, p.std),
    ];
    let frame = p.frame.map(|frame| format!("frame {frame}"));
    let tones = frame.into_iter().chain(p.tones.steps());
    tones.chain(cut).chain(rest).collect()
}

/// The path with a suffix appended to its name, which may contain dots.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}
