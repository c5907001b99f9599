//! Losses on the log odds of one class.

use dfdx::prelude::{Cpu, CpuError, PutTape, SplitTape, Tape, TryAdd, TryDiv, TryMul};

use super::pixels::{Pixels, SMOOTH, total};
use super::truth::Truth;
use crate::loss::Loss;

/// `w · −(t·log p + (1−t)·log(1−p))`, mean over known pixels.
pub(super) fn bce<T: Tape<f32, Cpu>>(z: Pixels<T>, truth: &Truth) -> Result<Loss<T>, CpuError> {
    let mean = 1.0 / truth.count as f32;
    let nll = z.try_bce_with_logits(truth.factors(|marked, _| marked)?)?;
    total(nll.try_mul(truth.factors(|_, weight| weight * mean)?)?)
}

/// `1 − (TP + s) / (TP + α·FP + β·FN + s)` with TP = `Σ w·p·t`, FP = `Σ w·p·(1−t)`, FN = `Σ w·(1−p)·t`; 0 where
/// nothing is marked. Dice is `α = β = ½`.
pub(super) fn tversky<T: Tape<f32, Cpu>>(
    z: Pixels<T>,
    truth: &Truth,
    alpha: f32,
    beta: f32,
) -> Result<Loss<T>, CpuError> {
    let pairs = truth.values.iter().zip(&truth.weights);
    let marked = pairs.map(|(t, w)| f64::from(t * w)).sum::<f64>() as f32;
    let (p, tape) = z.try_sigmoid()?.split_tape();
    let hits = p.clone().put_tape(tape);
    let hits = total(hits.try_mul(truth.factors(|marked, weight| marked * weight)?)?)?;
    let size = p.put_tape(T::default());
    let size = total(size.try_mul(truth.factors(|_, weight| weight)?)?)?;
    // FP = Σp − TP and FN = Σt − TP.
    let below = size.try_mul(alpha)?.try_add(beta * marked + SMOOTH)?;
    let (hits, tape) = hits.split_tape();
    let rest = hits.clone().put_tape(T::default());
    let below = below.try_add(rest.try_mul(1.0 - alpha - beta)?)?;
    let above = hits.put_tape(tape).try_add(SMOOTH)?;
    let loss = above.try_div(below)?.try_negate()?.try_add(1.0)?;
    loss.try_mul(if marked > 0.0 { 1.0 } else { 0.0 })
}

/// `w · α_t · (1 − p_t)^γ · (−log p_t)`, mean over known pixels.
pub(super) fn focal<T: Tape<f32, Cpu>>(
    z: Pixels<T>,
    truth: &Truth,
    alpha: f32,
    gamma: f32,
) -> Result<Loss<T>, CpuError> {
    let mean = 1.0 / truth.count as f32;
    let factors = truth.factors(|marked, weight| {
        weight * mean * (alpha * marked + (1.0 - alpha) * (1.0 - marked))
    })?;
    let nll = z.try_bce_with_logits(truth.factors(|marked, _| marked)?)?;
    let (nll, tape) = nll.split_tape();
    let weighted = nll.clone().put_tape(tape).try_mul(factors)?;
    if gamma == 0.0 {
        return total(weighted); // the derivative of the power at p = 1 would be 0·∞
    }
    let miss = nll
        .put_tape(T::default())
        .try_negate()?
        .try_exp()?
        .try_negate()?
        .try_add(1.0)?;
    total(weighted.try_mul(miss.try_powf(gamma)?)?)
}
