//! The index cache: what was learned about files that have not changed since.
//!
//! It is a folder of [`pack`]s, one per batch of images that were read, so that an index that is interrupted is
//! continued by the next one, and two processes can index at once: neither changes what the other wrote. Of two entries
//! of an image that of the later file counts; an entry is used only if the image's size and time of change are those of
//! the entry. No result depends on the cache, and nothing that is wrong with it is an error.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use files::{Lock, Locked, sha256};
use imaging::Decoder;

use super::entry::{Entry, Stamp};
use crate::pack::{self, Line, Record, Unusable};
use crate::small::{StoredValues, VALUES, Values};

/// Version of the entries and of what inspection yields. To be raised whenever an image or a mask is read differently:
/// the test `what_is_learned_of_a_file_is_what_version_2_learned` fails then.
pub(crate) const INSPECTION: u32 = 2;

/// Entries of a file.
pub(super) const AT_ONCE: usize = 4096;

/// What the index cache spared, and whether something was wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reused {
    /// Images that were not opened, because they have not changed since they were last indexed.
    pub images: usize,
    /// What was wrong with the cache, as a sentence.
    pub notice: Option<String>,
}

/// The cache of one data folder, read with one decoder.
pub(super) struct Cache {
    /// `None`: nothing is kept.
    folder: Option<PathBuf>,
    /// Of everything that entries depend on.
    digest: String,
    files: Vec<Arc<Path>>,
    /// By path, the file and the line of an entry.
    places: HashMap<String, (usize, Line)>,
    /// Entries in all files, including those that a later one replaces.
    entries: usize,
    damaged: AtomicBool,
    notice: Option<String>,
}

impl Cache {
    /// Reads the tables of what is kept in `folder` about the images below `root`.
    pub(super) fn open(folder: Option<&Path>, root: &Path, decoder: Decoder) -> Self {
        let digest = digest(root, decoder);
        let mut cache = Self {
            folder: folder.map(|folder| folder.join(&digest[..16])),
            digest,
            files: vec![],
            places: HashMap::new(),
            entries: 0,
            damaged: AtomicBool::new(false),
            notice: None,
        };
        let packs = cache.folder.as_deref().map(|folder| {
            // What killed processes left.
            files::sweep(folder);
            pack::listed(folder)
        });
        for file in packs.unwrap_or_default() {
            match pack::table(&file, &cache.digest) {
                Ok(table) => cache.add(file.into(), table),
                // Another process has just replaced it.
                Err(Unusable::Gone) => {}
                Err(Unusable::Damaged) => {
                    cache.damaged.store(true, Ordering::Relaxed);
                    // If it cannot be removed, it is ignored again next time.
                    let _ = fs::remove_file(file);
                }
            }
        }
        if cache.is_untidy() {
            cache.rewrite(root);
        }
        cache
    }

    /// Whether much of it is of no use, or in small files.
    fn is_untidy(&self) -> bool {
        let entries = self.places.len();
        self.entries > entries + entries / 4 + AT_ONCE
            || self.files.len() > 2 * entries.div_ceil(AT_ONCE) + 16
            || self.stale().is_some_and(|mark| mark.exists())
    }

