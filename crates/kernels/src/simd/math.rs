//! Functions of vectors that are built from [`Simd`]'s operations.

use super::Simd;
use crate::Activation;

/// Beyond this, sigmoid is within 10⁻³⁷ of 0 or rounds to 1; up to it, all of its intermediate values are normal numbers.
const LIMIT: f32 = 86.0;

/// Numerator and denominator of sigmoid(x) = 1 / (1 + e⁻ˣ), so that a product with it needs one division in all.
///
/// e⁻ˣ = 2ⁿ · e⁻ʳ with n = round(−x / ln 2), and e⁻ʳ = (q − r) / (q + r) with q = r · coth(r / 2), an even function: two
/// terms after the constant give it within 10⁻⁸ for |r| ≤ ln 2 / 2, the second adjusted for those left out.
/// `x` is not below −[`LIMIT`]; NaN passes through.
#[inline(always)]
fn sigmoid_parts<S: Simd>(s: S, x: S::V) -> [S::V; 2] {
    /// Adding 1.5 · 2²³ rounds to an integer, which is then in the lowest bits; 127 is the bias of exponents.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    let x = s.min(s.splat(LIMIT), x);
    let biased = s.mul_add(x, s.splat(-std::f32::consts::LOG2_E), s.splat(ROUND));
    let n = s.sub(biased, s.splat(ROUND));
    // ln 2 in two parts, so that the first product is exact.
    let r = s.mul_add(n, s.splat(0.693_359_4), x);
    let r = s.mul_add(n, s.splat(-2.121_944_4e-4), r);
    let square = s.mul(r, r);
    let q = s.mul_add(s.splat(-2.772e-3), square, s.splat(1.0 / 6.0));
    let q = s.mul_add(q, square, s.splat(2.0));
    let numerator = s.add(q, r);
    let power = s.power_of_two(biased);
    [numerator, s.mul_add(s.sub(q, r), power, numerator)]
}

/// `x`, but at least −[`LIMIT`]. The bound is the first argument, because `min` and `max` pass a NaN through from the
/// second.
#[inline(always)]
fn not_too_negative<S: Simd>(s: S, x: S::V) -> S::V {
    s.max(s.splat(-LIMIT), x)
}

/// 1 / (1 + e⁻ˣ); exactly 1 for large `x`, and less than 10⁻³⁷ for very negative `x`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let [numerator, denominator] = sigmoid_parts(s, not_too_negative(s, x));
    s.quotient(numerator, denominator)
}

/// x · sigmoid(x).
#[inline(always)]
fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    let x = not_too_negative(s, x);
    let [numerator, denominator] = sigmoid_parts(s, x);
    s.quotient(s.mul(x, numerator), denominator)
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
        Some(Activation::Silu) => silu(s, x),
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
            let x = not_too_negative(s, x);
            let y = sigmoid(s, x);
            s.mul(dy, s.mul(y, s.mul_add(x, s.sub(one, y), one)))
        }
    }
}
