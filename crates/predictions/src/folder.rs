//! The files of a job's folder.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use files::Lock;

use crate::inputs::Image;
use crate::shard::{Division, Shard};

/// The folder of the shards.
const PARTS: &str = "parts";

/// The folder of overlays, masks and DICOM results.
const IMAGES: &str = "images";

/// The folder of a job, which all of its processes share.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Folder(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn parts(&self) -> PathBuf {
        self.0.join(PARTS)
    }

    /// What identifies the job.
    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("job.json")
    }

    /// The journal of a shard.
    pub(crate) fn part(&self, shard: Shard) -> PathBuf {
        self.parts().join(name(shard, "jsonl"))
    }

    /// What a complete journal holds.
    pub(crate) fn part_record(&self, shard: Shard) -> PathBuf {
        self.parts().join(name(shard, "json"))
    }

    /// Held by the process that predicts a shard.
    pub(crate) fn lock(&self, shard: Shard) -> PathBuf {
        self.parts().join(name(shard, "lock"))
    }

    /// The path of an image's results, without their endings.
    pub(crate) fn results(&self, image: &Image) -> PathBuf {
        self.0.join(IMAGES).join(&image.name)
    }

    /// Waits until no other process holds the lock with this name.
    pub(crate) fn alone(&self, name: &str) -> Result<Lock> {
        let path = self.parts().join(name);
        Lock::at(&path).with_context(|| format!("cannot lock {}", path.display()))
    }

    /// Refuses a folder that also holds parts of a job with another number of shards.
    pub(crate) fn refuse_other_parts(&self, division: Division) -> Result<()> {
        let names =
            |shard| ["jsonl", "json"].map(|extension| OsString::from(name(shard, extension)));
        let own: HashSet<OsString> = division.shards().flat_map(names).collect();
        let unreadable = || format!("cannot read {}", self.parts().display());
        for entry in std::fs::read_dir(self.parts()).with_context(unreadable)? {
            let path = entry.with_context(unreadable)?.path();
            let is_part = path
                .extension()
                .is_some_and(|e| e == "jsonl" || e == "json");
            if is_part && path.file_name().is_none_or(|name| !own.contains(name)) {
                bail!(
                    "{} is no part of this job of {} shards; remove it if it is of an earlier one",
                    path.display(),
                    division.shards
                );
            }
        }
        Ok(())
    }
}

/// `3-of-8.EXTENSION`.
fn name(shard: Shard, extension: &str) -> String {
    format!("{}-of-{}.{extension}", shard.index, shard.of)
}
