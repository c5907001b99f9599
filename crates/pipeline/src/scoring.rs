//! Runs the images of a run's splits through its trained network.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use dataset::{Batch, Loader};
use inference::{Bundle, Input, Scores, Wanted};
use model::graph::Hwc;
use terminal::{Interrupt, Job};

use crate::context::Context;
use crate::run_dir::RunDir;

/// The network that the run has trained, on the device and in the precision of its settings.
///
/// # Errors
/// As [`Bundle::load`].
pub(crate) fn trained(context: &Context<'_>) -> Result<Bundle> {
    let (path, settings) = (context.run.file(crate::MODEL), context.settings);
    Ok(Bundle::load(
        &path,
        settings.device.device,
        settings.precision,
    )?)
}

/// Scores, and each pixel's probability of the class that overlays show.
pub(crate) fn with_map(bundle: &Bundle) -> Wanted<'static> {
    Wanted {
        map_of: Some(bundle.shown()),
        features: None,
    }
}

/// Computes the scores of all images of a loader, batch by batch in order: `each` receives the batch and its scores
/// with what else is wanted.
///
/// # Errors
/// A file that can no longer be read, [`terminal::Interrupted`], or what `each` returns.
pub(crate) fn each(
    bundle: &Bundle,
    loader: &Loader,
    wanted: Wanted<'_>,
    (job, interrupt): (&Job, &Interrupt),
    mut each: impl FnMut(&Batch, Scores) -> Result<()>,
) -> Result<()> {
    let mirror = bundle.meta().inference.mirror;
    for batch in loader.epoch(0) {
        interrupt.check()?;
        let batch = batch?;
        let input = Input {
            data: &batch.images,
            n: batch.len,
            shape: Hwc {
                h: batch.height,
                w: batch.width,
                c: batch.channels,
            },
        };
        let scores = bundle.scores(input, wanted, mirror)?;
        each(&batch, scores)?;
        job.advance(batch.len as u64);
    }
    Ok(())
}

/// The checkpoint that a path refers to: a file, or a run's folder.
///
/// # Errors
/// There is no checkpoint.
pub fn find(path: &Path) -> Result<PathBuf> {
    if path.is_file() && path.extension().is_some_and(|e| e == "safetensors") {
        return Ok(path.into());
    }
    let run = RunDir::open(path).with_context(|| {
        format!(
            "{} is neither a run's folder nor a checkpoint",
            path.display()
        )
    })?;
    let file = run.file(crate::MODEL);
    if !file.is_file() {
        bail!(
            "{} contains no {}: has the run finished training?",
            run.path().display(),
            crate::MODEL
        );
    }
    Ok(file)
}
