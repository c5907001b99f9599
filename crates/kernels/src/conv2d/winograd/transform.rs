//! The transforms of F(4×4, 3×3) (Winograd 1980; Lavin & Gray 2016) along one axis, and both axes of a tile.
//!
//! The interpolation points are 0, ±a, ±b and ∞ with a = 1/√2 and b = √2 rather than the usual 1 and 2: the same number
//! of operations, and less than half the rounding error (about 8·10⁻⁷ of the output's size over 64 channels, where a
//! direct sum has 2·10⁻⁷). Rows of the input and the output transform are polynomials in the points; the weights'
//! transform takes the divisors.

use crate::simd::{Factors, Simd};

/// Side of an output tile in pixels.
pub(crate) const OUT: usize = 4;
/// Side of an input tile: four outputs and the kernel's two more.
pub(crate) const IN: usize = 6;
/// Products per tile and pair of channels, where a direct convolution has 144.
pub(crate) const POINTS: usize = IN * IN;

const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;
/// a² and b².
const A2: f32 = 0.5;
const B2: f32 = 2.0;
/// a³ and b³.
const A3: f32 = A * A2;
const B3: f32 = B * B2;
/// The divisors of the weights' rows: 2a²(a² − b²) and 2b²(b² − a²), inverted.
const NA: f32 = -2.0 / 3.0;
const NB: f32 = 1.0 / 6.0;

/// A map from `N` to `M` values along one axis.
pub(crate) trait Axis<const N: usize, const M: usize>: Copy {
    /// Must be `#[inline(always)]`.
    fn apply<S: Simd>(self, s: S, d: [S::V; N]) -> [S::V; M];
}

/// Bᵀ: six input pixels to six points.
#[derive(Clone, Copy)]
pub(crate) struct Input;

/// Aᵀ: six points to four output pixels.
#[derive(Clone, Copy)]
pub(crate) struct Output;

/// A: four gradients of output pixels to six points, [`Output`] transposed.
#[derive(Clone, Copy)]
pub(crate) struct OutputGradient;

/// G: three taps to six points.
#[derive(Clone, Copy)]
pub(crate) struct Weight;

/// Gᵀ: six points to three gradients of taps, [`Weight`] transposed.
#[derive(Clone, Copy)]
pub(crate) struct WeightGradient;

impl Axis<IN, IN> for Input {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, d: [S::V; IN]) -> [S::V; IN] {
        let middle = s.splat(-(A2 + B2));
        let first = s.add(s.mul_add(d[2], middle, d[4]), d[0]);
        let last = s.add(s.mul_add(d[3], middle, d[5]), d[1]);
        let even_a = s.mul_add(d[2], s.splat(-B2), d[4]);
        let odd_a = s.mul_add(d[1], s.splat(-B2), d[3]);
        let even_b = s.mul_add(d[2], s.splat(-A2), d[4]);
        let odd_b = s.mul_add(d[1], s.splat(-A2), d[3]);
        [
            first,
            s.mul_add(odd_a, s.splat(A), even_a),
            s.mul_add(odd_a, s.splat(-A), even_a),
            s.mul_add(odd_b, s.splat(B), even_b),
            s.mul_add(odd_b, s.splat(-B), even_b),
            last,
        ]
    }
}

impl Axis<IN, OUT> for Output {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, m: [S::V; IN]) -> [S::V; OUT] {
        let (even_a, odd_a) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (even_b, odd_b) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [
            s.add(m[0], s.add(even_a, even_b)),
            s.mul_add(odd_a, s.splat(A), s.mul(odd_b, s.splat(B))),
            s.mul_add(even_a, s.splat(A2), s.mul(even_b, s.splat(B2))),
            s.mul_add(odd_a, s.splat(A3), s.mul_add(odd_b, s.splat(B3), m[5])),
        ]
    }
}

impl Axis<OUT, IN> for OutputGradient {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, y: [S::V; OUT]) -> [S::V; IN] {
        let even_a = s.mul_add(y[2], s.splat(A2), y[0]);
        let odd_a = s.mul_add(y[3], s.splat(A2), y[1]);
        let even_b = s.mul_add(y[2], s.splat(B2), y[0]);
        let odd_b = s.mul_add(y[3], s.splat(B2), y[1]);
        [
            y[0],
            s.mul_add(odd_a, s.splat(A), even_a),
            s.mul_add(odd_a, s.splat(-A), even_a),
            s.mul_add(odd_b, s.splat(B), even_b),
            s.mul_add(odd_b, s.splat(-B), even_b),
            y[3],
        ]
    }
}

