//! Folders that look like patients, for images whose patient is unknown.

use std::collections::BTreeMap;

use serde::Serialize;

/// Folders of a few images each; CheXpert and MURA have one per patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatientFolders {
    /// Number of folders.
    pub folders: usize,
    /// Images in them whose patient is not known.
    pub images: usize,
    /// One of them, relative to the data folder.
    pub example: String,
    /// A patient rule's pattern that makes each a patient.
    pub pattern: String,
}

/// Most images of one patient: folders that hold more on average are sites or batches.
const MAX_IMAGES: usize = 200;

impl PatientFolders {
    /// Searches images, each given by its path and the number of folders in it that give split and
    /// class.
    pub(crate) fn suspected(images: &[(String, usize)]) -> Option<Self> {
        let deepest = images
            .iter()
            .map(|(path, depth)| folders(path, *depth))
            .max()?;
        (1..=deepest).find_map(|level| Self::at(images, level))
    }

    /// The outermost such folders, `level` below those of splits and classes.
    fn at(images: &[(String, usize)], level: usize) -> Option<Self> {
        let mut sizes = BTreeMap::<&str, usize>::new();
        let deep = images
            .iter()
            .filter(|(path, depth)| folders(path, *depth) >= level);
        for (path, depth) in deep.clone() {
            *sizes.entry(prefix(path, depth + level)).or_default() += 1;
        }
        let images: usize = sizes.values().sum();
        let plausible = sizes.len() >= 3 && images > sizes.len();
        let (example, _) = sizes.first_key_value()?;
        let (_, depth) = deep.clone().next()?;
        (plausible && images <= MAX_IMAGES * sizes.len()).then(|| PatientFolders {
            folders: sizes.len(),
            images,
            example: (*example).to_owned(),
            pattern: format!("^{}(?<patient>[^/]+)/", "[^/]+/".repeat(depth + level - 1)),
        })
    }
}

/// Number of a path's folders below those of split and class.
fn folders(path: &str, depth: usize) -> usize {
    path.matches('/').count().saturating_sub(depth)
}

/// The first `n` folders.
fn prefix(path: &str, n: usize) -> &str {
    let end = path.match_indices('/').nth(n.saturating_sub(1));
    end.map_or(path, |(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PatientRule;
    use crate::patient::PatientRules;

    fn suspected(depth: usize, paths: impl Iterator<Item = String>) -> Option<PatientFolders> {
        let images: Vec<(String, usize)> = paths.map(|path| (path, depth)).collect();
        PatientFolders::suspected(&images)
    }

    #[test]
    fn one_folder_per_patient_is_detected_and_its_pattern_works() {
        let chexpert = (0..48).map(|i| {
            let (patient, view) = (i / 3, i % 3 + 1);
            format!("negative/patient{patient:05}/study1/view{view}_frontal.jpg")
        });
        let found = suspected(1, chexpert).unwrap();
        assert_eq!((found.folders, found.images), (16, 48));
        assert_eq!(found.example, "negative/patient00000");
        let rule = PatientRule {
            pattern: found.pattern,
            template: String::new(),
            prefix: String::new(),
        };
        let rules = PatientRules::compile(&[rule]).unwrap();
        let key = rules.key("negative/patient00007/study1/view1_frontal.jpg", 1);
        assert_eq!(key.as_deref(), Some("patient00007"));
    }

    #[test]
    fn other_folders_are_not_patients() {
        let none = |depth: usize, paths: Vec<String>| {
            assert_eq!(suspected(depth, paths.into_iter()), None);
        };
        // Flat class folders.
        none(1, (0..30).map(|i| format!("A/{i}.png")).collect());
        // One folder for all.
        none(1, (0..30).map(|i| format!("A/images/{i}.png")).collect());
        // One folder per image.
        none(1, (0..30).map(|i| format!("A/{i}/x.png")).collect());
        // Batches of thousands, as in the NIH's data set.
        none(
            0,
            (0..9000)
                .map(|i| format!("images_{}/{i}.png", i % 12))
                .collect(),
        );
        none(0, vec![]);
    }
}
