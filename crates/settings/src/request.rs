//! What a user asked for.

use std::path::PathBuf;

/// What a user asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A name under `pipelines/`, or the path of a `.toml` file (such as a run's `resolved.toml`).
    pub pipeline: String,
    /// The workspace's root: relative paths in a file start here, and `pipelines/` and `runs/` lie here.
    pub root: PathBuf,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--device`.
    pub device: Option<String>,
    /// `--set`, in order.
    pub set: Vec<String>,
    /// `--demo`: run on phantoms even where the data folder is there.
    pub demo: bool,
    /// Nothing will be read: files that are not there are not missed.
    pub dry: bool,
    /// `--out`: the folder of all runs, `runs/` below the root if absent.
    pub out: Option<PathBuf>,
}

impl Request {
    /// Asks for a pipeline as its file has it.
    pub fn new(root: impl Into<PathBuf>, pipeline: impl Into<String>) -> Self {
        Request {
            pipeline: pipeline.into(),
            root: root.into(),
            ..Request::default()
        }
    }

    pub(crate) fn sets(&self, key: &str) -> bool {
        self.set
            .iter()
            .any(|s| s.split_once('=').is_some_and(|(k, _)| k.trim() == key))
    }

    /// The folder of all runs.
    pub fn runs(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| self.root.join("runs"))
    }
}
