//! Weights files: inspection, conversion, download, and comparison with the outputs of other programs.
//!
//! A crate of its own so that `cargo xtask weights` needs neither settings nor a pipeline. Each function returns the text
//! that the command prints.
//!
//! ```no_run
//! println!("{}", weights::inspect("model.safetensors".as_ref())?);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod check;
mod convert;
mod fetch;
mod inspect;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use formats::weights::{
    About, LoadOptions, LoadReport, Recognised, TensorFile, load_encoder_file, load_file, recognise,
};
use model::build::{ModelSpec, build};
use model::graph::Graph;
use model::store::ParamStore;

pub use check::{Sample, compare, write_sample};
pub use convert::{Conversion, Names, convert};
pub use fetch::{Download, fetch, known};
pub use formats::weights::{Conventions, InputNormalization};
pub use inspect::inspect;

/// A file's weights, loaded into a network.
struct Loaded {
    network: Kind,
    graph: Graph,
    store: ParamStore,
    report: LoadReport,
    about: About,
    recognised: Recognised,
}

/// How the network is defined.
enum Kind {
    /// By an encoder, possibly a decoder, and a head.
    Assembled(ModelSpec),
    /// As a whole, by a checkpoint; no other program has its names.
    Whole,
}

/// What a user knows about a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The encoder, if the file fits several.
    pub encoder: Option<String>,
    /// Padding and epsilon, if the file does not state them.
    pub trained_in: Option<Conventions>,
}

/// Loads a file into its network: a checkpoint's own, otherwise the one that its names and shapes identify.
fn load(path: &Path, known: &Known, allow_unused: bool) -> Result<Loaded> {
    let file = about_known(TensorFile::read(path)?, known)?;
    match formats::checkpoint::network(file.metadata()) {
        Some(graph) => load_checkpoint(&file, graph, known),
        None => load_recognised(&file, known, allow_unused),
    }
}

/// The file with what the user knows about it.
fn about_known(file: TensorFile, known: &Known) -> Result<TensorFile> {
    let (said, stated) = (About::of(&file).conventions, known.trained_in);
    if let (Some(said), Some(stated)) = (said, stated)
        && said != stated
    {
        bail!(
            "{} states that it was trained with {said}, not with {stated}",
            file.path().display()
        );
    }
    Ok(file.with_about(&About {
        conventions: stated,
        ..About::default()
    }))
}

fn load_checkpoint(file: &TensorFile, graph: Graph, known: &Known) -> Result<Loaded> {
    let (recognised, about) = (recognise(file), About::of(file));
    let spec = choose(file.path(), &recognised, &about, None)
        .ok()
        .and_then(|encoder| recognised.spec(&encoder).ok())
        .filter(|spec| build(spec).is_ok_and(|built| built.params == graph.params));
    let encoder = spec.as_ref().and_then(|spec| spec.encoder.as_deref());
    if known.encoder.is_some() && known.encoder.as_deref() != encoder {
        bail!(
            "{} is a checkpoint and has its own network ({}): leave --encoder out",
            file.path().display(),
            encoder.unwrap_or("a whole one")
        );
    }
    let mut store = ParamStore::initialized(&graph, 0);
    let report = load_file(file, &graph, &mut store, &LoadOptions::default())?;
    Ok(Loaded {
        network: spec.map_or(Kind::Whole, Kind::Assembled),
        graph,
        store,
        report,
        about,
        recognised,
    })
}

fn load_recognised(file: &TensorFile, known: &Known, allow_unused: bool) -> Result<Loaded> {
    let (recognised, about) = (recognise(file), About::of(file));
    let encoder = choose(file.path(), &recognised, &about, known.encoder.as_deref())?;
    if recognised.map_classes == Some(1) {
        bail!(
            "the class map in {} has one channel, for a sigmoid; maps of this program have one per class, including the background. To use its encoder alone, set model.pretrained",
            file.path().display()
        );
    }
    let spec = recognised.spec(&encoder)?;
    let graph = build(&spec)?;
    let mut store = ParamStore::initialized(&graph, 0);
    let report = if recognised.is_encoder_only() {
        load_encoder_file(file, &graph, &mut store)?
    } else {
        let options = LoadOptions {
            allow_unused,
            ..LoadOptions::default()
        };
        load_file(file, &graph, &mut store, &options)?
    };
    Ok(Loaded {
        network: Kind::Assembled(spec),
        graph,
        store,
        report,
        about,
        recognised,
    })
}

/// The requested encoder, otherwise the one that the file names, otherwise the only one that it fits.
fn choose(
    path: &Path,
    recognised: &Recognised,
    about: &About,
    asked: Option<&str>,
) -> Result<String> {
    if let Some(encoder) = asked.or(about.encoder.as_deref()) {
        return Ok(encoder.into());
    }
    let matching = recognised
        .accepted()
        .filter(|name| about.conventions.is_none_or(|c| fits(name, c)));
    match matching.collect::<Vec<_>>().as_slice() {
        [only] => Ok((*only).into()),
        [] => {
            let refused = recognised.encoders.first().and_then(|c| c.refused.clone());
            bail!(
                "{} fits no encoder of this program{}",
                path.display(),
                refused.map_or_else(String::new, |why| format!(" ({why})"))
            )
        }
        several => bail!(
            "the names and shapes in {} fit {}, which differ in padding and epsilon: choose one with --encoder or --trained-in",
            path.display(),
            several.join(" and ")
        ),
    }
}

fn fits(encoder: &str, conventions: Conventions) -> bool {
    let row = model::build::find_encoder(encoder);
    row.is_ok_and(|e| Conventions::of_encoder(e) == conventions)
}

/// Fails if a file to be written exists, unless forced.
fn check_free(path: &Path, force: bool) -> Result<()> {
    if path.exists() && !force {
        bail!("{} exists: --force replaces it", path.display());
    }
    Ok(())
}

fn write_in_place(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
