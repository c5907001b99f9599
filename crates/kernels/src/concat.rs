//! Concatenation along channels.

use crate::parallel::{CHUNK, Shared, for_each};
use crate::simd::{Kernel, Simd, dispatch, for_vectors};
use crate::{Accumulate, size};

/// Joins tensors of `pixels` (n · h · w) pixels each along channels, in order; each input is paired with its number of
/// channels.
pub fn forward(inputs: &[(&[f32], usize)], pixels: usize, y: &mut [f32]) {
    let channels = inputs.iter().map(|(_, channels)| *channels);
    let total = channels.fold(0, usize::saturating_add);
    assert_eq!(
        y.len(),
        size([pixels, total]),
        "concat::forward: length of y"
    );
    let (out, mut offset) = (Shared::new(y), 0);
    for (x, channels) in inputs {
        assert_eq!(
            x.len(),
            size([pixels, *channels]),
            "concat::forward: length of an input"
        );
        let copy = Copy {
            from: [*channels, 0],
            to: [total, offset],
            channels: *channels,
            acc: Accumulate::Replace,
        };
        copy.run(x, pixels, out);
        offset += channels;
    }
}

/// `dx (+)= dy[…, offset..offset + channels]`: the gradient of one input of [`forward`].
pub fn backward(
    dy: &[f32],
    channels_total: usize,
    offset: usize,
    channels: usize,
    dx: &mut [f32],
    acc: Accumulate,
) {
    let pixels = dx.len() / channels.max(1);
    assert_eq!(
        dx.len(),
        size([pixels, channels]),
        "concat::backward: length of dx"
    );
    assert_eq!(
        dy.len(),
        size([pixels, channels_total]),
        "concat::backward: length of dy"
    );
    assert!(
        offset.saturating_add(channels) <= channels_total,
        "concat::backward: channels beyond the last"
    );
    Copy {
        from: [channels_total, offset],
        to: [channels, 0],
        channels,
        acc,
    }
    .run(dy, pixels, Shared::new(dx));
}

/// Copies some channels of every pixel. `from` and `to` are `[channels per pixel, first channel]`.
#[derive(Clone, Copy)]
struct Copy {
    from: [usize; 2],
    to: [usize; 2],
    channels: usize,
    acc: Accumulate,
}

impl Copy {
    fn run(self, from: &[f32], pixels: usize, to: Shared<'_, f32>) {
        let step = (CHUNK / self.channels.max(1)).max(1);
        for_each(pixels.div_ceil(step), |task| {
            dispatch(Task {
                copy: self,
                from,
                to,
                pixels: task * step..pixels.min((task + 1) * step),
            });
        });
    }
}

struct Task<'a> {
    copy: Copy,
    from: &'a [f32],
    to: Shared<'a, f32>,
    pixels: std::ops::Range<usize>,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Copy {
            from,
            to,
            channels,
            acc,
        } = self.copy;
        for pixel in self.pixels {
            for_vectors!(s, channels, |at, mask| {
                // SAFETY: the callers checked the lengths; only this task writes these channels of this pixel.
                unsafe {
                    let target = self.to.pointer().add(pixel * to[0] + to[1] + at);
                    let mut value =
                        s.load(self.from.as_ptr().add(pixel * from[0] + from[1] + at), mask);
                    if acc == Accumulate::Add {
                        value = s.add(value, s.load(target, mask));
                    }
                    s.store(target, mask, value);
                }
            });
        }
    }
}
