//! Metadata of a weights file: encoder, input normalization, padding.
//!
//! The entries are in the header of a safetensors file (`__metadata__`), in the document of a checkpoint of this
//! crate, or, for a downloaded file whose bytes must keep their checksum, in a JSON file next to it (`FILE.json`) with
//! the same keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::TensorFile;
use super::names::Conventions;
use crate::checkpoint;
use model::build::{EncoderEntry, Normalization, PaddingStyle};

const ENCODER: &str = "encoder";
const MEAN: &str = "normalization_mean";
const STD: &str = "normalization_std";
const PADDING: &str = "padding";
const BN_EPS: &str = "bn_eps";
const SYMMETRIC: &str = "symmetric";
const TF_SAME: &str = "tf_same";

/// What a file states about its weights; `None` if it does not state it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// A name of [`model::build::encoders`].
    pub encoder: Option<String>,
    /// Normalization of the network's input in training.
    pub normalization: Option<InputNormalization>,
    /// Padding and epsilon.
    pub conventions: Option<Conventions>,
}

/// `(x / 255 − mean) / std`, one value per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct InputNormalization {
    /// On the scale 0–1.
    pub mean: Vec<f32>,
    /// On the scale 0–1.
    pub std: Vec<f32>,
}

impl TensorFile {
    /// Adds what is known about the file from elsewhere; it must not contradict the file's own metadata
    /// ([`About::of`]).
    pub fn with_about(mut self, about: &About) -> Self {
        self.tensors.metadata.extend(about.to_metadata());
        self
    }
}

impl About {
    /// Metadata for an encoder and a normalization.
    pub fn new(encoder: &EncoderEntry, normalization: InputNormalization) -> About {
        About {
            encoder: Some(encoder.name.into()),
            normalization: Some(normalization),
            conventions: Some(Conventions::of_encoder(encoder)),
        }
    }

    /// A file's metadata, from its header or the JSON file next to it.
    pub fn of(file: &TensorFile) -> About {
        let header = About::from_metadata(file.metadata());
        let beside = beside(file.path());
        let checkpoint = About::from_checkpoint(file.metadata());
        header.or(checkpoint).or(About::from_metadata(&beside))
    }

    /// Parses metadata entries; one that cannot be parsed counts as absent.
    pub fn from_metadata(entries: &BTreeMap<String, String>) -> About {
        let numbers = |key: &str| serde_json::from_str::<Vec<f32>>(entries.get(key)?).ok();
        let normalization = match (numbers(MEAN), numbers(STD)) {
            (Some(mean), Some(std)) => Some(InputNormalization { mean, std }),
            _ => None,
        };
        let padding = match entries.get(PADDING).map(String::as_str) {
            Some(SYMMETRIC) => Some(PaddingStyle::Symmetric),
            Some(TF_SAME) => Some(PaddingStyle::TfSame),
            _ => None,
        };
        let eps = entries.get(BN_EPS).and_then(|eps| eps.parse().ok());
        About {
            encoder: entries.get(ENCODER).cloned(),
            normalization,
            conventions: padding
                .zip(eps)
                .map(|(padding, bn_eps)| Conventions { padding, bn_eps }),
        }
    }

    fn from_checkpoint(entries: &BTreeMap<String, String>) -> About {
        let Some((graph, meta)) = checkpoint::peek(entries) else {
            return About::default();
        };
        let checkpoint::Preprocessing { mean, std, .. } = meta.preprocessing;
        About {
            encoder: None,
            normalization: Some(InputNormalization { mean, std }),
            conventions: Conventions::of_graph(&graph),
        }
    }

    /// Entries for a file's metadata or for the JSON file next to it.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::new();
        let mut put = |key: &str, value: String| drop(entries.insert(key.into(), value));
        if let Some(encoder) = &self.encoder {
            put(ENCODER, encoder.clone());
        }
        if let Some(InputNormalization { mean, std }) = &self.normalization {
            put(MEAN, format!("{mean:?}"));
            put(STD, format!("{std:?}"));
        }
        if let Some(Conventions { padding, bn_eps }) = self.conventions {
            let padding = match padding {
                PaddingStyle::Symmetric => SYMMETRIC,
                PaddingStyle::TfSame => TF_SAME,
            };
            put(PADDING, padding.into());
            put(BN_EPS, bn_eps.to_string());
        }
        entries
    }

    fn or(self, other: About) -> About {
        About {
            encoder: self.encoder.or(other.encoder),
            normalization: self.normalization.or(other.normalization),
            conventions: self.conventions.or(other.conventions),
        }
    }
}

/// Path of the JSON file next to a weights file.
pub fn beside_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".json");
    path.with_file_name(name)
}

/// Entries of that file; none if it does not exist or is of another kind.
fn beside(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(beside_path(path)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

impl InputNormalization {
    /// ImageNet's mean and deviation.
    pub fn imagenet() -> Self {
        Normalization::IMAGENET.into()
    }

    /// Normalization to −1…1.
    pub fn half() -> Self {
        Normalization::HALF.into()
    }

    /// Adapts the values to `n` image channels: three are averaged for grey, one is repeated for RGB.
    pub fn channels(&self, n: usize) -> InputNormalization {
        let fit = |values: &[f32]| match values.len() {
            len if len == n || len == 0 => values.to_vec(),
            len => vec![values.iter().sum::<f32>() / len as f32; n],
        };
        InputNormalization {
            mean: fit(&self.mean),
            std: fit(&self.std),
        }
    }

    /// Whether both normalize an input in the same way, to the precision in which such values are usually given.
    pub fn agrees(&self, other: &InputNormalization) -> bool {
        const DIGITS: f32 = 1e-3;
        let near = |a: &[f32], b: &[f32]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= DIGITS)
        };
        near(&self.mean, &other.mean) && near(&self.std, &other.std)
    }
}

impl From<Normalization> for InputNormalization {
    fn from(normalization: Normalization) -> Self {
        InputNormalization {
            mean: normalization.mean.to_vec(),
            std: normalization.std.to_vec(),
        }
    }
}

impl fmt::Display for InputNormalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mean {:?}, std {:?}", self.mean, self.std)
    }
}
