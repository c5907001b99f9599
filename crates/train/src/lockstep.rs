//! Chunks whose batch norms take their statistics from all images of the batch: the chunks of all processes are computed
//! layer by layer, and tell each other each norm's sums (PyTorch's `SyncBatchNorm`).

use collective::sum::{Parts, Spare};
use collective::{Collective, CollectiveError, Division};
use model::engine::{Chunk, Exchange};
use model::network::{Network, Taped};

use super::TrainError;
use super::chunks::{Computed, Last, StepSums};
use super::run::Run;
use super::share::{Share, names};
use super::tally::{Place, images};
use super::together::{Told, agree};

impl Run<'_> {
    /// Forward and backward of this process's chunks; `None` if a process was interrupted. An error on one process is an
    /// error on all: none waits for another one.
    pub(super) fn in_lockstep(
        &self,
        network: &mut Network,
        share: Result<Option<Share>, TrainError>,
        (step, spare): (&StepSums<'_>, &mut Spare),
        place: Place,
    ) -> Result<Option<Computed<'static>>, TrainError> {
        let mut exchange = Exchanged::new(step.processes, &step.filled);
        let seed = |chunk| self.chunk_seed(chunk);
        let Some((share, taped)) =
            self.forward_chunks(network, share, &mut exchange, seed, place)?
        else {
            return Ok(None);
        };
        let told: Result<Vec<_>, TrainError> = share
            .iter()
            .zip(taped)
            .map(|((chunk, batch), taped)| {
                // Gradients are those of a sum, of which each chunk's mean loss is a part by its number of images.
                let weight = batch.shape.n as f32;
                let scores = self.went_back(taped, batch, Some(weight), place)?;
                Ok((*chunk, Told::new(batch.shape.n, &scores)))
            })
            .collect();
        let (told, lost) = match told {
            Ok(told) => (told, Ok(Some(()))),
            Err(error) => (vec![], Err(error)),
        };
        agree(step.processes, lost)?;
        let mut weights = share.iter().map(|(_, batch)| batch.shape.n as f32);
        let mut packed = vec![];
        let moved: Vec<f32> = step.moved(network, 1.0).collect();
        let mut pack = |gradients: &_| {
            let (mut values, weight) = (spare.pop().unwrap_or_default(), weights.next());
            step.pack(gradients, 1.0, &mut values);
            values.extend(moved.iter().map(|v| v * weight.unwrap_or_default()));
            packed.push(values);
        };
        if !share.is_empty() {
            let done = network.backward_chunks(&mut exchange, &mut pack);
            done.map_err(|e| place.error(&names(&share), e))?;
        }
        exchange.end()?;
        let mut packed = packed.into_iter();
        let mut leaf = |_: usize, _: &mut Spare| Ok::<_, TrainError>(packed.next());
        let own = &step.division.own;
        let (parts, _) = Parts::without_last(&step.filled, own, &mut leaf, spare)?;
        let last = packed.next().map_or(Last::Missing, Last::Known);
        Ok(Some(Computed { parts, last, told }))
    }

    /// Forward of this process's chunks; `None` if a process was interrupted.
    pub(super) fn forward_chunks(
        &self,
        network: &mut Network,
        share: Result<Option<Share>, TrainError>,
        exchange: &mut Exchanged<'_>,
        seed: impl Fn(usize) -> u64,
        place: Place,
    ) -> Result<Option<(Share, Vec<Taped>)>, TrainError> {
        let (share, loaded) = match share {
            Ok(Some(share)) => (share, Ok(Some(()))),
            Ok(None) => (vec![], Ok(None)),
            Err(error) => (vec![], Err(error)),
        };
        // None begins before all have their images.
        if agree(exchange.processes, loaded)?.is_none() {
            return Ok(None);
        }
        let chunk = |(number, batch)| Chunk {
            images: images(batch),
            seed: seed(number),
        };
        let chunks = share.iter().map(|(number, batch)| chunk((*number, batch)));
        let chunks: Vec<Chunk<'_>> = chunks.collect();
        let taped = match share.first() {
            Some((_, batch)) => network
                .forward_chunks(&chunks, self.heads(batch), exchange)
                .map_err(|e| place.error(&names(&share), e))?,
            None => vec![],
        };
        exchange.end()?;
        Ok(Some((share, taped)))
    }
}

/// The exchange between chunks on several processes.
pub(super) struct Exchanged<'a> {
    processes: &'a dyn Collective,
    /// Chunks with images, by process.
    chunks: Vec<usize>,
}

/// What a process says that has computed its chunks; no list of numbers is as long.
const END: &[u8] = b"end";

impl<'a> Exchanged<'a> {
    pub(super) fn new(processes: &'a dyn Collective, filled: &[bool]) -> Self {
        let size = processes.size();
        let own = |rank| Division::new(filled.len(), rank, size).own;
        let count = |rank| filled[own(rank)].iter().filter(|filled| **filled).count();
        Exchanged {
            processes,
            chunks: (0..size).map(count).collect(),
        }
    }

    /// The end of a pass. A process without a chunk does not know how many norms there are, and takes part until another
    /// one ends.
    pub(super) fn end(&mut self) -> Result<(), CollectiveError> {
        if !self.chunks.contains(&0) {
            return Ok(());
        }
        let own = match self.chunks[self.processes.rank()] {
            0 => &[],
            _ => END,
        };
        while !self.processes.gather(own)?.iter().any(|word| word == END) {}
        Ok(())
    }
}

impl Exchange for Exchanged<'_> {
    fn gather(
        &mut self,
        own: Vec<Vec<f64>>,
    ) -> Result<Vec<Vec<f64>>, Box<dyn std::error::Error + Send + Sync>> {
        let bytes: Vec<u8> = own.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        let all = self.processes.gather(&bytes)?;
        let mut gathered = vec![];
        for (bytes, chunks) in all.iter().zip(&self.chunks) {
            let (numbers, rest) = bytes.as_chunks();
            let numbers: Vec<f64> = numbers.iter().map(|v| f64::from_le_bytes(*v)).collect();
            let len = numbers.len() / (*chunks).max(1);
            if !rest.is_empty() || len * chunks != numbers.len() {
                return Err(Box::new(CollectiveError::Lengths { what: "received" }));
            }
            gathered.extend(numbers.chunks(len.max(1)).map(<[f64]>::to_vec));
        }
        Ok(gathered)
    }
}
