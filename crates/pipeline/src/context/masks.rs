//! Whether there are the masks that later stages need: before hours are spent on training.

use anyhow::{Result, bail};
use dataset::{Manifest, Split, Splits};

use crate::words::count;
use settings::{Artifact, Settings};

/// # Errors
/// A split without a single usable mask whose masks are to teach, to choose or to judge; what masks there are instead.
pub(super) fn check(settings: &Settings, manifest: &Manifest, splits: &Splits) -> Result<()> {
    let makes = |artifact| {
        settings
            .stages
            .iter()
            .any(|s| s.writes().contains(&artifact))
    };
    let teaches = settings.train.wants_masks() && makes(Artifact::Model);
    let needed = [
        (Split::Train, teaches, "train.map.loss learns from"),
        (Split::Val, teaches, "train.map.loss is watched on"),
        (
            Split::Test,
            makes(Artifact::Segmentation),
            "the stage \"evaluate-segmentation\" judges by",
        ),
    ];
    let has_mask = |row: &usize| manifest.rows()[*row].mask_shares.is_some();
    for (split, needed, use_of_them) in needed {
        if needed && !splits.rows(split).iter().any(has_mask) {
            bail!(
                "no image of the split {split} has a usable mask, which {use_of_them}; {}",
                instead(manifest)
            );
        }
    }
    Ok(())
}

/// The masks that there are, and what to do.
fn instead(manifest: &Manifest) -> String {
    let bad = manifest.mask_faults().iter().find(|fault| !fault.missing);
    if let Some(first) = manifest.unmatched_masks().first() {
        let image = manifest.rows().first().map_or("", |row| row.path.as_str());
        return format!(
            "{} found and none is called as an image is ({first}, beside the image {image}): name them like the images, or \
             say by data.masks how they are called, such as \"FOLDER/{{stem}}_mask.png\"",
            count(manifest.unmatched_masks().len(), "mask file")
        );
    }
    match bad {
        Some(fault) => format!("the first, {}: {}", fault.file.display(), fault.reason),
        None => "check data.masks, and that masks lie as the images do".to_owned(),
    }
}
