//! Traversal of folders: every image once, and everything else counted.

pub(crate) mod names;
mod paths;

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::DatasetError;
use crate::left_out::{LeftOut, Reason, Tally};
pub(crate) use paths::{relative, without_extension};

/// A traversal of one data folder.
#[derive(Debug)]
pub(crate) struct Walk<'c> {
    root: &'c Path,
    /// Canonical paths of the folders that are or will be read, and of those above them: a link to
    /// any of these would read files again.
    seen: HashSet<PathBuf>,
    /// Canonical paths of trees that the settings name and that hold no samples.
    aside: HashSet<PathBuf>,
    /// Whether the files searched for are masks.
    of_masks: bool,
    /// Names of folders that the settings name for masks: what is in them is counted elsewhere.
    mask_folders: HashSet<String>,
    pub(crate) tally: Tally,
}

impl<'c> Walk<'c> {
    /// A traversal of `folders` that skips the trees in `aside`.
    pub(crate) fn new<'f, 'a>(
        root: &'c Path,
        folders: impl IntoIterator<Item = &'f Path>,
        aside: impl IntoIterator<Item = &'a Path>,
    ) -> Self {
        let mut seen = HashSet::new();
        // With all folders above: a folder that is named for a class is read under its own name.
        let mut see =
            |folder: &Path| seen.extend(canonical(folder).ancestors().map(Path::to_owned));
        see(root);
        folders.into_iter().for_each(see);
        Walk {
            root,
            seen,
            aside: aside.into_iter().map(canonical).collect(),
            of_masks: false,
            mask_folders: HashSet::new(),
            tally: Tally::default(),
        }
    }

    /// The same traversal, in which the settings name folders of these names for masks.
    pub(crate) fn with_mask_folders(mut self, names: HashSet<String>) -> Self {
        self.mask_folders = names;
        self
    }

    /// A traversal of a folder of masks.
    pub(crate) fn of_masks(root: &'c Path) -> Self {
        Walk {
            of_masks: true,
            ..Self::new(root, [], [])
        }
    }

    /// The files with an image's name in `folder` and below, in no particular order.
    ///
    /// # Errors
    /// [`DatasetError::Io`] if a folder cannot be listed.
    pub(crate) fn images(&mut self, folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
        let (mut open, mut images) = (vec![folder.to_owned()], Vec::new());
        while let Some(folder) = open.pop() {
            for path in entries(&folder)? {
                match std::fs::metadata(&path) {
                    Ok(about) if about.is_dir() => open.extend(self.folder(path)),
                    Ok(about) => images.extend(self.file(path, &about)),
                    Err(_) => self.leave_out(Reason::Link, "broken", &path),
                }
            }
        }
        Ok(images)
    }

    /// The folder, if it is to be traversed.
    fn folder(&mut self, path: PathBuf) -> Option<PathBuf> {
        if self.is_aside(&path) {
            return None;
        }
        if let Some((reason, what)) = kind(&path).filter(|kind| !self.wants(kind.0)) {
            if reason != Reason::Mask || !self.mask_folders.contains(&name(&path)) {
                self.leave_out_below(reason, &what, &path, |_| true);
            }
            return None;
        }
        let new = self.seen.insert(canonical(&path));
        if !new {
            self.leave_out(Reason::Link, "to a folder already read", &path);
        }
        new.then_some(path)
    }

    /// The file, if it is an image by its name.
    fn file(&mut self, path: PathBuf, about: &Metadata) -> Option<PathBuf> {
        let name = name(&path);
        let left_out = if names::is_system(&name) {
            let shown = if name.starts_with('.') { ".*" } else { &name };
            Some((Reason::Hidden, shown.to_owned()))
        } else if !about.is_file() {
            Some((Reason::Special, name.clone()))
        } else if names::is_output(&name) && !self.wants(Reason::Output) {
            Some((Reason::Output, output_pattern(&name)))
        } else if !is_image_file(&path) {
            Some((Reason::Format, names::extension(&name)))
        } else {
            None
        };
        match left_out {
            None => Some(path),
            Some((reason, what)) => {
                self.leave_out(reason, &what, &path);
                None
            }
        }
    }

    fn wants(&self, reason: Reason) -> bool {
        self.of_masks && matches!(reason, Reason::Mask | Reason::Output)
    }

    /// Whether the settings name the folder as a tree without samples.
    pub(crate) fn is_aside(&self, folder: &Path) -> bool {
        !self.aside.is_empty() && self.aside.contains(&canonical(folder))
    }

