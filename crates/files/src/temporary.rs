//! Files on their way to a name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::durable::parent;

/// What the name of every temporary file begins with. It says nothing of the target, whose name may be as long as names can
/// be.
const PREFIX: &str = ".writing-";
const SUFFIX: &str = ".tmp";

/// A temporary file, locked as long as it is being written, and removed unless it got its name.
pub(crate) struct Temporary {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    /// In the folder of `path`, for a rename is whole only within one file system.
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{count}{SUFFIX}", std::process::id());
            let path = parent(path).join(name);
            let file = match File::create_new(&path) {
                Ok(file) => file,
                // A leftover of an earlier process with this one's number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // File systems without locks have leftovers that nobody sweeps.
            let _ = file.lock();
            // `sweep` may have taken it for a leftover before it was locked.
            if path.try_exists()? {
                return Ok(Temporary {
                    path,
                    file,
                    renamed: false,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(crate) fn renamed(&mut self) {
        self.renamed = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that matters is the one that ended the write.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the temporary files of processes that are no more, in a folder and all folders in it. Those that another process
/// is writing are left alone.
///
/// What cannot be removed stays: leftovers take space and do no other harm.
pub fn sweep(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten();
    for entry in entries.filter_map(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => sweep(&entry.path()),
            Ok(kind) if kind.is_file() && is_temporary(&entry.file_name().to_string_lossy()) => {
                remove_abandoned(&entry.path());
            }
            _ => {}
        }
    }
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// A lock that can be had means that nobody writes.
fn remove_abandoned(path: &Path) {
    if let Ok(file) = File::open(path)
        && file.try_lock().is_ok()
    {
        let _ = fs::remove_file(path);
    }
}
