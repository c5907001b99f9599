//! The last step of every kernel: bias, activation, and the results as `f32` or as codes.

use super::{Affine, Output};
use crate::parallel::Shared;
use crate::simd::{Simd, activate_all};
use crate::{Activation, Epilogue};

/// An [`Output`] that tasks write in parallel.
#[derive(Clone, Copy)]
enum Writer<'a> {
    F32(Shared<'a, f32>),
    U8(Shared<'a, u8>),
}

/// What is applied to results `x`, which are numbers, on their way to the output.
///
/// A code is `x · factor + offset`, clamped and rounded. An activation that is a clamp, too, is one of the code: then
/// factor and offset can be part of whatever scales `x` and adds a bias to it, and the activation costs nothing.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    to: Writer<'a>,
    bias: Option<&'a [f32]>,
    /// An activation that is no clamp; it comes before the code.
    curve: Option<Activation>,
    /// 1 and 0 for `f32`.
    code: [f32; 2],
    /// Limits of what is written.
    low: f32,
    high: f32,
}

impl<'a> Finish<'a> {
    pub(super) fn new(epilogue: Epilogue<'a>, output: Output<'a>) -> Self {
        let (to, [factor, offset], [low, high]) = match output {
            Output::F32(y) => (
                Writer::F32(Shared::new(y)),
                [1.0, 0.0],
                [f32::NEG_INFINITY, f32::INFINITY],
            ),
            Output::U8(y, affine) => (Writer::U8(Shared::new(y)), code(affine), [0.0, 255.0]),
        };
        let (curve, low, high) = match epilogue.activation {
            None => (None, low, high),
            Some(Activation::Relu) => (None, offset, high),
            Some(Activation::Relu6) => (None, offset, high.min(6.0 * factor + offset)),
            curve => (curve, low, high),
        };
        Self {
            to,
            bias: epilogue.bias,
            curve,
            code: [factor, offset],
            low,
            high,
        }
    }

    /// Without bias and activation.
    pub(super) fn plain(output: Output<'a>) -> Self {
        Self::new(Epilogue::default(), output)
    }

    pub(super) fn len(&self) -> usize {
        match self.to {
            Writer::F32(y) => y.len(),
            Writer::U8(y) => y.len(),
        }
    }

    /// What a result is multiplied by before [`Finish::write`].
    #[inline(always)]
    pub(super) fn factor<S: Simd>(&self, s: S) -> S::V {
        s.splat(if self.curve.is_some() {
            1.0
        } else {
            self.code[0]
        })
    }

    /// What is then added: of the channels of `mask` from `channel`.
    ///
    /// # Safety
    /// The bias, if there is one, has these channels.
    #[inline(always)]
    pub(super) unsafe fn offset<S: Simd>(&self, s: S, channel: usize, mask: S::Mask) -> S::V {
        let bias = match self.bias {
            // SAFETY: the caller guarantees the channels.
            Some(bias) => unsafe { s.load(bias.as_ptr().add(channel), mask) },
            None => s.splat(0.0),
        };
        match self.curve {
            Some(_) => bias,
            None => s.add(s.mul(bias, self.factor(s)), s.splat(self.code[1])),
        }
    }

    /// `x · factor + offset`, not fused, so that every instruction set rounds alike.
    #[inline(always)]
    pub(super) fn scaled<S: Simd>(&self, s: S, x: S::V) -> S::V {
        s.add(s.mul(x, s.splat(self.code[0])), s.splat(self.code[1]))
    }

    /// Applies what remains to scaled results with their offset.
    #[inline(always)]
    fn finish<S: Simd, const N: usize>(&self, s: S, values: &mut [S::V; N]) {
        if self.curve.is_some() {
            activate_all(s, self.curve, values);
            for value in values.iter_mut() {
                *value = self.scaled(s, *value);
            }
        }
        // The limits are first arguments, because NaN passes through from the second.
        for value in values.iter_mut() {
            *value = s.min(s.splat(self.high), s.max(s.splat(self.low), *value));
        }
    }

    /// Writes scaled results with their offset, a vector at each of `at`.
    ///
    /// # Safety
    /// The lanes of the masks are in the output, and no other task accesses them.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd, const N: usize>(
        &self,
        s: S,
        at: [usize; N],
        masks: [S::Mask; N],
        mut values: [S::V; N],
    ) {
        self.finish(s, &mut values);
        for i in 0..N {
            // SAFETY: the caller guarantees it.
            unsafe {
                match self.to {
                    Writer::F32(y) => s.store(y.pointer().add(at[i]), masks[i], values[i]),
                    Writer::U8(y) => s.store_bytes(y.pointer().add(at[i]), masks[i], values[i]),
                }
            }
        }
    }

    /// Like [`Finish::write`], for whole vectors, which come in pairs.
    ///
    /// # Safety
    /// The vectors are in the output, and no other task accesses them.
    #[inline(always)]
    pub(super) unsafe fn write_all<S: Simd, const N: usize>(
        &self,
        s: S,
        at: [usize; N],
        mut values: [S::V; N],
    ) {
        self.finish(s, &mut values);
        // SAFETY: the caller guarantees it.
        unsafe {
            match self.to {
                Writer::F32(y) => {
                    for i in 0..N {
                        s.store(y.pointer().add(at[i]), s.mask(S::LANES), values[i]);
                    }
                }
                Writer::U8(y) => {
                    for i in (0..N - N % 2).step_by(2) {
                        let to = [at[i], at[i + 1]].map(|at| y.pointer().add(at));
                        s.store_bytes_all(to, [values[i], values[i + 1]]);
                    }
                    if N % 2 == 1 {
                        let to = y.pointer().add(at[N - 1]);
                        s.store_bytes(to, s.mask(S::LANES), values[N - 1]);
                    }
                }
            }
        }
    }
}

/// What makes a code of a number.
fn code(affine: Affine) -> [f32; 2] {
    [affine.inverse(), f32::from(affine.zero)]
}
