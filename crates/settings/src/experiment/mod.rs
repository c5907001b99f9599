//! `[experiment]`: one pipeline over seeds, folds and a grid of settings.
//!
//! The file names the pipeline and what varies; every combination becomes the complete, checked settings of one run. All
//! runs share their data, so nothing that selects or indexes images may vary.

mod file;
mod grid;
mod plan;

use dataset::{FoldBy, OfficialVal, SplitPolicy};

use crate::checked::Settings;
use crate::load::{Change, leaves, load_tree};
use crate::request::Request;
use crate::stage::Artifact;
use crate::tree::{ConfigError, Node};
use file::ExperimentFile;
use plan::Plan;

/// An experiment: what varies, and the settings of every run.
#[derive(Clone)]
pub struct Experiment {
    /// The experiment's name.
    pub name: String,
    /// The report's title.
    pub title: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// Seeds, in the order of the file.
    pub seeds: Vec<u64>,
    /// Number of folds of the cross-validation, if there is one.
    pub folds: Option<usize>,
    /// What the images of a fold have in common.
    pub folds_by: FoldBy,
    /// The varied keys, and their values as TOML.
    pub grid: Vec<(String, Vec<String>)>,
    /// All runs: by setting, then by seed, then by fold.
    pub runs: Vec<ExperimentRun>,
    /// The experiment with its pipeline's settings as one file.
    pub resolved: String,
    /// Dotted key and value of each setting in `resolved`, for comparison.
    pub leaves: Vec<(String, String)>,
}

/// One run of an experiment.
#[derive(Clone)]
pub struct ExperimentRun {
    /// Name of its folder.
    pub name: String,
    /// Number of its combination of grid values, from 0.
    pub setting: usize,
    /// Its seed.
    pub seed: u64,
    /// The fold that is its validation, from 1.
    pub fold: Option<usize>,
    /// Its settings.
    pub settings: Settings,
}

impl Experiment {
    /// Number of combinations of grid values; 1 without a grid.
    pub fn settings(&self) -> usize {
        self.grid.iter().map(|(_, values)| values.len()).product()
    }

    /// Key and value of each grid key in one combination. The last key varies fastest.
    pub fn values(&self, setting: usize) -> Vec<(&str, &str)> {
        let sizes: Vec<usize> = self.grid.iter().map(|(_, values)| values.len()).collect();
        let chosen = self.grid.iter().zip(grid::indices(&sizes, setting));
        chosen
            .map(|((key, values), i)| (key.as_str(), values[i].as_str()))
            .collect()
    }
}

/// Reads an experiment and checks the settings of all its runs.
///
/// [`Request::pipeline`] is the experiment's name under `experiments/`, or the path of a `.toml` file. The options apply
/// to every run; `--set experiment.seeds=[1,2]` changes the experiment itself.
///
/// # Errors
/// The first fault: its key, its place and what to do.
pub fn load_experiment(request: &Request) -> Result<Experiment, ConfigError> {
    let file = ExperimentFile::read(request)?;
    let request = file.request_of_runs(request)?;
    let (pipeline, tables) = file.pipeline(&request)?;
    let load = |changes: &[Change]| load_tree(tables.clone(), &pipeline, &request, changes);
    let base = load(&[])?;
    let plan = Plan {
        file: &file,
        official_val: check_base(&file, &base)?,
    };
    let mut runs = vec![];
    for combination in plan.combinations() {
        runs.push(ExperimentRun {
            name: plan.name(&combination),
            settings: load(&plan.changes(&combination))?,
            setting: combination.setting,
            seed: file.raw.seeds[combination.seed],
            fold: combination.fold,
        });
    }
    let resolved = resolved(&base, &file)?;
    let (title, name) = (&file.raw.title, &file.name);
    Ok(Experiment {
        title: if title.is_empty() { name } else { title }.clone(),
        leaves: leaves(&file.path, &resolved)?,
        name: name.clone(),
        pipeline,
        seeds: file.raw.seeds.clone(),
        folds: file.raw.folds,
        folds_by: file.raw.folds_by.clone().unwrap_or_default(),
        grid: file.grid.iter().map(grid::Axis::as_text).collect(),
        runs,
        resolved,
    })
}

/// Checks what an experiment needs of its pipeline. With folds, returns what happens to the `val` folder's images: the
/// same as under the policy that the folds replace.
fn check_base(file: &ExperimentFile, base: &Settings) -> Result<Option<OfficialVal>, ConfigError> {
    let evaluates = |stage: &crate::stage::StageId| stage.makes(Artifact::Metrics);
    if !base.stages.iter().any(evaluates) {
        let message = "an experiment compares the results of the stage \"evaluate\", which this pipeline does not have";
        return Err(file.keys().refuse("experiment.pipeline", message));
    }
    match &base.data.policy {
        _ if file.raw.folds.is_none() => Ok(None),
        SplitPolicy::ValidationFromTrain { official_val, .. }
        | SplitPolicy::Fold { official_val, .. } => Ok(Some(*official_val)),
        _ => Err(file.keys().refuse(
            "experiment.folds",
            "folds divide the training images of data that have a test split; they need a pipeline with \
             data.validation.policy = \"from_train\"",
        )),
    }
}

/// The pipeline's settings, and the experiment without the keys that they already contain.
fn resolved(base: &Settings, file: &ExperimentFile) -> Result<String, ConfigError> {
    let mut all = Node::parse("the settings", &base.resolved)?;
    let mut experiment = file
        .tree
        .get("experiment")
        .cloned()
        .unwrap_or_else(Node::table);
    // Both are part of the other tables now.
    experiment.take("set");
    experiment.take("pipeline");
    all.put("experiment", experiment);
    Ok(all.to_document())
}
