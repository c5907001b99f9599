//! Which mask files belong to which image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::found::Candidate;
use crate::error::DatasetError;
use crate::walk::names::{is_image, without_number};
use crate::walk::{Walk, entries, name, relative, without_extension};

/// Checks a pattern for mask paths; the error is the reason as text.
///
/// # Errors
/// The last part is not an image's file name that holds `{stem}`, or an earlier part holds it.
pub fn check_mask_pattern(pattern: &str) -> Result<(), String> {
    Pattern::new(pattern).map(drop)
}

/// Where the mask of an image is: a path from the image's own folder, with `{stem}` for the
/// image's name without its extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern<'p> {
    /// For `../masks/{stem}_mask.png` the fields are `../masks/`, `{stem}_mask` and `png`.
    folder: &'p str,
    name: &'p str,
    extension: &'p str,
}

impl<'p> Pattern<'p> {
    /// The error is the reason as text.
    pub(crate) fn new(text: &'p str) -> Result<Self, String> {
        let wrong = "must end in a file name that holds {stem}, such as {stem}_mask.png";
        let at = text.rfind('/').map_or(0, |slash| slash + 1);
        let (folder, file) = text.split_at(at);
        let (name, extension) = file.rsplit_once('.').ok_or(wrong)?;
        match name.contains("{stem}") && is_image(file) && !folder.contains("{stem}") {
            true => Ok(Pattern {
                folder,
                name,
                extension,
            }),
            false => Err(wrong.to_owned()),
        }
    }

