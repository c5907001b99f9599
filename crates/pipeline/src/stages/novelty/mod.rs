//! Detects images unlike the training images (out-of-distribution detection): fits the score, puts it into the checkpoint,
//! and tries it on images of other kinds.

mod kinds;
mod section;

use anyhow::{Context as _, Result};
use dataset::Split;
use formats::checkpoint::Checkpoint;
use inference::{Bundle, Known, NoveltyDetector, NoveltyScore};
use metrics::{fpr_at, max_logit, novelty_auroc, proportion};

use super::rules::{add, sample_size};
use crate::context::{Context, Data};
use crate::measured::{Novelty, NoveltyFigures, NoveltyKind};
use crate::pictures::spread;
use crate::scored::{Pass, Scored};
use crate::scoring;

/// Training images that the Gaussians are fitted to: enough for the covariance of some hundred features, which is shrunk.
const TRAIN: usize = 1500;

/// Images of each kind that the score is tried on, at most.
const PER_KIND: usize = 50;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let trained = scoring::trained(context)?;
    let graph = trained.network().graph().clone();
    let output = graph.features().first().copied();
    let output = output.context(
        "this network publishes no features; remove the stage \"novelty\" from pipeline.stages",
    )?;
    let scored = |split, most| {
        let pass = Pass {
            words: format!("features, {split}"),
            rows: spread(data.splits.rows(split), most),
            transform: None,
            features: Some(output),
        };
        Scored::of(context, &data, &trained, pass)
    };
    let most = TRAIN.min((data.splits.train.len() / 2).max(200));
    let train = scored(Split::Train, most)?;
    let val = scored(Split::Val, usize::MAX)?;
    let test = scored(Split::Test, usize::MAX)?;
    let classes = data.manifest.classes().len();
    let accepted = context.settings.novelty.accepted;
    let detector = NoveltyDetector::fit(
        output,
        known(&train, classes),
        known(&val, classes),
        accepted,
    )?;
    let path = context.run.file(crate::MODEL);
    let mut checkpoint = Checkpoint::load(&path)?;
    checkpoint.novelty = Some(Box::new(detector.store()));
    checkpoint.save(&path)?;

    let tried = Tried {
        detector: &detector,
        inside: Scores::of(&detector, &test, classes)?,
        level: context.settings.evaluate.confidence,
        classes,
    };
    let foreign = foreign(context, &data, &trained, &detector)?;
    let kinds = foreign
        .iter()
        .map(|(name, scored)| tried.kind(name, scored));
    let novelty = Novelty {
        output: output.into(),
        features: detector.features(),
        train: train.labels.len(),
        shrinkage: detector.rule().shrinkage,
        promised: accepted,
        test: tried.accepted(&test)?,
        kinds: kinds.collect::<Result<_>>()?,
    };
    context.progress.say(format!(
        "  test images accepted: {}",
        crate::words::percent(&novelty.test)
    ));
    context.section("novelty", &section::write(&novelty)?)?;
    add(context, |metrics| metrics.novelty = Some(novelty))
}

fn known(scored: &Scored, classes: usize) -> Known<'_> {
    Known {
        features: &scored.features,
        logits: &scored.logits,
        labels: &scored.labels,
        patients: &scored.patients,
        classes,
    }
}

/// The outputs on images of every other kind, with its name.
fn foreign(
    context: &Context<'_>,
    data: &Data,
    trained: &Bundle,
    detector: &NoveltyDetector,
) -> Result<Vec<(String, Scored)>> {
    let asked = context.settings.novelty.images;
    let n = sample_size(asked, data.splits.train.len(), PER_KIND);
    let kinds = kinds::all(context, data, trained, n)?;
    let total: usize = kinds.iter().map(|kind| kind.held.len()).sum();
    let job = context
        .progress
        .job("images of other kinds", "images", total as u64);
    let scored = |kind: kinds::Kind| {
        let network = (trained, Some(detector.output()));
        let scored = kind.held.scored(context, network, &*kind.change, &job)?;
        Ok((kind.name, scored))
    };
    kinds.into_iter().map(scored).collect()
}

/// The outlier scores of some images, in the order of [`NoveltyKind::figures`].
struct Scores([Vec<f64>; 4]);

impl Scores {
    fn of(detector: &NoveltyDetector, scored: &Scored, classes: usize) -> Result<Self> {
        let found = detector.scores(known(scored, classes))?;
        let part = |of: fn(&NoveltyScore) -> f64| found.iter().map(of).collect();
        let logits = scored.logits.chunks(classes);
        Ok(Scores([
            part(|score| score.novelty),
            part(|score| score.distance),
            part(|score| score.energy),
            logits.map(|logits| -max_logit(logits)).collect(),
        ]))
    }
}

/// A detector that is tried, with the scores of the test images.
struct Tried<'a> {
    detector: &'a NoveltyDetector,
    inside: Scores,
    level: f64,
    classes: usize,
}

impl Tried<'_> {
    fn accepted(&self, test: &Scored) -> Result<metrics::Interval> {
        let accepted: Vec<bool> = self.inside.0[0].iter().map(|score| *score <= 1.0).collect();
        Ok(proportion(&accepted, Some(&test.patients), self.level)?)
    }

    fn kind(&self, name: &str, scored: &Scored) -> Result<NoveltyKind> {
        let outside = Scores::of(self.detector, scored, self.classes)?;
        let detected: Vec<bool> = outside.0[0].iter().map(|score| *score > 1.0).collect();
        let figures = |i: usize| -> Result<NoveltyFigures> {
            let (inside, outside) = (&self.inside.0[i], &outside.0[i]);
            Ok(NoveltyFigures {
                auroc: novelty_auroc(inside, outside)?,
                fpr95: fpr_at(inside, outside, 0.95)?,
            })
        };
        Ok(NoveltyKind {
            name: name.into(),
            detected: proportion(&detected, Some(&scored.patients), self.level)?,
            figures: [figures(0)?, figures(1)?, figures(2)?, figures(3)?],
        })
    }
}
