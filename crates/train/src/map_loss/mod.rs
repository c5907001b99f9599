//! Losses on the class map, for runs whose images have masks.
//!
//! Losses on one class use that class's log odds against all others: their sigmoid is the class's softmax, the value
//! that overlays threshold. Their masks contain 0 or 1. Losses over all classes use the map's softmax, and their masks
//! contain class numbers. NaN, or the label to be ignored, marks a pixel (or a whole image) whose truth is unknown and
//! which therefore does not count. Pixels may have weights.

mod binary;
mod multiclass;
mod pixels;
mod truth;

use dfdx::prelude::{Cpu, CpuError, PutTape, ReshapeTo, SplitTape, Tape, Tensor, TryAdd, TryMul};
use dfdx::shapes::HasShape;
use serde::{Deserialize, Serialize};

use super::loss::{Logits, Loss, LossError, log_odds};

use pixels::Pixels;

pub use truth::{Masks, Truth};

/// Class map before softmax, `[n, h, w, classes]`.
pub type ClassMap<T> = Tensor<(usize, usize, usize, usize), f32, Cpu, T>;

/// The loss on the class map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapLoss {
    /// None: the map is trained by the image's label alone, as in the Eff-UNet paper.
    #[default]
    None,
    /// One class: binary cross-entropy, averaged over pixels.
    Bce,
    /// One class: soft Dice over all pixels of the batch (Milletari 2016; segmentation_models.pytorch's `DiceLoss`,
    /// smooth 1); 0 for a batch without any marked pixel.
    Dice,
    /// One class: the sum of `Bce` and `Dice`.
    BceDice,
    /// One class: focal loss (Lin 2017), averaged over pixels.
    Focal,
    /// One class: Dice with separate weights for false positives and false negatives (Salehi 2017;
    /// segmentation_models.pytorch's `TverskyLoss`, smooth 1).
    Tversky,
    /// All classes: cross-entropy, averaged over pixels.
    CrossEntropy,
    /// All classes: the mean of their soft Dice losses, 0 for a class that does not occur in the batch's masks.
    MulticlassDice,
    /// All classes: cross-entropy and Dice, summed (nnU-Net's loss).
    CrossEntropyDice,
}

impl MapLoss {
    /// Whether the loss covers all classes, and so needs masks of class numbers.
    pub fn is_multiclass(self) -> bool {
        use MapLoss::{CrossEntropy, CrossEntropyDice, MulticlassDice};
        matches!(self, CrossEntropy | MulticlassDice | CrossEntropyDice)
    }
}

/// `[train.map]`: supervision of the class map with masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapObjective {
    /// Kind of loss: `none`; on one class `bce`, `dice`, `bce_dice`, `focal`, `tversky`; over all classes
    /// `cross_entropy`, `multiclass_dice`, `cross_entropy_dice`. Default `none`.
    pub loss: MapLoss,
    /// Factor of the map loss when it is added to the class loss. Default 1.
    pub weight: f32,
    /// Losses on one class: number of the class that the masks mark. Default: the last class.
    pub class: Option<usize>,
    /// Mask value of pixels that do not count, such as 255. Default: none; NaN never counts.
    pub ignore: Option<usize>,
    /// Focal: weight of marked pixels; the others get `1 − alpha`. Tversky: weight of false positives. Default 0.25.
    pub alpha: f32,
    /// Tversky: weight of false negatives; above `alpha`, false negatives cost more than false positives. Default 0.75.
    pub beta: f32,
    /// Focal: exponent of `1 − p`, 0 or at least 1. Default 2.
    pub gamma: f32,
    /// Whether the loss is the mean over all maps that the network outputs (`map`, `map.1`, `map.2` …), each at its own
    /// size (Lee 2015; Zhou 2018), rather than the loss on `map` alone. Validation uses `map` alone. Default false.
    pub deep_supervision: bool,
}

impl Default for MapObjective {
    fn default() -> Self {
        MapObjective {
            loss: MapLoss::None,
            weight: 1.0,
            class: None,
            ignore: None,
            alpha: 0.25,
            beta: 0.75,
            gamma: 2.0,
            deep_supervision: false,
        }
    }
}

impl MapObjective {
    /// Whether a map loss is set, so that training needs masks.
    pub fn is_on(&self) -> bool {
        self.loss != MapLoss::None
    }

