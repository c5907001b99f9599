//! A finished run as cases to look at.

mod classes;
mod images;
mod read;

use std::path::{Path, PathBuf};

use anyhow::Result;
use pipeline::RunDir;

pub(crate) use classes::{Classes, Threshold};
pub(crate) use images::Images;

/// A finished run, with the results of its test images.
pub struct Study {
    pub(crate) title: String,
    pub(crate) folder: PathBuf,
    /// Whether its images are drawings of the program.
    pub(crate) phantoms: bool,
    /// `None` if the network only segments.
    pub(crate) classes: Option<Classes>,
    pub(crate) cases: Vec<Case>,
    pub(crate) images: Images,
}

/// A test image and what the run found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Case {
    /// Path in the data folder.
    pub(crate) path: String,
    /// `None` if unknown.
    pub(crate) patient: Option<String>,
    /// Its true class.
    pub(crate) truth: Option<usize>,
    /// Calibrated, by class; empty if the network only segments.
    pub(crate) probabilities: Vec<f64>,
    /// The class that the run predicted.
    pub(crate) predicted: Option<usize>,
    /// Mean Dice coefficient of its map with its mask.
    pub(crate) dice: Option<f64>,
}

impl Study {
    /// Reads a run's folder. `data` is the folder of its images, if it is no longer the one in its settings; `root` is
    /// where relative paths in these start.
    ///
    /// # Errors
    /// It is not a run's folder, or the run has no results per image. Images are looked for only when they are shown.
    pub fn open(run: &Path, data: Option<&Path>, root: &Path) -> Result<Self> {
        read::study(&RunDir::open(run)?, data, root)
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }
}
