//! Decoded and resized images on the disk, for data that are larger than memory.
//!
//! Images are collected, and written some dozens at a time as a [`pack`]. The packs of all settings share one folder and
//! one limit; where it is reached, the oldest packs of other settings go, and then nothing more is kept: in an epoch
//! every image is read once, so that replacing one by another would gain nothing. Packs stay for later runs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use files::sha256;
use imaging::{Decoder, Frame, Framed, MaskCoding};

use super::Crop;
use super::prepare::Files;
use crate::index::INSPECTION;
use crate::pack::{self, Line, Record};

/// Where decoded images are kept, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCache {
    /// The folder, which is made when it is needed.
    pub folder: PathBuf,
    /// The most bytes that are in it.
    pub bytes: u64,
}

/// Bytes that are collected before they are written.
const AT_ONCE: usize = 32 << 20;

/// The decoded images of a loader's settings.
#[derive(Debug)]
pub(super) struct Disk {
    settings: DiskCache,
    /// Of everything that a decoded image depends on besides its content.
    digest: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By key, the pack and the line of an image.
    places: HashMap<String, (Arc<Path>, Line)>,
    pending: Vec<Record>,
    pending_bytes: usize,
    /// Whether nothing more is kept: the limit is reached, or the disk refuses.
    full: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State({} images)", self.places.len())
    }
}

impl Disk {
    pub(super) fn open(
        settings: &DiskCache,
        (decoder, coding): (Decoder, &MaskCoding),
        frame: Frame,
        crop: Option<Crop>,
    ) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let all = format!("1 {INSPECTION} {version} {decoder:?} {coding:?} {frame:?} {crop:?}");
        let disk = Self {
            settings: settings.clone(),
            digest: sha256::hex(all.as_bytes()),
            state: Mutex::default(),
        };
        // What killed processes left.
        files::sweep(&disk.folder());
        for path in pack::listed(&disk.folder()) {
            // Gone or damaged: what was in it is decoded again.
            match pack::table(&path, &disk.digest) {
                Ok(table) => disk.with(|state| state.add(path.into(), table)),
                Err(_) => _ = fs::remove_file(path),
            }
        }
        disk
    }

    fn folder(&self) -> PathBuf {
        self.settings.folder.join(&self.digest[..16])
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic elsewhere leaves at most an image out.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The image of these files, if it is there and whole.
    pub(super) fn find(&self, files: &Files, frame: Frame) -> Option<Framed> {
        let key = key(files);
        let (path, line) = self.with(|state| state.places.get(&key).cloned())?;
        Framed::from_bytes(&pack::head(&path, &line).ok()?, frame)
    }

    /// Keeps an image that was decoded from these files, provided that they still have the content that was indexed.
    pub(super) fn keep(&self, files: &Files, framed: &Framed) {
        if self.with(|state| state.full) || !files.are_as_indexed() {
            return;
        }
        let record = Record {
            key: key(files),
            head: framed.to_bytes(),
            tail: vec![],
        };
        let batch = self.with(|state| {
            state.pending_bytes += record.head.len();
            state.pending.push(record);
            (state.pending_bytes >= AT_ONCE).then(|| state.take())
        });
        if let Some(batch) = batch {
            self.write(&batch);
        }
    }

    fn write(&self, batch: &[Record]) {
        let bytes: usize = batch.iter().map(|record| record.head.len()).sum();
        let folder = self.folder();
        let written = match self.makes_room(&folder, bytes as u64) {
            true => pack::write(&folder, &self.digest, batch).ok(),
            false => None,
        };
        self.with(|state| match written {
            Some((path, table)) => state.add(path.into(), table),
            None => state.full = true,
        });
    }

    /// Whether there is room for a pack, after the oldest packs of other settings have been removed as far as necessary.
    fn makes_room(&self, own: &Path, bytes: u64) -> bool {
        let size = |path: &Path| fs::metadata(path).map_or(0, |about| about.len());
        let folders = fs::read_dir(&self.settings.folder).into_iter().flatten();
        let folders = folders.filter_map(|entry| Some(entry.ok()?.path()));
        let mut packs: Vec<PathBuf> = folders.flat_map(|folder| pack::listed(&folder)).collect();
        packs.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        // A table of the new pack has less than a hundredth of its size.
        let mut all = packs.iter().map(|path| size(path)).sum::<u64>() + bytes + bytes / 100;
        for other in packs.iter().filter(|path| path.parent() != Some(own)) {
            if all <= self.settings.bytes {
                break;
            }
            let freed = size(other);
            if fs::remove_file(other).is_ok() {
                all -= freed;
            }
        }
        all <= self.settings.bytes
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let rest = self.with(State::take);
        if !rest.is_empty() {
            self.write(&rest);
        }
    }
}

impl State {
    fn take(&mut self) -> Vec<Record> {
        self.pending_bytes = 0;
        std::mem::take(&mut self.pending)
    }

    fn add(&mut self, path: Arc<Path>, table: Vec<Line>) {
        let lines = table.into_iter();
        self.places
            .extend(lines.map(|line| (line.key.clone(), (path.clone(), line))));
    }
}

/// Of an image among those of the same settings: its content, that of its mask, its label, which a mask may have, and
/// the part of it that is used.
fn key(files: &Files) -> String {
    let mask = files.mask_sha256.as_deref().unwrap_or_default();
    let rest = format!("{} {:?}", files.label, files.region);
    let parts = [files.sha256.as_str(), " ", mask, " ", &rest];
    sha256::of_parts(parts.map(str::as_bytes))
}
