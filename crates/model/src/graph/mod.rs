//! The network as plain data: nodes in topological order, a closed set of operations, named parameters.
//!
//! A graph is independent of image size, batch, device and weights. Sizes are added by [`Graph::shapes`], buffers by
//! [`crate::plan`], weights by [`crate::network`]. It is serializable, so a run's folder and every checkpoint contain
//! the network that they were made with.
//!
//! Invariants, checked by [`Graph::check`] and maintained by [`GraphBuilder`]: a node's inputs come before it; names of
//! nodes and of parameters are unique; every parameter belongs to exactly one node, in the role, layout and shape that
//! its operation needs; every output exists; and every number is in a range in which computations of sizes neither
//! divide by zero nor overflow. Nothing else may be assumed of a graph that was read from a file.

mod builder;
mod check;
mod dump;
mod layout;
mod param;
mod shape;

pub use kernels::region_pool::EPS as REGION_EPS;
pub use kernels::{Activation, Nhwc, Padding, Window};
use serde::{Deserialize, Serialize};

pub use builder::GraphBuilder;
pub use check::GraphError;
pub use dump::Cost;
pub use param::{Init, ParamSpec, Role, WeightLayout};
pub use shape::{Hwc, ShapeError};

/// Index of a node, and of the one value that it produces.
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

/// How a 2× upsampling interpolates.
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
        /// Number of output channels.
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
        /// Number of output channels.
        out_channels: usize,
    },
    /// Batch normalization; parameters `weight`, `bias`, buffers `running_mean`, `running_var`.
    BatchNorm {
        /// Added to the variance.
        eps: f32,
        /// The batch's weight in the running statistics, as in PyTorch.
        momentum: f32,
    },
    /// Element-wise nonlinearity.
    Activation {
        /// The function.
        kind: Activation,
    },
    /// Max pooling.
    MaxPool {
        /// Kernel, stride, padding.
        window: Window,
    },
    /// Mean over height and width.
    GlobalAvgPool,
    /// Mean over the region that a class map predicts: inputs are features `[h, w, c]` and the map's scores
    /// `[s·h, s·w, classes]`, of which class 0 is what lies outside. See [`kernels::region_pool`].
    RegionPool,
    /// Doubles height and width.
    Upsample2x {
        /// Nearest or bilinear.
        mode: Interpolation,
    },
    /// Concatenation along channels, in input order.
    Concat,
    /// Sum of two values of the same shape.
    Add,
    /// Mean of two or more values of the same shape.
    Mean,
    /// Removes a margin on every side.
    Crop {
        /// Width of the margin in pixels.
        margin: usize,
    },
    /// `x · s`, with `s` of height and width 1 (squeeze-excite).
    ScaleChannels,
    /// `[n, in] → [n, out]`; parameters `weight [in, out]`, `bias [out]`.
    Linear {
        /// Number of output features.
        out_features: usize,
    },
    /// Stochastic depth: in training each sample's branch is dropped with this probability, otherwise scaled by
    /// 1/(1−rate).
    DropPath {
        /// Probability of dropping.
        rate: f32,
    },
    /// In training each element is dropped with this probability, otherwise scaled by 1/(1−rate).
    Dropout {
        /// Probability of dropping.
        rate: f32,
    },
}

impl Op {
    /// The operation's name in dumps and errors.
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
            Op::RegionPool => "region_pool",
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

/// An operation with its inputs and its own parameters (weight before bias before buffers).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique dotted name, e.g. `encoder.blocks.1.0.conv_dw`.
    pub name: String,
    /// The operation.
    pub op: Op,
    /// Values read, all from earlier nodes.
    pub inputs: Vec<NodeId>,
    /// The node's own parameters.
    pub params: Vec<ParamId>,
    /// Number of channels of the value produced.
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
    /// Smallest height and width, for a network without padding, which takes `smallest_size + k · size_multiple`;
    /// otherwise 0.
    #[serde(default)]
    pub smallest_size: usize,
}

/// The scope of an encoder's nodes and parameters.
const ENCODER: &str = "encoder.";

impl Graph {
    /// Largest number of rows and of columns of an image.
    pub const MAX_SIDE: usize = 8192;

    /// The node with an id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The parameter with an id.
    pub fn param(&self, id: ParamId) -> &ParamSpec {
        &self.params[id.index()]
    }

    /// All parameters in order, with their ids.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = (ParamId, &ParamSpec)> {
        let ids = (0..self.params.len()).map(ParamId::new);
        ids.zip(&self.params)
    }

    /// The id of the parameter with this name.
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

    /// The names of the published features, the coarsest first.
    pub fn features(&self) -> Vec<&str> {
        let level = |name: &str| name.strip_prefix("features.")?.parse::<u32>().ok();
        let named = self.outputs.iter().map(|(name, _)| name.as_str());
        let mut features: Vec<(u32, &str)> = named
            .filter_map(|name| Some((level(name)?, name)))
            .collect();
        features.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        features.into_iter().map(|(_, name)| name).collect()
    }

    /// The class maps that deep supervision trains: `map`, then `map.1`, `map.2` … as far as they exist, each value
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

    /// Number of parameters of the encoder, which are the first of all; 0 for a network that is not divided into an
    /// encoder and what follows it.
    pub fn encoder_params(&self) -> usize {
        let count = self
            .params
            .iter()
            .take_while(|p| p.name.starts_with(ENCODER))
            .count();
        let others = self.params[count..].iter();
        match others.clone().any(|p| p.name.starts_with(ENCODER)) {
            true => 0,
            false => count,
        }
    }

    /// Whether a node belongs to the encoder.
    pub fn in_encoder(&self, id: NodeId) -> bool {
        self.node(id).name.starts_with(ENCODER)
    }

    /// Image channels that the network takes.
    pub fn in_channels(&self) -> usize {
        self.nodes[0].channels
    }

    /// Number of trainable parameters (excluding buffers).
    pub fn parameter_count(&self) -> usize {
        self.params
            .iter()
            .filter(|p| p.role.trainable())
            .map(ParamSpec::len)
            .sum()
    }
}