    /// Counts the images outside the folders that are read: in `parent` itself, and in its folders
    /// that lead to none of `read`.
    pub(crate) fn elsewhere(&mut self, parent: &Path, read: &[&Path]) -> Result<(), DatasetError> {
        let leads_on = |path: &Path| read.iter().any(|read| read.starts_with(path));
        for path in entries(parent)? {
            if path.is_file() {
                if is_image_file(&path) && !names::is_system(&name(&path)) {
                    self.leave_out(Reason::Elsewhere, "next to the folders", &path);
                }
            } else if path.is_dir() && !leads_on(&path) && !self.is_aside(&path) {
                let (reason, what) =
                    kind(&path).unwrap_or((Reason::Elsewhere, format!("in {}/", name(&path))));
                self.leave_out_below(reason, &what, &path, is_image_file);
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, reason: Reason, what: &str, path: &Path) {
        self.tally.add(reason, what, shown(self.root, path));
    }

    /// Counts the files below a folder that is not read. Links are not followed, and folders that
    /// cannot be listed are not counted.
    fn leave_out_below(
        &mut self,
        reason: Reason,
        what: &str,
        folder: &Path,
        counts: impl Fn(&Path) -> bool,
    ) {
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            for path in entries(&folder).unwrap_or_default() {
                match std::fs::symlink_metadata(&path) {
                    Ok(about) if about.is_dir() => open.push(path),
                    Ok(_) if counts(&path) => self.leave_out(reason, what, &path),
                    _ => {}
                }
            }
        }
    }
}

/// The image files of a folder and of those below it, sorted by path, and what was left out. Masks, outputs of this
/// program and hidden files are no images, and a link to a folder that is read anyway is not followed.
///
/// # Errors
/// [`DatasetError::Io`] if a folder cannot be listed.
pub fn images_below(folder: &Path) -> Result<(Vec<PathBuf>, Vec<LeftOut>), DatasetError> {
    let mut walk = Walk::new(folder, [], []);
    let mut images = walk.images(folder)?;
    images.sort();
    Ok((images, walk.tally.finish()))
}

/// Whether a regular file is an image by its extension or, if it has none, by its content: exports from hospitals hold
/// DICOM files such as `IM0001` and `1.2.840.113`.
fn is_image_file(path: &Path) -> bool {
    let name = name(path);
    names::is_image(&name) || (names::has_no_extension(&name) && begins_as_dicom(path))
}

/// Whether a file has DICOM's mark (PS3.10, section 7.1); false if it cannot be read.
fn begins_as_dicom(path: &Path) -> bool {
    const MARK: usize = 128;
    let mut begin = [0; MARK + 4];
    // Opening a named pipe would block.
    let regular = path.is_file();
    let read = |mut file: File| file.read_exact(&mut begin);
    regular && File::open(path).and_then(read).is_ok() && begin[MARK..] == *b"DICM"
}

/// Why a folder holds no samples, by its name or content; `None` if it may hold some.
fn kind(folder: &Path) -> Option<(Reason, String)> {
    let name = name(folder);
    let reason = if names::is_system(&name) {
        Reason::Hidden
    } else if names::is_run_folder(folder) {
        return Some((Reason::Output, "in a run folder".to_owned()));
    } else if names::is_mask_folder(&name) {
        Reason::Mask
    } else {
        return None;
    };
    Some((reason, format!("in {name}/")))
}

fn output_pattern(name: &str) -> String {
    let end = names::OUTPUTS.into_iter().find(|end| name.ends_with(end));
    format!("*{}", end.unwrap_or_default())
}

pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let fail = |source| DatasetError::io("list", folder, source);
    let entries = std::fs::read_dir(folder).map_err(fail)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    paths.sort();
    Ok(paths)
}

/// The canonical path, or the path itself if it cannot be resolved.
fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

