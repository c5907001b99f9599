//! Errors of downloads; every message states what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why weights could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// There are no weights of this name.
    #[error("no weights \"{name}\" are known{}; `weights fetch --list` shows all", nearest.map_or_else(String::new, |n| format!(": did you mean \"{n}\"?")))]
    Unknown {
        /// The name given.
        name: String,
        /// The most similar known name.
        nearest: Option<&'static str>,
    },
    /// The server did not respond.
    #[error(
        "no answer from {url}: {why}. Is there a connection? Behind a proxy set HTTPS_PROXY, for a mirror --endpoint or HF_ENDPOINT; or download {url} by other means and set model.pretrained to the file"
    )]
    Network {
        /// Address.
        url: String,
        /// The client's message.
        why: String,
    },
    /// The server responded, but not with the file.
    #[error("{url} returned {status}: {}", meaning(*status))]
    Status {
        /// Address.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The connection broke, and again when the download was resumed.
    #[error(
        "the download of {url} broke off at {got} of {size} bytes ({why}); run the command again to resume from there"
    )]
    Incomplete {
        /// Address.
        url: String,
        /// Bytes received.
        got: u64,
        /// Size of the whole file in bytes.
        size: u64,
        /// The connection's error.
        why: String,
    },
    /// More bytes than announced, or than any known weights have.
    #[error("{url} has more than {most} bytes, too many for these weights; nothing was kept")]
    TooLarge {
        /// Address.
        url: String,
        /// The maximum size.
        most: u64,
    },
    /// Another process is downloading the same weights.
    #[error("{what} is being fetched by {}; wait until it has finished", process.map_or_else(|| "another process".into(), |id| format!("process {id}")))]
    Busy {
        /// Name of the weights.
        what: String,
        /// The process's id, if known.
        process: Option<u32>,
    },
    /// The checksum is not the expected one.
    #[error("{what} has SHA-256 {found}, but {expected} is expected ({by}); nothing was kept")]
    Checksum {
        /// File or address.
        what: String,
        /// Its checksum.
        found: String,
        /// The checksum it should have.
        expected: String,
        /// Where the expected checksum comes from.
        by: &'static str,
    },
    /// There is no checksum to check against.
    #[error(
        "{url} comes without a SHA-256, and none is known: pass one that you trust with --sha256"
    )]
    NoChecksum {
        /// Address.
        url: String,
    },
    /// A file in the cache could not be read or written.
    #[error("cannot {action} {}{}", path.display(), disk_full(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The caller stopped the download; the part received is kept.
    #[error("the download was stopped; run the command again to resume it")]
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
            "the repository requires a login or an accepted licence; download the file in a browser"
        }
        404 => "there is no such repository, revision or file, or it was removed",
        429 => "too many requests; wait a little and try again",
        500.. => "the server failed; try again later",
        _ => "this is not the expected response for a file",
    }
}

fn disk_full(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
            ": the disk is full; the partial download is kept, so free some space and run the command again"
        }
        _ => "",
    }
}
