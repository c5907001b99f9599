//! Losses on the class map, for the runs whose images have masks.
//!
//! A mask marks one class's pixels, so the map enters as that class's log odds against all others: its sigmoid is
//! the class's softmax, which is what overlays threshold. Mask values are 0 or 1; NaN marks a pixel (or a whole
//! image) whose truth is unknown and which therefore does not count.

use dfdx::prelude::{
    Axis, Cpu, CpuError, NoneTape, PutTape, Rank0, ReshapeTo, SplitTape, SumTo, Tape, Tensor,
    TensorFromVec, TryAdd, TryDiv, TryMul,
};
use dfdx::shapes::HasShape;
use serde::{Deserialize, Serialize};

use super::loss::{Loss, LossError, log_odds, same_length};

/// Class map before softmax, `[n, h, w, classes]`.
pub type ClassMap<T> = Tensor<(usize, usize, usize, usize), f32, Cpu, T>;

/// Pixels in rows: sums go row by row first, which keeps f32 sums of half a million pixels exact enough.
type Pixels<T> = Tensor<(usize, usize), f32, Cpu, T>;

/// Added to both sides of Dice's fraction (segmentation_models.pytorch's `smooth`).
const DICE_SMOOTH: f32 = 1.0;

/// Which loss the class map gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapLoss {
    /// None: the map learns from the image's label alone, as in the article.
    #[default]
    None,
    /// Binary cross-entropy, mean over pixels.
    Bce,
    /// Soft Dice over all pixels of the batch (Milletari 2016; segmentation_models.pytorch's `DiceLoss`, smooth 1);
    /// 0 for a batch without a single marked pixel.
    Dice,
    /// Their sum.
    BceDice,
    /// Focal loss (Lin 2017), mean over pixels.
    Focal,
}

/// `[train.map]`: supervision of the class map by masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapObjective {
    /// Kind: `none`, `bce`, `dice`, `bce_dice`, `focal`. Default `none`.
    pub loss: MapLoss,
    /// Factor before it is added to the class loss. Default 1.
    pub weight: f32,
    /// Number of the class that the masks mark. Default: the last.
    pub class: Option<usize>,
    /// Focal: weight of marked pixels; the others get `1 − alpha`. Default 0.25.
    pub alpha: f32,
    /// Focal: power of `1 − p`. 0 or at least 1. Default 2.
    pub gamma: f32,
}

impl Default for MapObjective {
    fn default() -> Self {
        MapObjective {
            loss: MapLoss::None,
            weight: 1.0,
            class: None,
            alpha: 0.25,
            gamma: 2.0,
        }
    }
}

impl MapObjective {
    /// Whether masks are wanted at all.
    pub fn is_on(&self) -> bool {
        self.loss != MapLoss::None
    }

    /// Loss of a batch's map against masks `[n, h, w]`, without [`MapObjective::weight`]; `None` where no pixel's
    /// truth is known or the loss is off.
    ///
    /// # Errors
    /// Masks of another size than the map, or a class that does not exist.
    pub fn loss<T: Tape<f32, Cpu>>(
        &self,
        map: ClassMap<T>,
        masks: &[f32],
    ) -> Result<Option<Loss<T>>, LossError> {
        let (n, h, w, classes) = *map.shape();
        same_length("mask pixels", masks.len(), n * h * w)?;
        let class = self.class.unwrap_or(classes.saturating_sub(1));
        if class >= classes {
            return Err(LossError::Label {
                label: class,
                classes,
            });
        }
        let truth = Truth::new(masks, (n * h, w));
        if truth.known == 0 || !self.is_on() {
            return Ok(None);
        }
        let z = log_odds(map.try_reshape_like(&(n * h * w, classes))?, class)?;
        let z = z.try_reshape_like(&(n * h, w))?;
        Ok(Some(self.on_logits(z, &truth)?))
    }

    fn on_logits<T: Tape<f32, Cpu>>(
        &self,
        z: Pixels<T>,
        truth: &Truth,
    ) -> Result<Loss<T>, CpuError> {
        match self.loss {
            MapLoss::Bce => bce(z, truth),
            MapLoss::Dice => dice(z, truth),
            MapLoss::Focal => focal(z, truth, self.alpha, self.gamma),
            MapLoss::None | MapLoss::BceDice => {
                let (z, tape) = z.split_tape();
                let sum = bce(z.clone().put_tape(tape), truth)?;
                sum.try_add(dice(z.put_tape(T::default()), truth)?)
            }
        }
    }
}

