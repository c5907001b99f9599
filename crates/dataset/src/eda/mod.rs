//! Exploratory data analysis: what to know about a data set before training on it.
//!
//! Counting is done by Polars group-bys over the manifest's frame. To analyse the splits that
//! training will use instead of the folders', pass
//! [`Manifest::with_splits`](crate::Manifest::with_splits).

mod audit;
mod counts;
mod intensity;
mod masks;
mod near_copies;
mod patients;
mod warnings;

use collective::{Alone, Collective};
use serde::Serialize;

pub use audit::{DuplicateGroup, LeakedPatient, SplitCount};
pub use counts::{ClassCount, FormatCount, PatientSize, Quantiles, SizeCount, Sizes, SplitSummary};
pub use intensity::ClassIntensity;
pub use masks::{MaskArea, MaskSummary};
pub use near_copies::{NearCopies, NearCopy};

use crate::histogram::LEVELS;
use crate::{BadImage, DatasetError, LeftOut, Manifest, PatientFolders};

/// Extent of the analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdaConfig {
    /// Bins of the intensity histograms over [0, 1], from 1 to 256.
    pub bins: usize,
}

impl Default for EdaConfig {
    /// 32 bins.
    fn default() -> Self {
        Self { bins: 32 }
    }
}

/// The analysis; serialises to the numbers that a report tabulates and plots.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Eda {
    /// Class names in the order of their labels.
    pub classes: Vec<String>,
    /// Usable images.
    pub images: usize,
    /// Distinct patients.
    pub patients: usize,
    /// Whether it is known which images are of one patient; if not, each image counts as a separate
    /// patient, here and below.
    pub patients_known: bool,
    /// Images without a patient, although others have one or there are patient rules.
    pub unmatched_patients: usize,
    /// Folders that may be patients but are not treated as such.
    pub patient_folders: Option<PatientFolders>,
    /// Per split: counts, shares, imbalance.
    pub splits: Vec<SplitSummary>,
    /// Width, height and aspect ratio.
    pub sizes: Sizes,
    /// Channels and bit depths, the most common first.
    pub formats: Vec<FormatCount>,
    /// Per class: brightness of the images.
    pub intensity: Vec<ClassIntensity>,
    /// Number of patients by number of images.
    pub images_per_patient: Vec<PatientSize>,
    /// Groups of byte-identical files.
    pub duplicates: Vec<DuplicateGroup>,
    /// Pairs of images that are nearly identical.
    pub near_copies: NearCopies,
    /// Patients with images in more than one split.
    pub leaked_patients: Vec<LeakedPatient>,
    /// Files left out because they are faulty.
    pub bad_images: Vec<BadImage>,
    /// Files that are not samples, by reason.
    pub left_out: Vec<LeftOut>,
    /// Images that are rotated or mirrored according to their files.
    pub turned_images: usize,
    /// Mask files that belong to no image.
    pub unmatched_masks: usize,
    /// Per split: masks, missing and empty ones, covered areas. Empty if no masks were requested.
    pub masks: Vec<MaskSummary>,
    /// Warnings, in plain sentences.
    pub warnings: Vec<String>,
}

impl Eda {
    /// [`Eda::over`] by one process.
    ///
    /// # Errors
    /// As [`Eda::over`].
    pub fn new(manifest: &Manifest, config: &EdaConfig) -> Result<Self, DatasetError> {
        Self::over(&Alone, manifest, config)
    }

    /// Takes part in the analysis that another process makes by [`Eda::over`], of an equal manifest.
    ///
    /// # Errors
    /// As [`Eda::over`].
    pub fn take_part(processes: &dyn Collective, manifest: &Manifest) -> Result<(), DatasetError> {
        near_copies::of(manifest, processes).map(drop)
    }

    /// Analyses a manifest, of which the search for near-identical images, by far the longest part, is shared out among
    /// processes: all others make the call [`Eda::take_part`]. No image is read, except where its small copy is in an index cache that is gone or damaged.
    ///
    /// # Errors
    /// A number of `bins` that is not possible, an image that would have to be read again and cannot be, a Polars error, or
    /// processes that cannot reach each other.
    pub fn over(
        processes: &dyn Collective,
        manifest: &Manifest,
        config: &EdaConfig,
    ) -> Result<Self, DatasetError> {
        if !(1..=LEVELS).contains(&config.bins) {
            let reason = format!("must be from 1 to {LEVELS}");
            return Err(DatasetError::setting("bins", config.bins, &reason));
        }
        let in_splits = patients::in_splits(manifest);
        let of_patients = patients::images(manifest);
        let mut eda = Self {
            classes: manifest.classes().to_vec(),
            images: manifest.rows().len(),
            patients: of_patients.len(),
            patients_known: manifest.patients_are_known(),
            unmatched_patients: manifest.unmatched_patients(),
            patient_folders: manifest.patient_folders().cloned(),
            splits: counts::splits(manifest, &in_splits)?,
            sizes: counts::sizes(manifest)?,
            formats: counts::formats(manifest)?,
            intensity: intensity::by_class(manifest, config)?,
            images_per_patient: counts::images_per_patient(&of_patients),
            duplicates: audit::duplicates(manifest),
            near_copies: near_copies::of(manifest, processes)?,
            leaked_patients: audit::leaked_patients(manifest, &in_splits),
            bad_images: manifest.bad_images().to_vec(),
            left_out: manifest.left_out().to_vec(),
            turned_images: manifest.turned_images(),
            unmatched_masks: manifest.unmatched_masks().len(),
            masks: masks::summaries(manifest),
            warnings: Vec::new(),
        };
        eda.warnings = warnings::of(&eda, manifest);
        Ok(eda)
    }
}

/// Name of a split in tables; "unassigned" for images in none.
pub(crate) fn split_name(split: Option<crate::Split>) -> String {
    split.map_or_else(|| "unassigned".to_owned(), |split| split.to_string())
}
