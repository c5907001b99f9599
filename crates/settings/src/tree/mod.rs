//! TOML as a tree that records where each value was written, and its decoding into types with errors that name the key.

mod decode;
mod error;
mod node;

pub(crate) use dataset::did_you_mean;
pub use dataset::nearest;
pub(crate) use decode::decode;
pub use error::ConfigError;
pub(crate) use node::{Node, Origin, Value, join};
