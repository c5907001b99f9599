//! The settings as they stand in a TOML table. Nothing is checked here: [`crate::Augmenter::new`] does.

use serde::{Deserialize, Serialize};

use crate::Fill;

/// Which random transforms to apply: every one absent is off, and the default is all off.
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
/// border = { fraction = 0.1, probability = 0.2 }
/// erase = { min = 0.02, max = 0.1, probability = 0.2 }
/// fill = "reflect"
/// ```
///
/// `probability` is the chance that a sample gets the transform at all; left out, it is 1, as in Keras'
/// `ImageDataGenerator` and torchvision's `RandomAffine`. Ranges are drawn from uniformly.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Show a part at the size of the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Turn about the centre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Mirror. Mind what mirroring means: in a chest radiograph it moves the heart and the R/L marker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<Flip>,
    /// Enlarge or shrink about the centre, both axes alike: above 1 enlarges, as torchvision's `scale`.
    /// Keras' `zoom_range` is the inverse (0.8 enlarges) and draws each axis on its own.
    /// From 0.05 to 20. Shrinking does not average, so small factors alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zoom: Option<Factor>,
    /// Move along both axes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
    /// Slant along the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shear: Option<Shear>,
    /// Bend smoothly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic: Option<Elastic>,
    /// Multiply every value and clamp to `[0, 1]`: Keras' `brightness_range`, torchvision's `ColorJitter`.
    /// From 0 (black) up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness: Option<Factor>,
    /// Multiply the distance to the picture's mean value and clamp. From 0 (flat) up. torchvision's, whose
    /// mean is that of the grey version: the same number for grey pictures. Keras' generator has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<Factor>,
    /// Raise every value to this power: above 1 darkens the mid-tones, as torchvision's `adjust_gamma`.
    /// Above 0, up to 10. With brightness and contrast it stands in for histogram equalization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<Factor>,
    /// Add noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
    /// Blur.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blur: Option<Blur>,
    /// Blank a rectangle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
    /// Blank the outer ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub border: Option<Border>,
    /// What the geometry shows beyond the picture's edge; `{ constant = 0.0 }` if left out.
    pub fill: Fill,
}

/// Show a part of the image, of random area, shape and place, enlarged to the size of the whole.
///
/// torchvision's `RandomResizedCrop` with its defaults (GoogLeNet's, Szegedy 2014): the area is drawn uniformly, the
/// ratio evenly in its logarithm, and where ten windows in a row do not fit into the image, the largest central one
/// of an allowed ratio is taken. Both are counted on the image as it is augmented, in whole pixels of it; so a part is
/// never shrunk and nothing aliases, but a small one shows no more detail than the image holds at that size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// The smallest and the largest share of the image's area, from 0.001 to 1; torchvision's `scale`. Default 0.08
    /// and 1.
    pub area: [f64; 2],
    /// The smallest and the largest ratio of width to height, from 0.1 to 10. Default ¾ and 4/3.
    pub ratio: [f64; 2],
    /// The chance of cropping at all.
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

/// Turn by an angle between `-degrees` and `degrees`, positive clockwise as one looks at the picture.
///
/// Keras' `rotation_range` and torchvision's `degrees` draw from the same range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The largest angle in degrees, from 0 to 180.
    pub degrees: f64,
    /// The chance of turning at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Mirror. Keras' `horizontal_flip = True` is 0.5 here; torchvision's is `RandomHorizontalFlip(p)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flip {
    /// The chance of exchanging left and right.
    pub horizontal: f64,
    /// The chance of exchanging top and bottom.
    pub vertical: f64,
}

/// A factor between `min` and `max`, where 1 leaves the picture as it is (for gamma, the exponent).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// The smallest factor.
    pub min: f64,
    /// The largest factor.
    pub max: f64,
    /// The chance of applying it at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Move by up to this share of the width and, drawn apart, of the height, to sub-pixels.
///
/// Keras' `width_shift_range = height_shift_range`; torchvision's `translate`, which rounds to pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shift {
    /// The largest share of a side, from 0 to 1.
    pub fraction: f64,
    /// The chance of moving at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Slant along the rows by an angle between `-degrees` and `degrees`; positive leans the top to the right.
///
/// torchvision's `shear = degrees`. Keras' `shear_range` shears likewise and also squeezes the height by
/// the angle's cosine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shear {
    /// The largest angle in degrees, from 0 to 80.
    pub degrees: f64,
    /// The chance of shearing at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Bend smoothly: normally distributed displacements at the points of a coarse grid, interpolated bicubically in between.
///
/// The U-Net paper's augmentation for microscopy (Ronneberger 2015), whose values are the defaults. Image and mask
/// bend alike. Movements of more than about a third of the distance between grid points may fold the picture.
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
    /// The chance of bending at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Add Gaussian noise of a standard deviation between 0 and `sigma`, then clamp to `[0, 1]`.
///
/// The noise is the same in all channels of a pixel: detectors are grey, and grey pictures stay grey.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// The largest standard deviation, in the picture's values (black 0, white 1), from 0 to 1.
    pub sigma: f64,
    /// The chance of adding noise at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Blur with a Gaussian of a standard deviation between 0 and `sigma` pixels, cut at three of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blur {
    /// The largest standard deviation in pixels of the image as it is augmented, from 0 to 20.
    pub sigma: f64,
    /// The chance of blurring at all.
    #[serde(default = "always")]
    pub probability: f64,
}

/// Blank one rectangle of the image (random erasing, Zhong et al. 2017; cutout, DeVries 2017).
///
/// As torchvision's `RandomErasing`, the ratio of height to width is drawn from 0.3 to 3.3, evenly in its
/// logarithm; sides are counted in shares of the picture's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// The smallest share of the image's area, from 0 to 1.
    pub min: f64,
    /// The largest share of the image's area, from 0 to 1.
    pub max: f64,
    /// The chance of erasing at all.
    #[serde(default = "always")]
    pub probability: f64,
    /// The value written, from 0 (black, if left out) to 1.
    #[serde(default)]
    pub value: f64,
}

/// Blank the outer ring of the image, of a width between 0 and `fraction` of each side.
///
/// Against shortcuts: markers, collimator edges and tubes near the border tell one hospital or ward from
/// another, and a model that cannot count on the border has to look at the lungs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Border {
    /// The largest width as a share of a side, from 0 to 0.5.
    pub fraction: f64,
    /// The chance of blanking at all.
    #[serde(default = "always")]
    pub probability: f64,
    /// The value written, from 0 (black, if left out) to 1.
    #[serde(default)]
    pub value: f64,
}

/// U-Net's grid.
fn coarse() -> usize {
    3
}

/// U-Net's displacements.
fn ten_pixels() -> f64 {
    10.0
}

/// The probability where none is given.
fn always() -> f64 {
    1.0
}
