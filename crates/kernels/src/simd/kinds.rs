//! Activations as types.

use crate::Activation;

/// An activation, or none, as a type: a loop over values that is compiled for one need not look it up each time.
pub(crate) trait Kind: Copy + Send + Sync {
    const ACTIVATION: Option<Activation>;
}

macro_rules! kinds {
    ($($name:ident: $kind:expr),*) => {
        $(#[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Kind for $name {
            const ACTIVATION: Option<Activation> = $kind;
        })*
    };
}
kinds!(
    Identity: None,
    Relu: Some(Activation::Relu),
    Relu6: Some(Activation::Relu6),
    Sigmoid: Some(Activation::Sigmoid),
    Silu: Some(Activation::Silu)
);

/// Evaluates an expression with `$kind` the [`Kind`] of an optional activation.
macro_rules! with_kind {
    ($activation:expr, |$kind:ident| $body:expr) => {{
        use crate::Activation;
        use crate::simd::kinds;
        macro_rules! run {
            ($value:expr) => {{
                let $kind = $value;
                $body
            }};
        }
        match $activation {
            None => run!(kinds::Identity),
            Some(Activation::Relu) => run!(kinds::Relu),
            Some(Activation::Relu6) => run!(kinds::Relu6),
            Some(Activation::Sigmoid) => run!(kinds::Sigmoid),
            Some(Activation::Silu) => run!(kinds::Silu),
        }
    }};
}
pub(crate) use with_kind;
