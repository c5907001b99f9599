//! The operations that a kernel applies to each element before writing it.

use kernels::Activation;

use super::driver::{Address, Arg};

/// `y = act(conv · scale + shift)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epilogue {
    pub(super) scale: Option<Address>,
    pub(super) shift: Option<Address>,
    pub(super) activation: Option<Activation>,
}

/// The kernels' code for an activation.
pub(super) fn code(kind: Option<Activation>) -> Arg {
    Arg::I32(match kind {
        None => 0,
        Some(Activation::Silu) => 1,
        Some(Activation::Relu) => 2,
        Some(Activation::Relu6) => 3,
        Some(Activation::Sigmoid) => 4,
    })
}
