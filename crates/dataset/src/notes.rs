//! What a data folder contains besides good images, as sentences.

use crate::left_out;
use crate::manifest::{ImageRecord, Manifest, PatientSource};
use crate::words::{counted, counted_with};

impl Manifest {
    /// What the data folder contains besides good images, in plain sentences: files left out by
    /// reason, folders that may be patients, rotated images, masks that belong to no image or mark everything.
    pub fn notes(&self) -> Vec<String> {
        of(self)
    }

    /// By what patients are told apart, in plain sentences.
    pub fn patients_in_words(&self) -> String {
        let source = |(source, n): (&PatientSource, &usize)| {
            let by = match source {
                PatientSource::Table => "the table's patient column, as salted hashes",
                PatientSource::Rule => "the rules of data.patients",
                PatientSource::Header => "the Patient ID in the DICOM header, as a salted hash",
                PatientSource::Study => "the study in the DICOM header",
            };
            format!("{by} ({})", counted(*n, "image"))
        };
        let sources: Vec<String> = self.patient_sources().iter().map(source).collect();
        let unknown = self.unknown_patients();
        match (sources.is_empty(), unknown) {
            (true, _) => {
                "Patients are not known: each image counts as a patient of its own.".to_owned()
            }
            (false, 0) => format!("Patients are told apart by {}.", sources.join(", and by ")),
            (false, n) => format!(
                "Patients are told apart by {}. The patient of {} not known: each counts as a patient of its own.",
                sources.join(", and by "),
                counted_with(n, "image", "is", "is")
            ),
        }
    }
}

fn of(manifest: &Manifest) -> Vec<String> {
    let images = manifest.rows().len() + manifest.bad_images().len();
    let mut notes = left_out::sentences(manifest.left_out(), images);
    notes.extend_from_slice(manifest.remarks());
    notes.extend(patient_folders(manifest));
    notes.extend(studies(manifest));
    notes.extend(identified(manifest));
    notes.extend(turned_images(manifest));
    notes.extend(unmatched_masks(manifest));
    notes.extend(full_masks(manifest));
    notes.extend(unused_range(manifest));
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

/// Patients are told apart only as far as headers identify them.
fn studies(manifest: &Manifest) -> Option<String> {
    let images = manifest.patient_sources().get(&PatientSource::Study)?;
    Some(format!(
        "The DICOM header has no Patient ID, or the same one in every study ({}): each study counts as a patient, so a \
         patient with several studies may be in several splits.",
        counted(*images, "image")
    ))
}

/// What may identify patients where hashes of their identifiers do not.
fn identified(manifest: &Manifest) -> Vec<String> {
    let mut notes = Vec::new();
    match manifest.burned_in() {
        0 => {}
        n => notes.push(format!(
            "{} text in the pixels, according to the DICOM header (Burned In Annotation): it may identify the patient in \
             figures and overlays, and a network may learn it instead of the disease.",
            counted_with(n, "image", "has", "have")
        )),
    }
    match manifest.revealing_paths() {
        0 => {}
        n => notes.push(format!(
            "{} the Patient ID in the path, and reports and tables show paths: rename the files before results are \
             passed on.",
            counted_with(n, "image", "has", "have")
        )),
    }
    notes
}

/// Less than a quarter of the range from black to white is used, as by 12 bits in samples of 16.
fn unused_range(manifest: &Manifest) -> Option<String> {
    const QUARTER: f64 = 0.25;
    let rows = manifest.rows();
    let least = rows
        .iter()
        .map(|r| r.range[0])
        .fold(f64::INFINITY, f64::min);
    let greatest = rows.iter().map(|r| r.range[1]).fold(0.0, f64::max);
    if greatest - least >= QUARTER || rows.is_empty() {
        return None;
    }
    let deep = rows.iter().all(|r| r.bit_depth == 16) && greatest < QUARTER;
    let remedy = match deep {
        true => {
            let highest = (greatest * 65535.0).round() as u16;
            let bits = (16 - highest.leading_zeros()).max(9);
            format!("if their samples have {bits} bits, set image.bits = {bits}")
        }
        false => "set image.window = \"percentile\", or the window that shows the organ".to_owned(),
    };
    Some(format!(
        "The images use only {:.1} % of the range from black to white ({:.1} % to {:.1} %), so a network sees little \
         contrast: {remedy}.",
        100.0 * (greatest - least),
        100.0 * least,
        100.0 * greatest
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

/// Share of a mask from which on nearly all is marked.
const NEARLY_ALL: f64 = 0.99;

/// A mask that marks everything teaches nothing, and is rarely meant.
fn full_masks(manifest: &Manifest) -> Option<String> {
    let masks = manifest.rows().iter().filter(|r| r.mask_share().is_some());
    let masks: Vec<&ImageRecord> = masks.collect();
    let share = |r: &&ImageRecord| r.mask_share().unwrap_or_default();
    let full: Vec<_> = masks.iter().filter(|r| share(r) == 1.0).collect();
    let nearly_all = masks.len() > 1 && masks.iter().all(|r| share(r) > NEARLY_ALL);
    let first = full
        .first()
        .copied()
        .or(masks.first().filter(|_| nearly_all))?;
    let what = match (nearly_all, full.len()) {
        (true, _) => "Every mask marks more than 99 % of its image".to_owned(),
        (false, 1) => "1 mask marks every pixel of its image".to_owned(),
        (false, n) => format!("{n} masks mark every pixel of their images"),
    };
    Some(format!(
        "{what} (such as that of {}): if that is not meant, check what the values of masks mean (data.mask), and whether \
         they are in the opacity (channel = \"alpha\").",
        first.path
    ))
}
