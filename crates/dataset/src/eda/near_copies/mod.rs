//! Near-identical images: copies that were compressed again, resized, brightened, slightly cropped or mirrored.
//!
//! Two images are near-identical if their small copies correlate. Up to some thousands of images every pair is compared
//! ([`every_pair`]), beyond that those pairs whose hashes are similar ([`hashed`]); in both cases a few numbers per image
//! exclude most pairs ([`outline`]), and the correlation of the small copies decides ([`correlation`]).

mod correlation;
mod every_pair;
mod hashed;
mod hashes;
mod images;
mod join;
mod outline;
mod pairs;
mod sign_hash;
mod table;
#[cfg(test)]
mod tests;
mod views;
mod whitening;

use collective::Collective;
use serde::Serialize;

use super::split_name;
use crate::{DatasetError, ImageRecord, Manifest};
use correlation::CORRELATION;
use images::Images;
use pairs::{Pair, Pairs};

/// Up to this number of images every pair is compared, which takes about a second.
const FEW: usize = 1 << 14;

/// Pairs of near-identical images that are not byte-identical.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearCopies {
    /// Least correlation of the images reduced to 64 × 64 grey values, as they are or one of them mirrored.
    pub min_correlation: f64,
    /// Whether every pair of images was compared. Of more than 16,384 images those with similar hashes are, so that
    /// pairs that correlate little more than the least may be missing (docs/scaling.md has the shares that are found).
    pub exhaustive: bool,
    /// Number of pairs.
    pub pairs: usize,
    /// Pairs whose images are in different splits.
    pub across_splits: usize,
    /// Pairs whose images belong to different patients by name; 0 if patients are unknown.
    pub across_patients: usize,
    /// Pairs whose images have different labels.
    pub across_classes: usize,
    /// Whether some images have so many candidates that not all were compared: there may be more pairs.
    pub truncated: bool,
    /// The pairs, at most 500: those across splits, then those with different labels, then those across patients, each
    /// the closest first.
    pub closest: Vec<NearCopy>,
}

/// Two near-identical images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearCopy {
    /// In order.
    pub paths: [String; 2],
    /// "train", "val", "test" or "unassigned".
    pub splits: [String; 2],
    /// Their labels.
    pub classes: [String; 2],
    /// Correlation of their small grey copies, at most 1.
    pub correlation: f64,
    /// Whether one is the mirror image of the other.
    pub mirrored: bool,
    /// Whether they are in different splits.
    pub crosses_splits: bool,
    /// Whether they belong to different patients by name.
    pub crosses_patients: bool,
    /// Whether they have different labels.
    pub crosses_classes: bool,
}

/// Each of some processes searches for a part of the pairs; all find the same.
pub(super) fn of(
    manifest: &Manifest,
    processes: &dyn Collective,
) -> Result<NearCopies, DatasetError> {
    let images = Images::new(manifest);
    let turn = Turn {
        rank: processes.rank(),
        size: processes.size(),
    };
    let own = match images.len() <= FEW {
        true => every_pair::search(&images, turn),
        false => hashed::search(&images, turn),
    };
    Ok(named(&images, &gathered(processes, own)?))
}

/// Which pieces of the work are this process's: every `size`-th.
#[derive(Clone, Copy)]
struct Turn {
    rank: usize,
    size: usize,
}

impl Turn {
    #[cfg(test)]
    const ALL: Turn = Turn { rank: 0, size: 1 };

    fn is_own(self, piece: usize) -> bool {
        piece % self.size == self.rank
    }
}

/// What all processes have found.
fn gathered(
    processes: &dyn Collective,
    own: Result<Pairs, DatasetError>,
) -> Result<Pairs, DatasetError> {
    if processes.size() == 1 {
        return own;
    }
    let failed = |e: &dyn std::fmt::Display| DatasetError::Together {
        reason: e.to_string(),
    };
    // A process that has failed sends its reason: the others wait for it.
    let word = own.as_ref().map_err(ToString::to_string);
    let word = postcard::to_stdvec(&word).map_err(|e| failed(&e))?;
    let words = processes.gather(&word).map_err(|e| failed(&e))?;
    own?;
    words.iter().try_fold(Pairs::default(), |all, word| {
        let word: Result<Pairs, String> = postcard::from_bytes(word).map_err(|e| failed(&e))?;
        Ok(all.with(word.map_err(|e| failed(&e))?))
    })
}

fn named(images: &Images<'_>, found: &Pairs) -> NearCopies {
    NearCopies {
        min_correlation: CORRELATION,
        exhaustive: images.len() <= FEW,
        pairs: found.all,
        across_splits: found.across_splits,
        across_patients: found.across_patients,
        across_classes: found.across_classes,
        truncated: found.truncated,
        closest: found.closest.iter().map(|p| near_copy(images, p)).collect(),
    }
}

fn near_copy(images: &Images<'_>, pair: &Pair) -> NearCopy {
    let records = pair.images.map(|i| images.record(i));
    let class = |record: &ImageRecord| images.manifest.classes()[record.class].clone();
    NearCopy {
        paths: records.map(|record| record.path.clone()),
        splits: records.map(|record| split_name(record.split)),
        classes: records.map(class),
        correlation: pair.correlation,
        mirrored: pair.mirrored,
        crosses_splits: pair.crosses_splits,
        crosses_patients: pair.crosses_patients,
        crosses_classes: pair.crosses_classes,
    }
}
