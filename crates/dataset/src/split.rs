//! Rows → train, val, test: grouped by patient, stratified by class, the same for the same seed.

use random::Rng;
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;
use crate::groups::linked_groups;
use crate::manifest::Manifest;
use crate::split_name::Split;

/// How the rows are assigned to splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub enum SplitPolicy {
    /// The folders as they are, including any leakage.
    Official,
    /// `test` as it is; validation drawn from train.
    ValidationFromTrain {
        /// Share of the training images, in (0, 1).
        fraction: f64,
        /// Seed of the draw.
        seed: u64,
        /// What to do with the images of the `val` folder.
        #[serde(default)]
        official_val: OfficialVal,
    },
    /// `test` as it is; train divided into folds for cross-validation, of which one is validation.
    Fold {
        /// Which fold is validation, from 1.
        fold: usize,
        /// Number of folds, at least 2.
        folds: usize,
        /// What the images of a fold have in common.
        #[serde(default)]
        by: FoldBy,
        /// Seed of the draw: the same folds for every `fold`.
        seed: u64,
        /// What to do with the images of the `val` folder.
        #[serde(default)]
        official_val: OfficialVal,
    },
    /// For data without split folders (folders are ignored): validation and test drawn from all images.
    Holdout {
        /// Share of all images for validation, in (0, 1).
        val: f64,
        /// Share of all images for the test, in (0, 1).
        test: f64,
        /// Seed of the draw.
        seed: u64,
    },
    /// Fixed numbers of images for validation and test, the rest for training (folders are ignored).
    Count {
        /// Images for validation.
        val: usize,
        /// Images for the test.
        test: usize,
        /// Which images.
        by: CountOrder,
    },
    /// Images listed by name (folders are ignored); those not listed are in no split.
    List(SplitLists),
}

/// What the images of a fold have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldBy {
    /// Nothing: patients are drawn at random, with the classes spread evenly over the folds.
    #[default]
    Class,
    /// Exposure and size: each fold is a cluster of images with similar brightness, contrast, width and height, so that
    /// validation images look different from those of training. Folds differ in size and in their shares of the
    /// classes.
    Appearance,
    /// An attribute, such as the hospital or the view: each of its values is held out as a whole, and with fewer folds
    /// than values several are held out together.
    Column(String),
}

/// Which images a count selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountOrder {
    /// By path, with numbers in numerical order: the first for training, the last for the test.
    Order,
    /// At random, keeping each patient in one split, which may then have fewer than requested.
    Seed(u64),
}

/// Lists of paths below the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitLists {
    /// Images for training.
    pub train: Vec<String>,
    /// Images for validation.
    pub val: Vec<String>,
    /// Images for the test.
    pub test: Vec<String>,
}

impl Default for SplitPolicy {
    /// A tenth of train for validation, seed 0, the `val` folder merged into train.
    fn default() -> Self {
        Self::ValidationFromTrain {
            fraction: 0.1,
            seed: 0,
            official_val: OfficialVal::default(),
        }
    }
}

/// What to do with the images of the `val` folder when validation is drawn from train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfficialVal {
    /// They join train before the draw.
    #[default]
    MergeIntoTrain,
    /// They are left out.
    Drop,
}

/// Row indices into the manifest, ascending, no row in more than one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splits {
    /// For fitting the weights.
    pub train: Vec<usize>,
    /// For choosing epoch, threshold and temperature.
    pub val: Vec<usize>,
    /// For the final evaluation.
    pub test: Vec<usize>,
    /// Training rows left out because the test has the same patient or the same file.
    pub dropped: Vec<usize>,
}

impl Manifest {
    /// The same images with `splits` in place of the folders' splits; an image in none of them
    /// has no split.
    ///
    /// # Errors
    /// [`DatasetError::Frame`] only.
    pub fn with_splits(&self, splits: &Splits) -> Result<Self, DatasetError> {
        let mut of_row = vec![None; self.rows().len()];
        for split in Split::ALL {
            for &row in splits.rows(split) {
                if let Some(slot) = of_row.get_mut(row) {
                    *slot = Some(split);
                }
            }
        }
        self.in_splits(|row| of_row[row])
    }
}

