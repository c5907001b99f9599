//! A phantom as a DICOM radiograph: the same grey, stored as detectors store it, with a synthetic patient.

use dicom::write::{Object, attributes as a, uid};
use random::Rng;

use super::PhantomConfig;
use super::plan::Job;

const COMPUTED_RADIOGRAPHY: &str = "1.2.840.10008.5.1.4.1.1.1";

/// Stored values between two grey values: 255 · 16 is within 12 bits.
const STEP: u16 = 16;

/// The largest value of 12 bits.
const HIGHEST: u16 = 4095;

/// Width of the film in mm.
const FILM: f64 = 350.0;

/// How grey is stored, and the window that restores it exactly: v / 255, which is 257 · v of 65535.
struct Storage {
    photometric: &'static str,
    stored: fn(u8) -> u16,
    /// Function, center and width.
    window: [&'static str; 3],
}

const STORAGES: [Storage; 2] = [
    Storage {
        photometric: "MONOCHROME2",
        stored: |grey| STEP * u16::from(grey),
        // LINEAR is from center - width / 2 to center + width / 2 - 1: 0 to 4080.
        window: ["LINEAR", "2040.5", "4081"],
    },
    Storage {
        photometric: "MONOCHROME1",
        stored: |grey| HIGHEST - STEP * u16::from(grey),
        // LINEAR_EXACT is from center - width / 2 to center + width / 2: 15 to 4095.
        window: ["LINEAR_EXACT", "2055", "4080"],
    },
];

/// The file of an image of grey pixels, row by row. Half of the images, independently of their class, are inverted.
pub(super) fn radiograph(config: &PhantomConfig, job: &Job, pixels: &[u8]) -> Vec<u8> {
    let storage = &STORAGES[usize::from((job.patient + job.image).is_multiple_of(2))];
    let stored = pixels.iter().map(|grey| (storage.stored)(*grey));
    let side = config.size as u16;
    let spacing = format!("{:.4}", FILM / config.size as f64);
    let [function, center, width] = storage.window;
    identity(config, job)
        .number(a::SAMPLES, 1)
        .text(a::PHOTOMETRIC, storage.photometric)
        .number(a::ROWS, side)
        .number(a::COLUMNS, side)
        .text(a::IMAGER_PIXEL_SPACING, &format!("{spacing}\\{spacing}"))
        .number(a::BITS_ALLOCATED, 16)
        .number(a::BITS_STORED, 12)
        .number(a::HIGH_BIT, 11)
        .number(a::PIXEL_REPRESENTATION, 0)
        .text(a::WINDOW_CENTER, center)
        .text(a::WINDOW_WIDTH, width)
        .text(a::VOI_FUNCTION, function)
        .bytes(a::PIXEL_WORDS, stored.flat_map(u16::to_le_bytes).collect())
        .file()
}

/// A patient and a study that do not exist. Names and dates are there so that it can be tested that they go nowhere.
fn identity(config: &PhantomConfig, job: &Job) -> Object {
    let Job { patient, image, .. } = *job;
    let settings = format!("{config:?}");
    let named = |kind: &str, numbers: [u64; 2]| {
        let numbers = numbers.map(u64::to_le_bytes);
        uid(&[
            b"phantom",
            settings.as_bytes(),
            kind.as_bytes(),
            &numbers[0],
            &numbers[1],
        ])
    };
    // Streams of their own, which leave the painting as it is.
    let mut of_patient = Rng::keyed(config.seed, &[7, patient]);
    let mut of_image = Rng::keyed(config.seed, &[8, patient, image]);
    let age = 18 + of_patient.below(73);
    let sex = if of_patient.chance(0.5) { "F" } else { "M" };
    let view = if of_image.chance(0.8) { "PA" } else { "AP" };
    Object::default()
        .text(a::IMAGE_TYPE, "ORIGINAL\\PRIMARY")
        .text(a::SOP_CLASS, COMPUTED_RADIOGRAPHY)
        .text(a::SOP_INSTANCE, &named("image", [patient, image]))
        .text(a::STUDY, &named("study", [patient, 0]))
        .text(a::SERIES, &named("series", [patient, image]))
        .text(a::STUDY_DATE, "20200102")
        .text(a::STUDY_TIME, "030405")
        .text(a::ACCESSION_NUMBER, &format!("PHANTOM{patient:04}"))
        .text(a::MODALITY, "CR")
        .text(a::MANUFACTURER, "eff-unet")
        .text(a::REFERRING_PHYSICIAN, "Phantom^Physician")
        .text(a::PATIENT_NAME, &format!("Phantom^{patient:04}"))
        .text(a::PATIENT_ID, &format!("PHANTOM-{patient:04}"))
        .text(a::BIRTH_DATE, &format!("{}0101", 2019 - age))
        .text(a::PATIENT_SEX, sex)
        .text(a::PATIENT_AGE, &format!("{age:03}Y"))
        .text(a::BODY_PART, "CHEST")
        .text(a::VIEW_POSITION, view)
        .text(a::STUDY_ID, &patient.to_string())
        .text(a::SERIES_NUMBER, &image.to_string())
        .text(a::INSTANCE_NUMBER, "1")
        .text(a::PATIENT_ORIENTATION, "L\\F")
}

#[cfg(test)]
mod tests {
    use super::super::plan::Kind;
    use super::*;

    /// Each grey value comes back as 257 times itself, of 65535, whichever way it is stored.
    #[test]
    fn windows_restore_every_grey_value_exactly() {
        let config = PhantomConfig {
            size: 16,
            ..PhantomConfig::default()
        };
        let pixels: Vec<u8> = (0..=255).collect();
        let expected: Vec<u16> = pixels.iter().map(|grey| 257 * u16::from(*grey)).collect();
        for (image, photometric) in [(1, "MONOCHROME1"), (2, "MONOCHROME2")] {
            let job = Job {
                folder: "train/NORMAL".to_owned(),
                name: "IM-0001".to_owned(),
                patient: 1,
                image,
                kind: Kind::Normal,
            };
            let file = radiograph(&config, &job, &pixels);
            let read = dicom::read(&file, &dicom::ReadOptions::default()).unwrap();
            assert_eq!(read.header.photometric_interpretation, photometric);
            assert_eq!(
                (read.header.bits_stored, read.header.bits_allocated),
                (12, 16)
            );
            assert_eq!(read.pixels.into_luma16().into_raw(), expected);
            assert_eq!(file, radiograph(&config, &job, &pixels));
            let id = read.header.patient_id.unwrap();
            assert_eq!(id.reveal(), "PHANTOM-0001");
            let age = read.header.age_years.unwrap();
            assert!((18.0..91.0).contains(&age), "{age}");
        }
    }
}
