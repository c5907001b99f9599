//! A step in chunks: forward and backward chunk by chunk, on this process or another, then the sums over all.
//!
//! A chunk's gradients and the change of its running statistics are multiplied by its number of images, added up in the
//! order that [`collective::sum`] fixes, and divided by the batch's images. Whoever computes a chunk, and on however many
//! processes, the step is the same to the bit.

use std::time::Instant;

use collective::Division;
use collective::sum::{self, Own, Spare};

use super::TrainError;
use super::buffers::Buffers;
use super::pass::Local;
use super::run::Run;
use super::share::Share;
use super::tally::{Place, Spent};
use super::together::{Told, agree};
use model::network::Network;
use model::store::Group;
use random::Rng;

/// What this process has computed of a step.
struct Computed {
    own: Own,
    /// By chunk.
    told: Vec<(usize, Told)>,
}

impl Run<'_> {
    /// Whether batches are cut, or shared with other processes.
    pub(super) fn in_chunks(&self) -> bool {
        self.job.config.chunks > 1 || self.job.processes.size() > 1
    }

    /// Forward and backward of a batch, whose gradients and running statistics the network has afterwards; `None` if a
    /// process was interrupted.
    pub(super) fn together(
        &mut self,
        network: &mut Network,
        share: Result<Option<Share>, TrainError>,
        place: Place,
    ) -> Result<Option<Local>, TrainError> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let local = self.together_in(&mut buffers, network, share, place);
        self.buffers = buffers;
        local
    }

    fn together_in(
        &self,
        buffers: &mut Buffers,
        network: &mut Network,
        share: Result<Option<Share>, TrainError>,
        place: Place,
    ) -> Result<Option<Local>, TrainError> {
        let processes = self.job.processes;
        let before = network.statistics();
        let mut compute =
            |share: Share| self.compute(network, &share, (&before, &mut buffers.spare), place);
        let computed = share.and_then(|share| share.map(&mut compute).transpose());
        let (own, told) = match computed {
            Ok(Some(Computed { own, told })) => (Some(own), Ok(Some(told))),
            Ok(None) => (None, Ok(None)),
            Err(error) => (None, Err(error)),
        };
        let computed = Instant::now();
        let (Some(all), Some(own)) = (agree(processes, told)?, own) else {
            network.set_statistics(&before);
            return Ok(None);
        };
        let met = computed.elapsed();
        let mut told: Vec<(usize, Told)> = all.into_iter().flatten().collect();
        told.sort_by_key(|(chunk, _)| *chunk);
        let mut filled = vec![false; self.job.config.chunks];
        for (chunk, _) in &told {
            // A number that comes from another process: one that does not exist makes the sums disagree.
            if let Some(filled) = filled.get_mut(*chunk) {
                *filled = true;
            }
        }
        let map = network.store_map();
        let len = Group::ALL.iter().map(|group| map.len(*group)).sum();
        buffers.whole.resize(len, 0.0);
        buffers
            .reducer
            .reduce(processes, &filled, &own, &mut buffers.whole)?;
        buffers.spare.extend(own.into_iter().map(|(_, sum)| sum));
        let images = told.iter().map(|(_, told)| told.images).sum::<usize>();
        spread(network, (&before, &buffers.whole), images);
        let chunks = told
            .iter()
            .map(|(_, told)| (told.images, told.scores()))
            .collect();
        let summed = computed.elapsed() - met;
        Ok(Some(Local {
            chunks,
            spent: Spent { met, summed },
        }))
    }

    /// Forward and backward of this process's chunks.
    fn compute(
        &self,
        network: &mut Network,
        share: &Share,
        (before, spare): (&[f32], &mut Spare),
        place: Place,
    ) -> Result<Computed, TrainError> {
        let mut told = vec![];
        let mut leaf = |chunk: usize, spare: &mut Spare| {
            let Some((_, batch)) = share.iter().find(|(number, _)| *number == chunk) else {
                return Ok(None);
            };
            network.set_statistics(before);
            let scores = self.passed(network, batch, self.chunk_seed(chunk), place)?;
            told.push((chunk, Told::new(batch.shape.n, &scores)));
            let values = spare.pop().unwrap_or_default();
            packed(network, (before, batch.shape.n), values)
                .map(Some)
                .map_err(|e| place.error(&batch.name, e))
        };
        let processes = self.job.processes;
        let chunks = self.job.config.chunks;
        let division = Division::new(chunks, processes.rank(), processes.size());
        let mut own = vec![];
        for node in sum::subtrees(chunks, &division.own) {
            let sum = sum::fold(&node, &mut leaf, spare)?;
            own.extend(sum.map(|sum| (node, sum)));
        }
        Ok(Computed { own, told })
    }

    /// Seed of a chunk's dropout.
    fn chunk_seed(&self, chunk: usize) -> u64 {
        match chunk {
            0 => self.seed(),
            chunk => Rng::keyed(self.seed(), &[chunk as u64]).next_u64(),
        }
    }
}

/// Gradients, then changes of the running statistics, each times the number of images.
fn packed(
    network: &Network,
    (before, images): (&[f32], usize),
    mut values: Vec<f32>,
) -> Result<Vec<f32>, super::BatchError> {
    let weight = images as f32;
    values.clear();
    let gradients = network.gradients()?;
    for group in Group::TRAINABLE {
        values.extend(gradients.group(group).iter().map(|g| g * weight));
    }
    drop(gradients);
    let after = network.statistics();
    values.extend(after.iter().zip(before).map(|(a, b)| (a - b) * weight));
    Ok(values)
}

/// Means over the batch, from sums: to the network's gradients and running statistics.
fn spread(network: &mut Network, (before, whole): (&[f32], &[f32]), images: usize) {
    let images = images.max(1) as f32;
    let mut rest = whole;
    let mut gradients = network.gradients_to_write();
    for group in Group::TRAINABLE {
        let gradients = gradients.group_mut(group);
        let (own, others) = rest.split_at(gradients.len());
        let means = gradients.iter_mut().zip(own);
        means.for_each(|(gradient, sum)| *gradient = sum / images);
        rest = others;
    }
    drop(gradients);
    let moved = rest.iter().zip(before).map(|(sum, b)| b + sum / images);
    let after: Vec<f32> = moved.collect();
    network.set_statistics(&after);
}
