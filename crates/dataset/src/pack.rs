//! Packs: files of many small records, for caches.
//!
//! A pack is written whole and never changed. It begins with [`MAGIC`] and a digest of what its records depend on; then
//! come the records, each of a head and a tail; then a table of where they are; and at the end where the table is, its
//! length and its CRC-32C. Heads have a checksum as well; what is in the tails is checked by whoever reads them. Nothing
//! that is wrong with a pack is an error: a cache reads less from it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Extension of the files.
const EXTENSION: &str = "pack";

const MAGIC: [u8; 16] = *b"eff-unet pack 1\n";

/// Bytes of [`MAGIC`] and of a digest.
const BEGIN: usize = MAGIC.len() + files::sha256::LEN;

/// Bytes at the end: position, length and checksum of the table.
const END: usize = 8 + 8 + 4;

/// A record to write.
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) key: String,
    /// Where the head is, followed by the tail.
    at: u64,
    head: u32,
    tail: u32,
    /// CRC-32C of the head.
    checksum: u32,
}

/// Why a pack or a record is not used.
pub(crate) enum Unusable {
    /// It is gone, or cannot be opened.
    Gone,
    /// It is damaged, or not of this cache.
    Damaged,
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => Self::Damaged,
            _ => Self::Gone,
        }
    }
}

impl Line {
    /// Where the tail is.
    pub(crate) fn tail_at(&self) -> u64 {
        self.at + u64::from(self.head)
    }

    /// Bytes of the tail.
    pub(crate) fn tail(&self) -> usize {
        self.tail as usize
    }
}

/// Writes a new pack into a folder, which is created if it is missing; `digest` is hexadecimal.
///
/// # Errors
/// The system's.
pub(crate) fn write(
    folder: &Path,
    digest: &str,
    records: &[Record],
) -> io::Result<(PathBuf, Vec<Line>)> {
    let (bytes, table) = encoded(digest, records).map_err(io::Error::other)?;
    files::create_folder(folder)?;
    let path = folder.join(new_name());
    files::write(&path, &bytes)?;
    Ok((path, table))
}

fn encoded(digest: &str, records: &[Record]) -> Result<(Vec<u8>, Vec<Line>), String> {
    let size = |part: &[u8]| u32::try_from(part.len()).map_err(|error| error.to_string());
    let mut bytes = [MAGIC.as_slice(), digest.as_bytes()].concat();
    let mut table = Vec::with_capacity(records.len());
    for Record { key, head, tail } in records {
        table.push(Line {
            key: key.clone(),
            at: bytes.len() as u64,
            head: size(head)?,
            tail: size(tail)?,
            checksum: crc32c::crc32c(head),
        });
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(tail);
    }
    let at = bytes.len() as u64;
    let lines = postcard::to_stdvec(&table).map_err(|error| error.to_string())?;
    bytes.extend_from_slice(&lines);
    bytes.extend_from_slice(&at.to_le_bytes());
    bytes.extend_from_slice(&(lines.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&lines).to_le_bytes());
    Ok((bytes, table))
}

/// The packs in a folder, the oldest first; none if it cannot be listed.
pub(crate) fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_pack = |path: &PathBuf| path.extension().is_some_and(|e| e == EXTENSION);
    let mut packs: Vec<PathBuf> = paths.filter(is_pack).collect();
    packs.sort();
    packs
}

/// The table of a pack.
pub(crate) fn table(path: &Path, digest: &str) -> Result<Vec<Line>, Unusable> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let begin = read_at(&mut file, 0, BEGIN)?;
    if begin[..MAGIC.len()] != MAGIC || begin[MAGIC.len()..] != *digest.as_bytes() {
        return Err(Unusable::Damaged);
    }
    let end = length.checked_sub(END as u64).ok_or(Unusable::Damaged)?;
    let last = read_at(&mut file, end, END)?;
    let byte = |n: u64, byte: &u8| n << 8 | u64::from(*byte);
    let number = |at: usize| last[at..at + 8].iter().rev().fold(0, byte);
    let (at, bytes) = (number(0), number(8));
    if at.checked_add(bytes) != Some(end) {
        return Err(Unusable::Damaged);
    }
    let lines = read_at(&mut file, at, bytes as usize)?;
    if crc32c::crc32c(&lines).to_le_bytes() != last[16..] {
        return Err(Unusable::Damaged);
    }
    let table: Vec<Line> = postcard::from_bytes(&lines).map_err(|_| Unusable::Damaged)?;
    let inside = |line: &Line| {
        let bytes = u64::from(line.head) + u64::from(line.tail);
        line.at.checked_add(bytes).is_some_and(|end| end <= at)
    };
    match table.iter().all(inside) {
        true => Ok(table),
        false => Err(Unusable::Damaged),
    }
}

/// The head of a record.
pub(crate) fn head(path: &Path, line: &Line) -> Result<Vec<u8>, Unusable> {
    let head = read_at(&mut File::open(path)?, line.at, line.head as usize)?;
    match crc32c::crc32c(&head) == line.checksum {
        true => Ok(head),
        false => Err(Unusable::Damaged),
    }
}

/// Some bytes of a pack; `None` if they are no longer there.
pub(crate) fn bytes(path: &Path, at: u64, bytes: usize) -> Option<Vec<u8>> {
    read_at(&mut File::open(path).ok()?, at, bytes).ok()
}

fn read_at(file: &mut File, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut read = vec![0; bytes];
    file.read_exact(&mut read)?;
    Ok(read)
}

/// A name that sorts after those that exist, and that no other process chooses.
fn new_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{now:020}-{}-{count:06}.{EXTENSION}", std::process::id())
}
