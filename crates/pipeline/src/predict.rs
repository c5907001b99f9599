//! Applies a trained network to new images: class, probability, overlay, and a record of how the prediction was made.

mod dicom;
mod pictures;
mod record;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use imaging::{Fit, ImageFile};
pub use inference::InferencePrecision;
use inference::{Answer, Bundle, Ensemble, Segmented};
use metrics::{DecisionRule, softmax};
use model::engine::{Device, Precision};
use rayon::prelude::*;

use self::dicom::Results;
pub use self::dicom::{DicomObjects, Segments};
pub use self::record::{
    ClassProbability, ClassShare, DicomFiles, Prediction, SeenRegion, Segmentation,
};
use crate::scoring;

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

/// Said wherever a network introduces itself.
pub const INTENDED_USE: &str = "for research; not a medical device. Its figures hold for images like those it was evaluated on";

/// A loaded network, ready to predict.
pub struct Predictor {
    networks: Ensemble,
    sha256: String,
    /// Whether and how results are also written as DICOM.
    dicom: Option<Segments>,
    /// Whether overlays and masks are written.
    pictures: bool,
    /// Whether no class is predicted where a person should decide.
    abstaining: bool,
}

/// An image that has been read, with what is needed to write its results.
pub struct Pending<'p> {
    image: ImageFile,
    /// The path of its overlay and mask, without their endings.
    files: PathBuf,
    dicom: Option<Results<'p>>,
}

/// A prediction, with what its pictures are drawn from.
pub struct Found {
    /// The prediction; its paths of pictures are `None`.
    pub prediction: Prediction,
    /// Each pixel's probability of the displayed class.
    map: Option<Vec<f32>>,
    segmented: Option<Segmented>,
}

/// Each pixel's probability of a class, at the image's own size.
pub struct ClassMap<'f> {
    /// The class.
    pub class: &'f str,
    /// Row by row; NaN where the network did not look.
    pub probabilities: Cow<'f, [f32]>,
}

impl Predictor {
    /// Opens a run's folder or a checkpoint file.
    ///
    /// # Errors
    /// The file does not exist or is damaged.
    pub fn open(run_or_checkpoint: &Path) -> Result<Self> {
        Self::open_on(run_or_checkpoint, Device::Cpu, Precision::F32.into())
    }

    /// As [`Predictor::open`], on the given device and in the given precision.
    ///
    /// # Errors
    /// As [`Predictor::open`], a GPU that is missing or unsuitable, or int8 of a network that has not been quantized.
    pub fn open_on(
        run_or_checkpoint: &Path,
        device: Device,
        precision: InferencePrecision,
    ) -> Result<Self> {
        let path = scoring::find(run_or_checkpoint)?;
        Ok(Predictor {
            networks: Ensemble::load(&path, device, precision)?,
            sha256: crate::hash::of_file(&path)?,
            dicom: None,
            pictures: true,
            abstaining: false,
        })
    }

    /// Also writes results as DICOM files, beside the PNG files; images that are not DICOM are then refused.
    pub fn with_dicom(mut self, segments: Segments) -> Self {
        self.dicom = Some(segments);
        self
    }

    /// Predicts no class where a person should decide.
    ///
    /// # Errors
    /// The network's run has neither found from which confidence errors are rare enough, nor which images are unlike the
    /// training images.
    pub fn abstaining(mut self) -> Result<Self> {
        let first = self.networks.first();
        let scores = vec![0.0; first.meta().classes.len()];
        if self.networks.abstains(&scores).is_none() && !self.networks.has_novelty() {
            bail!(
                "--abstain needs a network whose run has found from which confidence errors are rare enough, or which images \
                 are unlike the training images; the report says whether it has (Sets and abstention; Images unlike the \
                 training images)"
            );
        }
        self.abstaining = true;
        Ok(self)
    }

    /// Writes neither overlays nor masks.
    pub fn without_pictures(mut self) -> Self {
        self.pictures = false;
        self
    }

    /// The precision that the networks compute in.
    pub fn precision(&self) -> InferencePrecision {
        self.networks.first().precision()
    }

