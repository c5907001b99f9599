//! Sums over the chunks of a batch, in an order that depends on the number of chunks alone.
//!
//! The chunks are the leaves of a binary tree, which halves their range until one is left. A process adds up the largest
//! subtrees that lie among its own chunks ([`Parts`]); the sums of these subtrees are what processes send each other, and
//! the upper part of the tree is added where they arrive ([`Reducer::reduce`]). Floating-point addition is not associative, so
//! another order would give other bits.
//!
//! A sum can be made for one range of the numbers after the other, while those of a process's last chunk are still being
//! computed.
//!
//! Each process adds up one piece of the numbers for all. A process that has one subtree, as where chunks and processes
//! are powers of two, sends `(size − 1) / size` of its numbers once for the sums, and as many for the results: as much as
//! the best all-reduce.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::division::{Division, part};
use crate::{Collective, CollectiveError};

/// The halves of a range of at least two chunks.
fn halves(range: &Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len() / 2;
    [range.start..middle, middle..range.end]
}

/// The largest subtrees of the tree over `chunks` chunks whose chunks all lie in `own`, in their order.
fn subtrees(chunks: usize, own: &Range<usize>) -> Vec<Range<usize>> {
    let mut found = vec![];
    collect(&(0..chunks), own, &mut found);
    found
}

fn collect(node: &Range<usize>, own: &Range<usize>, found: &mut Vec<Range<usize>>) {
    if node.start >= own.start && node.end <= own.end {
        if !node.is_empty() {
            found.push(node.clone());
        }
    } else if node.len() > 1 && node.start < own.end && own.start < node.end {
        halves(node)
            .iter()
            .for_each(|half| collect(half, own, found));
    }
}

/// Buffers that are no longer needed.
pub type Spare = Vec<Vec<f32>>;

/// Returns a chunk's numbers, or `None` for a chunk without images; may take a buffer from the spare ones.
pub type Leaf<'a, E> = dyn FnMut(usize, &mut Spare) -> Result<Option<Vec<f32>>, E> + 'a;

/// The sum over a subtree; `None` if none of its chunks has numbers. `spare` takes the buffers that are no longer needed.
///
/// # Errors
/// The first error of `leaf`.
fn fold<E>(
    node: &Range<usize>,
    leaf: &mut Leaf<'_, E>,
    spare: &mut Spare,
) -> Result<Option<Vec<f32>>, E> {
    if node.len() == 1 {
        return leaf(node.start, spare);
    }
    let [left, right] = halves(node);
    let left = fold(&left, leaf, spare)?;
    let right = fold(&right, leaf, spare)?;
    Ok(match (left, right) {
        (Some(mut left), Some(right)) => {
            add(&mut left, &right);
            spare.push(right);
            Some(left)
        }
        (left, right) => left.or(right),
    })
}

fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
}

/// What one process contributes to a sum: its subtrees with their sums, in their order, those without numbers left out.
pub type Own<'p> = Vec<(Range<usize>, &'p [f32])>;

/// What a process has computed for a sum: all but the numbers of its last chunk.
#[derive(Debug, Default)]
pub struct Parts {
    complete: Vec<(Range<usize>, Vec<f32>)>,
    /// The subtree with the last chunk, and the sums of the subtrees on the way there, from the root.
    open: Option<(Range<usize>, Vec<Vec<f32>>)>,
}

impl Parts {
    /// Adds up the numbers of the chunks `own`, except the last one that has numbers, whose number is returned. `filled[k]`
    /// says whether chunk `k` has numbers; `leaf` is asked only for these.
    ///
    /// # Errors
    /// The first error of `leaf`.
    pub fn without_last<E>(
        filled: &[bool],
        own: &Range<usize>,
        leaf: &mut Leaf<'_, E>,
        spare: &mut Spare,
    ) -> Result<(Self, Option<usize>), E> {
        let last = own.clone().rev().find(|chunk| filled[*chunk]);
        let mut parts = Parts::default();
        let mut leaf = |chunk: usize, spare: &mut Spare| match filled[chunk] {
            true => leaf(chunk, spare),
            false => Ok(None),
        };
        for node in filled_subtrees(filled, own) {
            match last.filter(|last| node.contains(last)) {
                Some(last) => {
                    let lefts = lefts(&node, last, &mut leaf, spare)?;
                    parts.open = Some((node, lefts));
                }
                None => {
                    let sum = fold(&node, &mut leaf, spare)?;
                    parts.complete.extend(sum.map(|sum| (node, sum)));
                }
            }
        }
        Ok((parts, last))
    }

