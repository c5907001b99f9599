//! What a data folder has besides good images, in sentences that a person acts on.

use crate::left_out;
use crate::manifest::Manifest;

impl Manifest {
    /// What the data folder has besides good images, in plain sentences: files left out by reason,
    /// folders that may be patients, turned images, masks of no image.
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
        "The patient of {} images in {} folders such as {} is not known. If a folder is a patient, \
         its images may lie on both sides of a split, and results look better than they are: set \
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
        "{images} read turned or mirrored as the file asks (EXIF orientation), as viewers show it."
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
