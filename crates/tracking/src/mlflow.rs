//! A finished run in MLflow's file store: `ROOT/EXPERIMENT/RUN/{meta.yaml,params,metrics,tags,artifacts}`.
//!
//! A run that is exported again replaces itself: its identifier is a hash of its name and its start.

use std::io;
use std::path::{Path, PathBuf};

use files::sha256;

/// What MLflow keeps of a run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The name of the experiment that it belongs to.
    pub experiment: String,
    /// Its own name.
    pub name: String,
    /// Milliseconds since 1970.
    pub started: u64,
    /// Milliseconds since 1970.
    pub ended: u64,
    /// Settings, by name.
    pub params: Vec<(String, String)>,
    /// Name, value and step.
    pub metrics: Vec<(String, f64, u64)>,
    /// Tags, by name.
    pub tags: Vec<(String, String)>,
    /// Files to copy, and their names there.
    pub artifacts: Vec<(PathBuf, String)>,
}

/// Longest value of a parameter that MLflow accepts.
const LONGEST: usize = 6000;

/// Writes a run below `root` (MLflow's `mlruns`); returns its folder.
///
/// # Errors
/// A file cannot be read or written.
pub fn export(root: &Path, run: &Run) -> io::Result<PathBuf> {
    // `file:` URIs need absolute paths.
    files::create_folder(root)?;
    let root = root.canonicalize()?;
    let experiment = decimal(&hash(&[&run.experiment]));
    let folder = root.join(&experiment);
    files::create_folder(&folder)?;
    write(
        &folder,
        "meta.yaml",
        &experiment_yaml(&folder, &experiment, run),
    )?;
    let id: String = hash(&[&run.experiment, &run.name, &run.started.to_string()])
        .chars()
        .take(32)
        .collect();
    let own = folder.join(&id);
    for inside in ["params", "metrics", "tags", "artifacts"] {
        files::create_folder(&own.join(inside))?;
    }
    for (name, value) in &run.params {
        let value: String = value.chars().take(LONGEST).collect();
        write(&own.join("params"), &safe(name), &value)?;
    }
    for (name, value) in run
        .tags
        .iter()
        .chain([&("mlflow.runName".into(), run.name.clone())])
    {
        write(&own.join("tags"), &safe(name), value)?;
    }
    metrics(&own.join("metrics"), run)?;
    for (file, name) in &run.artifacts {
        let to = own.join("artifacts").join(name);
        to.parent().map_or(Ok(()), files::create_folder)?;
        files::write(&to, &std::fs::read(file)?)?;
    }
    // Last, because MLflow sees a run by it.
    write(&own, "meta.yaml", &run_yaml(&own, &experiment, &id, run))?;
    Ok(own)
}

fn metrics(folder: &Path, run: &Run) -> io::Result<()> {
    // A file without values is an error to MLflow.
    let finite = run.metrics.iter().filter(|(_, value, _)| value.is_finite());
    let mut names: Vec<&str> = finite.map(|(name, ..)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let own = run
            .metrics
            .iter()
            .filter(|(of, value, _)| of == name && value.is_finite());
        let lines: String = own
            .map(|(_, value, step)| format!("{} {value:?} {step}\n", run.ended))
            .collect();
        write(folder, &safe(name), &lines)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let path = folder.join(name);
    path.parent().map_or(Ok(()), files::create_folder)?;
    files::write(&path, text.as_bytes())
}

fn experiment_yaml(folder: &Path, id: &str, run: &Run) -> String {
    let lines = [
        ("artifact_location", text(&uri(folder))),
        ("creation_time", run.started.to_string()),
        ("experiment_id", text(id)),
        ("last_update_time", run.ended.to_string()),
        ("lifecycle_stage", "active".into()),
        ("name", text(&run.experiment)),
    ];
    yaml(&lines)
}

fn run_yaml(folder: &Path, experiment: &str, id: &str, run: &Run) -> String {
    let lines = [
        ("artifact_uri", text(&uri(&folder.join("artifacts")))),
        ("end_time", run.ended.to_string()),
        ("entry_point_name", text("")),
        ("experiment_id", text(experiment)),
        ("lifecycle_stage", "active".into()),
        ("run_id", text(id)),
        ("run_name", text(&run.name)),
        ("run_uuid", text(id)),
        ("source_name", text("")),
        ("source_type", "4".into()),
        ("source_version", text("")),
        ("start_time", run.started.to_string()),
        // Finished.
        ("status", "3".into()),
        ("tags", "[]".into()),
        ("user_id", text("")),
    ];
    yaml(&lines)
}

fn yaml(lines: &[(&str, String)]) -> String {
    lines
        .iter()
        .map(|(key, value)| format!("{key}: {value}\n"))
        .collect()
}

/// A string: JSON's form is also YAML's.
fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// A hash in hexadecimal.
fn hash(of: &[&str]) -> String {
    sha256::hex(of.join("\n").as_bytes())
}

/// An experiment's identifier: decimal, as MLflow's own.
fn decimal(hash: &str) -> String {
    let digits = hash.chars().filter_map(|c| c.to_digit(16));
    let number = digits
        .take(15)
        .fold(0, |number, digit| number * 16 + u64::from(digit));
    format!("{:018}", number % 1_000_000_000_000_000_000)
}

/// A name that MLflow accepts: letters, digits, `_ - . /` and spaces; no part of it leads elsewhere.
fn safe(name: &str) -> String {
    let accepted = |c: char| {
        if c.is_alphanumeric() || "_-./ ".contains(c) {
            c
        } else {
            '_'
        }
    };
    let parts = name
        .split('/')
        .filter(|part| !["", ".", ".."].contains(part));
    let parts: Vec<String> = parts
        .map(|part| part.chars().map(accepted).collect())
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            experiment: "pneumonia".into(),
            name: "2026: \"first\"".into(),
            started: 1_000,
            ended: 2_000,
            params: vec![("train.epochs".into(), "8".into())],
            metrics: vec![
                ("loss".into(), 0.5, 1),
                ("loss".into(), 0.25, 2),
                ("auc".into(), f64::NAN, 1),
            ],
            tags: vec![("version".into(), "1".into())],
            artifacts: vec![],
        }
    }

    #[test]
    fn a_run_has_the_files_that_mlflow_reads() {
        let root = tempfile::tempdir().unwrap();
        let own = export(root.path(), &run()).unwrap();
        let read = |name: &str| std::fs::read_to_string(own.join(name)).unwrap();
        assert_eq!(read("params/train.epochs"), "8");
        assert_eq!(read("metrics/loss"), "2000 0.5 1\n2000 0.25 2\n");
        assert!(!own.join("metrics/auc").exists());
        assert_eq!(read("tags/mlflow.runName"), "2026: \"first\"");
        assert!(read("meta.yaml").contains("run_name: \"2026: \\\"first\\\"\"\n"));
        assert!(own.parent().unwrap().join("meta.yaml").is_file());
    }

    #[test]
    fn a_run_that_is_exported_again_replaces_itself() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(
            export(root.path(), &run()).unwrap(),
            export(root.path(), &run()).unwrap()
        );
        let other = Run {
            started: 1_001,
            ..run()
        };
        assert_ne!(
            export(root.path(), &run()).unwrap(),
            export(root.path(), &other).unwrap()
        );
    }

    #[test]
    fn names_lead_nowhere() {
        assert_eq!(safe("../../etc/pass:wd"), "etc/pass_wd");
        assert_eq!(safe("precision of «ILL»"), "precision of _ILL_");
    }
}
