//! From a file into a network's values: names are matched and shapes checked as a whole before anything is written.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;

use super::error::{Names, WeightsError};
use super::fit::{Fit, stems};
use super::{file, layout};
use crate::graph::{Graph, ParamId};
use crate::store::ParamStore;

/// What a load may leave undone, and how the file's names become the network's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Parameters that the file lacks keep their values.
    pub allow_missing: bool,
    /// Tensors that the network lacks are passed over.
    pub allow_unused: bool,
    /// Prefixes in the file and what they become; the first that fits is applied, after smp's own
    /// (see [`super::SMP_NAMES`]) have been.
    pub rename: Vec<(String, String)>,
}

/// What a load did, in the network's names where it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters and buffers that now hold the file's values.
    pub applied: Vec<String>,
    /// Those that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks.
    pub unused: Vec<String>,
    /// Tensors passed over by rule: counters of batches, and what lies outside the encoder in [`load_encoder`].
    pub ignored: Vec<String>,
    /// What was changed to fit, a sentence each: a stem for another number of image channels.
    pub adapted: Vec<String>,
}

/// Loads a whole network.
///
/// # Errors
/// Anything wrong with the file; unless allowed, a parameter that it lacks or a tensor that the network lacks; always,
/// a tensor of another shape. `store` is unchanged then.
pub fn load(
    path: &Path,
    graph: &Graph,
    store: &mut ParamStore,
    options: &LoadOptions,
) -> Result<LoadReport, WeightsError> {
    let rename = |name: &str| Some(renamed(name, options));
    let wanted = |_: &str| true;
    let hint = "They are probably weights of another architecture: check model.encoder, model.decoder, model.head and model.classes; to keep first values for what is missing, or to pass over the rest, say so in the load options.";
    Job {
        path,
        graph,
        options,
        rename: &rename,
        wanted: &wanted,
        hint,
    }
    .run(&file::read(path)?, store)
}

/// Loads the encoder alone, from timm's bare file (`conv_stem.weight` …) or from a whole model's. Decoder, head and
/// timm's layers behind the last stage (`conv_head`, `bn2`, `classifier`) are listed as ignored where the network has none
/// of them.
///
/// # Errors
/// As [`load`], for the encoder's parameters.
pub fn load_encoder(
    path: &Path,
    graph: &Graph,
    store: &mut ParamStore,
) -> Result<LoadReport, WeightsError> {
    let options = LoadOptions::default();
    let bytes = file::read(path)?;
    let whole = file::parse(path, &bytes)?
        .names()
        .iter()
        .any(|n| n.starts_with(ENCODER));
    let rename = |name: &str| match whole {
        true => Some(renamed(name, &options)).filter(|n| n.starts_with(ENCODER)),
        false => Some(name)
            .filter(|n| !TIMM_TAIL.iter().any(|t| n.starts_with(t)) || has(graph, n))
            .map(|n| format!("{ENCODER}{n}")),
    };
    let wanted = |name: &str| name.starts_with(ENCODER);
    let hint = "They are probably weights of another encoder: check model.encoder.";
    Job {
        path,
        graph,
        options: &options,
        rename: &rename,
        wanted: &wanted,
        hint,
    }
    .run(&bytes, store)
}

const ENCODER: &str = "encoder.";

/// Whether the network's encoder goes as far as this layer of timm's.
fn has(graph: &Graph, name: &str) -> bool {
    let own = graph.params.iter();
    own.filter_map(|p| p.name.strip_prefix(ENCODER))
        .any(|own| own == name)
}

/// What timm has after the last stage, which smp's encoders drop.
const TIMM_TAIL: [&str; 3] = ["conv_head.", "bn2.", "classifier."];

struct Job<'a> {
    path: &'a Path,
    graph: &'a Graph,
    options: &'a LoadOptions,
    /// The network's name for a tensor of the file; `None` to ignore it.
    rename: &'a dyn Fn(&str) -> Option<String>,
    /// Whether a parameter is one to be loaded.
    wanted: &'a dyn Fn(&str) -> bool,
    hint: &'static str,
}

/// Tensors of the file that fit, and what does not.
#[derive(Default)]
struct Matches<'f> {
    fitting: Vec<(ParamId, TensorView<'f>, Fit)>,
    shapes: Vec<String>,
    report: LoadReport,
}

