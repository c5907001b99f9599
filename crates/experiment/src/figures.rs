//! The figures over all runs.

use ::report::{
    CurveLine, CurvePanel, ImageGrid, Plane, RocCurves, RocLine, Tile, TrainingCurves, format,
};
use anyhow::{Context as _, Result};
use dataset::Split;
use imaging::{Fit, Frame};
use metrics::{CurvePoints, log_odds, roc_curve};
use pipeline::OwnRun;
use settings::Experiment;

use crate::finished::FinishedRun;
use crate::label_errors::{LabelError, LabelErrors};
use crate::results::Results;

/// The training curves of all runs.
pub(crate) const CURVES: &str = "figures/curves.png";
/// The ROC curves of the chosen setting on the test images.
pub(crate) const ROC: &str = "figures/roc.png";
/// The images with the likeliest label errors.
pub(crate) const SUSPECTS: &str = "figures/label-errors.png";
/// Most images in that figure.
pub(crate) const SHOWN: usize = 24;
/// Side of each in pixels.
const SIDE: usize = 192;

/// Saves the training curves of all runs and, with two classes, the ROC curves of the chosen setting.
pub(crate) fn save(
    own: &OwnRun,
    experiment: &Experiment,
    results: &Results,
    runs: &[FinishedRun],
) -> Result<()> {
    own.folder("figures")?;
    curves(experiment, runs)?.draw()?.save(&own.file(CURVES))?;
    if results.classes.len() == 2 {
        roc(results, runs)?.draw()?.save(&own.file(ROC))?;
    }
    Ok(())
}

/// Saves the images with the likeliest label errors, if there are any.
pub(crate) fn save_suspects(
    own: &OwnRun,
    experiment: &Experiment,
    found: &LabelErrors,
) -> Result<()> {
    let shown = found.errors.iter().take(SHOWN).enumerate();
    let tiles = shown.map(|(i, error)| suspect(experiment, i + 1, error));
    let tiles = tiles.collect::<Result<Vec<_>>>()?;
    if tiles.is_empty() {
        return Ok(());
    }
    let figure = ImageGrid {
        title: "Labels to look at".into(),
        subtitle: "given label, suggested class and probability of the given label".into(),
        columns: 6,
        tiles,
    };
    Ok(figure.draw()?.save(&own.file(SUSPECTS))?)
}

fn suspect(experiment: &Experiment, number: usize, error: &LabelError) -> Result<Tile> {
    let run = experiment
        .runs
        .first()
        .context("the experiment has no runs")?;
    let data = &run.settings.data.index;
    let frame = Frame {
        height: SIDE,
        width: SIDE,
        channels: 1,
        fit: Fit::Pad,
    };
    let framed = data.decoder.framed(&data.root.join(&error.path), frame)?;
    let side = SIDE as u32;
    let name = error.path.rsplit('/').next().unwrap_or_default();
    let confidence = format::fixed(error.self_confidence, 3);
    Ok(Tile {
        image: Plane::new(side, side, framed.image.values())?.into(),
        caption: format!(
            "{number}: {} given, {} suggested, {confidence}: {name}",
            error.given, error.suggested
        ),
        border: None,
    })
}

/// What the lines of a run are named and coloured by: its setting if there are several, otherwise its seed, otherwise
/// its fold.
fn name(experiment: &Experiment, run: &FinishedRun) -> String {
    match run.fold {
        _ if experiment.settings() > 1 => format!("setting {}", run.setting + 1),
        Some(fold) if experiment.seeds.len() == 1 => format!("fold {fold}"),
        _ => format!("seed {}", run.seed),
    }
}

fn curves(experiment: &Experiment, runs: &[FinishedRun]) -> Result<TrainingCurves> {
    const PANELS: [(&str, &str); 3] = [
        ("loss", "Training loss"),
        ("val_loss", "Validation loss"),
        ("val_auc", "Validation AUC"),
    ];
    let mut panels = PANELS.map(|(_, title)| CurvePanel {
        title: title.into(),
        ..CurvePanel::default()
    });
    for run in runs {
        let epochs = run.history(["epoch", PANELS[0].0, PANELS[1].0, PANELS[2].0])?;
        for (i, panel) in panels.iter_mut().enumerate() {
            panel.lines.push(CurveLine {
                name: name(experiment, run),
                points: epochs.iter().map(|row| (row[0], row[i + 1])).collect(),
            });
        }
    }
    Ok(TrainingCurves {
        title: format!("Training of all {} runs", runs.len()),
        panels: panels.into(),
        best_epoch: None,
    })
}

fn roc(results: &Results, runs: &[FinishedRun]) -> Result<RocCurves> {
    let chosen = runs.iter().filter(|run| run.setting + 1 == results.chosen);
    let line = |run: &FinishedRun| {
        let predictions = run.predictions(Split::Test)?;
        let labels = predictions.iter().map(|p| p.label == results.positive);
        let labels: Vec<bool> = labels.collect();
        let scores = predictions
            .iter()
            .map(|p| log_odds(&p.logits, results.positive));
        let curve = roc_curve(&labels, &scores.collect::<Vec<_>>(), CurvePoints::Corners)?;
        Ok(RocLine {
            name: run.name.clone(),
            points: curve.fpr.into_iter().zip(curve.tpr).collect(),
            auc: run.metrics.test.auc.map(|auc| auc.estimate),
            ..RocLine::default()
        })
    };
    Ok(RocCurves {
        title: "ROC on the test images".into(),
        curves: chosen.map(line).collect::<Result<_>>()?,
    })
}
