//! Dense convolution. Weights are `[kh, kw, cin, cout]`.
//!
//! [`Conv2d`] is a convolution of given shapes: it states how much scratch it needs and runs the forward and backward
//! passes. Weights are packed first, in the order in which the chosen path reads them; for inference that is done once.
//!
//! There are three paths; `Path::of` and [`Conv2d::for_inference`] choose between them:
//! - `gather`: a sum of matrix products with no im2col buffer. In NHWC the `cin` values of a pixel are contiguous, so
//!   the inner product of a window with the weights is a few runs of contiguous memory, read in place with a tile of
//!   pixels × output channels in registers. The input's gradient is the same with the weights rotated by 180° and
//!   transposed; `weight` is the weights' gradient, with a tile of input × output channels in registers and pixels in
//!   the inner loop. A 1×1 convolution is the case of a single run.
//! - `winograd`: 3×3 convolutions of stride 1 with a quarter of the products.
//! - `few`: the forward pass to very few channels, in inference.

#![allow(
    clippy::needless_range_loop,
    reason = "tiles are arrays of arrays that share their indices"
)]

pub(crate) mod few;
mod gather;
pub(crate) mod inputs;
mod pack;
pub(crate) mod tile;
mod weight;
pub(crate) mod winograd;

pub(crate) use gather::{Finish, Gather, OutputRows};
pub use inputs::{InputPart, Inputs, PartGradient};
pub(crate) use pack::{Order, Panels, packed_len};
pub(crate) use weight::WeightGradient;

use crate::bf16::{self, Bf16};
use crate::simd::{Bf16Alone, Bf16Pairs, F32, Factors, pairs_bf16};
use crate::{Accumulate, Epilogue, Nhwc, Precision, Window, size};
use few::Few;
use winograd::{Product, WinogradGradient};

/// Runs `$body` with the factors of a precision.
macro_rules! with_factors {
    ($precision:expr, |$factors:ident| $body:expr) => {
        match $precision {
            Precision::F32 | Precision::Tf32 => {
                let $factors = F32;
                $body
            }
            Precision::Bf16 => with_narrow_factors!(|$factors| $body),
        }
    };
}

/// Runs `$body` with the factors of bf16.
macro_rules! with_narrow_factors {
    (|$factors:ident| $body:expr) => {
        match pairs_bf16() {
            true => {
                let $factors = Bf16Pairs;
                $body
            }
            false => {
                let $factors = Bf16Alone;
                $body
            }
        }
    };
}

/// How a convolution is computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Path {
    /// A direct sum, for any window.
    Gather,
    /// F(4×4, 3×3).
    Winograd,
    /// A direct sum with input channels in the lanes, to few output channels.
    Few,
}

impl Path {
    /// The path of a product that reads `channels` channels.
    fn of(xs: Nhwc, channels: usize, window: Window) -> Self {
        if winograd::suits(xs, channels, window) {
            Path::Winograd
        } else {
            Path::Gather
        }
    }
}

/// A convolution from an input of shape `xs` to `cout` channels.
///
/// For every value of this type, input, output and weights are neither empty nor beyond [`crate::MAX_VALUES`], and the
/// parts make up the input. The paths rely on this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Conv2d {
    xs: Nhwc,
    inputs: Inputs,
    cout: usize,
    window: Window,
    /// Path of the forward pass and the weights' gradient, which read the input.
    path: Path,
    /// Path of the input's gradient, which reads the output's.
    path_back: Path,
    forward_precision: Precision,
    input_precision: Precision,
    weight_precision: Precision,
}

impl Conv2d {
    /// A convolution of one tensor.
    ///
    /// # Panics
    /// Panics if the window does not fit, or if input, output or weights are empty or beyond [`crate::MAX_VALUES`].
    pub fn new(xs: Nhwc, cout: usize, window: Window) -> Self {
        let ys = window.fitted(xs, cout);
        assert!(
            !xs.is_empty() && !ys.is_empty(),
            "conv2d: nothing to do for {xs:?} to {cout} channels"
        );
        size([window.taps(), xs.c, cout]);
        Self {
            xs,
            inputs: Inputs::whole(xs.c),
            cout,
            window,
            path: Path::of(xs, xs.c, window),
            path_back: Path::of(xs, cout, window),
            forward_precision: Precision::F32,
            input_precision: Precision::F32,
            weight_precision: Precision::F32,
        }
    }

