//! A job: which images, which network, in which folder. Several processes may work on one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use files::{Lock, Locked, sha256};
use pipeline::predict::{Predictor, Segments};
use serde::{Deserialize, Serialize};

use crate::inputs::Image;
use crate::shard::Shard;

/// What identifies a job, in its folder.
const RECORD: &str = "job.json";

/// The folder of the journals.
const PARTS: &str = "parts";

/// The folder of overlays, masks and DICOM results.
const IMAGES: &str = "images";

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

/// A job that this process works on: it holds the lock of its shard.
pub struct Job {
    folder: PathBuf,
    images: Vec<Image>,
    batch: usize,
    shard: Shard,
    _lock: Lock,
}

/// `job.json`: a folder is continued only with the same images, network and options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Version of the program.
    version: String,
    /// SHA-256 of the checkpoint.
    weights_sha256: String,
    /// Number of images.
    images: usize,
    /// SHA-256 of their paths, in order.
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
    #[serde(default)]
    abstain: bool,
    /// The precision that the networks compute in.
    precision: String,
}

impl Job {
    /// Begins a job in a folder, joins the processes that work on it, or goes on with it.
    ///
    /// # Errors
    /// The folder belongs to another job, another process works on this shard, or the folder cannot be written to.
    pub fn open(
        folder: &Path,
        images: Vec<Image>,
        predictor: &Predictor,
        options: Options,
    ) -> Result<Self> {
        let cannot = || {
            format!(
                "cannot work in {} (choose a folder with --out)",
                folder.display()
            )
        };
        files::create_folder(&folder.join(PARTS)).with_context(cannot)?;
        let record = Record::of(&images, predictor, options);
        let path = folder.join(PARTS).join(name(options.shard, "lock"));
        let lock = match Lock::try_at(&path).with_context(cannot)? {
            Locked::Mine(lock) => lock,
            Locked::ByProcess(id) => bail!(
                "another process{} predicts shard {} in {}",
                id.map_or(String::new(), |id| format!(" ({id})")),
                options.shard,
                folder.display()
            ),
        };
        record.kept_in(folder)?;
        // What a killed process was writing.
        files::sweep_tree(folder);
        Ok(Job {
            folder: folder.into(),
            images,
            batch: options.batch,
            shard: options.shard,
            _lock: lock,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The images.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The number of images that this process predicts.
    pub fn own_images(&self) -> usize {
        self.batches(self.shard).iter().map(Vec::len).sum()
    }

    pub(crate) fn shard(&self) -> Shard {
        self.shard
    }

    /// All shards of the job, in order.
    pub(crate) fn shards(&self) -> impl Iterator<Item = Shard> {
        let of = self.shard.of;
        (1..=of).map(move |index| Shard { index, of })
    }

    /// The row numbers of a shard, by batch.
    pub(crate) fn batches(&self, shard: Shard) -> Vec<Vec<usize>> {
        let rows: Vec<usize> = (0..self.images.len()).collect();
        let batches = rows.chunks(self.batch).enumerate();
        let own = batches.filter(|(batch, _)| shard.has(*batch));
        own.map(|(_, rows)| rows.to_vec()).collect()
    }

    /// The shard, from 0, that each row belongs to, in the order of the rows.
    pub(crate) fn owners(&self) -> impl Iterator<Item = usize> {
        let (batch, of) = (self.batch, self.shard.of);
        (0..self.images.len()).map(move |row| (row / batch) % of)
    }

    /// The journal of a shard.
    pub(crate) fn part(&self, shard: Shard) -> PathBuf {
        self.folder.join(PARTS).join(name(shard, "jsonl"))
    }

    /// The path of an image's results, without their endings.
    pub(crate) fn results(&self, image: &Image) -> PathBuf {
        self.folder.join(IMAGES).join(&image.name)
    }

    /// Waits until no other process joins the parts of this job.
    pub(crate) fn joining(&self) -> Result<Lock> {
        let path = self.folder.join(PARTS).join("join.lock");
        Lock::at(&path).with_context(|| format!("cannot lock {}", path.display()))
    }
}

/// `3-of-8.EXTENSION`.
fn name(shard: Shard, extension: &str) -> String {
    format!("{}-of-{}.{extension}", shard.index, shard.of)
}

impl Record {
    fn of(images: &[Image], predictor: &Predictor, options: Options) -> Self {
        let paths = images.iter().flat_map(|image| [&image.path, &image.name]);
        let paths: String = paths.map(|path| path.to_string_lossy() + "\n").collect();
        Record {
            version: pipeline::VERSION.into(),
            weights_sha256: predictor.sha256().into(),
            images: images.len(),
            images_sha256: sha256::hex(paths.as_bytes()),
            batch_size: options.batch,
            shards: options.shard.of,
            pictures: options.pictures,
            dicom: options
                .dicom
                .map(|dicom| format!("{dicom:?}").to_lowercase()),
            abstain: options.abstain,
            precision: predictor.precision().to_string(),
        }
    }

    /// Writes the record into a new folder, or compares it with the one there.
    fn kept_in(&self, folder: &Path) -> Result<()> {
        let path = folder.join(RECORD);
        let _lock = Lock::at(&folder.join(PARTS).join("job.lock"))
            .with_context(|| format!("cannot lock {}", folder.display()))?;
        if !path.exists() {
            let text = serde_json::to_string_pretty(self)? + "\n";
            let written = files::write(&path, text.as_bytes());
            return written.with_context(|| format!("cannot write {}", path.display()));
        }
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let there: Record = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged; choose another folder with --out",
                path.display()
            )
        })?;
        let differs = self.differences(&there);
        if !differs.is_empty() {
            bail!(
                "{} holds the predictions of another job ({} differ). Choose another folder with --out",
                folder.display(),
                differs.join(", ")
            );
        }
        Ok(())
    }

    /// What differs, in words.
    fn differences(&self, other: &Record) -> Vec<&'static str> {
        let pairs = [
            ("the program's version", self.version != other.version),
            ("the networks", self.weights_sha256 != other.weights_sha256),
            (
                "the images",
                (self.images, &self.images_sha256) != (other.images, &other.images_sha256),
            ),
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
