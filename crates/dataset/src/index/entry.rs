//! What indexing learns about a file, in a form that can be kept, and exchanged between processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use imaging::PixelSpacing;
use serde::{Deserialize, Serialize};

use crate::small::Signature;

/// Everything that inspecting an image and its mask yields, besides the values of the small copy: together with the
/// settings, it determines the image's row in the manifest to the bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Of the image, relative to the data folder.
    pub(crate) path: String,
    /// Of the image when it was read; `None` if it could not be told.
    pub(crate) stamp: Option<Stamp>,
    /// Or why the file cannot be used.
    pub(crate) image: Result<ImageEntry, String>,
    /// The mask, if there is one and masks were requested.
    pub(crate) mask: Option<MaskEntry>,
}

/// What an image file says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageEntry {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: u8,
    pub(crate) bit_depth: u8,
    pub(crate) range: [f64; 2],
    pub(crate) mean: f64,
    pub(crate) std: f64,
    pub(crate) sha256: String,
    /// Whether the file specifies a rotation or reflection.
    pub(crate) turned: bool,
    /// Pixels by their grey value.
    pub(crate) levels: Box<[u32]>,
    pub(crate) signature: Signature,
    /// What a DICOM file's header says besides.
    pub(crate) dicom: Option<DicomEntry>,
}

/// What is used of a DICOM file's header, with salted hashes in place of identifiers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DicomEntry {
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) spacing: Option<PixelSpacing>,
    /// Whether there is text in the pixels, according to the header.
    pub(crate) burned_in: bool,
    /// Whether the path holds the Patient ID.
    pub(crate) reveals: bool,
    /// Hash of the Patient ID.
    pub(crate) patient: Option<String>,
    /// Hash of the Study Instance UID.
    pub(crate) study: Option<String>,
    /// The file whose content salts the hashes, if there are any.
    pub(crate) salt: Option<Salt>,
}

/// A file whose content salts hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Salt {
    /// Relative to the data folder.
    pub(crate) path: String,
    pub(crate) stamp: Option<Stamp>,
}

/// What the files of a mask say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MaskEntry {
    /// The settings that the mask was read with, as text.
    pub(crate) settings: String,
    /// Relative to the masks' folder.
    pub(crate) files: Vec<(String, Option<Stamp>)>,
    /// Or why the mask cannot be used.
    pub(crate) mask: Result<MaskFacts, String>,
}

/// A mask that can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MaskFacts {
    /// Share of each class among the known pixels.
    pub(crate) shares: Option<Vec<f64>>,
    pub(crate) sha256: String,
}

/// By which a changed file is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    bytes: u64,
    /// Time of the last change, in nanoseconds from 1970.
    changed: i64,
}

impl Stamp {
    /// Of a file, or of what a link leads to; `None` if it cannot be accessed or has no time.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        let about = std::fs::metadata(file).ok()?;
        Some(Self {
            bytes: about.len(),
            changed: nanoseconds(about.modified().ok()?)?,
        })
    }

    /// Whether the file had been left alone for so long, at a time before it was read, that every later change gives it
    /// another time. File systems' clocks have steps of up to two seconds (FAT).
    pub(crate) fn is_settled(&self, at: SystemTime) -> bool {
        const STEP: Duration = Duration::from_secs(3);
        let settled = at.checked_sub(STEP).and_then(nanoseconds);
        settled.is_some_and(|settled| self.changed < settled)
    }
}

fn nanoseconds(time: SystemTime) -> Option<i64> {
    let of = |duration: Duration| i64::try_from(duration.as_nanos()).ok();
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => of(after),
        Err(before) => of(before.duration()).map(|n| -n),
    }
}

impl MaskEntry {
    /// Names of files with their stamps.
    pub(crate) fn stamped(root: &Path, files: &[String]) -> Vec<(String, Option<Stamp>)> {
        let stamped = |file: &String| (file.clone(), Stamp::of(&root.join(PathBuf::from(file))));
        files.iter().map(stamped).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_changed_a_moment_ago_is_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"12").unwrap();
        let now = SystemTime::now();
        assert!(!Stamp::of(&path).unwrap().is_settled(now));
        assert!(
            Stamp::of(&path)
                .unwrap()
                .is_settled(now + Duration::from_secs(4))
        );
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(now + Duration::from_secs(60)).unwrap();
        assert!(!Stamp::of(&path).unwrap().is_settled(now));
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(7);
        file.set_modified(before_1970).unwrap();
        let stamp = Stamp::of(&path).unwrap();
        assert!(stamp.is_settled(now) && stamp.changed == -7_000_000_000 && stamp.bytes == 2);
        assert_eq!(Stamp::of(folder.path().join("y").as_path()), None);
    }
}
