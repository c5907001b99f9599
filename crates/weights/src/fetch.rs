//! Download of known weights from the hub into the cache.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use formats::weights::{About, InputNormalization, TensorFile};
use hub::{HubError, Known, Request};

use terminal::{Interrupt, Interrupted, Progress};

/// What to fetch.
#[derive(Clone, Debug, Default)]
pub struct Download {
    /// A known name.
    pub name: String,
    /// Cache folder, instead of the user's default.
    pub cache: Option<PathBuf>,
    /// A mirror of the hub.
    pub endpoint: Option<String>,
    /// Revision, instead of the known one.
    pub revision: Option<String>,
    /// SHA-256 that the file must have.
    pub sha256: Option<String>,
}

/// Fetches a file, reads it once as a check, and returns a description; its first line is the path alone.
///
/// # Errors
/// See [`HubError`]; also a file that holds no weights.
pub fn fetch(download: &Download, progress: Progress, interrupt: &Interrupt) -> Result<String> {
    let known = hub::find(&download.name)?;
    let cache = download.cache.clone().unwrap_or_else(hub::default_cache);
    let mut request = Request::new(known, &cache);
    request.revision.clone_from(&download.revision);
    request.sha256.clone_from(&download.sha256);
    request.record = about(known)?.to_metadata();
    if let Some(endpoint) = &download.endpoint {
        request.endpoint.clone_from(endpoint);
    }
    const KIB: u64 = 1024;
    let job = progress.job(known.name, "KiB", 0);
    let fetched = hub::fetch(&request, &mut |done, total| {
        job.set_total(total / KIB);
        job.at(done / KIB);
        match interrupt.raised() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    let fetched = match fetched {
        Err(HubError::Stopped) => return Err(Interrupted.into()),
        other => other?,
    };
    drop(job);
    TensorFile::read(&fetched.path).context("the fetched file is not a weights file")?;
    Ok(format!(
        "{}\n  {}, for {}, licence {}\n  SHA-256 {}\n  normalization {}\n",
        fetched.path.display(),
        if fetched.cached {
            "already in the cache"
        } else {
            "fetched"
        },
        known.encoder,
        known.licence,
        fetched.sha256,
        normalization(known)
    ))
}

fn normalization(known: &Known) -> InputNormalization {
    InputNormalization {
        mean: known.mean.to_vec(),
        std: known.std.to_vec(),
    }
}

fn about(known: &Known) -> Result<About> {
    let encoder = model::build::find_encoder(known.encoder)?;
    Ok(About::new(encoder, normalization(known)))
}

/// All names, with encoder and licence, as text.
pub fn known() -> String {
    let line = |k: &Known| format!("{:<36} {:<24} {}\n", k.name, k.encoder, k.licence);
    hub::known().iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_has_an_encoder() {
        for known in hub::known() {
            about(known).unwrap();
        }
    }
}