pub(crate) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The path relative to the data folder, for messages.
fn shown(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn touch(root: &Path, file: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    }

    /// Number of images found below `A`, and the groups of files left out.
    fn walked(root: &Path) -> (usize, Vec<String>) {
        let class = [root.join("A"), root.join("B")];
        let mut walk = Walk::new(root, class.iter().map(PathBuf::as_path), []);
        let found = walk.images(&class[0]).unwrap();
        let groups = walk.tally.finish().into_iter();
        let groups = groups.map(|g| format!("{:?} {} {}", g.reason, g.files, g.what));
        (found.len(), groups.collect())
    }

    #[test]
    fn cyclic_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for i in 0..4 {
            touch(root, &format!("A/{i}.png"));
            touch(root, &format!("B/{i}.png"));
        }
        symlink("..", root.join("A/up")).unwrap();
        symlink("../..", root.join("A/higher")).unwrap();
        symlink(".", root.join("A/self")).unwrap();
        symlink("../B", root.join("A/other")).unwrap();
        symlink("nowhere.png", root.join("A/broken.png")).unwrap();
        let (found, groups) = walked(root);
        assert_eq!(found, 4);
        let expected = ["Link 4 to a folder already read", "Link 1 broken"];
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_linked_folder_is_read_once_and_depth_is_unlimited() {
        let root = tempfile::tempdir().unwrap();
        let (root, outside) = (root.path(), tempfile::tempdir().unwrap());
        touch(outside.path(), "x.png");
        let deep = (0..40).map(|i| format!("{i}/")).collect::<String>();
        touch(root, &format!("A/{deep}deep.png"));
        symlink(outside.path(), root.join("A/linked")).unwrap();
        symlink(outside.path(), root.join("A/again")).unwrap();
        let (found, groups) = walked(root);
        assert_eq!(found, 2);
        assert_eq!(groups, ["Link 1 to a folder already read"]);
    }

    #[test]
    fn files_that_are_not_samples_are_counted_by_kind() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in [
            "A/x.png",
            "A/x.png.d/y.jpg",
            "A/.ipynb_checkpoints/x.png",
            "A/@eaDir/x.png/thumb.jpg",
            "A/Thumbs.db",
            "A/._x.png",
            "A/masks/x.png",
            "A/x.overlay.png",
            "A/x.mask.png",
            "A/2026/run.json",
            "A/2026/resolved.toml",
            "A/2026/figures/roc.png",
            "A/y.gif",
            "A/z.GIF",
        ] {
            touch(root, file);
        }
        std::os::unix::net::UnixListener::bind(root.join("A/pipe.png")).unwrap();
        let (found, groups) = walked(root);
        assert_eq!(found, 2);
        let expected = [
            "Format 2 .gif",
            "Mask 1 in masks/",
            "Output 3 in a run folder",
            "Output 1 *.mask.png",
            "Output 1 *.overlay.png",
            "Hidden 1 .*",
            "Hidden 1 Thumbs.db",
            "Hidden 1 in .ipynb_checkpoints/",
            "Hidden 1 in @eaDir/",
            "Special 1 pipe.png",
        ];
        assert_eq!(groups, expected);
    }

    #[test]
    fn dicom_files_without_an_extension_are_found_by_their_mark() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let dicom = [&[0; 128], b"DICM".as_slice(), &[2, 0]].concat();
        for file in [
            "A/IM0001",
            "A/1.2.840.113",
            "A/DICOMDIR",
            "A/x.dat",
            "B/IM0002",
        ] {
            touch(root, file);
            std::fs::write(root.join(file), &dicom).unwrap();
        }
        for (file, bytes) in [("A/README", &dicom[..100]), ("A/1.2.3", &[7; 200])] {
            std::fs::write(root.join(file), bytes).unwrap();
        }
        std::os::unix::net::UnixListener::bind(root.join("A/pipe")).unwrap();
        let class = root.join("A");
        let mut walk = Walk::new(root, [class.as_path()], []);
        let mut found = walk.images(&class).unwrap();
        found.sort();
        let found: Vec<_> = found
            .iter()
            .filter_map(|file| relative(root, file))
            .collect();
        assert_eq!(found, ["A/1.2.840.113", "A/IM0001"]);
        walk.elsewhere(root, &[&class]).unwrap();
        let groups = walk.tally.finish().into_iter();
        let groups: Vec<_> = groups.map(|g| (g.reason, g.files, g.what)).collect();
        let expected = [
            (Reason::Format, 2, "without an extension"),
            (Reason::Format, 1, ".dat"),
            (Reason::Elsewhere, 1, "in B/"),
            (Reason::Hidden, 1, "DICOMDIR"),
            (Reason::Special, 1, "pipe"),
        ]
        .map(|(reason, files, what)| (reason, files, what.to_owned()));
        assert_eq!(groups, expected);
    }

    #[test]
    fn images_outside_the_folders_are_counted() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in ["A/x.png", "loose.png", "C/y.png", "C/z.png", "notes.txt"] {
            touch(root, file);
        }
        let class = root.join("A");
        let mut walk = Walk::new(root, [class.as_path()], []);
        walk.elsewhere(root, &[&class]).unwrap();
        let groups = walk.tally.finish().into_iter();
        let groups: Vec<_> = groups.map(|g| (g.reason, g.files, g.what)).collect();
        let expected = [
            (Reason::Elsewhere, 2, "in C/".to_owned()),
            (Reason::Elsewhere, 1, "next to the folders".to_owned()),
        ];
        assert_eq!(groups, expected);
    }
}
