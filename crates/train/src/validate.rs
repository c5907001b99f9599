//! One pass over the validation batches.

use std::collections::BTreeMap;

use dfdx::prelude::{AsArray, Cpu, NoneTape, TensorFromVec};
use serde::{Deserialize, Serialize};

use super::event::{Batch, Data, Metric, Observer, Phase, PhaseRecord};
use super::loss::{ClassObjective, Logits, LossError};
use super::map_dice::ImageDice;
use super::map_loss::{MapObjective, Masks};
use super::run::Run;
use super::tally::{Place, Scores, Sums, hits, images};
use super::together::{Told, agree};
use super::{BatchError, TrainError};
use model::engine::Value;
use model::network::Network;

/// A phase's record and its additional metrics.
type Validated = (Option<PhaseRecord>, BTreeMap<String, f64>);

/// Results of a validation batch, as processes tell them.
#[derive(Serialize, Deserialize)]
struct Judged {
    /// From 0.
    number: usize,
    told: Told,
    /// Bits of the class scores, and the labels; both empty if classes are not evaluated.
    logits: Vec<u32>,
    labels: Vec<usize>,
}

impl Judged {
    fn new(number: usize, batch: &Batch, scores: &Scores, logits: Option<Value>) -> Self {
        Judged {
            number,
            told: Told::new(batch.shape.n, scores),
            labels: logits.iter().flat_map(|_| &batch.labels).copied().collect(),
            logits: logits
                .into_iter()
                .flat_map(|value| value.data)
                .map(f32::to_bits)
                .collect(),
        }
    }
}

impl Run<'_> {
    /// Evaluates the network (with the moving average of its weights, if there is one) on the validation batches;
    /// `None` if interrupted.
    pub(super) fn validate(
        &self,
        network: &mut Network,
        data: &mut dyn Data,
        observer: &mut dyn Observer,
    ) -> Result<Option<Validated>, TrainError> {
        if data.validation_batches() == 0 {
            return Ok(Some((None, BTreeMap::new())));
        }
        let Some(ema) = &self.ema else {
            return self.judge(network, data, observer);
        };
        let raw = network.store();
        network.set_store(ema.average().clone());
        let validated = self.judge(network, data, observer);
        network.set_store(raw);
        validated
    }

    fn judge(
        &self,
        network: &Network,
        data: &mut dyn Data,
        observer: &mut dyn Observer,
    ) -> Result<Option<Validated>, TrainError> {
        let own = self.judge_own(network, data, observer);
        let Some(all) = agree(self.job.processes, own)? else {
            return Ok(None);
        };
        let mut judged: Vec<Judged> = all.into_iter().flatten().collect();
        judged.sort_by_key(|batch| batch.number);
        let (mut sums, mut scored, mut labels) = (Sums::default(), vec![], vec![]);
        for batch in judged {
            sums.add(batch.told.images, &batch.told.scores());
            scored.extend(batch.logits.into_iter().map(f32::from_bits));
            labels.extend(batch.labels);
        }
        Ok(Some((Some(sums.means()), self.figures(&scored, &labels))))
    }

    /// The batches of this process; `None` if interrupted.
    fn judge_own(
        &self,
        network: &Network,
        data: &mut dyn Data,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Judged>>, TrainError> {
        let (epoch, batches, lr) = (
            self.epochs_done() + 1,
            data.validation_batches(),
            self.lr(data.train_batches()),
        );
        let (rank, size) = (self.job.processes.rank(), self.job.processes.size());
        let (mut sums, mut judged) = (Sums::default(), vec![]);
        for (number, batch) in (rank..).step_by(size).zip(data.validation()) {
            if observer.interrupted() {
                return Ok(None);
            }
            let place = Place {
                phase: Phase::Validation,
                epoch,
                batch: number + 1,
                batches,
            };
            let batch = place.loaded(batch)?;
            let (scores, logits) = self
                .evaluate(network, &batch)
                .map_err(|e| place.error(&batch.name, e))?;
            sums.add(batch.shape.n, &scores);
            judged.push(Judged::new(number, &batch, &scores, logits));
            observer.batch(&sums.event(place, lr));
        }
        Ok(Some(judged))
    }

    /// A batch's results, and its class scores if they are evaluated.
    fn evaluate(
        &self,
        network: &Network,
        batch: &Batch,
    ) -> Result<(Scores, Option<Value>), BatchError> {
        let (map, classifies) = (&self.job.config.map, self.job.config.task().classifies());
        let masks = batch.masks().filter(|_| map.is_on());
        let outputs: &[&str] = match (classifies, masks) {
            (false, _) => &["map"],
            (true, None) => &["logits"],
            (true, Some(_)) => &["logits", "map"],
        };
        let mut values = network.infer(images(batch), outputs)?.into_iter();
        let logits = if classifies { values.next() } else { None };
        let mut scores = Scores::default();
        if let Some(logits) = &logits {
            scores.class = Some(judge_scores(logits, &batch.labels)?);
        }
        if let (Some(value), Some(masks)) = (values.next(), masks) {
            scores.dice = ImageDice::new(&value, &masks, map)?;
            scores.map_loss = judge_map(map, value, &masks)?;
        }
        Ok((scores, logits))
    }

    /// The caller's metrics on the class scores, if these are evaluated; NaN where a score is not finite.
    fn figures(&self, logits: &[f32], labels: &[usize]) -> BTreeMap<String, f64> {
        if !self.job.config.task().classifies() {
            return BTreeMap::new();
        }
        let usable = !labels.is_empty() && logits.iter().all(|z| z.is_finite());
        let compute = |m: &Metric<'_>| {
            if usable {
                (m.compute)(logits, labels)
            } else {
                f64::NAN
            }
        };
        self.job
            .metrics
            .iter()
            .map(|m| (m.name.to_string(), compute(m)))
            .collect()
    }
}

/// Plain cross-entropy and the number of correct predictions.
fn judge_scores(logits: &Value, labels: &[usize]) -> Result<(f32, usize), LossError> {
    let (n, classes) = (logits.shape.n, logits.shape.c);
    let tensor: Logits<NoneTape> =
        Cpu::default().try_tensor_from_vec(logits.data.clone(), (n, classes))?;
    let loss = ClassObjective::default().loss(tensor, labels)?.array();
    Ok((loss, hits(&logits.data, classes, labels)))
}

/// The loss of the final map.
fn judge_map(
    objective: &MapObjective,
    map: Value,
    masks: &Masks<'_>,
) -> Result<Option<f32>, LossError> {
    let s = map.shape;
    let tensor = Cpu::default().try_tensor_from_vec(map.data, (s.n, s.h, s.w, s.c))?;
    let loss = objective.loss::<NoneTape>(tensor, masks)?;
    Ok(loss.map(|loss| loss.array()))
}
