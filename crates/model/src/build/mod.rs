//! Architectures as rows of tables, and the code that walks the rows into a [`Graph`].
//!
//! A model is encoder × decoder × head. An encoder publishes features (value, channels, reduction), and that is all
//! a decoder sees, so every pair fits. Names of parameters are timm's under `encoder.` and
//! segmentation_models.pytorch's under `decoder.` and `segmentation_head.`: weights pass both ways.
//!
//! ```
//! use model::build::{ModelSpec, build};
//! let graph = build(&ModelSpec { encoder: "tf_efficientnet_lite0".into(), decoder: "unet".into(), ..ModelSpec::default() })?;
//! assert_eq!(graph.output("map").map(|id| graph.node(id).channels), Some(2));
//! # Ok::<(), model::build::BuildError>(())
//! ```
//!
//! Every graph publishes `features.1` … `features.5` (reductions 2 … 32) and `logits`; with a decoder also
//! `decoder` (its last block, 16 channels at full size) and `map` (a channel a class, before softmax).

mod decoder;
mod efficientnet;
mod head;
mod init;
mod registry;
mod rows;
mod spec;
mod unet;
mod unetpp;

use crate::graph::{Graph, GraphBuilder, NodeId};

pub use efficientnet::Scaling;
pub use registry::{DecoderEntry, EncoderEntry, HeadEntry, Normalization, PaddingStyle};
pub use registry::{decoders, encoders, find_decoder, find_encoder, find_head, heads};
pub use spec::{BuildError, ModelSpec};

/// A value that an encoder offers to decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderFeatures {
    /// The value.
    pub value: NodeId,
    /// Its channels.
    pub channels: usize,
    /// By how much it is smaller than the image.
    pub reduction: usize,
}

/// Writes the network that `spec` names.
///
/// # Errors
/// An unknown encoder, decoder or head (the nearest known one is named), a number outside its range, or parts that
/// do not go together.
pub fn build(spec: &ModelSpec) -> Result<Graph, BuildError> {
    let parts = spec.check()?;
    let mut g = GraphBuilder::new(spec.in_channels);
    let features = g.scope("encoder", |g| {
        efficientnet::write(g, parts.encoder, spec.drop_path)
    });
    for (i, feature) in features.iter().enumerate() {
        g.publish(format!("features.{}", i + 1), feature.value);
    }
    let decoded = parts
        .decoder
        .write
        .map(|write| g.scope("decoder", |g| write(&mut *g, &features)));
    if let Some(value) = decoded {
        g.publish("decoder", value);
    }
    (parts.head.write)(
        &mut g,
        &head::Inputs {
            features: &features,
            decoded,
            spec,
        },
    );
    let size_multiple = features.iter().map(|f| f.reduction).max().unwrap_or(1);
    Ok(g.finish(size_multiple)?)
}
