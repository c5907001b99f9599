//! Gradient of a bias: sums over pixels. The addition is fused into the preceding operation ([`crate::Epilogue`]).

use crate::Accumulate;
use crate::reduce::{Terms, store, sum_pixels};
use crate::simd::Simd;

/// `db[c] (+)= Σ dy[…, c]` over all pixels of `dy`.
pub fn backward(dy: &[f32], channels: usize, db: &mut [f32], acc: Accumulate) {
    store(&sum_pixels(Value, [dy], [], channels), db, acc);
}

/// Sums the values themselves.
#[derive(Clone, Copy)]
pub(crate) struct Value;

impl Terms<1, 0, 1> for Value {
    #[inline(always)]
    fn terms<S: Simd>(self, _: S, values: [S::V; 1], _: [S::V; 0]) -> [S::V; 1] {
        values
    }
}
