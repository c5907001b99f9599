//! The weights at their points, in the order in which products read them: panel by panel, point by point, a row an input
//! channel.

use super::transform::{Load, POINTS, Points, Weight, both_axes};
use crate::conv2d::pack::Panels;
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
pub(super) fn len(inputs: usize, outputs: usize) -> usize {
    POINTS * inputs * outputs.next_multiple_of(16)
}

/// First value of a panel's point.
pub(super) fn offset(panels: Panels, panel: usize, inputs: usize, point: usize) -> usize {
    let (channel, vectors) = panels.panel(panel);
    (POINTS * channel + point * vectors * lanes()) * inputs
}

/// Transforms `w` into `points`; `inputs` and `outputs` are the product's.
pub(super) fn transform(
    w: &[f32],
    direction: Direction,
    inputs: usize,
    panels: Panels,
    points: &mut [f32],
) {
    let blocks = inputs.div_ceil(CHANNELS);
    let points = Shared::new(&mut points[..len(inputs, panels.outputs)]);
    for_each(panels.count * blocks, |task| {
        dispatch(Task {
            w,
            direction,
            inputs,
            panels,
            panel: task / blocks,
            block: task % blocks,
            points,
        });
    });
}

struct Task<'a> {
    w: &'a [f32],
    direction: Direction,
    inputs: usize,
    panels: Panels,
    panel: usize,
    block: usize,
    points: Shared<'a, f32>,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (channel, vectors) = self.panels.panel(self.panel);
        let first = self.block * CHANNELS;
        let width = vectors * S::LANES;
        // Taps of the block's input channels for one vector of output channels.
        let mut taps = [[0.0; 16]; TAPS * CHANNELS];
        for v in 0..vectors {
            let from = channel + v * S::LANES;
            let count = S::LANES.min(self.panels.outputs - from);
            let inputs = first..self.inputs.min(first + CHANNELS);
            self.gather(inputs.clone(), from, count, &mut taps);
            for i in inputs {
                let at = offset(self.panels, self.panel, self.inputs, 0) + i * width + v * S::LANES;
                let taps = Taps(taps[(i - first) * TAPS..][..TAPS].as_ptr());
                // SAFETY: a row of each point of the panel, which is this task's alone; `taps` are nine vectors.
                unsafe {
                    let mut to = Points {
                        first: self.points.pointer().add(at),
                        step: self.inputs * width,
                    };
                    both_axes(s, Weight, &taps, &mut to);
                }
            }
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
        let (cin, cout) = (self.inputs, self.panels.outputs);
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
