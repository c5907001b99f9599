//! The library's functions, found by name, and safe calls of them.
//!
//! Types and constants are those of `mpi_abi.h`: handles are pointers, predefined ones small numbers; counts have 64 bits
//! in the functions whose names end in `_c`.

use std::error::Error;
use std::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::CollectiveError;

/// A communicator, data type or error handler.
type Handle = *mut c_void;
/// `MPI_Count`.
type Count = i64;
/// `MPI_Aint`.
type Address = isize;

const COMM_NULL: usize = 0x100;
const COMM_WORLD: usize = 0x101;
const ERRORS_RETURN: usize = 0x143;
const FLOAT: usize = 0x210;
const BYTE: usize = 0x247;
const IN_PLACE: usize = 1;
const THREAD_SERIALIZED: c_int = 2048;
const MAX_ERROR_STRING: usize = 512;
const MAX_LIBRARY_VERSION_STRING: usize = 8192;
/// The major version of the ABI that these declarations are of.
const ABI: c_int = 1;

/// For how long a process looks for others that may still be computing, or for data that are under way, before it sleeps in
/// between, and for how long it sleeps. Data move only while it looks.
const EXPECTED: Duration = Duration::from_micros(200);
const UNDER_WAY: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_micros(50);
/// How long it sleeps while it computes: each time the processor loses what it has of the computation in its caches.
const NAP_WHILE_COMPUTING: Duration = Duration::from_micros(300);
/// How long it sleeps when it has nothing left to do.
const LONG_NAP: Duration = Duration::from_millis(5);

fn handle(constant: usize) -> Handle {
    ptr::without_provenance_mut(constant)
}

/// Declares the functions, and finds all of them in a library.
macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*);)*) => {
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            fn of(library: &libloading::Library, path: &Path) -> Result<Self, CollectiveError> {
                Ok(Functions {
                    // SAFETY: the types are those that MPI 5 declares for the function of this name. They are used only
                    // while `Library` holds the library, and only after it has stated its version of the ABI.
                    $($field: *unsafe { library.get(concat!($name, "\0").as_bytes()) }.map_err(|_| {
                        CollectiveError::NoFunction { library: path.into(), function: $name }
                    })?,)*
                })
            }
        }
    };
}

functions! {
    abi_version = "MPI_Abi_get_version": fn(*mut c_int, *mut c_int);
    initialized = "MPI_Initialized": fn(*mut c_int);
    init_thread = "MPI_Init_thread": fn(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int);
    finalize = "MPI_Finalize": fn();
    abort = "MPI_Abort": fn(Handle, c_int);
    set_errhandler = "MPI_Comm_set_errhandler": fn(Handle, Handle);
    error_string = "MPI_Error_string": fn(c_int, *mut c_char, *mut c_int);
    library_version = "MPI_Get_library_version": fn(*mut c_char, *mut c_int);
    rank = "MPI_Comm_rank": fn(Handle, *mut c_int);
    size = "MPI_Comm_size": fn(Handle, *mut c_int);
    dup = "MPI_Comm_dup": fn(Handle, *mut Handle);
    ibarrier = "MPI_Ibarrier": fn(Handle, *mut Handle);
    test = "MPI_Test": fn(*mut Handle, *mut c_int, *mut c_void);
    allgather = "MPI_Allgather": fn(*const c_void, c_int, Handle, *mut c_void, c_int, Handle, Handle);
    allgatherv = "MPI_Allgatherv_c": fn(*const c_void, Count, Handle, *mut c_void, *const Count, *const Address, Handle, Handle);
    iallgatherv = "MPI_Iallgatherv_c": fn(*const c_void, Count, Handle, *mut c_void, *const Count, *const Address, Handle, Handle, *mut Handle);
    ialltoallv = "MPI_Ialltoallv_c": fn(*const c_void, *const Count, *const Address, Handle, *mut c_void, *const Count, *const Address, Handle, Handle, *mut Handle);
}

/// Lengths and starts of the pieces of a buffer, one for each rank.
pub(super) struct Movement {
    counts: Vec<Count>,
    starts: Vec<Address>,
}