impl Axis<3, IN> for Weight {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, g: [S::V; 3]) -> [S::V; IN] {
        let even_a = s.mul(s.mul_add(g[2], s.splat(A2), g[0]), s.splat(NA));
        let even_b = s.mul(s.mul_add(g[2], s.splat(B2), g[0]), s.splat(NB));
        [
            g[0],
            s.mul_add(g[1], s.splat(NA * A), even_a),
            s.mul_add(g[1], s.splat(-NA * A), even_a),
            s.mul_add(g[1], s.splat(NB * B), even_b),
            s.mul_add(g[1], s.splat(-NB * B), even_b),
            g[2],
        ]
    }
}

impl Axis<IN, 3> for WeightGradient {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, u: [S::V; IN]) -> [S::V; 3] {
        let (even_a, odd_a) = (s.add(u[1], u[2]), s.sub(u[1], u[2]));
        let (even_b, odd_b) = (s.add(u[3], u[4]), s.sub(u[3], u[4]));
        [
            s.mul_add(even_a, s.splat(NA), s.mul_add(even_b, s.splat(NB), u[0])),
            s.mul_add(odd_a, s.splat(NA * A), s.mul(odd_b, s.splat(NB * B))),
            s.mul_add(
                even_a,
                s.splat(NA * A2),
                s.mul_add(even_b, s.splat(NB * B2), u[5]),
            ),
        ]
    }
}

/// Where a transform reads a tile, by row and column. Traits rather than closures, because closures would not
/// be compiled for the instruction set in use.
pub(crate) trait Load<S: Simd> {
    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// As documented by the implementation.
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V;
}

/// Where a transform writes a tile, by row and column.
pub(crate) trait Store<S: Simd> {
    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// As documented by the implementation.
    unsafe fn store(&mut self, s: S, y: usize, x: usize, value: S::V);
}

/// Applies `axis` to the columns and then to the rows of a tile.
///
/// # Safety
/// `from` and `to` may be used at every row and column.
#[inline(always)]
pub(crate) unsafe fn both_axes<S: Simd, const N: usize, const M: usize>(
    s: S,
    axis: impl Axis<N, M>,
    from: &impl Load<S>,
    to: &mut impl Store<S>,
) {
    let mut half = [[s.splat(0.0); N]; M];
    for x in 0..N {
        let mut column = [s.splat(0.0); N];
        for y in 0..N {
            // SAFETY: the caller guarantees it.
            column[y] = unsafe { from.load(s, y, x) };
        }
        let column = axis.apply(s, column);
        for y in 0..M {
            half[y][x] = column[y];
        }
    }
    for y in 0..M {
        let row = axis.apply(s, half[y]);
        for x in 0..M {
            // SAFETY: the caller guarantees it.
            unsafe { to.store(s, y, x, row[x]) };
        }
    }
}

/// Words of neighbouring channels, at the positions of a grid.
#[derive(Clone, Copy)]
pub(crate) struct Narrow<F>(pub(crate) Grid, pub(crate) F);

/// Words that replace `f32` values stored in their places before: those become the lower numbers, and the new values
/// the upper ones.
#[derive(Clone, Copy)]
pub(crate) struct Over(pub(crate) Grid);

/// A grid that a transform writes to, which can be moved.
pub(crate) trait Place<S: Simd>: Store<S> + Copy {
    /// The same grid, moved by `offset` words.
    fn shifted(self, offset: usize) -> Self;
}

impl<S: Simd> Place<S> for Grid {
    #[inline(always)]
    fn shifted(self, offset: usize) -> Self {
        Grid::shifted(self, offset)
    }
}

impl<S: Simd, F: Factors> Place<S> for Narrow<F> {
    #[inline(always)]
    fn shifted(self, offset: usize) -> Self {
        Narrow(self.0.shifted(offset), self.1)
    }
}

impl<S: Simd> Place<S> for Over {
    #[inline(always)]
    fn shifted(self, offset: usize) -> Self {
        Over(self.0.shifted(offset))
    }
}

impl<S: Simd, F: Factors> Store<S> for Narrow<F> {
    /// # Safety
    /// The words of a vector are writable at each place.
    #[inline(always)]
    unsafe fn store(&mut self, s: S, y: usize, x: usize, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { F::store(s, self.0.at(y, x), value) };
    }
}

