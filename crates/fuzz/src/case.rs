//! One input of a target: some files in a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of an input, by their paths in its folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    /// Written in this order; entries that cannot be written (a file inside a file) are skipped.
    pub files: Vec<(PathBuf, Content)>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A file.
    Bytes(Vec<u8>),
    /// A folder, empty unless other entries are in it.
    Folder,
    /// A symbolic link to a path relative to its own folder, or to an absolute one.
    Link(PathBuf),
    /// A named pipe that is never written to: opening it blocks forever.
    Pipe,
}

impl Case {
    /// A single file.
    pub fn file(name: &str, bytes: Vec<u8>) -> Self {
        Self::default().with(name, bytes)
    }

    /// Adds a file.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, bytes: Vec<u8>) -> Self {
        self.files.push((path.into(), Content::Bytes(bytes)));
        self
    }

    /// Writes everything into a folder, which is emptied first.
    ///
    /// # Errors
    /// The folder cannot be emptied or created.
    pub fn lay(&self, folder: &Path) -> io::Result<()> {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::create_dir_all(folder)?,
        }
        for (path, content) in &self.files {
            // A mutated name may be too long, or be below a file: the entry is then skipped.
            let _ = content.put(&folder.join(path));
        }
        Ok(())
    }
}

impl Content {
    fn put(&self, path: &Path) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match self {
            Self::Bytes(bytes) => {
                // Replaces an earlier entry: writing to a pipe would block, and a link would be followed.
                let _ = fs::remove_file(path);
                fs::write(path, bytes)
            }
            Self::Folder => fs::create_dir_all(path),
            Self::Link(to) => std::os::unix::fs::symlink(to, path),
            Self::Pipe => Ok(rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )?),
        }
    }
}

/// Copies the contents of an input's folder, links as links and pipes as pipes.
///
/// # Errors
/// An I/O error.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            Content::Link(fs::read_link(entry.path())?).put(&target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        } else {
            Content::Pipe.put(&target)?;
        }
    }
    Ok(())
}
