//! The share of a process as its scheduler tells it: the task of a Slurm array, or the index of a Kubernetes Job.

use std::str::FromStr;

use crate::shard::{MOST, Shard};

/// Set by Slurm in the tasks of an array.
const TASK: &str = "SLURM_ARRAY_TASK_ID";
const FIRST: &str = "SLURM_ARRAY_TASK_MIN";
const LAST: &str = "SLURM_ARRAY_TASK_MAX";
const COUNT: &str = "SLURM_ARRAY_TASK_COUNT";
const STEP: &str = "SLURM_ARRAY_TASK_STEP";

/// Set by Kubernetes in the pods of an Indexed Job; counts from 0.
const INDEX: &str = "JOB_COMPLETION_INDEX";

/// What the user wants to be predicted: a share, or the one that the scheduler tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// `3/8`.
    Given(Shard),
    /// `auto`: the tasks of a Slurm array are the shares, whatever their numbers.
    Array,
    /// `auto/8`: task I of a Slurm array is the share I/8, and index I of a Kubernetes Job the share (I + 1)/8. Some of
    /// the shares can then be run again on their own.
    Of(usize),
}

/// What a process knows of an environment variable.
type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("auto") {
            Some("") => Ok(Share::Array),
            Some(of) => {
                let of = of.strip_prefix('/').and_then(|of| of.parse().ok());
                let of = of.filter(|of| (1..=MOST).contains(of));
                of.map(Share::Of).ok_or_else(|| {
                    format!("it is auto, or auto/N with N from 1 to {MOST}, such as auto/8, not {text:?}")
                })
            }
            None => text.parse().map(Share::Given),
        }
    }
}

impl Share {
    /// The share of a process with these environment variables.
    ///
    /// # Errors
    /// A sentence that names the variables that are missing, wrong or in contradiction.
    pub fn shard(self, variables: Variables<'_>) -> Result<Shard, String> {
        let array = variables(TASK).is_some();
        let indexed = variables(INDEX).is_some();
        match (self, array, indexed) {
            (Share::Given(shard), ..) => Ok(shard),
            (_, true, true) => Err(format!(
                "both {TASK} and {INDEX} are set, and only one of them can tell the share; unset the other"
            )),
            (_, false, false) => Err(format!(
                "neither {TASK} (a Slurm array) nor {INDEX} (a Kubernetes Indexed Job) is set; give the share as I/N"
            )),
            (Share::Array, true, _) => of_array(variables),
            (Share::Of(of), true, _) => of_numbered_array(of, variables),
            (Share::Array, _, true) => Err(format!(
                "{INDEX} is set, but Kubernetes does not tell the number of shares; give the Job's completions as auto/N"
            )),
            (Share::Of(of), _, true) => of_index(of, variables),
        }
    }
}

/// The place of a task among those of a whole array.
fn of_array(variables: Variables<'_>) -> Result<Shard, String> {
    let [task, first, last, count] = [TASK, FIRST, LAST, COUNT].map(|name| number(name, variables));
    let (task, first, last, count) = (task?, first?, last?, count?);
    let step = match variables(STEP) {
        Some(_) => number(STEP, variables)?,
        None => 1,
    };
    let whole = first.checked_add(count.saturating_sub(1).saturating_mul(step)) == Some(last);
    let place = task.checked_sub(first).filter(|place| {
        let among = step > 0 && place.is_multiple_of(step);
        whole && among && task <= last
    });
    let shard = place.and_then(|place| Shard::new(place / step + 1, count));
    shard.ok_or_else(|| {
        format!(
            "{TASK}={task} is no task of a whole array with {FIRST}={first}, {LAST}={last}, {STEP}={step} and \
             {COUNT}={count}; for a list of tasks, number the shares from 1 and give auto/N"
        )
    })
}

/// The share with the number of a task, in an array of some or all of the shares.
fn of_numbered_array(of: usize, variables: Variables<'_>) -> Result<Shard, String> {
    for name in [FIRST, LAST, TASK] {
        if name != TASK && variables(name).is_none() {
            continue;
        }
        let task = number(name, variables)?;
        if Shard::new(task, of).is_none() {
            return Err(format!(
                "{name} is {task}, and the tasks of auto/{of} are numbered from 1 to {of}"
            ));
        }
    }
    let index = number(TASK, variables)?;
    Ok(Shard { index, of })
}

/// The share of an index of a Kubernetes Job.
fn of_index(of: usize, variables: Variables<'_>) -> Result<Shard, String> {
    let index = number(INDEX, variables)?;
    Shard::new(index.saturating_add(1), of).ok_or_else(|| {
        let last = of - 1;
        format!("{INDEX} is {index}, and the indices of auto/{of} are 0 to {last}")
    })
}

