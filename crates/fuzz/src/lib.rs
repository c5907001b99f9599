//! Mutated inputs for everything that this program reads: what must never panic, hang, take all memory, or answer
//! wrongly.
//!
//! A [`Target`] is a reader of some format. Its [`Session`] makes [`Case`]s, each a function of the target's name and a
//! number, and tries them. A case is files in a folder, as the product finds them: the readers are called by their
//! public functions and with paths, so that what is tested is what runs. A [`worker`] tries cases one after another in a
//! process of its own, under a limit on its memory; [`supervise`] starts it, sees it hang or die, keeps the input, and
//! goes on behind it. So an abort or a stack overflow is a row of the table and not the end of it.
//!
//! Why mutators of our own: bolero's engine on stable draws inputs from nothing and mutates none (that needs
//! libFuzzer, a nightly compiler or cargo-bolero), and proptest likewise; from nothing, no draw gets past a PNG's
//! checksum. What finds faults here are small good files (`seeds`), changed by mutators that make sums and lengths
//! right again (`formats`), and these a general crate does not have.
//!
//! Nothing here is part of the product, and all of it is for Linux.

// They panic where nobody reads; `terminal` prints.
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

    /// What is changed and what is read.
    fn about(&self) -> &'static str;

    /// Bytes that the process may have allocated at any moment.
    fn memory(&self) -> usize {
        256 << 20
    }

    /// Cases of the run that is part of the crate's tests: a second or two.
    fn short(&self) -> u64;

    /// The name of the file that is read first, for trying any file.
    fn file(&self) -> &'static str;

    /// Makes what cases start from. `home` is a folder that stays while the session does.
    ///
    /// # Errors
    /// The seeds cannot be made.
    fn open(&self, home: &Path) -> anyhow::Result<Box<dyn Session>>;
}

/// A target with its seeds.
pub trait Session {
    /// An input, from these random numbers alone.
    fn case(&mut self, rng: &mut Rng) -> Case;

    /// Reads the input in this folder.
    fn run(&mut self, input: &Path) -> Outcome;
}
