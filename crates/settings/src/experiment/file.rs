//! The experiment's file as written, checked as far as it can be without its pipeline.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dataset::FoldBy;
use serde::Deserialize;

use super::grid::{Axis, axes, covers};
use crate::file::{File, Kind};
use crate::keys::Keys;
use crate::request::Request;
use crate::tables::validation::MAX_FOLDS;
use crate::tree::{ConfigError, Node, decode, did_you_mean};

/// Largest number of runs of an experiment.
const MAX_RUNS: usize = 1000;

/// The table `[experiment]` without its grid.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) title: String,
    pipeline: Option<String>,
    pub(super) seeds: Vec<u64>,
    pub(super) folds: Option<usize>,
    pub(super) folds_by: Option<FoldBy>,
    set: Vec<String>,
}

/// An experiment's file.
pub(super) struct ExperimentFile {
    pub(super) path: PathBuf,
    /// The experiment's name.
    pub(super) name: String,
    /// All tables, with the places of their keys.
    pub(super) tree: Node,
    pub(super) raw: Raw,
    pub(super) grid: Vec<Axis>,
}

impl ExperimentFile {
    /// Reads the file and applies the options that change the experiment itself.
    pub(super) fn read(request: &Request) -> Result<Self, ConfigError> {
        let file = File::find(request, Kind::Experiment)?;
        let (mut tree, name) = (file.tree(&request.root)?, file.name());
        let own = request.set.iter().filter(|set| is_own(set));
        own.into_iter().try_for_each(|set| tree.set(set))?;
        let keys = Keys { tree: &tree };
        let Some(mut table) = tree.get("experiment").cloned() else {
            return Err(keys.refuse("experiment", format!("{name} has no table [experiment]")));
        };
        let grid = axes(&keys, table.take("grid").as_ref())?;
        let raw: Raw = decode(&table, "experiment", &["grid"])?;
        check(&keys, &raw, &grid)?;
        if Kind::Pipeline.names(&request.root).contains(&name) {
            let message = "a pipeline has this name, and both would write to the same folder below runs/; rename the \
                           file";
            return Err(keys.refuse("experiment", message));
        }
        Ok(Self {
            path: file.path,
            name,
            tree,
            raw,
            grid,
        })
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        Keys { tree: &self.tree }
    }

    /// The request that each run starts from: the pipeline, and all assignments to its keys.
    pub(super) fn request_of_runs(&self, request: &Request) -> Result<Request, ConfigError> {
        let named = self.raw.pipeline.clone().unwrap_or_default();
        let options = request.set.iter().filter(|set| !is_own(set));
        let request = Request {
            pipeline: match named.ends_with(".toml") {
                true => request.root.join(named).display().to_string(),
                false => named,
            },
            set: self.raw.set.iter().chain(options).cloned().collect(),
            ..request.clone()
        };
        check_set(&self.keys(), &request, &self.raw, &self.grid)?;
        Ok(request)
    }

    /// Name and tables of the pipeline: a file of its own, or the other tables of this file, as in the `resolved.toml` of
    /// an experiment.
    pub(super) fn pipeline(&self, request: &Request) -> Result<(String, Node), ConfigError> {
        let mut rest = self.tree.clone();
        rest.take("experiment");
        let other = rest.entries().and_then(|tables| tables.iter().next());
        match (&self.raw.pipeline, other) {
            (Some(_), None) => {
                let file = File::find(request, Kind::Pipeline)?;
                Ok((file.name(), file.tree(&request.root)?))
            }
            (Some(_), Some((key, node))) => Err(ConfigError::UnknownKey {
                key: key.clone(),
                origin: node.origin.to_string(),
                hint: did_you_mean(key, &["experiment"])
                    + "; settings of the pipeline belong to experiment.set or its own file",
                known: "experiment".into(),
            }),
            (None, Some(_)) => Ok((self.name.clone(), rest)),
            (None, None) => {
                let message = "name the pipeline, for example pipeline = \"pneumonia\"";
                Err(self.keys().refuse("experiment.pipeline", message))
            }
        }
    }
}

/// Whether an assignment changes the experiment rather than its runs.
fn is_own(set: &str) -> bool {
    set.trim_start().starts_with("experiment.")
}

fn check(keys: &Keys<'_>, raw: &Raw, grid: &[Axis]) -> Result<(), ConfigError> {
    let distinct: BTreeSet<u64> = raw.seeds.iter().copied().collect();
    if raw.seeds.is_empty() || distinct.len() < raw.seeds.len() {
        return Err(keys.refuse(
            "experiment.seeds",
            "list one or more different seeds, for example [1, 2, 3]",
        ));
    }
    if let Some(folds) = raw.folds {
        keys.within("experiment.folds", folds, 2, MAX_FOLDS)?;
    } else if raw.folds_by.is_some() {
        let message = "this key says how folds are formed; set experiment.folds, their number, too";
        return Err(keys.refuse("experiment.folds_by", message));
    }
    let sizes = grid.iter().map(|axis| axis.values.len());
    let runs = sizes.fold(raw.seeds.len(), usize::saturating_mul);
    let runs = runs.saturating_mul(raw.folds.unwrap_or(1));
    if runs > MAX_RUNS {
        return Err(keys.refuse(
            "experiment",
            format!("seeds, folds and grid give {runs} runs; at most {MAX_RUNS} are possible"),
        ));
    }
    Ok(())
}

/// Refuses assignments that the experiment would overrule.
fn check_set(
    keys: &Keys<'_>,
    request: &Request,
    raw: &Raw,
    grid: &[Axis],
) -> Result<(), ConfigError> {
    let of_folds = |key: &str| {
        raw.folds.is_some()
            && covers("data.validation", key)
            && key != "data.validation.official_val"
    };
    for set in &request.set {
        let key = set.split('=').next().unwrap_or_default().trim();
        let key = key.strip_prefix("demo.").unwrap_or(key);
        let by = match key {
            "pipeline.seed" => Some("experiment.seeds".to_owned()),
            key if of_folds(key) => Some("experiment.folds".to_owned()),
            key => grid
                .iter()
                .find(|axis| covers(&axis.key, key))
                .map(|axis| format!("experiment.grid.{}", axis.key)),
        };
        if let Some(by) = by {
            return Err(keys.refuse(
                &by,
                format!("this determines {key}, so \"{set}\" has no effect; remove one of the two"),
            ));
        }
    }
    Ok(())
}
