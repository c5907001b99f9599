//! What a network must beat: always the largest class, and a linear model on small grey pixels.

use anyhow::Result;
use dataset::{Loader, LoaderConfig, Split};

use super::{Scored, patient_ids};
use crate::baseline::Linear;
use crate::context::{Context, Data};

/// The baselines' answers to validation and test.
pub(super) struct Fitted {
    /// Class shares of the training split: the answer to every image.
    pub(super) prior: Vec<f64>,
    /// Side of the linear model's images.
    pub(super) side: usize,
    /// The linear model's probabilities, and which images they are of.
    pub(super) linear: [(Scored, Vec<f64>); 2],
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
    let job = context.progress.job("linear baseline", "fits", 1);
    let linear = Linear::fit(&x, &train.labels, classes);
    job.advance(1);
    let answers = |split| -> Result<_> {
        let (scored, x) = small(context, data, split, side)?;
        Ok((scored, linear.probabilities(&x)))
    };
    let linear = [answers(Split::Val)?, answers(Split::Test)?];
    Ok(Fitted {
        prior,
        side,
        linear,
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
