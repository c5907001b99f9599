//! Resolution of a table's paths to files below the data folder.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::Path;

use crate::walk::names::is_image;
use crate::walk::{Walk, relative, without_extension};

/// Why a cell leads to no file, as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The path is invalid, so the whole table is rejected.
    Refused(String),
    /// There is no such file.
    Absent(String),
}

pub(super) struct Paths<'c> {
    root: &'c Path,
    /// The existing images, by name without extension; listed when first needed.
    listed: OnceCell<HashMap<String, Vec<String>>>,
}

impl<'c> Paths<'c> {
    pub(super) fn new(root: &'c Path) -> Self {
        Paths {
            root,
            listed: OnceCell::new(),
        }
    }

    /// The path of the image that a cell refers to, relative to the data folder.
    ///
    /// Public tables often have only the image's name, without folder and extension: it is accepted
    /// if exactly one image has that name.
    pub(super) fn find(&self, text: &str) -> Result<String, Missing> {
        let inside = self.inside(text);
        let path = inside.map_err(|reason| Missing::Refused(self.hinted(reason, text)))?;
        if self.root.join(&path).is_file() {
            return Ok(path);
        }
        let alike = self.of_name(&path);
        if !is_image(&path) {
            match alike
                .iter()
                .filter(|file| is_named(file, &path))
                .collect::<Vec<_>>()[..]
            {
                [only] => return Ok(only.clone()),
                [first, second, ..] => {
                    let reason = format!("{first} and {second} have this name; write the path");
                    return Err(Missing::Absent(reason));
                }
                [] => {}
            }
        }
        Err(Missing::Absent(match nearest(alike, &path) {
            Some(file) => format!("no such file; did you mean {file}?"),
            None => "no such file".to_owned(),
        }))
    }

    /// A reason with the image that may be meant by a path from another machine.
    fn hinted(&self, reason: String, text: &str) -> String {
        let path = text.replace('\\', "/");
        match nearest(self.of_name(&path), &path) {
            Some(file) => format!("{reason}; did you mean {file}?"),
            None => reason,
        }
    }

    /// A path below the data folder, its parts joined by '/'. The error is the reason as text.
    pub(super) fn inside(&self, text: &str) -> Result<String, String> {
        // A backslash is the separator on Windows, and a rare character in names elsewhere.
        let text = match self.root.join(text).exists() {
            true => text.to_owned(),
            false => text.replace('\\', "/"),
        };
        let drive = text.as_bytes().get(1) == Some(&b':');
        if text.starts_with('/') || drive {
            return Err(format!("{text} must be relative to the data folder"));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => {
                    return Err(format!("{text} leads out of the data folder"));
                }
                ".." => {}
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }

    fn of_name(&self, path: &str) -> &[String] {
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = if is_image(name) {
            without_extension(name)
        } else {
            name
        };
        let listed = self.listed.get_or_init(|| list(self.root));
        listed.get(stem).map_or(&[], Vec::as_slice)
    }
}

/// Lists the images by name; empty if the folder cannot be listed.
fn list(root: &Path) -> HashMap<String, Vec<String>> {
    let mut listed = HashMap::<String, Vec<String>>::new();
    let images = Walk::new(root, [root], []).images(root);
    let mut images: Vec<String> = images
        .unwrap_or_default()
        .iter()
        .filter_map(|file| relative(root, file))
        .collect();
    images.sort();
    for path in images {
        let stem = without_extension(&path);
        let stem = stem.rsplit('/').next().unwrap_or(stem).to_owned();
        listed.entry(stem).or_default().push(path);
    }
    listed
}

/// Whether a file's path without its extension ends in these parts.
fn is_named(file: &str, name: &str) -> bool {
    let rest = without_extension(file).strip_suffix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// The file whose path has the longest ending in common with `path`.
fn nearest<'f>(files: &'f [String], path: &str) -> Option<&'f String> {
    let parts = |path: &str| -> Vec<String> {
        without_extension(path)
            .rsplit('/')
            .map(str::to_owned)
            .collect()
    };
    let wanted = parts(path);
    let common = |file: &String| {
        let pairs = parts(file).into_iter().zip(&wanted);
        pairs.take_while(|(a, b)| a == *b).count()
    };
    // On ties, the first by name.
    files.iter().rev().max_by_key(|file| common(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_resolve_to_files_below_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in [
            "images/ISIC_1.jpg",
            "images/a.jpeg",
            "other/a.png",
            "images/1.2.3.png",
        ] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let paths = Paths::new(root);
        let found = |cell: &str, expected: &str| {
            assert_eq!(paths.find(cell).as_deref(), Ok(expected), "{cell}");
        };
        found("images/a.jpeg", "images/a.jpeg");
        found("./images//a.jpeg", "images/a.jpeg");
        found("images\\a.jpeg", "images/a.jpeg");
        found("images/../images/a.jpeg", "images/a.jpeg");
        found("ISIC_1", "images/ISIC_1.jpg");
        found("images/ISIC_1", "images/ISIC_1.jpg");
        found("1.2.3", "images/1.2.3.png");
        found("other/a", "other/a.png");
        let missing = |cell: &str, expected: &str| match paths.find(cell) {
            Err(Missing::Absent(reason)) => assert!(reason.contains(expected), "{reason}"),
            found => panic!("{cell}: {found:?}"),
        };
        missing("a", "images/a.jpeg and other/a.png");
        missing("images/ISIC_1.png", "did you mean images/ISIC_1.jpg?");
        missing("set/other/a.jpg", "did you mean other/a.png?");
        missing("ISIC_2", "no such file");
        for cell in ["../x.png", "images/../../x.png", "/etc/x.png", "C:\\x.png"] {
            assert!(
                matches!(paths.find(cell), Err(Missing::Refused(_))),
                "{cell}"
            );
        }
    }
}
