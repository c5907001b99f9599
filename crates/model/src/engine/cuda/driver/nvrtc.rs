//! The kernels compiled by NVRTC, CUDA's run-time compiler, and kept on disk for the next start.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::{env, fs};

use cudarc::nvrtc::{result, sys};

use ::kernels::Precision;

use super::DeviceError;
use crate::engine::cuda::kernels;

/// Names no machine by what it has installed: `--gpu-architecture` alone decides what is made. A lambda is the device's without
/// being told so, which older compilers do not take for granted.
const OPTIONS: [&str; 3] = [
    "--std=c++17",
    "--extra-device-vectorization",
    "--device-as-default-execution-space",
];

/// A program for one architecture.
#[derive(Debug)]
pub struct Compiled {
    /// Machine code, as `cuModuleLoadData` takes it.
    pub cubin: Vec<u8>,
    /// Whether it was read from disk.
    pub cached: bool,
}

/// The kernels of a precision for an architecture (`sm_90`): from the disk if they were compiled before, from NVRTC else.
///
/// # Errors
/// No NVRTC on this machine, or kernels that do not compile.
pub fn cubin(precision: Precision, arch: &str) -> Result<Compiled, DeviceError> {
    let source = kernels::source(precision);
    match cache_file(&source, arch).as_deref().and_then(read) {
        Some(cubin) => Ok(Compiled {
            cubin,
            cached: true,
        }),
        None => compiled_anew(precision, arch),
    }
}

/// As [`cubin`], whatever lies on the disk, which is replaced: it may be of a compiler that the driver does not follow.
pub(super) fn compiled_anew(precision: Precision, arch: &str) -> Result<Compiled, DeviceError> {
    let source = kernels::source(precision);
    let cubin = compile(&source, arch)?;
    if let Some(file) = cache_file(&source, arch) {
        write(&file, &cubin); // a folder that cannot be written costs seconds at the next start, no more
    }
    Ok(Compiled {
        cubin,
        cached: false,
    })
}

/// Whether this machine has NVRTC.
pub(super) fn present() -> Result<(), DeviceError> {
    // SAFETY: loads the library and lets it go; NVRTC does nothing on being loaded.
    match unsafe { sys::is_culib_present() } {
        true => Ok(()),
        false => Err(DeviceError::Library {
            library: "CUDA's compiler NVRTC (libnvrtc.so)",
            remedy: "it comes with the CUDA toolkit or the Python package nvidia-cuda-nvrtc; name its folder in LD_LIBRARY_PATH",
        }),
    }
}

/// Compiles a program without looking at the disk.
///
/// # Errors
/// No NVRTC, or its log if the program does not compile.
pub fn compile(source: &str, arch: &str) -> Result<Vec<u8>, DeviceError> {
    present()?;
    let program = Program::new(source)?;
    program.compile(arch)?;
    program.cubin()
}

/// A program of NVRTC's, destroyed with this. Holds the source, which NVRTC may refer to.
struct Program {
    handle: sys::nvrtcProgram,
    _source: CString,
}

impl Program {
    fn new(source: &str) -> Result<Self, DeviceError> {
        let source = CString::new(source).map_err(|e| failed("take the kernels", e))?;
        let handle = result::create_program(&source, Some(c"kernels.cu"))
            .map_err(|e| failed("take the kernels", e))?;
        Ok(Program {
            handle,
            _source: source,
        })
    }

    fn compile(&self, arch: &str) -> Result<(), DeviceError> {
        let mut options: Vec<String> = OPTIONS.iter().map(|o| (*o).into()).collect();
        options.push(format!("--gpu-architecture={arch}"));
        // SAFETY: the handle is of `create_program` and lives as long as `self`.
        let compiled = unsafe { result::compile_program(self.handle, &options) };
        compiled.map_err(|e| DeviceError::Compile {
            arch: arch.into(),
            log: self.log().unwrap_or_else(|| e.to_string()),
        })
    }

    fn log(&self) -> Option<String> {
        // SAFETY: as in `compile`.
        let log = unsafe { result::get_program_log(self.handle) }.ok()?;
        let bytes: Vec<u8> = log
            .into_iter()
            .map(|c| c as u8)
            .take_while(|b| *b != 0)
            .collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn cubin(&self) -> Result<Vec<u8>, DeviceError> {
        let mut len = 0usize;
        // SAFETY: the handle is good, and NVRTC writes one size.
        unsafe { sys::nvrtcGetCUBINSize(self.handle, &mut len) }
            .result()
            .map_err(|e| failed("give the compiled kernels", e))?;
        let mut cubin = vec![0u8; len];
        // SAFETY: the handle is good, and NVRTC writes the `len` bytes that it just asked for.
        unsafe { sys::nvrtcGetCUBIN(self.handle, cubin.as_mut_ptr().cast::<c_char>()) }
            .result()
            .map_err(|e| failed("give the compiled kernels", e))?;
        Ok(cubin)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the handle is of `create_program`, and nothing uses it after this. An error leaks a few kilobytes.
        let _ = unsafe { result::destroy_program(self.handle) };
    }
}

fn failed(what: &str, why: impl std::fmt::Display) -> DeviceError {
    DeviceError::Call {
        what: what.into(),
        why: why.to_string(),
    }
}

/// `MODEL_CUDA_CACHE`, or the user's cache folder; `None` where neither is known.
fn cache_folder() -> Option<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    set("MODEL_CUDA_CACHE").or_else(|| {
        let user = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(user.join("model-cuda"))
    })
}

fn cache_file(source: &str, arch: &str) -> Option<PathBuf> {
    Some(cache_folder()?.join(file_name(source, arch)))
}

/// Differs with the kernels, the options and the architecture. A newer NVRTC's code may be better, never more right.
fn file_name(source: &str, arch: &str) -> String {
    let hash = fnv1a(source.bytes().chain(OPTIONS.concat().bytes()));
    format!("kernels-{arch}-{hash:016x}.cubin")
}

/// Fowler, Noll, Vo: 64 bits are plenty to tell a few versions of one program apart.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// A cubin is an ELF file; whatever else lies there is compiled anew.
fn read(file: &Path) -> Option<Vec<u8>> {
    fs::read(file)
        .ok()
        .filter(|bytes| bytes.starts_with(b"\x7fELF"))
}

/// What cannot be kept is compiled again.
fn write(file: &Path, cubin: &[u8]) {
    if file.parent().map(files::create_folder).transpose().is_ok() {
        let _ = files::write(file, cubin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_tells_programs_and_architectures_apart() {
        let name = file_name("a", "sm_80");
        assert_ne!(name, file_name("b", "sm_80"));
        assert_ne!(name, file_name("a", "sm_90"));
        assert_eq!(name, file_name("a", "sm_80"));
    }

    #[test]
    fn what_is_written_is_read_and_rubbish_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/kernels.cubin");
        assert!(read(&file).is_none());
        write(&file, b"\x7fELF and more");
        assert_eq!(read(&file).unwrap(), b"\x7fELF and more");
        write(&file, b"cut sho");
        assert!(read(&file).is_none());
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
