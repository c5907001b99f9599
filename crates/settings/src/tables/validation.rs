//! `[data.validation]`: how validation and test are drawn.

use dataset::{CountOrder, FoldBy, OfficialVal, SplitLists, SplitPolicy};
use serde::Deserialize;

use crate::keys::Keys;
use crate::tree::ConfigError;

/// Largest number of folds.
pub(crate) const MAX_FOLDS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Validation {
    pub(crate) policy: Policy,
    pub(crate) fraction: f64,
    pub(crate) test_fraction: f64,
    pub(crate) official_val: OfficialVal,
    pub(crate) fold: usize,
    pub(crate) folds: usize,
    pub(crate) folds_by: FoldBy,
    pub(crate) count: usize,
    pub(crate) test_count: usize,
    pub(crate) by: By,
    pub(crate) lists: SplitLists,
}

impl Default for Validation {
    fn default() -> Self {
        Validation {
            policy: Policy::FromTrain,
            fraction: 0.1,
            test_fraction: 0.2,
            official_val: OfficialVal::MergeIntoTrain,
            fold: 1,
            folds: 5,
            folds_by: FoldBy::Class,
            count: 0,
            test_count: 0,
            by: By::Seed,
            lists: SplitLists::default(),
        }
    }
}

/// How a given number of images is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    Seed,
    Order,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Policy {
    FromTrain,
    Official,
    Fold,
    Holdout,
    Count,
    List,
}

pub(crate) fn policy(
    keys: &Keys<'_>,
    raw: &Validation,
    seed: u64,
) -> Result<SplitPolicy, ConfigError> {
    let share =
        |key: &str, value: f64| keys.within(&format!("data.validation.{key}"), value, 0.01, 0.9);
    let images = |key: &str, value: usize| {
        keys.within(&format!("data.validation.{key}"), value, 1, usize::MAX)
    };
    validation_keys(keys, raw.policy)?;
    Ok(match raw.policy {
        Policy::Official => SplitPolicy::Official,
        Policy::FromTrain => SplitPolicy::ValidationFromTrain {
            fraction: share("fraction", raw.fraction)?,
            seed,
            official_val: raw.official_val,
        },
        Policy::Fold => {
            let folds = keys.within("data.validation.folds", raw.folds, 2, MAX_FOLDS)?;
            SplitPolicy::Fold {
                fold: keys.within("data.validation.fold", raw.fold, 1, folds)?,
                folds,
                by: raw.folds_by.clone(),
                seed,
                official_val: raw.official_val,
            }
        }
        Policy::Holdout => SplitPolicy::Holdout {
            val: share("fraction", raw.fraction)?,
            test: share("test_fraction", raw.test_fraction)?,
            seed,
        },
        Policy::Count => SplitPolicy::Count {
            val: images("count", raw.count)?,
            test: images("test_count", raw.test_count)?,
            by: match raw.by {
                By::Seed => CountOrder::Seed(seed),
                By::Order => CountOrder::Order,
            },
        },
        Policy::List => SplitPolicy::List(raw.lists.clone()),
    })
}

/// Refuses keys of another policy, which would be unused.
fn validation_keys(keys: &Keys<'_>, policy: Policy) -> Result<(), ConfigError> {
    let own: [(&[&str], &str, bool); 4] = [
        (
            &["count", "test_count", "by"],
            "count",
            matches!(policy, Policy::Count),
        ),
        (&["lists"], "list", matches!(policy, Policy::List)),
        (
            &["fold", "folds", "folds_by"],
            "fold",
            matches!(policy, Policy::Fold),
        ),
        (
            &["fraction", "test_fraction"],
            "from_train\" or \"holdout",
            // Other policies ignore these keys, as they always have.
            !matches!(policy, Policy::Fold),
        ),
    ];
    for (names, of, _) in own.iter().filter(|(_, _, used)| !used) {
        for name in *names {
            let key = format!("data.validation.{name}");
            if keys.tree.get(&key).is_some() {
                return Err(keys.refuse(
                    &key,
                    format!("this key is used with policy = \"{of}\" only"),
                ));
            }
        }
    }
    Ok(())
}