impl Splits {
    /// Assigns the rows of `manifest` to splits, then keeps at most `limit_per_class` images of each
    /// class in each split (a uniform draw over the paths, for quick runs).
    ///
    /// Except under [`SplitPolicy::Official`] and [`SplitPolicy::List`], no patient and no
    /// byte-identical file is in two splits: rows that share either are assigned together, and
    /// training rows that share one with the official test are dropped.
    ///
    /// # Errors
    /// A share outside (0, 1), counts larger than the number of images, a list that names a missing
    /// image or one image twice, an order that separates a patient's images, a split folder that the
    /// policy needs and the data lack, or a class that would have no image in some split.
    pub fn new(
        manifest: &Manifest,
        policy: &SplitPolicy,
        limit_per_class: Option<usize>,
    ) -> Result<Self, DatasetError> {
        let mut splits = match policy {
            SplitPolicy::Official => official(manifest),
            SplitPolicy::ValidationFromTrain {
                fraction,
                seed,
                official_val,
            } => validation_from_train(manifest, *fraction, *seed, *official_val)?,
            SplitPolicy::Fold {
                fold,
                folds,
                by,
                seed,
                official_val,
            } => folds::splits(manifest, (*fold, *folds), by, *seed, *official_val)?,
            SplitPolicy::Holdout { val, test, seed } => holdout(manifest, *val, *test, *seed)?,
            SplitPolicy::Count { val, test, by } => count::splits(manifest, *val, *test, *by)?,
            SplitPolicy::List(lists) => count::listed(manifest, lists)?,
        };
        if let Some(limit) = limit_per_class {
            splits.limit(manifest, limit)?;
        }
        splits.refuse_empty(manifest, policy)?;
        Ok(splits)
    }

    /// The rows of one split.
    pub fn rows(&self, split: Split) -> &[usize] {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
            Split::Test => &self.test,
        }
    }

    fn limit(&mut self, manifest: &Manifest, limit: usize) -> Result<(), DatasetError> {
        if limit == 0 {
            return Err(DatasetError::setting(
                "limit_per_class",
                limit,
                "must be at least 1",
            ));
        }
        for rows in [&mut self.train, &mut self.val, &mut self.test] {
            *rows = limited(manifest, rows, limit);
        }
        Ok(())
    }

    fn refuse_empty(&self, manifest: &Manifest, policy: &SplitPolicy) -> Result<(), DatasetError> {
        for split in Split::ALL {
            let counts = manifest.class_counts(self.rows(split));
            let empty = counts.iter().position(|&count| count == 0);
            if let Some(class) = empty {
                let all = counts.iter().sum::<usize>() == 0;
                let class = (!all).then(|| manifest.classes()[class].clone());
                let remedy = remedy(manifest, policy, split, all);
                return Err(DatasetError::EmptySplit {
                    split,
                    class,
                    remedy,
                });
            }
        }
        Ok(())
    }
}

fn remedy(manifest: &Manifest, policy: &SplitPolicy, split: Split, all: bool) -> String {
    let of_folders = matches!(
        policy,
        SplitPolicy::Official | SplitPolicy::ValidationFromTrain { .. } | SplitPolicy::Fold { .. }
    );
    match (policy, split) {
        (SplitPolicy::List(_), _) => "list images of it in validation.lists".to_owned(),
        (SplitPolicy::Official, Split::Val) if all => {
            "draw validation from train (policy = \"from_train\")".to_owned()
        }
        (_, Split::Train | Split::Test) if all && of_folders => {
            "name its folder in the split folders, or use policy = \"holdout\"".to_owned()
        }
        (SplitPolicy::Official, _) => "add images of it to the split's folder".to_owned(),
        (
            SplitPolicy::Fold {
                by: FoldBy::Appearance | FoldBy::Column(_),
                ..
            },
            _,
        ) => "no image of it is in this fold; use fewer folds, or another fold".to_owned(),
        _ => together(manifest),
    }
}

/// Why a draw leaves a split empty: indivisible groups are not separated.
fn together(manifest: &Manifest) -> String {
    let rows: Vec<usize> = (0..manifest.rows().len()).collect();
    let groups = linked_groups(manifest, &rows);
    format!(
        "images of one patient and copies of a file stay in one split, so the {} images form {} \
         indivisible groups; each class needs more of them, or the shares must change",
        rows.len(),
        groups.len()
    )
}

fn official(manifest: &Manifest) -> Splits {
    let of = |split| rows_where(manifest, |s| s == Some(split));
    Splits {
        train: of(Split::Train),
        val: of(Split::Val),
        test: of(Split::Test),
        dropped: vec![],
    }
}

fn validation_from_train(
    manifest: &Manifest,
    fraction: f64,
    seed: u64,
    official_val: OfficialVal,
) -> Result<Splits, DatasetError> {
    check_share("fraction", fraction)?;
    let (pool, test, dropped) = training_pool(manifest, official_val);
    let (val, train) = draw(manifest, &pool, &targets(manifest, &pool, fraction), seed);
    Ok(Splits {
        train,
        val,
        test,
        dropped,
    })
}

