//! The settings as written in a TOML table. They are not checked here but in [`crate::Augmenter::new`].

use serde::{Deserialize, Serialize};

use crate::Fill;

/// Which random transforms to apply. A transform that is absent is off; by default all are off.
///
/// ```toml
/// [augment]
/// random_resized_crop = { area = [0.08, 1.0], ratio = [0.75, 1.3333] }
/// rotation = { degrees = 15, probability = 0.5 }
/// flip = { horizontal = 0.5, vertical = 0.0 }
/// zoom = { min = 0.9, max = 1.1 }
/// shift = { fraction = 0.1 }
/// shear = { degrees = 5 }
/// elastic = { grid = 3, sigma = 10.0 }
/// brightness = { min = 0.8, max = 1.2 }
/// contrast = { min = 0.8, max = 1.2 }
/// gamma = { min = 0.8, max = 1.25 }
/// blur = { sigma = 1.0, probability = 0.1 }
/// noise = { sigma = 0.03, probability = 0.2 }
/// jpeg = { min = 40, max = 95, probability = 0.3 }
/// border = { fraction = 0.1, probability = 0.2 }
/// erase = { min = 0.02, max = 0.1, probability = 0.2 }
/// fill = "reflect"
/// mixup = { alpha = 0.2 }
/// cutmix = { alpha = 1.0, probability = 0.5 }
/// ```
///
/// `probability` is the probability that a transform is applied to a sample at all; by default it is 1, as in Keras'
/// `ImageDataGenerator` and torchvision's `RandomAffine`. Values are drawn uniformly from their range.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Enlarge a part to the size of the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Rotate about the centre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Mirror. Beware: in a chest radiograph, mirroring moves the heart and the R/L marker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<Flip>,
    /// Enlarge or shrink about the centre, by the same factor on both axes: above 1 enlarges, as torchvision's
    /// `scale`. Keras' `zoom_range` is the inverse (0.8 enlarges) and draws each axis independently.
    /// From 0.05 to 20. Shrinking does not average, so small factors alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zoom: Option<Factor>,
    /// Translate along both axes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
    /// Shear along the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shear: Option<Shear>,
    /// Deform smoothly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic: Option<Elastic>,
    /// Multiply every value and clamp to `[0, 1]`: Keras' `brightness_range`, torchvision's `ColorJitter`.
    /// From 0 (black) up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness: Option<Factor>,
    /// Multiply the difference from the image's mean value and clamp. From 0 (flat) up. As in torchvision, except that
    /// its mean is that of the grey version, which is the same for grey images. Keras' generator has no counterpart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<Factor>,
    /// Raise every value to this power: above 1 darkens the mid-tones, as torchvision's `adjust_gamma`.
    /// Above 0, up to 10. With brightness and contrast it substitutes for histogram equalization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<Factor>,
    /// Add noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
    /// Blur.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blur: Option<Blur>,
    /// Compress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jpeg: Option<Jpeg>,
    /// Blank a rectangle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
    /// Blank the outer ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub border: Option<Border>,
    /// What the geometry shows beyond the image's edge; `{ constant = 0.0 }` by default.
    pub fill: Fill,
    /// Blend each image of a batch with another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<Mixup>,
    /// Paste a rectangle of another image of the batch into each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<Cutmix>,
}

/// Enlarge a part of the image, of random area, shape and position, to the size of the whole.
///
/// torchvision's `RandomResizedCrop` with its defaults (GoogLeNet's, Szegedy 2014): the area is drawn uniformly, the
/// ratio uniformly in its logarithm, and if ten windows in a row do not fit into the image, the largest central one
/// of an allowed ratio is used. Both are measured on the image as it is augmented, in whole pixels; so a part is never
/// shrunk and nothing aliases, but a small part shows no more detail than the image has at that size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// The smallest and the largest fraction of the image's area, from 0.001 to 1; torchvision's `scale`. Default 0.08
    /// and 1.
    pub area: [f64; 2],
    /// The smallest and the largest ratio of width to height, from 0.1 to 10. Default ¾ and 4/3.
    pub ratio: [f64; 2],
    /// The probability of cropping at all.
    pub probability: f64,
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self {
            area: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            probability: 1.0,
        }
    }
}

/// Rotate by an angle between `-degrees` and `degrees`, positive clockwise as displayed.
///
/// Keras' `rotation_range` and torchvision's `degrees` draw from the same range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The largest angle in degrees, from 0 to 180.
    pub degrees: f64,
    /// The probability of rotating at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Mirror. Keras' `horizontal_flip = True` is 0.5 here; torchvision's is `RandomHorizontalFlip(p)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flip {
    /// The probability of exchanging left and right.
    pub horizontal: f64,
    /// The probability of exchanging top and bottom.
    pub vertical: f64,
}

/// A factor between `min` and `max`, where 1 leaves the image unchanged (for gamma, the exponent).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// The smallest factor.
    pub min: f64,
    /// The largest factor.
    pub max: f64,
    /// The probability of applying it at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Translate by up to this fraction of the width and, drawn independently, of the height, with sub-pixel precision.
