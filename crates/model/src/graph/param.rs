//! What a parameter is: name, shape, role, layout and first values.

use serde::{Deserialize, Serialize};

/// What a parameter does; decides whether it trains and whether weight decay applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Kernel or matrix: trains, decays.
    Weight,
    /// Bias of a convolution or matrix, shift of a norm: trains, does not decay.
    Bias,
    /// Scale of a norm: trains, does not decay.
    Scale,
    /// Running mean of a norm: a buffer.
    RunningMean,
    /// Running variance of a norm: a buffer.
    RunningVar,
}

impl Role {
    /// Whether gradients reach it.
    pub fn trainable(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVar)
    }

    /// Whether weight decay applies (kernels and matrices only, as timm does).
    pub fn decayed(self) -> bool {
        self == Role::Weight
    }
}

/// How the stored order (the kernels') maps to the order of PyTorch's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightLayout {
    /// A vector: the same in both.
    Vector,
    /// Stored `[kh, kw, in, out]`; PyTorch `[out, in, kh, kw]`.
    Conv,
    /// Stored `[kh, kw, c]`; PyTorch `[c, 1, kh, kw]`.
    Depthwise,
    /// Stored `[in, 2, 2, out]`; PyTorch `[in, out, 2, 2]`.
    ConvTranspose,
    /// Stored `[in, out]`; PyTorch `[out, in]`.
    Linear,
}

/// First values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform in ±bound.
    Uniform(f32),
}

/// A parameter or buffer of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParamSpec {
    /// Unique dotted name as timm and segmentation_models.pytorch write it.
    pub name: String,
    /// Stored shape (see [`WeightLayout`]).
    pub shape: Vec<usize>,
    /// What it does.
    pub role: Role,
    /// How it maps to PyTorch's order.
    pub layout: WeightLayout,
    /// First values.
    pub init: Init,
}

impl ParamSpec {
    /// Number of elements.
    #[allow(clippy::len_without_is_empty)] // a parameter is never empty
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape as PyTorch's files have it.
    pub fn torch_shape(&self) -> Vec<usize> {
        let s = &self.shape;
        match self.layout {
            WeightLayout::Vector => s.clone(),
            WeightLayout::Conv => vec![s[3], s[2], s[0], s[1]],
            WeightLayout::Depthwise => vec![s[2], 1, s[0], s[1]],
            WeightLayout::ConvTranspose => vec![s[0], s[3], s[1], s[2]],
            WeightLayout::Linear => vec![s[1], s[0]],
        }
    }
}
