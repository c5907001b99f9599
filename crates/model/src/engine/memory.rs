//! The memory available, so that a batch that cannot fit is rejected with its size instead of the process being killed
//! by the system.

use std::fs;
use std::sync::OnceLock;

use super::EngineError;

/// Bytes of memory of this machine, or the limit of its control group; `None` if the system does not report it (Linux
/// does).
pub(super) fn of_machine() -> Option<u64> {
    static FOUND: OnceLock<Option<u64>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let total = fs::read_to_string("/proc/meminfo").ok();
        let allowed = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
        let total = total.as_deref().and_then(total_of);
        // "max" means no limit and does not parse as a number.
        let allowed = allowed.and_then(|text| text.trim().parse().ok());
        [total, allowed].into_iter().flatten().min()
    })
}

/// Parses `MemTotal:       24000000 kB`.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Checks that buffers for a batch fit into the memory available; their size is proportional to the batch.
pub(super) fn check(batch: usize, needed: u64, available: Option<u64>) -> Result<(), EngineError> {
    const MIB: u64 = 1 << 20;
    match available {
        Some(available) if needed > available => Err(EngineError::Memory {
            device: "this machine".into(),
            batch,
            needed: needed.div_ceil(MIB),
            available: available / MIB,
            largest: (batch as u128 * u128::from(available) / u128::from(needed)) as usize,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_total_memory_on_linux() {
        let text = "MemTotal:       24576 kB\nMemFree:          512 kB\n";
        assert_eq!(total_of(text), Some(24 << 20));
        assert_eq!(total_of("MemTotal: much"), None);
        if cfg!(target_os = "linux") {
            assert!(of_machine().unwrap() > 64 << 20);
        }
    }

    #[test]
    fn batch_that_does_not_fit_is_rejected_with_the_largest_that_does() {
        let check = |batch, needed, available| {
            let checked = check(batch, needed, available);
            checked.map_err(|e| e.to_string())
        };
        assert_eq!(check(8, 8 << 20, Some(8 << 20)), Ok(()));
        assert_eq!(check(8, u64::MAX, None), Ok(()));
        let error = check(8, 16 << 20, Some(7 << 20)).unwrap_err();
        for part in ["8 images", "16 MiB", "this machine has 7 MiB", "fits is 3"] {
            assert!(error.contains(part), "{error}");
        }
        let error = check(1, 16 << 20, Some(7 << 20)).unwrap_err();
        assert!(error.contains("not even one image"), "{error}");
    }
}
