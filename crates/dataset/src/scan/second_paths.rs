//! Files that are reached by several paths, through links to files or hard links.

use std::collections::BTreeMap;
use std::path::Path;

use super::found::Scan;
use crate::left_out::Reason;

impl Scan {
    /// Keeps one path of each file: that of the file itself rather than that of a link, otherwise the first.
    ///
    /// Two paths to one file may claim two classes or splits, of which only one can be right; these are counted on their
    /// own.
    pub(super) fn drop_second_paths(&mut self) {
        let mut first = BTreeMap::new();
        let mut second = vec![false; self.candidates.len()];
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        order.sort_by_cached_key(|&i| self.candidates[i].file.is_symlink());
        for i in order {
            let candidate = &self.candidates[i];
            let Some(id) = identity(&candidate.file) else {
                continue;
            };
            let kept = &self.candidates[*first.entry(id).or_insert(i)];
            if kept.path == candidate.path {
                continue;
            }
            second[i] = true;
            let same = (kept.class, kept.split) == (candidate.class, candidate.split);
            let what = match same {
                true => "to a file already read",
                false => "to a file of another class or split",
            };
            self.left_out
                .add(Reason::Link, what, candidate.path.clone());
        }
        let mut second = second.into_iter();
        self.candidates.retain(|_| second.next() != Some(true));
    }
}

/// What identifies a file, whatever path leads to it; `None` if it cannot be accessed.
#[cfg(unix)]
fn identity(file: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::metadata(file).ok()?;
    Some((about.dev(), about.ino()))
}

/// Hard links are not recognized.
#[cfg(not(unix))]
fn identity(file: &Path) -> Option<std::path::PathBuf> {
    std::fs::canonicalize(file).ok()
}
