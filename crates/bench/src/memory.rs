//! Resident memory of the process, as reported by the system.

use serde::{Deserialize, Serialize};

/// Resident memory of a process in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Before the network was built: program, libraries, threads.
    pub before: u64,
    /// Peak up to the end of the last timed call.
    pub peak: u64,
}

/// Current resident memory; `None` if the system does not report it.
pub(crate) fn resident() -> Option<u64> {
    field(&status()?, "VmRSS:")
}

/// Peak resident memory. `getrusage` is not used because its value survives `exec`: a child process starts with the
/// peak of its parent.
pub(crate) fn peak() -> Option<u64> {
    field(&status()?, "VmHWM:")
}

/// Makes the peak start from what is resident now, on Linux.
pub(crate) fn forget_peak() {
    // If that is not allowed, the peak includes what came before.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The process's status on Linux; other systems have no such file.
fn status() -> Option<String> {
    std::fs::read_to_string("/proc/self/status").ok()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_kernels_format() {
        let status = "Name:\txtask\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t2\n";
        assert_eq!(field(status, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(field(status, "VmRSS:"), Some(1024 * 1024));
        assert_eq!(field(status, "VmSwap:"), None);
        assert_eq!(field("VmRSS:\tmuch", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_includes_freed_memory() {
        let before = resident().unwrap();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        drop(block);
        let peak = peak().unwrap();
        assert!(peak >= before + (60 << 20), "{before} {peak}");
    }
}
