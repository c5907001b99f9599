//! The parts of the images that networks see, as a file of the run: found once by the stage `region`, used by all later
//! stages.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use dataset::Manifest;
use formats::checkpoint::{Checkpoint, Region, RegionRule};
use imaging::Rect;
use inference::Implausible;
use serde::{Deserialize, Serialize};

use crate::run_dir::RunDir;

/// The file.
pub(crate) const REGIONS: &str = "regions.json";
/// A copy of the segmenter's checkpoint: a run does not depend on files outside its folder once it has begun.
pub(crate) const SEGMENTER: &str = "region.safetensors";

/// `regions.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Regions {
    /// From a segmentation to a part of the image; `plausible` and `typical` are from the training images.
    pub(crate) rule: RegionRule,
    /// One per image, in the order of the manifest.
    pub(crate) images: Vec<ImageRegion>,
}

/// The part of an image that networks see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRegion {
    /// Path of the image, relative to the data folder.
    pub(crate) path: String,
    /// First row, first column, rows and columns.
    pub(crate) part: [usize; 4],
    /// Why it is the typical part: `absent`, `area`, `extent` or `components`; `None` if a plausible one was found.
    pub(crate) fallback: Option<String>,
}

/// The name of a reason in files.
pub(crate) fn reason(why: Implausible) -> &'static str {
    match why {
        Implausible::Absent => "absent",
        Implausible::Area => "area",
        Implausible::Extent => "extent",
        Implausible::Components => "components",
    }
}

impl Regions {
    /// Reads the file of a run.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub(crate) fn read(run: &RunDir) -> Result<Self> {
        run.read_json(REGIONS)
    }

    /// The images with their regions.
    ///
    /// # Errors
    /// These are other images.
    pub(crate) fn attach(&self, manifest: &Manifest) -> Result<Manifest> {
        let paths = manifest.rows().iter().map(|record| &record.path);
        if !self.images.iter().map(|image| &image.path).eq(paths) {
            bail!("{REGIONS} is for other images than those of the data folder; start a new run");
        }
        let part = |image: &ImageRegion| {
            let [top, left, height, width] = image.part;
            Rect {
                top,
                left,
                height,
                width,
            }
        };
        let parts: Vec<Rect> = self.images.iter().map(part).collect();
        Ok(manifest.with_regions(&parts)?)
    }
}

/// The segmenter of a run with its rule, for the checkpoint of the network that sees the regions.
///
/// # Errors
/// A file of the run is missing or damaged.
pub(crate) fn of_run(run: &RunDir) -> Result<Region> {
    let path = run.file(SEGMENTER);
    let Checkpoint {
        graph, store, meta, ..
    } = Checkpoint::load(&path)?;
    let rule = Regions::read(run)?.rule;
    Ok(Region {
        graph,
        store,
        meta,
        rule,
    })
}

/// Copies the segmenter's checkpoint into the run's folder, byte by byte.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn copy_segmenter(run: &RunDir, from: &Path) -> Result<()> {
    /// As for other checkpoints.
    const MAX_BYTES: u64 = 4 << 30;
    let bytes = files::read(from, MAX_BYTES)
        .with_context(|| format!("cannot read the segmenter {}", from.display()))?;
    run.write(SEGMENTER, &bytes)
}
