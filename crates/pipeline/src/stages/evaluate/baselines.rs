//! The baselines that a network must beat: the majority class, and a linear model on small grey images.

use anyhow::{Context as _, Result};
use dataset::{Loader, LoaderConfig, Split};
use metrics::fit_scaling;

use super::{Scored, patient_ids};
use crate::baseline::Linear;
use crate::context::{Context, Data};

/// Penalties that the linear model is fitted with, strongest first; each fit starts from the previous one.
const PENALTIES: [f32; 4] = [1.0, 1e-1, 1e-2, 1e-3];

/// The baselines' outputs on validation and test.
pub(super) struct Fitted {
    /// Class shares of the training split: the majority-class baseline's prediction for every image.
    pub(super) prior: Vec<f64>,
    /// Side of the linear model's images in pixels.
    pub(super) side: usize,
    /// The linear model's outputs on validation and test.
    pub(super) linear: [Scored; 2],
    /// Its penalty: of [`PENALTIES`], the one with the lowest log loss on validation after calibration.
    pub(super) penalty: f64,
}

pub(super) fn fit(context: &mut Context<'_>, data: &Data) -> Result<Fitted> {
    let side = context.settings.evaluate.baseline_size;
    let classes = data.manifest.classes().len();
    let counts = data.manifest.class_counts(&data.splits.train);
    let total: usize = counts.iter().sum();
    let prior = counts
        .iter()
        .map(|n| *n as f64 / total.max(1) as f64)
        .collect();
    let (train, x) = small(context, data, Split::Train, side)?;
    let (mut val, val_x) = small(context, data, Split::Val, side)?;
    let (mut test, test_x) = small(context, data, Split::Test, side)?;
    let job = context
        .progress
        .job("linear baseline", "fits", PENALTIES.len() as u64);
    let mut best: Option<(f64, f32, Linear)> = None;
    let mut fitted: Option<Linear> = None;
    for penalty in PENALTIES {
        context.interrupt.check()?;
        let linear = Linear::fit(&x, &train.labels, classes, penalty, fitted.as_ref());
        let loss = fit_scaling(&val.labels, &linear.scores(&val_x), classes)?.nll_after;
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, penalty, linear.clone()));
        }
        fitted = Some(linear);
        job.advance(1);
    }
    let (_, penalty, linear) = best.context("no penalty to choose from")?;
    (val.logits, test.logits) = (linear.scores(&val_x), linear.scores(&test_x));
    Ok(Fitted {
        prior,
        side,
        linear: [val, test],
        penalty: penalty.into(),
    })
}

/// The images of a split as `side`×`side` grey values in [0, 1].
fn small(
    context: &Context<'_>,
    data: &Data,
    split: Split,
    side: usize,
) -> Result<(Scored, Vec<f32>)> {
    let config = LoaderConfig {
        height: side,
        width: side,
        channels: 1,
        batch_size: 64,
        mean: vec![0.0],
        std: vec![1.0],
        cache_bytes: 0,
        ..context.loader_config(false)
    };
    let loader = Loader::new(&data.manifest, data.splits.rows(split).to_vec(), config)?;
    let job = context.progress.job(
        &format!("small images, {split}"),
        "images",
        loader.len() as u64,
    );
    let (mut scored, mut x) = (Scored::default(), vec![]);
    for batch in loader.epoch(0) {
        context.interrupt.check()?;
        let batch = batch?;
        job.advance(batch.len as u64);
        scored.rows.extend(&batch.rows);
        scored.labels.extend(&batch.labels);
        x.extend(batch.images);
    }
    scored.patients = patient_ids(data, &scored.rows);
    Ok((scored, x))
}
