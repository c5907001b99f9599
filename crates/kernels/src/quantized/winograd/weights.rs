//! The weights at their points, rounded, in the order of the `f32` kernel's (`conv2d::winograd::weights`).

use super::transform::{LARGEST, weights};
use crate::conv2d::Inputs;
use crate::conv2d::winograd::transform::POINTS;
use crate::conv2d::winograd::weights::{PANEL, offset, panel};
use crate::parallel::{Shared, for_each};
use crate::quantized::{Affine, bound};
use crate::simd::{lanes, pair_i16};

/// The weights of a convolution and the codes of its input's parts.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) w: &'a [f32],
    pub(super) codes: &'a [Affine],
    pub(super) inputs: &'a Inputs,
    pub(super) outputs: &'a Inputs,
}

impl Weights<'_> {
    /// Writes for each point and output channel (`POINTS` rows, each of whole vectors) the factor of its sums, and the
    /// rounded weights.
    pub(super) fn pack(self, factors: &mut [f32], points: &mut [f32]) {
        let vectors = self.outputs.runs(lanes());
        let (factors, points) = (Shared::new(factors), Shared::new(points));
        for_each(vectors, |vector| {
            for lane in 0..lanes() {
                let output = vector * lanes() + lane;
                let multipliers = self.multipliers(output);
                for (point, multiplier) in multipliers.iter().enumerate() {
                    let at = point * vectors * lanes() + output;
                    // SAFETY: each task has its own channels.
                    let factor = unsafe { factors.part(at..at + 1) };
                    factor[0] = (1.0 / multiplier) as f32;
                }
                self.round(vector, lane, &multipliers, points);
            }
        });
    }

    /// The transformed weights from one channel to another; 0 for an output channel beyond the last.
    fn transformed(&self, input: usize, output: usize, scale: f32) -> [f64; POINTS] {
        let (cin, cout) = (self.inputs.channels(), self.outputs.channels());
        let mut taps = [[0.0; 3]; 3];
        if output >= cout {
            return [0.0; POINTS];
        }
        for (tap, into) in taps.iter_mut().flatten().enumerate() {
            *into = f64::from(self.w[(tap * cin + input) * cout + output]) * f64::from(scale);
        }
        weights(taps)
    }

    /// Calls `visit` with the index of the word, which half of it, and the transformed weights of each input channel.
    fn each(&self, output: usize, mut visit: impl FnMut(usize, usize, [f64; POINTS])) {
        let (mut input, mut word) = (0, 0);
        for (part, code) in self.inputs.parts().iter().zip(self.codes) {
            for i in 0..part.channels {
                let points = self.transformed(input + i, output, code.scale);
                visit(word + i / 2, i % 2, points);
            }
            (input, word) = (input + part.channels, word + part.channels.div_ceil(2));
        }
    }

    /// What an output channel's weights are multiplied by at each point before they are rounded.
    fn multipliers(&self, output: usize) -> [f64; POINTS] {
        let (mut largest, mut sums, mut terms) = ([0f64; POINTS], [0.0; POINTS], 0);
        self.each(output, |_, _, points| {
            for (point, weight) in points.iter().enumerate() {
                largest[point] = largest[point].max(weight.abs());
                sums[point] += weight.abs();
            }
            terms += 1;
        });
        std::array::from_fn(|point| {
            bound::factor(
                i16::MAX.into(),
                largest[point],
                sums[point],
                terms,
                LARGEST[point],
            )
        })
    }

    /// Writes the rounded weights of one lane of a vector of output channels.
    fn round(&self, vector: usize, lane: usize, multipliers: &[f64; POINTS], to: Shared<'_, f32>) {
        let words = self.inputs.runs(2);
        let panel = panel(self.outputs, vector / PANEL);
        let column = (vector - panel.start) * lanes() + lane;
        let mut low = [0; POINTS];
        self.each(vector * lanes() + lane, |word, half, points| {
            for (point, weight) in points.iter().enumerate() {
                let rounded = bound::rounded(*weight, multipliers[point]);
                let at = offset(words, &panel, point) + word * panel.len() * lanes() + column;
                // SAFETY: each task has its own channels.
                let word = unsafe { to.part(at..at + 1) };
                word[0] = match half {
                    0 => pair_i16(rounded, 0),
                    _ => pair_i16(low[point], rounded),
                };
                low[point] = rounded;
            }
        });
    }
}
