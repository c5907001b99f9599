//! The GPU, through the CUDA driver. With its neighbours `copies.rs`, `nvrtc.rs` and `recordings.rs` it contains all of
//! this crate's `unsafe` code: every call here passes pointers to a C library.
//!
//! All work is queued on one stream, so that launches and copies run in the order in which they are requested.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use ::kernels::Precision;
use cudarc::driver::{CudaContext, CudaEvent, CudaFunction, CudaModule, CudaStream, result, sys};
use cudarc::nvrtc::Ptx;

use super::copies::Copies;
use super::recordings::Recordings;
use super::{Address, DeviceError, Driver, Launch, Recording, nvrtc};

/// Bytes left to the driver, for the kernels' local memory and the driver's bookkeeping.
const RESERVE: u64 = 256 << 20;

/// The first NVIDIA GPU (`CUDA_VISIBLE_DEVICES` chooses).
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    module: Arc<CudaModule>,
    functions: HashMap<&'static str, CudaFunction>,
    /// Address and length in words; (null, 0) before the first allocation.
    arena: (Address, usize),
    recordings: Recordings,
    /// Set once something is copied concurrently with launches.
    copies: Option<Copies>,
    /// While launches are timed: an event before the first and one after each.
    clock: Option<Vec<CudaEvent>>,
}

impl Gpu {
    /// Finds the driver and the GPU, and compiles the kernels of a precision or reads them from disk.
    ///
    /// # Errors
    /// No driver, no GPU, no NVRTC, kernels that do not compile, or a GPU that does not support the precision.
    pub fn new(precision: Precision) -> Result<Self, DeviceError> {
        let Loaded { context, module } = loaded(precision)?;
        // A separate stream: launches on the default one cannot be recorded.
        let stream = context
            .new_stream()
            .map_err(|e| failed("open a stream", e))?;
        Ok(Gpu {
            recordings: Recordings::on(stream.clone()),
            stream,
            context,
            module,
            functions: HashMap::new(),
            arena: (Address::NULL, 0),
            copies: None,
            clock: None,
        })
    }

    /// Makes the context current on this thread: an engine may be used from any thread.
    fn bind(&self) -> Result<(), DeviceError> {
        self.context
            .bind_to_thread()
            .map_err(|e| failed("be used from this thread", e))
    }

    fn function(&mut self, name: &'static str) -> Result<CudaFunction, DeviceError> {
        if let Some(function) = self.functions.get(name) {
            return Ok(function.clone());
        }
        let function = self
            .module
            .load_function(name)
            .map_err(|e| failed(&format!("find the kernel {name}"), e))?;
        self.functions.insert(name, function.clone());
        Ok(function)
    }

    fn free_arena(&mut self) -> Result<(), DeviceError> {
        let (address, _) = std::mem::replace(&mut self.arena, (Address::NULL, 0));
        if address == Address::NULL {
            return Ok(());
        }
        // SAFETY: the address comes from `malloc_sync` and was just replaced, so it is freed once. The driver waits for
        // kernels that use it.
        unsafe { result::free_sync(address.0) }.map_err(|e| failed("free its memory", e))
    }

    fn copies(&mut self) -> Result<&mut Copies, DeviceError> {
        self.bind()?;
        if self.copies.is_none() {
            let copies = Copies::new(&self.context);
            self.copies = Some(copies.map_err(|e| failed("open a stream", e))?);
        }
        let opened = self.copies.as_mut();
        opened.ok_or_else(|| failed("open a stream", "there is none"))
    }

    /// Records an event at the current end of the stream.
    fn event(&self) -> Result<CudaEvent, DeviceError> {
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT;
        let event = self.stream.record_event(Some(flags));
        event.map_err(|e| failed("measure the time", e))
    }

    /// Checks that `len` f32 from `address` are in the arena.
    fn check(&self, address: Address, len: usize) -> Result<(), DeviceError> {
        let (start, elements) = self.arena;
        let end = address.plus(len);
        if address >= start && end <= start.plus(elements) {
            return Ok(());
        }
        Err(failed("copy", "the address range is outside the arena"))
    }
}

impl Driver for Gpu {
    fn name(&self) -> String {
        self.context.name().unwrap_or_else(|_| "NVIDIA GPU".into())
    }

