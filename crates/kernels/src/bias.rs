//! Gradient of a bias.
use crate::Accumulate;
use crate::reference::{normalization as rn, wide, write};
/// db
pub fn backward(dy: &[f32], channels: usize, db: &mut [f32], acc: Accumulate) {
    write(db, &rn::bias_backward(&wide(dy), channels), acc);
}
