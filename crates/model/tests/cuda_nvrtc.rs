//! Tests that the CUDA kernels compile with NVRTC to machine code, for the architectures of current data-centre GPUs
//! and others. Needs no GPU; skipped if NVRTC is not found.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Instant;

use model::engine::Precision;
use model::engine::cuda::driver::{DeviceError, compile, cubin};
use model::engine::cuda::kernels;

#[test]
fn kernels_compile_for_every_architecture() {
    // Turing (no tensor cores for TF32 and bf16), A100, RTX 40, H100.
    for (arch, precision) in [
        ("sm_75", Precision::F32),
        ("sm_80", Precision::Tf32),
        ("sm_89", Precision::Bf16),
        ("sm_90", Precision::F32),
        ("sm_90", Precision::Tf32),
        ("sm_90", Precision::Bf16),
    ] {
        let start = Instant::now();
        match compile(&kernels::source(precision), arch) {
            Ok(cubin) => {
                assert!(cubin.starts_with(b"\x7fELF"), "{arch}");
                let seconds = start.elapsed().as_secs_f64();
                let bytes = cubin.len();
                eprintln!("{arch}, {precision}: {bytes} bytes of machine code in {seconds:.1} s");
                if let Some(folder) = std::env::var_os("KEEP_CUBINS") {
                    let file = format!("{arch}-{precision}.cubin");
                    std::fs::write(std::path::Path::new(&folder).join(file), cubin).unwrap();
                }
            }
            Err(DeviceError::Library { .. }) => {
                eprintln!(
                    "skipped: NVRTC (libnvrtc.so) is not found; add its folder to LD_LIBRARY_PATH"
                );
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn invalid_programs_are_errors_with_the_compilers_log() {
    match compile("__global__ void broken( {", "sm_80") {
        Err(DeviceError::Library { .. }) => eprintln!("skipped: NVRTC (libnvrtc.so) is not found"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("sm_80") && text.contains("error"), "{text}");
        }
        Ok(_) => panic!("an invalid program compiled"),
    }
}

/// Environment variable with the folder where the child process caches compiled kernels.
const CHILD: &str = "MODEL_CUDA_CACHE";

/// A second start reads the kernels that the first compiled. Runs in a child process, whose environment names the
/// folder.
#[test]
fn compiled_kernels_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "compiles_twice"])
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}");
}

#[test]
#[ignore = "the child of compiled_kernels_are_read_again"]
fn compiles_twice() {
    let first = match cubin(Precision::F32, "sm_80") {
        Err(DeviceError::Library { .. }) => return,
        first => first.unwrap(),
    };
    let second = cubin(Precision::F32, "sm_80").unwrap();
    assert!(!first.cached && second.cached && first.cubin == second.cubin);
    assert!(!cubin(Precision::F32, "sm_90").unwrap().cached);
    assert!(!cubin(Precision::Tf32, "sm_80").unwrap().cached);
}

/// Compiles the kernels in advance for another machine: `MODEL_CUDA_CACHE=FOLDER ARCH=sm_90 … --ignored fills_a_cache`.
#[test]
#[ignore = "for manual use"]
fn fills_a_cache() {
    let arch = std::env::var("ARCH").unwrap_or_else(|_| "sm_90".into());
    for precision in Precision::ALL {
        cubin(precision, &arch).unwrap();
    }
}
