//! Folds for cross-validation: whole groups of images, with the classes spread evenly, by what the images look like, or by
//! an attribute.

mod appearance;
mod column;

use random::Rng;

use super::{FoldBy, OfficialVal, Splits, training_pool};
use crate::error::DatasetError;
use crate::groups::linked_groups;
use crate::manifest::Manifest;

/// Fold `fold`, from 1, is validation, the other folds are training; the test is the folders'.
pub(super) fn splits(
    manifest: &Manifest,
    (fold, folds): (usize, usize),
    by: &FoldBy,
    seed: u64,
    official_val: OfficialVal,
) -> Result<Splits, DatasetError> {
    if folds < 2 {
        return Err(DatasetError::setting("folds", folds, "must be at least 2"));
    }
    if !(1..=folds).contains(&fold) {
        let reason = format!("must be from 1 to the number of folds, {folds}");
        return Err(DatasetError::setting("fold", fold, &reason));
    }
    let (pool, test, dropped) = training_pool(manifest, official_val);
    let mut parts = match by {
        FoldBy::Class => draw(manifest, &pool, folds, seed),
        FoldBy::Appearance => appearance::draw(manifest, &pool, folds, seed),
        FoldBy::Column(name) => column::draw(manifest, &pool, folds, name)?,
    };
    let mut val = parts.swap_remove(fold - 1);
    let mut train = parts.concat();
    val.sort_unstable();
    train.sort_unstable();
    Ok(Splits {
        train,
        val,
        test,
        dropped,
    })
}

/// Divides `pool` into folds: groups in random order, large ones first, each to the fold where its classes are rarest.
///
/// "Rarest" is the smallest increase of the sum of squares, over folds and classes, of a class's share in a fold; a tie
/// goes to the fold with the fewest images, then to the first. If every group is of one class, the counts of a class in
/// two folds differ by its largest group at most.
fn draw(manifest: &Manifest, pool: &[usize], folds: usize, seed: u64) -> Vec<Vec<usize>> {
    let totals = manifest.class_counts(pool);
    let mut groups = linked_groups(manifest, pool);
    Rng::keyed(seed, &[]).shuffle(&mut groups);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut parts = vec![Vec::new(); folds];
    let mut counts = vec![vec![0; totals.len()]; folds];
    for group in groups {
        let of_group = manifest.class_counts(&group);
        let rise = |part: usize| -> f64 {
            let classes = of_group.iter().zip(&counts[part]).zip(&totals);
            classes
                .filter(|((new, _), _)| **new > 0)
                .map(|((new, known), total)| {
                    let (new, known, total) = (*new as f64, *known as f64, *total as f64);
                    (2.0 * known + new) * new / (total * total)
                })
                .sum()
        };
        let order = |a: &usize, b: &usize| {
            let size = |part: usize| parts[part].len();
            (rise(*a).total_cmp(&rise(*b))).then(size(*a).cmp(&size(*b)))
        };
        // The first of equals.
        let best = (0..folds).min_by(order).unwrap_or(0);
        for (sum, new) in counts[best].iter_mut().zip(of_group) {
            *sum += new;
        }
        parts[best].extend(group);
    }
    parts
}
