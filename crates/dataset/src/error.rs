//! Errors, each with the file or key concerned and the remedy.

use std::path::PathBuf;

use imaging::ImagingError;

use crate::split_name::Split;

/// Why indexing, splitting, loading or generating failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The data folder itself is missing.
    #[error("no data folder at {}: give the folder that holds the images", path.display())]
    NoDataFolder {
        /// The requested folder.
        path: PathBuf,
    },
    /// A folder that the configuration names for a split is missing.
    #[error(
        "no {split} folder at {}: the folders there are {found}; name the right one in the split \
         folders, or leave the split out", path.display()
    )]
    MissingSplitFolder {
        /// The split that the folder should hold.
        split: Split,
        /// Where it was expected.
        path: PathBuf,
        /// The folders that are there instead, comma-separated.
        found: String,
    },
    /// A class has no folder in one of the splits.
    #[error("class {class:?} has no folder at {}: every split needs a folder for every class", path.display())]
    MissingClassFolder {
        /// The class.
        class: String,
        /// Where its folder was expected.
        path: PathBuf,
    },
    /// No class folders at all.
    #[error(
        "{} holds {} class folder(s){}, but a classifier needs at least 2: expected one folder of \
         images per class; name the folders in classes if they are not found, or set \
         layout = \"images\" if the images have no classes",
        path.display(), found.len(), named(found)
    )]
    TooFewClasses {
        /// The folder searched.
        path: PathBuf,
        /// The classes that were found.
        found: Vec<String>,
    },
    /// A class folder without a single usable image.
    #[error("class {class:?} has no usable image in {}: {why}", path.display())]
    EmptyClass {
        /// The class.
        class: String,
        /// Its folder, or the table.
        path: PathBuf,
        /// What there is instead, and what to do.
        why: String,
    },
    /// An image file that cannot be used.
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// A bad image, if the settings require stopping.
    #[error("{}: {reason}; replace or remove the file, or set on_bad_image = \"skip\"", path.display())]
    RefusedImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An image or mask that could be read when the data were indexed, but no longer can. Continuing
    /// without it would evaluate other images than the report states.
    #[error(
        "{}: {reason}; it could be read when the data were indexed: put it back and resume, or \
         start a new run", path.display()
    )]
    Vanished {
        /// The file.
        path: PathBuf,
        /// What is wrong with it now.
        reason: String,
    },
    /// A mask that is missing or cannot be used, if the settings require stopping.
    #[error("mask {}: {reason}; repair it, or set {key} to \"unknown\" or \"skip\"", path.display())]
    BadMask {
        /// The mask file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The setting that decides.
        key: &'static str,
    },
    /// The table that lists the images is faulty.
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
    /// A setting outside its valid range.
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
        /// The class without an image, or `None` if the whole split is empty.
        class: Option<String>,
        /// What to do about it.
        remedy: String,
    },
    /// A batch worker failed in the caller's code (a transform), or could not start.
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
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A Polars frame operation failed.
    #[error("data frame: {0}")]
    Frame(#[from] polars::error::PolarsError),
    /// Processes that analyse a data set together could not.
    #[error("the processes could not analyse the images together: {reason}")]
    Together {
        /// Why.
        reason: String,
    },
}

fn class_suffix(class: &Option<String>) -> String {
    class
        .as_ref()
        .map(|name| format!(" of class {name:?}"))
        .unwrap_or_default()
}

/// The classes found, such as " (NORMAL)"; empty if there are none.
fn named(found: &[String]) -> String {
    match found.is_empty() {
        true => String::new(),
        false => format!(" ({})", found.join(", ")),
    }
}

impl DatasetError {
    pub(crate) fn bad_image(path: impl Into<PathBuf>, reason: String) -> Self {
        Self::Image(ImagingError::BadImage {
            path: path.into(),
            reason,
        })
    }

    /// Turns a bad image into [`DatasetError::Vanished`]: it was good when it was indexed.
    pub(crate) fn vanished(self) -> Self {
        match self {
            Self::Image(ImagingError::BadImage { path, reason }) => Self::Vanished { path, reason },
            other => other,
        }
    }

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