    /// Zeros, for a process that could not compute its chunks but takes part in the sum.
    pub fn zeros(filled: &[bool], own: &Range<usize>, len: usize) -> Self {
        let nodes = filled_subtrees(filled, own).into_iter();
        Parts {
            complete: nodes.map(|node| (node, vec![0.0; len])).collect(),
            open: None,
        }
    }

    /// What the process contributes to a range of the numbers, given the last chunk's numbers of this range, to which others
    /// are added.
    pub fn of_range<'p>(&'p self, range: &Range<usize>, last: &'p mut [f32]) -> Own<'p> {
        let complete = self.complete.iter();
        let mut own: Own<'p> = complete
            .map(|(node, sum)| (node.clone(), &sum[range.clone()]))
            .collect();
        if let Some((node, lefts)) = &self.open {
            for left in lefts.iter().rev() {
                add(last, &left[range.clone()]);
            }
            own.push((node.clone(), last));
        }
        own
    }

    /// The buffers, for the next sum.
    pub fn into_spare(self, spare: &mut Spare) {
        spare.extend(self.complete.into_iter().map(|(_, sum)| sum));
        spare.extend(self.open.into_iter().flat_map(|(_, lefts)| lefts));
    }
}

/// The sums of the subtrees to the left of the way from a node to a chunk, after which there are no numbers.
fn lefts<E>(
    node: &Range<usize>,
    chunk: usize,
    leaf: &mut Leaf<'_, E>,
    spare: &mut Spare,
) -> Result<Vec<Vec<f32>>, E> {
    let (mut node, mut found) = (node.clone(), vec![]);
    while node.len() > 1 {
        let [left, right] = halves(&node);
        node = match right.contains(&chunk) {
            true => {
                found.extend(fold(&left, leaf, spare)?);
                right
            }
            false => left,
        };
    }
    Ok(found)
}

/// Adds up what processes contribute; keeps its buffers from one sum to the next.
#[derive(Debug, Default)]
pub struct Reducer {
    sent: Vec<f32>,
    received: Vec<f32>,
}

impl Reducer {
    /// The sum of the numbers of all chunks, on every process: `whole` receives it. `filled[k]` says whether chunk `k` has
    /// numbers; all chunks that have any have `whole.len()`.
    ///
    /// # Errors
    /// As [`Collective::exchange`]. Numbers that do not fit `filled` or `whole`.
    pub fn reduce(
        &mut self,
        processes: &dyn Collective,
        filled: &[bool],
        own: &Own<'_>,
        whole: &mut [f32],
    ) -> Result<(), CollectiveError> {
        let (rank, size, len) = (processes.rank(), processes.size(), whole.len());
        let of = |rank| filled_subtrees(filled, &Division::new(filled.len(), rank, size).own);
        let fits = own.iter().all(|(_, sum)| sum.len() == len);
        if !fits || !own.iter().map(|(node, _)| node).eq(&of(rank)) {
            return Err(CollectiveError::Lengths { what: "sent" });
        }
        let piece = |rank| part(len, rank, size);
        let lens: Vec<usize> = (0..size).map(|to| own.len() * piece(to).len()).collect();
        let mine = piece(rank);
        let nodes: Vec<_> = (0..size).map(of).collect();
        let expected: Vec<usize> = nodes.iter().map(|of| of.len() * mine.len()).collect();
        self.received.resize(expected.iter().sum(), 0.0);
        let sent = match own.as_slice() {
            // The pieces of one sum lie in the order of the ranks already.
            [(_, sum)] => *sum,
            several => {
                self.sent.clear();
                for to in 0..size {
                    several
                        .iter()
                        .for_each(|(_, sum)| self.sent.extend_from_slice(&sum[piece(to)]));
                }
                &self.sent
            }
        };
        processes.exchange((sent, &lens), (&mut self.received, &expected))?;
        let pieces = self.received.chunks_exact(mine.len().max(1));
        let sums: Sums<'_> = nodes.into_iter().flatten().map(key).zip(pieces).collect();
        if !total(&(0..filled.len()), &sums, &mut whole[mine.clone()]) {
            whole[mine].fill(0.0);
        }
        let lens: Vec<usize> = (0..size).map(|rank| piece(rank).len()).collect();
        processes.complete(whole, &lens)
    }
}

/// Pieces of the sums of subtrees.
type Sums<'a> = BTreeMap<(usize, usize), &'a [f32]>;

fn key(node: Range<usize>) -> (usize, usize) {
    (node.start, node.end)
}

/// The subtrees of a process that have numbers.
fn filled_subtrees(filled: &[bool], own: &Range<usize>) -> Vec<Range<usize>> {
    let mut nodes = subtrees(filled.len(), own);
    nodes.retain(|node| filled[node.clone()].iter().any(|filled| *filled));
    nodes
}

