//! Joins the networks of finished runs into one checkpoint that predicts with the mean of their calibrated scores.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use formats::checkpoint::{Checkpoint, Decision, Ensemble};
use metrics::Scaling;

/// Joins the networks of two or more runs, given as folders or checkpoints. An image is positive if the mean of the
/// networks' calibrated log-odds reaches the mean of their thresholds, each of which its run chose on validation: no
/// image is used to choose anything here.
///
/// # Errors
/// Fewer than two runs, a run without the stage `evaluate`, the same network twice, a checkpoint of several networks, or
/// different classes or ways to read files.
pub fn ensemble(runs: &[PathBuf]) -> Result<Checkpoint> {
    if runs.len() < 2 {
        bail!("an ensemble needs two or more runs, not {}", runs.len());
    }
    let mut hashes: Vec<(String, &Path)> = vec![];
    let mut members = vec![];
    for run in runs {
        let path = pipeline::find_checkpoint(run)?;
        let hash = pipeline::hash::of_file(&path)?;
        if let Some((_, other)) = hashes.iter().find(|(known, _)| *known == hash) {
            bail!(
                "{} and {} are the same network",
                other.display(),
                run.display()
            );
        }
        hashes.push((hash, run));
        members.push(member(run, Checkpoint::load(&path)?)?);
    }
    same_reading(runs, &members)?;
    let decision = joint(&members)?;
    let phantoms = members.iter().any(|member| member.meta.origin.phantoms);
    let mut members = members.into_iter();
    let Some(mut first) = members.next() else {
        bail!("an ensemble needs two or more runs");
    };
    first.meta.origin.phantoms = phantoms;
    // It holds for the first network alone.
    first.novelty = None;
    first.ensemble = Some(Box::new(Ensemble {
        others: members.collect(),
        decision,
    }));
    Ok(first)
}

fn member(run: &Path, checkpoint: Checkpoint) -> Result<Checkpoint> {
    if checkpoint.ensemble.is_some() {
        bail!(
            "{} is an ensemble itself: give the runs that it was made from",
            run.display()
        );
    }
    if checkpoint.meta.decision.is_none() {
        bail!(
            "{} has no calibration, so its scores cannot be averaged with others: run the stage \"evaluate\"",
            run.display()
        );
    }
    Ok(checkpoint)
}

/// All networks see an image as it was decoded once.
fn same_reading(runs: &[PathBuf], members: &[Checkpoint]) -> Result<()> {
    let each: Vec<_> = runs.iter().zip(members).collect();
    let differ = |pair: &&[(&PathBuf, &Checkpoint)]| {
        let [one, other] = [0, 1].map(|i| &pair[i].1.meta.preprocessing);
        !one.reads_like(other)
    };
    if let Some(pair) = each.windows(2).find(differ) {
        bail!(
            "{} and {} read files in different ways: an ensemble needs networks with the same image.frame, image.window, \
             image.bits and image.equalize",
            pair[0].0.display(),
            pair[1].0.display()
        );
    }
    Ok(())
}

/// The mean of the calibrated thresholds; the most probable class is predicted unless all networks have a threshold.
fn joint(members: &[Checkpoint]) -> Result<Decision> {
    let mut thresholds = vec![];
    for member in members {
        let Some(decision) = &member.meta.decision else {
            continue;
        };
        let scaling = Scaling::new(decision.temperature, decision.bias.clone())?;
        let positive = member.meta.positive;
        thresholds.extend(
            decision
                .threshold
                .map(|t| scaling.scaled_log_odds(t, positive)),
        );
    }
    let all = thresholds.len() == members.len();
    let classes = members
        .first()
        .map_or(0, |member| member.meta.classes.len());
    let threshold = all.then(|| thresholds.iter().sum::<f64>() / thresholds.len() as f64);
    // Sets and abstention hold for the network that they were calibrated with.
    Ok(Decision::new(threshold, 1.0, vec![0.0; classes]))
}
