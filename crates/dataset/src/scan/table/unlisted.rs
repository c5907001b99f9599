//! Images below the data folder that the table does not list.

use std::collections::HashSet;

use crate::config::IndexConfig;
use crate::left_out::Reason;
use crate::scan::{Scan, aside};
use crate::walk::{Walk, relative};

/// Counts them by folder; `others` are images in rows that are left out. Folders that cannot be listed are not counted.
pub(super) fn count(scan: &mut Scan, config: &IndexConfig, others: &HashSet<String>) {
    let root = &config.root;
    let images = Walk::new(root, [root.as_path()], aside(config)).images(root);
    let candidates = scan.candidates.iter();
    let listed = candidates.flat_map(|c| std::iter::once(&c.path).chain(&c.masks));
    let listed: HashSet<&String> = listed.chain(others).collect();
    for path in images
        .iter()
        .flatten()
        .filter_map(|file| relative(root, file))
    {
        if !listed.contains(&path) {
            let folder = path
                .split_once('/')
                .map(|(folder, _)| format!("in {folder}/"));
            let folder = folder.unwrap_or_else(|| "in the data folder itself".to_owned());
            scan.left_out.add(Reason::Unlisted, folder, path);
        }
    }
}
