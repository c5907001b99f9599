//! A group of threads in one process: a job of several ranks without MPI, for tests.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::{Collective, CollectiveError, check};

/// Runs `member` on `size` threads that are the ranks of a job, and returns their results in the order of the ranks. A
/// member that returns while others wait for it fails them.
///
/// # Panics
/// As `member` does.
pub fn run<T: Send>(size: usize, member: impl Fn(&dyn Collective) -> T + Sync) -> Vec<T> {
    let hall = Arc::new(Hall::new(size));
    thread::scope(|scope| {
        let start = |rank| {
            let member = &member;
            let seat = Seat {
                rank,
                hall: hall.clone(),
            };
            scope.spawn(move || member(&seat))
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, T>| match thread.join() {
            Ok(result) => result,
            Err(cause) => std::panic::resume_unwind(cause),
        };
        threads.into_iter().map(join).collect()
    })
}

/// Where the members of a group meet.
struct Hall {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What each member has brought to the current meeting.
    brought: Vec<Option<Vec<u8>>>,
    /// What all brought to the last one.
    result: Arc<Vec<Vec<u8>>>,
    /// Number of completed meetings.
    meetings: u64,
    /// Whether a member has left for good.
    broken: bool,
}

/// A member of a group.
struct Seat {
    rank: usize,
    hall: Arc<Hall>,
}

impl Hall {
    fn new(size: usize) -> Self {
        Hall {
            size,
            state: Mutex::new(State {
                brought: vec![None; size],
                result: Arc::default(),
                meetings: 0,
                broken: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meet(&self, rank: usize, own: Vec<u8>) -> Result<Arc<Vec<Vec<u8>>>, CollectiveError> {
        let mut state = self.lock();
        let meeting = state.meetings;
        state.brought[rank] = Some(own);
        if state.brought.iter().all(Option::is_some) {
            let all = state.brought.iter_mut().filter_map(Option::take).collect();
            state.result = Arc::new(all);
            state.meetings += 1;
            self.changed.notify_all();
        }
        while state.meetings == meeting {
            if state.broken {
                return Err(CollectiveError::Gone);
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(state.result.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hall.lock().broken = true;
        self.hall.changed.notify_all();
    }
}

impl Collective for Seat {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.hall.size
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        Ok(self.hall.meet(self.rank, own.to_vec())?.to_vec())
    }

    fn exchange(
        &self,
        (values, lens): (&[f32], &[usize]),
        (received, expected): (&mut [f32], &[usize]),
    ) -> Result<(), CollectiveError> {
        check("sent", lens, values.len())?;
        check("received", expected, received.len())?;
        let message = lens
            .iter()
            .flat_map(|len| (*len as u64).to_le_bytes())
            .chain(bytes(values))
            .collect();
        let all = self.hall.meet(self.rank, message)?;
        let mut place = received;
        for (message, expected) in all.iter().zip(expected) {
            let (lens, values) = message.split_at(8 * self.size());
            let lens: Vec<usize> = lens.chunks_exact(8).map(number).collect();
            if lens[self.rank] != *expected {
                return Err(CollectiveError::Lengths { what: "received" });
            }
            let start = 4 * lens[..self.rank].iter().sum::<usize>();
            let (own, rest) = place.split_at_mut(*expected);
            fill(own, &values[start..]);
            place = rest;
        }
        Ok(())
    }

    fn complete(&self, values: &mut [f32], lens: &[usize]) -> Result<(), CollectiveError> {
        check("sent", lens, values.len())?;
        let start: usize = lens[..self.rank].iter().sum();
        let own = bytes(&values[start..start + lens[self.rank]]).collect();
        let all = self.hall.meet(self.rank, own)?;
        let mut place = values;
        for (message, len) in all.iter().zip(lens) {
            let (piece, rest) = place.split_at_mut(*len);
            fill(piece, message);
            place = rest;
        }
        Ok(())
    }
}

fn bytes(values: &[f32]) -> impl Iterator<Item = u8> {
    values.iter().flat_map(|v| v.to_le_bytes())
}

fn number(bytes: &[u8]) -> usize {
    let place = |(i, byte): (usize, &u8)| usize::from(*byte) << (8 * i);
    bytes.iter().enumerate().map(place).sum()
}

fn fill(values: &mut [f32], bytes: &[u8]) {
    for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(4)) {
        *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_the_order_of_the_ranks() {
        let all = run(3, |group| {
            let own = vec![group.rank() as u8; group.rank()];
            (group.gather(&own).unwrap(), group.gather(b"x").unwrap())
        });
        let expected = vec![vec![], vec![1], vec![2, 2]];
        assert!(
            all.iter()
                .all(|(first, second)| *first == expected && *second == [b"x"; 3])
        );
    }

    #[test]
    fn numbers_go_where_they_are_sent() {
        let all = run(2, |group| {
            let (values, lens, expected) = match group.rank() {
                0 => (vec![1.0, 2.0, 3.0], [1, 2], [1, 0]),
                _ => (vec![], [0, 0], [2, 0]),
            };
            let mut received = vec![0.0; expected.iter().sum()];
            group
                .exchange((&values, &lens), (&mut received, &expected))
                .unwrap();
            received
        });
        assert_eq!(all, [vec![1.0], vec![2.0, 3.0]]);
    }

    #[test]
    fn a_member_that_has_ended_is_not_waited_for() {
        let all = run(2, |group| match group.rank() {
            0 => Ok(vec![]),
            _ => group.gather(b"x"),
        });
        assert!(matches!(all[1], Err(CollectiveError::Gone)));
    }
}
