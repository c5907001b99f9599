//! `cargo xtask predict`: a line of JSON an image to stdout, pictures beside the images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::pipeline::predict::Predictor;
use anyhow::{Context as _, Result, bail};
use terminal::Interrupt;

use super::report;
use crate::cli::PredictArgs;

pub(crate) fn run(args: &PredictArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let predictor = Predictor::open_on(
        &args.model,
        settings::device(&args.device, ::bench::Precision::F32)?.device,
    )?;
    if predictor.taught_on_phantoms() && !args.allow_phantom_model {
        bail!(
            "{} has seen nothing but phantoms: what it says of a real image means nothing. Train on real images \
             (`cargo xtask pipeline NAME --data DIR`), or pass --allow-phantom-model to ask it about a phantom",
            args.model.display()
        );
    }
    let files = ::pipeline::beside(&args.images, args.out.as_deref());
    tidy(&files);
    // All images are answered, and their pictures written, whether or not the answers find a reader.
    let (mut failed, mut unheard) = (0, Ok(()));
    for (image, files) in args.images.iter().zip(files) {
        interrupt.check()?;
        // One bad file says nothing about the next.
        match predictor.predict_as(image, &files) {
            Ok(prediction) => {
                let line = serde_json::to_string(&prediction)
                    .context("the trace cannot be written as JSON")?;
                terminal::say(&format!("{}: {}", image.display(), prediction.in_words()));
                unheard = unheard.and(terminal::print(&format!("{line}\n")));
            }
            Err(error) => {
                report(&error);
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} images have no answer", args.images.len());
    }
    unheard.context("not all answers could be written to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Removes what killed processes have left half written in the folders of these files.
fn tidy(files: &[PathBuf]) {
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    folders.into_iter().for_each(files::sweep);
}
