//! The average of the last epochs' weights gets running statistics of its own (PyTorch's `update_bn`), and replaces the
//! weights of the last epoch.

use super::TrainError;
use super::chunks::filled;
use super::event::{Data, Observer, Phase};
use super::lockstep::Exchanged;
use super::run::Run;
use super::share::{Share, share};
use super::swa::Swa;
use super::tally::{Place, images};
use super::together::agree;
use model::graph::{Graph, NodeId, Op, ParamId};
use model::network::Network;
use model::store::{Group, ParamStore};
use random::Rng;

/// Distinguishes the dropout of the pass for the statistics from that of training.
const STATISTICS: u64 = 0x7377_6100;

impl Run<'_> {
    /// After an epoch's training, adds its weights to the average if it is one of the last. After the last epoch the
    /// network gets the average and its running statistics: they are what is then validated and saved. False if
    /// interrupted.
    pub(super) fn average(
        &mut self,
        network: &mut Network,
        data: &mut dyn Data,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let (epoch, epochs) = (self.epochs_done() + 1, self.job.config.epochs);
        let covered = self
            .job
            .config
            .swa
            .is_some_and(|swa| swa.covers(epoch, epochs));
        if !covered {
            return Ok(true);
        }
        let mut values = network.store();
        let swa = self.swa.get_or_insert_with(|| Swa::new(&values));
        swa.add(&values);
        if epoch < epochs {
            return Ok(true);
        }
        for group in Group::TRAINABLE {
            values
                .group_mut(group)
                .copy_from_slice(swa.average().group(group));
        }
        self.recompute_statistics(network, values, data, observer)
    }

    /// Sets the network's values, with running statistics that are the mean over an epoch's training batches of each
    /// batch's own (PyTorch's `update_bn`). Those of a frozen encoder stay as they are.
    fn recompute_statistics(
        &self,
        network: &mut Network,
        mut values: ParamStore,
        data: &mut dyn Data,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let (epoch, config) = (self.epochs_done() + 1, self.job.config);
        let heads = self.heads_of(config.wants_masks());
        let frozen = config.freeze.is_some_and(|freeze| freeze.at(epoch));
        let norms = norms(network.graph(), &network.outputs(heads)?, frozen);
        for norm in &norms {
            // A pass moves running statistics from zero to their momentum times the batch's.
            norm.statistics
                .iter()
                .for_each(|id| values.get_mut(*id).fill(0.0));
        }
        let mut means = Means::new(&norms, &values);
        let batches = data.train_batches();
        let counts: Vec<_> = (0..batches).map(|batch| data.train_images(batch)).collect();
        let mut queue = data.train(epoch);
        for (i, count) in counts.into_iter().enumerate() {
            let place = Place {
                phase: Phase::Train,
                epoch,
                batch: i + 1,
                batches,
            };
            let mut statistics = |share: Share| -> Result<Vec<Statistics>, TrainError> {
                let found = share.iter().map(|(chunk, batch)| {
                    network.set_store(values.clone());
                    let seed = self.statistics_seed(i, *chunk);
                    network
                        .forward(images(batch), seed, heads)
                        .map_err(|e| place.error(&batch.name, e))?;
                    Ok((*chunk, found(&norms, &network.store())))
                });
                found.collect()
            };
            let chunks = self.own_chunks(count);
            let own = share(&chunks, &mut queue, place, observer);
            let own = match config.sync_batch_norm {
                true => self.shared_statistics(network, own, (count, &norms, &values), place),
                false => own.and_then(|share| share.map(&mut statistics).transpose()),
            };
            let Some(all) = agree(self.job.processes, own)? else {
                return Ok(false);
            };
            let mut all: Vec<Statistics> = all.into_iter().flatten().collect();
            all.sort_by_key(|(chunk, _)| *chunk);
            all.iter().for_each(|(_, found)| means.add(&norms, found));
        }
        drop(queue);
        means.write(&norms, &mut values);
        network.set_store(values);
        Ok(true)
    }

    /// The statistics of a batch of `images` whose chunks share them, which one process tells; `None` if one was
    /// interrupted.
    fn shared_statistics(
        &self,
        network: &mut Network,
        share: Result<Option<Share>, TrainError>,
        (images, norms, values): (usize, &[Norm], &ParamStore),
        place: Place,
    ) -> Result<Option<Vec<Statistics>>, TrainError> {
        network.set_store(values.clone());
        let filled = filled(&self.division(), images);
        let mut exchange = Exchanged::new(self.job.processes, &filled);
        let seed = |chunk| self.statistics_seed(place.batch - 1, chunk);
        let passed = self.forward_chunks(network, share, &mut exchange, seed, place)?;
        let teller = filled.iter().position(|filled| *filled);
        let told = passed.map(|(share, _)| {
            let own = share.iter().filter(|(chunk, _)| Some(*chunk) == teller);
            own.map(|(chunk, _)| (*chunk, found(norms, &network.store())))
                .collect()
        });
        Ok(told)
    }

    /// Seed of the dropout of a chunk of a batch, both from 0.
    fn statistics_seed(&self, batch: usize, chunk: usize) -> u64 {
        let batch = batch as u64;
        match chunk {
            0 => Rng::keyed(self.job.seed, &[STATISTICS, batch]).next_u64(),
            chunk => Rng::keyed(self.job.seed, &[STATISTICS, batch, chunk as u64]).next_u64(),
        }
    }
}

