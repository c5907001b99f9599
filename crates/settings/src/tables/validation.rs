//! `[data.validation]`: how validation and test are drawn.

use dataset::{CountOrder, OfficialVal, SplitLists, SplitPolicy};
use serde::Deserialize;

use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Validation {
    pub(crate) policy: Policy,
    pub(crate) fraction: f64,
    pub(crate) test_fraction: f64,
    pub(crate) official_val: OfficialVal,
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
    let of_counts = ["count", "test_count", "by"];
    let foreign: &[&str] = match policy {
        Policy::Count => &["lists"],
        Policy::List => &of_counts,
        _ => &["count", "test_count", "by", "lists"],
    };
    for key in foreign {
        let key = format!("data.validation.{key}");
        if keys.tree.get(&key).is_some() {
            let policy = if key.ends_with("lists") {
                "list"
            } else {
                "count"
            };
            return Err(keys.refuse(
                &key,
                format!("this key is used with policy = \"{policy}\" only"),
            ));
        }
    }
    Ok(())
}
