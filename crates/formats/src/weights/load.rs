//! Loading a file into a network: all names are matched and all shapes checked before anything is written.
//!
//! The names may be those of any [`Family`]. Weights whose family or metadata state that they were trained with another
//! padding or epsilon than the network has are rejected, because they would load without an error and give worse
//! results.

use std::collections::BTreeMap;
use std::path::Path;

use super::about::About;
use super::error::{Names, WeightsError};
use super::file::TensorFile;
use super::fit::{Fit, stems};
use super::names::{Computes, Conventions, ENCODER, Family, Naming, Target};
use super::tensors::TensorEntry;
use model::graph::{Graph, ParamId};
use model::store::ParamStore;

/// What a load may leave out, and how the file's names become the network's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Parameters that the file lacks keep their values.
    pub allow_missing: bool,
    /// Tensors that the network lacks are ignored.
    pub allow_unused: bool,
    /// Prefixes in the file and their replacements; the first that matches is applied, before names are compared with
    /// those of the families.
    pub rename: Vec<(String, String)>,
}

/// Result of a load, in the network's names where it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters and buffers that now hold the file's values.
    pub applied: Vec<String>,
    /// Those that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks.
    pub unused: Vec<String>,
    /// Tensors ignored by rule: batch counters, layers after the encoder's last stage, a checkpoint's training state,
    /// and everything outside the encoder in [`load_encoder`].
    pub ignored: Vec<String>,
    /// What was adapted, one sentence each: a stem for another number of image channels.
    pub adapted: Vec<String>,
    /// Whose names the file has, if they are known.
    pub family: Option<Family>,
}

/// Loads a whole network.
///
/// # Errors
/// Anything wrong with the file; weights trained with another padding or epsilon; unless allowed, a parameter that it
/// lacks or a tensor that the network lacks; always, a tensor of another shape. `store` is then unchanged.
pub fn load(
    path: &Path,
    graph: &Graph,
    store: &mut ParamStore,
    options: &LoadOptions,
) -> Result<LoadReport, WeightsError> {
    load_file(&TensorFile::read(path)?, graph, store, options)
}

/// [`load`] from a file already read.
///
/// # Errors
/// As [`load`].
pub fn load_file(
    file: &TensorFile,
    graph: &Graph,
    store: &mut ParamStore,
    options: &LoadOptions,
) -> Result<LoadReport, WeightsError> {
    let renamed = |name: &str| renamed(name, &options.rename);
    let naming = naming(file, graph, renamed);
    let rename = |name: &str| {
        let name = renamed(name);
        match naming.as_ref().map(|n| n.target(&name)) {
            Some(Target::Parameter(ours)) => Some(ours.to_owned()),
            Some(Target::Tail) => None,
            Some(Target::Elsewhere) | None => Some(smp_renamed(&name)),
        }
    };
    let job = Job {
        file,
        graph,
        options,
        naming: naming.as_ref(),
        rename: &rename,
        wanted: &|_| true,
        hint: "They are probably weights of another architecture: check model.encoder, model.decoder, model.head and model.classes; if the network is complete and only foreign tensors remain, `cargo xtask weights convert --allow-unused` leaves them out.",
    };
    job.run(store)
}

/// Loads only the encoder, from an encoder's file (timm's `conv_stem.weight` …) or a whole model's. Decoder, head and
/// the layers after the last stage (timm's `conv_head`, `bn2`, `classifier`) that the network lacks are listed as
/// ignored.
///
/// # Errors
/// As [`load`], for the encoder's parameters.
pub fn load_encoder(
    path: &Path,
    graph: &Graph,
    store: &mut ParamStore,
) -> Result<LoadReport, WeightsError> {
    load_encoder_file(&TensorFile::read(path)?, graph, store)
}

/// [`load_encoder`] from a file already read.
///
/// # Errors
/// As [`load_encoder`].
pub fn load_encoder_file(
    file: &TensorFile,
    graph: &Graph,
    store: &mut ParamStore,
) -> Result<LoadReport, WeightsError> {
    with_encoder(file, graph, |job| job.run(store))
}

/// Whether [`load_encoder_file`] would succeed.
pub(super) fn encoder_fits(file: &TensorFile, graph: &Graph) -> Result<(), WeightsError> {
    with_encoder(file, graph, |job| job.fitting().map(drop))
}