impl Movement {
    pub(super) fn new(lens: &[usize]) -> Self {
        let mut end = 0;
        let start = |len: &usize| {
            let start = end;
            end += *len as Address;
            start
        };
        Movement {
            starts: lens.iter().map(start).collect(),
            counts: lens.iter().map(|len| *len as Count).collect(),
        }
    }

    /// Whether the pieces fill a buffer of this length exactly.
    fn fills(&self, len: usize) -> bool {
        self.counts.iter().sum::<Count>() == len as Count
    }
}

/// A communicator of its own for the processes that have nothing left to do, so that they cannot be taken for others
/// which still share work.
struct Leaving(Handle);

// SAFETY: MPI's handles belong to the process, not to a thread, and the library's lock makes the threads take turns.
unsafe impl Send for Leaving {}

/// A loaded library.
pub(super) struct Library {
    functions: Functions,
    path: PathBuf,
    leaving: Leaving,
    computing: Arc<AtomicBool>,
    _loaded: libloading::Library,
}

impl Library {
    /// The first of the candidates that can be loaded.
    pub(super) fn find(
        launcher: &'static str,
        candidates: &[PathBuf],
    ) -> Result<Self, CollectiveError> {
        let mut problem = String::new();
        for path in candidates {
            // SAFETY: loading runs the library's initializers; the user or the system names it as an MPI library.
            match unsafe { libloading::Library::new(path) } {
                Ok(loaded) => return Self::checked(loaded, path),
                // The loader's own words are the source of the error.
                Err(error) => {
                    problem = error
                        .source()
                        .map_or_else(|| error.to_string(), ToString::to_string);
                }
            }
        }
        Err(CollectiveError::NoLibrary {
            launcher,
            tried: problem,
        })
    }

    fn checked(loaded: libloading::Library, path: &Path) -> Result<Self, CollectiveError> {
        let library = Library {
            functions: Functions::of(&loaded, path)?,
            path: path.into(),
            leaving: Leaving(handle(COMM_NULL)),
            computing: Arc::default(),
            _loaded: loaded,
        };
        let (mut major, mut minor) = (0, 0);
        // SAFETY: MPI allows this call at any time; both pointers are valid.
        let code = unsafe { (library.functions.abi_version)(&mut major, &mut minor) };
        match code == 0 && major == ABI {
            true => Ok(library),
            false => Err(CollectiveError::Abi {
                library: path.into(),
                major,
                minor,
            }),
        }
    }

