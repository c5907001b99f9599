//! Mask files: where they are, and what to do with an image without a valid one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use imaging::MaskCoding;
use serde::{Deserialize, Serialize};

/// Where masks of images are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskPlace {
    /// In a folder tree parallel to the images'.
    Tree {
        /// The tree.
        root: PathBuf,
        /// The file's name, `{stem}` standing for the image's name without its extension:
        /// `{stem}.png`, `{stem}_mask.png`. May begin with folders, and lack the extension.
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
    /// Where they are. The masks that an image has in several places, such as the left and the right lung, are united.
    pub places: Vec<MaskPlace>,
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
        Self::at_all(vec![place])
    }

    /// Binary masks at several places, with defaults for everything else.
    pub fn at_all(places: Vec<MaskPlace>) -> Self {
        Self {
            places,
            coding: MaskCoding::default(),
            on_bad: OnMask::default(),
            on_missing: OnMask::default(),
            resize: false,
        }
    }

    /// The trees of masks.
    pub(crate) fn trees(&self) -> impl Iterator<Item = &PathBuf> {
        self.places.iter().filter_map(|place| match place {
            MaskPlace::Tree { root, .. } => Some(root),
            MaskPlace::Adjacent(_) | MaskPlace::Column => None,
        })
    }

    /// The patterns of the files' names.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &String> {
        self.places.iter().filter_map(|place| match place {
            MaskPlace::Tree { pattern, .. } | MaskPlace::Adjacent(pattern) => Some(pattern),
            MaskPlace::Column => None,
        })
    }

    /// The folder that the paths of masks are relative to: that of the only tree or of the images, or the innermost
    /// that contains all of them.
    pub fn root(&self, images: &Path) -> PathBuf {
        let mut roots = self.places.iter().map(|place| place.root(images));
        let first = roots.next().unwrap_or(images).to_owned();
        roots.fold(first, |common, root| {
            let parts = common.components().zip(root.components());
            let same = parts.take_while(|(a, b)| a == b);
            same.map(|(part, _)| part).collect()
        })
    }

    /// Names of the folders next to those of images in which patterns such as `../masks/{stem}.png` expect masks.
    pub(crate) fn folder_names(&self) -> HashSet<String> {
        let folder = |place: &MaskPlace| match place {
            MaskPlace::Adjacent(pattern) => {
                Some(Path::new(pattern).parent()?.file_name()?.to_owned())
            }
            MaskPlace::Tree { .. } | MaskPlace::Column => None,
        };
        let names = self.places.iter().filter_map(folder);
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

impl MaskPlace {
    /// The folder that paths are relative to.
    pub(crate) fn root<'p>(&'p self, images: &'p Path) -> &'p Path {
        match self {
            MaskPlace::Tree { root, .. } => root,
            MaskPlace::Adjacent(_) | MaskPlace::Column => images,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_several_trees_have_a_common_root() {
        let tree = |root: &str| MaskPlace::Tree {
            root: root.into(),
            pattern: "{stem}.png".into(),
        };
        let check = |places: &[MaskPlace], expected: &str| {
            let masks = MaskConfig::at_all(places.to_vec());
            assert_eq!(masks.root(Path::new("/d/images")), Path::new(expected));
        };
        check(&[tree("/d/masks")], "/d/masks");
        check(&[tree("/d/m/left"), tree("/d/m/right")], "/d/m");
        check(&[tree("/d/left"), tree("/d/leftover")], "/d");
        check(&[tree("/e/left"), MaskPlace::Column], "/");
        check(&[MaskPlace::Adjacent("x".into())], "/d/images");
    }

    #[test]
    fn folders_next_to_the_images_are_named_by_patterns() {
        let names = |pattern: &str| MaskConfig::beside(pattern).folder_names();
        assert_eq!(
            names("../masks/{stem}.png"),
            HashSet::from(["masks".to_owned()])
        );
        assert!(names("{stem}_mask.png").is_empty() && names("../{stem}.png").is_empty());
    }
}