    fn available(&self) -> Result<u64, DeviceError> {
        self.bind()?;
        let (free, _) = self
            .context
            .mem_get_info()
            .map_err(|e| failed("report its free memory", e))?;
        Ok((free as u64 + 4 * self.arena.1 as u64).saturating_sub(RESERVE))
    }

    fn allocate(&mut self, elements: usize) -> Result<Address, DeviceError> {
        self.bind()?;
        self.recordings.clear();
        self.free_arena()?;
        // SAFETY: the memory is written before it is read, by copies and kernels that stay within it, and freed once.
        let address = unsafe { result::malloc_sync(4 * elements) }
            .map_err(|e| failed(&format!("allocate {} MiB of memory", elements >> 18), e))?;
        self.arena = (Address(address), elements);
        Ok(Address(address))
    }

    fn upload(&mut self, to: Address, data: &[f32]) -> Result<(), DeviceError> {
        self.bind()?;
        self.check(to, data.len())?;
        // SAFETY: the destination was just checked to be in the arena. The data are in pageable memory, which the
        // driver has copied when the call returns.
        unsafe { result::memcpy_htod_async(to.0, data, self.stream.cu_stream()) }
            .map_err(|e| failed("receive data", e))
    }

    fn download(&mut self, from: Address, data: &mut [f32]) -> Result<(), DeviceError> {
        self.bind()?;
        self.check(from, data.len())?;
        // SAFETY: as in `upload`; the slice is not accessed before the stream is synchronized.
        unsafe { result::memcpy_dtoh_async(data, from.0, self.stream.cu_stream()) }
            .and_then(|()| self.stream.synchronize())
            .map_err(|e| failed("send data", e))
    }

    fn launch(&mut self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        launch.check()?;
        let function = self.function(launch.kernel)?;
        let mut args: Vec<*mut c_void> = launch
            .args
            .iter()
            .map(|arg| arg.value().cast_mut())
            .collect();
        let ([x, y, z], [across, down]) = (launch.grid, launch.block);
        self.bind()?;
        // SAFETY: the arguments have the kernel's types, in its order, with the same `repr(C)` layout, and every
        // pointer refers to as many elements of the arena as the accompanying sizes state. The tests run each launch of
        // the engine, built in the same way, on the host.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, z),
                (across, down, 1),
                0,
                self.stream.cu_stream(),
                &mut args,
            )
        }
        .map_err(|e| failed(&format!("run the kernel {}", launch.kernel), e))?;
        if self.clock.is_some() {
            let event = self.event()?;
            self.clock.get_or_insert_default().push(event);
        }
        Ok(())
    }

    fn upload_concurrent(
        &mut self,
        slot: usize,
        parts: &[(Address, &[f32])],
    ) -> Result<(), DeviceError> {
        for (to, data) in parts {
            self.check(*to, data.len())?;
        }
        let uploaded = self.copies()?.upload(slot, parts);
        uploaded.map_err(|e| failed("receive data", e))
    }

    fn await_upload(&mut self, slot: usize) -> Result<(), DeviceError> {
        let stream = self.stream.clone();
        let joined = self.copies()?.join(slot, &stream);
        joined.map_err(|e| failed("wait for data", e))
    }

    fn mark(&mut self, slot: usize) -> Result<(), DeviceError> {
        let stream = self.stream.clone();
        let marked = self.copies()?.mark(slot, &stream);
        marked.map_err(|e| failed("mark its work", e))
    }

    fn download_at(
        &mut self,
        slot: usize,
        from: Address,
        data: &mut [f32],
    ) -> Result<(), DeviceError> {
        self.check(from, data.len())?;
        let downloaded = self.copies()?.download(slot, from, data);
        downloaded.map_err(|e| failed("send data", e))
    }

    fn start_clock(&mut self) -> Result<(), DeviceError> {
        self.clock = Some(vec![self.event()?]);
        Ok(())
    }

    fn stop_clock(&mut self) -> Result<Vec<f64>, DeviceError> {
        let events = self.clock.take().unwrap_or_default();
        self.stream
            .synchronize()
            .map_err(|e| failed("finish its work", e))?;
        let seconds = |pair: &[CudaEvent]| match pair {
            [a, b] => a.elapsed_ms(b).map(|ms| 1e-3 * f64::from(ms)),
            _ => Ok(0.0),
        };
        let times: Result<_, _> = events.windows(2).map(seconds).collect();
        times.map_err(|e| failed("measure the time", e))
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        self.recordings
            .begin()
            .map_err(|e| failed("record a pass", e))
    }

    fn recorded(&mut self) -> Result<Recording, DeviceError> {
        self.recordings
            .end()
            .map_err(|e| failed("record a pass", e))
    }

    fn replay(&mut self, recording: Recording) -> Result<(), DeviceError> {
        self.recordings
            .replay(recording)
            .map_err(|e| failed("replay a pass", e))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.recordings.clear();
        if self.bind().is_ok() {
            let _ = self.free_arena(); // on failure: the driver frees the memory when the process ends
        }
    }
}

