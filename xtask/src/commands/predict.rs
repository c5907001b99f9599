//! `cargo xtask predict`: tables of results, overlays, masks and DICOM results in a folder; a line of JSON per image on
//! stdout if it is not a terminal and all images are predicted by this process.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use ::pipeline::predict::{INTENDED_USE, Predictor, Segments, check_origin};
use anyhow::{Context as _, Result, bail};
use predictions::{Finished, Job, Options, Outcome, Row, Shard};
use terminal::{Interrupt, Progress};

use super::{print, root};
use crate::cli::{DicomSegments, PredictArgs};

/// Up to this many images are described one by one; more are counted by a progress bar.
const FEW: usize = 20;

pub(crate) fn run(args: &PredictArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let (device, precision) = super::computing(&args.device, &args.precision)?;
    let predictor = Predictor::open_on(&args.model, device, precision)?;
    check_origin(predictor.networks(), &args.model, args.allow_phantom_model)?;
    let options = options(args);
    let predictor = match options.dicom {
        Some(segments) => predictor.with_dicom(segments),
        None => predictor,
    };
    let predictor = match args.abstain {
        true => predictor.abstaining()?,
        false => predictor,
    };
    let predictor = match args.no_pictures {
        true => predictor.without_pictures(),
        false => predictor,
    };
    let inputs = predictions::find(
        &args.images,
        args.column.as_deref(),
        &mut std::io::stdin().lock(),
    )?;
    introduce(&predictor);
    terminal::say(&format!("device: {device}; precision: {precision}"));
    inputs.notes.iter().for_each(|note| terminal::say(note));
    let job = Job::open(&folder(args), inputs.images, &predictor, options)?;
    let lines = args.shard.is_none() && !std::io::stdout().is_terminal();
    let (finished, printed) = predict(&job, &predictor, lines, interrupt)?;
    conclude(&job, &finished)?;
    printed.context("not all predictions could be written to stdout")?;
    let failures = failures(finished.failed, finished.images);
    match (finished.failed, args.shard) {
        (0, _) => {}
        (_, None) => bail!(failures),
        // A scheduler would run the share again, in vain.
        (_, Some(_)) => terminal::say(&failures),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says how many images could not be predicted.
pub(crate) fn failures(failed: usize, images: usize) -> String {
    format!(
        "{failed} of {images} images could not be predicted; the column `error` of the table has the reasons"
    )
}

fn options(args: &PredictArgs) -> Options {
    Options {
        batch: usize::from(args.batch_size),
        pictures: !args.no_pictures,
        abstain: args.abstain,
        dicom: args.dicom_out.map(|segments| match segments {
            DicomSegments::Binary => Segments::Binary,
            DicomSegments::Fractional => Segments::Fractional,
        }),
        shard: args.shard.unwrap_or(Shard::ALL),
    }
}

fn folder(args: &PredictArgs) -> PathBuf {
    let new = || {
        let time = ::pipeline::timestamp(SystemTime::now());
        root().join("predictions").join(time)
    };
    args.out.clone().unwrap_or_else(new)
}

/// Says what the network was trained on, and what it may be used for.
pub(crate) fn introduce(predictor: &Predictor) {
    for network in predictor.networks().members() {
        let origin = &network.meta().origin;
        let patients = match origin.patients {
            Some(patients) => format!(" of {patients} patients"),
            None => String::new(),
        };
        let images = match (origin.phantoms, origin.images) {
            (true, _) => "phantoms, not images of patients".to_owned(),
            (false, 0) => "images whose number is not recorded".to_owned(),
            (false, images) => format!("{images} images{patients}"),
        };
        let title = match origin.title.is_empty() {
            true => String::new(),
            false => format!(" ({})", origin.title),
        };
        terminal::say(&format!(
            "network: pipeline {}{title}, version {}, trained on {images}",
            origin.pipeline, origin.version
        ));
    }
    terminal::say(INTENDED_USE);
}

/// Predicts the images; the second value is whether all of them could be printed to stdout, if `lines` asks for it.
fn predict(
    job: &Job,
    predictor: &Predictor,
    lines: bool,
    interrupt: &Interrupt,
) -> Result<(Finished, std::io::Result<()>)> {
    let own = job.own_images();
    let few = own <= FEW;
    let progress = if few {
        Progress::Silent
    } else {
        Progress::Shown
    };
    let bar = progress.job("predict", "images", own as u64);
    // All images are predicted even if stdout cannot be written to.
    let mut printed = Ok(());
    let mut each = |row: &Row, line: &str| {
        match &row.outcome {
            Outcome::Predicted(found) if few => {
                terminal::say(&format!("{}: {}", found.image.display(), found.in_words()));
            }
            Outcome::Predicted(_) => {}
            Outcome::Failed { error, .. } if few => terminal::say(&format!("error: {error}")),
            Outcome::Failed { error, .. } => bar.say(&format!("error: {error}")),
        }
        if lines && printed.is_ok() {
            printed = terminal::print(&format!("{line}\n"));
        }
        bar.advance(1);
    };
    let finished = predictions::run(job, predictor, interrupt, &mut each)?;
    Ok((finished, printed))
}

/// Says what was done, and where the results are.
fn conclude(job: &Job, finished: &Finished) -> Result<()> {
    if finished.earlier > 0 {
        terminal::say(&format!(
            "{} of {} images had been predicted before",
            finished.earlier, finished.images
        ));
    }
    match &finished.table {
        Some(table) if std::io::stdout().is_terminal() => {
            print(&format!("{}\n", table.display()))?;
        }
        Some(table) => terminal::say(&table.display().to_string()),
        None => terminal::say(&super::callable(&format!(
            "this share is complete, others are not; `cargo xtask merge {}` says which",
            job.folder().display()
        ))),
    }
    Ok(())
}
