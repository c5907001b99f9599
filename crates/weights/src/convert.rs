//! Conversion of any readable weights file to safetensors in the names of a family.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use formats::weights::{
    About, Conventions, FileDtype, InputNormalization, SMP_NAMES, SaveOptions, save,
};
use model::graph::Graph;

use super::{Kind, Known, Loaded, check_free, load};

/// Whose names to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// This program's.
    Ours,
    /// timm's: only the encoder.
    Timm,
    /// segmentation_models.pytorch's with a `tu-` encoder. The class-activation head and the region head, which smp does
    /// not have, are left out.
    Smp,
}

/// What to convert and how.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// A safetensors file, a checkpoint of this program, or a PyTorch file.
    pub from: PathBuf,
    /// The file to write.
    pub to: PathBuf,
    /// Whose names to write.
    pub names: Names,
    /// What the file does not state.
    pub known: Known,
    /// Input normalization, if the file does not state it.
    pub normalization: Option<InputNormalization>,
    /// Write f16 instead of f32.
    pub half: bool,
    /// Leave out tensors that the network lacks.
    pub allow_unused: bool,
    /// Replace an existing file.
    pub force: bool,
}

/// Converts a file and returns a summary as text. The output is written whole or not at all.
///
/// # Errors
/// The file cannot be read or fits no network of this program; the output exists and `force` is not set.
pub fn convert(conversion: &Conversion) -> Result<String> {
    check_free(&conversion.to, conversion.force)?;
    let loaded = load(&conversion.from, &conversion.known, conversion.allow_unused)?;
    let options = options(conversion, &loaded)?;
    save(&conversion.to, &loaded.graph, &loaded.store, &options)?;
    Ok(said(&conversion.to, &loaded, &options))
}

fn options(conversion: &Conversion, loaded: &Loaded) -> Result<SaveOptions> {
    let (rename, without) = spelling(conversion, loaded)?;
    Ok(SaveOptions {
        dtype: if conversion.half {
            FileDtype::F16
        } else {
            FileDtype::F32
        },
        rename,
        only: only(conversion.names, loaded).into(),
        without,
        metadata: about(conversion, loaded)?.to_metadata(),
    })
}

type Spelling = (Vec<(String, String)>, Vec<String>);

/// How prefixes are renamed, and which parameters are not written: smp's only head reads the bottleneck, and without any
/// other the file loads with `strict=True`.
fn spelling(conversion: &Conversion, loaded: &Loaded) -> Result<Spelling> {
    let owned = |(from, to): &(&str, &str)| ((*from).to_owned(), (*to).to_owned());
    Ok(match (conversion.names, &loaded.network) {
        (Names::Ours, _) => (vec![], vec![]),
        (Names::Timm, Kind::Whole) if !has_encoder(&loaded.graph) => bail!(
            "{} holds a network without an encoder of timm: only --as ours can write it",
            conversion.from.display()
        ),
        (Names::Timm, _) => (vec![(ENCODER.into(), String::new())], vec![]),
        (Names::Smp, Kind::Whole) => bail!(
            "{} holds a whole network that segmentation_models.pytorch does not have: only --as ours can write all of it",
            conversion.from.display()
        ),
        (Names::Smp, Kind::Assembled(spec)) if foreign_to_smp(&spec.head).is_some() => (
            SMP_NAMES[..1].iter().map(owned).collect(),
            foreign_to_smp(&spec.head).into_iter().collect(),
        ),
        (Names::Smp, _) => (SMP_NAMES.iter().map(owned).collect(), vec![]),
    })
}

/// The prefix of a head's parameters, if smp has no such head.
fn foreign_to_smp(head: &str) -> Option<String> {
    match head {
        "cam" => Some("head.".into()),
        "region" => Some("region_head.".into()),
        _ => None,
    }
}

const ENCODER: &str = "encoder.";

fn has_encoder(graph: &Graph) -> bool {
    graph.params.iter().any(|p| p.name.starts_with(ENCODER))
}

/// Prefix of the parameters to write. Those that the file lacks hold initial values and are not written.
fn only(names: Names, loaded: &Loaded) -> &'static str {
    let encoder_only =
        matches!(loaded.network, Kind::Assembled(_)) && loaded.recognised.is_encoder_only();
    match names {
        Names::Timm => ENCODER,
        _ if encoder_only => ENCODER,
        _ => "",
    }
}

fn about(conversion: &Conversion, loaded: &Loaded) -> Result<About> {
    let stated = conversion.normalization.clone();
    let normalization = stated.or_else(|| loaded.about.normalization.clone());
    let encoder = match &loaded.network {
        Kind::Assembled(spec) => spec.encoder.as_deref(),
        Kind::Whole => None,
    };
    Ok(About {
        encoder: encoder.map(str::to_owned),
        normalization,
        conventions: Conventions::of_graph(&loaded.graph),
    })
}

fn said(to: &Path, loaded: &Loaded, options: &SaveOptions) -> String {
    let report = &loaded.report;
    let family = report
        .family
        .map_or_else(|| "unknown".into(), |f| f.to_string());
    let list = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!("  {what}: {}\n", names.join(", ")),
    };
    let network = match &loaded.network {
        Kind::Assembled(spec) => spec.label(),
        Kind::Whole => "the checkpoint's own network".into(),
    };
    let left_out = |name: &&String| options.without.iter().any(|p| name.starts_with(p));
    let left_out: Vec<String> = report.applied.iter().filter(left_out).cloned().collect();
    format!(
        "{}: {network}, from names of {family}\n  applied {}, missing {}, unused {}, ignored by rule {}\n{}{}{}{}",
        to.display(),
        report.applied.len(),
        report.missing.len(),
        report.unused.len(),
        report.ignored.len(),
        list("missing", &report.missing),
        list("unused", &report.unused),
        list("changed", &report.adapted),
        list(
            "not written, because these names have no place for it",
            &left_out
        ),
    )
}
