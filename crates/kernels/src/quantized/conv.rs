//! Dense convolution.

use super::few::Few;
use super::gather::Gather;
use super::winograd::Winograd;
use super::write::Finish;
use super::{Affine, Output, Quantized};
use crate::conv2d::Inputs;
use crate::conv2d::winograd::suits;
use crate::{Epilogue, Nhwc, Window, size};
use std::mem;

/// A convolution of an input of bytes, from shape `xs` to `cout` channels. Its input may be in parts, as for
/// [`crate::conv2d::Conv2d`].
#[derive(Clone, Copy, Debug)]
pub struct QuantizedConv {
    xs: Nhwc,
    inputs: Inputs,
    cout: usize,
    window: Window,
    path: Path,
}

#[derive(Clone, Copy, Debug)]
enum Path {
    Gather(Gather),
    Winograd(Winograd),
    Few(Few),
}

impl QuantizedConv {
    /// `None` where sums of so many terms would leave the weights too few bits.
    ///
    /// # Panics
    /// Panics where [`crate::conv2d::Conv2d::new`] and [`crate::conv2d::Conv2d::joined`] do.
    pub fn new(xs: Nhwc, inputs: Inputs, cout: usize, window: Window) -> Option<Self> {
        let ys = window.fitted(xs, cout);
        assert!(
            !xs.is_empty() && !ys.is_empty(),
            "quantized: nothing to do for {xs:?} to {cout} channels"
        );
        size([window.taps(), xs.c, cout]);
        inputs.check(xs);
        let path = match Few::new(xs, inputs, cout, window) {
            Some(few) => Path::Few(few),
            None if suits(xs, xs.c, window) => {
                Path::Winograd(Winograd::new(xs, inputs, cout, window)?)
            }
            None => Path::Gather(Gather::new(xs, inputs, cout, window)?),
        };
        Some(Self {
            xs,
            inputs,
            cout,
            window,
            path,
        })
    }

    /// Whether it is computed by Winograd's algorithm, at whose points weights have up to 16 bits. Otherwise they have 8.
    pub fn is_winograd(&self) -> bool {
        matches!(self.path, Path::Winograd(_))
    }

    /// Shape of the output.
    pub fn output(&self) -> Nhwc {
        self.window.fitted(self.xs, self.cout)
    }

    /// Whether weights packed for `other` can be used for this one, if their inputs have the same codes.
    pub fn packs_as(&self, other: &Self) -> bool {
        let path = |c: &Self| mem::discriminant(&c.path);
        let key = |c: &Self| (path(c), c.inputs, c.cout, c.window);
        key(self) == key(other)
    }

    /// Length of the packed weights.
    pub fn packed_len(&self) -> usize {
        match self.path {
            Path::Gather(gather) => gather.packed_len(),
            Path::Winograd(winograd) => winograd.packed_len(),
            Path::Few(few) => few.packed_len(),
        }
    }

    /// Packs `weights`, `[kh, kw, cin, cout]`, for inputs of these codes, one per part.
    pub fn pack(&self, weights: &[f32], parts: &[Affine], packed: &mut [f32]) {
        assert_eq!(
            weights.len(),
            size([self.window.taps(), self.xs.c, self.cout]),
            "quantized::pack: length of the weights for {self:?}"
        );
        assert!(
            parts.len() == self.inputs.parts().len() && packed.len() >= self.packed_len(),
            "quantized::pack: not one code per part, or too little room"
        );
        match self.path {
            Path::Gather(gather) => gather.pack(weights, parts, packed),
            Path::Winograd(winograd) => winograd.pack(weights, parts, packed),
            Path::Few(few) => few.pack(weights, parts[0], packed),
        }
    }

    /// Scratch of [`QuantizedConv::forward`].
    pub fn forward_scratch(&self) -> usize {
        match self.path {
            Path::Gather(gather) => gather.scratch(),
            Path::Winograd(winograd) => winograd.scratch(),
            Path::Few(few) => few.scratch(),
        }
    }

    /// `y = act(conv(parts) + bias)`; `packed` is from [`QuantizedConv::pack`] with the codes of these parts.
    pub fn forward(
        &self,
        parts: &[Quantized<'_>],
        packed: &[f32],
        epilogue: Epilogue<'_>,
        y: Output<'_>,
        scratch: &mut [f32],
    ) {
        let lens = parts.iter().map(|part| part.data.len());
        self.inputs.check_lens("quantized::forward", self.xs, lens);
        assert!(
            epilogue.bias.is_none_or(|bias| bias.len() == self.cout),
            "bias: not one value per output channel"
        );
        assert_eq!(
            y.len(),
            self.output().len(),
            "quantized::forward: length of y for {self:?}"
        );
        let finish = Finish::new(epilogue, y);
        match self.path {
            Path::Gather(gather) => gather.run(parts, packed, finish, scratch),
            Path::Winograd(winograd) => winograd.run(parts, packed, finish, scratch),
            Path::Few(few) => few.run(parts, packed, finish, scratch),
        }
    }
}
