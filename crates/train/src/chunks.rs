//! A step in chunks: forward and backward chunk by chunk, on this process or another, and the sums over all.
//!
//! A chunk's gradients and the change of its running statistics are multiplied by its number of images, added up in the
//! order that [`collective::sum`] fixes, and divided by the batch's images. Whoever computes a chunk, and on however many
//! processes, the step is the same to the bit.
//!
//! The sums are made bucket by bucket ([`super::buckets`]) by a thread of their own, while the backward pass of this
//! process's last chunk computes the next ones. Chunks whose batch norms share their statistics are computed together
//! ([`super::lockstep`]), and their sums are made afterwards.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use collective::sum::{Parts, Reducer, Spare};
use collective::{Collective, CollectiveError, Division};

use super::TrainError;
use super::buckets::{Buckets, sending};
use super::buffers::Buffers;
use super::event::Batch;
use super::pass::Local;
use super::run::Run;
use super::share::Share;
use super::tally::{Place, Spent};
use super::together::{Told, agree};
use model::graph::NodeId;
use model::network::Network;
use model::store::ParamStore;
use random::Rng;

/// Results of chunks, with their numbers.
type AllTold = Vec<(usize, Told)>;

/// A step's sums over all processes.
pub(super) struct StepSums<'a> {
    pub(super) processes: &'a dyn Collective,
    pub(super) buckets: &'a Buckets,
    /// The chunks of this process.
    pub(super) division: Division,
    /// By chunk, whether it has images.
    pub(super) filled: Vec<bool>,
    /// The running statistics before the step.
    pub(super) before: Vec<f32>,
}

/// What this process has computed for them.
pub(super) struct Computed<'s> {
    pub(super) parts: Parts,
    pub(super) last: Last<'s>,
    pub(super) told: AllTold,
}

/// The last chunk of a process.
pub(super) enum Last<'s> {
    /// There is none, or the process could not compute its chunks.
    Missing,
    /// Its number and images.
    ToCompute(usize, &'s Batch),
    /// Its numbers, in the order of the buckets.
    Known(Vec<f32>),
}

