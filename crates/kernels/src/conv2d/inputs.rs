//! The parts that make up a convolution's input.

use crate::{Accumulate, Nhwc, concat, resize};

/// A tensor whose channels are some of a convolution's input channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InputPart {
    /// Its channels.
    pub channels: usize,
    /// Whether it has half the input's height and width, so that each of its pixels is read as 2×2 (nearest).
    pub doubled: bool,
}

/// The parts of a convolution's input, joined along channels in order. The concatenation, and any upsampling before it,
/// is read in place and never written out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Inputs {
    parts: [InputPart; Inputs::MAX],
    len: usize,
}

impl Inputs {
    /// Maximum number of parts.
    pub const MAX: usize = 8;

    /// A single tensor at full size.
    pub fn whole(channels: usize) -> Self {
        let part = InputPart {
            channels,
            doubled: false,
        };
        Self {
            parts: [part; Self::MAX],
            len: 1,
        }
    }

    /// Parts in order; `None` if there are none or more than [`Inputs::MAX`].
    pub fn joined(parts: &[InputPart]) -> Option<Self> {
        let mut inputs = Self::whole(0);
        inputs.len = parts.len();
        inputs.parts.get_mut(..parts.len())?.copy_from_slice(parts);
        (!parts.is_empty()).then_some(inputs)
    }

    /// The parts in order.
    pub fn parts(&self) -> &[InputPart] {
        &self.parts[..self.len]
    }

    /// Total number of channels.
    pub fn channels(&self) -> usize {
        let channels = self.parts().iter().map(|part| part.channels);
        channels.fold(0, usize::saturating_add)
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.len == 1 && !self.parts[0].doubled
    }

    /// Shape of a part of an input of shape `xs`.
    pub(crate) fn shape(&self, part: usize, xs: Nhwc) -> Nhwc {
        let InputPart { channels, doubled } = self.parts[part];
        let halved = if doubled { 2 } else { 1 };
        Nhwc {
            h: xs.h / halved,
            w: xs.w / halved,
            c: channels,
            ..xs
        }
    }

    /// Panics unless these parts make up an input of shape `xs`.
    pub(crate) fn check(&self, xs: Nhwc) {
        let mut channels = self.parts().iter().map(|part| part.channels);
        let sum = channels.try_fold(0usize, usize::checked_add);
        assert_eq!(sum, Some(xs.c), "conv2d: the parts' channels for {xs:?}");
        let even = xs.h.is_multiple_of(2) && xs.w.is_multiple_of(2);
        assert!(
            even || !self.parts().iter().any(|part| part.doubled),
            "conv2d: a doubled part of an input of odd height or width, {xs:?}"
        );
    }

    pub(crate) fn check_lens(
        &self,
        name: &str,
        xs: Nhwc,
        lens: impl ExactSizeIterator<Item = usize>,
    ) {
        assert_eq!(self.len, lens.len(), "{name}: number of parts");
        for (part, len) in lens.enumerate() {
            assert_eq!(
                len,
                self.shape(part, xs).len(),
                "{name}: length of part {part} of {xs:?}"
            );
        }
    }

    /// Number of runs of up to `most` channels; no run spans two parts.
    pub(crate) fn runs(&self, most: usize) -> usize {
        self.parts()
            .iter()
            .map(|part| part.channels.div_ceil(most))
            .sum()
    }

    /// The `index`-th of [`Inputs::runs`].
    pub(crate) fn run(&self, most: usize, mut index: usize) -> Run {
        let mut before = 0;
        for (part, InputPart { channels, .. }) in self.parts().iter().enumerate() {
            let runs = channels.div_ceil(most);
            if index < runs {
                let first = index * most;
                return Run {
                    part,
                    first,
                    channel: before + first,
                    count: most.min(channels - first),
                };
            }
            (index, before) = (index - runs, before + channels);
        }
        Run {
            part: self.len,
            first: 0,
            channel: before,
            count: 0,
        }
    }

    /// Writes out the joined input.
    pub(crate) fn join(&self, data: &[&[f32]], xs: Nhwc, x: &mut [f32], scratch: &mut [f32]) {
        let (mut scratch, mut joined) = (scratch, Vec::with_capacity(self.len));
        for (part, data) in data.iter().enumerate() {
            let InputPart { channels, doubled } = self.parts[part];
            if doubled {
                let (large, rest) = scratch.split_at_mut(xs.pixels() * channels);
                resize::nearest2x_forward(data, self.shape(part, xs), large);
                joined.push((&*large, channels));
                scratch = rest;
            } else {
                joined.push((data, channels));
            }
        }
        concat::forward(&joined, xs.pixels(), x);
    }

    /// Distributes the input's gradient to its parts.
    pub(crate) fn divide(
        &self,
        dx: &[f32],
        xs: Nhwc,
        into: &mut [PartGradient<'_>],
        scratch: &mut [f32],
    ) {
        let mut offset = 0;
        for (part, into) in into.iter_mut().enumerate() {
            let InputPart { channels, doubled } = self.parts[part];
            if doubled {
                let large = &mut scratch[..xs.pixels() * channels];
                concat::backward(dx, xs.c, offset, channels, large, Accumulate::Replace);
                resize::nearest2x_backward(large, self.shape(part, xs), into.data, into.acc);
            } else {
                concat::backward(dx, xs.c, offset, channels, into.data, into.acc);
            }
            offset += channels;
        }
    }
}

/// The destination of a part's gradient.
#[derive(Debug)]
pub struct PartGradient<'a> {
    /// In the layout of the part's values.
    pub data: &'a mut [f32],
    /// Whether it is replaced or added to.
    pub acc: Accumulate,
}

/// Some neighbouring channels of one part.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) part: usize,
    /// First channel within the part.
    pub(crate) first: usize,
    /// First channel within the whole input.
    pub(crate) channel: usize,
    pub(crate) count: usize,
}
