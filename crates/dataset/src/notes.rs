//! What a data folder contains besides good images, as sentences.

use crate::left_out;
use crate::manifest::Manifest;

impl Manifest {
    /// What the data folder contains besides good images, in plain sentences: files left out by
    /// reason, folders that may be patients, rotated images, masks that belong to no image.
    pub fn notes(&self) -> Vec<String> {
        of(self)
    }
}

fn of(manifest: &Manifest) -> Vec<String> {
    let images = manifest.rows().len() + manifest.bad_images().len();
    let mut notes = left_out::sentences(manifest.left_out(), images);
    notes.extend(patient_folders(manifest));
    notes.extend(turned_images(manifest));
    notes.extend(unmatched_masks(manifest));
    notes
}

fn patient_folders(manifest: &Manifest) -> Option<String> {
    let found = manifest.patient_folders()?;
    Some(format!(
        "The patient of {} images in {} folders such as {} is unknown. If a folder is a patient, \
         its images may be in several splits, and results look better than they are: set \
         data.patients to [{{ pattern = '{}' }}].",
        found.images, found.folders, found.example, found.pattern
    ))
}

fn turned_images(manifest: &Manifest) -> Option<String> {
    let images = match manifest.turned_images() {
        0 => return None,
        1 => "1 image is".to_owned(),
        n => format!("{n} images are"),
    };
    Some(format!(
        "{images} rotated or mirrored on reading, as the file specifies (EXIF orientation)."
    ))
}

fn unmatched_masks(manifest: &Manifest) -> Option<String> {
    let masks = manifest.unmatched_masks();
    let first = masks.first()?;
    let files = match masks.len() {
        1 => "1 mask file belongs".to_owned(),
        n => format!("{n} mask files belong"),
    };
    Some(format!("{files} to no image by name ({first} among them)."))
}
