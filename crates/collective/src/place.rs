//! How many threads a process may use where several share a machine.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use crate::{Collective, CollectiveError};

/// The threads of this process: the processors that it may use, divided among the processes of the job that may use the
/// same ones. A launcher that binds each process to processors of its own thus leaves it all of them.
///
/// # Errors
/// As [`Collective::gather`].
pub fn threads(processes: &dyn Collective) -> Result<usize, CollectiveError> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let all = processes.gather(place().as_bytes())?;
    Ok(shared(processors, &all, processes.rank()))
}

fn shared(processors: usize, places: &[Vec<u8>], rank: usize) -> usize {
    let mut at: BTreeMap<&[u8], usize> = BTreeMap::new();
    places
        .iter()
        .for_each(|place| *at.entry(place).or_default() += 1);
    let same = places.get(rank).and_then(|place| at.get(place.as_slice()));
    (processors / same.copied().unwrap_or(1)).max(1)
}

/// The machine and the processors that this process may use. Where the system does not tell, all processes look as if
/// they shared one machine: too few threads are slow, too many are slower.
fn place() -> String {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"));
    format!("{machine}{}", allowed.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_on_the_same_processors_share_them() {
        let places: Vec<Vec<u8>> = ["a 0-7", "a 0-7", "b 0-7", "a 8-15"]
            .map(|place| place.as_bytes().to_vec())
            .to_vec();
        let threads = |rank| shared(8, &places, rank);
        assert_eq!([0, 1, 2, 3].map(threads), [4, 4, 8, 8]);
        assert_eq!(shared(2, &vec![vec![]; 4], 0), 1);
    }
}