    /// The mask's path without its extension; `None` if it would be above the root.
    fn key(&self, image: &str) -> Option<String> {
        let stem = without_extension(image);
        let (folder, stem) = stem.rsplit_once('/').unwrap_or(("", stem));
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in self.folder.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()?),
                part => parts.push(part),
            }
        }
        let name = self.name.replace("{stem}", stem);
        parts.push(&name);
        Some(parts.join("/"))
    }

    /// Whether masks are in another folder than their images.
    fn is_apart(&self) -> bool {
        !self.folder.is_empty()
    }

    /// Whether additional masks of an image have a number after the name. If masks end in the image's
    /// own name, `x_1.png` may just as well belong to another image.
    fn is_numbered(&self) -> bool {
        !self.name.ends_with("{stem}")
    }

    fn unnumbered<'s>(&self, stem: &'s str) -> Option<&'s str> {
        without_number(stem).filter(|_| self.is_numbered())
    }

    /// Whether a file is a mask by its name, with or without a number at the end.
    fn matches(&self, file: &str) -> bool {
        let Some((stem, extension)) = file.rsplit_once('.') else {
            return false;
        };
        let matches = |stem: &str| {
            let (before, after) = self.name.split_once("{stem}").unwrap_or_default();
            let inner = stem.strip_prefix(before);
            let inner = inner.and_then(|stem| stem.strip_suffix(after));
            inner.is_some_and(|stem| !stem.is_empty())
        };
        extension.eq_ignore_ascii_case(self.extension)
            && (matches(stem) || self.unnumbered(stem).is_some_and(matches))
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Removes masks from the candidates and assigns each image its own. Returns the mask files, relative
/// to `root`, that belong to no image.
///
/// With `tree` the masks are all files below `root`, otherwise those where the pattern expects them.
/// An additional mask of an image has a number after its name: `x_mask_1.png`.
///
/// # Errors
/// [`DatasetError::Io`] if a folder cannot be listed.
pub(crate) fn expect(
    candidates: &mut Vec<Candidate>,
    root: &Path,
    pattern: Pattern<'_>,
    tree: bool,
) -> Result<Vec<String>, DatasetError> {
    if !tree {
        take_out(candidates, pattern);
    }
    for candidate in candidates.iter_mut() {
        let key = pattern.key(&candidate.path);
        candidate.expected_mask = key.map(|key| format!("{key}.{}", pattern.extension));
    }
    let files = match tree {
        true => all_below(root)?,
        false => beside(candidates, root, pattern)?,
    };
    Ok(deal_out(candidates, pattern, files))
}

/// Removes candidates that are masks by their location or name.
fn take_out(candidates: &mut Vec<Candidate>, pattern: Pattern<'_>) {
    if !pattern.is_apart() {
        candidates.retain(|c| !pattern.matches(c.path.rsplit('/').next().unwrap_or_default()));
        return;
    }
    let folder = |c: &Candidate| {
        let masks = folder_of(&pattern.key(&c.path)?).to_owned();
        (masks != folder_of(&c.path)).then_some(masks)
    };
    let of_masks: BTreeSet<String> = candidates.iter().filter_map(folder).collect();
    candidates.retain(|c| !of_masks.contains(folder_of(&c.path)));
}

fn all_below(root: &Path) -> Result<Vec<String>, DatasetError> {
    let files = Walk::of_masks(root).images(root)?;
    Ok(files
        .iter()
        .filter_map(|file| relative(root, file))
        .collect())
}

/// The files that are masks by name, in the folders where the images' masks are expected.
fn beside(
    candidates: &[Candidate],
    root: &Path,
    pattern: Pattern<'_>,
) -> Result<Vec<String>, DatasetError> {
    let expected = candidates.iter().filter_map(|c| c.expected_mask.as_deref());
    let folders: BTreeSet<&str> = expected.map(folder_of).collect();
    let mut files = Vec::new();
    for folder in folders.into_iter().map(|folder| root.join(folder)) {
        if folder.is_dir() {
            let masks = entries(&folder)?.into_iter();
            let masks = masks.filter(|path| pattern.matches(&name(path)) && path.is_file());
            files.extend(masks.filter_map(|path| relative(root, &path)));
        }
    }
    Ok(files)
}

/// Assigns each file to the image whose mask is expected under its name, otherwise to the one under
/// that name without its number. Returns the files that belong to no image.
fn deal_out(
    candidates: &mut [Candidate],
    pattern: Pattern<'_>,
    mut files: Vec<String>,
) -> Vec<String> {
    // If a name has two extensions, the PNG is the mask.
    let is_png = |file: &String| file.to_lowercase().ends_with(".png");
    files.sort_by(|a, b| (!is_png(a), a).cmp(&(!is_png(b), b)));
    let mut images = BTreeMap::<String, Vec<usize>>::new();
    for (image, candidate) in candidates.iter().enumerate() {
        if let Some(expected) = &candidate.expected_mask {
            let key = without_extension(expected).to_owned();
            images.entry(key).or_default().push(image);
        }
    }
    let (mut taken, mut unmatched) = (BTreeSet::new(), Vec::new());
    for file in files {
        let key = without_extension(&file);
        let own = images
            .get(key)
            .or_else(|| images.get(pattern.unnumbered(key)?));
        match own {
            Some(own) if taken.insert(key.to_owned()) => {
                for &image in own {
                    candidates[image].masks.push(file.clone());
                }
            }
            _ => unmatched.push(file),
        }
    }
    candidates.iter_mut().for_each(|c| c.masks.sort());
    unmatched.sort();
    unmatched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_give_the_path_of_a_mask() {
        let check = |pattern: &str, image: &str, expected: Option<&str>| {
            let key = Pattern::new(pattern).unwrap().key(image);
            assert_eq!(key.as_deref(), expected, "{pattern} of {image}");
        };
        check("{stem}.png", "a/x.jpg", Some("a/x"));
        check("{stem}_mask.png", "a/b (1).jpg", Some("a/b (1)_mask"));
        check("m_{stem}.png", "b.c.jpg", Some("m_b.c"));
        check("../masks/{stem}.png", "C/images/x.png", Some("C/masks/x"));
        check("../../m/{stem}.png", "images/x.png", None);
        for wrong in [
            "mask.png",
            "{stem}",
            "{stem}.gif",
            "{stem}/mask.png",
            "{stem}/",
        ] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_match_with_and_without_a_number() {
        let pattern = Pattern::new("{stem}_mask.png").unwrap();
        for name in ["b_mask.png", "b_mask_1.png", "b_mask.PNG", "b_mask (2).png"] {
            assert!(pattern.matches(name), "{name}");
        }
        for name in ["b.png", "_mask.png", "b_mask.jpg", "b_masks.png"] {
            assert!(!pattern.matches(name), "{name}");
        }
    }

    #[test]
    fn files_are_assigned_by_name() {
        let check = |pattern: &str, files: &[&str], masks: [&str; 3], left: &[&str]| {
            let pattern = Pattern::new(pattern).unwrap();
            let mut candidates = ["x.jpg", "x_1.jpg", "y.jpg"].map(Candidate::at);
            for candidate in &mut candidates {
                let key = pattern.key(&candidate.path).unwrap();
                candidate.expected_mask = Some(format!("{key}.png"));
            }
            let files = files.iter().map(|file| (*file).to_owned()).collect();
            let unmatched = deal_out(&mut candidates, pattern, files);
            assert_eq!(candidates.map(|c| c.masks.join(" ")), masks);
            assert_eq!(unmatched, left);
        };
        check(
            "{stem}.png",
            &["x.png", "x_1.png", "x_2.png", "y.PNG", "y.jpg", "z.png"],
            ["x.png", "x_1.png", "y.PNG"],
            &["x_2.png", "y.jpg", "z.png"],
        );
        check(
            "{stem}_mask.png",
            &[
                "x_mask.png",
                "x_mask_1.png",
                "x_1_mask.png",
                "y_mask (2).png",
                "y.png",
            ],
            ["x_mask.png x_mask_1.png", "x_1_mask.png", "y_mask (2).png"],
            &["y.png"],
        );
    }
}
