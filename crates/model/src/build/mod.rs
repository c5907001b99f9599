//! Architectures as rows of tables, and the code that builds a [`Graph`] from them.
//!
//! A model is an architecture and a head. The usual architecture is encoder × decoder: an encoder publishes features
//! (value, channels, reduction), and a decoder depends on nothing else, so every pair fits. Names of parameters are
//! timm's under `encoder.` and segmentation_models.pytorch's under `decoder.` and `segmentation_head.`, so weights can
//! be imported and exported. The other architectures are whole networks as in their papers ([`architectures`]).
//!
//! ```
//! use model::build::{ModelSpec, build};
//! let lite = ModelSpec { encoder: Some("tf_efficientnet_lite0".into()), ..ModelSpec::default() };
//! let graph = build(&lite)?;
//! assert_eq!(graph.output("map").map(|id| graph.node(id).channels), Some(2));
//! # Ok::<(), model::build::BuildError>(())
//! ```
//!
//! Every graph publishes `logits` (except with head `none`) and features, `features.N` being those at reduction 2^N (an
//! encoder's: 1 … 5); with a decoder also `decoder` (its last value) and `map` (one channel per map class, before
//! softmax). A network that makes several maps also publishes them as `map.1`, `map.2` …. All maps are as large as the
//! image, except `unet_2015_valid`'s.

mod check;
mod decoder;
mod eff_unet_keras;
mod efficientnet;
mod entries;
mod error;
mod head;
mod init;
mod registry;
mod rows;
mod spec;
mod tpcuar;
mod trunk;
mod unet;
mod unet_2015;
mod unetpp;
mod unetpp_2018;

use crate::graph::{Graph, GraphBuilder};
use check::Architecture;
use trunk::Trunk;

pub use entries::{ArchitectureEntry, DecoderEntry, EncoderEntry, HeadEntry};
pub use entries::{Normalization, PaddingStyle, Scaling};
pub use error::BuildError;
pub use registry::{architectures, decoders, encoders, heads};
pub use registry::{find_architecture, find_decoder, find_encoder, find_head};
pub use spec::ModelSpec;
pub use trunk::EncoderFeatures;

/// Builds the network that `spec` describes.
///
/// # Errors
/// An unknown architecture, encoder, decoder or head (the nearest known one is named), a number outside its range, or
/// parts that cannot be combined.
pub fn build(spec: &ModelSpec) -> Result<Graph, BuildError> {
    let parts = spec.check()?;
    let mut g = GraphBuilder::new(spec.in_channels);
    let trunk = match parts.architecture {
        Architecture::Assembled(encoder, decoder) => assemble(&mut g, encoder, decoder, spec),
        Architecture::Whole(whole) => (whole.write)(&mut g, spec),
    };
    for feature in &trunk.features {
        let level = feature.reduction.ilog2();
        g.publish(format!("features.{level}"), feature.value);
    }
    if let Some(value) = trunk.decoded {
        g.publish("decoder", value);
    }
    (parts.head.write)(&mut g, &trunk, spec);
    let reductions = trunk.features.iter().map(|f| f.reduction);
    Ok(g.finish(reductions.max().unwrap_or(1))?)
}

/// An encoder, a decoder, and segmentation_models.pytorch's head for the class map.
fn assemble(
    g: &mut GraphBuilder,
    encoder: &EncoderEntry,
    decoder: &DecoderEntry,
    spec: &ModelSpec,
) -> Trunk {
    let features = g.scope("encoder", |g| {
        efficientnet::write(g, encoder, spec.drop_path).features
    });
    let decoded = decoder
        .write
        .map(|write| g.scope("decoder", |g| write(&mut *g, &features)));
    let map = decoded.map(|x| head::window_map(g, x, spec.map_channels()));
    if let Some(map) = map {
        g.publish("map", map);
    }
    Trunk {
        features,
        decoded,
        map,
    }
}
