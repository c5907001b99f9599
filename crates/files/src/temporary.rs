//! Temporary files, which are renamed once complete.

use std::fs::{self, File, FileType};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::durable::{parent, sync_folder};

/// Prefix of the names of temporary files. They do not contain the target's name, which may already have the maximum
/// length.
const PREFIX: &str = ".writing-";
const SUFFIX: &str = ".tmp";

/// A file that is being written under a temporary name: locked meanwhile, and removed unless it is given its name with
/// [`Temporary::persist`]. For files that are too long for [`write()`](crate::write()).
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    /// Creates a temporary file in the folder of `path`, because a rename is atomic only within one file system.
    ///
    /// # Errors
    /// The system's.
    pub fn beside(path: &Path) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{count}{SUFFIX}", std::process::id());
            let path = parent(path).join(name);
            let file = match File::create_new(&path) {
                Ok(file) => file,
                // A leftover of an earlier process with the same id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // On file systems without locks, leftovers are not swept.
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

    /// The file, open for writing.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file the name `path`, in the folder in which it was created; an existing file stays until the new one
    /// is on the disk.
    ///
    /// # Errors
    /// The system's. Nothing remains of the temporary file in that case.
    pub fn persist(mut self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, path)?;
        self.renamed = true;
        sync_folder(parent(path))
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

/// Removes the temporary files of dead processes from a folder. Files that a process is writing are left alone.
///
/// Files that cannot be removed stay: leftovers take up space and do no other harm.
pub fn sweep(folder: &Path) {
    let temporary = |(path, kind): &(PathBuf, FileType)| kind.is_file() && is_temporary(path);
    entries(folder)
        .filter(temporary)
        .for_each(|(path, _)| remove_abandoned(&path));
}

/// Like [`sweep`], for a folder and all folders in it; meant for folders that belong to the program.
pub fn sweep_tree(folder: &Path) {
    sweep(folder);
    entries(folder)
        .filter(|(_, kind)| kind.is_dir())
        .for_each(|(path, _)| sweep_tree(&path));
}

fn entries(folder: &Path) -> impl Iterator<Item = (PathBuf, FileType)> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.path(), entry.file_type().ok()?)))
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Removes a file if it can be locked, which means that no process is writing it.
fn remove_abandoned(path: &Path) {
    if let Ok(file) = File::open(path)
        && file.try_lock().is_ok()
    {
        let _ = fs::remove_file(path);
    }
}