/// What the masks say, pixel by pixel.
struct Truth {
    shape: (usize, usize),
    /// 1 marked, 0 not marked or unknown.
    marked: Vec<f32>,
    /// 1 known, 0 unknown.
    valid: Vec<f32>,
    known: usize,
}

impl Truth {
    fn new(masks: &[f32], shape: (usize, usize)) -> Self {
        let marked = masks.iter().map(|m| if m.is_nan() { 0.0 } else { *m });
        let valid = masks.iter().map(|m| f32::from(u8::from(!m.is_nan())));
        let known = masks.iter().filter(|m| !m.is_nan()).count();
        Truth {
            shape,
            marked: marked.collect(),
            valid: valid.collect(),
            known,
        }
    }

    fn targets(&self) -> Result<Pixels<NoneTape>, CpuError> {
        Cpu::default().try_tensor_from_vec(self.marked.clone(), self.shape)
    }

    /// A factor for each pixel from (marked, valid).
    fn factors(&self, f: impl Fn(f32, f32) -> f32) -> Result<Pixels<NoneTape>, CpuError> {
        let values = self.marked.iter().zip(&self.valid).map(|(m, v)| f(*m, *v));
        Cpu::default().try_tensor_from_vec(values.collect(), self.shape)
    }
}

fn bce<T: Tape<f32, Cpu>>(z: Pixels<T>, truth: &Truth) -> Result<Loss<T>, CpuError> {
    let mean = 1.0 / truth.known as f32;
    let nll = z.try_bce_with_logits(truth.targets()?)?;
    total(nll.try_mul(truth.factors(|_, valid| valid * mean)?)?)
}

/// `1 − (Σ p·t + s) / (½·(Σ p + Σ t) + s)`.
fn dice<T: Tape<f32, Cpu>>(z: Pixels<T>, truth: &Truth) -> Result<Loss<T>, CpuError> {
    let marked = truth.marked.iter().map(|m| f64::from(*m)).sum::<f64>() as f32;
    let (p, tape) = z.try_sigmoid()?.split_tape();
    let shared = total(
        p.clone()
            .put_tape(tape)
            .try_mul(truth.factors(|marked, _| marked)?)?,
    )?;
    let sizes = total(
        p.put_tape(T::default())
            .try_mul(truth.factors(|_, valid| valid)?)?,
    )?;
    let above = shared.try_add(DICE_SMOOTH)?;
    let below = sizes.try_add(marked)?.try_mul(0.5)?.try_add(DICE_SMOOTH)?;
    let loss = above.try_div(below)?.try_negate()?.try_add(1.0)?;
    loss.try_mul(if marked > 0.0 { 1.0 } else { 0.0 })
}

/// `α_t · (1 − p_t)^γ · (−log p_t)`.
fn focal<T: Tape<f32, Cpu>>(
    z: Pixels<T>,
    truth: &Truth,
    alpha: f32,
    gamma: f32,
) -> Result<Loss<T>, CpuError> {
    let mean = 1.0 / truth.known as f32;
    let factors = truth.factors(|marked, valid| {
        valid * mean * (alpha * marked + (1.0 - alpha) * (1.0 - marked))
    })?;
    let (nll, tape) = z.try_bce_with_logits(truth.targets()?)?.split_tape();
    let weighted = nll.clone().put_tape(tape).try_mul(factors)?;
    if gamma == 0.0 {
        return total(weighted); // the power's derivative at p = 1 would be 0·∞
    }
    let miss = nll
        .put_tape(T::default())
        .try_negate()?
        .try_exp()?
        .try_negate()?
        .try_add(1.0)?;
    total(weighted.try_mul(miss.try_powf(gamma)?)?)
}

fn total<T: Tape<f32, Cpu>>(x: Pixels<T>) -> Result<Loss<T>, CpuError> {
    x.try_sum::<(usize,), Axis<1>>()?.try_sum::<Rank0, _>()
}
