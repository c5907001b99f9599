//! Why processes could not work together.

use std::path::PathBuf;

/// Why processes could not work together.
#[derive(Debug, thiserror::Error)]
pub enum CollectiveError {
    /// No library with MPI's standard ABI.
    #[error(
        "this process was started by {launcher}, but no library with MPI's standard ABI (libmpi_abi.so.1) was found \
         ({tried}); MPICH from 5.0 and Intel MPI from 2021.18 have it: add its folder to LD_LIBRARY_PATH, or name the \
         file in EFF_UNET_MPI"
    )]
    NoLibrary {
        /// What started the process.
        launcher: &'static str,
        /// What was tried, with the loader's answer to the last.
        tried: String,
    },
    /// A library without a function that is needed.
    #[error(
        "{} has no function {function}: it is not a library with MPI's standard ABI (MPI 5), which MPICH from 5.0 and \
         Intel MPI from 2021.18 have",
        library.display()
    )]
    NoFunction {
        /// The library's file.
        library: PathBuf,
        /// Name of the function.
        function: &'static str,
    },
    /// A library with another version of the ABI.
    #[error(
        "{} has version {major}.{minor} of MPI's standard ABI, but this program needs version 1",
        library.display()
    )]
    Abi {
        /// The library's file.
        library: PathBuf,
        /// Major version.
        major: i32,
        /// Minor version.
        minor: i32,
    },
    /// The library does not let the threads of a process take turns.
    #[error("{} does not support calls from several threads (MPI_THREAD_SERIALIZED)", library.display())]
    Threads {
        /// The library's file.
        library: PathBuf,
    },
    /// MPI was already initialized or ended in this process.
    #[error("MPI can be started only once in a process")]
    Twice,
    /// A call failed.
    #[error("MPI could not {what}: {why}")]
    Call {
        /// What the call does.
        what: &'static str,
        /// MPI's words.
        why: String,
    },
    /// Lengths that are not those of the data: a bug in the caller, or processes that disagree.
    #[error(
        "the lengths of what is {what} do not fit: do all processes run the same version with the same settings?"
    )]
    Lengths {
        /// `sent`, `received`.
        what: &'static str,
    },
    /// Another thread of the group is gone.
    #[error("another member of the group has ended")]
    Gone,
}
