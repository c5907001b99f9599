//! The ground truth of each pixel, sampled from masks at a map's size.

use dfdx::prelude::{Cpu, CpuError, NoneTape, Tensor, TensorFromVec};

use super::pixels::Pixels;
use crate::loss::{LossError, same_length};

/// The masks of a batch and the weights of their pixels.
#[derive(Clone, Copy, Debug)]
pub struct Masks<'a> {
    /// `n·h·w` values: 0 or 1 for the losses on one class, class numbers for those over all classes; NaN where the
    /// truth is unknown.
    pub values: &'a [f32],
    /// `n·h·w` weights of the pixel losses, such as U-Net's border weights; `None` for 1 everywhere.
    pub weights: Option<&'a [f32]>,
    /// Height and width.
    pub size: (usize, usize),
}

/// The masks as factors in sums, one value per pixel of the map.
#[derive(Clone, Debug)]
pub struct Truth {
    /// Rows and columns of all images stacked vertically.
    pub(super) shape: (usize, usize),
    /// Mask value per pixel; 0 where the truth is unknown.
    pub values: Vec<f32>,
    /// Whether the truth is known, per pixel.
    pub(crate) known: Vec<bool>,
    /// Weight per pixel; 0 where the truth is unknown.
    pub weights: Vec<f32>,
    /// Number of known pixels.
    pub count: usize,
}

impl Truth {
    /// Samples the masks at the size `(n, h, w)` of a map that is as large as the masks or smaller by an integer
    /// factor: each cell of the map takes the mask pixel at its centre, as in nnU-Net (PyTorch's
    /// `interpolate(mode = "nearest-exact")`).
    pub(crate) fn new(
        masks: &Masks<'_>,
        (n, h, w): (usize, usize, usize),
        ignore: Option<usize>,
    ) -> Result<Self, LossError> {
        let (rows, columns) = masks.size;
        let step = rows.checked_div(h).unwrap_or(1).max(1);
        same_length("mask pixels", n * rows * columns, n * h * step * w * step)?;
        same_length("mask pixels", masks.values.len(), n * rows * columns)?;
        if let Some(weights) = masks.weights {
            same_length("pixel weights", weights.len(), masks.values.len())?;
        }
        let at = (0..n * h).flat_map(|row| {
            let first = (row / h * rows + row % h * step + step / 2) * columns + step / 2;
            (0..w).map(move |column| first + column * step)
        });
        Self::read(masks, at, ignore).map(|truth| Truth {
            shape: (n * h, w),
            ..truth
        })
    }

    fn read(
        masks: &Masks<'_>,
        at: impl Iterator<Item = usize>,
        ignore: Option<usize>,
    ) -> Result<Self, LossError> {
        let ignore = ignore.map(|label| label as f32);
        let mut truth = Truth {
            shape: (0, 0),
            values: vec![],
            known: vec![],
            weights: vec![],
            count: 0,
        };
        for i in at {
            let value = masks.values[i];
            let known = !value.is_nan() && Some(value) != ignore;
            let weight = masks.weights.map_or(1.0, |weights| weights[i]);
            if known && !(weight.is_finite() && weight >= 0.0) {
                return Err(LossError::PixelWeight(weight));
            }
            truth.values.push(if known { value } else { 0.0 });
            truth.known.push(known);
            truth.weights.push(if known { weight } else { 0.0 });
            truth.count += usize::from(known);
        }
        Ok(truth)
    }

    /// Rejects values outside 0 to 1, such as class numbers given to a loss on one class.
    pub(super) fn check_marks(&self) -> Result<(), LossError> {
        match self.values.iter().find(|v| !(0.0..=1.0).contains(*v)) {
            Some(&value) => Err(LossError::Mask {
                value,
                needed: "0 or 1 for a loss on one class",
            }),
            None => Ok(()),
        }
    }

    /// Rejects values that are not class numbers.
    pub(super) fn check_labels(&self, classes: usize) -> Result<(), LossError> {
        let bad = |v: &&f32| v.fract() != 0.0 || !(0.0..classes as f32).contains(*v);
        match self.values.iter().find(bad) {
            Some(&value) => Err(LossError::Mask {
                value,
                needed: "the number of one of the network's classes, counted from 0",
            }),
            None => Ok(()),
        }
    }

    /// One factor per pixel, computed from (value, weight).
    pub(super) fn factors(
        &self,
        f: impl Fn(f32, f32) -> f32,
    ) -> Result<Pixels<NoneTape>, CpuError> {
        let values = self.values.iter().zip(&self.weights);
        let values = values.map(|(v, w)| f(*v, *w)).collect();
        Cpu::default().try_tensor_from_vec(values, self.shape)
    }

    /// `[pixels, classes]`: `scale` times the weight in the column of the pixel's class, 0 elsewhere.
    pub(super) fn one_hot(
        &self,
        classes: usize,
        scale: f32,
    ) -> Result<Tensor<(usize, usize), f32, Cpu>, CpuError> {
        let mut values = vec![0.0; self.values.len() * classes];
        let rows = values.chunks_exact_mut(classes);
        for (row, (label, weight)) in rows.zip(self.values.iter().zip(&self.weights)) {
            row[*label as usize] = scale * weight;
        }
        Cpu::default().try_tensor_from_vec(values, (self.values.len(), classes))
    }

    /// Sum of the weights of each class's pixels.
    pub(super) fn class_sums(&self, classes: usize) -> Vec<f32> {
        let mut sums = vec![0.0f64; classes];
        for (label, weight) in self.values.iter().zip(&self.weights) {
            sums[*label as usize] += f64::from(*weight);
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}
