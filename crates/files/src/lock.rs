//! What one process at a time may do.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The right to something, held through a lock file until it is dropped or the process ends, however it ends. The file holds
/// the process's number as long, and goes with the lock; that of a killed process is taken over by the next.
///
/// Advisory: it binds only those who ask for it, and on a file system that has no locks nobody.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
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

    /// Takes the lock at `path`, however long another process holds it.
    ///
    /// # Errors
    /// As [`Lock::try_at`].
    pub fn at(path: &Path) -> io::Result<Lock> {
        loop {
            let file = open(path)?;
            file.lock().or_else(unlockable)?;
            if let Some(lock) = Lock::holding(path, file)? {
                return Ok(lock);
            }
        }
    }

    /// The lock of a file that has been locked; `None` if its last holder has removed it meanwhile.
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
        // The lock itself goes with the file's handle, after its name: nobody can get hold of a name that is about to go.
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

/// Whether an open file is still the one of this name.
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

/// Elsewhere lock files are not removed.
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