fn number(name: &str, variables: Variables<'_>) -> Result<usize, String> {
    let text = variables(name).ok_or_else(|| format!("{name} is not set"))?;
    let number = text.parse();
    number.map_err(|_| format!("{name} is {text:?}, which is not a whole number"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// The share in an environment like `SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=1`.
    fn share(share: &str, environment: &str) -> Result<String, String> {
        let set = |name: &str| {
            let mut pairs = environment
                .split(' ')
                .filter_map(|pair| pair.split_once('='));
            let value = pairs.find(|(set, _)| name.ends_with(set));
            value.map(|(_, value)| value.to_owned())
        };
        let shard = share.parse::<Share>()?.shard(&set)?;
        Ok(shard.to_string())
    }

    #[test]
    fn shares_are_found_in_the_environment() {
        for (given, environment, expected) in [
            ("3/8", "", "3/8"),
            ("3/8", "TASK_ID=1 COMPLETION_INDEX=0", "3/8"),
            (
                "auto",
                "TASK_ID=0 TASK_MIN=0 TASK_MAX=7 TASK_COUNT=8 TASK_STEP=1",
                "1/8",
            ),
            (
                "auto",
                "TASK_ID=7 TASK_MIN=0 TASK_MAX=7 TASK_COUNT=8",
                "8/8",
            ),
            (
                "auto",
                "TASK_ID=3 TASK_MIN=1 TASK_MAX=8 TASK_COUNT=8 TASK_STEP=1",
                "3/8",
            ),
            (
                "auto",
                "TASK_ID=9 TASK_MIN=5 TASK_MAX=11 TASK_COUNT=4 TASK_STEP=2",
                "3/4",
            ),
            (
                "auto",
                "TASK_ID=5 TASK_MIN=5 TASK_MAX=5 TASK_COUNT=1 TASK_STEP=1",
                "1/1",
            ),
            (
                "auto/8",
                "TASK_ID=7 TASK_MIN=3 TASK_MAX=7 TASK_COUNT=2 TASK_STEP=1",
                "7/8",
            ),
            ("auto/8", "TASK_ID=8", "8/8"),
            ("auto/8", "COMPLETION_INDEX=0", "1/8"),
            ("auto/8", "COMPLETION_INDEX=7", "8/8"),
        ] {
            assert_eq!(
                share(given, environment).as_deref(),
                Ok(expected),
                "{environment}"
            );
        }
    }

    #[test]
    fn what_is_missing_wrong_or_in_contradiction_is_named() {
        for (given, environment, parts) in [
            ("auto", "", [TASK, INDEX]),
            ("auto/8", "", [TASK, INDEX]),
            ("auto", "TASK_ID=1 COMPLETION_INDEX=0", [TASK, INDEX]),
            (
                "auto",
                "TASK_ID=1 TASK_MIN=1 TASK_MAX=8",
                [COUNT, "not set"],
            ),
            (
                "auto",
                "TASK_ID=1 TASK_MAX=8 TASK_COUNT=8",
                [FIRST, "not set"],
            ),
            (
                "auto",
                "TASK_ID=x TASK_MIN=1 TASK_MAX=8 TASK_COUNT=8",
                [TASK, "\"x\""],
            ),
            (
                "auto",
                "TASK_ID=9 TASK_MIN=1 TASK_MAX=8 TASK_COUNT=8",
                [LAST, "=9"],
            ),
            (
                "auto",
                "TASK_ID=0 TASK_MIN=1 TASK_MAX=8 TASK_COUNT=8",
                [FIRST, "=0"],
            ),
            // A list, 1,3,8: which place the tasks have cannot be known.
            (
                "auto",
                "TASK_ID=3 TASK_MIN=1 TASK_MAX=8 TASK_COUNT=3 TASK_STEP=1",
                [COUNT, "auto/N"],
            ),
            (
                "auto",
                "TASK_ID=2 TASK_MIN=1 TASK_MAX=7 TASK_COUNT=4 TASK_STEP=2",
                [STEP, "=2"],
            ),
            (
                "auto",
                "TASK_ID=1 TASK_MIN=1 TASK_MAX=1 TASK_COUNT=1 TASK_STEP=0",
                [STEP, "=0"],
            ),
            (
                "auto",
                "TASK_ID=1 TASK_MIN=1 TASK_MAX=1 TASK_COUNT=0 TASK_STEP=1",
                [COUNT, "=0"],
            ),
            (
                "auto/8",
                "TASK_ID=0 TASK_MIN=0 TASK_MAX=7",
                [FIRST, "1 to 8"],
            ),
            (
                "auto/8",
                "TASK_ID=1 TASK_MIN=1 TASK_MAX=9",
                [LAST, "1 to 8"],
            ),
            ("auto/8", "TASK_ID=9", [TASK, "1 to 8"]),
            ("auto", "COMPLETION_INDEX=0", [INDEX, "auto/N"]),
            ("auto/8", "COMPLETION_INDEX=8", [INDEX, "0 to 7"]),
            ("auto/8", "COMPLETION_INDEX=-1", [INDEX, "\"-1\""]),
        ] {
            let error = share(given, environment).unwrap_err();
            let named = parts.iter().all(|part| error.contains(part));
            assert!(
                named && !error.contains(". "),
                "{given} {environment}: {error}"
            );
        }
        for wrong in [
            "auto/",
            "auto/0",
            "auto/x",
            "automatic",
            "auto/1000000",
            "3",
        ] {
            let error = wrong.parse::<Share>().unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
