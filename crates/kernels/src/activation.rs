//! Standalone activations; those that follow a convolution or batch norm are fused into it.

use crate::map::{Map, map, map_in_place};
use crate::simd::{Kind, Simd, activate, activation_gradient, with_kind};
use crate::{Accumulate, Activation};

/// `y = kind(x)`.
pub fn forward(kind: Activation, x: &[f32], y: &mut [f32]) {
    with_kind!(Some(kind), |kind| map(
        Forward(kind),
        [x],
        y,
        Accumulate::Replace
    ));
}

/// `x = kind(x)`.
pub fn forward_in_place(kind: Activation, x: &mut [f32]) {
    with_kind!(Some(kind), |kind| map_in_place(Forward(kind), x));
}

/// `dx (+)= dy · kind'(x)`, where `x` is the forward input. At the kinks of ReLU and ReLU6 the derivative is 0, as in
/// PyTorch.
pub fn backward(kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32], acc: Accumulate) {
    with_kind!(Some(kind), |kind| map(Backward(kind), [x, dy], dx, acc));
}

#[derive(Clone, Copy)]
struct Forward<K>(K);

impl<K: Kind> Map<1, 0> for Forward<K> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [x]: [S::V; 1], _: [S::V; 0]) -> S::V {
        activate(s, K::ACTIVATION, x)
    }
}

#[derive(Clone, Copy)]
struct Backward<K>(K);

impl<K: Kind> Map<2, 0> for Backward<K> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [x, dy]: [S::V; 2], _: [S::V; 0]) -> S::V {
        activation_gradient(s, K::ACTIVATION, x, dy)
    }
}
