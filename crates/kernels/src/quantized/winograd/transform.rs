//! The transforms along one axis, with the interpolation points 0, ±1, ±2 and ∞ (Lavin & Gray 2016). The points of the
//! `f32` kernel, which round less, are not integers.

use crate::conv2d::winograd::transform::{Axis, Grid, IN, Load, OUT, POINTS};
use crate::simd::Simd;

/// Sums of magnitudes of the rows of [`Input`].
const ROWS: [i32; IN] = [10, 10, 10, 6, 6, 10];

/// The largest magnitude of a transformed input at each point: `code − zero` is at most 255, and both axes multiply it
/// by at most the sum of a row's magnitudes. None is more than 255 · 10 · 10 = 25,500, so that neither the results nor the
/// steps of the computation leave `i16`: each step's coefficients are, in magnitude, at most those of one row or of
/// `4d₁ − 4d₃`, whose sum is 8.
pub(super) const LARGEST: [i32; POINTS] = {
    let (mut largest, mut point) = ([0; POINTS], 0);
    while point < POINTS {
        largest[point] = 255 * ROWS[point / IN] * ROWS[point % IN];
        assert!(largest[point] <= i16::MAX as i32);
        point += 1;
    }
    largest
};

/// Bᵀ: six input pixels to six points, in `i16`.
#[derive(Clone, Copy)]
pub(super) struct Input;

impl Axis<IN, IN> for Input {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, d: [S::V; IN]) -> [S::V; IN] {
        let twice = |x| s.add_i16(x, x);
        let (even, odd) = (s.sub_i16(d[4], d[2]), s.sub_i16(d[3], d[1]));
        let even_four = s.sub_i16(d[4], twice(twice(d[2])));
        let odd_four = s.sub_i16(d[3], twice(twice(d[1])));
        let odd_twice = twice(odd);
        [
            s.add_i16(twice(twice(s.sub_i16(d[0], d[2]))), even),
            s.add_i16(even_four, odd_four),
            s.sub_i16(even_four, odd_four),
            s.add_i16(even, odd_twice),
            s.sub_i16(even, odd_twice),
            s.sub_i16(s.sub_i16(d[5], d[3]), twice(odd_twice)),
        ]
    }
}

/// Aᵀ: six points to four output pixels, in `f32`. The factors are powers of two, so that fused and separate operations
/// round alike.
#[derive(Clone, Copy)]
pub(super) struct Output;

impl Axis<IN, OUT> for Output {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, m: [S::V; IN]) -> [S::V; OUT] {
        let (even_one, odd_one) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (even_two, odd_two) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [
            s.add(m[0], s.add(even_one, even_two)),
            s.mul_add(odd_two, s.splat(2.0), odd_one),
            s.mul_add(even_two, s.splat(4.0), even_one),
            s.mul_add(odd_two, s.splat(8.0), s.add(odd_one, m[5])),
        ]
    }
}

/// Sums in `i32` at all points, and the factors that make numbers of them.
pub(super) struct Scaled {
    pub(super) sums: Grid,
    pub(super) factors: Grid,
}

impl<S: Simd> Load<S> for Scaled {
    /// # Safety
    /// Whole vectors are readable at each place of both.
    #[inline(always)]
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V {
        // SAFETY: the caller guarantees it.
        let (sum, factor) = unsafe { (self.sums.load(s, y, x), self.factors.load(s, y, x)) };
        s.mul(s.float_of_i32(sum), factor)
    }
}

/// G: three taps to six points.
fn weight(g: [f64; 3]) -> [f64; IN] {
    let (even_one, even_two) = (g[0] + g[2], g[0] + 4.0 * g[2]);
    [
        g[0] / 4.0,
        -(even_one + g[1]) / 6.0,
        -(even_one - g[1]) / 6.0,
        (even_two + 2.0 * g[1]) / 24.0,
        (even_two - 2.0 * g[1]) / 24.0,
        g[2],
    ]
}

/// Both axes of the weights' transform, in double precision: it is done once.
pub(super) fn weights(taps: [[f64; 3]; 3]) -> [f64; POINTS] {
    let mut half = [[0.0; 3]; IN];
    for x in 0..3 {
        let column = weight([taps[0][x], taps[1][x], taps[2][x]]);
        for y in 0..IN {
            half[y][x] = column[y];
        }
    }
    let mut points = [0.0; POINTS];
    for y in 0..IN {
        points[y * IN..(y + 1) * IN].copy_from_slice(&weight(half[y]));
    }
    points
}
