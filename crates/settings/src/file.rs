//! The files of pipelines and experiments: those of the user's folders, and those that are part of the program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::request::Request;
use crate::shipped;
use crate::tree::{ConfigError, Node, Value, did_you_mean};

/// What a file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of `pipelines/`.
    Pipeline,
    /// Of `experiments/`.
    Experiment,
}

impl Kind {
    /// `pipeline` or `experiment`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Pipeline => "pipeline",
            Kind::Experiment => "experiment",
        }
    }

    /// Its folder below the root.
    fn folder(self, root: &Path) -> PathBuf {
        root.join(format!("{}s", self.name()))
    }

    fn shipped(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Kind::Pipeline => shipped::PIPELINES,
            Kind::Experiment => shipped::EXPERIMENTS,
        }
    }

    /// Names of all there are, sorted.
    pub fn names(self, root: &Path) -> Vec<String> {
        let entries = fs::read_dir(self.folder(root)).into_iter().flatten();
        let own = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "toml"))
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
        let shipped = self.shipped().iter().map(|(name, _)| (*name).to_owned());
        let mut names: Vec<String> = own.chain(shipped).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The `title` of one of them, for lists.
    pub fn title(self, root: &Path, name: &str) -> Option<String> {
        let tree = File::named(root, self, name)?.tree(root).ok()?;
        let key = format!("{}.title", self.name());
        match &tree.get(&key)?.value {
            Value::Text(title) => Some(title.clone()),
            _ => None,
        }
    }
}

/// A file of settings.
pub(crate) struct File {
    /// Where it is, or would be if it were not part of the program.
    pub(crate) path: PathBuf,
    /// The content, if it is part of the program.
    shipped: Option<&'static str>,
}

impl File {
    /// The file that a request refers to by name or path.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) fn find(request: &Request, kind: Kind) -> Result<Self, ConfigError> {
        let path = PathBuf::from(&request.pipeline);
        if path.extension().is_some_and(|e| e == "toml") {
            return Ok(File {
                path,
                shipped: None,
            });
        }
        File::named(&request.root, kind, &request.pipeline).ok_or_else(|| {
            let known = kind.names(&request.root);
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            ConfigError::NoPipeline {
                kind: kind.name(),
                name: request.pipeline.clone(),
                folder: kind.folder(&request.root),
                hint: did_you_mean(&request.pipeline, &names),
                known: known.join(", "),
            }
        })
    }

    /// The file of a name: the user's own, if there is one.
    fn named(root: &Path, kind: Kind, name: &str) -> Option<Self> {
        let mut shipped = kind.shipped().iter();
        let shipped = shipped.find(|(known, _)| *known == name);
        let path = kind.folder(root).join(format!("{name}.toml"));
        // A name is not a path to elsewhere.
        let own = kind.names(root).iter().any(|known| known == name) && path.is_file();
        match (own, shipped) {
            (true, _) => Some(File {
                path,
                shipped: None,
            }),
            (false, Some((_, text))) => Some(File {
                path,
                shipped: Some(text),
            }),
            (false, None) => None,
        }
    }

    /// Its settings; their places are relative to the root.
    ///
    /// # Errors
    /// It cannot be read, or is not TOML.
    pub(crate) fn tree(&self, root: &Path) -> Result<Node, ConfigError> {
        const MAX_BYTES: u64 = 1 << 20;
        let read = || {
            let bytes = files::read(&self.path, MAX_BYTES)?;
            String::from_utf8(bytes).map_err(io::Error::other)
        };
        let text = self.shipped.map_or_else(read, |text| Ok(text.to_owned()));
        let text = text.map_err(|source| ConfigError::Read {
            path: self.path.clone(),
            source,
        })?;
        let shown = self.path.strip_prefix(root).unwrap_or(&self.path);
        Node::parse(&shown.display().to_string(), &text)
    }

    /// `pneumonia` for `pipelines/pneumonia.toml`; for a run's `resolved.toml`, the name of the run's pipeline; for that of
    /// a run of an experiment, the names of both.
    pub(crate) fn name(&self) -> String {
        let file = &self.path;
        let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let of_run = || {
            let run = file.parent()?;
            let around = run.parent()?;
            match around.join("resolved.toml").is_file() {
                true => Some(format!("{}-{}", name(around.parent()?)?, name(run)?)),
                false => name(around),
            }
        };
        match stem.as_ref() {
            "resolved" => of_run().unwrap_or_else(|| stem.into_owned()),
            _ => stem.into_owned(),
        }
    }
}
