//! Computation of every value's shape for an image of a given size.

use std::fmt;

use super::{Graph, Node, NodeId, Op};
use kernels::region_pool::RegionPool;
use kernels::{Nhwc, Window};

/// Height, width and channels of a value for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hwc {
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Hwc {
    /// The shape of a batch of `n`.
    pub fn batch(self, n: usize) -> Nhwc {
        Nhwc {
            n,
            h: self.h,
            w: self.w,
            c: self.c,
        }
    }

    /// Number of elements per image.
    #[allow(clippy::len_without_is_empty)] // shapes are never empty
    pub fn len(self) -> usize {
        self.h * self.w * self.c
    }
}

impl fmt::Display for Hwc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.h, self.w, self.c)
    }
}

/// Why a network cannot take an image of this size.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ShapeError {
    /// The size is not a multiple of what the decoder needs.
    #[error(
        "image size {height}x{width} is not valid for this network: height and width must be {}; nearest valid sizes: {below} and {above}",
        good_sizes(*.multiple, *.smallest)
    )]
    Size {
        /// Requested height.
        height: usize,
        /// Requested width.
        width: usize,
        /// Number that they must be multiples of.
        multiple: usize,
        /// Counted from this size on; 0 for plain multiples.
        smallest: usize,
        /// Nearest valid size below.
        below: String,
        /// Nearest valid size above.
        above: String,
    },
    /// An image larger than [`Graph::MAX_SIDE`].
    #[error(
        "an image of {height}x{width} is too large: height and width may be at most {}",
        Graph::MAX_SIDE
    )]
    TooLarge {
        /// Requested height.
        height: usize,
        /// Requested width.
        width: usize,
    },
    /// More images than memory could ever hold.
    #[error("a batch of {batch} images of {height}x{width} is too large")]
    Batch {
        /// Requested number of images.
        batch: usize,
        /// Height.
        height: usize,
        /// Width.
        width: usize,
    },
    /// A node's inputs do not match.
    #[error("node `{node}` ({op}) cannot take {shapes}: {why}")]
    Node {
        /// Node's name.
        node: String,
        /// Operation.
        op: &'static str,
        /// Input shapes.
        shapes: String,
        /// What is wrong.
        why: String,
    },
}

impl Graph {
    /// Shape of every value for images of `height × width`, indexed as [`Graph::nodes`].
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Hwc>, ShapeError> {
        self.check_size(height, width)?;
        let mut shapes: Vec<Hwc> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Vec<Hwc> = node
                .inputs
                .iter()
                .map(|i: &NodeId| shapes[i.index()])
                .collect();
            let shape = match &node.op {
                Op::Input { channels } => Ok(Hwc {
                    h: height,
                    w: width,
                    c: *channels,
                }),
                _ => output_shape(node, &inputs),
            };
            let shape = shape.and_then(bounded);
            shapes.push(shape.map_err(|why| node_error(node, &inputs, why))?);
        }
        Ok(shapes)
    }

    /// Checks that images of this size are valid; the error names the nearest sizes that are.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), ShapeError> {
        if height.max(width) > Self::MAX_SIDE {
            return Err(ShapeError::TooLarge { height, width });
        }
        let (m, smallest) = (self.size_multiple, self.smallest_size);
        let first = if smallest == 0 { m } else { smallest };
        let below = |n: usize| first + n.saturating_sub(first) / m * m;
        let above = |n: usize| first + n.saturating_sub(first).div_ceil(m) * m;
        if below(height) == height && below(width) == width {
            return Ok(());
        }
        Err(ShapeError::Size {
            height,
            width,
            multiple: m,
            smallest,
            below: format!("{}x{}", below(height), below(width)),
            above: format!("{}x{}", above(height), above(width)),
        })
    }
}

fn output_shape(node: &Node, inputs: &[Hwc]) -> Result<Hwc, String> {
    let Some(&x) = inputs.first() else {
        return Err("it has no input".into());
    };
    let c = node.channels;
    match &node.op {
        Op::Conv2d { window, .. } | Op::Depthwise { window } | Op::MaxPool { window } => {
            windowed(x, *window, c)
        }
        Op::ConvTranspose2x2 { .. } | Op::Upsample2x { .. } => Ok(Hwc {
            h: 2 * x.h,
            w: 2 * x.w,
            c,
        }),
        Op::GlobalAvgPool => Ok(Hwc { h: 1, w: 1, c }),
        Op::RegionPool => region_pooled(x, inputs[1]),
        Op::Linear { .. } if (x.h, x.w) != (1, 1) => {
            Err("a linear layer needs a pooled value (1x1)".into())
        }
        Op::Concat if inputs.iter().any(|i| (i.h, i.w) != (x.h, x.w)) => {
            Err("heights and widths differ".into())
        }
        Op::Add | Op::Mean if inputs.iter().any(|i| *i != x) => Err("shapes differ".into()),
        Op::Crop { margin } => cropped(x, *margin),
        Op::ScaleChannels if inputs[1] != (Hwc { h: 1, w: 1, c: x.c }) => {
            Err("the second must be 1x1 and have as many channels as the first".into())
        }
        _ => Ok(Hwc { h: x.h, w: x.w, c }),
    }
}

/// Largest number of elements of a value per image: 8 GiB of `f32`. Sizes may be multiplied at every node of a graph.
const MAX_NUMBERS: usize = 1 << 31;

fn bounded(shape: Hwc) -> Result<Hwc, String> {
    match shape.batch(1).checked_len() {
        Some(1..=MAX_NUMBERS) => Ok(shape),
        _ => Err(format!("its value of {shape} is too large for any memory")),
    }
}

fn windowed(x: Hwc, window: Window, channels: usize) -> Result<Hwc, String> {
    let y = window
        .output(x.batch(1), channels)
        .ok_or("the window is larger than the padded image")?;
    Ok(Hwc {
        h: y.h,
        w: y.w,
        c: channels,
    })
}

fn cropped(x: Hwc, margin: usize) -> Result<Hwc, String> {
    let y = x
        .batch(1)
        .cropped(margin)
        .ok_or("the crop removes everything")?;
    Ok(Hwc {
        h: y.h,
        w: y.w,
        ..x
    })
}

fn region_pooled(x: Hwc, map: Hwc) -> Result<Hwc, String> {
    RegionPool::checked(x.batch(1), map.batch(1)).ok_or(
        "the map must have at least two classes, and the same multiple of the features' height and width",
    )?;
    Ok(Hwc { h: 1, w: 1, c: x.c })
}

fn good_sizes(multiple: usize, smallest: usize) -> String {
    match smallest {
        0 => format!("multiples of {multiple}"),
        _ => format!("{smallest} plus a multiple of {multiple}"),
    }
}

fn node_error(node: &Node, inputs: &[Hwc], why: String) -> ShapeError {
    let shapes = inputs
        .iter()
        .map(Hwc::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    ShapeError::Node {
        node: node.name.clone(),
        op: node.op.kind(),
        shapes,
        why,
    }
}
