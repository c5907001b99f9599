//! Downloads a file into the cache.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use files::{Lock, Locked};

use crate::cache::{self, Record, SHA256};
use crate::client::{Bytes, Client, Description};
use crate::error::io;
use crate::{ENDPOINT, HubError, Known};

/// Number of attempts before a broken connection is reported to the caller.
const ATTEMPTS: usize = 4;

/// The default time to wait for the next byte.
const STALL: Duration = Duration::from_secs(30);

/// Bytes per second below which a connection counts as broken: a file would take days.
const SLOWEST: u64 = 1024;

/// Maximum size of a file in bytes: EfficientNet-B7's weights have a quarter of this. A size announced by the server is
/// not a safe bound.
const MAX_BYTES: u64 = 1 << 30;

/// What to fetch, and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The weights.
    pub known: &'a Known,
    /// The hub, or a mirror of it.
    pub endpoint: String,
    /// Folder of the cache.
    pub cache: &'a Path,
    /// A revision other than the known one: a branch, tag or commit.
    pub revision: Option<String>,
    /// The checksum that the file must have, instead of the known one or the hub's.
    pub sha256: Option<String>,
    /// How long a connection may be silent, or slower than a KiB per second, before it counts as broken.
    pub stall: Duration,
    /// Maximum size of the file in bytes.
    pub most_bytes: u64,
    /// Further entries for the record next to the file.
    pub record: BTreeMap<String, String>,
}

impl<'a> Request<'a> {
    /// A request for the known revision from the hub (or `HF_ENDPOINT`).
    pub fn new(known: &'a Known, cache: &'a Path) -> Self {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|e| !e.is_empty());
        Request {
            known,
            endpoint: endpoint.unwrap_or_else(|| ENDPOINT.into()),
            cache,
            revision: None,
            sha256: None,
            stall: STALL,
            most_bytes: MAX_BYTES,
            record: BTreeMap::new(),
        }
    }

    fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(self.known.revision)
    }

    /// The checksum that is expected before the hub is contacted, and where it comes from.
    fn expected(&self) -> Option<(String, &'static str)> {
        let given = self
            .sha256
            .as_ref()
            .map(|sum| (sum.to_lowercase(), "--sha256"));
        let pinned = self.known.sha256.filter(|_| self.revision.is_none());
        given.or(pinned.map(|sum| (sum.into(), "the table of known weights")))
    }
}

/// A file in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its path.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// Whether it was already in the cache.
    pub cached: bool,
}

/// Fetches the file, unless it is in the cache and intact. `progress` is called with the bytes done and the total, and
/// may stop the download.
///
/// # Errors
/// See [`HubError`]; a partial download is kept for the next call unless its checksum is wrong.
pub fn fetch(
    request: &Request<'_>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Fetched, HubError> {
    let path = cache::place(request.known, request.cache);
    if let Some(found) = already(request, &path)? {
        return Ok(found);
    }
    files::create_folder(request.cache).map_err(io("create", request.cache))?;
    let _turn = turn(request)?;
    if let Some(found) = already(request, &path)? {
        return Ok(found);
    }
    files::sweep(request.cache);
    let client = Client::new(&request.endpoint, request.stall);
    let url = client.url(request.known.repo, request.revision(), request.known.file);
    let description = client.describe(&url)?;
    let (sum, by) = checksum(request, &url, &description)?;
    let part = request
        .cache
        .join(format!("{}.{}.part", request.known.name, &sum[..12]));
    download(&client, &url, &part, request, description.size, progress)?;
    let found = cache::sha256_of(&part)?;
    if found != sum {
        let _ = fs::remove_file(&part); // the checksum error is what matters
        return Err(HubError::Checksum {
            what: url,
            found,
            expected: sum,
            by,
        });
    }
    cache::keep(&part, &path, &record(request, &sum, &description))?;
    Ok(Fetched {
        path,
        sha256: sum,
        cached: false,
    })
}

/// The lock on the files of these weights: two processes that append to one partial file would corrupt it.
fn turn(request: &Request<'_>) -> Result<Lock, HubError> {
    let path = request.cache.join(format!(".{}.lock", request.known.name));
    match Lock::try_at(&path).map_err(io("lock", &path))? {
        Locked::Mine(lock) => Ok(lock),
        Locked::ByProcess(process) => Err(HubError::Busy {
            what: request.known.name.into(),
            process,
        }),
    }
}

/// The cached file, if it is intact and has the requested revision and checksum.
fn already(request: &Request<'_>, path: &Path) -> Result<Option<Fetched>, HubError> {
    let Some(record) = cache::intact(path)? else {
        return Ok(None);
    };
    let sum = record.get(SHA256).cloned().unwrap_or_default();
    let revision = [REVISION, COMMIT]
        .iter()
        .any(|key| record.get(*key).is_some_and(|r| r == request.revision()));
    let wanted = request
        .expected()
        .is_none_or(|(expected, _)| expected == sum);
    Ok((revision && wanted).then(|| Fetched {
        path: path.into(),
        sha256: sum,
        cached: true,
    }))
}