/// What training and validation are drawn from, the test of the folders, and the rows that are left out because they
/// share a patient or a file with it.
fn training_pool(
    manifest: &Manifest,
    official_val: OfficialVal,
) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let merge = official_val == OfficialVal::MergeIntoTrain;
    let test = rows_where(manifest, |s| s == Some(Split::Test));
    let pool = rows_where(manifest, |s| {
        s == Some(Split::Train) || (merge && s == Some(Split::Val))
    });
    let (pool, dropped) = without_test_patients(manifest, pool, &test);
    (pool, test, dropped)
}

fn holdout(manifest: &Manifest, val: f64, test: f64, seed: u64) -> Result<Splits, DatasetError> {
    check_share("val", val)?;
    check_share("test", test)?;
    check_share("val + test", val + test)?;
    let all: Vec<usize> = (0..manifest.rows().len()).collect();
    let (test, rest) = draw(manifest, &all, &targets(manifest, &all, test), seed);
    // Shares refer to all images, so validation's targets do too, although it is drawn from the rest.
    let (val, train) = draw(manifest, &rest, &targets(manifest, &all, val), seed ^ 1);
    Ok(Splits {
        train,
        val,
        test,
        dropped: Vec::new(),
    })
}

fn check_share(key: &'static str, share: f64) -> Result<(), DatasetError> {
    if share > 0.0 && share < 1.0 {
        return Ok(());
    }
    Err(DatasetError::setting(
        key,
        share,
        "must be above 0 and below 1",
    ))
}

fn rows_where(manifest: &Manifest, keep: impl Fn(Option<Split>) -> bool) -> Vec<usize> {
    let rows = manifest.rows().iter().enumerate();
    rows.filter(|(_, record)| keep(record.split))
        .map(|(row, _)| row)
        .collect()
}

fn without_test_patients(
    manifest: &Manifest,
    pool: Vec<usize>,
    test: &[usize],
) -> (Vec<usize>, Vec<usize>) {
    let both: Vec<usize> = pool.iter().chain(test).copied().collect();
    let mut is_test = vec![false; manifest.rows().len()];
    test.iter().for_each(|&row| is_test[row] = true);
    let mut leaked = vec![false; manifest.rows().len()];
    for group in linked_groups(manifest, &both) {
        let leaks = group.iter().any(|&row| is_test[row]);
        group.iter().for_each(|&row| leaked[row] = leaks);
    }
    pool.into_iter().partition(|&row| !leaked[row])
}

/// Target number of images of each class: the share, but at least one.
fn targets(manifest: &Manifest, rows: &[usize], fraction: f64) -> Vec<f64> {
    let counts = manifest.class_counts(rows);
    counts
        .iter()
        .map(|&count| (count as f64 * fraction).max(1.0))
        .collect()
}

/// Takes, in random order, each whole group that brings the class counts closer to `targets` (in
/// units of the targets, so that a rare class weighs as much as a common one).
fn draw(
    manifest: &Manifest,
    pool: &[usize],
    targets: &[f64],
    seed: u64,
) -> (Vec<usize>, Vec<usize>) {
    let mut groups = linked_groups(manifest, pool);
    Rng::keyed(seed, &[]).shuffle(&mut groups);
    // Groups are in random order: classes next to each other are read faster than those in the records.
    let classes: Vec<usize> = manifest.rows().iter().map(|r| r.class).collect();
    let mut counts = vec![0.0; targets.len()];
    let mut with_group = counts.clone();
    let (mut drawn, mut rest) = (Vec::new(), Vec::new());
    for group in groups {
        with_group.clone_from(&counts);
        group
            .iter()
            .for_each(|&row| with_group[classes[row]] += 1.0);
        if distance(&with_group, targets) < distance(&counts, targets) {
            counts.clone_from(&with_group);
            drawn.extend(group);
        } else {
            rest.extend(group);
        }
    }
    drawn.sort_unstable();
    rest.sort_unstable();
    (drawn, rest)
}

fn distance(counts: &[f64], targets: &[f64]) -> f64 {
    let terms = counts.iter().zip(targets);
    terms
        .map(|(count, target)| ((count - target) / target).powi(2))
        .sum()
}

fn limited(manifest: &Manifest, rows: &[usize], limit: usize) -> Vec<usize> {
    let mut order = rows.to_vec();
    Rng::keyed(0, &[]).shuffle(&mut order);
    let mut counts = vec![0; manifest.classes().len()];
    order.retain(|&row| {
        let count = &mut counts[manifest.rows()[row].class];
        *count += 1;
        *count <= limit
    });
    order.sort_unstable();
    order
}

mod count;
mod folds;
#[cfg(test)]
mod tests;
