//! Whether an image is of a kind that the network was trained on: its features' distance from those of the training
//! images, together with the confidence of its scores.

use formats::checkpoint::{Novelty, NoveltyRule, Spread};
use metrics::{Mahalanobis, MahalanobisParts, MetricsError, energy, novelty_threshold};
use model::engine::Value;
use model::graph::Nhwc;

/// Features of images, their class scores, and whose images they are.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// `[n, d]`: the mean over the pixels of each channel of the network's [`NoveltyDetector::output`].
    pub features: &'a [f32],
    /// `[n, classes]`, before calibration.
    pub logits: &'a [f64],
    /// True classes, `[n]`.
    pub labels: &'a [usize],
    /// Patient of each image, `[n]`.
    pub patients: &'a [usize],
    /// Number of classes.
    pub classes: usize,
}

/// Detects images unlike those that a network was trained on.
#[derive(Clone, Debug)]
pub struct NoveltyDetector {
    gaussians: Mahalanobis,
    rule: NoveltyRule,
}

/// How unlike the training images an image is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoveltyScore {
    /// Squared Mahalanobis distance to the nearest class.
    pub distance: f64,
    /// Minus the log-sum-exp of the class scores.
    pub energy: f64,
    /// Both together: the rule's threshold is 1.
    pub novelty: f64,
}

impl NoveltyScore {
    /// Whether the image is unlike the training images.
    pub fn is_novel(&self) -> bool {
        self.novelty > 1.0
    }
}

impl NoveltyDetector {
    /// Fits the Gaussians to training images, and everything else to validation images, so that the share `accepted` of
    /// the images of validation patients is not novel, each patient with the same weight.
    ///
    /// # Errors
    /// No images, lengths that do not belong together, or features that do not vary.
    pub fn fit(
        output: &str,
        train: Known<'_>,
        val: Known<'_>,
        accepted: f64,
    ) -> Result<Self, MetricsError> {
        let gaussians = Mahalanobis::fit(train.features, train.labels, train.classes)?;
        let unscaled = Spread {
            median: 0.0,
            high: 1.0,
        };
        let mut detector = NoveltyDetector {
            rule: NoveltyRule {
                output: output.into(),
                shrinkage: gaussians.shrinkage(),
                distance: unscaled,
                energy: unscaled,
                threshold: 1.0,
                accepted,
            },
            // As a checkpoint stores them, so that figures are those of the network that is used.
            gaussians: rounded(gaussians)?,
        };
        detector.calibrate(val)?;
        Ok(detector)
    }

    fn calibrate(&mut self, val: Known<'_>) -> Result<(), MetricsError> {
        let quantile = |scores: &[f64], share| novelty_threshold(scores, Some(val.patients), share);
        let spread = |scores: &[f64], accepted| -> Result<Spread, MetricsError> {
            let median = quantile(scores, 0.5)?;
            let high = quantile(scores, accepted)?;
            // Scores of a few images may all be equal.
            let least = 1e-6 * median.abs().max(1.0);
            Ok(Spread {
                median,
                high: high.max(median + least),
            })
        };
        let scores = self.scores(val)?;
        let accepted = self.rule.accepted;
        let of = |part: fn(&NoveltyScore) -> f64| scores.iter().map(part).collect::<Vec<_>>();
        self.rule.distance = spread(&of(|score| score.distance), accepted)?;
        self.rule.energy = spread(&of(|score| score.energy), accepted)?;
        let joint = scores.iter().map(|s| self.joint(s.distance, s.energy));
        let threshold = quantile(&joint.collect::<Vec<_>>(), accepted)?;
        self.rule.threshold = threshold.max(f64::MIN_POSITIVE);
        Ok(())
    }

    /// The detector of a checkpoint.
    ///
    /// # Errors
    /// Values that are not those of a covariance.
    pub fn stored(novelty: Novelty) -> Result<Self, MetricsError> {
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let width = novelty.mean.len().max(1);
        let gaussians = Mahalanobis::try_from(MahalanobisParts {
            mean: wide(&novelty.mean),
            shrinkage: novelty.rule.shrinkage,
            factor: wide(&novelty.factor),
            class_means: novelty.class_means.chunks(width).map(wide).collect(),
        })?;
        Ok(NoveltyDetector {
            gaussians,
            rule: novelty.rule,
        })
    }

    /// What a checkpoint stores of it.
    pub fn store(&self) -> Novelty {
        let parts = MahalanobisParts::from(self.gaussians.clone());
        let narrow = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<_>>();
        Novelty {
            rule: self.rule.clone(),
            mean: narrow(&parts.mean),
            factor: narrow(&parts.factor),
            class_means: narrow(&parts.class_means.concat()),
        }
    }

    /// The output of the network whose mean over the pixels are the features.
    pub fn output(&self) -> &str {
        &self.rule.output
    }

