//! Mask files: where they are, and what to do with an image without a valid one.

use std::path::PathBuf;

use imaging::MaskCoding;
use serde::{Deserialize, Serialize};

/// Where the mask of an image is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskPlace {
    /// In a folder tree parallel to the images'.
    Tree {
        /// The tree.
        root: PathBuf,
        /// The file's name, `{stem}` standing for the image's name without its extension:
        /// `{stem}.png`, `{stem}_mask.png`. May begin with folders.
        pattern: String,
    },
    /// Below the data folder, by a path from the image's own folder: `{stem}_mask.png`,
    /// `../masks/{stem}.png`. Files there are not images.
    Adjacent(String),
    /// Named by the mask column of the CSV, relative to the data folder.
    Column,
}

/// What to do with an image whose mask is missing or bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMask {
    /// Keep the image for its class, with all pixels unknown.
    #[default]
    Unknown,
    /// Leave the image out.
    Skip,
    /// Stop with an error that names the file.
    Fail,
}

/// Where masks are, what they mean, and what to do without a valid one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// Where they are.
    pub place: MaskPlace,
    /// What their values mean.
    #[serde(default)]
    pub coding: MaskCoding,
    /// For a mask file that cannot be read, or has another size than its image or unknown values.
    #[serde(default)]
    pub on_bad: OnMask,
    /// For an image without a mask file.
    #[serde(default)]
    pub on_missing: OnMask,
    /// Accept a mask of another size if width and height differ by the same factor.
    #[serde(default)]
    pub resize: bool,
}

impl MaskConfig {
    /// Binary masks in a tree parallel to the images', with the images' names; an image may lack
    /// one.
    pub fn tree(root: impl Into<PathBuf>) -> Self {
        Self::at(MaskPlace::Tree {
            root: root.into(),
            pattern: "{stem}.png".to_owned(),
        })
    }

    /// Binary masks next to their images.
    pub fn beside(pattern: impl Into<String>) -> Self {
        Self::at(MaskPlace::Adjacent(pattern.into()))
    }

    /// Binary masks at `place`, with defaults for everything else.
    pub fn at(place: MaskPlace) -> Self {
        Self {
            place,
            coding: MaskCoding::default(),
            on_bad: OnMask::default(),
            on_missing: OnMask::default(),
            resize: false,
        }
    }
}
