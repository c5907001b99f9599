//! What can go wrong with a download; every text says what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why weights could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No such name.
    #[error("no weights \"{name}\" are known{}; `weights fetch --list` shows all", nearest.map_or_else(String::new, |n| format!(": did you mean \"{n}\"?")))]
    Unknown {
        /// The name given.
        name: String,
        /// The known name most like it.
        nearest: Option<&'static str>,
    },
    /// No answer.
    #[error(
        "no answer from {url}: {why}. Is there a connection? Behind a proxy set HTTPS_PROXY, for a mirror --endpoint or HF_ENDPOINT; or download {url} in any way and name the file in model.pretrained"
    )]
    Network {
        /// Address.
        url: String,
        /// What the client says.
        why: String,
    },
    /// An answer, but not the file.
    #[error("{url} answers {status}: {}", meaning(*status))]
    Status {
        /// Address.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The connection broke off, and again when the download went on.
    #[error(
        "the download of {url} broke off at {got} of {size} bytes ({why}); run the command again to go on from there"
    )]
    Incomplete {
        /// Address.
        url: String,
        /// Bytes there.
        got: u64,
        /// Bytes of the whole.
        size: u64,
        /// What the connection says.
        why: String,
    },
    /// More bytes than were announced, or than any weights known here have.
    #[error("{url} has more than {most} bytes, which these weights cannot have: nothing was kept")]
    TooLarge {
        /// Address.
        url: String,
        /// The most that it may have.
        most: u64,
    },
    /// Another process downloads the same.
    #[error("{what} is being fetched by {}; wait until it has ended", process.map_or_else(|| "another process".into(), |id| format!("process {id}")))]
    Busy {
        /// Name of the weights.
        what: String,
        /// The process's number, where it has said it.
        process: Option<u32>,
    },
    /// Other bytes than expected.
    #[error("{what} has SHA-256 {found}, but {expected} is expected ({by}); nothing was kept")]
    Checksum {
        /// File or address.
        what: String,
        /// Its sum.
        found: String,
        /// The sum it should have.
        expected: String,
        /// Who says so.
        by: &'static str,
    },
    /// Nothing to check against.
    #[error(
        "{url} comes without a SHA-256, and none is known: pass the one that you trust with --sha256"
    )]
    NoChecksum {
        /// Address.
        url: String,
    },
    /// A file of the cache.
    #[error("cannot {action} {}{}", path.display(), disk_full(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The caller stopped it; what is there is kept.
    #[error("the download was stopped; run the command again to go on")]
    Stopped,
}

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HubError {
    let path = path.into();
    move |source| HubError::Io {
        action,
        path,
        source,
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "the repository wants a login or an accepted licence; download the file in a browser"
        }
        404 => "there is no such repository, revision or file (any more)",
        429 => "too many requests; wait a little",
        500.. => "the server has a problem; try again later",
        _ => "this is not what a file is answered with",
    }
}

fn disk_full(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
            ": the disk is full; what was downloaded is kept, make room and run the command again"
        }
        _ => "",
    }
}