    /// The same convolution of an input that is joined from parts.
    ///
    /// # Panics
    /// Panics if the parts' channels do not add up to the input's, or if a part is doubled and the input's height or
    /// width is odd.
    pub fn joined(self, inputs: Inputs) -> Self {
        inputs.check(self.xs);
        Self { inputs, ..self }
    }

    /// The same convolution with the fastest path of a forward pass alone: that of the weights' gradient, which is then a
    /// direct sum, may be slower. Must precede [`Conv2d::with_precisions`].
    pub fn for_inference(self) -> Self {
        match few::suits(self.xs, self.cout, self.window) {
            true => Self {
                path: Path::Few,
                ..self
            },
            false => self,
        }
    }

    /// The same convolution with factors of another precision. Windows that are neither 1×1 nor computed by Winograd
    /// keep `f32`: there are few of them, and they read about three channels.
    pub fn with_precision(self, precision: Precision) -> Self {
        self.with_precisions(precision, precision)
    }

    /// Like [`Conv2d::with_precision`], with one precision for the forward pass and one for both gradients.
    pub fn with_precisions(self, forward: Precision, backward: Precision) -> Self {
        let narrow = |path, precision| match path {
            Path::Few => Precision::F32,
            Path::Gather if self.window != Window::POINT => Precision::F32,
            _ => precision,
        };
        Self {
            forward_precision: narrow(self.path, forward),
            input_precision: narrow(self.path_back, backward),
            weight_precision: narrow(self.path, backward),
            ..self
        }
    }

    /// Shape of the whole input.
    pub fn input(self) -> Nhwc {
        self.xs
    }

    /// How the forward pass is computed.
    pub fn path(self) -> Path {
        self.path
    }

    /// Precision of the factors of the forward pass, the input's gradient and the weights' gradient.
    pub fn precisions(self) -> [Precision; 3] {
        [
            self.forward_precision,
            self.input_precision,
            self.weight_precision,
        ]
    }

    /// Whether weights packed for the forward pass of `other` can be used for this one's.
    pub fn packs_as(self, other: Self) -> bool {
        let key = |c: Self| (c.path, c.forward_precision, c.inputs, c.cout, c.window);
        key(self) == key(other)
    }

    /// Shape of the output.
    pub fn output(self) -> Nhwc {
        self.window.fitted(self.xs, self.cout)
    }

    /// Length of the weights packed for [`Conv2d::forward`].
    pub fn packed_len(self) -> usize {
        match self.path {
            Path::Gather => with_factors!(self.forward_precision, |f| self.gather().packed_len(f)),
            Path::Winograd => {
                with_factors!(self.forward_precision, |f| Product::forward(f, self)
                    .packed_len())
            }
            Path::Few => self.few().packed_len(),
        }
    }

    /// Packs `w` for [`Conv2d::forward`].
    pub fn pack(self, w: &[f32], packed: &mut [f32]) {
        self.check_weights("pack", w.len());
        match self.path {
            Path::Gather => with_factors!(self.forward_precision, |f| self.gather().pack(
                f,
                w,
                Order::Forward,
                packed
            )),
            Path::Winograd => {
                with_factors!(self.forward_precision, |f| Product::forward(f, self)
                    .pack(w, packed))
            }
            Path::Few => self.few().pack(w, packed),
        }
    }

    /// Scratch of [`Conv2d::forward`].
    pub fn forward_scratch(self) -> usize {
        match self.path {
            Path::Gather => {
                self.joining_scratch()
                    + with_factors!(self.forward_precision, |f| self.gather().scratch(f))
            }
            Path::Winograd => {
                with_factors!(self.forward_precision, |f| Product::forward(f, self)
                    .scratch())
            }
            Path::Few => self.joining_scratch(),
        }
    }

    /// `y = act(conv(x, w) + bias)`, with `x` the input's parts and `w` from [`Conv2d::pack`].
    pub fn forward(
        self,
        x: &[&[f32]],
        packed: &[f32],
        epilogue: Epilogue<'_>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        self.check_parts("forward", x);
        self.check_output("forward", y.len());
        let finish = Finish::new(epilogue);
        match self.path {
            Path::Gather => {
                let (x, scratch) = self.join(x, scratch);
                with_factors!(self.forward_precision, |f| self
                    .gather()
                    .run(f, x, packed, finish, y, scratch));
            }
            Path::Winograd => {
                with_factors!(self.forward_precision, |f| Product::forward(f, self)
                    .run_forward(x, packed, finish, y, scratch))
            }
            Path::Few => {
                let (x, _) = self.join(x, scratch);
                self.few().run(x, packed, epilogue, y);
            }
        }
    }