    /// SHA-256 of the checkpoint, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
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
        let pending = self.read(image, files)?;
        let mut predicted = self.predict_batch(vec![pending]);
        let none = || anyhow!("the network returned no prediction");
        predicted.pop().unwrap_or_else(|| Err(none()))
    }

    /// Reads and decodes an image, whose results are to be written to `files` with a suffix each.
    ///
    /// # Errors
    /// The image cannot be read.
    pub fn read(&self, image: &Path, files: &Path) -> Result<Pending<'_>> {
        if image.is_dir() {
            bail!("{} is a folder, not an image", image.display());
        }
        tracing::debug!(image = %image.display(), "reading");
        let decoder = self.networks.first().decoder();
        let bytes = decoder.read(image);
        let bytes = bytes.map_err(|reason| anyhow!("{}: {reason}", image.display()))?;
        let dicom = self.dicom.map(|segments| {
            let how = (segments, self.sha256.as_str());
            Results::of((image, &bytes), decoder, how)
        });
        let dicom = dicom.transpose()?;
        Ok(Pending {
            image: ImageFile::of_bytes(image, &bytes, decoder)?,
            files: files.into(),
            dicom,
        })
    }

    /// Predicts images in one batch, and writes their results. An image that the network rejects, or whose results
    /// cannot be written, does not affect the others.
    pub fn predict_batch(&self, batch: Vec<Pending<'_>>) -> Vec<Result<Prediction>> {
        let (images, outputs): (Vec<ImageFile>, Vec<_>) = batch
            .into_iter()
            .map(|pending| (pending.image, (pending.files, pending.dicom)))
            .unzip();
        let found = self.find(&images);
        let each = images.par_iter().zip(outputs).zip(found);
        let write = |((image, outputs), found): ((&ImageFile, Outputs<'_>), Result<_>)| {
            self.written(image, found?, outputs)
        };
        each.map(write).collect()
    }

    /// Predicts images in one batch, and writes nothing. An image that the network rejects does not affect the others.
    pub fn find(&self, images: &[ImageFile]) -> Vec<Result<Found>> {
        let answers = images.iter().zip(self.answers(images));
        let found = answers.map(|(image, answer)| Ok(self.recorded(image, answer?)));
        found.collect()
    }

    /// The classes that [`Predictor::map`] has probabilities of: those of pixels if the network was trained on masks,
    /// otherwise the one that overlays show.
    pub fn mapped_classes(&self) -> Vec<&str> {
        let bundle = self.networks.first();
        let classes = bundle.map_classes().iter().map(String::as_str);
        match (bundle.segments(), bundle.has_map()) {
            (true, _) => classes.collect(),
            (false, true) => classes.skip(bundle.shown()).take(1).collect(),
            (false, false) => vec![],
        }
    }

    /// The probabilities of one of the [`Predictor::mapped_classes`]; `None` if there is no such class.
    pub fn map<'f>(&'f self, found: &'f Found, index: usize) -> Option<ClassMap<'f>> {
        let class = *self.mapped_classes().get(index)?;
        let probabilities = match &found.segmented {
            Some(segmented) => {
                let pixels = segmented.probabilities.chunks_exact(segmented.classes);
                pixels.map(|pixel| pixel[index]).collect()
            }
            None => found.map.as_deref().map(Cow::Borrowed)?,
        };
        Some(ClassMap {
            class,
            probabilities,
        })
    }

    /// The networks' answers: of all images at once or, if one of them is rejected, of each on its own.
    fn answers(&self, images: &[ImageFile]) -> Vec<Result<Answer>> {
        match self.networks.answer(images) {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if images.len() == 1 => vec![Err(error.into())],
            Err(_) => images
                .chunks(1)
                .flat_map(|image| self.answers(image))
                .collect(),
        }
    }

    /// Records everything that a prediction depends on.
    fn recorded(&self, image: &ImageFile, answer: Answer) -> Found {
        let meta = self.networks.first().meta();
        let (height, width) = image.size();
        let certainty = meta.inference.certainty;
        let named = meta.classes.iter().zip(&answer.probabilities);
        let segmented = answer.segmentation.as_ref();
        let names = |classes: Vec<usize>| {
            let names = classes
                .into_iter()
                .filter_map(|class| meta.classes.get(class));
            names.cloned().collect()
        };
        let set = self.networks.set(&answer.probabilities);
        let accepted = self.networks.abstains(&answer.scores());
        let abstains = accepted.map(|(_, abstains)| abstains);
        let unlike = answer.novelty.map(|score| score.is_novel());
        let doubtful = abstains == Some(true) || unlike == Some(true);
        let class = answer.class.filter(|_| !(self.abstaining && doubtful));
        let prediction = Prediction {
            image: image.path().into(),
            image_sha256: image.sha256().into(),
            original_size: [height, width],
            region: answer.region.map(SeenRegion::from),
            set_coverage: set.as_ref().map(|(rule, _)| rule.coverage),
            set: set.map(|(_, classes)| names(classes)),
            confidence: accepted.map(|(confidence, _)| confidence),
            abstains,
            novelty: answer.novelty.map(|score| score.novelty),
            unlike_training: unlike,
            class: class.and_then(|class| meta.classes.get(class)).cloned(),
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
            precision: self.precision().to_string(),
            trained_on_phantoms: meta.origin.phantoms,
            preprocessing: self.steps(),
            weights_sha256: self.sha256.clone(),
            versions: [meta.origin.version.clone(), crate::VERSION.into()],
            certainty,
            green_share: answer.map.as_ref().map(|map| share_from(map, certainty)),
            overlay: None,
            segmentation: segmented.map(|found| self.shares(image, found)),
            dicom: None,
        };
        Found {
            prediction,
            map: answer.map,
            segmented: answer.segmentation,
        }
    }

    /// What of an image each class covers.
    fn shares(&self, image: &ImageFile, found: &Segmented) -> Segmentation {
        let pixels = (found.height * found.width) as f64;
        let pixel_mm2 = image.header().and_then(|header| header.pixel_spacing);
        let pixel_mm2 = pixel_mm2.map(|spacing| spacing.pixel_mm2());
        let bundle = self.networks.first();
        let classes = bundle.map_classes().iter().cloned();
        let shares = classes.zip(bundle.map_values()).zip(found.shares());
        Segmentation {
            mask: None,
            shares: shares
                .map(|((class, value), share)| ClassShare {
                    class,
                    value,
                    share,
                    area_mm2: pixel_mm2.map(|mm2| share * pixels * mm2),
                })
                .collect(),
            tiles: found.tiles,
        }
    }

    fn threshold_log_odds(&self) -> Option<f64> {
        match self.networks.rule() {
            DecisionRule::Threshold { log_odds, .. } => Some(log_odds),
            DecisionRule::MostProbable => None,
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
}

/// Where an image's results go: their paths without endings, and how they are written as DICOM.
type Outputs<'p> = (PathBuf, Option<Results<'p>>);

/// The share of values that are at least `least`.
fn share_from(map: &[f32], least: f32) -> f64 {
    let green = map.iter().filter(|v| **v >= least).count();
    green as f64 / map.len() as f64
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
    let reading = p.reading_steps().into_iter();
    reading.chain(cut).chain(rest).collect()
}
