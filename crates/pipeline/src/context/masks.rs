//! Checks that the masks needed by later stages exist, before hours are spent on training.

use anyhow::{Result, bail};
use dataset::{Manifest, Split, Splits};

use crate::words::count;
use settings::{Artifact, Settings};

/// Checks the masks of each split that is trained, validated or evaluated on masks.
///
/// # Errors
/// Such a split has no usable mask; the message states which masks were found instead.
pub(super) fn check(settings: &Settings, manifest: &Manifest, splits: &Splits) -> Result<()> {
    let makes = |artifact| {
        settings
            .stages
            .iter()
            .any(|s| s.writes().contains(&artifact))
    };
    let trains_on_masks = settings.train.wants_masks() && makes(Artifact::Model);
    let needed = [
        (Split::Train, trains_on_masks, "train.map.loss needs"),
        (Split::Val, trains_on_masks, "train.map.loss needs"),
        (
            Split::Test,
            makes(Artifact::Segmentation),
            "the stage \"evaluate-segmentation\" needs",
        ),
    ];
    let has_mask = |row: &usize| manifest.rows()[*row].mask_shares.is_some();
    for (split, needed, use_of_them) in needed {
        if needed && !splits.rows(split).iter().any(has_mask) {
            bail!(
                "no image of the split {split} has a usable mask, which {use_of_them}; {}",
                found_masks(manifest)
            );
        }
    }
    Ok(())
}

/// The masks that were found, and what to do.
fn found_masks(manifest: &Manifest) -> String {
    let bad = manifest.mask_faults().iter().find(|fault| !fault.missing);
    if let Some(first) = manifest.unmatched_masks().first() {
        let image = manifest.rows().first().map_or("", |row| row.path.as_str());
        return format!(
            "{} found, but none is named like an image (for example the mask {first} and the image {image}): name them \
             like the images, or give the pattern of their names in data.masks, such as \"FOLDER/{{stem}}_mask.png\"",
            count(manifest.unmatched_masks().len(), "mask file")
        );
    }
    match bad {
        Some(fault) => format!(
            "the first bad mask is {}: {}",
            fault.file.display(),
            fault.reason
        ),
        None => "check data.masks, and that the masks have the same folder structure as the images"
            .to_owned(),
    }
}