const REVISION: &str = "revision";
const COMMIT: &str = "commit";

fn record(request: &Request<'_>, sum: &str, description: &Description) -> Record {
    let mut record = request.record.clone();
    let source = format!("{}/{}", request.known.repo, request.known.file);
    let own = [
        ("name", request.known.name),
        ("source", &source),
        ("licence", request.known.licence),
        (REVISION, request.revision()),
        (COMMIT, description.commit.as_deref().unwrap_or_default()),
        (SHA256, sum),
    ];
    record.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    record
}

/// The checksum to verify. The expected one and the hub's must agree before anything is downloaded.
fn checksum(
    request: &Request<'_>,
    url: &str,
    description: &Description,
) -> Result<(String, &'static str), HubError> {
    match (request.expected(), &description.sha256) {
        (Some((expected, by)), Some(found)) if expected != *found => Err(HubError::Checksum {
            what: url.into(),
            found: found.clone(),
            expected,
            by,
        }),
        (Some(expected), _) => Ok(expected),
        (None, Some(found)) => Ok((found.clone(), "the hub's header")),
        (None, None) => Err(HubError::NoChecksum { url: url.into() }),
    }
}

/// Downloads to the partial file; each attempt resumes where the last one stopped.
fn download(
    client: &Client,
    url: &str,
    part: &Path,
    request: &Request<'_>,
    size: Option<u64>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), HubError> {
    if size.is_some_and(|size| size > request.most_bytes) {
        return Err(HubError::TooLarge {
            url: url.into(),
            most: request.most_bytes,
        });
    }
    let mut attempt = 1;
    loop {
        let have = fs::metadata(part).map_or(0, |m| m.len());
        if size == Some(have) {
            return Ok(());
        }
        // A longer partial file is left from another file, which the checksum would detect only at the end.
        let from = if size.is_some_and(|size| have > size) {
            0
        } else {
            have
        };
        let result = client
            .bytes(url, from)
            .and_then(|bytes| append(bytes, url, part, request, size, progress));
        match result {
            Err(HubError::Incomplete { .. } | HubError::Network { .. }) if attempt < ATTEMPTS => {
                attempt += 1
            }
            other => return other,
        }
    }
}

fn append(
    mut bytes: Bytes,
    url: &str,
    part: &Path,
    request: &Request<'_>,
    size: Option<u64>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), HubError> {
    let mut file = open_at(part, bytes.start)?;
    let size = size.or(bytes.size);
    let (mut done, mut buffer) = (bytes.start, vec![0; 1 << 16]);
    let mut pace = Pace::new(request.stall);
    let most = size.unwrap_or(request.most_bytes);
    let broken = loop {
        match bytes.reader.read(&mut buffer) {
            Ok(0) => break None,
            Ok(n) => {
                file.write_all(&buffer[..n]).map_err(io("write", part))?;
                done += n as u64;
                if done > most {
                    // Not the announced file, so the partial download is useless. The server's error is the one to
                    // report.
                    let _ = fs::remove_file(part);
                    return Err(HubError::TooLarge {
                        url: url.into(),
                        most,
                    });
                }
                if let Err(slow) = pace.keeps(n as u64) {
                    break Some(slow);
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => break Some(e),
        }
        if progress(done, size.unwrap_or(done)).is_break() {
            return Err(HubError::Stopped);
        }
    };
    file.sync_all().map_err(io("write", part))?;
    match (size, broken) {
        (Some(size), broken) if done < size => Err(HubError::Incomplete {
            url: url.into(),
            got: done,
            size,
            why: broken.map_or_else(|| "the connection was closed".into(), |e| e.to_string()),
        }),
        (None, Some(e)) => Err(HubError::Network {
            url: url.into(),
            why: e.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Measures the download rate: a server that sends a byte now and then would hold a connection for days.
struct Pace {
    span: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(span: Duration) -> Self {
        Pace {
            span,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Counts bytes, and checks the rate after every span.
    fn keeps(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes += bytes;
        let took = self.since.elapsed();
        if took < self.span {
            return Ok(());
        }
        let slow = (self.bytes as f64) < SLOWEST as f64 * took.as_secs_f64();
        *self = Pace::new(self.span);
        match slow {
            true => Err(Error::new(
                ErrorKind::TimedOut,
                format!("less than {SLOWEST} bytes per second"),
            )),
            false => Ok(()),
        }
    }
}

fn open_at(part: &Path, start: u64) -> Result<File, HubError> {
    let mut options = OpenOptions::new();
    let options = match start {
        0 => options.create(true).write(true).truncate(true),
        _ => options.append(true),
    };
    options.open(part).map_err(io("write", part))
}
