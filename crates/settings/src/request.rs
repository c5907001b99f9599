//! A user's request: the pipeline and the options.

use std::path::PathBuf;

/// A user's request: the pipeline and the options.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A name under `pipelines/` (of an experiment: under `experiments/`), or the path of a `.toml` file (such as a run's
    /// `resolved.toml`).
    pub pipeline: String,
    /// The workspace's root, which contains `pipelines/` and `runs/`; relative paths in a file start here.
    pub root: PathBuf,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--device`.
    pub device: Option<String>,
    /// `--set`, in order.
    pub set: Vec<String>,
    /// `--demo`: run on phantoms even if the data folder exists.
    pub demo: bool,
    /// Nothing will be read, so files that do not exist are not an error.
    pub dry: bool,
    /// `--out`: the folder of all runs, `runs/` below the root if absent.
    pub out: Option<PathBuf>,
}

impl Request {
    /// Requests a pipeline without options.
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
