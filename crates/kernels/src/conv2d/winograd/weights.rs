//! The weights at their points, in the order in which products read them: for each panel of output channels, each point
//! and each word of input channels, the panel's vectors.

use super::transform::{Grid, IN, Load, Narrow, Over, POINTS, Weight, both_axes};
use crate::conv2d::inputs::Inputs;
use crate::parallel::{Shared, for_each};
use crate::simd::{Factors, Kernel, Simd, dispatch, lanes};
use std::ops::Range;

/// Vectors of output channels that make up a panel; the last may have one less.
pub(crate) const PANEL: usize = 2;
/// Words of input channels that a task transforms.
const WORDS: usize = 8;
/// Maximum number of channels per word.
const MAX: usize = 2;
const TAPS: usize = 9;
/// Taps for the missing channels of a word that is not full.
static NO_TAPS: [[f32; 16]; TAPS] = [[0.0; 16]; TAPS];

/// How the weights of a product are stored in those of its convolution, `[3, 3, cin, cout]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::conv2d) enum Direction {
    /// In the same order: from `cin` to `cout`.
    Forward,
    /// Rotated by 180° and transposed, from `cout` to `cin`: the gradient of the input.
    Backward,
}

/// Length of the transformed weights.
pub(crate) fn len<F: Factors>(inputs: &Inputs, outputs: &Inputs) -> usize {
    POINTS * inputs.runs(F::EACH) * outputs.runs(lanes()) * lanes()
}

/// Number of panels.
pub(crate) fn panels(outputs: &Inputs) -> usize {
    outputs.runs(lanes()).div_ceil(PANEL)
}

/// The vectors of a panel.
pub(crate) fn panel(outputs: &Inputs, index: usize) -> Range<usize> {
    index * PANEL..outputs.runs(lanes()).min((index + 1) * PANEL)
}

/// First word of a point, in the panel of these vectors; `words` of input channels.
pub(crate) fn offset(words: usize, panel: &Range<usize>, point: usize) -> usize {
    (panel.start * POINTS + point * panel.len()) * words * lanes()
}

/// Transforms `w` into `points`; `inputs` and `outputs` are the product's.
pub(in crate::conv2d) fn transform<F: Factors>(
    factors: F,
    w: &[f32],
    direction: Direction,
    inputs: &Inputs,
    outputs: &Inputs,
    points: &mut [f32],
) {
    let blocks = inputs.runs(F::EACH).div_ceil(WORDS);
    let points = Shared::new(&mut points[..len::<F>(inputs, outputs)]);
    for_each(outputs.runs(lanes()) * blocks, |task| {
        dispatch(Task {
            factors,
            w,
            direction,
            inputs,
            outputs,
            vector: task / blocks,
            block: task % blocks,
            points,
        });
    });
}

struct Task<'a, F> {
    factors: F,
    w: &'a [f32],
    direction: Direction,
    inputs: &'a Inputs,
    outputs: &'a Inputs,
    vector: usize,
    block: usize,
    points: Shared<'a, f32>,
}

impl<F: Factors> Kernel for Task<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let all = self.inputs.runs(F::EACH);
        let words = self.block * WORDS..all.min((self.block + 1) * WORDS);
        let word = |index| self.inputs.run(F::EACH, index);
        let last = word(words.end - 1);
        let channels = word(words.start).channel..last.channel + last.count;
        let outputs = self.outputs.run(S::LANES, self.vector);
        let outputs = outputs.channel..outputs.channel + outputs.count;
        // Taps of the block's input channels for the vector of output channels.
        let mut taps = [[0.0; 16]; TAPS * WORDS * MAX];
        self.gather(channels.clone(), outputs, &mut taps);
        let panel = panel(self.outputs, self.vector / PANEL);
        let (width, point) = (panel.len() * S::LANES, all * panel.len() * S::LANES);
        let first = offset(all, &panel, 0) + (self.vector - panel.start) * S::LANES;
        let to = Grid {
            first: self.points.pointer().wrapping_add(first),
            row: IN * point,
            column: point,
        };
        for index in words {
            let (run, mut to) = (word(index), to.shifted(index * width));
            let taps = |i| Taps(taps[(run.channel - channels.start + i) * TAPS..].as_ptr());
            // SAFETY: the vector of a word at each point, which no other task writes; there are nine vectors of taps
            // for each channel, and zeros for more than there are channels.
            unsafe {
                if F::EACH == 1 {
                    both_axes(s, Weight, &taps(0), &mut Narrow(to, self.factors));
                } else {
                    both_axes(s, Weight, &taps(0), &mut to);
                    let upper = if run.count == MAX {
                        taps(1)
                    } else {
                        Taps(NO_TAPS.as_ptr())
                    };
                    both_axes(s, Weight, &upper, &mut Over(to));
                }
            }
        }
    }
}

impl<F> Task<'_, F> {
    /// `taps[input · 9 + tap][output]` of some channels.
    fn gather(
        &self,
        inputs: Range<usize>,
        outputs: Range<usize>,
        taps: &mut [[f32; 16]; TAPS * WORDS * MAX],
    ) {
        let (cin, cout) = (self.inputs.channels(), self.outputs.channels());
        for tap in 0..TAPS {
            match self.direction {
                Direction::Forward => {
                    for (j, i) in inputs.clone().enumerate() {
                        let row = &self.w[(tap * cin + i) * cout..][outputs.clone()];
                        taps[j * TAPS + tap][..row.len()].copy_from_slice(row);
                    }
                }
                Direction::Backward => {
                    // In the convolution's own weights, inputs and outputs are swapped.
                    let w = &self.w[(TAPS - 1 - tap) * cin * cout..];
                    for (o, output) in outputs.clone().enumerate() {
                        for (j, value) in w[output * cin..][inputs.clone()].iter().enumerate() {
                            taps[j * TAPS + tap][o] = *value;
                        }
                    }
                }
            }
        }
    }
}

/// Nine vectors, sixteen values apart.
struct Taps(*const [f32; 16]);

impl<S: Simd> Load<S> for Taps {
    /// # Safety
    /// There are nine vectors.
    #[inline(always)]
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V {
        // SAFETY: the caller guarantees it; no vector is longer than sixteen.
        unsafe { s.load_all(self.0.add(y * 3 + x).cast()) }
    }
}
