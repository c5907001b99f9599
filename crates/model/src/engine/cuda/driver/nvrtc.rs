//! Compilation of the kernels by NVRTC, CUDA's run-time compiler, and their cache on disk.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::{env, fs};

use cudarc::nvrtc::{result, sys};

use ::kernels::Precision;

use super::DeviceError;
use crate::engine::cuda::kernels;

/// Compiler options. None depends on the machine: the target is set by `--gpu-architecture` alone. Lambdas are device
/// functions without an annotation, which is not the default of older compilers.
const OPTIONS: [&str; 3] = [
    "--std=c++17",
    "--extra-device-vectorization",
    "--device-as-default-execution-space",
];

/// A program for one architecture.
#[derive(Debug)]
pub struct Compiled {
    /// Machine code, as accepted by `cuModuleLoadData`.
    pub cubin: Vec<u8>,
    /// Whether it was read from disk.
    pub cached: bool,
}

/// The kernels of a precision for an architecture (`sm_90`): read from disk if compiled before, otherwise compiled by
/// NVRTC.
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

/// As [`cubin`], but ignores and replaces the file on disk, which may come from a compiler too new for the driver.
pub(super) fn compiled_anew(precision: Precision, arch: &str) -> Result<Compiled, DeviceError> {
    let source = kernels::source(precision);
    let cubin = compile(&source, arch)?;
    if let Some(file) = cache_file(&source, arch) {
        write(&file, &cubin); // an unwritable folder only costs seconds at the next start
    }
    Ok(Compiled {
        cubin,
        cached: false,
    })
}

/// Checks that this machine has NVRTC.
pub(super) fn present() -> Result<(), DeviceError> {
    // SAFETY: loads and unloads the library; NVRTC does nothing on being loaded.
    match unsafe { sys::is_culib_present() } {
        true => Ok(()),
        false => Err(DeviceError::Library {
            library: "CUDA's compiler NVRTC (libnvrtc.so)",
            remedy: "it comes with the CUDA toolkit or the Python package nvidia-cuda-nvrtc; add its folder to LD_LIBRARY_PATH",
        }),
    }
}

/// Compiles a program without using the cache on disk.
///
/// # Errors
/// No NVRTC, or its log if the program does not compile.
pub fn compile(source: &str, arch: &str) -> Result<Vec<u8>, DeviceError> {
    present()?;
    let program = Program::new(source)?;
    program.compile(arch)?;
    program.cubin()
}

/// An NVRTC program, destroyed on drop. Owns the source, which NVRTC may refer to.
struct Program {
    handle: sys::nvrtcProgram,
    _source: CString,
}

impl Program {
    fn new(source: &str) -> Result<Self, DeviceError> {
        let source = CString::new(source).map_err(|e| failed("accept the kernels' source", e))?;
        let handle = result::create_program(&source, Some(c"kernels.cu"))
            .map_err(|e| failed("accept the kernels' source", e))?;
        Ok(Program {
            handle,
            _source: source,
        })
    }

    fn compile(&self, arch: &str) -> Result<(), DeviceError> {
        let mut options: Vec<String> = OPTIONS.iter().map(|o| (*o).into()).collect();
        options.push(format!("--gpu-architecture={arch}"));
        // SAFETY: the handle comes from `create_program` and is valid as long as `self`.
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
        // SAFETY: the handle is valid, and NVRTC writes one size.
        unsafe { sys::nvrtcGetCUBINSize(self.handle, &mut len) }
            .result()
            .map_err(|e| failed("return the compiled kernels", e))?;
        let mut cubin = vec![0u8; len];
        // SAFETY: the handle is valid, and NVRTC writes the `len` bytes whose number it just returned.
        unsafe { sys::nvrtcGetCUBIN(self.handle, cubin.as_mut_ptr().cast::<c_char>()) }
            .result()
            .map_err(|e| failed("return the compiled kernels", e))?;
        Ok(cubin)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the handle comes from `create_program` and is not used afterwards. An error leaks a few kilobytes.
        let _ = unsafe { result::destroy_program(self.handle) };
    }
}

fn failed(what: &str, why: impl std::fmt::Display) -> DeviceError {
    DeviceError::Call {
        what: what.into(),
        why: why.to_string(),
    }
}

/// `MODEL_CUDA_CACHE`, or the user's cache folder; `None` if neither is set.
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

/// Depends on the kernels, the options and the architecture. It does not depend on the version of NVRTC: a newer one
/// may generate faster code, but the cached code remains correct.
fn file_name(source: &str, arch: &str) -> String {
    let hash = fnv1a(source.bytes().chain(OPTIONS.concat().bytes()));
    format!("kernels-{arch}-{hash:016x}.cubin")
}

/// The hash of Fowler, Noll and Vo; 64 bits suffice to distinguish a few versions of one program.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// Reads a cached cubin. A cubin is an ELF file; anything else is ignored and recompiled.
fn read(file: &Path) -> Option<Vec<u8>> {
    fs::read(file)
        .ok()
        .filter(|bytes| bytes.starts_with(b"\x7fELF"))
}

/// Writes to the cache; on failure the kernels are compiled again at the next start.
fn write(file: &Path, cubin: &[u8]) {
    if file.parent().map(files::create_folder).transpose().is_ok() {
        let _ = files::write(file, cubin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_distinguishes_programs_and_architectures() {
        let name = file_name("a", "sm_80");
        assert_ne!(name, file_name("b", "sm_80"));
        assert_ne!(name, file_name("a", "sm_90"));
        assert_eq!(name, file_name("a", "sm_80"));
    }

    #[test]
    fn written_cubins_are_read_and_other_files_are_ignored() {
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
