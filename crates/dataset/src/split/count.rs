//! Splits by number of images, and by name.

use std::collections::HashMap;

use random::Rng;

use super::{CountOrder, SplitLists, Splits};
use crate::error::DatasetError;
use crate::groups::linked_groups;
use crate::manifest::Manifest;

pub(super) fn splits(
    manifest: &Manifest,
    val: usize,
    test: usize,
    by: CountOrder,
) -> Result<Splits, DatasetError> {
    let images = manifest.rows().len();
    if val + test >= images {
        let reason = format!("leaves none of the {images} images to train on");
        return Err(DatasetError::setting("count", val + test, &reason));
    }
    match by {
        CountOrder::Order => by_order(manifest, val, test),
        CountOrder::Seed(seed) => Ok(by_seed(manifest, val, test, seed)),
    }
}

fn by_order(manifest: &Manifest, val: usize, test: usize) -> Result<Splits, DatasetError> {
    let mut rows: Vec<usize> = (0..manifest.rows().len()).collect();
    rows.sort_by_cached_key(|&row| natural(&manifest.rows()[row].path));
    let test = rows.split_off(rows.len() - test);
    let val = rows.split_off(rows.len() - val);
    let splits = ascending(rows, val, test);
    refuse_parted(manifest, &splits)?;
    Ok(splits)
}

/// Text and numbers alternately, so that `9.png` comes before `10.png`.
fn natural(path: &str) -> Vec<(String, u64)> {
    let mut parts = vec![];
    let mut rest = path;
    while !rest.is_empty() {
        let text = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (head, tail) = rest.split_at(text);
        let digits = tail
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(tail.len());
        // A number too long for 64 bits counts as the largest; ties stay in the order of the paths.
        let number = tail[..digits].parse().unwrap_or(u64::MAX);
        parts.push((head.to_owned(), number));
        rest = &tail[digits..];
    }
    parts
}

fn refuse_parted(manifest: &Manifest, splits: &Splits) -> Result<(), DatasetError> {
    let mut split_of = vec![0; manifest.rows().len()];
    splits.val.iter().for_each(|&row| split_of[row] = 1);
    splits.test.iter().for_each(|&row| split_of[row] = 2);
    let all: Vec<usize> = (0..split_of.len()).collect();
    let groups = linked_groups(manifest, &all);
    let parted = |group: &&Vec<usize>| group.iter().any(|&row| split_of[row] != split_of[group[0]]);
    let Some(group) = groups.iter().find(parted) else {
        return Ok(());
    };
    let patient = &manifest.rows()[group[0]].patient;
    let reason = format!("would put images of {patient} (or copies of a file) in two splits");
    Err(DatasetError::setting("by", "order", &reason))
}

fn by_seed(manifest: &Manifest, val: usize, test: usize, seed: u64) -> Splits {
    let all: Vec<usize> = (0..manifest.rows().len()).collect();
    let mut groups = linked_groups(manifest, &all);
    Rng::keyed(seed, &[]).shuffle(&mut groups);
    let (mut of_val, mut of_test, mut of_train) = (vec![], vec![], vec![]);
    for group in groups {
        if of_test.len() + group.len() <= test {
            of_test.extend(group);
        } else if of_val.len() + group.len() <= val {
            of_val.extend(group);
        } else {
            of_train.extend(group);
        }
    }
    ascending(of_train, of_val, of_test)
}

pub(super) fn listed(manifest: &Manifest, lists: &SplitLists) -> Result<Splits, DatasetError> {
    let mut rows: HashMap<&str, usize> = manifest
        .rows()
        .iter()
        .enumerate()
        .map(|(row, record)| (record.path.as_str(), row))
        .collect();
    let mut take = |key: &'static str, names: &[String]| {
        let row = |name: &String| {
            let reason = "is not an image of the data, or is listed twice; give its path below the data folder";
            let row = rows.remove(name.as_str());
            row.ok_or_else(|| DatasetError::setting(key, name, reason))
        };
        names.iter().map(row).collect::<Result<Vec<_>, _>>()
    };
    let train = take("lists.train", &lists.train)?;
    let val = take("lists.val", &lists.val)?;
    let test = take("lists.test", &lists.test)?;
    Ok(ascending(train, val, test))
}

fn ascending(mut train: Vec<usize>, mut val: Vec<usize>, mut test: Vec<usize>) -> Splits {
    for rows in [&mut train, &mut val, &mut test] {
        rows.sort_unstable();
    }
    Splits {
        train,
        val,
        test,
        dropped: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_by_value() {
        let mut names = ["10.png", "9.png", "a2.png", "1.png", "a10.png"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["1.png", "9.png", "10.png", "a2.png", "a10.png"]);
    }
}
