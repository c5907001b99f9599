//! What can go wrong, each with the file or key it is about and the remedy.

use std::path::PathBuf;

use crate::Split;

/// Anything that indexing, splitting, loading or generating can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The data folder itself is absent.
    #[error("no data folder at {}: give the folder that holds the images", path.display())]
    NoDataFolder {
        /// The folder asked for.
        path: PathBuf,
    },
    /// A folder that the configuration names for a split is absent.
    #[error(
        "no {split} folder at {}: the folders there are {found}; name the right one in the split \
         folders, or leave the split out", path.display()
    )]
    MissingSplitFolder {
        /// The split that the folder was to hold.
        split: Split,
        /// Where it was looked for.
        path: PathBuf,
        /// The folders that are there instead, comma-separated.
        found: String,
    },
    /// A class has no folder in one of the splits.
    #[error("class {class:?} has no folder at {}: every split needs a folder for every class", path.display())]
    MissingClassFolder {
        /// The class.
        class: String,
        /// Where its folder was looked for.
        path: PathBuf,
    },
    /// No class folders at all.
    #[error(
        "{} holds {found} class folder(s), a classifier needs at least 2: expected one folder of \
         images per class", path.display()
    )]
    TooFewClasses {
        /// The folder searched.
        path: PathBuf,
        /// How many classes were found.
        found: usize,
    },
    /// A class folder without a single usable image.
    #[error("class {class:?} has no usable image in {}: add images or remove the folder", path.display())]
    EmptyClass {
        /// The class.
        class: String,
        /// Its folder.
        path: PathBuf,
    },
    /// An image or mask that cannot be used.
    #[error("{}: {reason}; replace or remove the file, or set on_bad_image = \"skip\"", path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A mask that is missing or cannot be used, where the settings ask to stop.
    #[error("mask {}: {reason}; mend it, or set {key} to \"unknown\" or \"skip\"", path.display())]
    BadMask {
        /// The mask file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The setting that decides.
        key: &'static str,
    },
    /// The table that names the images.
    #[error("{}: {reason}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A patient rule that is not a valid regular expression or template.
    #[error("patient rule {pattern:?}: {reason}")]
    PatientRule {
        /// The rule's regular expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting outside what is possible.
    #[error("{key} = {value}: {reason}")]
    Setting {
        /// The setting's name.
        key: &'static str,
        /// Its value as given.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// A split policy needs images that the data set lacks.
    #[error(
        "the {split} split would have no image{}: {remedy}",
        class_suffix(class)
    )]
    EmptySplit {
        /// The split.
        split: Split,
        /// The class without an image, or none when the whole split is empty.
        class: Option<String>,
        /// What to do about it.
        remedy: String,
    },
    /// A batch worker failed in code that is not ours (a transform), or could not start.
    #[error("preparing {} failed: {message}", path.display())]
    Worker {
        /// The sample being prepared.
        path: PathBuf,
        /// The panic's message or the cause.
        message: String,
    },
    /// Reading or writing failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", "list".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Polars refused a frame operation.
    #[error("data frame: {0}")]
    Frame(#[from] polars::error::PolarsError),
}

fn class_suffix(class: &Option<String>) -> String {
    class
        .as_ref()
        .map(|name| format!(" of class {name:?}"))
        .unwrap_or_default()
}

impl DatasetError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: std::io::Error,
    ) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source,
        }
    }

    pub(crate) fn setting(key: &'static str, value: impl ToString, reason: &str) -> Self {
        Self::Setting {
            key,
            value: value.to_string(),
            reason: reason.to_owned(),
        }
    }
}
