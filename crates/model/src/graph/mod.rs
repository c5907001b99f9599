//! The network as plain data: nodes in topological order, a closed set of operations, named parameters.
//!
//! A graph knows no image size, no batch, no device and no weights. Sizes enter with [`Graph::shapes`],
//! buffers with [`crate::plan`], numbers with [`crate::network`]. It serializes, so a run's folder and every
//! checkpoint hold the network they were made with.
//!
//! Invariants, checked by [`Graph::check`] and kept by [`GraphBuilder`]: a node's inputs come before it; names of
//! nodes and of parameters are unique; every parameter belongs to exactly one node, in the role, layout and shape that its
//! operation needs; every output exists; and no number is one that sizes divided by it or multiplied with it could not
//! bear. A graph that was read from a file may be trusted no further than this.

mod builder;
mod check;
mod dump;
mod layout;
mod param;
mod shape;

pub use kernels::{Activation, Nhwc, Padding, Window};
use serde::{Deserialize, Serialize};

pub use builder::GraphBuilder;
pub use check::GraphError;
pub use dump::Cost;
pub use param::{Init, ParamSpec, Role, WeightLayout};
pub use shape::{Hwc, ShapeError};

/// Index of a node, and of the one value that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The images.
    pub const INPUT: NodeId = NodeId(0);

    /// Position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of a parameter in [`Graph::params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ParamId(pub(crate) u32);

impl ParamId {
    /// The parameter at a position in [`Graph::params`].
    pub fn new(index: usize) -> ParamId {
        ParamId(index as u32)
    }

    /// Position in [`Graph::params`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a 2× upsampling fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Repeats each pixel.
    Nearest,
    /// Bilinear with half-pixel centres (`align_corners = false`).
    Bilinear,
}

/// One operation on NHWC values. Vectors (`[n, c]`) are values of height and width 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// The image batch, normalized.
    Input {
        /// Image channels.
        channels: usize,
    },
    /// Dense convolution; parameters `weight [kh, kw, in, out]` and, with `bias`, `bias [out]`.
    Conv2d {
        /// Channels out.
        out_channels: usize,
        /// Kernel, stride, padding.
        window: Window,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Depthwise convolution; parameter `weight [kh, kw, c]`.
    Depthwise {
        /// Kernel, stride, padding.
        window: Window,
    },
    /// Transposed 2×2 convolution of stride 2; parameters `weight [in, 2, 2, out]`, `bias [out]`.
    ConvTranspose2x2 {
        /// Channels out.
        out_channels: usize,
    },
    /// Batch normalization; parameters `weight`, `bias`, buffers `running_mean`, `running_var`.
    BatchNorm {
        /// Added to the variance.
        eps: f32,
        /// Share of the batch in the running statistics (PyTorch's sense).
        momentum: f32,
    },
    /// Element-wise nonlinearity.
    Activation {
        /// Which.
        kind: Activation,
    },
    /// Max pooling.
    MaxPool {
        /// Kernel, stride, padding.
        window: Window,
    },
    /// Mean over height and width.
    GlobalAvgPool,
    /// Doubles height and width.
    Upsample2x {
        /// Nearest or bilinear.
        mode: Interpolation,
    },
    /// Joins along channels, in input order.
    Concat,
    /// Sum of two values of one shape.
    Add,
    /// Mean of two or more values of one shape.
    Mean,
    /// Leaves out a margin on every side.
    Crop {
        /// Its width in pixels.
        margin: usize,
    },
    /// `x · s`, with `s` of height and width 1 (squeeze-excite).
    ScaleChannels,
    /// `[n, in] → [n, out]`; parameters `weight [in, out]`, `bias [out]`.
    Linear {
        /// Features out.
        out_features: usize,
    },
    /// Stochastic depth: in training a sample's branch is dropped with this probability, else scaled by 1/(1−rate).
    DropPath {
        /// Probability of dropping.
        rate: f32,
    },
    /// In training an element is dropped with this probability, else scaled by 1/(1−rate).
    Dropout {
        /// Probability of dropping.
        rate: f32,
    },
}

