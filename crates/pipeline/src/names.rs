//! File names made from other names: all different, and none longer than file systems allow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Maximum bytes of a name: file systems allow 255, and an extension and the suffix of a temporary name are still
/// added.
const LONGEST: usize = 200;

/// A file name, without extension, for each of the texts.
///
/// `plain` gives the preferred name. Where another text has the same name (ignoring case, which some file systems do
/// not distinguish), or where it is too long, part of the text's hash is appended. So a name depends on the set of
/// texts, but never on their order.
pub(crate) fn file_names(texts: &[&str], plain: impl Fn(&str) -> String) -> Vec<String> {
    let plain: Vec<String> = texts.iter().map(|text| shortened(&plain(text))).collect();
    let mut alike = BTreeMap::<String, Vec<&str>>::new();
    for (text, plain) in texts.iter().zip(&plain) {
        let own = alike.entry(plain.to_lowercase()).or_default();
        if !own.contains(text) {
            own.push(text);
        }
    }
    let name = |(text, plain): (&&str, &String)| {
        let alone = alike
            .get(&plain.to_lowercase())
            .is_some_and(|own| own.len() == 1);
        match alone && plain.len() < LONGEST {
            true => plain.clone(),
            false => format!("{plain}-{}", &crate::hash::hex(text.as_bytes())[..8]),
        }
    };
    texts.iter().zip(&plain).map(name).collect()
}

/// The name of a file about an image: the image's path as a single name.
pub(crate) fn of_path(path: &str) -> String {
    let replaced = |c: char| matches!(c, '/' | '\\') || c.is_control();
    path.replace(replaced, "_")
}

/// Lower-case letters and digits; everything else becomes a hyphen.
pub(crate) fn slug(name: &str) -> String {
    let plain = |c: char| match c.is_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    name.chars().map(plain).collect()
}

/// The path prefix of the files about each image, which are written into `folder`, or next to the image if there is
/// none.
pub fn beside(images: &[PathBuf], folder: Option<&Path>) -> Vec<PathBuf> {
    let target = |image: &PathBuf| match folder {
        Some(folder) => folder.to_path_buf(),
        None => image.parent().unwrap_or(Path::new("")).to_path_buf(),
    };
    let mut by_folder = BTreeMap::<PathBuf, Vec<usize>>::new();
    for (i, image) in images.iter().enumerate() {
        by_folder.entry(target(image)).or_default().push(i);
    }
    let mut names = vec![PathBuf::new(); images.len()];
    for (folder, of_folder) in by_folder {
        let paths: Vec<_> = of_folder
            .iter()
            .map(|i| images[*i].to_string_lossy())
            .collect();
        let texts: Vec<&str> = paths.iter().map(AsRef::as_ref).collect();
        for (i, name) in of_folder.iter().zip(file_names(&texts, stem)) {
            names[*i] = folder.join(name);
        }
    }
    names
}

/// The path with a suffix appended to its name, which may contain dots.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

fn stem(path: &str) -> String {
    let stem = Path::new(path).file_stem().unwrap_or_default();
    of_path(&stem.to_string_lossy())
}

fn shortened(name: &str) -> String {
    let end = (0..=LONGEST.min(name.len()))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    name[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_names_stay_plain() {
        let names = file_names(&["test/A/x.png", "test/B/x.png"], of_path);
        assert_eq!(names, ["test_A_x.png", "test_B_x.png"]);
        assert_eq!(
            file_names(&["NORMAL", "no tumour"], slug),
            ["normal", "no-tumour"]
        );
    }

    #[test]
    fn names_that_would_collide_differ() {
        let check = |texts: &[&str], plain: fn(&str) -> String| {
            let names = file_names(texts, plain);
            let lower: std::collections::BTreeSet<String> =
                names.iter().map(|n| n.to_lowercase()).collect();
            assert_eq!(lower.len(), texts.len(), "{names:?}");
            let reversed: Vec<&str> = texts.iter().rev().copied().collect();
            let again: Vec<String> = file_names(&reversed, plain).into_iter().rev().collect();
            assert_eq!(again, names);
        };
        check(&["COVID+", "COVID-", "other"], slug);
        check(&["q_1/x.png", "q/1/x.png", "q/1_x.png"], of_path);
        check(&["A/x.png", "a/x.png"], of_path);
    }

    #[test]
    fn names_fit_a_file_system() {
        let long = format!("{}/é{}.png", "ü".repeat(120), "l".repeat(300));
        let other = format!("{long}.png");
        let names = file_names(&[&long, &other], of_path);
        assert!(
            names[0] != names[1] && names.iter().all(|name| name.len() <= 209),
            "{names:?}"
        );
    }

    #[test]
    fn files_next_to_images_have_distinct_names() {
        let images =
            ["p1/frontal.png", "p2/frontal.png", "p1/x.png", "p1/x.jpg"].map(PathBuf::from);
        let beside = beside(&images, None);
        assert_eq!(
            beside[..2],
            [PathBuf::from("p1/frontal"), PathBuf::from("p2/frontal")]
        );
        assert!(
            beside[2] != beside[3] && beside[2].starts_with("p1"),
            "{beside:?}"
        );
        let out = super::beside(&images, Some(Path::new("out")));
        let distinct: std::collections::BTreeSet<&PathBuf> = out.iter().collect();
        assert_eq!(distinct.len(), 4, "{out:?}");
        // The same image twice has the same name.
        let twice = [images[0].clone(), images[0].clone()];
        assert_eq!(
            super::beside(&twice, None),
            [PathBuf::from("p1/frontal"), PathBuf::from("p1/frontal")]
        );
    }
}
