//! Functions of vectors that are built from [`Simd`]'s operations.

use super::Simd;
use crate::Activation;

/// eˣ within 2 units in the last place: 2ⁿ · p(r) with Cephes' `expf` polynomial, n = round(x / ln 2), |r| ≤ ln 2 / 2.
/// Above about 88.4 it is infinite, below −87.3 it stays at the smallest normal number; NaN passes through.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    /// 1.5 · 2²³: adding it rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    // The bound is the first argument, because `min` and `max` pass a NaN through from the second.
    let x = s.min(s.splat(89.0), s.max(s.splat(-87.3), x));
    let n = s.sub(
        s.mul_add(x, s.splat(std::f32::consts::LOG2_E), s.splat(ROUND)),
        s.splat(ROUND),
    );
    let r = s.mul_add(n, s.splat(-0.693_359_4), x);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for coefficient in [
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = s.mul_add(p, r, s.splat(coefficient));
    }
    let p = s.mul_add(p, s.mul(r, r), s.add(r, s.splat(1.0)));
    s.scale_by_power_of_two(p, n)
}

/// `x`, but at least −87, below which sigmoid is less than 10⁻³⁷ anyway.
#[inline(always)]
fn not_too_negative<S: Simd>(s: S, x: S::V) -> S::V {
    s.max(s.splat(-87.0), x)
}

/// 1 / (1 + e⁻ˣ); exactly 1 for large `x`, and 10⁻³⁸ for very negative `x`, so that the sum stays finite.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    let x = not_too_negative(s, x);
    s.reciprocal(s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// `kind(x)`; `x` itself without an activation.
#[inline(always)]
pub(crate) fn activate<S: Simd>(s: S, kind: Option<Activation>, x: S::V) -> S::V {
    let zero = s.splat(0.0);
    match kind {
        None => x,
        Some(Activation::Relu) => s.max(zero, x),
        Some(Activation::Relu6) => s.min(s.splat(6.0), s.max(zero, x)),
        Some(Activation::Sigmoid) => sigmoid(s, x),
        Some(Activation::Silu) => s.mul(not_too_negative(s, x), sigmoid(s, x)),
    }
}

/// [`activate`] for several vectors: the kind is looked up once.
#[inline(always)]
pub(crate) fn activate_all<S: Simd, const N: usize>(
    s: S,
    kind: Option<Activation>,
    x: &mut [S::V; N],
) {
    // The match of `activate` is on a constant in each of these loops, and disappears.
    macro_rules! each {
        ($($kind:ident)*) => {
            match kind {
                None => {}
                $(Some(Activation::$kind) => {
                    for x in x {
                        *x = activate(s, Some(Activation::$kind), *x);
                    }
                })*
            }
        };
    }
    each!(Relu Relu6 Sigmoid Silu);
}

/// `dy · kind'(x)`; zero at the kinks of ReLU and ReLU6, as in PyTorch.
#[inline(always)]
pub(crate) fn activation_gradient<S: Simd>(
    s: S,
    kind: Option<Activation>,
    x: S::V,
    dy: S::V,
) -> S::V {
    let one = s.splat(1.0);
    match kind {
        None => dy,
        Some(Activation::Relu) => s.where_positive(x, dy),
        Some(Activation::Relu6) => {
            s.where_positive(x, s.where_positive(s.sub(s.splat(6.0), x), dy))
        }
        Some(Activation::Sigmoid) => {
            let y = sigmoid(s, x);
            s.mul(dy, s.mul(y, s.sub(one, y)))
        }
        Some(Activation::Silu) => {
            let y = sigmoid(s, x);
            let x = not_too_negative(s, x);
            s.mul(dy, s.mul(y, s.mul_add(x, s.sub(one, y), one)))
        }
    }
}
