//! Why an attribution or a figure could not be computed.

use metrics::MetricsError;
use model::graph::{Hwc, ShapeError};
use model::network::NetworkError;

/// Why an attribution or a figure could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum AttributionError {
    /// The network failed, or does not run on the CPU.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The image's size does not suit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Rank correlations could not be computed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Pixels that do not match their shape.
    #[error("{what} of {shape} has {len} values instead of {}", shape.len())]
    Length {
        /// What the values are.
        what: &'static str,
        /// The shape given.
        shape: Hwc,
        /// Number of values given.
        len: usize,
    },
    /// A number that is NaN or infinite.
    #[error(
        "{what} has a value that is NaN or infinite: check the image, and that the network's scores are finite"
    )]
    NotFinite {
        /// What has it.
        what: &'static str,
    },
    /// A class that the network does not have.
    #[error("there is no class {class}: the network has {classes} classes, numbered from 0")]
    NoClass {
        /// The class requested.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A difference between a class and itself.
    #[error("the scores of class {0} and of class {0} do not differ: name two classes")]
    SameClass(usize),
    /// A node that the graph does not have.
    #[error("the network has no node `{name}`; the features that it publishes are: {known}")]
    NoNode {
        /// The name requested.
        name: String,
        /// Published features.
        known: String,
    },
    /// A network without published features, and no node named.
    #[error("the network publishes no features: name the node at which the map is to be computed")]
    NoFeatures,
    /// A value of a single pixel, of which no map can be made.
    #[error(
        "the value of `{name}` is 1x1, which has no places: name an earlier node, or use a larger image"
    )]
    NoPlaces {
        /// The node.
        name: String,
    },
    /// A setting outside its range.
    #[error("`{name}` is {value}: it must be {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Two maps, or a map and a mask or an image, of different sizes.
    #[error("{what} is {}x{}, but the heat map is {}x{}: give both at the network's input size", found.0, found.1, map.0, map.1)]
    SizeMismatch {
        /// What was compared with the map.
        what: &'static str,
        /// Its height and width.
        found: (usize, usize),
        /// The map's height and width.
        map: (usize, usize),
    },
    /// A mask without a marked pixel.
    #[error("the mask marks no pixel: leave out images without a region")]
    EmptyMask,
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, AttributionError>;

/// Errors unless `1 <= value <= most`.
pub(crate) fn count_in(name: &'static str, value: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(AttributionError::Setting {
        name,
        value: value.to_string(),
        expected: format!("from 1 to {most}"),
    })
}

/// Errors unless every value is finite.
pub(crate) fn finite(what: &'static str, values: &[f32]) -> Result<()> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(AttributionError::NotFinite { what }),
    }
}