impl Job<'_> {
    fn run(&self, bytes: &[u8], store: &mut ParamStore) -> Result<LoadReport, WeightsError> {
        let tensors = file::parse(self.path, bytes)?;
        let mut matches = self.matches(tensors.tensors())?;
        self.check(&matches)?;
        let decoded = matches
            .fitting
            .iter()
            .map(|(id, view, fit)| self.decode(*id, view, *fit))
            .collect::<Result<Vec<_>, _>>()?;
        for ((id, _, fit), values) in matches.fitting.iter().zip(decoded) {
            let spec = self.graph.param(*id);
            layout::from_torch(spec, &values, store.get_mut(*id));
            matches.report.adapted.extend(fit.describe(&spec.name));
        }
        Ok(matches.report)
    }

    fn matches<'f>(
        &self,
        tensors: Vec<(String, TensorView<'f>)>,
    ) -> Result<Matches<'f>, WeightsError> {
        let mut found = Matches::default();
        let mut tensors = self.by_parameter(tensors, &mut found.report)?;
        let stems = stems(self.graph);
        for (i, spec) in self
            .graph
            .params
            .iter()
            .enumerate()
            .filter(|(_, p)| (self.wanted)(&p.name))
        {
            let Some(view) = tensors.remove(&spec.name) else {
                found.report.missing.push(spec.name.clone());
                continue;
            };
            let id = ParamId(i as u32);
            match Fit::of(spec, view.shape(), stems.contains(&id)) {
                Some(fit) => {
                    found.report.applied.push(spec.name.clone());
                    found.fitting.push((id, view, fit));
                }
                None => found.shapes.push(format!(
                    "{}: file {:?}, network {:?}",
                    spec.name,
                    view.shape(),
                    spec.torch_shape()
                )),
            }
        }
        found.report.unused = tensors.into_keys().collect();
        Ok(found)
    }

    /// The tensors under the network's names; those to be ignored go to the report.
    fn by_parameter<'f>(
        &self,
        tensors: Vec<(String, TensorView<'f>)>,
        report: &mut LoadReport,
    ) -> Result<BTreeMap<String, TensorView<'f>>, WeightsError> {
        let mut by_name = BTreeMap::new();
        for (name, view) in tensors {
            // PyTorch counts batches for a momentum of `None`, which no architecture here has.
            let renamed = (self.rename)(&name).filter(|n| !n.ends_with("num_batches_tracked"));
            let Some(parameter) = renamed else {
                report.ignored.push(name);
                continue;
            };
            if by_name.insert(parameter.clone(), view).is_some() {
                return Err(WeightsError::Ambiguous {
                    path: self.path.into(),
                    parameter,
                });
            }
        }
        report.ignored.sort();
        Ok(by_name)
    }

    fn check(&self, found: &Matches<'_>) -> Result<(), WeightsError> {
        let unless =
            |allowed: bool, names: &[String]| Names(if allowed { vec![] } else { names.to_vec() });
        let LoadReport {
            applied,
            missing,
            unused,
            ..
        } = &found.report;
        let wanted = applied.len() + missing.len() + found.shapes.len();
        // With nothing applied a load is no load, whatever is allowed.
        let nothing = applied.is_empty();
        let missing = unless(self.options.allow_missing && !nothing, missing);
        let unused = unless(self.options.allow_unused && !nothing, unused);
        let shapes = Names(found.shapes.clone());
        if missing.0.is_empty() && unused.0.is_empty() && shapes.0.is_empty() {
            return Ok(());
        }
        Err(WeightsError::Mismatch {
            path: self.path.into(),
            matched: applied.len(),
            wanted,
            missing,
            unused,
            shapes,
            hint: self.hint,
        })
    }

    fn decode(
        &self,
        id: ParamId,
        view: &TensorView<'_>,
        fit: Fit,
    ) -> Result<Vec<f32>, WeightsError> {
        let spec = self.graph.param(id);
        let values = file::values(self.path, &spec.name, view)?;
        Ok(fit.apply(values, spec))
    }
}

fn renamed(name: &str, options: &LoadOptions) -> String {
    let smp = super::SMP_NAMES.map(|(ours, theirs)| (theirs, ours));
    let name = with_prefix(name, smp.into_iter());
    with_prefix(
        &name,
        options
            .rename
            .iter()
            .map(|(from, to)| (from.as_str(), to.as_str())),
    )
}

/// The name with the first prefix that fits replaced.
pub(super) fn with_prefix<'a>(
    name: &str,
    mut prefixes: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    prefixes
        .find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
        .unwrap_or_else(|| name.into())
}
