//! The machine that was measured.

use serde::Serialize;

/// A description of the machine.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    /// CPU features that affect speed: `avx2`, `avx512f`, `amx_bf16` …
    pub(super) features: Vec<String>,
    pub(super) cores: usize,
    pub(super) system: String,
    /// Load average of the last minute before the benchmark.
    pub(super) load: Option<f64>,
    /// The value of `KERNELS_SIMD`, which restricts our kernels, if it is set.
    pub(super) kernels_simd: Option<String>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Machine {
            cpu: field(&info, "model name")
                .unwrap_or(std::env::consts::ARCH)
                .to_owned(),
            features: features(field(&info, "flags").or(field(&info, "Features"))),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: std::env::consts::OS.into(),
            load: load.split(' ').next().and_then(|n| n.parse().ok()),
            kernels_simd: std::env::var("KERNELS_SIMD").ok(),
        }
    }
}

/// A field of the first processor in `/proc/cpuinfo`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn features(flags: Option<&str>) -> Vec<String> {
    const PREFIXES: [&str; 8] = ["avx", "amx", "fma", "f16c", "asimd", "sve", "bf16", "i8mm"];
    flags
        .unwrap_or_default()
        .split_whitespace()
        .filter(|flag| PREFIXES.iter().any(|p| flag.starts_with(p)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_processor() {
        let info = "processor\t: 0\nmodel name\t: Some CPU @ 2:1\nflags\t\t: fpu avx2 fma aes amx_bf16\n\n\
                    processor\t: 1\nmodel name\t: Other\n";
        assert_eq!(field(info, "model name"), Some("Some CPU @ 2:1"));
        assert_eq!(features(field(info, "flags")), ["avx2", "fma", "amx_bf16"]);
        assert!(features(field("", "flags")).is_empty());
    }
}
