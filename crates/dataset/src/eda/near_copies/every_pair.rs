//! Compares every pair.

use rayon::prelude::*;

use super::coarse::Coarse;
use super::images::Images;
use super::pairs::Pairs;
use crate::DatasetError;

/// Most candidates that an image is compared with, so that the time is bounded where all images are alike.
const CANDIDATES: usize = 1000;

/// Images of a task, which have the small copies that it reads in common.
const AT_ONCE: usize = 64;

/// All near-identical images.
pub(super) fn search(images: &Images<'_>) -> Result<Pairs, DatasetError> {
    let all: Vec<u32> = (0..images.len() as u32).collect();
    let tasks = all.par_chunks(AT_ONCE);
    let found: Vec<_> = tasks.map(|some| pairs_of(images, some)).collect();
    let none = Ok(Pairs::default());
    found
        .into_iter()
        .fold(none, |all, some| Ok(all?.with(some?)))
}

/// The pairs of some images with later ones.
fn pairs_of(images: &Images<'_>, some: &[u32]) -> Result<Pairs, DatasetError> {
    let mut pairs = vec![];
    let mut truncated = false;
    for image in some {
        let later = near(&images.coarse, *image as usize);
        truncated |= later.len() > CANDIDATES;
        let pair = |other: u32| [*image, other];
        pairs.extend(later.into_iter().take(CANDIDATES).map(pair));
    }
    let mut found = images.compared(pairs.into_iter())?;
    found.truncated |= truncated;
    Ok(found)
}

/// The later images that may be copies of one.
fn near(coarse: &[Coarse], image: usize) -> Vec<u32> {
    let own = coarse[image];
    let mirrored = own.mirrored();
    let mut near = vec![];
    for (other, coarse) in coarse.iter().enumerate().skip(image + 1) {
        if own.is_near(coarse) || mirrored.is_near(coarse) {
            near.push(other as u32);
        }
    }
    near
}
