//! Finds the image files below a data folder and derives split and class from their folders.

mod found;
mod masks;
mod second_paths;
mod table;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

pub(crate) use found::{Candidate, ClassFolder, Scan};
pub(crate) use masks::Pattern;
pub use masks::check_mask_pattern;
pub use table::text::table_text;

use crate::config::{DataLayout, IndexConfig};
use crate::error::DatasetError;
use crate::left_out::{BadImage, Reason};
use crate::mask::MaskConfig;
use crate::split_name::Split;
use crate::walk::{Walk, entries, names, relative, without_extension};
use found::one_class;

/// Traverses the folders or reads the table; candidates are sorted by path and therefore the same on
/// every machine.
pub(crate) fn scan(config: &IndexConfig) -> Result<Scan, DatasetError> {
    let root = &config.root;
    if !root.is_dir() {
        return Err(DatasetError::NoDataFolder { path: root.clone() });
    }
    let mut scan = match &config.layout {
        DataLayout::ClassFolders => class_folders(config)?,
        DataLayout::Images => images(config)?,
        DataLayout::Csv(layout) => table::scan(config, layout)?,
    };
    scan.candidates.sort_by(|a, b| a.path.cmp(&b.path));
    let listed = matches!(config.layout, DataLayout::Csv(_));
    if let Some(masks) = &config.masks {
        scan.find_masks(masks, root, listed)?;
    }
    if !listed {
        scan.take_out_masks();
    }
    scan.drop_second_paths();
    scan.name_classes(config)?;
    Ok(scan)
}

fn class_folders(config: &IndexConfig) -> Result<Scan, DatasetError> {
    let split_folders = split_folders(config)?;
    let classes = classes(config, &split_folders)?;
    let mut folders = Vec::new();
    for (split, folder) in &split_folders {
        for (class, name) in classes.iter().enumerate() {
            let folder = folder.join(name);
            if !folder.is_dir() && config.incomplete {
                continue;
            }
            if !folder.is_dir() {
                let class = name.clone();
                return Err(DatasetError::MissingClassFolder {
                    class,
                    path: folder,
                });
            }
            let split = *split;
            folders.push(ClassFolder {
                split,
                class,
                folder,
            });
        }
    }
    if folders.is_empty() {
        return Err(DatasetError::TooFewClasses {
            path: config.root.clone(),
            found: vec![],
        });
    }
    let parents = split_folders.into_iter().map(|(_, folder)| folder);
    Scan::of_folders(config, classes, folders, parents.collect())
}

fn images(config: &IndexConfig) -> Result<Scan, DatasetError> {
    let folders = split_folders(config)?.into_iter();
    let folders = folders.map(|(split, folder)| ClassFolder {
        split,
        class: 0,
        folder,
    });
    Scan::of_folders(config, one_class(config)?, folders.collect(), vec![])
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
    if !config.classes.is_empty() {
        return enough_classes(config, config.classes.clone());
    }
    let walk = Walk::new(&config.root, [], aside(config));
    let mut found = BTreeSet::new();
    for (_, folder) in folders {
        let names = subfolders(folder)?.into_iter();
        found.extend(names.filter(|name| !walk.is_aside(&folder.join(name))));
    }
    // Next to folders of images, a folder of masks is not a class; without them, it may be one.
    let all_masks = found.iter().all(|name| names::is_mask_folder(name));
    found.retain(|name| all_masks || !names::is_mask_folder(name));
    enough_classes(config, found.into_iter().collect())
}

fn enough_classes(config: &IndexConfig, found: Vec<String>) -> Result<Vec<String>, DatasetError> {
    match found.len() {
        0 => Err(DatasetError::TooFewClasses {
            path: config.root.clone(),
            found,
        }),
        1 if !config.incomplete => Err(DatasetError::TooFewClasses {
            path: config.root.clone(),
            found,
        }),
        _ => Ok(found),
    }
}

/// Trees of masks that may be among the images.
fn aside(config: &IndexConfig) -> impl Iterator<Item = &Path> {
    let masks = config.masks.iter().flat_map(MaskConfig::trees);
    masks.chain(&config.aside).map(PathBuf::as_path)
}

impl Scan {
    /// Reads each folder; `parents` are those that hold class folders and nothing else.
    fn of_folders(
        config: &IndexConfig,
        classes: Vec<String>,
        folders: Vec<ClassFolder>,
        parents: Vec<PathBuf>,
    ) -> Result<Self, DatasetError> {
        let root = &config.root;
        let read: Vec<&Path> = folders.iter().map(|f| f.folder.as_path()).collect();
        let named = config.masks.as_ref().map(MaskConfig::folder_names);
        let walk = Walk::new(root, read.iter().copied(), aside(config));
        let mut walk = walk.with_mask_folders(named.unwrap_or_default());
        let mut scan = Scan {
            classes,
            ..Scan::default()
        };
        for folder in &folders {
            for file in walk.images(&folder.folder)? {
                scan.add_file(root, folder, file);
            }
        }
        let above = (!read.contains(&root.as_path())).then(|| root.clone());
        let parents: BTreeSet<PathBuf> = parents.into_iter().chain(above).collect();
        let known: Vec<&Path> = read
            .iter()
            .copied()
            .chain(parents.iter().map(PathBuf::as_path))
            .collect();
        for parent in &parents {
            walk.elsewhere(parent, &known)?;
        }
        scan.left_out = walk.tally;
        scan.folders = folders;
        Ok(scan)
    }

    /// Removes files that are masks by their names, such as `x_mask.png` next to `x.png`. They are
    /// not samples, whether or not masks were requested.
    fn take_out_masks(&mut self) {
        let stem = |c: &Candidate| {
            let stem = without_extension(&c.path);
            stem.rsplit('/').next().unwrap_or(stem).to_owned()
        };
        let stems: Vec<String> = self.candidates.iter().map(stem).collect();
        let images: HashSet<&str> = stems.iter().map(String::as_str).collect();
        let mut suffixes = stems.iter().map(|stem| names::mask_suffix(stem, &images));
        let tally = &mut self.left_out;
        self.candidates.retain(|candidate| {
            let suffix = suffixes.next().flatten();
            if let Some(suffix) = suffix {
                let extension = names::extension(&candidate.path);
                let what = format!("*{suffix}{extension}");
                tally.add(Reason::Mask, what, candidate.path.clone());
            }
            suffix.is_none()
        });
    }

    /// Replaces folder names with display names.
    fn name_classes(&mut self, config: &IndexConfig) -> Result<(), DatasetError> {
        let key = "class_names";
        let known = |name: &&String| !self.classes.contains(name);
        let unknown = config.class_names.keys().find(known);
        if let Some(name) = unknown.filter(|_| !config.incomplete) {
            let reason = format!("is not a class; the data have {}", self.classes.join(", "));
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

    fn add_file(&mut self, root: &Path, folder: &ClassFolder, file: PathBuf) {
        match relative(root, &file) {
            Some(path) => self.candidates.push(Candidate {
                split: folder.split,
                class: folder.class,
                depth: folder.folder.components().count() - root.components().count(),
                file,
                path,
                ..Candidate::default()
            }),
            None => self.unreadable.push(BadImage {
                path: file.to_string_lossy().into_owned(),
                reason: "the file name is not valid UTF-8".to_owned(),
            }),
        }
    }
}

/// The names of the folders in `folder`, sorted, without hidden and system ones.
fn subfolders(folder: &Path) -> Result<Vec<String>, DatasetError> {
    let folders = entries(folder)?.into_iter().filter(|path| path.is_dir());
    let names = folders.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    Ok(names.filter(|name| !names::is_system(name)).collect())
}
