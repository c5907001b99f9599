//! Compares every pair.

use rayon::prelude::*;

use super::Turn;
use super::images::Images;
use super::pairs::Pairs;
use crate::DatasetError;

/// Most candidates that an image is compared with, and about as many that all are, so that the time is bounded where all
/// images are alike.
const CANDIDATES: usize = 1000;
const OF_ALL: usize = 1 << 22;

/// Images of a task, which have the small copies that it reads in common.
const AT_ONCE: usize = 64;

/// All near-identical images, of which this process compares its share.
pub(super) fn search(images: &Images<'_>, turn: Turn) -> Result<Pairs, DatasetError> {
    let all: Vec<u32> = (0..images.len() as u32).collect();
    let tasks = all.par_chunks(AT_ONCE).enumerate();
    let own = tasks.filter(|(task, _)| turn.is_own(*task));
    let found: Vec<_> = own.map(|(_, some)| pairs_of(images, some)).collect();
    let none = Ok(Pairs::default());
    found
        .into_iter()
        .fold(none, |all, some| Ok(all?.with(some?)))
}

/// The pairs of some images with later ones.
fn pairs_of(images: &Images<'_>, some: &[u32]) -> Result<Pairs, DatasetError> {
    let most = CANDIDATES.min(OF_ALL / images.len());
    let mut pairs = vec![];
    let mut truncated = false;
    for image in some {
        let later = near(images, *image as usize);
        truncated |= later.len() > most;
        let pair = |other: u32| [*image, other];
        pairs.extend(later.into_iter().take(most).map(pair));
    }
    let mut found = images.compared(pairs.into_iter())?;
    found.truncated |= truncated;
    Ok(found)
}

/// The later images that may be copies of one.
fn near(images: &Images<'_>, image: usize) -> Vec<u32> {
    let (coarse, fine) = (images.coarse[image], images.fine[image]);
    let mirrored = (coarse.mirrored(), fine.mirrored());
    let mut near = vec![];
    for (other, of_other) in images.coarse.iter().enumerate().skip(image + 1) {
        let is_near = (coarse.is_near(of_other) && fine.is_near(&images.fine[other]))
            || (mirrored.0.is_near(of_other) && mirrored.1.is_near(&images.fine[other]));
        if is_near {
            near.push(other as u32);
        }
    }
    near
}
