//! Finds the image files below a data folder and says what each is by the folders it lies in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{BadImage, DatasetError, IndexConfig, Split};

/// A file that looks like an image by its name.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) split: Option<Split>,
    pub(crate) class: usize,
    pub(crate) file: PathBuf,
    /// Relative to the root, '/'-separated.
    pub(crate) path: String,
}

/// A folder that must hold at least one image.
#[derive(Debug)]
pub(crate) struct ClassFolder {
    pub(crate) split: Option<Split>,
    pub(crate) class: usize,
    pub(crate) folder: PathBuf,
}

/// What a data folder holds, before any file is opened.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) classes: Vec<String>,
    pub(crate) folders: Vec<ClassFolder>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) unreadable: Vec<BadImage>,
    pub(crate) ignored: usize,
}

/// Walks the folders; candidates come sorted by path, so the same on every machine.
pub(crate) fn scan(config: &IndexConfig) -> Result<Scan, DatasetError> {
    let root = &config.root;
    if !root.is_dir() {
        return Err(DatasetError::NoDataFolder { path: root.clone() });
    }
    let split_folders = split_folders(config)?;
    let mut scan = Scan {
        classes: classes(config, &split_folders)?,
        ..Scan::default()
    };
    for (split, folder) in &split_folders {
        scan.add_classes(root, *split, folder)?;
    }
    scan.candidates.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(scan)
}

type SplitFolder = (Option<Split>, PathBuf);

fn split_folders(config: &IndexConfig) -> Result<Vec<SplitFolder>, DatasetError> {
    let mut folders = Vec::new();
    for (split, name) in config.splits.named() {
        let path = config.root.join(name);
        if !path.is_dir() {
            let found = listed(&config.root)?;
            return Err(DatasetError::MissingSplitFolder { split, path, found });
        }
        folders.push((Some(split), path));
    }
    if folders.is_empty() {
        folders.push((None, config.root.clone()));
    }
    Ok(folders)
}

fn listed(root: &Path) -> Result<String, DatasetError> {
    let names = subfolders(root)?.join(", ");
    Ok(if names.is_empty() {
        "none".to_owned()
    } else {
        names
    })
}

fn classes(config: &IndexConfig, folders: &[SplitFolder]) -> Result<Vec<String>, DatasetError> {
    let mut classes = config.classes.clone();
    if classes.is_empty() {
        let mut found = BTreeSet::new();
        for (_, folder) in folders {
            found.extend(subfolders(folder)?);
        }
        classes.extend(found);
    }
    if classes.len() < 2 {
        return Err(DatasetError::TooFewClasses {
            path: config.root.clone(),
            found: classes.len(),
        });
    }
    Ok(classes)
}

impl Scan {
    fn add_classes(
        &mut self,
        root: &Path,
        split: Option<Split>,
        folder: &Path,
    ) -> Result<(), DatasetError> {
        for class in 0..self.classes.len() {
            let path = folder.join(&self.classes[class]);
            if !path.is_dir() {
                let class = self.classes[class].clone();
                return Err(DatasetError::MissingClassFolder { class, path });
            }
            for file in files(&path, MAX_DEPTH)? {
                self.add_file(root, split, class, file);
            }
            self.folders.push(ClassFolder {
                split,
                class,
                folder: path,
            });
        }
        Ok(())
    }

    fn add_file(&mut self, root: &Path, split: Option<Split>, class: usize, file: PathBuf) {
        if !is_image_name(&file) {
            self.ignored += 1;
            return;
        }
        match relative(root, &file) {
            Some(path) => self.candidates.push(Candidate {
                split,
                class,
                file,
                path,
            }),
            None => self.unreadable.push(BadImage {
                path: file.to_string_lossy().into_owned(),
                reason: "the file name is not valid UTF-8".to_owned(),
            }),
        }
    }
}

/// A class folder may have folders of its own (one a patient); a link in a circle ends here.
const MAX_DEPTH: usize = 8;

fn files(folder: &Path, depth: usize) -> Result<Vec<PathBuf>, DatasetError> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        if !path.is_dir() {
            files.push(path);
        } else if depth > 0 {
            files.extend(self::files(&path, depth - 1)?);
        }
    }
    Ok(files)
}

/// The names of the folders in `folder`, sorted; those with a dot or `__MACOSX` are not data.
fn subfolders(folder: &Path) -> Result<Vec<String>, DatasetError> {
    let folders = entries(folder)?.into_iter().filter(|path| path.is_dir());
    let names = folders.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    Ok(names
        .filter(|name| !name.starts_with('.') && name != "__MACOSX")
        .collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let fail = |source| DatasetError::io("list", folder, source);
    let entries = std::fs::read_dir(folder).map_err(fail)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    paths.sort();
    Ok(paths)
}

/// `.DS_Store`, `Thumbs.db` and the `._*.jpeg` that macOS leaves in archives are not images.
fn is_image_name(file: &Path) -> bool {
    let hidden = file
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = file.extension().and_then(|extension| extension.to_str());
    let known = |ext: &str| {
        ["jpg", "jpeg", "png"]
            .iter()
            .any(|k| ext.eq_ignore_ascii_case(k))
    };
    !hidden && extension.is_some_and(known)
}

fn relative(root: &Path, file: &Path) -> Option<String> {
    let parts = file.strip_prefix(root).ok()?.components();
    let parts: Option<Vec<&str>> = parts.map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}
