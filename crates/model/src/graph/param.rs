//! Specification of a parameter: name, shape, role, layout and initialization.

use serde::{Deserialize, Serialize};

/// A parameter's role; determines whether it is trainable and whether weight decay applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Kernel or matrix: trainable, with weight decay.
    Weight,
    /// Bias of a convolution or matrix, shift of a norm: trainable, without weight decay.
    Bias,
    /// Scale of a norm: trainable, without weight decay.
    Scale,
    /// Running mean of a norm: a buffer.
    RunningMean,
    /// Running variance of a norm: a buffer.
    RunningVar,
}

impl Role {
    /// Whether the parameter is trainable.
    pub fn trainable(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVar)
    }

    /// Whether weight decay applies (only to kernels and matrices, as in timm).
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

/// Initialization of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// A constant.
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform within ± this bound.
    Uniform(f32),
}

/// A parameter or buffer of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParamSpec {
    /// Unique dotted name, as in timm and segmentation_models.pytorch.
    pub name: String,
    /// Stored shape (see [`WeightLayout`]).
    pub shape: Vec<usize>,
    /// Role.
    pub role: Role,
    /// Mapping to PyTorch's order.
    pub layout: WeightLayout,
    /// Initialization.
    pub init: Init,
}

impl ParamSpec {
    /// Number of elements.
    #[allow(clippy::len_without_is_empty)] // a parameter is never empty
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape in PyTorch's files.
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
