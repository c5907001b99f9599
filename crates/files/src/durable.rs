//! Writes that are on the disk when they return.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::temporary::Temporary;

/// Writes a file whole or not at all; an older one stays until the new one is on the disk.
///
/// # Errors
/// The system's. Nothing is left of the attempt then.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = Temporary::beside(path)?;
    temporary.file().write_all(bytes)?;
    temporary.file().sync_all()?;
    fs::rename(temporary.path(), path)?;
    temporary.renamed();
    sync_folder(parent(path))
}

/// Gives a file that was written elsewhere in the same file system its name, once its content is on the disk.
///
/// # Errors
/// The system's; `from` is still there then.
pub fn persist(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    fs::rename(from, to)?;
    sync_folder(parent(to))
}

/// As [`persist`], for a folder and all that is in it.
///
/// # Errors
/// The system's; `from` is still there then.
pub fn persist_folder(from: &Path, to: &Path) -> io::Result<()> {
    sync_tree(from)?;
    fs::rename(from, to)?;
    sync_folder(parent(to))
}

/// Makes a folder, and those that it lies in, where they are not there yet; their names are on the disk then.
///
/// # Errors
/// The system's.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() || path.as_os_str().is_empty() {
        return Ok(());
    }
    let above = parent(path);
    create_folder(above)?;
    match fs::create_dir(path) {
        // Another process was faster, or the path is no folder.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }?;
    sync_folder(above)
}

/// Forces a folder's names to the disk: a rename is only as durable as its folder. Where folders cannot be opened (Windows),
/// the system keeps them.
///
/// # Errors
/// The system's.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(path)?.sync_all() {
        // Some network file systems have no such call for folders.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// The folder that a path lies in; of a bare name the current one.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
