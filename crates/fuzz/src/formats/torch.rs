//! PyTorch's two containers: a zip archive, whose checksums are recomputed, and a sequence of pickles.

use std::io::{Cursor, Read as _, Write as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::pickle;
use crate::mutate;
use crate::rng::Rng;

/// Names and contents of an archive's entries.
type Entries = Vec<(String, Vec<u8>)>;

/// The archive of a state dict's pickle and its storages of this many `f32`.
pub(crate) fn archive(pickle: Vec<u8>, storages: &[usize]) -> Vec<u8> {
    let mut entries = vec![
        ("net/data.pkl".to_owned(), pickle),
        ("net/byteorder".into(), b"little".to_vec()),
    ];
    entries.extend(
        storages
            .iter()
            .enumerate()
            .map(|(i, n)| (format!("net/data/{i}"), numbers(i, *n))),
    );
    entries.push(("net/version".into(), b"3\n".to_vec()));
    join(&entries)
}

/// The legacy format: five pickles, then the storages with their lengths.
pub(crate) fn legacy(pickle: &[u8], storages: &[usize]) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let keys = storages
        .iter()
        .enumerate()
        .flat_map(|(i, _)| pickle::text(&i.to_string()));
    let keys: Vec<u8> = b"\x80\x02]("
        .iter()
        .copied()
        .chain(keys)
        .chain(*b"e.")
        .collect();
    let machine = [
        b"\x80\x02}",
        pickle::text("little_endian").as_slice(),
        b"\x88s.",
    ]
    .concat();
    let stored = storages.iter().enumerate().flat_map(|(i, n)| {
        let count = (*n as u64).to_le_bytes();
        count.into_iter().chain(numbers(i, *n))
    });
    let pickles = [MAGIC, b"\x80\x02M\xE9\x03.", &machine, pickle, &keys].concat();
    pickles.into_iter().chain(stored).collect()
}

fn numbers(storage: usize, n: usize) -> Vec<u8> {
    let number = |i: usize| (i as f32 + 0.5) / (storage + 2) as f32;
    (0..n).flat_map(|i| number(i).to_le_bytes()).collect()
}

/// Changes the archive's pickle, names or numbers, with right checksums; or any bytes of either container.
pub(crate) fn mutate(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let entries = split(bytes).filter(|_| !rng.once_in(4));
    let Some(mut entries) = entries else {
        let mut bytes = bytes.to_vec();
        mutate::bytes(rng, &mut bytes, &pickle::WORDS, other);
        return bytes;
    };
    loop {
        change(rng, &mut entries, other);
        if !rng.once_in(4) {
            return join(&entries);
        }
    }
}

fn change(rng: &mut Rng, entries: &mut Entries, other: &[u8]) {
    let at = rng.below(entries.len());
    let foreign = split(other).unwrap_or_default();
    match rng.below(10) {
        0..=5 => {
            let is_pickle = |(name, _): &&mut (String, Vec<u8>)| name.ends_with(".pkl");
            let theirs = foreign
                .first()
                .map(|(_, bytes)| bytes.as_slice())
                .unwrap_or_default();
            if let Some((_, bytes)) = entries.iter_mut().find(is_pickle) {
                mutate::bytes(rng, bytes, &pickle::WORDS, theirs);
            }
        }
        6 => entries
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|(_, bytes)| mutate::bytes(rng, bytes, &[], &[])),
        7 if !entries.is_empty() => drop(entries.remove(at)),
        8 => entries.extend(foreign.into_iter().skip(at).take(1)),
        _ => {
            let name = super::json::text(rng);
            entries
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|entry| entry.0 = name.clone());
        }
    }
}

/// The entries of an archive; `None` if the bytes are not an archive.
fn split(bytes: &[u8]) -> Option<Entries> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut entries = vec![];
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).ok()?;
        let mut bytes = vec![];
        entry.read_to_end(&mut bytes).ok()?;
        entries.push((entry.name().ok()?.to_string(), bytes));
    }
    Some(entries)
}

/// An uncompressed archive. Entries that the library refuses (duplicate names) are left out.
fn join(entries: &Entries) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut archive = ZipWriter::new(Cursor::new(vec![]));
    for (name, bytes) in entries {
        if archive.start_file(name.as_str(), options).is_ok() {
            // Writing to memory cannot fail.
            let _ = archive.write_all(bytes);
        }
    }
    archive.finish().map(Cursor::into_inner).unwrap_or_default()
}
