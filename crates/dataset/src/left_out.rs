//! Files below the data folder that are not samples, counted by kind.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::walk::names::FORMATS;

/// Why a file is not a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Of a format that is not read, by its extension.
    Format,
    /// Outside the folders that the settings name for splits and classes.
    Elsewhere,
    /// A mask by its name or folder, not named in the settings.
    Mask,
    /// Written by this program: an overlay, a predicted mask, a run's folder.
    Output,
    /// Hidden, or a file of an operating system or another program.
    Hidden,
    /// A broken link, or a link to a folder that is already read.
    Link,
    /// A named pipe, a device, a socket.
    Special,
    /// A row of the table whose labels give no class.
    Label,
    /// An image that the table does not list.
    Unlisted,
}

/// A file that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadImage {
    /// Relative to the root.
    pub path: String,
    /// The reason as text.
    pub reason: String,
}

/// Files that are left out for one reason and have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Why.
    pub reason: Reason,
    /// An extension (`.tif`), a folder (`masks/`) or a name (`*_mask.png`).
    pub what: String,
    /// How many.
    pub files: usize,
    /// One of them, relative to the data folder.
    pub example: String,
}

/// Counts the files while folders are traversed.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<(Reason, String), (usize, String)>);

impl Tally {
    pub(crate) fn add(&mut self, reason: Reason, what: impl Into<String>, path: String) {
        let (files, example) = self.0.entry((reason, what.into())).or_default();
        if *files == 0 || path < *example {
            *example = path;
        }
        *files += 1;
    }

    /// The groups by reason, the most frequent first.
    pub(crate) fn finish(self) -> Vec<LeftOut> {
        let group = |((reason, what), (files, example))| LeftOut {
            reason,
            what,
            files,
            example,
        };
        let mut groups: Vec<LeftOut> = self.0.into_iter().map(group).collect();
        groups.sort_by_key(|group| (group.reason, std::cmp::Reverse(group.files)));
        groups
    }
}

/// One sentence per reason; `images` is the number of images that are read.
pub(crate) fn sentences(groups: &[LeftOut], images: usize) -> Vec<String> {
    let of_reason = groups.chunk_by(|a, b| a.reason == b.reason);
    of_reason.map(|groups| sentence(groups, images)).collect()
}

fn sentence(groups: &[LeftOut], images: usize) -> String {
    let files: usize = groups.iter().map(|group| group.files).sum();
    let reason = groups.first().map_or(Reason::Format, |group| group.reason);
    let one = files == 1;
    let (is, file) = (
        if one { "is" } else { "are" },
        if one { "file" } else { "files" },
    );
    let listed = listed(groups);
    match reason {
        Reason::Format => format!(
            "{files} of {} files {is} not read, because only {FORMATS} are: {listed}. If they are images of this data \
             set, convert them to PNG.",
            files + images
        ),
        Reason::Elsewhere => format!(
            "{files} image {file} {is} outside the folders in the settings, and not read: {listed}."
        ),
        Reason::Mask => format!(
            "{files} {file} {is} taken for masks by name and not read: {listed}. To train or \
             evaluate with them, name them in data.masks."
        ),
        Reason::Output => {
            format!("{files} {file} {is} this program's own output and not read: {listed}.")
        }
        Reason::Hidden => {
            format!("{files} hidden or system {file} {is} not read: {listed}.")
        }
        Reason::Link => format!(
            "{files} {} not followed, because the target is missing or already read: {listed}.",
            if one { "link is" } else { "links are" }
        ),
        Reason::Label => format!(
            "{files} {} of the table {is} left out because of {} labels: {listed}. Which class labels give is set by \
             labels, precedence, otherwise, uncertain and blank in data.csv.",
            if one { "row" } else { "rows" },
            if one { "its" } else { "their" }
        ),
        Reason::Unlisted => {
            format!("{files} image {file} {is} not in the table, and not read: {listed}.")
        }
        Reason::Special => format!(
            "{files} {} (pipes, devices) and not read: {listed}.",
            if one {
                "entry is not a regular file"
            } else {
                "entries are not regular files"
            }
        ),
    }
}

/// Most groups that a sentence names; a folder may hold files of a hundred kinds.
const NAMED: usize = 8;

/// "20 .tif, 5 .bmp (such as B/s00.tif)".
pub(crate) fn listed(groups: &[LeftOut]) -> String {
    let names = groups.iter().take(NAMED);
    let mut names: Vec<String> = names.map(|g| format!("{} {}", g.files, g.what)).collect();
    let rest: usize = groups.iter().skip(NAMED).map(|g| g.files).sum();
    if rest > 0 {
        names.push(format!("{rest} others"));
    }
    let example = groups.first().map_or("", |group| group.example.as_str());
    format!("{} (such as {example})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_and_described_in_one_sentence_per_reason() {
        let mut tally = Tally::default();
        for (what, path) in [
            (".bmp", "B/x.bmp"),
            (".tif", "B/b.tif"),
            (".tif", "A/a.tif"),
        ] {
            tally.add(Reason::Format, what, path.to_owned());
        }
        tally.add(Reason::Hidden, ".Trash-0/", "A/.Trash-0/x.png".to_owned());
        let groups = tally.finish();
        let sentences = sentences(&groups, 20);
        assert_eq!(sentences.len(), 2);
        assert!(
            sentences[0].starts_with("3 of 23 files are not read")
                && sentences[0].contains("2 .tif, 1 .bmp (such as A/a.tif)"),
            "{sentences:?}"
        );
        assert!(
            sentences[1].starts_with("1 hidden or system file is not read: 1 .Trash-0/"),
            "{sentences:?}"
        );
    }
}