fn with_encoder<T>(
    file: &TensorFile,
    graph: &Graph,
    run: impl FnOnce(Job<'_>) -> Result<T, WeightsError>,
) -> Result<T, WeightsError> {
    let naming = naming(file, graph, str::to_owned);
    let rename = |name: &str| match &naming {
        Some(naming) => match naming.target(name) {
            Target::Parameter(ours) => Some(ours.to_owned()),
            Target::Tail => None,
            Target::Elsewhere => naming.in_encoder(name).map(|n| format!("{ENCODER}{n}")),
        },
        None => Some(smp_renamed(name)).filter(|n| n.starts_with(ENCODER)),
    };
    run(Job {
        file,
        graph,
        options: &LoadOptions::default(),
        naming: naming.as_ref(),
        rename: &rename,
        wanted: &|name| name.starts_with(ENCODER),
        hint: "They are probably weights of another encoder: check model.encoder.",
    })
}

fn naming(file: &TensorFile, graph: &Graph, renamed: impl Fn(&str) -> String) -> Option<Naming> {
    let has = |wanted: &str| file.entries().iter().any(|t| renamed(&t.name) == wanted);
    Family::of_names(has).map(|family| Naming::new(family, graph))
}

struct Job<'a> {
    file: &'a TensorFile,
    graph: &'a Graph,
    options: &'a LoadOptions,
    naming: Option<&'a Naming>,
    /// The network's name for a tensor of the file; `None` to ignore it.
    rename: &'a dyn Fn(&str) -> Option<String>,
    /// Whether a parameter is one to be loaded.
    wanted: &'a dyn Fn(&str) -> bool,
    hint: &'static str,
}

/// Tensors of the file that fit, and what does not.
#[derive(Default)]
struct Matches<'f> {
    fitting: Vec<(ParamId, &'f TensorEntry, Fit)>,
    shapes: Vec<String>,
    report: LoadReport,
}