    /// The file that marks a cache with many entries of images that are gone.
    fn stale(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join("stale"))
    }

    fn add(&mut self, file: Arc<Path>, table: Vec<Line>) {
        self.entries += table.len();
        let number = self.files.len();
        self.files.push(file);
        for line in table {
            self.places.insert(line.key.clone(), (number, line));
        }
    }

    /// What is known of an image that has this stamp.
    pub(super) fn find(&self, path: &str, stamp: Stamp) -> Option<(Entry, Option<Values>)> {
        let (number, line) = self.places.get(path)?;
        let file = self.files.get(*number)?;
        match entry(file, line) {
            Ok(entry) => (entry.stamp == Some(stamp)).then(|| (entry, values(file, line))),
            Err(Unusable::Gone) => None,
            Err(Unusable::Damaged) => {
                self.damaged.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// Keeps entries with the values of their small copies; returns where these are now, in the same order, or `None` if
    /// nothing is kept.
    pub(super) fn keep(&mut self, entries: &[(Entry, Vec<u8>)]) -> Option<Vec<Option<Values>>> {
        let folder = self.folder.as_deref()?;
        if entries.is_empty() {
            return None;
        }
        let records: Option<Vec<Record>> = entries.iter().map(record).collect();
        let (file, table) = match pack::write(folder, &self.digest, &records?) {
            Ok(written) => written,
            Err(error) => {
                self.notice = Some(format!(
                    "The index cache in {} cannot be written, so the next index reads these images again: {error}.",
                    folder.display()
                ));
                self.folder = None;
                return None;
            }
        };
        let file: Arc<Path> = file.into();
        let values = table.iter().map(|line| values(&file, line)).collect();
        self.add(file, table);
        Some(values)
    }

    /// Says what was wrong. If many entries are of images below `root` that are gone, the next index removes them;
    /// `images` is the number of those that exist and belong to this index.
    pub(super) fn close(self, root: &Path, images: usize) -> Option<String> {
        let few = images / 4 + AT_ONCE;
        if self.places.len() > images + few {
            let gone = self.places.keys().filter(|path| !root.join(path).exists());
            if let (true, Some(mark)) = (gone.count() > few, self.stale()) {
                // Without the mark they only take up space.
                let _ = files::write(&mark, b"");
            }
        }
        let damaged = self.damaged.into_inner();
        let rebuilt = "A part of the index cache was damaged or is not of this program: the images concerned were read \
                       again.";
        self.notice.or_else(|| damaged.then(|| rebuilt.to_owned()))
    }

    /// Writes the entries of images that exist to new files, and removes the old ones. Another process that still refers
    /// to these reads the images instead.
    fn rewrite(&mut self, root: &Path) {
        let Some(folder) = self.folder.clone() else {
            return;
        };
        let Ok(Locked::Mine(_lock)) = Lock::try_at(&folder.join(".lock")) else {
            return;
        };
        let old = std::mem::take(&mut self.files);
        self.entries = 0;
        let mut places: Vec<(usize, Line)> =
            std::mem::take(&mut self.places).into_values().collect();
        places.retain(|(_, line)| root.join(&line.key).exists());
        places.sort_by(|a, b| a.1.key.cmp(&b.1.key));
        for some in places.chunks(AT_ONCE) {
            let read = |(number, line): &(usize, Line)| {
                let file = old.get(*number)?;
                let values = pack::bytes(file, line.tail_at(), line.tail())?;
                Some((entry(file, line).ok()?, values))
            };
            let entries: Vec<(Entry, Vec<u8>)> = some.iter().filter_map(read).collect();
            if self.keep(&entries).is_none() {
                return;
            }
        }
        for file in old.iter().map(AsRef::as_ref).chain(self.stale().as_deref()) {
            // What cannot be removed is superseded.
            let _ = fs::remove_file(file);
        }
    }
}

fn record((entry, values): &(Entry, Vec<u8>)) -> Option<Record> {
    Some(Record {
        key: entry.path.clone(),
        head: postcard::to_stdvec(entry).ok()?,
        tail: values.clone(),
    })
}

fn entry(file: &Path, line: &Line) -> Result<Entry, Unusable> {
    let head = pack::head(file, line)?;
    let entry: Entry = postcard::from_bytes(&head).map_err(|_| Unusable::Damaged)?;
    let values = if entry.image.is_ok() { VALUES } else { 0 };
    match entry.path == line.key && line.tail() == values {
        true => Ok(entry),
        false => Err(Unusable::Damaged),
    }
}

/// `None` for a file that cannot be used, of which there is no small copy.
fn values(file: &Arc<Path>, line: &Line) -> Option<Values> {
    let stored = StoredValues {
        file: file.clone(),
        at: line.tail_at(),
    };
    (line.tail() > 0).then_some(Values::Stored(stored))
}

/// Of what entries depend on besides the images: the version, the data folder and how images are read.
fn digest(root: &Path, decoder: Decoder) -> String {
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let version = format!("{INSPECTION} {} {decoder:?}", env!("CARGO_PKG_VERSION"));
    sha256::of_parts([
        version.as_bytes(),
        b"\0",
        root.as_os_str().as_encoded_bytes(),
    ])
}
