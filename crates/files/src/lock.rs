//! What one process at a time may do.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The right to something, held through a lock file until it is dropped or the process ends, however it ends. The file holds
/// the process's number as long; it stays where it is, for removing it would let two processes hold two files of one name.
///
/// Advisory: it binds only those who ask for it, and on a file system that has no locks nobody.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// The answer to who does not want to wait.
#[derive(Debug)]
pub enum Locked {
    /// The lock is held now.
    Mine(Lock),
    /// Another process holds it: its number, where it has said it.
    ByProcess(Option<u32>),
}

impl Lock {
    /// Takes the lock at `path` if it is free.
    ///
    /// # Errors
    /// The system's, for a file that cannot be opened or locked.
    pub fn try_at(path: &Path) -> io::Result<Locked> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Lock::holding(file).map(Locked::Mine),
            Err(TryLockError::WouldBlock) => Ok(Locked::ByProcess(holder(file))),
            Err(TryLockError::Error(error)) => unlockable(error)
                .and_then(|()| Lock::holding(file))
                .map(Locked::Mine),
        }
    }

    /// Takes the lock at `path`, however long another process holds it.
    ///
    /// # Errors
    /// As [`Lock::try_at`].
    pub fn at(path: &Path) -> io::Result<Lock> {
        let file = open(path)?;
        file.lock().or_else(unlockable)?;
        Lock::holding(file)
    }

    fn holding(mut file: File) -> io::Result<Lock> {
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock itself goes with the file's handle.
        let _ = self.file.set_len(0);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
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
