//! Evaluates a trained network, or several that predict together, on a data set other than its own (external
//! validation): threshold, temperature and biases are those of the checkpoint, and nothing is chosen on these images.

mod answers;
mod images;
mod judge;
mod known;
mod predictions;
mod section;
mod shift;
mod trained;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use metrics::{Evaluation, Interval};
use pipeline::{OwnRun, RunDir};
use serde::Serialize;
use settings::Settings;
use terminal::{Interrupt, Progress};

use images::Images;
use judge::Judged;
use trained::{Source, Trained};

pub use dataset::Split;
pub use judge::{Member, Threshold};
pub use shift::{Quantity, Sample, Shift};

/// What to evaluate, on which images.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A run's folder, or a checkpoint.
    pub model: PathBuf,
    /// The folder of the images.
    pub data: PathBuf,
    /// A table that lists the images; otherwise there is a folder for each class.
    pub csv: Option<PathBuf>,
    /// Only the images of this split; all if absent.
    pub split: Option<Split>,
    /// The pipeline whose settings name classes and patients, instead of those of the run.
    pub pipeline: Option<String>,
    /// Changes to these settings.
    pub set: Vec<String>,
    /// The device, instead of that of the settings.
    pub device: Option<String>,
    /// The workspace's root, which contains `pipelines/` and `runs/`.
    pub root: PathBuf,
    /// The folder for the results, instead of `runs/evaluations/TIME`.
    pub out: Option<PathBuf>,
    /// Whether the network may have been trained on phantoms only.
    pub phantoms_allowed: bool,
}

/// `evaluation.json`. It contains no times and no paths, so that equal inputs give equal bytes.
#[derive(Clone, Debug, Serialize)]
pub struct ExternalEvaluation {
    /// The networks.
    pub model: Model,
    /// The images.
    pub data: Data,
    /// The threshold of the checkpoint, with two classes.
    pub threshold: Option<Threshold>,
    /// Divides the scores before they become probabilities.
    pub temperature: f64,
    /// Then added to them, per class.
    pub bias: Vec<f64>,
    /// The results.
    pub evaluation: Evaluation,
    /// Log loss, Brier score and calibration error with temperature 1 and without biases.
    pub as_trained: AsTrained,
    /// Each network on its own, if several predict together.
    pub members: Vec<Member>,
    /// How the images differ from those of the training; `None` if the run's folder is not available.
    pub shift: Option<Shift>,
}

/// The networks that were evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// SHA-256 of the checkpoint.
    pub sha256: String,
    /// The pipeline that trained each network.
    pub pipelines: Vec<String>,
    /// Fingerprint of the data that each was trained on.
    pub trained_on: Vec<String>,
    /// Whether any was trained on phantoms only.
    pub phantoms: bool,
}

/// The images that were evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    /// SHA-256 over classes, paths, labels and file contents of the whole data set.
    pub fingerprint: String,
    /// The split; all images if absent.
    pub split: Option<Split>,
    /// Number of images of each of the model's classes.
    pub counts: Vec<usize>,
    /// Whether patients are known; if not, each image counts as one.
    pub patients_known: bool,
    /// Files that could not be used.
    pub left_out: usize,
    /// Whether these are exactly the images of the run's own test split.
    pub own_test: bool,
    /// Images whose file was in the training split of the run; `None` if the run's folder is not available.
    pub seen_in_training: Option<usize>,
    /// Images whose file was in its validation split.
    pub seen_in_validation: Option<usize>,
}

/// Results with temperature 1 and without biases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AsTrained {
    /// Mean −ln p(true class), in nats.
    pub log_loss: Interval,
    /// Brier score.
    pub brier: Interval,
    /// Expected calibration error.
    pub expected_calibration_error: Interval,
}

/// A finished evaluation.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Its folder.
    pub folder: PathBuf,
    /// The results in one line.
    pub headline: String,
    /// What `evaluation.json` contains.
    pub result: ExternalEvaluation,
}

