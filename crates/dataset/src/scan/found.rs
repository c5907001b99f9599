//! Contents of a data folder or a table, before any image is opened.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::IndexConfig;
use crate::error::DatasetError;
use crate::left_out::{BadImage, Tally};
use crate::split_name::Split;

/// A file that looks like an image by its name.
#[derive(Debug, Default)]
pub(crate) struct Candidate {
    pub(crate) split: Option<Split>,
    pub(crate) class: usize,
    pub(crate) file: PathBuf,
    /// Relative to the root, '/'-separated.
    pub(crate) path: String,
    /// How many of the path's folders give split and class.
    pub(crate) depth: usize,
    /// Where its mask is expected first, relative to the masks' root; `None` if none is expected.
    pub(crate) expected_mask: Option<String>,
    /// The mask files that exist, relative to the masks' root.
    pub(crate) masks: Vec<String>,
    /// The patient, if the table gives one.
    pub(crate) patient: Option<String>,
    /// Further cells of the table, by the names of their columns.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// A folder that must hold at least one image.
#[derive(Debug)]
pub(crate) struct ClassFolder {
    pub(crate) split: Option<Split>,
    pub(crate) class: usize,
    pub(crate) folder: PathBuf,
}

/// Contents of a data folder, before any file is opened.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) classes: Vec<String>,
    pub(crate) folders: Vec<ClassFolder>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) unreadable: Vec<BadImage>,
    pub(crate) left_out: Tally,
    /// Mask files that belong to no image, relative to the masks' root.
    pub(crate) unmatched_masks: Vec<String>,
    /// What was noticed, in sentences.
    pub(crate) remarks: Vec<String>,
}

/// The single class of images without classes: the only one configured, or `image`.
pub(crate) fn one_class(config: &IndexConfig) -> Result<Vec<String>, DatasetError> {
    match config.classes.as_slice() {
        [] => Ok(vec!["image".to_owned()]),
        [class] => Ok(vec![class.clone()]),
        classes => Err(DatasetError::setting(
            "classes",
            classes.join(", "),
            "images without classes accept at most one name",
        )),
    }
}

#[cfg(test)]
impl Candidate {
    pub(crate) fn at(path: &str) -> Self {
        Candidate {
            path: path.to_owned(),
            ..Candidate::default()
        }
    }
}
