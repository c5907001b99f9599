//! Shared by all losses on the class map: the sum over pixels, and the smoothing of Dice.

use dfdx::prelude::{Axis, Cpu, CpuError, Rank0, SumTo, Tape, Tensor};

use crate::loss::Loss;

/// Pixels in rows: sums are taken row by row first, which keeps f32 sums of half a million pixels accurate enough.
pub(super) type Pixels<T> = Tensor<(usize, usize), f32, Cpu, T>;

/// Added to the numerator and the denominator of Dice and Tversky (segmentation_models.pytorch's `smooth`).
pub(super) const SMOOTH: f32 = 1.0;

/// The sum over all pixels.
pub(super) fn total<T: Tape<f32, Cpu>>(x: Pixels<T>) -> Result<Loss<T>, CpuError> {
    x.try_sum::<(usize,), Axis<1>>()?.try_sum::<Rank0, _>()
}
