//! The inner loops: a tile of results in registers.

use crate::simd::{Factors, Simd, Words};

/// `acc[p][v] + Σ_i x[p][i] · w[i][v]` over `len` words, with `w` the next `len` rows of a packed panel.
///
/// Sums are passed and returned by value: behind a reference the compiler may keep them in memory.
///
/// # Safety
/// Every `x[p]` has `len` words, and `w` has `len · V · LANES`.
#[inline(always)]
pub(crate) unsafe fn multiply_run<S: Simd, F: Words, const P: usize, const V: usize>(
    s: S,
    x: &[*const f32; P],
    len: usize,
    w: *const f32,
    mut acc: [[S::V; V]; P],
) -> [[S::V; V]; P] {
    for i in 0..len {
        let mut weights = [s.splat(0.0); V];
        for (v, weights) in weights.iter_mut().enumerate() {
            // SAFETY: row `i` of the panel.
            *weights = unsafe { s.load_all(w.add((i * V + v) * S::LANES)) };
        }
        for p in 0..P {
            // SAFETY: `i < len`.
            let value = s.splat(unsafe { *x[p].add(i) });
            for v in 0..V {
                acc[p][v] = F::multiply_add(s, value, weights[v], acc[p][v]);
            }
        }
    }
    acc
}

/// Maximum rows of a tile of `V` vectors: what the registers hold beside a row of factors.
#[inline(always)]
pub(super) fn tallest<S: Simd, const V: usize>(_: S) -> usize {
    match (S::REGISTERS >= 32, V) {
        (true, 1) => 16,
        (true, _) | (false, 1) => 8,
        (false, 2) => 6,
        (false, _) => 4,
    }
}

/// `acc[r][v] += Σ_i x[i · x_step + r] · dy[i · dy_step + v]` over `len` words of pixels; the last vector of `dy` is
/// cut by `mask`.
///
/// # Safety
/// The pixels' `R` values at `x` and the masked `V` vectors at `dy` are readable.
#[inline(always)]
pub(super) unsafe fn outer_products<S: Simd, F: Factors, const R: usize, const V: usize>(
    s: S,
    mut x: *const f32,
    x_step: usize,
    mut dy: *const f32,
    dy_step: usize,
    len: usize,
    mask: S::Mask,
    acc: &mut [[S::V; V]; R],
) {
    for _ in 0..len {
        let mut gradients = [s.splat(0.0); V];
        for (v, gradient) in gradients.iter_mut().enumerate() {
            // SAFETY: the caller guarantees this pixel's vectors.
            *gradient = unsafe {
                let from = dy.add(v * S::LANES);
                if v + 1 == V {
                    s.load(from, mask)
                } else {
                    s.load_all(from)
                }
            };
        }
        for r in 0..R {
            // SAFETY: the caller guarantees this pixel's `R` values.
            let value = s.splat(unsafe { *x.add(r) });
            for v in 0..V {
                acc[r][v] = F::multiply_add(s, value, gradients[v], acc[r][v]);
            }
        }
        x = x.wrapping_add(x_step);
        dy = dy.wrapping_add(dy_step);
    }
}
