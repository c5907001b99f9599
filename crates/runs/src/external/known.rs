//! The images that the model was trained, validated and tested on, from the run's `manifest.csv`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use dataset::Split;

use pipeline::outputs::{Csv, Line};

/// An image of the run.
pub(super) struct KnownImage {
    pub(super) class: String,
    /// `None` if it was in no split.
    pub(super) split: Option<Split>,
    /// SHA-256 of the file.
    pub(super) sha256: String,
    /// Pixels.
    pub(super) width: f64,
    pub(super) height: f64,
    /// Mean and standard deviation of the grey values in [0, 1].
    pub(super) mean: f64,
    pub(super) std: f64,
}

/// The images of a run by their paths in its data folder.
pub(super) struct KnownImages(BTreeMap<String, KnownImage>);

impl KnownImages {
    pub(super) fn read(manifest: &Path) -> Result<Self> {
        let mut images = BTreeMap::new();
        Csv::open(manifest)?.each(|line| {
            images.insert(line.field("path")?.to_owned(), KnownImage::read(&line)?);
            Ok(())
        })?;
        Ok(Self(images))
    }

    pub(super) fn at(&self, path: &str) -> Option<&KnownImage> {
        self.0.get(path)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The images of a split, in the order of their paths.
    pub(super) fn of(&self, split: Split) -> impl Iterator<Item = (&str, &KnownImage)> {
        let images = self.0.iter().map(|(path, image)| (path.as_str(), image));
        images.filter(move |(_, image)| image.split == Some(split))
    }

    /// The contents of the files of a split.
    pub(super) fn contents(&self, split: Split) -> BTreeSet<&str> {
        self.of(split)
            .map(|(_, image)| image.sha256.as_str())
            .collect()
    }
}

impl KnownImage {
    fn read(line: &Line<'_>) -> Result<Self> {
        let number = |column: &str| -> Result<f64> {
            let text = line.field(column)?;
            text.parse()
                .with_context(|| format!("{column} {text:?} is not a number"))
        };
        let split = line.field("split")?;
        Ok(Self {
            class: line.field("class")?.to_owned(),
            split: Split::ALL.into_iter().find(|known| known.name() == split),
            sha256: line.field("sha256")?.to_owned(),
            width: number("width")?,
            height: number("height")?,
            mean: number("mean")?,
            std: number("std")?,
        })
    }
}
