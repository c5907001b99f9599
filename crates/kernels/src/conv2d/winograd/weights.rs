//! The weights at their points, in the order in which products read them: for each vector of output channels and row of
//! points, input channel by input channel, the row's six vectors.

use super::transform::{Grid, IN, Load, POINTS, Weight, both_axes};
use crate::conv2d::inputs::Inputs;
use crate::parallel::{Shared, for_each};
use crate::simd::{Kernel, Simd, dispatch, lanes};

/// Input channels that a task transforms.
const CHANNELS: usize = 16;
const TAPS: usize = 9;

/// How the weights of a product lie in those of its convolution, `[3, 3, cin, cout]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::conv2d) enum Direction {
    /// As they lie: from `cin` to `cout`.
    Forward,
    /// Turned by 180° and transposed, from `cout` to `cin`: the gradient of the input.
    Backward,
}

/// Length of the transformed weights.
pub(super) fn len(inputs: usize, outputs: &Inputs) -> usize {
    POINTS * inputs * outputs.runs(lanes()) * lanes()
}

/// First value of a row of points, for a vector of output channels.
pub(super) fn offset(inputs: usize, vector: usize, row: usize) -> usize {
    (vector * IN + row) * inputs * IN * lanes()
}

/// Transforms `w` into `points`; `inputs` and `outputs` are the product's.
pub(super) fn transform(
    w: &[f32],
    direction: Direction,
    inputs: usize,
    outputs: &Inputs,
    points: &mut [f32],
) {
    let blocks = inputs.div_ceil(CHANNELS);
    let points = Shared::new(&mut points[..len(inputs, outputs)]);
    for_each(outputs.runs(lanes()) * blocks, |task| {
        dispatch(Task {
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

struct Task<'a> {
    w: &'a [f32],
    direction: Direction,
    inputs: usize,
    outputs: &'a Inputs,
    vector: usize,
    block: usize,
    points: Shared<'a, f32>,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let first = self.block * CHANNELS;
        let inputs = first..self.inputs.min(first + CHANNELS);
        let outputs = self.outputs.run(S::LANES, self.vector);
        // Taps of the block's input channels for the vector of output channels.
        let mut taps = [[0.0; 16]; TAPS * CHANNELS];
        self.gather(inputs.clone(), outputs.channel, outputs.count, &mut taps);
        let to = Grid {
            first: self
                .points
                .pointer()
                .wrapping_add(offset(self.inputs, self.vector, 0)),
            row: self.inputs * IN * S::LANES,
            column: S::LANES,
        };
        for i in inputs {
            let taps = Taps(taps[(i - first) * TAPS..][..TAPS].as_ptr());
            // SAFETY: the six vectors of channel `i` in each row, which are this task's alone; `taps` are nine vectors.
            unsafe { both_axes(s, Weight, &taps, &mut to.shifted(i * IN * S::LANES)) };
        }
    }
}

impl Task<'_> {
    /// `taps[input · 9 + tap][output]` of some input channels and `count` output channels from `outputs`.
    fn gather(
        &self,
        inputs: std::ops::Range<usize>,
        outputs: usize,
        count: usize,
        taps: &mut [[f32; 16]; TAPS * CHANNELS],
    ) {
        let (cin, cout) = (self.inputs, self.outputs.channels());
        for tap in 0..TAPS {
            match self.direction {
                Direction::Forward => {
                    for (j, i) in inputs.clone().enumerate() {
                        let row = &self.w[(tap * cin + i) * cout + outputs..][..count];
                        taps[j * TAPS + tap][..count].copy_from_slice(row);
                    }
                }
                Direction::Backward => {
                    // In the convolution's own weights, inputs and outputs have changed places.
                    let w = &self.w[(TAPS - 1 - tap) * cin * cout..];
                    for o in 0..count {
                        let row = &w[(outputs + o) * cin + inputs.start..][..inputs.len()];
                        for (j, value) in row.iter().enumerate() {
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
    /// There are nine.
    #[inline(always)]
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V {
        // SAFETY: the caller vouches for it; no vector is longer than sixteen.
        unsafe { s.load_all(self.0.add(y * 3 + x).cast()) }
    }
}
