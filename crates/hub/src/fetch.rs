//! One file into the cache.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{self, Record, SHA256};
use crate::client::{Bytes, Client, Description};
use crate::error::io;
use crate::{ENDPOINT, HubError, Known};

/// How often a connection may break before the caller hears of it.
const ATTEMPTS: usize = 4;

/// The usual wait for the next byte.
const STALL: Duration = Duration::from_secs(30);

/// What to fetch, and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The weights.
    pub known: &'a Known,
    /// The hub, or a mirror of it.
    pub endpoint: String,
    /// Folder of the cache.
    pub cache: &'a Path,
    /// Another revision than the known one: a branch, tag or commit.
    pub revision: Option<String>,
    /// The sum that the file must have, instead of the one known or the hub's word.
    pub sha256: Option<String>,
    /// How long to wait for the next byte before a connection counts as broken.
    pub stall: Duration,
    /// Further entries for the record beside the file.
    pub record: BTreeMap<String, String>,
}

impl<'a> Request<'a> {
    /// From the hub (or `HF_ENDPOINT`) as known.
    pub fn new(known: &'a Known, cache: &'a Path) -> Self {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|e| !e.is_empty());
        Request {
            known,
            endpoint: endpoint.unwrap_or_else(|| ENDPOINT.into()),
            cache,
            revision: None,
            sha256: None,
            stall: STALL,
            record: BTreeMap::new(),
        }
    }

    fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(self.known.revision)
    }

    /// The sum to hold the file to before the hub is asked, and who says so.
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
    /// Where it lies.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// Whether it was there already.
    pub cached: bool,
}

/// Fetches, unless the file is there and sound. `progress` hears of bytes done and of the whole, and may stop it.
///
/// # Errors
/// See [`HubError`]; a partial download is kept for the next call unless its sum is wrong.
pub fn fetch(
    request: &Request<'_>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Fetched, HubError> {
    let path = cache::place(request.known, request.cache);
    if let Some(found) = already(request, &path)? {
        return Ok(found);
    }
    files::create_folder(request.cache).map_err(io("create", request.cache))?;
    let client = Client::new(&request.endpoint, request.stall);
    let url = client.url(request.known.repo, request.revision(), request.known.file);
    let description = client.describe(&url)?;
    let (sum, by) = checksum(request, &url, &description)?;
    let part = request
        .cache
        .join(format!("{}.{}.part", request.known.name, &sum[..12]));
    download(&client, &url, &part, description.size, progress)?;
    let found = cache::sha256_of(&part)?;
    if found != sum {
        let _ = fs::remove_file(&part); // what matters is the sum
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

/// The cached file, where it is sound and of the revision and sum asked for.
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

/// The sum to check against. What is expected and what the hub says must agree before anything is downloaded.
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

/// Fills the part, each attempt going on where the last one stopped.
fn download(
    client: &Client,
    url: &str,
    part: &Path,
    size: Option<u64>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), HubError> {
    let mut attempt = 1;
    loop {
        let have = fs::metadata(part).map_or(0, |m| m.len());
        if size == Some(have) {
            return Ok(());
        }
        // More than the whole is the rest of another file; the sum would say so at the end only.
        let from = if size.is_some_and(|size| have > size) {
            0
        } else {
            have
        };
        let result = client
            .bytes(url, from)
            .and_then(|bytes| append(bytes, url, part, size, progress));
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
    size: Option<u64>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), HubError> {
    let mut file = open_at(part, bytes.start)?;
    let size = size.or(bytes.size);
    let (mut done, mut buffer) = (bytes.start, vec![0; 1 << 16]);
    let broken = loop {
        match bytes.reader.read(&mut buffer) {
            Ok(0) => break None,
            Ok(n) => {
                file.write_all(&buffer[..n]).map_err(io("write", part))?;
                done += n as u64;
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

fn open_at(part: &Path, start: u64) -> Result<File, HubError> {
    let mut options = OpenOptions::new();
    let options = match start {
        0 => options.create(true).write(true).truncate(true),
        _ => options.append(true),
    };
    options.open(part).map_err(io("write", part))
}