impl<S: Simd> Store<S> for Over {
    /// # Safety
    /// A whole vector is readable and writable at each place.
    #[inline(always)]
    unsafe fn store(&mut self, s: S, y: usize, x: usize, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe {
            let low = self.0.load(s, y, x);
            self.0.store(s, y, x, s.pair(low, value));
        }
    }
}

/// A tile in registers.
pub(crate) struct Pixels<V>(pub(crate) [[V; OUT]; OUT]);

impl<S: Simd> Store<S> for Pixels<S::V> {
    /// # Safety
    /// None.
    #[inline(always)]
    unsafe fn store(&mut self, _: S, y: usize, x: usize, value: S::V) {
        self.0[y][x] = value;
    }
}

/// Whole vectors at equal steps from row to row and from column to column.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) first: *mut f32,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl Grid {
    /// All points of a tile, `step` values apart.
    pub(crate) fn points(first: *mut f32, step: usize) -> Self {
        Self {
            first,
            row: IN * step,
            column: step,
        }
    }

    #[inline(always)]
    fn at(self, y: usize, x: usize) -> *mut f32 {
        self.first.wrapping_add(y * self.row + x * self.column)
    }

    /// The same grid, moved by `offset` values.
    #[inline(always)]
    pub(crate) fn shifted(self, offset: usize) -> Self {
        Self {
            first: self.first.wrapping_add(offset),
            ..self
        }
    }
}

impl<S: Simd> Load<S> for Grid {
    /// # Safety
    /// A whole vector is readable at each place.
    #[inline(always)]
    unsafe fn load(&self, s: S, y: usize, x: usize) -> S::V {
        // SAFETY: the caller guarantees it.
        unsafe { s.load_all(self.at(y, x)) }
    }
}

impl<S: Simd> Store<S> for Grid {
    /// # Safety
    /// A whole vector is writable at each place.
    #[inline(always)]
    unsafe fn store(&mut self, s: S, y: usize, x: usize, value: S::V) {
        // SAFETY: the caller guarantees it.
        unsafe { s.store(self.at(y, x), s.mask(S::LANES), value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    const S: Portable = Portable;

    fn lanes(values: impl Fn(usize) -> f32, i: usize) -> <Portable as Simd>::V {
        S.splat(values(i))
    }

    fn first(v: <Portable as Simd>::V) -> f32 {
        let mut out = [0.0; Portable::LANES];
        // SAFETY: `out` has as many values as the vector.
        unsafe { S.store(out.as_mut_ptr(), S.mask(Portable::LANES), v) };
        out[0]
    }

    /// Four outputs of a correlation of six pixels with three taps, through the points.
    #[test]
    fn products_of_points_give_the_correlation() {
        let (d, g) = (|i: usize| (i * i) as f32 - 3.0, |i: usize| 1.5 - i as f32);
        let u = Weight.apply(S, [0, 1, 2].map(|i| lanes(g, i)));
        let v = Input.apply(S, [0, 1, 2, 3, 4, 5].map(|i| lanes(d, i)));
        let mut m = u;
        for i in 0..IN {
            m[i] = S.mul(u[i], v[i]);
        }
        for (o, y) in Output.apply(S, m).into_iter().enumerate() {
            let expected: f32 = (0..3).map(|k| d(o + k) * g(k)).sum();
            assert!(
                (first(y) - expected).abs() < 1e-4,
                "{} is not {expected}",
                first(y)
            );
        }
    }

    /// ⟨Ax, y⟩ = ⟨x, Aᵀy⟩ for both pairs of transforms that are each other's transpose.
    #[test]
    fn gradients_are_transposes() {
        let dot = |a: &[<Portable as Simd>::V], b: &[<Portable as Simd>::V]| -> f32 {
            a.iter().zip(b).map(|(a, b)| first(*a) * first(*b)).sum()
        };
        let x = [0, 1, 2, 3, 4, 5].map(|i| lanes(|i| 0.3 * i as f32 - 1.0, i));
        let y = [0, 1, 2, 3].map(|i| lanes(|i| 2.0 - 0.7 * i as f32, i));
        let left = dot(&Output.apply(S, x), &y);
        let right = dot(&x, &OutputGradient.apply(S, y));
        assert!((left - right).abs() < 1e-4);
        let g = [y[0], y[2], y[3]];
        let left = dot(&Weight.apply(S, g), &x);
        let right = dot(&g, &WeightGradient.apply(S, x));
        assert!((left - right).abs() < 1e-4);
    }
}
