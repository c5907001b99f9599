//! Finds the image files below a data folder and says what each is by the folders it lies in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::csv;
use crate::mask::MaskPlace;
use crate::{BadImage, DatasetError, IndexConfig, Layout, Split};

/// A file that looks like an image by its name.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) split: Option<Split>,
    pub(crate) class: usize,
    pub(crate) file: PathBuf,
    /// Relative to the root, '/'-separated.
    pub(crate) path: String,
    /// Where its mask would be, relative to the masks' root; none where none is expected.
    pub(crate) mask: Option<String>,
    /// Where the table says so.
    pub(crate) patient: Option<String>,
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

/// Walks the folders or reads the table; candidates come sorted by path, so the same on every
/// machine.
pub(crate) fn scan(config: &IndexConfig) -> Result<Scan, DatasetError> {
    let root = &config.root;
    if !root.is_dir() {
        return Err(DatasetError::NoDataFolder { path: root.clone() });
    }
    let mut scan = match &config.layout {
        Layout::ClassFolders => class_folders(config)?,
        Layout::Images => images(config)?,
        Layout::Csv(layout) => csv::scan(config, layout)?,
    };
    if !matches!(config.layout, Layout::Csv(_)) {
        scan.expect_masks(config);
    }
    scan.candidates.sort_by(|a, b| a.path.cmp(&b.path));
    scan.name_classes(config)?;
    Ok(scan)
}

fn class_folders(config: &IndexConfig) -> Result<Scan, DatasetError> {
    let split_folders = split_folders(config)?;
    let mut scan = Scan {
        classes: classes(config, &split_folders)?,
        ..Scan::default()
    };
    for (split, folder) in &split_folders {
        scan.add_classes(&config.root, *split, folder)?;
    }
    Ok(scan)
}

fn images(config: &IndexConfig) -> Result<Scan, DatasetError> {
    let mut scan = Scan {
        classes: one_class(config)?,
        ..Scan::default()
    };
    for (split, folder) in split_folders(config)? {
        scan.add_folder(&config.root, split, 0, folder)?;
    }
    Ok(scan)
}

/// The class of images that have none: the only one configured, or `image`.
pub(crate) fn one_class(config: &IndexConfig) -> Result<Vec<String>, DatasetError> {
    match config.classes.as_slice() {
        [] => Ok(vec!["image".to_owned()]),
        [class] => Ok(vec![class.clone()]),
        classes => Err(DatasetError::setting(
            "classes",
            classes.join(", "),
            "images without classes take one name at most",
        )),
    }
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
            self.add_folder(root, split, class, path)?;
        }
        Ok(())
    }

    fn add_folder(
        &mut self,
        root: &Path,
        split: Option<Split>,
        class: usize,
        folder: PathBuf,
    ) -> Result<(), DatasetError> {
        for file in files(&folder, MAX_DEPTH)? {
            self.add_file(root, split, class, file);
        }
        self.folders.push(ClassFolder {
            split,
            class,
            folder,
        });
        Ok(())
    }

    /// Says where each image's mask would be, and takes out the files that are masks by name.
    fn expect_masks(&mut self, config: &IndexConfig) {
        match config.masks.as_ref().map(|masks| &masks.place) {
            Some(MaskPlace::Tree(_)) => {
                let expected = |candidate: &mut Candidate| {
                    candidate.mask = Some(format!("{}.png", without_extension(&candidate.path)));
                };
                self.candidates.iter_mut().for_each(expected);
            }
            Some(MaskPlace::Beside(pattern)) => {
                let all = self.candidates.len();
                self.candidates
                    .retain(|c| !matches_pattern(&c.path, pattern));
                self.ignored += all - self.candidates.len();
                for candidate in &mut self.candidates {
                    candidate.mask = Some(beside(&candidate.path, pattern));
                }
            }
            Some(MaskPlace::Column) | None => {}
        }
    }

    /// Folder names become display names.
    fn name_classes(&mut self, config: &IndexConfig) -> Result<(), DatasetError> {
        let key = "class_names";
        let known = |name: &&String| !self.classes.contains(name);
        if let Some(name) = config.class_names.keys().find(known) {
            let reason = format!("is no class; the data have {}", self.classes.join(", "));
            return Err(DatasetError::setting(key, name, &reason));
        }
        for class in &mut self.classes {
            if let Some(name) = config.class_names.get(class) {
                class.clone_from(name);
            }
        }
        let distinct: BTreeSet<&String> = self.classes.iter().collect();
        if distinct.len() < self.classes.len() {
            let reason = "two classes have the same name";
            return Err(DatasetError::setting(key, self.classes.join(", "), reason));
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
                mask: None,
                patient: None,
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

pub(crate) fn without_extension(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    path[name..]
        .rfind('.')
        .map_or(path, |dot| &path[..name + dot])
}

/// The mask of `path` by a pattern such as `{stem}_mask.png`.
fn beside(path: &str, pattern: &str) -> String {
    let stem = without_extension(path);
    let (folder, name) = stem.rsplit_once('/').map_or(("", stem), |(f, n)| (f, n));
    let mask = pattern.replace("{stem}", name);
    if folder.is_empty() {
        mask
    } else {
        format!("{folder}/{mask}")
    }
}

/// Whether a file's name is a mask's by the pattern.
fn matches_pattern(path: &str, pattern: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((before, after)) = pattern.split_once("{stem}") else {
        return false;
    };
    let stem = name
        .strip_prefix(before)
        .and_then(|n| n.strip_suffix(after));
    stem.is_some_and(|stem| !stem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_beside_images_by_name() {
        assert_eq!(beside("a/b (1).jpg", "{stem}_mask.png"), "a/b (1)_mask.png");
        assert_eq!(beside("b.c.jpg", "m_{stem}.png"), "m_b.c.png");
        assert!(matches_pattern("a/b_mask.png", "{stem}_mask.png"));
        assert!(!matches_pattern("a/b.png", "{stem}_mask.png"));
        assert!(!matches_pattern("a/_mask.png", "{stem}_mask.png"));
        assert_eq!(without_extension("a.b/c"), "a.b/c");
    }
}