impl Run<'_> {
    /// Whether batches are cut, or shared with other processes.
    pub(super) fn in_chunks(&self) -> bool {
        self.job.config.chunks > 1 || self.job.processes.size() > 1
    }

    /// The chunks of a batch of `images` that this process computes.
    pub(super) fn own_chunks(&self, images: usize) -> Vec<usize> {
        let division = self.division();
        let filled = filled(&division, images);
        division.own.filter(|chunk| filled[*chunk]).collect()
    }

    pub(super) fn division(&self) -> Division {
        let processes = self.job.processes;
        Division::new(self.job.config.chunks, processes.rank(), processes.size())
    }

    /// Forward and backward of a batch of `images`, whose gradients and running statistics the network has afterwards;
    /// `None` if a process was interrupted.
    pub(super) fn together(
        &mut self,
        network: &mut Network,
        images: usize,
        share: Result<Option<Share>, TrainError>,
        place: Place,
    ) -> Result<Option<Local>, TrainError> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let all = || Buckets::new(network.graph(), &network.store_map());
        let buckets = buffers.buckets.take().unwrap_or_else(all);
        let division = self.division();
        let step = StepSums {
            processes: self.job.processes,
            buckets: &buckets,
            filled: filled(&division, images),
            division,
            before: network.statistics(),
        };
        let local = self.own_and_others(&step, &mut buffers, network, share, place);
        if !matches!(local, Ok(Some(_))) {
            network.set_statistics(&step.before);
        }
        buffers.buckets = Some(buckets);
        self.buffers = buffers;
        local
    }

    /// This process's chunks, and the sums over those of all processes.
    fn own_and_others(
        &self,
        step: &StepSums<'_>,
        buffers: &mut Buffers,
        network: &mut Network,
        share: Result<Option<Share>, TrainError>,
        place: Place,
    ) -> Result<Option<Local>, TrainError> {
        let start = Instant::now();
        if self.job.config.sync_batch_norm {
            let own = self.in_lockstep(network, share, (step, &mut buffers.spare), place)?;
            let Some(own) = own else { return Ok(None) };
            return self.summed(network, Ok(Some(own)), (step, buffers), (place, start));
        }
        let kept; // the batches, of which the last chunk's is still to be computed
        let own = match share {
            Ok(Some(share)) => {
                kept = share;
                let own = self.all_but_last(network, &kept, (step, &mut buffers.spare), place);
                own.map(Some)
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        self.summed(network, own, (step, buffers), (place, start))
    }

    /// The last chunk, the sums, and what all processes tell of theirs.
    fn summed(
        &self,
        network: &mut Network,
        own: Result<Option<Computed<'_>>, TrainError>,
        (step, buffers): (&StepSums<'_>, &mut Buffers),
        (place, start): (Place, Instant),
    ) -> Result<Option<Local>, TrainError> {
        // A process that could not compute its chunks takes part in the sums all the same: the others wait for it.
        let (own, failed) = match own {
            Ok(Some(own)) => (own, None),
            Ok(None) => (step.nothing(), Some(Ok(None))),
            Err(error) => (step.nothing(), Some(Err(error))),
        };
        let Computed {
            parts,
            last,
            mut told,
        } = own;
        let Buffers {
            spare,
            whole,
            reducer,
            ..
        } = buffers;
        whole.resize(step.buckets.len(), 0.0);
        let (to, from) = channel();
        let (last, computing, sums) = thread::scope(|scope| {
            step.processes.computing(true);
            let sums = scope.spawn(|| step.sum(&parts, from, (reducer, whole)));
            let last = self.last(network, last, (step, to), place);
            step.processes.computing(false);
            (last, start.elapsed(), sums.join())
        });
        parts.into_spare(spare);
        let sums = sums.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let summing = start.elapsed() - computing;
        let own = failed.unwrap_or_else(|| {
            last.map(|last| {
                told.extend(last);
                Some((computing, told))
            })
        });
        if let Err(lost) = sums {
            return Err(own.err().unwrap_or_else(|| lost.into()));
        }
        let Some(all) = agree(step.processes, own)? else {
            return Ok(None);
        };
        let slowest = all.iter().map(|(computing, _)| *computing).max();
        let met = slowest.unwrap_or_default().saturating_sub(computing);
        let met = met.min(summing);
        let mut told: AllTold = all.into_iter().flat_map(|(_, told)| told).collect();
        told.sort_by_key(|(chunk, _)| *chunk);
        let images = told.iter().map(|(_, told)| told.images).sum::<usize>();
        step.spread(network, whole, images);
        let chunks = told.iter().map(|(_, told)| (told.images, told.scores()));
        Ok(Some(Local {
            chunks: chunks.collect(),
            spent: Spent {
                met,
                summed: summing - met,
            },
        }))
    }

    /// Forward and backward of this process's chunks except the last.
    fn all_but_last<'s>(
        &self,
        network: &mut Network,
        share: &'s Share,
        (step, spare): (&StepSums<'_>, &mut Spare),
        place: Place,
    ) -> Result<Computed<'s>, TrainError> {
        let mut told = vec![];
        let batch = |chunk| share.iter().find(|(number, _)| *number == chunk);
        let mut leaf = |chunk: usize, spare: &mut Spare| -> Result<_, TrainError> {
            let Some((_, batch)) = batch(chunk) else {
                return Ok(None);
            };
            network.set_statistics(&step.before);
            let scores = self.passed(network, batch, self.chunk_seed(chunk), place)?;
            told.push((chunk, Told::new(batch.shape.n, &scores)));
            let (mut values, weight) = (spare.pop().unwrap_or_default(), batch.shape.n as f32);
            let gradients = network.gradients();
            let gradients = gradients.map_err(|e| place.error(&batch.name, e))?;
            step.pack(&gradients, weight, &mut values);
            drop(gradients);
            values.extend(step.moved(network, weight));
            Ok(Some(values))
        };
        let own = &step.division.own;
        let (parts, last) = Parts::without_last(&step.filled, own, &mut leaf, spare)?;
        let last = last
            .and_then(batch)
            .map_or(Last::Missing, |(chunk, batch)| {
                Last::ToCompute(*chunk, batch)
            });
        Ok(Computed { parts, last, told })
    }

    /// Sends the buckets of this process's last chunk, each as soon as it is computed.
    fn last(
        &self,
        network: &mut Network,
        last: Last<'_>,
        (step, to): (&StepSums<'_>, Sender<Vec<f32>>),
        place: Place,
    ) -> Result<Option<(usize, Told)>, TrainError> {
        // Nobody receives what is sent if the exchange has failed, which the receiver reports.
        let send = |values| drop(to.send(values));
        let (chunk, batch) = match last {
            Last::Missing => return Ok(None),
            Last::Known(values) => {
                let places = step.buckets.places();
                places.for_each(|place| send(values[place].to_vec()));
                return Ok(None);
            }
            Last::ToCompute(chunk, batch) => (chunk, batch),
        };
        let weight = batch.shape.n as f32;
        network.set_statistics(&step.before);
        network.watch_backward(Some(sending(step.buckets, weight, to.clone())));
        let scores = self.passed(network, batch, self.chunk_seed(chunk), place);
        let watch = network.watch_backward(None);
        let scores = scores?;
        let gradients = network.gradients();
        let gradients = gradients.map_err(|e| place.error(&batch.name, e))?;
        // Not every engine tells of gradients during the pass.
        watch
            .into_iter()
            .for_each(|mut watch| watch(&gradients, NodeId::INPUT));
        drop(gradients);
        send(step.moved(network, weight).collect());
        Ok(Some((chunk, Told::new(batch.shape.n, &scores))))
    }

    /// Seed of a chunk's dropout.
    pub(super) fn chunk_seed(&self, chunk: usize) -> u64 {
        match chunk {
            0 => self.seed(),
            chunk => Rng::keyed(self.seed(), &[chunk as u64]).next_u64(),
        }
    }
}

/// By chunk, whether it has images.
pub(super) fn filled(division: &Division, images: usize) -> Vec<bool> {
    let filled = |chunk| !division.images(chunk, images).is_empty();
    (0..division.chunks).map(filled).collect()
}

impl StepSums<'_> {
    /// What a process adds that could not compute its chunks: nobody uses the sums.
    fn nothing(&self) -> Computed<'static> {
        Computed {
            parts: Parts::zeros(&self.filled, &self.division.own, self.buckets.len()),
            last: Last::Missing,
            told: vec![],
        }
    }

    /// The sums over all processes, bucket by bucket, as those of this process's last chunk arrive.
    fn sum(
        &self,
        parts: &Parts,
        from: Receiver<Vec<f32>>,
        (reducer, whole): (&mut Reducer, &mut [f32]),
    ) -> Result<(), CollectiveError> {
        for place in self.buckets.places() {
            // None arrives if the chunk cannot be computed: nobody uses the sums then.
            let mut last = from.recv().unwrap_or_else(|_| vec![0.0; place.len()]);
            let own = parts.of_range(&place, &mut last);
            reducer.reduce(self.processes, &self.filled, &own, &mut whole[place])?;
        }
        Ok(())
    }

    /// A chunk's gradients times `weight`, in the order of the buckets.
    pub(super) fn pack(&self, gradients: &ParamStore, weight: f32, values: &mut Vec<f32>) {
        values.clear();
        self.buckets.pack(gradients, weight, values);
    }

    /// By how much the running statistics have moved, times `weight`.
    pub(super) fn moved(&self, network: &Network, weight: f32) -> impl Iterator<Item = f32> {
        let after = network.statistics().into_iter().zip(&self.before);
        after.map(move |(after, before)| (after - before) * weight)
    }

    /// Means over the batch, from sums: to the network's gradients and running statistics.
    fn spread(&self, network: &mut Network, whole: &[f32], images: usize) {
        let images = images.max(1) as f32;
        let mut gradients = network.gradients_to_write();
        let moved = self.buckets.spread(whole, images, &mut gradients);
        drop(gradients);
        let after = moved
            .iter()
            .zip(&self.before)
            .map(|(sum, b)| b + sum / images);
        network.set_statistics(&after.collect::<Vec<_>>());
    }
}
