//! One sample of a batch.

use std::sync::Arc;

use imaging::Placement;

use random::hash;

/// An image, its mask and its label, after resizing and before normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// HWC, values in [0, 1].
    pub image: Vec<f32>,
    /// HW, class numbers (0 and 1 in a binary mask), NaN where the class is unknown: ignored values
    /// and the border around a padded image. `None` if the image has no mask.
    pub mask: Option<Vec<f32>>,
    /// Pixels down.
    pub height: usize,
    /// Pixels across.
    pub width: usize,
    /// 1 or 3.
    pub channels: usize,
    /// Index of the class.
    pub label: usize,
    /// Row of the manifest.
    pub row: usize,
    /// Where the file's pixels are in `image`, before any transform.
    pub placement: Placement,
}

impl Sample {
    /// Whether the buffers have the lengths that the shape implies; a transform must keep them.
    pub(crate) fn is_whole(&self) -> bool {
        let pixels = self.height * self.width;
        self.image.len() == pixels * self.channels
            && self.mask.as_ref().is_none_or(|mask| mask.len() == pixels)
    }
}

/// Everything that the randomness of a sample may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleKey {
    /// Seed of the run.
    pub seed: u64,
    /// Epoch, counted by the caller of [`Loader::epoch`](super::Loader::epoch).
    pub epoch: u64,
    /// Row of the manifest.
    pub index: u64,
}

impl SampleKey {
    /// A well-mixed seed for a transform's own generator.
    pub fn rng_seed(&self) -> u64 {
        hash(self.seed, &[self.epoch, self.index])
    }
}

/// Changes a sample in place, image and mask in the same way, keeping shape and range.
pub type Transform = Arc<dyn Fn(&mut Sample, SampleKey) + Send + Sync>;