/// A chunk, and the bits of the statistics that its pass left, in the order of the norms.
type Statistics = (usize, Vec<u32>);

fn found(norms: &[Norm], store: &ParamStore) -> Vec<u32> {
    let ids = norms.iter().flat_map(|norm| &norm.statistics);
    ids.flat_map(|id| store.get(*id))
        .map(|v| v.to_bits())
        .collect()
}

/// A batch norm's running statistics, and the weight of a batch in them.
struct Norm {
    statistics: Vec<ParamId>,
    momentum: f64,
}

/// The norms that a training pass updates.
fn norms(graph: &Graph, outputs: &[NodeId], frozen_encoder: bool) -> Vec<Norm> {
    let mut needed = vec![false; graph.nodes.len()];
    outputs.iter().for_each(|id| needed[id.index()] = true);
    let mut norms = vec![];
    for id in graph
        .ids()
        .rev()
        .filter(|id| !(frozen_encoder && graph.in_encoder(*id)))
    {
        let node = graph.node(id);
        if !needed[id.index()] {
            continue;
        }
        node.inputs
            .iter()
            .for_each(|input| needed[input.index()] = true);
        if let Op::BatchNorm { momentum, .. } = node.op
            && momentum > 0.0
        {
            let statistics = node.params.iter().copied();
            let statistics = statistics.filter(|id| !graph.param(*id).role.trainable());
            norms.push(Norm {
                statistics: statistics.collect(),
                momentum: momentum.into(),
            });
        }
    }
    norms
}

/// Sums of the batches' statistics, in the order of the norms.
struct Means {
    sums: Vec<Vec<f64>>,
    batches: usize,
}

impl Means {
    fn new(norms: &[Norm], values: &ParamStore) -> Self {
        let ids = norms.iter().flat_map(|norm| &norm.statistics);
        Means {
            sums: ids.map(|id| vec![0.0; values.get(*id).len()]).collect(),
            batches: 0,
        }
    }

    /// Adds the statistics of a batch or a chunk, found in what a pass made of zeros.
    fn add(&mut self, norms: &[Norm], found: &[u32]) {
        let momenta = norms
            .iter()
            .flat_map(|norm| norm.statistics.iter().map(|_| norm.momentum));
        let mut found = found.iter();
        for (momentum, sums) in momenta.zip(&mut self.sums) {
            for (sum, value) in sums.iter_mut().zip(found.by_ref()) {
                *sum += f64::from(f32::from_bits(*value)) / momentum;
            }
        }
        self.batches += 1;
    }

    fn write(&self, norms: &[Norm], values: &mut ParamStore) {
        let ids = norms.iter().flat_map(|norm| &norm.statistics);
        for (id, sums) in ids.zip(&self.sums) {
            for (value, sum) in values.get_mut(*id).iter_mut().zip(sums) {
                *value = (sum / self.batches.max(1) as f64) as f32;
            }
        }
    }
}
