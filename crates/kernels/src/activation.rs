//! Standalone activations; those that follow a convolution or batch norm are fused into it.

use crate::map::{Map, map, map_in_place};
use crate::simd::{Simd, activate, activation_gradient};
use crate::{Accumulate, Activation};

/// `y = kind(x)`.
pub fn forward(kind: Activation, x: &[f32], y: &mut [f32]) {
    map(Forward(kind), [x], y, Accumulate::Replace);
}

/// `x = kind(x)`.
pub fn forward_in_place(kind: Activation, x: &mut [f32]) {
    map_in_place(Forward(kind), x);
}

/// `dx (+)= dy · kind'(x)`, where `x` is the forward input. At the kinks of ReLU and ReLU6 the derivative is 0, as in
/// PyTorch.
pub fn backward(kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32], acc: Accumulate) {
    map(Backward(kind), [x, dy], dx, acc);
}

#[derive(Clone, Copy)]
struct Forward(Activation);

impl Map<1, 0> for Forward {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [x]: [S::V; 1], _: [S::V; 0]) -> S::V {
        activate(s, Some(self.0), x)
    }
}

#[derive(Clone, Copy)]
struct Backward(Activation);

impl Map<2, 0> for Backward {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [x, dy]: [S::V; 2], _: [S::V; 0]) -> S::V {
        activation_gradient(s, Some(self.0), x, dy)
    }
}
