use crate::{MAX_VALUES, Nhwc, size};

/// How a window's input is extended at its borders: by zeros or, for pooling, by pixels that are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The same count on every side, as PyTorch's `padding=p`.
    Symmetric(usize),
    /// TensorFlow's dynamic `SAME`: the output has ⌈input / stride⌉ positions, and an odd pixel of padding goes at the
    /// end.
    Same,
}

/// The sliding window of a convolution or pooling. This file has the only formulas for output size and padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Window {
    /// Height and width in pixels.
    pub kernel: [usize; 2],
    /// Step in pixels, the same on both axes.
    pub stride: usize,
    /// Padding at the borders.
    pub padding: Padding,
}

impl Window {
    /// The 1×1 window of stride 1.
    pub const POINT: Self = Self {
        kernel: [1, 1],
        stride: 1,
        padding: Padding::Symmetric(0),
    };

    /// Positions of the window along `axis` (0 = rows, 1 = columns) of `input` pixels;
    /// `None` if it does not fit even once, or if kernel, stride or input is zero or beyond [`MAX_VALUES`].
    pub fn output_len(&self, axis: usize, input: usize) -> Option<usize> {
        let pad = match self.padding {
            Padding::Same => 0,
            Padding::Symmetric(pad) => pad,
        };
        let possible = 1..=MAX_VALUES;
        let all = [self.stride, self.kernel[axis], input, pad.max(1)];
        if !all.iter().all(|side| possible.contains(side)) {
            return None;
        }
        match self.padding {
            Padding::Same => Some(input.div_ceil(self.stride)),
            Padding::Symmetric(pad) => {
                let room = (input + 2 * pad).checked_sub(self.kernel[axis])?;
                Some(room / self.stride + 1)
            }
        }
    }

    /// Shape of the output for an input of shape `x`; `None` if the window does not fit, or if there is no memory for
    /// input or output ([`MAX_VALUES`]).
    pub fn output(&self, x: Nhwc, channels: usize) -> Option<Nhwc> {
        let (h, w) = (self.output_len(0, x.h)?, self.output_len(1, x.w)?);
        let y = Nhwc {
            n: x.n,
            h,
            w,
            c: channels,
        };
        x.checked_len().and(y.checked_len()).map(|_| y)
    }

    /// Padding before the first pixel of `axis`: for `Same`, the smaller half of the total
    /// `max((⌈n/s⌉−1)·s + k − n, 0)`.
    pub fn pad_before(&self, axis: usize, input: usize) -> usize {
        match self.padding {
            Padding::Symmetric(pad) => pad,
            Padding::Same => {
                let span = (input.div_ceil(self.stride).max(1) - 1) * self.stride;
                span.saturating_add(self.kernel[axis]).saturating_sub(input) / 2
            }
        }
    }

    /// Number of taps.
    pub(crate) fn taps(&self) -> usize {
        size(self.kernel)
    }

    /// [`Window::output`] where the caller guarantees that the window fits.
    pub(crate) fn fitted(&self, x: Nhwc, channels: usize) -> Nhwc {
        let output = self.output(x, channels);
        assert!(
            output.is_some(),
            "window {self:?} does not fit the input {x:?}"
        );
        output.unwrap_or(x)
    }
}