/// Evaluates a trained model on a data set, and writes `report.md`, `report.html`, `figures/`, `evaluation.json` and
/// `predictions.csv`.
///
/// # Errors
/// A model or data set that cannot be read, a class that the model does not know, no images in the split, a network
/// that does not classify or was trained on phantoms only, a folder that cannot be written, or
/// [`terminal::Interrupted`].
pub fn evaluate(request: &Request, progress: Progress, interrupt: &Interrupt) -> Result<Evaluated> {
    let source = Source::find(&request.model)?;
    let settings = settings_for(request, &source)?;
    let trained = Trained::load(source, &settings)?;
    pipeline::predict::check_origin(&trained.networks, &request.model, request.phantoms_allowed)?;
    let images = Images::find(&settings, &trained, request.split, progress)?;
    let (folder, _lock) = folder_for(request)?;
    let answers = answers::answer(&trained.networks, &images, (progress, interrupt))?;
    let judged = judge::judge(&settings, &trained, &images, answers)?;
    let result = record(&trained, &images, &judged)?;
    folder.write("predictions.csv", &predictions::table(&images, &judged)?)?;
    folder.write_json("evaluation.json", &result)?;
    let about = section::About {
        settings: &settings,
        trained: &trained,
        images: &images,
        judged: &judged,
        result: &result,
    };
    let report = section::write(&folder, &about)?;
    report.save_with_html(&folder.file("report.md"))?;
    if request.out.is_none() {
        folder.link_latest()?;
    }
    for warning in section::warnings(&result) {
        progress.say(format!("  warning: {warning}"));
    }
    Ok(Evaluated {
        folder: folder.path().into(),
        headline: pipeline::results::headline(&result.evaluation),
        result,
    })
}

fn settings_for(request: &Request, source: &Source) -> Result<Settings> {
    let resolved = source.resolved();
    let pipeline = match (&request.pipeline, &resolved) {
        (Some(name), _) => name.clone(),
        (None, Some(file)) => file.to_string_lossy().into_owned(),
        (None, None) => bail!(
            "there is no {} next to {}: pass --pipeline NAME for the names of classes and patients",
            pipeline::RESOLVED,
            source.checkpoint.display()
        ),
    };
    let request_of_settings = settings::Request {
        data: Some(request.data.clone()),
        device: request.device.clone(),
        set: request.set.clone(),
        ..settings::Request::new(&request.root, pipeline)
    };
    Ok(settings::load_for_evaluation(
        &request_of_settings,
        request.csv.as_deref(),
    )?)
}

/// The folder for the results, and what keeps it from being removed by other processes.
fn folder_for(request: &Request) -> Result<(RunDir, Option<OwnRun>)> {
    let Some(out) = &request.out else {
        let own = OwnRun::create(&request.root.join("runs"), "evaluations")?;
        return Ok((RunDir::at(own.path())?, Some(own)));
    };
    refuse_run(out)?;
    Ok((RunDir::at(out)?, None))
}

/// A run's report must not be overwritten.
fn refuse_run(out: &Path) -> Result<()> {
    match RunDir::open(out) {
        Ok(run) if run.record().is_ok() => bail!(
            "{} is the folder of a run, whose report would be overwritten: choose another folder with --out DIR",
            out.display()
        ),
        _ => Ok(()),
    }
}

fn record(trained: &Trained, images: &Images, judged: &Judged) -> Result<ExternalEvaluation> {
    let networks = &trained.networks;
    let origins = || networks.members().map(|member| &member.meta().origin);
    let known = trained.known.as_ref();
    let before = &judged.as_trained.0;
    Ok(ExternalEvaluation {
        model: Model {
            sha256: trained.sha256.clone(),
            pipelines: origins().map(|o| o.pipeline.clone()).collect(),
            trained_on: origins().map(|o| o.data.clone()).collect(),
            phantoms: origins().any(|o| o.phantoms),
        },
        data: Data {
            fingerprint: images.manifest.fingerprint(),
            split: images.split,
            counts: images.counts(judged.evaluation.classes.len()),
            patients_known: images.manifest.patients_are_known(),
            left_out: images.manifest.bad_images().len(),
            own_test: known.is_some_and(|known| images.is_split_of(known, Split::Test)),
            seen_in_training: known.map(|known| images.seen(known, Split::Train)),
            seen_in_validation: known.map(|known| images.seen(known, Split::Val)),
        },
        threshold: judged.threshold,
        temperature: networks.scaling().temperature(),
        bias: networks.scaling().bias().to_vec(),
        evaluation: judged.evaluation.clone(),
        as_trained: AsTrained {
            log_loss: before.log_loss,
            brier: before.brier,
            expected_calibration_error: before.expected_calibration_error,
        },
        members: judged.members.clone(),
        shift: known
            .map(|k| shift::measure(k, images, judged))
            .transpose()?,
    })
}
