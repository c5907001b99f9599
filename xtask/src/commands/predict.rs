//! `cargo xtask predict`: one line of JSON per image on stdout; overlays, masks and DICOM results next to the
//! images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::pipeline::predict::{Predictor, Segments, check_origin};
use anyhow::{Context as _, Result, bail};
use terminal::Interrupt;

use super::report;
use crate::cli::{DicomSegments, PredictArgs};

pub(crate) fn run(args: &PredictArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let predictor = Predictor::open_on(
        &args.model,
        settings::device(&args.device, ::bench::Precision::F32)?.device,
    )?;
    let allowed = args.allow_phantom_model;
    check_origin(predictor.networks(), &args.model, allowed)?;
    let predictor = match args.dicom_out {
        None => predictor,
        Some(DicomSegments::Binary) => predictor.with_dicom(Segments::Binary)?,
        Some(DicomSegments::Fractional) => predictor.with_dicom(Segments::Fractional)?,
    };
    let files = ::pipeline::beside(&args.images, args.out.as_deref());
    tidy(&files);
    // All images are predicted, and their overlays and masks written, even if stdout cannot be written to.
    let (mut failed, mut output_error) = (0, Ok(()));
    for (image, files) in args.images.iter().zip(files) {
        interrupt.check()?;
        // A bad file does not prevent the prediction of the others.
        match predictor.predict_as(image, &files) {
            Ok(prediction) => {
                let line = serde_json::to_string(&prediction)
                    .context("the trace cannot be written as JSON")?;
                terminal::say(&format!("{}: {}", image.display(), prediction.in_words()));
                output_error = output_error.and(terminal::print(&format!("{line}\n")));
            }
            Err(error) => {
                report(&error);
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!(
            "{failed} of {} images could not be predicted",
            args.images.len()
        );
    }
    output_error.context("not all predictions could be written to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Removes partially written files of killed processes from the folders of these files.
fn tidy(files: &[PathBuf]) {
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    folders.into_iter().for_each(files::sweep);
}
