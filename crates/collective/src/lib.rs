//! Several processes as one: what they send each other, and sums that do not depend on how many they are.
//!
//! A [`Collective`] is the group of processes that a job consists of: [`Alone`], the ranks of an MPI job ([`mpi`]), or
//! threads of one process in tests ([`threads`]). Every call is collective: all processes make the same calls in the same
//! order, with lengths that fit.
//!
//! [`Division`] cuts a batch into a fixed number of chunks and says which process computes which, and [`sum`] adds what was
//! computed for the chunks in an order that depends on the number of chunks alone. A job on one, two or four processes
//! therefore computes the same bits.

mod alone;
mod division;
mod error;
pub mod mpi;
mod place;
pub mod sum;
pub mod threads;

pub use alone::Alone;
pub use division::{Division, part, within};
pub use error::CollectiveError;
pub use place::threads as threads_of;

/// The processes of a job, seen from one of them.
pub trait Collective: Send + Sync {
    /// This process, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// Tells whether this process computes at the same time, from now on: calls then leave the processors to it as far as
    /// they can, and take longer.
    fn computing(&self, _computing: bool) {}

    /// The bytes of every process, in the order of their ranks; lengths may differ.
    ///
    /// # Errors
    /// The transport failed, as when another process has died.
    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// Sends every process a piece of the numbers of `sent`, by rank, with the lengths given beside them, and fills the
    /// buffer of `received` with what every process sends here, by rank, with the lengths expected.
    ///
    /// # Errors
    /// As [`Collective::gather`]; lengths that are not those of the slices.
    fn exchange(
        &self,
        sent: (&[f32], &[usize]),
        received: (&mut [f32], &[usize]),
    ) -> Result<(), CollectiveError>;

    /// Completes `values`, which consist of a piece of `lens[r]` numbers for each rank `r`: sends this process's piece to
    /// the others, and receives theirs.
    ///
    /// # Errors
    /// As [`Collective::exchange`].
    fn complete(&self, values: &mut [f32], lens: &[usize]) -> Result<(), CollectiveError>;
}

/// Whether lengths add up to that of a slice.
fn check(what: &'static str, lens: &[usize], found: usize) -> Result<(), CollectiveError> {
    match lens
        .iter()
        .try_fold(0_usize, |sum, len| sum.checked_add(*len))
    {
        Some(sum) if sum == found => Ok(()),
        _ => Err(CollectiveError::Lengths { what }),
    }
}
