//! The model's scores for the images.

use anyhow::Result;
use imaging::ImageFile;
use inference::{Answer, Ensemble};
use rayon::prelude::*;
use terminal::{Interrupt, Progress};

use super::images::Images;

/// Images that are read and predicted together.
const BATCH: usize = 16;

/// The scores of all images, in their order.
#[derive(Default)]
pub(super) struct Answers {
    /// The model's class scores, `[n, classes]`.
    pub(super) scores: Vec<f64>,
    /// Calibrated, `[n, classes]`.
    pub(super) probabilities: Vec<f64>,
    /// Each network's calibrated scores, `[n, classes]`, if there are several.
    pub(super) members: Vec<Vec<f64>>,
}

/// Reads each image once and predicts it.
///
/// # Errors
/// An image that can no longer be read, scores that are not finite, or [`terminal::Interrupted`].
pub(super) fn answer(
    networks: &Ensemble,
    images: &Images,
    (progress, interrupt): (Progress, &Interrupt),
) -> Result<Answers> {
    let manifest = &images.manifest;
    let job = progress.job("inference", "images", images.rows.len() as u64);
    let mut answers = Answers::default();
    for rows in images.rows.chunks(BATCH) {
        interrupt.check()?;
        let read = rows
            .par_iter()
            .map(|row| manifest.read(&manifest.rows()[*row]));
        let files: Vec<ImageFile> = read.collect::<Result<_, _>>()?;
        for answer in networks.answer(&files)? {
            answers.add(networks, &answer);
        }
        job.advance(rows.len() as u64);
    }
    Ok(answers)
}

impl Answers {
    fn add(&mut self, networks: &Ensemble, answer: &Answer) {
        let scores = answer.scores();
        let probabilities = networks.scaling().probabilities(&scores);
        self.probabilities.extend(probabilities);
        self.scores.extend(scores);
        self.members.resize(answer.members.len(), vec![]);
        for (all, scores) in self.members.iter_mut().zip(&answer.members) {
            all.extend(scores);
        }
    }
}