/// Writes the sum over a node of the tree, from the sums of subtrees; false if none of them has numbers.
fn total(node: &Range<usize>, sums: &Sums<'_>, out: &mut [f32]) -> bool {
    if let Some(sum) = sums.get(&key(node.clone())) {
        out.copy_from_slice(sum);
        return true;
    }
    if node.len() < 2 {
        return false;
    }
    let [left, right] = halves(node);
    if !total(&left, sums, out) {
        return total(&right, sums, out);
    }
    if let Some(sum) = sums.get(&key(right.clone())) {
        add(out, sum);
        return true;
    }
    let mut other = vec![0.0; out.len()];
    if total(&right, sums, &mut other) {
        add(out, &other);
    }
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::threads;

    /// Numbers whose sum depends on the order.
    fn numbers(chunk: usize, len: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((chunk * 31 + i * 17) as f32).sin() * 10_f32.powi((i + chunk) as i32 % 7))
            .collect()
    }

    fn summed(chunks: usize, size: usize, len: usize, filled: &[bool]) -> Vec<Vec<f32>> {
        threads::run(size, |processes| {
            let division = Division::new(chunks, processes.rank(), size);
            let mut leaf = |chunk: usize, _: &mut Vec<Vec<f32>>| {
                Ok::<_, Infallible>(filled[chunk].then(|| numbers(chunk, len)))
            };
            let own = &division.own;
            let (parts, last) = Parts::without_last(filled, own, &mut leaf, &mut vec![]).unwrap();
            let mut whole = vec![f32::NAN; len];
            let mut reducer = Reducer::default();
            for piece in [0..len / 3, len / 3..len] {
                let last = last.map(|chunk| numbers(chunk, len)[piece.clone()].to_vec());
                let mut last = last.unwrap_or_default();
                let (own, whole) = (parts.of_range(&piece, &mut last), &mut whole[piece]);
                reducer.reduce(processes, filled, &own, whole).unwrap();
            }
            whole
        })
    }

    #[test]
    fn the_bits_of_a_sum_do_not_depend_on_the_number_of_processes() {
        for (chunks, len) in [(1, 5), (2, 7), (4, 64), (6, 33), (8, 3), (4, 0)] {
            let filled = vec![true; chunks];
            let alone = summed(chunks, 1, len, &filled).remove(0);
            for size in 1..=chunks + 1 {
                for whole in summed(chunks, size, len, &filled) {
                    assert_eq!(whole, alone, "{chunks} chunks on {size} processes");
                }
            }
        }
    }

    #[test]
    fn a_chunk_without_images_adds_nothing() {
        let filled = [true, false, true, false, false];
        let alone = summed(5, 1, 9, &filled).remove(0);
        let plain: Vec<f32> = numbers(0, 9)
            .iter()
            .zip(numbers(2, 9))
            .map(|(a, b)| a + b)
            .collect();
        assert_eq!(alone, plain);
        for size in 2..=5 {
            assert!(summed(5, size, 9, &filled).iter().all(|sum| *sum == alone));
        }
        assert_eq!(summed(2, 2, 3, &[false; 2]), vec![vec![0.0; 3]; 2]);
    }

    #[test]
    fn halves_are_added_before_their_sum() {
        let filled = [true; 4];
        let mut expected = numbers(0, 8);
        add(&mut expected, &numbers(1, 8));
        let mut right = numbers(2, 8);
        add(&mut right, &numbers(3, 8));
        add(&mut expected, &right);
        assert_eq!(summed(4, 1, 8, &filled), [expected]);
    }

    /// A process that has nothing to add takes part all the same.
    #[test]
    fn zeros_fit_into_every_sum() {
        let filled = [true, true, false, true, true];
        for size in 1..=5 {
            let sums = threads::run(size, |processes| {
                let own = Division::new(5, processes.rank(), size).own;
                let parts = Parts::zeros(&filled, &own, 4);
                let mut whole = [f32::NAN; 4];
                let own = parts.of_range(&(0..4), &mut []);
                let mut reducer = Reducer::default();
                reducer
                    .reduce(processes, &filled, &own, &mut whole)
                    .unwrap();
                whole
            });
            assert_eq!(sums, vec![[0.0; 4]; size]);
        }
    }

    #[test]
    fn processes_that_disagree_are_told_so() {
        let own = vec![(0..1, &[1.0; 3][..])];
        let mut reducer = Reducer::default();
        let error = reducer
            .reduce(&crate::Alone, &[true, true], &own, &mut [0.0; 3])
            .unwrap_err();
        assert!(error.to_string().contains("same settings"), "{error}");
    }
}
