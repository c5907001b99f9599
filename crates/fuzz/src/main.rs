//! The process that runs inputs: `cargo xtask torture` and the tests start it with a job as JSON.

#[cfg(target_os = "linux")]
mod linux {
    use std::alloc::System;
    use std::process::ExitCode;

    use cap::Cap;
    use fuzz::worker::{Job, Memory, work};

    #[global_allocator]
    static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

    pub(crate) fn main() -> ExitCode {
        let memory = Memory {
            // The memory that the seeds already use is below any limit.
            limit: |bytes| {
                let _ = ALLOCATOR.set_limit(bytes);
            },
            peak: || ALLOCATOR.max_allocated(),
        };
        let job = std::env::args().nth(1).unwrap_or_default();
        let job: Job = match serde_json::from_str(&job) {
            Ok(job) => job,
            Err(error) => {
                eprintln!(
                    "this program is started by `cargo xtask torture`, which passes it a job as JSON: {error}"
                );
                return ExitCode::from(2);
            }
        };
        match work(&job, memory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
