//! Weights that travel: looked at, converted, fetched, and compared with what other programs compute.

mod check;
mod convert;
mod fetch;
mod inspect;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use model::build::{ModelSpec, build};
use model::graph::Graph;
use model::store::ParamStore;
use model::weights::{
    About, LoadOptions, LoadReport, Recognised, TensorFile, load_encoder_file, load_file, recognise,
};

pub use check::{Sample, compare, write_sample};
pub use convert::{Conversion, Names, convert};
pub use fetch::{Download, fetch, known};
pub use inspect::inspect;
pub use model::weights::InputNormalization;

/// A file's weights in a network of ours.
struct Loaded {
    spec: ModelSpec,
    graph: Graph,
    store: ParamStore,
    report: LoadReport,
    about: About,
    recognised: Recognised,
}

/// Loads a file into the network that it is of. `encoder` decides where names and shapes leave several; a head that
/// the file lacks keeps its first values, as smp's networks have none.
fn load(path: &Path, encoder: Option<&str>, allow_unused: bool) -> Result<Loaded> {
    let file = TensorFile::read(path)?;
    let (recognised, about) = (recognise(&file), About::of(&file));
    let encoder = choose(path, &recognised, &about, encoder)?;
    let spec = recognised.spec(&encoder)?;
    let graph = build(&spec)?;
    let mut store = ParamStore::initialized(&graph, 0);
    let report = if recognised.is_encoder_only() {
        load_encoder_file(&file, &graph, &mut store)?
    } else {
        let options = LoadOptions {
            allow_missing: recognised.head.is_none(),
            allow_unused,
            ..LoadOptions::default()
        };
        load_file(&file, &graph, &mut store, &options)?
    };
    if let Some(other) = report
        .missing
        .iter()
        .find(|name| !name.starts_with("head."))
    {
        bail!("{} lacks `{other}`", path.display());
    }
    Ok(Loaded {
        spec,
        graph,
        store,
        report,
        about,
        recognised,
    })
}

/// The encoder asked for; else the one that the file names; else the only one that it fits.
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
                "{} fits no encoder of ours{}",
                path.display(),
                refused.map_or_else(String::new, |why| format!(" ({why})"))
            )
        }
        several => bail!(
            "the names and shapes in {} fit {}, which differ in padding and epsilon: say which with --encoder",
            path.display(),
            several.join(" and ")
        ),
    }
}

fn fits(encoder: &str, conventions: model::weights::Conventions) -> bool {
    let row = model::build::find_encoder(encoder);
    row.is_ok_and(|e| model::weights::Conventions::of_encoder(e) == conventions)
}

/// For a file that a command is about to write.
fn check_free(path: &Path, force: bool) -> Result<()> {
    if path.exists() && !force {
        bail!("{} exists: --force replaces it", path.display());
    }
    Ok(())
}

fn write_in_place(path: &Path, bytes: &[u8]) -> Result<()> {
    crate::replace_file(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
