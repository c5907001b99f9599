//! The pipelines and experiments that are part of the program, so that it works outside its checkout.

/// The text of a file in the workspace.
macro_rules! shipped {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../", $folder, "/", $name, ".toml")))),*]
    };
}

/// By name, sorted.
pub(crate) const PIPELINES: &[(&str, &str)] = shipped!(
    "pipelines":
    "brain-tumor",
    "glioma",
    "lung-segmentation",
    "membrane",
    "pneumonia",
    "pneumonia-both",
    "pneumonia-robust",
    "u-efficientnet",
);

/// By name, sorted.
pub(crate) const EXPERIMENTS: &[(&str, &str)] = shipped!(
    "experiments":
    "brain-tumor-recipes",
    "pneumonia-robust-seeds",
    "pneumonia-seeds",
);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_workspace_is_part_of_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (folder, shipped) in [("pipelines", PIPELINES), ("experiments", EXPERIMENTS)] {
            let entries = std::fs::read_dir(root.join(folder)).unwrap();
            let files = entries.map(|entry| entry.unwrap().path());
            let files = files.filter(|path| path.extension().is_some_and(|e| e == "toml"));
            let stem =
                |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut names: Vec<String> = files.map(stem).collect();
            names.sort();
            let shipped: Vec<&str> = shipped.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, shipped);
        }
    }
}
