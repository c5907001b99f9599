//! Image data sets and how they reach a network: index, splits, analysis, batches.
//!
//! A [`Manifest`] has one row per image: its path, class, patient and content hash. It is a Polars
//! frame for queries and typed rows for code, sorted by path and therefore the same on every
//! machine. [`Splits`] are row indices that keep the images of a patient together; [`Eda`] reports
//! statistics and warnings; [`Loader`] yields batches, prepared on Rayon ahead of the consumer, in
//! which a sample's randomness depends only on (seed, epoch, row). Masks ([`MaskConfig`]) arrive as
//! class numbers, NaN where unknown. Image files are decoded in the crate `imaging`. [`phantom`]
//! generates synthetic data.
//!
//! ```
//! use dataset::{IndexConfig, Loader, LoaderConfig, SplitPolicy, Splits, index, phantom};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let made = phantom::generate(folder, &phantom::PhantomConfig { size: 32, ..Default::default() })?;
//! let config = IndexConfig {
//!     root: made.images,
//!     patients: dataset::PatientRule::kaggle_pneumonia(),
//!     ..Default::default()
//! };
//! let manifest = index(&config)?;
//! let splits = Splits::new(&manifest, &SplitPolicy::default(), None)?;
//! let settings = LoaderConfig { height: 32, width: 32, shuffle: true, ..Default::default() };
//! let loader = Loader::new(&manifest, splits.train, settings)?;
//! for batch in loader.epoch(0) {
//!     let batch = batch?;
//!     assert_eq!(batch.images.len(), batch.len * 32 * 32 * 3);
//! }
//! # Ok(())
//! # }
//! ```

// These macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod acquisition;
mod config;
mod eda;
mod error;
mod groups;
mod histogram;
mod index;
mod left_out;
mod loader;
#[cfg(test)]
mod made_up;
mod manifest;
mod mask;
mod notes;
mod pack;
mod patient;
pub mod phantom;
mod same;
mod scan;
mod small;
mod split;
mod split_name;
mod walk;
mod words;

pub use config::{
    Blank, CsvLayout, DataLayout, IndexConfig, LabelConfig, OnBadImage, PatientRule, SplitFolders,
    Uncertain,
};
pub use eda::{
    ClassCount, ClassIntensity, DuplicateGroup, Eda, EdaConfig, FormatCount, LeakedPatient,
    MaskArea, MaskSummary, NearCopies, NearCopy, PatientSize, Quantiles, SizeCount, Sizes,
    SplitCount, SplitSummary,
};
pub use error::DatasetError;
#[doc(hidden)]
pub use index::synthetic;
pub use index::{Progress, Reused, index, index_part, index_with_progress};
pub use left_out::{BadImage, LeftOut, Reason};
pub use loader::{
    Batch, Crop, DiskCache, EpochBatches, Loader, LoaderConfig, Sample, SampleKey, Share,
    Transform, class_weights,
};
pub use manifest::{ImageFacts, ImageRecord, Manifest, MaskFault, PatientSource};
pub use mask::{MaskConfig, MaskPlace, OnMask};
pub use patient::PatientFolders;
pub use scan::{check_mask_pattern, table_text};
pub use split::{CountOrder, FoldBy, OfficialVal, SplitLists, SplitPolicy, Splits};
pub use split_name::Split;
pub use walk::images_below;
pub use walk::names::{OVERLAY, OVERLAY_DICOM, PREDICTED_MASK, REPORT_DICOM, SEGMENTATION_DICOM};
pub use words::{did_you_mean, nearest};
