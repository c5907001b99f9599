//! From any file that can be read to safetensors in the names of a family.

use std::path::{Path, PathBuf};

use anyhow::Result;
use model::build::find_encoder;
use model::weights::{About, FileDtype, InputNormalization, SMP_NAMES, SaveOptions, save};

use super::{Loaded, check_free, load};

/// Whose names to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// This program's.
    Ours,
    /// timm's: the encoder alone.
    Timm,
    /// segmentation_models.pytorch's with a `tu-` encoder. The article's head, which smp does not have, stays `head.`.
    Smp,
}

/// What to convert, and into what.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// A safetensors file, a checkpoint of ours, or a file of PyTorch's.
    pub from: PathBuf,
    /// The file to write.
    pub to: PathBuf,
    /// Whose names.
    pub names: Names,
    /// The encoder, where the file leaves several.
    pub encoder: Option<String>,
    /// Input normalization, where the file does not say it.
    pub normalization: Option<InputNormalization>,
    /// Halves instead of f32.
    pub half: bool,
    /// Leave out tensors that our network lacks.
    pub allow_unused: bool,
    /// Replace a file that is there.
    pub force: bool,
}

/// Converts, and says in words what was done. The file appears whole or not at all.
///
/// # Errors
/// A file that cannot be read or does not fit a network of ours; one that is there already, unless forced.
pub fn convert(conversion: &Conversion) -> Result<String> {
    check_free(&conversion.to, conversion.force)?;
    let loaded = load(
        &conversion.from,
        conversion.encoder.as_deref(),
        conversion.allow_unused,
    )?;
    let options = SaveOptions {
        dtype: if conversion.half {
            FileDtype::F16
        } else {
            FileDtype::F32
        },
        rename: prefixes(conversion.names, &loaded),
        only: only(conversion.names, &loaded).into(),
        metadata: about(conversion, &loaded)?.to_metadata(),
    };
    save(&conversion.to, &loaded.graph, &loaded.store, &options)?;
    Ok(said(&conversion.to, &loaded))
}

fn prefixes(names: Names, loaded: &Loaded) -> Vec<(String, String)> {
    let owned = |(from, to): &(&str, &str)| ((*from).to_owned(), (*to).to_owned());
    match names {
        Names::Ours => vec![],
        Names::Timm => vec![("encoder.".into(), String::new())],
        // smp's classification head reads the bottleneck; the article's reads the map, and has no name there.
        Names::Smp if loaded.spec.head == "article" => SMP_NAMES[..1].iter().map(owned).collect(),
        Names::Smp => SMP_NAMES.iter().map(owned).collect(),
    }
}

/// Parameters that the file did not have hold first values, and are not written.
fn only(names: Names, loaded: &Loaded) -> &'static str {
    match names {
        Names::Timm => "encoder.",
        _ if loaded.recognised.is_encoder_only() => "encoder.",
        _ => "",
    }
}

fn about(conversion: &Conversion, loaded: &Loaded) -> Result<About> {
    let encoder = find_encoder(&loaded.spec.encoder)?;
    let normalization = conversion
        .normalization
        .clone()
        .or_else(|| loaded.about.normalization.clone());
    Ok(About {
        normalization,
        ..About::new(encoder, encoder.normalization.into())
    })
}

fn said(to: &Path, loaded: &Loaded) -> String {
    let report = &loaded.report;
    let family = report
        .family
        .map_or_else(|| "unknown".into(), |f| f.to_string());
    let list = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!("  {what}: {}\n", names.join(", ")),
    };
    let spec = &loaded.spec;
    format!(
        "{}: {}, decoder {}, from names of {family}\n  applied {}, missing {}, unused {}, passed over by rule {}\n{}{}{}",
        to.display(),
        spec.encoder,
        spec.decoder,
        report.applied.len(),
        report.missing.len(),
        report.unused.len(),
        report.ignored.len(),
        list("missing", &report.missing),
        list("unused", &report.unused),
        list("changed", &report.adapted),
    )
}
