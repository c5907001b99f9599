//! A driver that runs the CUDA kernels on the host: the same source that NVRTC compiles, built by the host's C++
//! compiler with `shim.hpp` and launched with the engine's own geometry and arguments. If there is a GPU, tests also
//! run on it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses only some of these items, and none is a library"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use libloading::{Library, Symbol};
use model::engine::Precision;
use model::engine::cuda::driver::{Address, Arg, DeviceError, Driver, Gpu, Launch, Recording};
use model::engine::cuda::{CudaEngine, kernels};
use model::graph::{Graph, NodeId};
use model::network::Network;
use model::store::ParamStore;

type HostLaunch = unsafe extern "C" fn(
    *const c_char,
    *const u32,
    *const u32,
    *const *const c_void,
    c_int,
) -> c_int;

/// The compiled kernels of a precision; `None`, reported once, if there is no C++ compiler. Fibers and shared memory
/// belong to a library, which therefore runs one launch at a time: there is one for each processor.
fn libraries(precision: Precision) -> Option<&'static [Mutex<Library>]> {
    static LIBRARIES: [OnceLock<Option<Vec<Mutex<Library>>>>; 3] = [const { OnceLock::new() }; 3];
    LIBRARIES[precision as usize]
        .get_or_init(|| {
            let libraries = build(precision);
            if libraries.is_none() {
                eprintln!("skipped: no C++ compiler (c++, or the one named in CXX) to run the kernels on the host");
            }
            libraries
        })
        .as_deref()
}

/// Copies of the library, because a file that is loaded twice is one library.
fn build(precision: Precision) -> Option<Vec<Mutex<Library>>> {
    let built = compiled(precision, "")?;
    let copies = tempfile::tempdir().unwrap();
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let copy = |i| {
        let copy = copies.path().join(format!("kernels-{i}.so"));
        std::fs::copy(&built, &copy).unwrap();
        Mutex::new(load(&copy))
    };
    Some((0..count.min(8)).map(copy).collect())
}

/// A library that runs no launch.
fn idle(libraries: &[Mutex<Library>]) -> MutexGuard<'_, Library> {
    let idle = libraries.iter().find_map(|library| library.try_lock().ok());
    let wait = || libraries[0].lock();
    idle.unwrap_or_else(|| wait().unwrap_or_else(PoisonError::into_inner))
}

/// A folder with a `libcuda.so` and a `libnvrtc.so` that run on the host: with it in `LD_LIBRARY_PATH`, the engine's
/// own GPU driver finds a GPU whose kernels are of one precision. `None` if there is no C++ compiler.
pub fn host_emulating_a_gpu(precision: Precision) -> Option<tempfile::TempDir> {
    let built = compiled(precision, include_str!("driver.hpp"))?;
    let folder = tempfile::tempdir().unwrap();
    for name in ["libcuda.so", "libnvrtc.so"] {
        std::fs::copy(&built, folder.path().join(name)).unwrap();
    }
    Some(folder)
}

const FLAGS: [&str; 11] = [
    "-std=c++17",
    "-O2",
    "-march=native",
    "-fno-strict-aliasing", // several elements are loaded at once through other types
    "-U_FORTIFY_SOURCE",
    "-shared",
    "-fPIC",
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",
    "-Werror",
];

/// The library of shim, kernels and `more`; `None` if there is no C++ compiler.
///
/// It is kept in cargo's folder for tests, under a hash of everything that it is made from: the compiler takes a minute,
/// and many test programs need the same libraries.
fn compiled(precision: Precision, more: &str) -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let version = Command::new(&compiler)
        .arg("--version")
        .output()
        .ok()?
        .stdout;
    let shim = include_str!("shim.hpp");
    let kernels = kernels::source_with(precision, include_str!("intrinsics.hpp"));
    let source = format!("{shim}\n{kernels}\n{more}");
    let flags_of_user = std::env::var("CXXFLAGS").unwrap_or_default(); // e.g. for a sanitizer
    // What `native` means.
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find(|line| line.starts_with("flags"));
    let mut hasher = DefaultHasher::new();
    (&source, version, FLAGS, &flags_of_user, processor).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let kept = folder.join(format!("kernels-{:016x}.so", hasher.finish()));
    if !kept.is_file() {
        let own = tempfile::tempdir_in(folder).unwrap();
        let (file, built) = (
            own.path().join("kernels.cpp"),
            own.path().join("kernels.so"),
        );
        std::fs::write(&file, source).unwrap();
        let mut command = Command::new(&compiler);
        command.args(FLAGS).args(flags_of_user.split_whitespace());
        let output = command.arg("-o").args([&built, &file]).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "the kernels do not compile on the host:\n{log}"
        );
        // Another process may have been faster; both are the same.
        std::fs::rename(&built, &kept).unwrap();
    }
    Some(kept)
}

fn load(file: &Path) -> Library {
    // SAFETY: our own library, whose initializers only fill a list.
    unsafe { Library::new(file) }.unwrap()
}

/// Calls a kernel with pointers to its arguments.
fn host_launch(precision: Precision, launch: &Launch<'_>, reverse: bool) -> c_int {
    let libraries =
        libraries(precision).expect("a host device exists only if its library was built");
    let library = idle(libraries);
    let args: Vec<*const c_void> = launch.args.iter().map(Arg::value).collect();
    let name = CString::new(launch.kernel).unwrap();
    // SAFETY: the type is the one of the shim's function.
    let function: Symbol<'_, HostLaunch> = unsafe { library.get(b"host_launch") }.unwrap();
    // SAFETY: arguments have the kernel's types in its order (which these tests check); pointers are into the arena.
    unsafe {
        function(
            name.as_ptr(),
            launch.grid.as_ptr(),
            launch.block.as_ptr(),
            args.as_ptr(),
            reverse.into(),
        )
    }
}

