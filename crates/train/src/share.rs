//! The chunks of a batch that this process computes.

use super::TrainError;
use super::event::{Batch, Batches, BoxError, Observer};
use super::tally::Place;

/// The chunks, with their numbers, of a batch that this process computes.
pub(super) type Share = Vec<(usize, Batch)>;

/// This process's chunks of the next batch; `None` if interrupted.
pub(super) fn share(
    chunks: &[usize],
    queue: &mut Batches<'_>,
    place: Place,
    observer: &dyn Observer,
) -> Result<Option<Share>, TrainError> {
    let mut share = Share::with_capacity(chunks.len());
    for chunk in chunks {
        let Some(batch) = queue.next() else {
            let missing = BoxError::from("the data end before the epoch does");
            return place.loaded(Err(missing)).map(|_| None);
        };
        share.push((*chunk, place.loaded(batch)?));
    }
    Ok((!observer.interrupted()).then_some(share))
}

/// The only chunk of a batch that is not cut.
pub(super) fn whole(share: Option<Share>) -> Option<Batch> {
    share?.pop().map(|(_, batch)| batch)
}

pub(super) fn names(share: &Share) -> String {
    let names: Vec<&str> = share.iter().map(|(_, batch)| batch.name.as_str()).collect();
    names.join(", ")
}
