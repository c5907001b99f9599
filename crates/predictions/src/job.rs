//! A job: which images, which network, in which folder. Several processes may work on one.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use files::{Lock, Locked};
use pipeline::predict::Predictor;

use crate::folder::Folder;
use crate::inputs::Image;
use crate::record::{Options, Record};
use crate::shard::Shard;

/// A job that this process works on: it holds the lock of its shard.
pub struct Job {
    folder: Folder,
    images: Vec<Image>,
    record: Record,
    shard: Shard,
    _lock: Lock,
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
        let folder = Folder::new(folder);
        let cannot = || {
            format!(
                "cannot work in {} (choose a folder with --out)",
                folder.path().display()
            )
        };
        files::create_folder(&folder.parts()).with_context(cannot)?;
        let record = Record::of(&images, predictor, options);
        let lock = match Lock::try_at(&folder.lock(options.shard)).with_context(cannot)? {
            Locked::Mine(lock) => lock,
            Locked::ByProcess(id) => bail!(
                "another process{} predicts shard {} in {}",
                id.map_or(String::new(), |id| format!(" ({id})")),
                options.shard,
                folder.path().display()
            ),
        };
        record.kept_in(&folder)?;
        Ok(Job {
            folder,
            images,
            record,
            shard: options.shard,
            _lock: lock,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The images.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The number of images that this process predicts.
    pub fn own_images(&self) -> usize {
        self.record.division().rows_of(self.shard)
    }

    pub(crate) fn files(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn shard(&self) -> Shard {
        self.shard
    }
}
