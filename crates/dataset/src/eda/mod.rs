//! Exploratory data analysis: what a person should know of a data set before training on it.
//!
//! Counting is done by Polars group-bys over the manifest's frame. For the splits that training
//! will use rather than the folders', analyse [`Manifest::with_splits`](crate::Manifest::with_splits).

mod audit;
mod counts;
mod intensity;
mod masks;
mod warnings;

use serde::Serialize;

pub use audit::{DuplicateGroup, LeakedPatient, SplitCount};
pub use counts::{ClassCount, FormatCount, PatientSize, Quantiles, SizeCount, Sizes, SplitSummary};
pub use intensity::ClassIntensity;
pub use masks::{MaskArea, MaskSummary};

use crate::{BadImage, DatasetError, LeftOut, Manifest, PatientFolders};

/// How much to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdaConfig {
    /// Images of each class that are decoded again for the pixel histograms.
    pub sample_per_class: usize,
    /// Bins of the intensity histograms over [0, 1].
    pub bins: usize,
    /// Which images those are.
    pub seed: u64,
}

impl Default for EdaConfig {
    /// 100 images a class, 32 bins.
    fn default() -> Self {
        Self {
            sample_per_class: 100,
            bins: 32,
            seed: 0,
        }
    }
}

/// The analysis; serialises to the numbers that a report tables and plots.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Eda {
    /// Class names in the order of their labels.
    pub classes: Vec<String>,
    /// Usable images.
    pub images: usize,
    /// Distinct patients.
    pub patients: usize,
    /// Whether anything says which images are of one patient; where nothing does, each image counts
    /// as a patient of its own, here and in what follows.
    pub patients_known: bool,
    /// Images without a patient, where others have one or rules look for it.
    pub unmatched_patients: usize,
    /// Folders that may be patients and are not read as such.
    pub patient_folders: Option<PatientFolders>,
    /// Per split: counts, shares, imbalance.
    pub splits: Vec<SplitSummary>,
    /// Width, height and aspect ratio.
    pub sizes: Sizes,
    /// Channels and bit depths, the most common first.
    pub formats: Vec<FormatCount>,
    /// Per class: how bright the images are.
    pub intensity: Vec<ClassIntensity>,
    /// How many patients have how many images.
    pub images_per_patient: Vec<PatientSize>,
    /// Groups of byte-identical files.
    pub duplicates: Vec<DuplicateGroup>,
    /// Patients with images in more than one split.
    pub leaked_patients: Vec<LeakedPatient>,
    /// Files left out for what is wrong with them.
    pub bad_images: Vec<BadImage>,
    /// Files that are no samples, by reason.
    pub left_out: Vec<LeftOut>,
    /// Images that are shown turned or mirrored, as their files ask.
    pub turned_images: usize,
    /// Mask files that belong to no image.
    pub unmatched_masks: usize,
    /// Per split: masks, missing and empty ones, what they cover. Empty where none were asked for.
    pub masks: Vec<MaskSummary>,
    /// What to mind, in plain sentences.
    pub warnings: Vec<String>,
}

impl Eda {
    /// Analyses a manifest; decodes the sample for the pixel histograms in parallel.
    ///
    /// # Errors
    /// `bins` of 0, an image of the sample that can no longer be read, or a Polars error.
    pub fn new(manifest: &Manifest, config: &EdaConfig) -> Result<Self, DatasetError> {
        if config.bins == 0 {
            return Err(DatasetError::setting("bins", 0, "must be at least 1"));
        }
        let mut eda = Self {
            classes: manifest.classes().to_vec(),
            images: manifest.rows().len(),
            patients: counts::patients(manifest)?,
            patients_known: manifest.patients_are_known(),
            unmatched_patients: manifest.unmatched_patients(),
            patient_folders: manifest.patient_folders().cloned(),
            splits: counts::splits(manifest)?,
            sizes: counts::sizes(manifest)?,
            formats: counts::formats(manifest)?,
            intensity: intensity::by_class(manifest, config)?,
            images_per_patient: counts::images_per_patient(manifest)?,
            duplicates: audit::duplicates(manifest)?,
            leaked_patients: audit::leaked_patients(manifest)?,
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

/// What a split is called in tables: images in none are "unassigned".
pub(crate) fn split_name(split: Option<crate::Split>) -> String {
    split.map_or_else(|| "unassigned".to_owned(), |split| split.to_string())
}