impl Op {
    /// The word that stands for the operation in dumps and errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Conv2d { .. } => "conv2d",
            Op::Depthwise { .. } => "depthwise",
            Op::ConvTranspose2x2 { .. } => "conv_transpose2x2",
            Op::BatchNorm { .. } => "batch_norm",
            Op::Activation { .. } => "activation",
            Op::MaxPool { .. } => "max_pool",
            Op::GlobalAvgPool => "global_avg_pool",
            Op::Upsample2x { .. } => "upsample2x",
            Op::Concat => "concat",
            Op::Add => "add",
            Op::Mean => "mean",
            Op::Crop { .. } => "crop",
            Op::ScaleChannels => "scale_channels",
            Op::Linear { .. } => "linear",
            Op::DropPath { .. } => "drop_path",
            Op::Dropout { .. } => "dropout",
        }
    }
}

/// An operation, what it reads, and the parameters that are its own (weight before bias before buffers).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique dotted name, e.g. `encoder.blocks.1.0.conv_dw`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Values read, all of earlier nodes.
    pub inputs: Vec<NodeId>,
    /// Own parameters.
    pub params: Vec<ParamId>,
    /// Channels of the value made.
    pub channels: usize,
}

/// A network: see the module's invariants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// Nodes in topological order; node 0 is the input.
    pub nodes: Vec<Node>,
    /// Parameters and buffers in the order in which nodes claim them.
    pub params: Vec<ParamSpec>,
    /// Named values: `logits`, `map`, `map.1` …, `features.1` …, `decoder`.
    pub outputs: Vec<(String, NodeId)>,
    /// Height and width must be multiples of this (the deepest reduction that a decoder undoes), beyond
    /// [`Graph::smallest_size`].
    pub size_multiple: usize,
    /// Smallest height and width where it is not one multiple: a network without padding takes
    /// `smallest_size + k · size_multiple`. Else 0.
    #[serde(default)]
    pub smallest_size: usize,
}

impl Graph {
    /// Most rows and columns of an image.
    pub const MOST_SIDE: usize = 8192;

    /// The node behind an id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The parameter behind an id.
    pub fn param(&self, id: ParamId) -> &ParamSpec {
        &self.params[id.index()]
    }

    /// All parameters in order, with their ids.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = (ParamId, &ParamSpec)> {
        let ids = (0..self.params.len()).map(ParamId::new);
        ids.zip(&self.params)
    }

    /// The id of the parameter of this name.
    pub fn find_param(&self, name: &str) -> Option<ParamId> {
        let at = self.params.iter().position(|param| param.name == name)?;
        Some(ParamId::new(at))
    }

    /// Ids of all nodes in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The value published under a name, if there is one.
    pub fn output(&self, name: &str) -> Option<NodeId> {
        self.outputs
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, id)| *id)
    }

    /// The class maps that deep supervision teaches: `map`, then `map.1`, `map.2` … as far as they go, each value
    /// once (U-Net++'s final map may be one of its side maps). Empty without a `map`.
    pub fn maps(&self) -> Vec<NodeId> {
        let sides = (1..).map_while(|i| self.output(&format!("map.{i}")));
        let mut maps: Vec<NodeId> = Vec::new();
        if let Some(last) = self.output("map") {
            maps.push(last);
            for side in sides {
                if !maps.contains(&side) {
                    maps.push(side);
                }
            }
        }
        maps
    }

    /// Image channels that the network takes.
    pub fn in_channels(&self) -> usize {
        self.nodes[0].channels
    }

    /// Trainable parameters (buffers left out).
    pub fn parameter_count(&self) -> usize {
        self.params
            .iter()
            .filter(|p| p.role.trainable())
            .map(ParamSpec::len)
            .sum()
    }
}