    /// Whether [`Conv2d::forward_bf16`] is there for this convolution, with an output that is `rounded` to bf16 or else is `f32`.
    pub fn reads_bf16(self, rounded: bool) -> bool {
        let pairs = self.forward_precision == Precision::Bf16;
        match self.path {
            Path::Winograd => pairs && rounded,
            Path::Gather => pairs && rounded && self.inputs.is_whole(),
            Path::Few => !rounded && self.inputs.is_whole(),
        }
    }

    /// Like [`Conv2d::forward`], of bf16 values.
    ///
    /// # Panics
    /// Also panics unless the convolution [reads bf16](Conv2d::reads_bf16).
    pub fn forward_bf16(
        self,
        x: &[&[Bf16]],
        packed: &[f32],
        epilogue: Epilogue<'_>,
        y: bf16::Output<'_>,
        scratch: &mut [f32],
    ) {
        self.check_parts("forward_bf16", x);
        self.check_output("forward_bf16", y.len());
        let rounded = matches!(y, bf16::Output::Bf16(_));
        assert!(
            self.reads_bf16(rounded),
            "conv2d::forward_bf16: {self:?} does not read bf16"
        );
        let finish = Finish::new(epilogue);
        match (self.path, y) {
            (Path::Gather, bf16::Output::Bf16(y)) => {
                with_narrow_factors!(|f| self.gather().run(f, x[0], packed, finish, y, scratch))
            }
            (Path::Winograd, bf16::Output::Bf16(y)) => {
                with_narrow_factors!(
                    |f| Product::forward(f, self).run_forward(x, packed, finish, y, scratch)
                )
            }
            (_, bf16::Output::F32(y)) => self.few().run(x[0], packed, epilogue, y),
            (Path::Few, bf16::Output::Bf16(_)) => unreachable!("as `reads_bf16` said"),
        }
    }

    /// Whether [`Conv2d::forward_to_bf16`] is there for this convolution.
    pub fn writes_bf16(self) -> bool {
        self.path == Path::Gather
    }

    /// Like [`Conv2d::forward`], with the results rounded to bf16.
    ///
    /// # Panics
    /// Also panics unless the convolution [writes bf16](Conv2d::writes_bf16).
    pub fn forward_to_bf16(
        self,
        x: &[&[f32]],
        packed: &[f32],
        epilogue: Epilogue<'_>,
        y: &mut [Bf16],
        scratch: &mut [f32],
    ) {
        self.check_parts("forward_to_bf16", x);
        self.check_output("forward_to_bf16", y.len());
        assert!(
            self.writes_bf16(),
            "conv2d::forward_to_bf16: {self:?} does not write bf16"
        );
        let (finish, (x, scratch)) = (Finish::new(epilogue), self.join(x, scratch));
        with_factors!(self.forward_precision, |f| self
            .gather()
            .run(f, x, packed, finish, y, scratch));
    }

    /// Length of the weights packed for [`Conv2d::backward_input`].
    pub fn backward_packed_len(self) -> usize {
        match self.path_back {
            Path::Gather | Path::Few => with_factors!(self.input_precision, |f| self
                .gather_backward()
                .packed_len(f)),
            Path::Winograd => {
                with_factors!(self.input_precision, |f| Product::backward(f, self)
                    .packed_len())
            }
        }
    }

    /// Packs `w` for [`Conv2d::backward_input`].
    pub fn pack_backward(self, w: &[f32], packed: &mut [f32]) {
        self.check_weights("pack_backward", w.len());
        match self.path_back {
            Path::Gather | Path::Few => with_factors!(self.input_precision, |f| self
                .gather_backward()
                .pack(f, w, Order::Backward, packed)),
            Path::Winograd => {
                with_factors!(self.input_precision, |f| Product::backward(f, self)
                    .pack(w, packed))
            }
        }
    }

    /// Scratch of [`Conv2d::backward_input`].
    pub fn backward_input_scratch(self) -> usize {
        match self.path_back {
            Path::Gather | Path::Few => {
                self.joining_scratch()
                    + with_factors!(self.input_precision, |f| self.gather_backward().scratch(f))
            }
            Path::Winograd => {
                with_factors!(self.input_precision, |f| Product::backward(f, self)
                    .scratch())
            }
        }
    }

