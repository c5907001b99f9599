//! What identifies a job, and what a complete shard of it holds, in files of the job's folder.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use files::sha256::Running;
use pipeline::predict::{Predictor, Segments};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::inputs::Image;
use crate::shard::{Division, MOST, Shard};
use crate::table::Layout;

/// Longest file of these that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// How the images are predicted.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Images in a batch.
    pub batch: usize,
    /// Whether overlays and masks are written.
    pub pictures: bool,
    /// Whether and how results are also written as DICOM.
    pub dicom: Option<Segments>,
    /// Whether no class is predicted where a person should decide.
    pub abstain: bool,
    /// The share of this process.
    pub shard: Shard,
}

/// `job.json`: a folder is continued only with the same images, network and options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Version of the program.
    version: String,
    /// SHA-256 of the checkpoint.
    weights_sha256: String,
    /// Number of images.
    images: usize,
    /// SHA-256 of their paths and of the names of their results, in order.
    images_sha256: String,
    /// Images in a batch.
    batch_size: usize,
    /// Number of shards.
    shards: usize,
    /// Whether overlays and masks are written.
    pictures: bool,
    /// How results are written as DICOM.
    dicom: Option<String>,
    /// Whether no class is predicted where a person should decide.
    abstain: bool,
    /// The precision that the networks compute in.
    precision: String,
    /// The columns of the tables.
    layout: Layout,
}

impl Record {
    pub(crate) fn of(images: &[Image], predictor: &Predictor, options: Options) -> Self {
        let mut hash = Running::default();
        for path in images.iter().flat_map(|image| [&image.path, &image.name]) {
            hash.update(path.to_string_lossy().as_bytes());
            hash.update(b"\n");
        }
        Record {
            version: pipeline::VERSION.into(),
            weights_sha256: predictor.sha256().into(),
            images: images.len(),
            images_sha256: hash.hex(),
            batch_size: options.batch,
            shards: options.shard.of,
            pictures: options.pictures,
            dicom: options
                .dicom
                .map(|dicom| format!("{dicom:?}").to_lowercase()),
            abstain: options.abstain,
            precision: predictor.precision().to_string(),
            layout: Layout::of(predictor),
        }
    }

    /// Reads the record of a folder.
    ///
    /// # Errors
    /// The folder has none, or it is damaged.
    pub(crate) fn read(folder: &Folder) -> Result<Self> {
        let path = folder.record();
        let record: Record = read(&path)?;
        let whole = record.batch_size > 0 && (1..=MOST).contains(&record.shards);
        ensure!(whole, "{} is damaged", path.display());
        Ok(record)
    }

    /// Writes the record into a new folder, or compares it with the one there.
    pub(crate) fn kept_in(&self, folder: &Folder) -> Result<()> {
        let _lock = folder.alone("job.lock")?;
        if !folder.record().exists() {
            return write(&folder.record(), self);
        }
        let there = Record::read(folder).context("choose another folder with --out")?;
        let differs = self.differences(&there);
        if !differs.is_empty() {
            bail!(
                "{} holds the predictions of another job ({} differ). Choose another folder with --out",
                folder.path().display(),
                differs.join(", ")
            );
        }
        Ok(())
    }

    pub(crate) fn division(&self) -> Division {
        Division {
            rows: self.images,
            batch: self.batch_size,
            shards: self.shards,
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What differs, in words.
    pub(crate) fn differences(&self, other: &Record) -> Vec<&'static str> {
        let networks = |record: &Record| (record.weights_sha256.clone(), record.layout.clone());
        let images = |record: &Record| (record.images, record.images_sha256.clone());
        let pairs = [
            ("the program's version", self.version != other.version),
            ("the networks", networks(self) != networks(other)),
            ("the images", images(self) != images(other)),
            ("the batch sizes", self.batch_size != other.batch_size),
            ("the numbers of shards", self.shards != other.shards),
            ("the pictures wanted", self.pictures != other.pictures),
            ("the DICOM results wanted", self.dicom != other.dicom),
            ("--abstain", self.abstain != other.abstain),
            ("the precisions", self.precision != other.precision),
        ];
        let differs = pairs.into_iter().filter(|(_, differs)| *differs);
        differs.map(|(what, _)| what).collect()
    }
}

/// `parts/3-of-8.json`: written when the journal of a shard is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Images that could not be predicted.
    pub(crate) failed: usize,
    /// SHA-256 of the journal.
    pub(crate) sha256: String,
    /// The job that the shard was predicted for.
    pub(crate) job: Record,
}

impl Part {
    pub(crate) fn write(&self, folder: &Folder, shard: Shard) -> Result<()> {
        write(&folder.part_record(shard), self)
    }

    /// Reads the record of a shard; `None` if the shard is not complete.
    ///
    /// # Errors
    /// It is damaged, or the shard belongs to another job.
    pub(crate) fn read(folder: &Folder, shard: Shard, job: &Record) -> Result<Option<Self>> {
        let path = folder.part_record(shard);
        if !path.exists() {
            return Ok(None);
        }
        let part: Part = read(&path)?;
        let differs = part.job.differences(job);
        if !differs.is_empty() {
            bail!(
                "{}: shard {shard} belongs to another job than {} ({} differ)",
                path.display(),
                folder.record().display(),
                differs.join(", ")
            );
        }
        Ok(Some(part))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = files::read(path, LONGEST);
    let bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
    let damaged = || {
        format!(
            "{} is damaged, or of another version of the program",
            path.display()
        )
    };
    serde_json::from_slice(&bytes).with_context(damaged)
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    let written = files::write(path, text.as_bytes());
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
impl Record {
    /// The record of a job that no network was needed for.
    pub(crate) fn example(division: Division) -> Self {
        Record {
            version: pipeline::VERSION.into(),
            weights_sha256: "00".repeat(32),
            images: division.rows,
            images_sha256: "11".repeat(32),
            batch_size: division.batch,
            shards: division.shards,
            pictures: true,
            dicom: None,
            abstain: false,
            precision: "f32".into(),
            layout: Layout {
                classes: vec!["NORMAL".into(), "PNEUMONIA".into()],
                map: true,
                ..Layout::default()
            },
        }
    }

    pub(crate) fn write(&self, folder: &Folder) -> Result<()> {
        write(&folder.record(), self)
    }
}
