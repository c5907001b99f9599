//! Activations.
use crate::reference::{normalization as rn, wide, write};
use crate::{Accumulate, Activation};
/// y = act(x)
pub fn forward(kind: Activation, x: &[f32], y: &mut [f32]) {
    write(
        y,
        &rn::activation_forward(Some(kind), &wide(x)),
        Accumulate::Replace,
    );
}
/// x = act(x)
pub fn forward_in_place(kind: Activation, x: &mut [f32]) {
    let y = rn::activation_forward(Some(kind), &wide(x));
    write(x, &y, Accumulate::Replace);
}
/// dx = dy act'(x)
pub fn backward(kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32], acc: Accumulate) {
    write(
        dx,
        &rn::activation_backward(Some(kind), &wide(x), &wide(dy)),
        acc,
    );
}