    /// Loss of a batch's map against its masks, without [`MapObjective::weight`]; `None` if no pixel's truth is known
    /// or the loss is off. Masks may be larger than the map by an integer factor.
    ///
    /// Cross-entropies are means of weight times loss over the known pixels (including those of weight 0); if all
    /// weights are 1, they are plain means. In Dice and Tversky the weights multiply each pixel's term in the sums.
    ///
    /// # Errors
    /// The size of the masks does not match the map, mask values or weights are invalid, or the class does not exist.
    pub fn loss<T: Tape<f32, Cpu>>(
        &self,
        map: ClassMap<T>,
        masks: &Masks<'_>,
    ) -> Result<Option<Loss<T>>, LossError> {
        let (n, h, w, classes) = *map.shape();
        let truth = self.truth(masks, (n, h, w), classes)?;
        let x = map.try_reshape_like(&(n * h * w, classes))?;
        let class = self.marked_class(classes)?;
        if truth.count == 0 || !self.is_on() {
            return Ok(None);
        }
        if self.loss.is_multiclass() {
            return Ok(Some(self.over_classes(x, &truth)?));
        }
        let z = log_odds(x, class)?.try_reshape_like(&(n * h, w))?;
        Ok(Some(self.on_log_odds(z, &truth)?))
    }

    /// The masks resampled to the size `(n, h, w)` of a map, as [`MapObjective::loss`] uses them.
    ///
    /// # Errors
    /// As [`MapObjective::loss`], except that the marked class is not checked.
    pub fn truth(
        &self,
        masks: &Masks<'_>,
        size: (usize, usize, usize),
        classes: usize,
    ) -> Result<Truth, LossError> {
        let truth = Truth::new(masks, size, self.ignore)?;
        match self.loss.is_multiclass() {
            true => truth.check_labels(classes)?,
            false => truth.check_marks()?,
        }
        Ok(truth)
    }

    /// Mean of the losses of several maps against the same masks (deep supervision); for a single map the same as
    /// [`MapObjective::loss`]. Maps without a known pixel do not count.
    ///
    /// # Errors
    /// As [`MapObjective::loss`].
    pub fn mean_loss<T: Tape<f32, Cpu>>(
        &self,
        maps: Vec<ClassMap<T>>,
        masks: &Masks<'_>,
    ) -> Result<Option<Loss<T>>, LossError> {
        let (mut sum, mut count): (Option<Loss<T>>, f32) = (None, 0.0);
        for map in maps {
            let Some(loss) = self.loss(map, masks)? else {
                continue;
            };
            count += 1.0;
            sum = Some(match sum {
                Some(sum) => sum.try_add(loss)?,
                None => loss,
            });
        }
        match sum {
            Some(sum) if count > 1.0 => Ok(Some(sum.try_mul(1.0 / count)?)),
            one => Ok(one),
        }
    }

    /// The class that masks of 0 and 1 mark.
    ///
    /// # Errors
    /// The class does not exist.
    pub(super) fn marked_class(&self, classes: usize) -> Result<usize, LossError> {
        let label = self.class.unwrap_or(classes.saturating_sub(1));
        if label < classes {
            Ok(label)
        } else {
            Err(LossError::Label { label, classes })
        }
    }

    fn on_log_odds<T: Tape<f32, Cpu>>(
        &self,
        z: Pixels<T>,
        truth: &Truth,
    ) -> Result<Loss<T>, CpuError> {
        match self.loss {
            MapLoss::Bce => binary::bce(z, truth),
            MapLoss::Dice => binary::tversky(z, truth, 0.5, 0.5),
            MapLoss::Tversky => binary::tversky(z, truth, self.alpha, self.beta),
            MapLoss::Focal => binary::focal(z, truth, self.alpha, self.gamma),
            _ => {
                let (z, tape) = z.split_tape();
                let sum = binary::bce(z.clone().put_tape(tape), truth)?;
                sum.try_add(binary::tversky(z.put_tape(T::default()), truth, 0.5, 0.5)?)
            }
        }
    }

    fn over_classes<T: Tape<f32, Cpu>>(
        &self,
        x: Logits<T>,
        truth: &Truth,
    ) -> Result<Loss<T>, CpuError> {
        match self.loss {
            MapLoss::CrossEntropy => multiclass::cross_entropy(x, truth),
            MapLoss::MulticlassDice => multiclass::dice(x, truth),
            _ => {
                let (x, tape) = x.split_tape();
                let sum = multiclass::cross_entropy(x.clone().put_tape(tape), truth)?;
                sum.try_add(multiclass::dice(x.put_tape(T::default()), truth)?)
            }
        }
    }
}
