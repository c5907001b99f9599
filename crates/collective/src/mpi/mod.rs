//! Ranks of an MPI job, by a library with the standard ABI of MPI 5, which is loaded when the job starts.
//!
//! The ABI fixes the types and constants of MPI's functions, so that one program works with every library that has it
//! (MPICH from 5.0, Intel MPI from 2021.18), and needs none of them to be built or to run alone.

mod library;

use std::env;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Collective, CollectiveError, check};
use library::{Library, Movement};

/// The environment variable that names the library's file.
pub const LIBRARY: &str = "EFF_UNET_MPI";

/// Variables that launchers set for their processes, and the launcher's name.
const LAUNCHERS: [(&str, &str); 3] = [
    ("PMI_RANK", "mpiexec"),
    ("PMIX_RANK", "srun --mpi=pmix or mpiexec"),
    ("PMI_FD", "mpiexec"),
];

/// Variables in which launchers state the number of processes. The launcher's own come first: where `mpiexec` starts its
/// helpers by Slurm, there is one task on each machine for Slurm, whatever the number of processes.
const SIZES: [&str; 3] = ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];

/// What started this process as one of several, if anything did. A job of one process needs no library.
pub fn launcher() -> Option<&'static str> {
    launcher_by(|variable| env::var(variable).ok())
}

fn launcher_by(value: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let size = SIZES.iter().find_map(|size| value(size));
    let set = |(variable, _): &&(&str, &str)| value(variable).is_some();
    let launcher = LAUNCHERS.iter().find(set).map(|(_, name)| *name);
    launcher.filter(|_| size.as_deref() != Some("1"))
}

/// The processes of an MPI job. MPI ends when it is dropped.
pub struct Mpi {
    // The ABI lets threads take turns: the lock makes them.
    library: Mutex<Library>,
    computing: Arc<AtomicBool>,
    rank: usize,
    size: usize,
    version: String,
}

impl Mpi {
    /// Joins the job that this process was started for.
    ///
    /// # Errors
    /// No library, one without a function or of another ABI, or MPI's own words.
    pub fn join(launcher: &'static str) -> Result<Self, CollectiveError> {
        Self::with(Library::find(launcher, &candidates())?)
    }

    fn with(mut library: Library) -> Result<Self, CollectiveError> {
        library.start()?;
        let (rank, size) = library.place()?;
        let version = library.version()?;
        Ok(Mpi {
            computing: library.computing(),
            library: Mutex::new(library),
            rank,
            size,
            version,
        })
    }

    /// What the library calls itself: `MPICH Version: 5.0.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The library's file.
    pub fn library(&self) -> PathBuf {
        self.lock().path().to_path_buf()
    }

    /// Whether all processes of the job make this call within about this time. It is the last call of a process that
    /// cannot go on: where all cannot, the job can end without [`Mpi::abort`], and what they have said is not lost.
    pub fn all_leave(&self, patience: Duration) -> bool {
        self.lock().all_leave(patience).unwrap_or(false)
    }

    /// Ends all processes of the job with this exit code: the way out of an error that the others do not know of and
    /// would wait for. The launcher may lose what a process has said just before.
    pub fn abort(&self, code: u8) {
        self.lock().abort(code.into());
    }

    fn lock(&self) -> MutexGuard<'_, Library> {
        self.library.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        self.lock().end();
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn computing(&self, computing: bool) {
        self.computing.store(computing, Ordering::Relaxed);
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let library = self.lock();
        let lens: Vec<usize> = library
            .lengths(own.len() as u64, self.size)?
            .into_iter()
            .map(|len| {
                usize::try_from(len).map_err(|_| CollectiveError::Lengths { what: "received" })
            })
            .collect::<Result<_, _>>()?;
        let mut all = vec![0; lens.iter().sum()];
        library.gather(own, &mut all, &Movement::new(&lens))?;
        let mut rest = all.as_slice();
        let take = |len: &usize| {
            let (own, others) = rest.split_at(*len);
            rest = others;
            own.to_vec()
        };
        Ok(lens.iter().map(take).collect())
    }

    fn exchange(
        &self,
        (values, lens): (&[f32], &[usize]),
        (received, expected): (&mut [f32], &[usize]),
    ) -> Result<(), CollectiveError> {
        check("sent", lens, values.len())?;
        check("received", expected, received.len())?;
        if lens.len() != self.size || expected.len() != self.size {
            return Err(CollectiveError::Lengths { what: "sent" });
        }
        let (sent, expected) = (Movement::new(lens), Movement::new(expected));
        self.lock().exchange((values, &sent), (received, &expected))
    }

    fn complete(&self, values: &mut [f32], lens: &[usize]) -> Result<(), CollectiveError> {
        check("sent", lens, values.len())?;
        if lens.len() != self.size {
            return Err(CollectiveError::Lengths { what: "sent" });
        }
        self.lock().complete(values, &Movement::new(lens))
    }
}

/// Where the library may be: the file that the user names, the loader's own search, and next to the launcher.
fn candidates() -> Vec<PathBuf> {
    if let Some(named) = env::var_os(LIBRARY) {
        return vec![named.into()];
    }
    let names = [
        "libmpi_abi.so.1",
        "libmpi_abi.so",
        "libmpi_abi.1.dylib",
        "libmpi_abi.dylib",
    ];
    let folders = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let beside = |folder: &PathBuf| Some(folder.parent()?.join("lib"));
    let launchers = folders
        .iter()
        .flatten()
        .filter(|folder| folder.join("mpiexec").is_file());
    let folders = launchers.filter_map(beside);
    let found = folders
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .filter(|file| file.is_file());
    names.into_iter().map(PathBuf::from).chain(found).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_number_of_processes_counts() {
        let launcher = |variables: &[(&str, &str)]| {
            launcher_by(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(launcher(&[]), None);
        assert_eq!(launcher(&[("SLURM_STEP_NUM_TASKS", "4")]), None);
        let rank = ("PMI_RANK", "0");
        assert_eq!(launcher(&[rank]), Some("mpiexec"));
        assert_eq!(launcher(&[rank, ("PMI_SIZE", "1")]), None);
        // mpiexec within a job of Slurm, which it uses to start a helper on each machine.
        let helper = ("SLURM_STEP_NUM_TASKS", "1");
        assert_eq!(
            launcher(&[rank, helper, ("PMI_SIZE", "2")]),
            Some("mpiexec")
        );
        // Slurm's own launcher.
        let rank = ("PMIX_RANK", "0");
        assert_eq!(launcher(&[rank, helper]), None);
        assert!(launcher(&[rank, ("SLURM_STEP_NUM_TASKS", "2")]).is_some());
    }

    #[test]
    fn a_library_that_is_not_mpi_is_refused_in_one_sentence() {
        let missing = Library::find("mpiexec", &["/nonexistent/libmpi_abi.so.1".into()]);
        let missing = missing.err().unwrap().to_string();
        assert!(
            missing.contains("started by mpiexec") && missing.contains("/nonexistent/"),
            "{missing}"
        );
        // The C library: it can be loaded, and has no function of MPI.
        let foreign = Library::find("mpiexec", &["libc.so.6".into()]);
        let foreign = foreign.err().unwrap().to_string();
        assert!(
            foreign.contains("libc.so.6 has no function MPI_"),
            "{foreign}"
        );
        assert!(![missing, foreign].iter().any(|words| words.contains('\n')));
    }
}
