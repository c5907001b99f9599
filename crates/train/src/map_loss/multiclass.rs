//! Losses over all classes, against masks of class numbers.

use dfdx::prelude::{
    Axis, Cpu, CpuError, PutTape, Rank0, ReshapeTo, SplitTape, SumTo, Tape, Tensor, TensorFromVec,
    TryAdd, TryDiv, TryMul,
};
use dfdx::shapes::HasShape;

use super::pixels::{SMOOTH, total};
use super::truth::Truth;
use crate::loss::{Logits, Loss};

/// One number per class.
type PerClass<T> = Tensor<(usize,), f32, Cpu, T>;

/// `w · −log p_t`, mean over known pixels: U-Net's energy (Ronneberger 2015, eq. 1) divided by their number.
pub(super) fn cross_entropy<T: Tape<f32, Cpu>>(
    x: Logits<T>,
    truth: &Truth,
) -> Result<Loss<T>, CpuError> {
    let targets = truth.one_hot(x.shape().1, -1.0 / truth.count as f32)?;
    let nll = x.try_log_softmax::<Axis<1>>()?.try_mul(targets)?;
    let nll = nll.try_sum::<(usize,), Axis<1>>()?;
    total(nll.try_reshape_like(&truth.shape)?)
}

/// Mean over classes of `1 − (Σ w·p·t + s) / (½·(Σ w·p + Σ w·t) + s)`; a class without a pixel in the truth
/// counts 0 (segmentation_models.pytorch's `DiceLoss("multiclass")`).
pub(super) fn dice<T: Tape<f32, Cpu>>(x: Logits<T>, truth: &Truth) -> Result<Loss<T>, CpuError> {
    let (pixels, classes) = *x.shape();
    let marked = truth.class_sums(classes);
    let row = |values: Vec<f32>| Cpu::default().try_tensor_from_vec(values, (classes,));
    let (p, tape) = x.try_softmax::<Axis<1>>()?.split_tape();
    let hits = p.clone().put_tape(tape);
    let hits = per_class(hits.try_mul(truth.one_hot(classes, 1.0)?)?, truth)?;
    let weights = truth.weights.iter();
    let weights = weights.flat_map(|w| std::iter::repeat_n(*w, classes));
    let weights = Cpu::default().try_tensor_from_vec(weights.collect(), (pixels, classes))?;
    let size = per_class(p.put_tape(T::default()).try_mul(weights)?, truth)?;
    let rest = marked.iter().map(|t| 0.5 * t + SMOOTH).collect();
    let below = size.try_mul(0.5)?.try_add(row(rest)?)?;
    let loss = hits.try_add(SMOOTH)?.try_div(below)?;
    let loss = loss.try_negate()?.try_add(1.0)?;
    let share = |t: &f32| if *t > 0.0 { 1.0 / classes as f32 } else { 0.0 };
    let shares = row(marked.iter().map(share).collect())?;
    loss.try_mul(shares)?.try_sum::<Rank0, _>()
}

/// Sums over pixels, row by row first.
fn per_class<T: Tape<f32, Cpu>>(x: Logits<T>, truth: &Truth) -> Result<PerClass<T>, CpuError> {
    let (rows, columns) = truth.shape;
    let classes = x.shape().1;
    let x = x.try_reshape_like(&(rows, columns, classes))?;
    let x = x.try_sum::<(usize, usize), Axis<1>>()?;
    x.try_sum::<(usize,), Axis<0>>()
}