    /// Gradients with respect to the input's parts, with `w` from [`Conv2d::pack_backward`].
    pub fn backward_input(
        self,
        dy: &[f32],
        packed: &[f32],
        dx: &mut [PartGradient<'_>],
        scratch: &mut [f32],
    ) {
        self.inputs.check_lens(
            "conv2d::backward_input",
            self.xs,
            dx.iter().map(|dx| dx.data.len()),
        );
        self.check_output("backward_input", dy.len());
        match (self.path_back, dx) {
            (Path::Winograd, dx) => {
                with_factors!(self.input_precision, |f| Product::backward(f, self)
                    .run_backward(dy, packed, dx, scratch))
            }
            (Path::Gather | Path::Few, [dx]) if self.inputs.is_whole() => {
                let finish = Finish {
                    bias: None,
                    activation: None,
                    acc: dx.acc,
                };
                with_factors!(self.input_precision, |f| self
                    .gather_backward()
                    .run(f, dy, packed, finish, dx.data, scratch));
            }
            (Path::Gather | Path::Few, dx) => {
                let (whole, scratch) = scratch.split_at_mut(self.xs.len());
                let (large, scratch) = scratch.split_at_mut(self.joining_scratch() - whole.len());
                let finish = Finish {
                    bias: None,
                    activation: None,
                    acc: Accumulate::Replace,
                };
                with_factors!(self.input_precision, |f| self
                    .gather_backward()
                    .run(f, dy, packed, finish, whole, scratch));
                self.inputs.divide(whole, self.xs, dx, large);
            }
        }
    }

    /// Scratch of [`Conv2d::backward_weight`].
    pub fn backward_weight_scratch(self) -> usize {
        match self.path {
            Path::Gather | Path::Few => {
                self.joining_scratch()
                    + with_factors!(self.weight_precision, |f| self.weight_gradient(f).scratch())
            }
            Path::Winograd => {
                with_factors!(self.weight_precision, |f| WinogradGradient::new(f, self)
                    .scratch())
            }
        }
    }

    /// Gradient with respect to `w`, `[kh, kw, cin, cout]`.
    pub fn backward_weight(
        self,
        x: &[&[f32]],
        dy: &[f32],
        dw: &mut [f32],
        acc: Accumulate,
        scratch: &mut [f32],
    ) {
        self.check_parts("backward_weight", x);
        self.check_output("backward_weight", dy.len());
        self.check_weights("backward_weight", dw.len());
        match self.path {
            Path::Gather | Path::Few => {
                let (x, scratch) = self.join(x, scratch);
                with_factors!(self.weight_precision, |f| self
                    .weight_gradient(f)
                    .run(x, dy, dw, acc, scratch));
            }
            Path::Winograd => {
                with_factors!(self.weight_precision, |f| WinogradGradient::new(f, self)
                    .run(x, dy, dw, acc, scratch))
            }
        }
    }

    fn few(self) -> Few {
        Few::new(self.xs, self.cout, self.window)
    }

    fn gather(self) -> Gather {
        Gather::forward(self.xs, self.cout, self.window)
    }

    fn gather_backward(self) -> Gather {
        Gather::backward(self.xs, self.cout, self.window)
    }

    fn weight_gradient<F: Factors>(self, factors: F) -> WeightGradient<F> {
        WeightGradient::new(factors, self.xs, self.cout, self.window)
    }

    /// Scratch in which an input given in parts is written out for `gather`, which reads a single tensor.
    fn joining_scratch(self) -> usize {
        if self.inputs.is_whole() {
            0
        } else {
            2 * self.xs.len()
        }
    }

    /// The input as one tensor, and the remaining scratch.
    fn join<'a>(self, x: &[&'a [f32]], scratch: &'a mut [f32]) -> (&'a [f32], &'a mut [f32]) {
        match x {
            [x] if self.inputs.is_whole() => (x, scratch),
            parts => {
                let (joined, scratch) = scratch.split_at_mut(self.xs.len());
                let (large, scratch) = scratch.split_at_mut(self.joining_scratch() - joined.len());
                self.inputs.join(parts, self.xs, joined, large);
                (joined, scratch)
            }
        }
    }

    fn check_parts<X>(self, name: &str, x: &[&[X]]) {
        let lens = x.iter().map(|x| x.len());
        self.inputs
            .check_lens(&format!("conv2d::{name}"), self.xs, lens);
    }

    fn check_output(self, name: &str, len: usize) {
        assert_eq!(
            len,
            self.output().len(),
            "conv2d::{name}: length of y for {self:?}"
        );
    }

    fn check_weights(self, name: &str, len: usize) {
        assert_eq!(
            len,
            size([self.window.taps(), self.xs.c, self.cout]),
            "conv2d::{name}: length of w for {self:?}"
        );
    }
}