///
/// Keras' `width_shift_range = height_shift_range`; torchvision's `translate`, which rounds to pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shift {
    /// The largest fraction of a side, from 0 to 1.
    pub fraction: f64,
    /// The probability of translating at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Shear along the rows by an angle between `-degrees` and `degrees`; positive leans the top to the right.
///
/// torchvision's `shear = degrees`. Keras' `shear_range` does the same and also scales the height by
/// the angle's cosine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shear {
    /// The largest angle in degrees, from 0 to 80.
    pub degrees: f64,
    /// The probability of shearing at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Deform smoothly: normally distributed displacements at the points of a coarse grid, interpolated bicubically.
///
/// The U-Net paper's augmentation for microscopy (Ronneberger 2015), whose values are the defaults. Image and mask
/// are deformed together. Displacements of more than about a third of the grid spacing may fold the image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elastic {
    /// Points along each side of the grid, from 2 to 32. Default 3.
    #[serde(default = "coarse")]
    pub grid: usize,
    /// Standard deviation of the displacements along each axis, in pixels of the image as it is augmented, from 0 to
    /// 1000. Default 10.
    #[serde(default = "ten_pixels")]
    pub sigma: f64,
    /// The probability of deforming at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Add Gaussian noise of a standard deviation between 0 and `sigma`, then clamp to `[0, 1]`.
///
/// The noise is the same in all channels of a pixel, because detectors are monochrome; grey images stay grey.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// The largest standard deviation, in image values (black 0, white 1), from 0 to 1.
    pub sigma: f64,
    /// The probability of adding noise at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Blur with a Gaussian of a standard deviation between 0 and `sigma` pixels, truncated at three standard deviations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blur {
    /// The largest standard deviation in pixels of the image as it is augmented, from 0 to 20.
    pub sigma: f64,
    /// The probability of blurring at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Compress as JPEG, with a quality between `min` and `max`, and decompress: archives and exports do so, each at its own
/// quality. Grey images stay grey; colours keep their resolution (4:4:4).
///
/// The artefacts are those at the size of the network's input, at which an image is augmented: in a file of higher
/// resolution the blocks are smaller.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jpeg {
    /// The lowest quality in libjpeg's sense, from 1 to 100.
    pub min: u8,
    /// The highest quality.
    pub max: u8,
    /// The probability of compressing at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Blank one rectangle of the image (random erasing, Zhong et al. 2017; cutout, DeVries 2017).
///
/// As in torchvision's `RandomErasing`, the ratio of height to width is drawn from 0.3 to 3.3, uniformly in its
/// logarithm; it relates the sides as fractions of the image's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// The smallest fraction of the image's area, from 0 to 1.
    pub min: f64,
    /// The largest fraction of the image's area, from 0 to 1.
    pub max: f64,
    /// The probability of erasing at all.
    #[serde(default = "always")]
    pub probability: f64,
    /// The value written, from 0 (black, the default) to 1.
    #[serde(default)]
    pub value: f64,
}

/// Blank the outer ring of the image, of a width between 0 and `fraction` of each side.
///
/// This counters shortcut learning: markers, collimator edges and tubes near the border identify the hospital or ward,
/// and a model that cannot rely on the border has to use the lungs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Border {
    /// The largest width as a fraction of a side, from 0 to 0.5.
    pub fraction: f64,
    /// The probability of blanking at all.
    #[serde(default = "always")]
    pub probability: f64,
    /// The value written, from 0 (black, the default) to 1.
    #[serde(default)]
    pub value: f64,
}

/// Blend each image of a batch with another one, and their labels in the same ratio (Zhang et al. 2018; timm's `Mixup`
/// in its mode `batch`). See [`Mixer`](crate::Mixer).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixup {
    /// Both parameters of the beta distribution that the image's own share is drawn from, from 0.001 to 1000: well
    /// below 1, most images are hardly mixed. timm's `mixup_alpha`.
    pub alpha: f64,
    /// The probability of mixing a batch.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Paste a rectangle of another image of the batch into each, at the same place; labels are mixed in the ratio of the
/// areas (Yun et al. 2019; timm's `Mixup` in its mode `batch`). See [`Mixer`](crate::Mixer).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cutmix {
    /// Both parameters of the beta distribution that the image's own share of the area is drawn from, from 0.001 to
    /// 1000. timm's `cutmix_alpha`.
    pub alpha: f64,
    /// The probability of mixing a batch.
    #[serde(default = "always")]
    pub probability: f64,
    /// If `mixup` is on, too: the probability that a batch is left to cutmix rather than to mixup. ½ if omitted.
    /// timm's `switch_prob`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<f64>,
}

/// The grid of the U-Net paper.
fn coarse() -> usize {
    3
}

/// The displacements of the U-Net paper.
fn ten_pixels() -> f64 {
    10.0
}

/// The default probability.
fn always() -> f64 {
    1.0
}
