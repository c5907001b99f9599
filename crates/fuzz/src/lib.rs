//! Mutated inputs for everything that this program reads. A reader must never panic, hang, exhaust memory, or return
//! wrong results.
//!
//! A [`Target`] is a reader of some format. Its [`Session`] generates [`Case`]s, each a function of the target's name
//! and a number, and runs them. A case consists of files in a folder, as in production: the readers are called through
//! their public functions with paths, so that the tested code is the code that ships. A [`worker`] runs cases one after
//! another in a process of its own, under a memory limit; [`supervise`] starts it, detects when it hangs or dies, keeps
//! the input, and continues with the next case. So an abort or a stack overflow is one entry of the result and does not
//! end it.
//!
//! Why this crate has its own mutators: on stable Rust, bolero's engine generates inputs from scratch and does not
//! mutate any (that needs libFuzzer, a nightly compiler or cargo-bolero), and neither does proptest; no input generated
//! from scratch gets past a PNG's checksum. Faults are found here with small valid files (`seeds`), changed by mutators
//! that recompute checksums and lengths (`formats`), which no general-purpose crate offers.
//!
//! Nothing here is part of the product, and everything is for Linux only.

// `println!` and `eprintln!` panic if the stream is closed; `terminal` prints without panicking.
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod case;
mod formats;
mod mutate;
mod outcome;
mod rng;
mod seeds;
pub mod supervise;
mod targets;
pub mod worker;

use std::path::Path;

pub use case::Case;
pub use outcome::{Failure, Kind, Outcome};
pub use rng::Rng;
pub use targets::{find, targets};

/// A reader of some format.
pub trait Target: Sync {
    /// Name on the command line and in the table.
    fn name(&self) -> &'static str;

    /// A description of what is changed and what is read.
    fn about(&self) -> &'static str;

    /// Maximum number of bytes that the process may have allocated at any time.
    fn memory(&self) -> usize {
        256 << 20
    }

    /// Number of cases in the crate's tests, which take a second or two.
    fn short(&self) -> u64;

    /// The name of the file that is read first, for running any file.
    fn file(&self) -> &'static str;

    /// Makes the seeds. `home` is a folder that exists as long as the session.
    ///
    /// # Errors
    /// The seeds cannot be made.
    fn open(&self, home: &Path) -> anyhow::Result<Box<dyn Session>>;
}

/// A target with its seeds.
pub trait Session {
    /// An input that depends only on these random numbers.
    fn case(&mut self, rng: &mut Rng) -> Case;

    /// Reads the input in this folder.
    fn run(&mut self, input: &Path) -> Outcome;
}
