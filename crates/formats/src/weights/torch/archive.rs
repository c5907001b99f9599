//! The container of PyTorch 1.6 and later: a zip archive with `data.pkl` and one file per storage, none compressed.

use std::io::{Cursor, Read};
use std::ops::Range;

use zip::ZipArchive;
use zip::result::ZipError;

use super::super::Tensors;
use super::storage::Storages;
use super::{Problem, Result, damaged, machine, state_dict};

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

pub(super) fn read(bytes: &[u8]) -> Result<Tensors> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let folder = folder(&archive)?;
    if let Some(order) = text(&mut archive, &format!("{folder}byteorder"))?
        && order.trim() != "little"
    {
        return Err(Problem::Unsupported(format!(
            "its numbers are {order}-endian"
        )));
    }
    let place = place(&mut archive, bytes, &format!("{folder}data.pkl"))?;
    let pickle = machine::run(&bytes[place])?;
    let mut storages = Storages::new(bytes);
    // A pickle may name a storage any number of times; reading it once is enough.
    for storage in &pickle.storages {
        if storages.has(&storage.key) {
            continue;
        }
        let name = format!("{folder}data/{}", storage.key);
        storages.insert(&storage.key, self::place(&mut archive, bytes, &name)?);
    }
    state_dict::tensors(&pickle, &storages)
}

/// The path before `data.pkl`: the archive's own name and a slash.
fn folder(archive: &Archive<'_>) -> Result<String> {
    let found = archive
        .file_names()
        .filter_map(std::result::Result::ok)
        .find_map(|n| n.strip_suffix("data.pkl").map(str::to_owned));
    found.map_or_else(
        || {
            Err(Problem::Unsupported(
                "it is a zip archive, but not PyTorch's: it has no data.pkl".into(),
            ))
        },
        Ok,
    )
}

/// Range of an entry's bytes. They are read once through the library, which verifies their checksum.
fn place(archive: &mut Archive<'_>, bytes: &[u8], name: &str) -> Result<Range<usize>> {
    let mut entry = archive.by_name(name).map_err(broken)?;
    if entry.compression() != zip::CompressionMethod::Stored {
        return Err(Problem::Unsupported(format!(
            "its entry {name} is compressed"
        )));
    }
    std::io::copy(&mut entry, &mut std::io::sink())
        .map_err(|e| Problem::Damaged(format!("entry {name}: {e}")))?;
    let bounds = entry
        .data_start()
        .and_then(|start| usize::try_from(start).ok())
        .zip(usize::try_from(entry.size()).ok());
    let range = bounds.and_then(|(start, len)| Some(start..start.checked_add(len)?));
    match range {
        Some(range) if range.end <= bytes.len() => Ok(range),
        _ => damaged(format!("entry {name} reaches beyond the file")),
    }
}

fn text(archive: &mut Archive<'_>, name: &str) -> Result<Option<String>> {
    let mut text = String::new();
    match archive.by_name(name) {
        Err(ZipError::FileNotFound) => Ok(None),
        Err(error) => Err(broken(error)),
        Ok(entry) => match entry.take(64).read_to_string(&mut text) {
            Ok(_) => Ok(Some(text)),
            Err(e) => damaged(format!("entry {name}: {e}")),
        },
    }
}

fn broken(error: ZipError) -> Problem {
    Problem::Damaged(error.to_string())
}
