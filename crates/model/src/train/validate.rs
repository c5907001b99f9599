//! One pass over the validation batches.

use std::collections::BTreeMap;

use dfdx::prelude::{AsArray, Cpu, NoneTape, TensorFromVec};

use super::event::{Batch, Data, Metric, Observer, Phase, PhaseRecord};
use super::loss::{ClassObjective, Logits, LossError};
use super::run::Run;
use super::tally::{Place, Scores, Sums, hits, images};
use super::{BatchError, TrainError};
use crate::engine::Value;
use crate::network::Network;

/// A phase's record and its further figures.
type Validated = (Option<PhaseRecord>, BTreeMap<String, f64>);

impl Run<'_> {
    /// Judges the network (its moving average, if there is one) on the validation batches; `None` if it was
    /// interrupted.
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
        let (epoch, batches, lr) = (
            self.epochs_done() + 1,
            data.validation_batches(),
            self.lr(data.train_batches()),
        );
        let (mut sums, mut probabilities, mut labels) = (Sums::default(), vec![], vec![]);
        for (i, batch) in data.validation().enumerate() {
            if observer.interrupted() {
                return Ok(None);
            }
            let place = Place {
                phase: Phase::Validation,
                epoch,
                batch: i + 1,
                batches,
            };
            let batch = place.loaded(batch)?;
            let (scores, logits) = self
                .evaluate(network, &batch)
                .map_err(|e| place.error(&batch, e))?;
            sums.add(&batch, &scores);
            probabilities.extend(logits.data.chunks(logits.shape.c).flat_map(softmax));
            labels.extend(&batch.labels);
            observer.batch(&sums.event(place, lr));
        }
        Ok(Some((
            Some(sums.means()),
            self.figures(&probabilities, &labels),
        )))
    }

    fn evaluate(&self, network: &Network, batch: &Batch) -> Result<(Scores, Value), BatchError> {
        let map = &self.job.config.map;
        let masks = batch.masks.as_ref().filter(|_| map.is_on());
        let outputs: &[&str] = if masks.is_some() {
            &["logits", "map"]
        } else {
            &["logits"]
        };
        let mut values = network.infer(images(batch), outputs)?.into_iter();
        let Some(logits) = values.next() else {
            return Err(LossError::Tensor("no output".into()).into());
        };
        let (shape, device) = (logits.shape, Cpu::default());
        let tensor: Logits<NoneTape> = device
            .try_tensor_from_vec(logits.data.clone(), (shape.n, shape.c))
            .map_err(LossError::from)?;
        let loss = ClassObjective::default()
            .loss(tensor, &batch.labels)?
            .array();
        let mut scores = Scores {
            loss,
            hits: hits(&logits.data, shape.c, &batch.labels),
            map_loss: None,
        };
        if let (Some(value), Some(masks)) = (values.next(), masks) {
            let s = value.shape;
            let tensor = device
                .try_tensor_from_vec(value.data, (s.n, s.h, s.w, s.c))
                .map_err(LossError::from)?;
            scores.map_loss = map
                .loss::<NoneTape>(tensor, masks)?
                .map(|loss| loss.array());
        }
        Ok((scores, logits))
    }

    /// The caller's metrics; what is not a number has none.
    fn figures(&self, probabilities: &[f32], labels: &[usize]) -> BTreeMap<String, f64> {
        let usable = !labels.is_empty() && probabilities.iter().all(|p| p.is_finite());
        let compute = |m: &Metric<'_>| {
            if usable {
                (m.compute)(probabilities, labels)
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

fn softmax(row: &[f32]) -> Vec<f32> {
    let max = row.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
    let exps: Vec<f32> = row.iter().map(|v| (v - max).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}