/// A GPU's context and the kernels of a precision.
#[derive(Clone)]
struct Loaded {
    context: Arc<CudaContext>,
    module: Arc<CudaModule>,
}

/// Loads the kernels once per process; engines share them.
fn loaded(precision: Precision) -> Result<Loaded, DeviceError> {
    static LOADED: Mutex<Vec<(Precision, Loaded)>> = Mutex::new(Vec::new());
    let mut all = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, loaded)) = all.iter().find(|(known, _)| *known == precision) {
        return Ok(loaded.clone());
    }
    let loaded = load(precision)?;
    all.push((precision, loaded.clone()));
    Ok(loaded)
}

fn load(precision: Precision) -> Result<Loaded, DeviceError> {
    driver_present()?;
    driver_recent()?;
    let context = CudaContext::new(0).map_err(|e| DeviceError::NoGpu(e.to_string()))?;
    let (major, minor) = context
        .compute_capability()
        .map_err(|e| failed("report its compute capability", e))?;
    if precision != Precision::F32 && major < 8 {
        return Err(DeviceError::Unsupported(format!(
            "this GPU has compute capability {major}.{minor}, but {precision} requires 8.0: use precision f32"
        )));
    }
    let module = module(&context, precision, &format!("sm_{major}{minor}"))?;
    Ok(Loaded { context, module })
}

/// Loads the kernels; recompiles them if the driver rejects the cached ones.
fn module(
    context: &Arc<CudaContext>,
    precision: Precision,
    arch: &str,
) -> Result<Arc<CudaModule>, DeviceError> {
    let load = |cubin| context.load_module(Ptx::from_binary(cubin));
    let compiled = nvrtc::cubin(precision, arch)?;
    let loaded = match load(compiled.cubin) {
        Err(_) if compiled.cached => load(nvrtc::compiled_anew(precision, arch)?.cubin),
        loaded => loaded,
    };
    loaded.map_err(|e| {
        let why = format!(
            "{e}; a driver only loads kernels compiled with its own CUDA version or an older one: NVRTC may be too new"
        );
        failed("load the kernels", why)
    })
}

fn driver_present() -> Result<(), DeviceError> {
    // SAFETY: loads and unloads the library; the driver does nothing before `cuInit`.
    match unsafe { sys::is_culib_present() } {
        true => Ok(()),
        false => Err(DeviceError::Library {
            library: "the NVIDIA driver's library (libcuda.so)",
            remedy: "it comes with the driver of an NVIDIA GPU; without one use the device cpu",
        }),
    }
}

/// Recordings and separate streams need calls that older drivers do not have.
const OLDEST_CUDA: i32 = 12_000;

fn driver_recent() -> Result<(), DeviceError> {
    let mut version = 0;
    // SAFETY: writes one number and requires no initialization.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(|e| failed("report its driver version", e))?;
    match version >= OLDEST_CUDA {
        true => Ok(()),
        false => Err(DeviceError::Unsupported(format!(
            "the NVIDIA driver supports CUDA {}.{}, but 12.0 is required: update the driver, or use the device cpu",
            version / 1000,
            version % 1000 / 10
        ))),
    }
}

fn failed(what: &str, why: impl std::fmt::Display) -> DeviceError {
    DeviceError::Call {
        what: what.into(),
        why: why.to_string(),
    }
}
