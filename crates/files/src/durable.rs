//! Writes that have reached the disk when they return.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::temporary::Temporary;

/// Writes a file atomically; an existing file stays until the new one is on the disk.
///
/// # Errors
/// The system's. Nothing remains of the attempt in that case.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = Temporary::beside(path)?;
    temporary.file().write_all(bytes)?;
    temporary.persist(path)
}

/// Reads a regular file of at most `most` bytes. Pipes and devices are rejected, because they may block or never end.
///
/// # Errors
/// The system's, or if the path is not a regular file or the file is longer.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let mut bytes = vec![];
    // The file may grow while it is read.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {most} bytes"),
        ));
    }
    Ok(bytes)
}

/// Moves a file to its final name in the same file system, once its content is on the disk.
///
/// # Errors
/// The system's; `from` still exists in that case.
pub fn persist(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    fs::rename(from, to)?;
    sync_folder(parent(to))
}

/// Like [`persist`], for a folder and everything in it.
///
/// # Errors
/// The system's; `from` still exists in that case.
pub fn persist_folder(from: &Path, to: &Path) -> io::Result<()> {
    sync_tree(from)?;
    fs::rename(from, to)?;
    sync_folder(parent(to))
}

/// Creates a folder and its missing parents, and returns once their names are on the disk.
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
        // Another process was faster, or the path is not a folder.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }?;
    sync_folder(above)
}

/// Flushes a folder's names to the disk: a rename is only as durable as its folder. Does nothing where folders cannot
/// be opened (Windows), since the system takes care of them.
///
/// # Errors
/// The system's.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(path)?.sync_all() {
        // Some network file systems do not support this call for folders.
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

/// The parent folder of a path; for a bare name, the current folder.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
