//! A trained network as an ONNX model, for programs that know nothing of this project.
//!
//! The model contains the whole answer: it takes images at their own size, resizes and normalizes them as training did,
//! and returns calibrated probabilities, the predicted class and the class map. What a reader needs besides (names of
//! the classes, threshold, origin) is in its metadata.
//!
//! | input | type | meaning |
//! | --- | --- | --- |
//! | `image` | float `[batch, channels, height, width]` | pixels as stored: 0 to 255 of an 8-bit file, 0 to 65535 of a 16-bit one; grey (1 channel) or, if the network takes 3 channels, RGB |
//! | `full_scale` | float `[1]` | the largest value that the pixels can have: 255 or 65535 |
//!
//! | output | type | meaning |
//! | --- | --- | --- |
//! | `logits` | float `[batch, classes]` | scores before calibration |
//! | `probabilities` | float `[batch, classes]` | calibrated |
//! | `class` | int64 `[batch]` | index of the predicted class, by the threshold that validation chose, if there is one |
//! | `map` | float `[batch, classes of the map, rows, columns]` | each pixel's probabilities, in the network's frame |
//!
//! A segmenter has only `map`, and a classifier without a class map only the others. A network that was trained on
//! windows takes windows of the size that the metadata state.
//!
//! Our resizing rounds to whole pixel values between its two passes, and ONNX's operator does not: probabilities of images
//! that are not of the network's size differ slightly from those of `predict`, and others only by rounding.
//!
//! The types of the format (`proto/onnx.rs`) are generated from the `onnx.proto` of ONNX 1.23.2 by `prost-build` 0.14.

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod answer;
mod error;
mod metadata;
mod network;
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::doc_markdown,
    rustdoc::all,
    reason = "generated"
)]
mod proto {
    include!("proto/onnx.rs");
}
mod writer;

use std::path::Path;

use formats::checkpoint::Checkpoint;
use inference::Bundle;
use model::engine::{Device, Precision};
use prost::Message as _;

pub use error::ExportError;
pub use writer::WeightType;

/// Reads the checkpoint at `from` and returns it as an ONNX model, encoded.
///
/// # Errors
/// The file is missing or damaged, or holds more than one network.
pub fn to_onnx(from: &Path, weights: WeightType) -> Result<Vec<u8>, ExportError> {
    let checkpoint = Checkpoint::load(from).map_err(inference::InferenceError::from)?;
    if checkpoint.region.is_some() {
        return Err(ExportError::Region);
    }
    if checkpoint.ensemble.is_some() {
        return Err(ExportError::Ensemble);
    }
    let bundle = Bundle::of(from, checkpoint, Device::Cpu, Precision::F32)?;
    let sha256 = files::sha256::of_file(from).map_err(|source| ExportError::Read {
        path: from.into(),
        source,
    })?;
    let model = answer::model(&bundle, weights, &sha256)?;
    Ok(model.encode_to_vec())
}