    /// To be set while this process computes at the same time.
    pub(super) fn computing(&self) -> Arc<AtomicBool> {
        self.computing.clone()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts MPI. From then on errors are returned, where MPI's default is to end the job without a word of ours.
    pub(super) fn start(&mut self) -> Result<(), CollectiveError> {
        let (mut already, mut provided) = (0, 0);
        // SAFETY: allowed before initialization; the pointer is valid.
        let code = unsafe { (self.functions.initialized)(&mut already) };
        self.done("start", code)?;
        if already != 0 {
            return Err(CollectiveError::Twice);
        }
        // SAFETY: MPI accepts null for both arguments of `main`, and has not been initialized.
        let code = unsafe {
            (self.functions.init_thread)(
                ptr::null_mut(),
                ptr::null_mut(),
                THREAD_SERIALIZED,
                &mut provided,
            )
        };
        self.done("start", code)?;
        if provided < THREAD_SERIALIZED {
            return Err(CollectiveError::Threads {
                library: self.path.clone(),
            });
        }
        // SAFETY: predefined handles.
        let code =
            unsafe { (self.functions.set_errhandler)(handle(COMM_WORLD), handle(ERRORS_RETURN)) };
        self.done("return errors", code)?;
        // SAFETY: MPI writes a communicator to the pointer, which inherits the error handler.
        let code = unsafe { (self.functions.dup)(handle(COMM_WORLD), &mut self.leaving.0) };
        self.done("copy the communicator", code)
    }

    /// Ends MPI; waits for the other processes.
    pub(super) fn end(&self) {
        // SAFETY: MPI was started, and `Mpi` makes no call after this one.
        let _at_the_end = unsafe { (self.functions.finalize)() };
    }

    pub(super) fn abort(&self, code: c_int) {
        // SAFETY: MPI was started; the call ends the process.
        let _not_reached = unsafe { (self.functions.abort)(handle(COMM_WORLD), code) };
    }

    /// Rank and size.
    pub(super) fn place(&self) -> Result<(usize, usize), CollectiveError> {
        let (mut rank, mut size) = (0, 0);
        // SAFETY: MPI was started; valid pointers.
        let code = unsafe { (self.functions.rank)(handle(COMM_WORLD), &mut rank) };
        self.done("tell this process's rank", code)?;
        // SAFETY: as above.
        let code = unsafe { (self.functions.size)(handle(COMM_WORLD), &mut size) };
        self.done("tell the number of processes", code)?;
        Ok((rank.max(0) as usize, size.max(1) as usize))
    }

    /// The first line of what the library calls itself.
    pub(super) fn version(&self) -> Result<String, CollectiveError> {
        let mut text = [0; MAX_LIBRARY_VERSION_STRING + 1];
        let mut len = 0;
        // SAFETY: the buffer has the size that the ABI states, and one byte more.
        let code = unsafe { (self.functions.library_version)(text.as_mut_ptr(), &mut len) };
        self.done("tell its version", code)?;
        let text = words(&text);
        let first = text.lines().next().unwrap_or_default();
        Ok(first.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Waits until all processes are here.
    fn meet(&self) -> Result<(), CollectiveError> {
        let barrier = self.barrier(handle(COMM_WORLD))?;
        self.wait(barrier, EXPECTED, "wait for the other processes")
    }

    /// Waits for a request. MPI's own calls are busy-waiting, on a processor that the threads that read the next images or
    /// go on computing need, and other processes where there are more processes than processors.
    fn wait(
        &self,
        mut request: Handle,
        awake: Duration,
        what: &'static str,
    ) -> Result<(), CollectiveError> {
        let start = Instant::now();
        while !self.passed(&mut request, what)? {
            match self.computing.load(Ordering::Relaxed) {
                true => thread::sleep(NAP_WHILE_COMPUTING),
                false if start.elapsed() < awake => thread::yield_now(),
                false => thread::sleep(NAP),
            }
        }
        Ok(())
    }

    /// Whether all processes make this call, their last, before the time is over.
    pub(super) fn all_leave(&self, patience: Duration) -> Result<bool, CollectiveError> {
        let start = Instant::now();
        let mut barrier = self.barrier(self.leaving.0)?;
        while !self.passed(&mut barrier, "wait for the other processes")? {
            if start.elapsed() > patience {
                return Ok(false);
            }
            thread::sleep(LONG_NAP);
        }
        Ok(true)
    }

    fn barrier(&self, processes: Handle) -> Result<Handle, CollectiveError> {
        let mut request = ptr::null_mut();
        // SAFETY: MPI was started; a communicator of it; MPI writes a request to the pointer.
        let code = unsafe { (self.functions.ibarrier)(processes, &mut request) };
        self.done("wait for the other processes", code)?;
        Ok(request)
    }

    /// Whether a request is done.
    fn passed(&self, request: &mut Handle, what: &'static str) -> Result<bool, CollectiveError> {
        let mut passed = 0;
        // SAFETY: a request, which MPI sets to null when it is done (testing that again is allowed); the ABI's null
        // ignores the status.
        let code = unsafe { (self.functions.test)(request, &mut passed, ptr::null_mut()) };
        self.done(what, code)?;
        Ok(passed != 0)
    }

    /// One number of each process.
    pub(super) fn lengths(&self, own: u64, size: usize) -> Result<Vec<u64>, CollectiveError> {
        self.meet()?;
        let mut all = vec![0_u64; size];
        let one = size_of::<u64>() as c_int;
        // SAFETY: eight bytes are read from `own` and eight per process written to `all`, whose length is the
        // communicator's size.
        let code = unsafe {
            (self.functions.allgather)(
                (&raw const own).cast(),
                one,
                handle(BYTE),
                all.as_mut_ptr().cast(),
                one,
                handle(BYTE),
                handle(COMM_WORLD),
            )
        };
        self.done("gather lengths", code)?;
        Ok(all)
    }

    /// Every process's bytes.
    pub(super) fn gather(
        &self,
        own: &[u8],
        all: &mut [u8],
        pieces: &Movement,
    ) -> Result<(), CollectiveError> {
        fit("received", pieces.fills(all.len()))?;
        // SAFETY: the pieces fill `all`, and `own` is the piece of this rank by the lengths that all have exchanged.
        let code = unsafe {
            (self.functions.allgatherv)(
                own.as_ptr().cast(),
                own.len() as Count,
                handle(BYTE),
                all.as_mut_ptr().cast(),
                pieces.counts.as_ptr(),
                pieces.starts.as_ptr(),
                handle(BYTE),
                handle(COMM_WORLD),
            )
        };
        self.done("gather results", code)
    }

    /// Pieces to every process, and from every process.
    pub(super) fn exchange(
        &self,
        (sent, to): (&[f32], &Movement),
        (received, from): (&mut [f32], &Movement),
    ) -> Result<(), CollectiveError> {
        const WHAT: &str = "exchange gradients";
        fit("sent", to.fills(sent.len()))?;
        fit("received", from.fills(received.len()))?;
        self.meet()?;
        let mut request = ptr::null_mut();
        // SAFETY: the pieces fill both buffers; both movements have a piece per process (`Mpi::exchange`). All four live
        // until the request is done: `wait` returns no earlier, unless MPI has ended the request with an error.
        let code = unsafe {
            (self.functions.ialltoallv)(
                sent.as_ptr().cast(),
                to.counts.as_ptr(),
                to.starts.as_ptr(),
                handle(FLOAT),
                received.as_mut_ptr().cast(),
                from.counts.as_ptr(),
                from.starts.as_ptr(),
                handle(FLOAT),
                handle(COMM_WORLD),
                &mut request,
            )
        };
        self.done(WHAT, code)?;
        self.wait(request, UNDER_WAY, WHAT)
    }

    /// Fills in the pieces of the other processes.
    pub(super) fn complete(
        &self,
        values: &mut [f32],
        pieces: &Movement,
    ) -> Result<(), CollectiveError> {
        const WHAT: &str = "distribute sums";
        fit("received", pieces.fills(values.len()))?;
        let mut request = ptr::null_mut();
        // SAFETY: the pieces fill `values`, which holds this process's piece in its place; both live until the request is
        // done, as above.
        let code = unsafe {
            (self.functions.iallgatherv)(
                handle(IN_PLACE),
                0,
                handle(FLOAT),
                values.as_mut_ptr().cast(),
                pieces.counts.as_ptr(),
                pieces.starts.as_ptr(),
                handle(FLOAT),
                handle(COMM_WORLD),
                &mut request,
            )
        };
        self.done(WHAT, code)?;
        self.wait(request, UNDER_WAY, WHAT)
    }

    /// What MPI says about an error code.
    fn done(&self, what: &'static str, code: c_int) -> Result<(), CollectiveError> {
        if code == 0 {
            return Ok(());
        }
        let mut text = [0; MAX_ERROR_STRING + 1];
        let mut len = 0;
        // SAFETY: the buffer has the size that the ABI states, and one byte more.
        let told = unsafe { (self.functions.error_string)(code, text.as_mut_ptr(), &mut len) };
        let why = match told {
            0 => words(&text)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            _ => format!("error {code}"),
        };
        Err(CollectiveError::Call { what, why })
    }
}

fn fit(what: &'static str, fits: bool) -> Result<(), CollectiveError> {
    fits.then_some(()).ok_or(CollectiveError::Lengths { what })
}

/// The text before the first zero.
fn words(text: &[c_char]) -> String {
    let bytes: Vec<u8> = text
        .iter()
        .map(|c| c.cast_unsigned())
        .take_while(|b| *b != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
