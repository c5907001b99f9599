//! Locks that one process at a time can hold.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// An exclusive lock on a file, held until it is dropped or the process ends in any way. While it is held, the file
/// contains the process id; it is removed with the lock. The file of a killed process is reused by the next holder.
///
/// The lock is advisory: it has no effect on processes that do not take it, and none at all on file systems without
/// locks.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

/// The result of trying to take a lock without waiting.
#[derive(Debug)]
pub enum Locked {
    /// The lock is now held by the caller.
    Mine(Lock),
    /// Another process holds it: its id, if known.
    ByProcess(Option<u32>),
}

impl Lock {
    /// Takes the lock at `path` if it is free.
    ///
    /// # Errors
    /// The system's, for a file that cannot be opened or locked.
    pub fn try_at(path: &Path) -> io::Result<Locked> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Locked::ByProcess(holder(file))),
                Err(TryLockError::Error(error)) => unlockable(error)?,
            }
            if let Some(lock) = Lock::holding(path, file)? {
                return Ok(Locked::Mine(lock));
            }
        }
    }

    /// Takes the lock at `path`, waiting as long as another process holds it.
    ///
    /// # Errors
    /// See [`Lock::try_at`].
    pub fn at(path: &Path) -> io::Result<Lock> {
        loop {
            let file = open(path)?;
            file.lock().or_else(unlockable)?;
            if let Some(lock) = Lock::holding(path, file)? {
                return Ok(lock);
            }
        }
    }

    /// Wraps a file that has been locked; `None` if its last holder has removed it in the meantime.
    fn holding(path: &Path, mut file: File) -> io::Result<Option<Lock>> {
        if !is_at(&file, path)? {
            return Ok(None);
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Some(Lock {
            path: path.into(),
            file,
        }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The name is removed first and the lock is released with the handle, so no other process can lock a name that
        // is about to be removed.
        let _ = match cfg!(unix) {
            true => fs::remove_file(&self.path),
            false => self.file.set_len(0),
        };
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// Whether an open file is still the one at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lock files are only removed on Unix.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

fn unlockable(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Unsupported => Ok(()),
        _ => Err(error),
    }
}

fn holder(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