impl Job<'_> {
    fn run(&self, store: &mut ParamStore) -> Result<LoadReport, WeightsError> {
        let mut matches = self.fitting()?;
        let decoded = matches
            .fitting
            .iter()
            .map(|(id, entry, fit)| self.decode(*id, entry, *fit))
            .collect::<Result<Vec<_>, _>>()?;
        for ((id, _, fit), values) in matches.fitting.iter().zip(decoded) {
            let spec = self.graph.param(*id);
            spec.store_torch(&values, store.get_mut(*id));
            matches.report.adapted.extend(fit.describe(&spec.name));
        }
        Ok(matches.report)
    }

    /// All matches, if the file can be loaded. Shapes are checked first: how weights of another architecture were
    /// trained does not matter.
    fn fitting(&self) -> Result<Matches<'_>, WeightsError> {
        let matches = self.matches()?;
        self.check(&matches)?;
        self.check_conventions()?;
        Ok(matches)
    }

    /// Compares the conventions stated by the file's names or metadata with the network's.
    fn check_conventions(&self) -> Result<(), WeightsError> {
        let said = About::of(self.file).conventions;
        let computes = self.naming.map(|n| (n.family(), n.computes()));
        let trained = match computes {
            Some((_, Computes::As(by_name))) => Some(by_name),
            Some((family, Computes::FixedPadding)) if said.is_none() => {
                let path = self.file.path().into();
                return Err(WeightsError::FixedPadding { path, family });
            }
            _ => said,
        };
        match (trained, Conventions::of_graph(self.graph)) {
            (Some(trained), Some(network)) if trained != network => {
                Err(WeightsError::Conventions {
                    path: self.file.path().into(),
                    trained,
                    network,
                    hint: trained.hint(),
                })
            }
            _ => Ok(()),
        }
    }

    fn matches(&self) -> Result<Matches<'_>, WeightsError> {
        let mut found = Matches::default();
        found.report.family = self.naming.map(Naming::family);
        let mut tensors = self.by_parameter(&mut found.report)?;
        let stems = stems(self.graph);
        for (id, spec) in self
            .graph
            .parameters()
            .filter(|(_, p)| (self.wanted)(&p.name))
        {
            let Some(entry) = tensors.remove(&spec.name) else {
                found.report.missing.push(spec.name.clone());
                continue;
            };
            match Fit::of(spec, &entry.shape, stems.contains(&id)) {
                Some(fit) => {
                    found.report.applied.push(spec.name.clone());
                    found.fitting.push((id, entry, fit));
                }
                None => found.shapes.push(format!(
                    "{}: file {:?}, network {:?}",
                    spec.name,
                    entry.shape,
                    spec.torch_shape()
                )),
            }
        }
        found.report.unused = tensors.into_keys().collect();
        Ok(found)
    }

    /// The tensors by the network's names; ignored ones are added to the report.
    fn by_parameter(
        &self,
        report: &mut LoadReport,
    ) -> Result<BTreeMap<String, &TensorEntry>, WeightsError> {
        let mut by_name = BTreeMap::new();
        for entry in self.file.entries() {
            let renamed = (self.rename)(&entry.name).filter(|n| !is_bookkeeping(n));
            let Some(parameter) = renamed else {
                report.ignored.push(entry.name.clone());
                continue;
            };
            if by_name.insert(parameter.clone(), entry).is_some() {
                return Err(WeightsError::Ambiguous {
                    path: self.file.path().into(),
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
        // A load that applies nothing is an error, whatever is allowed.
        let nothing = applied.is_empty();
        let missing = unless(self.options.allow_missing && !nothing, missing);
        let unused = unless(self.options.allow_unused && !nothing, unused);
        let shapes = Names(found.shapes.clone());
        if missing.0.is_empty() && unused.0.is_empty() && shapes.0.is_empty() {
            return Ok(());
        }
        Err(WeightsError::Mismatch {
            path: self.file.path().into(),
            matched: applied.len(),
            wanted,
            missing,
            unused,
            shapes,
            hint: self.hint,
        })
    }

    fn decode(&self, id: ParamId, entry: &TensorEntry, fit: Fit) -> Result<Vec<f32>, WeightsError> {
        Ok(fit.apply(self.file.values(entry)?, self.graph.param(id)))
    }
}

/// Tensors that no network uses: PyTorch counts batches for a momentum of `None`, which no architecture here has, and a
/// checkpoint of this crate may hold what training needs to resume.
fn is_bookkeeping(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
        || name.starts_with(crate::checkpoint::TRAINING)
        || name.starts_with(crate::checkpoint::REGION)
        || name.starts_with(crate::checkpoint::MEMBER)
}

fn renamed(name: &str, rename: &[(String, String)]) -> String {
    let prefixes = rename.iter().map(|(from, to)| (from.as_str(), to.as_str()));
    with_prefix(name, prefixes)
}

fn smp_renamed(name: &str) -> String {
    let smp = super::SMP_NAMES.map(|(ours, theirs)| (theirs, ours));
    with_prefix(name, smp.into_iter())
}

/// The name with the first matching prefix replaced.
pub(super) fn with_prefix<'a>(
    name: &str,
    mut prefixes: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    prefixes
        .find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
        .unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;
    use tempfile::TempDir;

    use super::*;
    use crate::weights::recognise;
    use model::build::{ModelSpec, build};

    fn encoder(name: &str) -> Graph {
        build(&ModelSpec {
            encoder: Some(name.into()),
            decoder: Some("none".into()),
            head: "bottleneck".into(),
            ..ModelSpec::default()
        })
        .unwrap()
    }

    /// A file of zeros with a family's names and the graph's shapes, and the conventions that its metadata state.
    fn foreign(
        folder: &TempDir,
        family: Family,
        graph: &Graph,
        said: Option<Conventions>,
    ) -> TensorFile {
        let naming = Naming::new(family, graph);
        let theirs = naming.theirs();
        let tensors: Vec<_> = graph
            .params
            .iter()
            .filter_map(|p| Some((*theirs.get(p.name.as_str())?, p.torch_shape())))
            .collect();
        let bytes = |shape: &[usize]| vec![0; 4 * shape.iter().product::<usize>()];
        let data: Vec<Vec<u8>> = tensors.iter().map(|(_, shape)| bytes(shape)).collect();
        let views = tensors.iter().zip(&data).map(|((name, shape), data)| {
            (
                *name,
                TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
            )
        });
        let path = folder.path().join("foreign.safetensors");
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        TensorFile::read(&path).unwrap().with_about(&About {
            conventions: said,
            ..About::default()
        })
    }

    /// Loads names of `family` into the encoder; expects success, or an error that contains `refusal`.
    fn check(family: Family, name: &str, said: Option<Conventions>, refusal: Option<&str>) {
        let folder = TempDir::new().unwrap();
        let graph = encoder(name);
        let file = foreign(&folder, family, &graph, said);
        let mut store = ParamStore::initialized(&graph, 1);
        let before = store.clone();
        let result = load_encoder_file(&file, &graph, &mut store);
        let recognised = recognise(&file);
        let candidate = recognised.encoders.iter().find(|c| c.encoder == name);
        let refused = candidate.and_then(|c| c.refused.as_deref());
        match refusal {
            None => {
                assert!(result.is_ok(), "{family} {name}: {result:?}");
                assert_eq!(refused, None, "{family} {name}");
            }
            Some(part) => {
                let text = result.unwrap_err().to_string();
                assert!(text.contains(part), "{text}");
                assert!(refused.is_some(), "{family} {name}");
                let kernel = ParamId::new(0);
                assert_eq!(
                    store.get(kernel),
                    before.get(kernel),
                    "a rejected file changes nothing"
                );
            }
        }
    }

    #[test]
    fn padding_for_one_image_size_is_rejected_unless_it_equals_tensorflows() {
        let tf = Some(Conventions::TENSORFLOW);
        for family in [Family::SmpOwn, Family::Lukemelas] {
            check(family, "tf_efficientnet_b0", None, None);
            check(
                family,
                "tf_efficientnet_b1",
                None,
                Some("pad for one nominal image size"),
            );
            check(family, "tf_efficientnet_b1", tf, None);
            check(family, "efficientnet_b1", tf, Some("tf_efficientnet_*"));
            check(
                family,
                "efficientnet_b0",
                None,
                Some("TensorFlow's SAME padding"),
            );
        }
    }

    #[test]
    fn torchvision_pads_like_pytorch() {
        check(Family::Torchvision, "efficientnet_b1", None, None);
        check(
            Family::Torchvision,
            "tf_efficientnet_b1",
            None,
            Some("efficientnet_* encoder"),
        );
        check(
            Family::Torchvision,
            "efficientnet_b5",
            None,
            Some("No encoder of this program"),
        );
    }
}
