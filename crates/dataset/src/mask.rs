//! Mask files: where they lie, and what becomes of an image without a good one.

use std::path::PathBuf;

use imaging::MaskCoding;
use serde::{Deserialize, Serialize};

/// Where the mask of an image lies.
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
    /// `../masks/{stem}.png`. What lies there is no image.
    Beside(String),
    /// Named by the mask column of the CSV, relative to the data folder.
    Column,
}

/// What becomes of an image whose mask is missing or bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMask {
    /// The image stays and trains its class; its pixels count nowhere.
    #[default]
    Unknown,
    /// The image is left out.
    Skip,
    /// Stop with an error that names the file.
    Fail,
}

/// Where masks are, what they mean, and what to do without a good one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// Where they lie.
    pub place: MaskPlace,
    /// What their values mean.
    #[serde(default)]
    pub coding: MaskCoding,
    /// A mask file that cannot be read, has another size than its image or foreign values.
    #[serde(default)]
    pub on_bad: OnMask,
    /// No mask file.
    #[serde(default)]
    pub on_missing: OnMask,
    /// Take a mask of another size where width and height differ by one common factor.
    #[serde(default)]
    pub resize: bool,
}

impl MaskConfig {
    /// Binary masks in a tree parallel to the images', under the images' names; an image may lack
    /// one.
    pub fn tree(root: impl Into<PathBuf>) -> Self {
        Self::at(MaskPlace::Tree {
            root: root.into(),
            pattern: "{stem}.png".to_owned(),
        })
    }

    /// Binary masks beside their images.
    pub fn beside(pattern: impl Into<String>) -> Self {
        Self::at(MaskPlace::Beside(pattern.into()))
    }

    /// Binary masks at some place, with the defaults of everything else.
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
