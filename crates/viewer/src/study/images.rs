//! Where the files of a run's images are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use imaging::{Decoder, ImageFile, Mask, MaskCoding, UNKNOWN};
use pipeline::RunDir;
use pipeline::outputs::Csv;
use settings::Settings;

use super::Case;

/// The files of a run's images and masks.
pub(crate) struct Images {
    root: PathBuf,
    decoder: Decoder,
    masks: Option<Masks>,
    files: BTreeMap<String, File>,
}

struct Masks {
    root: PathBuf,
    coding: MaskCoding,
}

/// What `manifest.csv` says of an image.
struct File {
    sha256: String,
    masks: Vec<String>,
}

impl Images {
    pub(super) fn of(run: &RunDir, settings: &Settings) -> Result<Self> {
        let (index, mut files) = (&settings.data.index, BTreeMap::new());
        Csv::open(&run.file("manifest.csv"))?.each(|line| {
            // Only data with masks have the column.
            let masks = line.field("mask").unwrap_or_default().split(';');
            let masks = masks.filter(|mask| !mask.is_empty()).map(str::to_owned);
            let file = File {
                sha256: line.field("sha256")?.to_owned(),
                masks: masks.collect(),
            };
            files.insert(line.field("path")?.to_owned(), file);
            Ok(())
        })?;
        let masks = index.masks.as_ref().map(|masks| Masks {
            root: masks.root(&index.root),
            coding: masks.coding.clone(),
        });
        Ok(Images {
            root: index.root.clone(),
            decoder: index.decoder,
            masks,
            files,
        })
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Images {
            root: PathBuf::new(),
            decoder: Decoder::default(),
            masks: None,
            files: BTreeMap::new(),
        }
    }

    /// Reads an image, as `decoder` does, or else as it was indexed.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is no longer the one that the run has seen.
    pub(crate) fn read(&self, case: &Case, decoder: Option<Decoder>) -> Result<ImageFile> {
        let path = self.root.join(&case.path);
        if !path.is_file() {
            return Err(anyhow!(
                "{} is not there: name the folder of the images with --data DIR",
                path.display()
            ));
        }
        let image = ImageFile::read(&path, decoder.unwrap_or(self.decoder))?;
        match self.files.get(&case.path) {
            Some(file) if file.sha256 != image.sha256() => Err(anyhow!(
                "{} has changed since the run: what it found does not apply to this file",
                path.display()
            )),
            _ => Ok(image),
        }
    }

    /// Whether there is a mask of an image.
    pub(crate) fn has_mask(&self, case: &Case) -> bool {
        let file = self.files.get(&case.path);
        self.masks.is_some() && file.is_some_and(|file| !file.masks.is_empty())
    }

    /// Where an image's mask marks something: 1 where it has another class than the first, 0 elsewhere, row by row.
    ///
    /// # Errors
    /// There is no mask, or it cannot be read.
    pub(crate) fn marked(&self, case: &Case, (height, width): (usize, usize)) -> Result<Vec<u8>> {
        let file = self.files.get(&case.path);
        let (Some(masks), Some(file)) = (&self.masks, file) else {
            return Err(anyhow!("{} has no mask", case.path));
        };
        let files: Vec<PathBuf> = file
            .masks
            .iter()
            .map(|mask| masks.root.join(mask))
            .collect();
        let label = case.truth.unwrap_or(0);
        let mask = Mask::open(&files, &masks.coding, label, self.decoder);
        let mask = mask
            .map_err(|reason| anyhow!(reason))
            .with_context(|| format!("the mask of {} cannot be read", case.path))?;
        let marks = mask.over(height, width).into_iter();
        Ok(marks
            .map(|class| u8::from(class != 0 && class != UNKNOWN))
            .collect())
    }
}
