//! Kernels for convolutional networks on the CPU: `f32`, NHWC, forward and backward passes; and inference on maps of bf16
//! ([`bf16`](mod@bf16)) and of 8-bit codes ([`quantized`]).
//!
//! Functions read and write slices; the crate has no notion of graphs, parameters or devices. The layout is NHWC
//! because a 1×1 convolution is then one matrix product over the whole batch, and a depthwise one vectorises over
//! channels at any image size. The caller owns all memory. An operation that needs working space states how much
//! (`*_scratch`, counted in `f32`; its content is arbitrary on entry and on return), and a backward pass replaces or
//! adds to its output ([`Accumulate`]).
//!
//! Work is spread over Rayon's current pool in tiles that depend on the shapes alone, and every sum has a fixed order:
//! results are identical to the bit with any number of threads. SIMD (AVX-512, AVX2, portable) is chosen at run time;
//! the environment variable `KERNELS_SIMD` (`avx2`, `portable`) limits it. Buffers that start at a multiple of
//! 64 bytes are fastest.
//! Sizes that contradict each other, or that no machine has memory for ([`MAX_VALUES`]), are programmer errors and
//! panic with a message before any memory is accessed: no shape makes a call unsound. Sizes from a file must be checked
//! before the call ([`Nhwc::checked_len`], [`Window::output`]). [`reference`](mod@reference) has a naive version of
//! every kernel.
//!
//! ```
//! use kernels::conv2d::Conv2d;
//! use kernels::{Epilogue, Nhwc, Padding, Window};
//! let xs = Nhwc { n: 1, h: 2, w: 2, c: 1 };
//! let window = Window { kernel: [3, 3], stride: 1, padding: Padding::Symmetric(1) };
//! let conv = Conv2d::new(xs, 1, window);
//! let (mut packed, mut scratch) = (vec![0.0; conv.packed_len()], vec![0.0; conv.forward_scratch()]);
//! conv.pack(&[1.0; 9], &mut packed);
//! let mut y = [0.0; 4];
//! conv.forward(&[&[1.0, 2.0, 3.0, 4.0]], &packed, Epilogue::default(), &mut y, &mut scratch);
//! assert_eq!(y, [10.0; 4]);
//! ```

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod activation;
pub mod batch_norm;
pub mod bf16;
pub mod bias;
pub mod concat;
pub mod conv2d;
pub mod conv_transpose2x2;
pub mod crop;
pub mod depthwise;
pub mod elementwise;
pub mod linear;
pub mod peak;
pub mod pool;
pub mod quantized;
pub mod reference;
pub mod region_pool;
pub mod resize;
pub mod update;

mod buffer;
mod map;
mod parallel;
mod reduce;
mod simd;

mod shape;
mod team;
mod window;

pub use buffer::Buffer;
pub use parallel::in_pool;
pub(crate) use shape::size;
pub use shape::{MAX_VALUES, Nhwc};
pub use simd::multiplies_bf16;
pub use window::{Padding, Window};

/// What a backward pass does with the values already in its output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accumulate {
    /// Overwrites it.
    Replace,
    /// Adds to it: the value has other users, whose gradients came earlier.
    Add,
}

/// Precision of the factors that convolutions multiply. Sums are `f32`.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Factors rounded to TF32 (11 bits of precision) where a GPU's tensor cores multiply them; a CPU has none and
    /// computes in `f32`.
    Tf32,
    /// Factors rounded to bf16 (8 bits of precision): twice the products per second on a CPU that has AVX512_BF16; on
    /// others the same accuracy, a little slower than `f32`.
    Bf16,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        })
    }
}

/// A function applied to each value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
}

/// What is applied to a convolution in its last pass over the output: `y = act(conv + bias)`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Epilogue<'a> {
    /// One value per output channel.
    pub bias: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Option<Activation>,
}