    /// Scores and threshold.
    pub fn rule(&self) -> &NoveltyRule {
        &self.rule
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.gaussians.features()
    }

    /// The scores of one image: its features, `[d]`, and its class scores before calibration.
    ///
    /// # Errors
    /// Another number of features than fitted, or one that is not finite.
    pub fn score<P: Copy + Into<f64>>(
        &self,
        features: &[f32],
        logits: &[P],
    ) -> Result<NoveltyScore, MetricsError> {
        let (distance, energy) = (self.gaussians.distance(features)?, -energy(logits));
        Ok(NoveltyScore {
            distance,
            energy,
            novelty: self.joint(distance, energy) / self.rule.threshold,
        })
    }

    /// The scores of several images.
    ///
    /// # Errors
    /// As [`NoveltyDetector::score`].
    pub fn scores(&self, images: Known<'_>) -> Result<Vec<NoveltyScore>, MetricsError> {
        let features = images.features.chunks(self.features().max(1));
        let logits = images.logits.chunks(images.classes.max(1));
        let each = features.zip(logits);
        each.map(|(features, logits)| self.score(features, logits))
            .collect()
    }

    fn joint(&self, distance: f64, energy: f64) -> f64 {
        let scaled =
            |spread: &Spread, score| (score - spread.median) / (spread.high - spread.median);
        scaled(&self.rule.distance, distance).max(scaled(&self.rule.energy, energy))
    }
}

/// The same in single precision.
fn rounded(gaussians: Mahalanobis) -> Result<Mahalanobis, MetricsError> {
    let mut parts = MahalanobisParts::from(gaussians);
    let round = |values: &mut Vec<f64>| values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
    round(&mut parts.mean);
    round(&mut parts.factor);
    parts.class_means.iter_mut().for_each(round);
    Mahalanobis::try_from(parts)
}

/// The mean over the pixels of each channel, `[n, channels]`.
pub(crate) fn pooled(map: &Value) -> Vec<f32> {
    let Nhwc { h, w, c, .. } = map.shape;
    let mean = |image: &[f32]| {
        let mut sums = vec![0.0_f64; c];
        for pixel in image.chunks(c) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += f64::from(*value);
            }
        }
        sums.into_iter()
            .map(|sum| (sum / (h * w) as f64) as f32)
            .collect::<Vec<_>>()
    };
    map.data.chunks((h * w * c).max(1)).flat_map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Images {
        features: Vec<f32>,
        logits: Vec<f64>,
        labels: Vec<usize>,
        patients: Vec<usize>,
    }

    impl Images {
        /// Two clouds of four features, with confident scores.
        fn clouds(n: usize, seed: usize) -> Self {
            let noise = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5;
            let features = (0..4 * n).map(|i| noise(i) + (i / 4 % 2) as f32 * (i % 4) as f32);
            let logits = (0..n).flat_map(|i| {
                let sure = 4.0 + f64::from(noise(31 * i));
                if i % 2 == 0 { [sure, 0.0] } else { [0.0, sure] }
            });
            Images {
                features: features.collect(),
                logits: logits.collect(),
                labels: (0..n).map(|i| i % 2).collect(),
                patients: (0..n).collect(),
            }
        }

        fn known(&self) -> Known<'_> {
            Known {
                features: &self.features,
                logits: &self.logits,
                labels: &self.labels,
                patients: &self.patients,
                classes: 2,
            }
        }
    }

    #[test]
    fn far_and_unsure_images_are_novel_and_few_of_validation() {
        let (train, val) = (Images::clouds(400, 1), Images::clouds(200, 2));
        let detector =
            NoveltyDetector::fit("features.5", train.known(), val.known(), 0.95).unwrap();
        let scores = detector.scores(val.known()).unwrap();
        let novel = scores.iter().filter(|score| score.is_novel()).count();
        assert!((1..=10).contains(&novel), "{novel} of 200");
        let is_novel = |features: [f32; 4], logits: [f64; 2]| {
            detector.score(&features, &logits).unwrap().is_novel()
        };
        assert!(!is_novel([0.0; 4], [4.0, 0.0]));
        assert!(is_novel([9.0, 0.0, 0.0, 0.0], [4.0, 0.0]));
        assert!(is_novel([0.0; 4], [0.0, 0.0]));
        // A checkpoint holds all of it.
        let stored = NoveltyDetector::stored(detector.store()).unwrap();
        assert_eq!(stored.scores(val.known()).unwrap(), scores);
    }

    #[test]
    fn pools_each_channel_of_each_image() {
        let map = Value {
            data: vec![1.0, 10.0, 3.0, 30.0, 5.0, 50.0, 7.0, 70.0],
            shape: Nhwc {
                n: 2,
                h: 1,
                w: 2,
                c: 2,
            },
        };
        assert_eq!(pooled(&map), [2.0, 20.0, 6.0, 60.0]);
    }
}
