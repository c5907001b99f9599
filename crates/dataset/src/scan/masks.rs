//! Which mask files belong to which image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::found::{Candidate, Scan};
use crate::error::DatasetError;
use crate::left_out::{Reason, Tally, listed};
use crate::mask::{MaskConfig, MaskPlace};
use crate::walk::names::{FORMATS_OF_MASKS, is_image, without_number};
use crate::walk::{Walk, entries, name, relative, without_extension};
use crate::words::counted_with;

/// Checks a pattern for mask paths; the error is the reason as text.
///
/// # Errors
/// The last part is not a file name that holds `{stem}`, with the extension of an image or none, or an earlier part
/// holds it.
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
    /// `None`: that of any image.
    extension: Option<&'p str>,
}

impl<'p> Pattern<'p> {
    /// The error is the reason as text.
    pub(crate) fn new(text: &'p str) -> Result<Self, String> {
        let wrong = "must end in a file name that holds {stem}, such as {stem}_mask.png";
        let at = text.rfind('/').map_or(0, |slash| slash + 1);
        let (folder, file) = text.split_at(at);
        let (name, extension) = match file.rsplit_once('.') {
            Some((name, extension)) if !extension.contains("{stem}") => (name, Some(extension)),
            _ => (file, None),
        };
        if let Some(extension) = extension.filter(|_| !is_image(file)) {
            return Err(format!(
                "ends in .{extension}, which is not read: masks are {FORMATS_OF_MASKS}; convert them, or leave the \
                 extension out if they have any of these"
            ));
        }
        // Without folder and ending, the mask would be the image itself.
        let itself = folder.is_empty() && name == "{stem}" && extension.is_none();
        match name.contains("{stem}") && !folder.contains("{stem}") && !itself {
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
        let Some((stem, extension)) = file.rsplit_once('.').filter(|_| is_image(file)) else {
            return false;
        };
        let matches = |stem: &str| {
            let (before, after) = self.name.split_once("{stem}").unwrap_or_default();
            let inner = stem.strip_prefix(before);
            let inner = inner.and_then(|stem| stem.strip_suffix(after));
            inner.is_some_and(|stem| !stem.is_empty())
        };
        let as_named = |named: &str| extension.eq_ignore_ascii_case(named);
        self.extension.is_none_or(as_named)
            && (matches(stem) || self.unnumbered(stem).is_some_and(matches))
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Scan {
    /// Removes the masks of all places from the candidates, unless a table lists these, and assigns each image its own.
    ///
    /// In a tree the masks are all files, otherwise those where the pattern expects them. An additional mask of an image
    /// has a number after its name: `x_mask_1.png`.
    ///
    /// # Errors
    /// [`DatasetError::Io`] if a folder cannot be listed, [`DatasetError::Setting`] for an invalid pattern.
    pub(super) fn find_masks(
        &mut self,
        masks: &MaskConfig,
        images: &Path,
        listed: bool,
    ) -> Result<(), DatasetError> {
        let common = masks.root(images);
        let mut places = Vec::new();
        for place in &masks.places {
            let (pattern, tree) = match place {
                MaskPlace::Tree { pattern, .. } => (pattern, true),
                MaskPlace::Adjacent(pattern) => (pattern, false),
                MaskPlace::Column => continue,
            };
            let refused = |reason: String| DatasetError::setting("masks", pattern, &reason);
            let checked = Pattern::new(pattern).map_err(refused)?;
            if !tree && !listed {
                take_out(&mut self.candidates, checked);
            }
            places.push((place.root(images), checked, tree));
        }
        if places.is_empty() {
            return Ok(());
        }
        let (mut found, mut unmatched) = (vec![0; self.candidates.len()], BTreeSet::new());
        for &(root, pattern, tree) in &places {
            let mut place = Place::new(&self.candidates, pattern);
            let files = match tree {
                true => all_below(root, &mut self.remarks)?,
                false => beside(&place, root)?,
            };
            let below = relative(&common, root).filter(|below| !below.is_empty());
            let path = |file: String| {
                below
                    .iter()
                    .map(|b| format!("{b}/{file}"))
                    .next()
                    .unwrap_or(file)
            };
            unmatched.extend(place.deal_out(files).into_iter().map(path));
            for (i, candidate) in self.candidates.iter_mut().enumerate() {
                found[i] += usize::from(!place.masks[i].is_empty());
                candidate.masks.extend(place.masks[i].drain(..).map(path));
                let expected = place.expected[i].clone().map(path);
                candidate.expected_mask = candidate.expected_mask.take().or(expected);
            }
        }
        for candidate in &mut self.candidates {
            candidate.masks.sort();
            // Two patterns may find the same file.
            candidate.masks.dedup();
            candidate
                .masks
                .iter()
                .for_each(|mask| _ = unmatched.remove(mask));
        }
        self.unmatched_masks = unmatched.into_iter().collect();
        self.remarks
            .extend(incomplete(&self.candidates, &found, places.len()));
        Ok(())
    }
}

/// Images whose mask is in some of the places only: that of one lung.
fn incomplete(candidates: &[Candidate], found: &[usize], places: usize) -> Option<String> {
    let partly = |&n: &&usize| (1..places).contains(n);
    let images = found.iter().filter(partly).count();
    let first = found.iter().position(|n| partly(&n))?;
    Some(format!(
        "{} a mask in only some of the {places} places that data.masks names (such as {}): the rest of these masks is \
         background.",
        counted_with(images, "image", "has", "have"),
        candidates[first].path
    ))
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

/// The files in a tree of masks; a remark names those that are not read.
fn all_below(root: &Path, remarks: &mut Vec<String>) -> Result<Vec<String>, DatasetError> {
    let mut walk = Walk::of_masks(root);
    let files = walk.images(root)?;
    remarks.extend(unread(root, std::mem::take(&mut walk.tally)));
    Ok(files
        .iter()
        .filter_map(|file| relative(root, file))
        .collect())
}

fn unread(root: &Path, tally: Tally) -> Option<String> {
    let groups = tally.finish().into_iter();
    let groups: Vec<_> = groups
        .filter(|group| group.reason == Reason::Format)
        .collect();
    let files: usize = groups.iter().map(|group| group.files).sum();
    (files > 0).then(|| {
        format!(
            "{files} of the files in the masks' folder {} {} not read, because only {FORMATS_OF_MASKS} are: {}. If they \
             are masks, convert them to PNG.",
            root.display(),
            if files == 1 { "is" } else { "are" },
            listed(&groups)
        )
    })
}

/// The files that are masks by name, in the folders where the images' masks are expected.
fn beside(place: &Place<'_>, root: &Path) -> Result<Vec<String>, DatasetError> {
    let keys = place.keys.iter().flatten();
    let folders: BTreeSet<&str> = keys.map(|key| folder_of(key)).collect();
    let mut files = Vec::new();
    for folder in folders.into_iter().map(|folder| root.join(folder)) {
        if folder.is_dir() {
            let masks = entries(&folder)?.into_iter();
            let masks = masks.filter(|path| place.pattern.matches(&name(path)) && path.is_file());
            files.extend(masks.filter_map(|path| relative(root, &path)));
        }
    }
    Ok(files)
}

/// One of the places where masks are, with its masks of each image; paths are relative to the place's root.
struct Place<'p> {
    pattern: Pattern<'p>,
    /// Where each image's mask is expected, without its extension.
    keys: Vec<Option<String>>,
    /// The same with the extension of the pattern.
    expected: Vec<Option<String>>,
    masks: Vec<Vec<String>>,
}

impl<'p> Place<'p> {
    fn new(candidates: &[Candidate], pattern: Pattern<'p>) -> Self {
        let key = |candidate: &Candidate| pattern.key(&candidate.path);
        let keys: Vec<Option<String>> = candidates.iter().map(key).collect();
        let extension = pattern.extension.unwrap_or("png");
        let file = |key: &Option<String>| key.as_ref().map(|key| format!("{key}.{extension}"));
        Place {
            expected: keys.iter().map(file).collect(),
            masks: vec![vec![]; candidates.len()],
            keys,
            pattern,
        }
    }

    /// Assigns each file to the image whose mask is expected under its name, otherwise to the one under that name
    /// without its number. Returns the files that belong to no image.
    fn deal_out(&mut self, mut files: Vec<String>) -> Vec<String> {
        // If a name has two extensions, the PNG is the mask.
        let is_png = |file: &String| file.to_lowercase().ends_with(".png");
        files.sort_by(|a, b| (!is_png(a), a).cmp(&(!is_png(b), b)));
        let mut images = BTreeMap::<&str, Vec<usize>>::new();
        for (image, key) in self.keys.iter().enumerate() {
            if let Some(key) = key {
                images.entry(key).or_default().push(image);
            }
        }
        let (mut taken, mut unmatched) = (BTreeSet::new(), Vec::new());
        for file in files {
            let key = without_extension(&file);
            let own = images
                .get(key)
                .or_else(|| images.get(self.pattern.unnumbered(key)?));
            match own {
                Some(own) if taken.insert(key.to_owned()) => {
                    for &image in own {
                        self.masks[image].push(file.clone());
                    }
                }
                _ => unmatched.push(file),
            }
        }
        self.masks.iter_mut().for_each(|masks| masks.sort());
        unmatched.sort();
        unmatched
    }
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
        check(
            "../masks/{stem}_mask",
            "C/images/x.png",
            Some("C/masks/x_mask"),
        );
        check(
            "../masks/{stem}",
            "C/images/1.2.840",
            Some("C/masks/1.2.840"),
        );
        for wrong in ["mask.png", "{stem}", "{stem}/mask.png", "{stem}/"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
        let text = Pattern::new("{stem}_mask.gif").unwrap_err();
        assert!(text.contains(".gif, which is not read"), "{text}");
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
        let any = Pattern::new("{stem}_mask").unwrap();
        for name in ["b_mask.png", "b_mask_1.bmp", "b_mask.TIF", "b_mask.jpg"] {
            assert!(any.matches(name), "{name}");
        }
        assert!(!any.matches("b_mask.gif") && !any.matches("b_mask"));
    }

    #[test]
    fn files_are_assigned_by_name() {
        let check = |pattern: &str, files: &[&str], masks: [&str; 3], left: &[&str]| {
            let pattern = Pattern::new(pattern).unwrap();
            let candidates = ["x.jpg", "x_1.jpg", "y.jpg"].map(Candidate::at);
            let mut place = Place::new(&candidates, pattern);
            let files = files.iter().map(|file| (*file).to_owned()).collect();
            let unmatched = place.deal_out(files);
            let found: Vec<String> = place.masks.iter().map(|m| m.join(" ")).collect();
            assert_eq!(found, masks);
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