/// The host as a device.
pub struct Host {
    precision: Precision,
    arena: Vec<f32>,
    /// Launches being recorded, and finished recordings.
    recording: Option<Vec<Kept>>,
    recordings: Vec<Vec<Kept>>,
    /// Elements after the arena's end, which must not be written.
    behind: usize,
    /// Whether blocks and threads run in reverse order.
    pub reverse: bool,
    /// Bytes of memory that the device reports.
    pub memory: u64,
}

/// A stored launch with a copy of its arguments.
struct Kept {
    kernel: &'static str,
    grid: [u32; 3],
    block: [u32; 2],
    args: Vec<Arg>,
    node: NodeId,
}

impl Host {
    /// Creates a device with kernels of a precision; `None` if there is no C++ compiler.
    pub fn new(precision: Precision) -> Option<Self> {
        libraries(precision)?;
        Some(Host {
            precision,
            recording: None,
            recordings: Vec::new(),
            arena: Vec::new(),
            behind: 0,
            reverse: false,
            memory: u64::MAX,
        })
    }

    fn start(&self) -> usize {
        let address = self.arena.as_ptr() as usize;
        (address.next_multiple_of(256) - address) / 4
    }

    fn place(&self, address: Address, len: usize) -> std::ops::Range<usize> {
        let start = (address.0 as usize - self.arena.as_ptr() as usize) / 4;
        assert!(start + len <= self.arena.len(), "a copy outside the arena");
        start..start + len
    }
}

impl Driver for Host {
    fn name(&self) -> String {
        "the host".into()
    }

    fn available(&self) -> Result<u64, DeviceError> {
        Ok(self.memory)
    }

    /// New memory is filled with NaN, so that reads before the first write are detected.
    fn allocate(&mut self, elements: usize) -> Result<Address, DeviceError> {
        self.recordings.clear();
        self.arena = vec![f32::NAN; elements + 64 + 1024];
        let start = self.start();
        self.behind = self.arena.len() - start - elements;
        Ok(Address(self.arena[start..].as_ptr() as u64))
    }

    fn upload(&mut self, to: Address, data: &[f32]) -> Result<(), DeviceError> {
        assert!(self.recording.is_none(), "a copy during a recording");
        let place = self.place(to, data.len());
        self.arena[place].copy_from_slice(data);
        Ok(())
    }

    fn download(&mut self, from: Address, data: &mut [f32]) -> Result<(), DeviceError> {
        assert!(self.recording.is_none(), "a copy during a recording");
        data.copy_from_slice(&self.arena[self.place(from, data.len())]);
        Ok(())
    }

    fn launch(&mut self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        launch.check()?;
        if let Some(recording) = &mut self.recording {
            recording.push(Kept {
                kernel: launch.kernel,
                grid: launch.grid,
                block: launch.block,
                args: launch.args.to_vec(),
                node: launch.node,
            });
            return Ok(());
        }
        let code = host_launch(self.precision, launch, self.reverse);
        let behind = &self.arena[self.arena.len() - self.behind..];
        assert!(
            behind.iter().all(|v| v.is_nan()),
            "{}: wrote past the end of the arena",
            launch.kernel
        );
        match code {
            0 => Ok(()),
            1 => panic!("there is no kernel {}", launch.kernel),
            _ => panic!("{}: a barrier is not reached by all threads", launch.kernel),
        }
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        assert!(
            self.recording.replace(Vec::new()).is_none(),
            "two recordings at once"
        );
        Ok(())
    }

    fn recorded(&mut self) -> Result<Recording, DeviceError> {
        let recording = self.recording.take().expect("a recording was started");
        self.recordings.push(recording);
        Ok(Recording(self.recordings.len() - 1))
    }

    fn replay(&mut self, recording: Recording) -> Result<(), DeviceError> {
        let launches = std::mem::take(&mut self.recordings[recording.0]);
        for kept in &launches {
            self.launch(&Launch {
                kernel: kept.kernel,
                grid: kept.grid,
                block: kept.block,
                args: &kept.args,
                node: kept.node,
            })?;
        }
        self.recordings[recording.0] = launches;
        Ok(())
    }
}

/// The GPU with kernels of a precision, if this machine has one; otherwise the reason is reported once.
pub fn gpu(precision: Precision) -> Option<Gpu> {
    static SAID: Once = Once::new();
    Gpu::new(precision)
        .map_err(|why| SAID.call_once(|| eprintln!("skipped on a GPU: {why}")))
        .ok()
}

/// The same network on every engine available on this machine: the CPU engine, and the CUDA engine on the host and on a
/// GPU.
pub fn engines(graph: &Graph, store: &ParamStore) -> Vec<Network> {
    let network = || Network::with_store(graph.clone(), store.clone());
    let host = Host::new(Precision::F32).map(|host| Box::new(host) as Box<dyn Driver>);
    let gpu = gpu(Precision::F32).map(|gpu| Box::new(gpu) as Box<dyn Driver>);
    let cuda = |driver| {
        let engine = CudaEngine::with_driver(Arc::new(graph.clone()), Precision::F32, driver);
        network().with_engine(Box::new(engine))
    };
    let devices = host.into_iter().chain(gpu);
    std::iter::once(network())
        .chain(devices.map(cuda))
        .collect()
}
