//! Predictions for a batch of images.

use imaging::ImageFile;

use crate::bundle::Bundle;
use crate::error::{InferenceError, Result};
use crate::novelty::{NoveltyDetector, NoveltyScore};
use crate::region::Found;
use crate::scores::{Input, Scores, Wanted};
use crate::segmenter::{Segmented, Segmenter};

/// A network's prediction for one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The predicted class; `None` if the network only segments.
    pub class: Option<usize>,
    /// The part of the image that the network saw; `None` if it saw all of it.
    pub region: Option<Found>,
    /// Class scores before calibration; empty for a segmenter.
    pub logits: Vec<f32>,
    /// Each network's calibrated scores, if there are several: `logits` is then their mean.
    pub members: Vec<Vec<f64>>,
    /// Calibrated probabilities, by class; empty for a segmenter.
    pub probabilities: Vec<f64>,
    /// How unlike the training images it is, where the checkpoint tells.
    pub novelty: Option<NoveltyScore>,
    /// Each pixel's probability of the displayed class ([`Bundle::shown`]), at the image's own size, if a classifier
    /// has a class map; NaN outside the region.
    pub map: Option<Vec<f32>>,
    /// The segmentation, if the network was trained on masks.
    pub segmentation: Option<Segmented>,
}

impl Answer {
    /// The class scores in double precision, as decisions use them: those of a single network, or the mean of the
    /// calibrated scores of several.
    pub fn scores(&self) -> Vec<f64> {
        match self.members.is_empty() {
            true => self.logits.iter().map(|z| f64::from(*z)).collect(),
            false => mean(&self.members),
        }
    }
}

/// The mean of the networks' scores, by class.
pub(crate) fn mean(members: &[Vec<f64>]) -> Vec<f64> {
    let classes = members.first().map_or(0, Vec::len);
    let class =
        |i: usize| members.iter().map(|scores| scores[i]).sum::<f64>() / members.len() as f64;
    (0..classes).map(class).collect()
}

impl Bundle {
    /// Predicts images the way the training run evaluated its test images. Class scores of all images are computed in
    /// one batch, maps of large images tile by tile.
    ///
    /// # Errors
    /// The network rejects an image, or it is a classifier that was trained on windows.
    pub fn answer(&self, images: &[ImageFile]) -> Result<Vec<Answer>> {
        if images.is_empty() {
            return Ok(vec![]);
        }
        let regions = self.regions(images)?;
        let mut answers = match self.classifies() {
            true => self.classified(images, &regions)?,
            false => vec![Answer::default(); images.len()],
        };
        if self.segments() {
            let segmenter = Segmenter::new(self)?;
            for ((answer, image), region) in answers.iter_mut().zip(images).zip(&regions) {
                answer.segmentation = Some(segmenter.segment_part(image, region.map(|r| r.part))?);
            }
        }
        for (answer, region) in answers.iter_mut().zip(regions) {
            answer.region = region;
        }
        Ok(answers)
    }

    fn classified(&self, images: &[ImageFile], regions: &[Option<Found>]) -> Result<Vec<Answer>> {
        if let Some((rows, columns)) = self.meta().preprocessing.window {
            return Err(InferenceError::Windows(rows, columns));
        }
        let (mut batch, mut placements) = (vec![], vec![]);
        for (image, region) in images.iter().zip(regions) {
            let framed = image.framed_part(region.map(|r| r.part), self.frame())?;
            batch.extend(self.normalized(&framed.image.values()));
            placements.push(framed.placement);
        }
        let input = Input {
            data: &batch,
            n: images.len(),
            shape: self.input_shape(),
        };
        let wanted = Wanted {
            map_of: self.has_map().then(|| self.shown()),
            features: self.novelty().map(NoveltyDetector::output),
        };
        let scores = self.scores(input, wanted, self.meta().inference.mirror)?;
        let novelty = self.novelties(&scores)?;
        let pixels = input.shape.h * input.shape.w;
        let answer = |(i, logits): (usize, &[f32])| Answer {
            class: Some(self.decide(logits)),
            logits: logits.to_vec(),
            members: vec![],
            probabilities: self.probabilities(logits),
            novelty: novelty.get(i).copied(),
            map: wanted
                .map_of
                .map(|_| placements[i].restore(&scores.maps[i * pixels..(i + 1) * pixels])),
            segmentation: None,
            region: None,
        };
        let logits = scores.logits.chunks(self.meta().classes.len());
        Ok(logits.enumerate().map(answer).collect())
    }

    /// The novelty of each image of a batch; none where the checkpoint does not tell.
    fn novelties(&self, scores: &Scores) -> Result<Vec<NoveltyScore>> {
        let Some(detector) = self.novelty() else {
            return Ok(vec![]);
        };
        let logits = scores.logits.chunks(self.meta().classes.len());
        let each = scores.features.chunks(detector.features()).zip(logits);
        let each = each.map(|(features, logits)| detector.score(features, logits));
        // The checkpoint's features are those of the network, so that only an overflow is left.
        each.collect::<std::result::Result<_, _>>()
            .map_err(|_| InferenceError::NotFinite)
    }
}
