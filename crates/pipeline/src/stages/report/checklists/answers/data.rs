//! Answers about images and patients.

use report::format;
use report::text::{code, escape};

use super::super::facts::Facts;
use super::text::{AUGMENTATION, DATA, NETWORK, join, see};
use crate::words::count;

/// Whether data were collected for the study, where a program drew them.
pub(in crate::stages::report::checklists) fn design(facts: &Facts) -> Option<String> {
    facts
        .phantoms()
        .then(|| "Neither: the images are phantoms drawn by a program.".into())
}

/// Where the images come from, as far as a folder tells.
pub(in crate::stages::report::checklists) fn source(facts: &Facts) -> Option<String> {
    let images: usize = facts.splits.iter().map(|split| split.images).sum();
    let origin = match facts.phantoms() {
        true => "phantoms drawn by this program, not images of patients".to_owned(),
        false => {
            let root = &facts.settings.data.index.root;
            let name = root.file_name().unwrap_or_default().to_string_lossy();
            format!("the folder {}", code(&name))
        }
    };
    let print = facts.record.data_fingerprint.as_deref().unwrap_or("–");
    let text = format!(
        "{}: {origin}; SHA-256 over classes, paths, labels and contents {}.",
        count(images, "image"),
        code(print)
    );
    join([Some(text), see(facts, [DATA])])
}

/// What was left out.
pub(in crate::stages::report::checklists) fn exclusions(facts: &Facts) -> Option<String> {
    let dropped = facts.splits[3].images;
    let text = format!(
        "Left out of all splits because of the same patient or file in the test split, or of a limit: {}. Files that \
         could not be used are counted by reason in the report.",
        count(dropped, "image")
    );
    join([Some(text), see(facts, [DATA])])
}

pub(in crate::stages::report::checklists) fn preprocessing(facts: &Facts) -> Option<String> {
    let image = &facts.settings.image;
    let region = match image.region {
        Some(_) => "a trained segmenter finds the part of the image that is used; ",
        None => "",
    };
    let channels = count(image.channels, "channel");
    let text = format!(
        "Orientation as the file states, {region}resized to {}×{}, {channels}, normalized. Only training images are \
         augmented.",
        image.height, image.width
    );
    join([Some(text), see(facts, [NETWORK, AUGMENTATION])])
}

pub(in crate::stages::report::checklists) fn subsets(facts: &Facts) -> Option<String> {
    Some(match facts.settings.data.limit_per_class {
        Some(most) => format!("At most {} of each class per split were used.", count(most, "image")),
        None => "All images that could be read were assigned to a split, or left out as stated under exclusion.".into(),
    })
}

pub(in crate::stages::report::checklists) fn identifiers(_: &Facts) -> Option<String> {
    Some(
        "The program reads no names, dates of birth or accession numbers; identifiers of patients in DICOM files and \
         tables are kept as salted hashes. Names of files and what is burnt into pixels are not checked."
            .into(),
    )
}

pub(in crate::stages::report::checklists) fn missing(facts: &Facts) -> Option<String> {
    let without = facts.segmentation.as_ref().map_or(0, |s| s.without_mask);
    let mut text =
        "Nothing is imputed: a file that cannot be read is left out and counted.".to_owned();
    if facts.segmentation.is_some() {
        let images = count(without, "test image");
        text += &format!(" Without a usable mask, and therefore not evaluated: {images}.");
    }
    join([Some(text), see(facts, [DATA])])
}

/// The classes, whose meaning the program does not know.
pub(in crate::stages::report::checklists) fn outcome(facts: &Facts) -> Option<String> {
    let named = |classes: &[String]| -> String {
        let names: Vec<String> = classes.iter().map(|class| escape(class)).collect();
        names.join(", ")
    };
    let images = facts.metrics.as_ref().map(|m| {
        let classes = named(&m.classes);
        format!("Classes of an image, as the data set labels it: {classes}.")
    });
    let pixels = facts.segmentation.as_ref().map(|s| {
        let classes = named(&s.classes);
        format!("Classes of a pixel, as the masks mark it: {classes}.")
    });
    join([images, pixels])
}

pub(in crate::stages::report::checklists) fn partitions(facts: &Facts) -> Option<String> {
    let [train, val, test, _] = &facts.splits;
    let text = format!(
        "{} for training, {} for validation, {} for testing.",
        count(train.images, "image"),
        format::thousands(val.images as u64),
        format::thousands(test.images as u64)
    );
    join([Some(text), see(facts, [DATA])])
}

/// Whether a patient is in one split only, counted in the list of splits.
pub(in crate::stages::report::checklists) fn disjoint(facts: &Facts) -> Option<String> {
    Some(match (facts.patients_known(), facts.shared_patients()) {
        (false, _) => {
            "Images. No patient is known to have several images, so that the program cannot tell whether the splits \
             share patients."
                .into()
        }
        (true, 0) => "Patients: by the patient of each image in `splits.csv`, none is in two splits.".into(),
        (true, n) => format!(
            "Images only: by `splits.csv`, {} in more than one split.",
            match n {
                1 => "1 patient is".into(),
                n => format!("{n} patients are"),
            }
        ),
    })
}

/// The size that the splits have; nobody but the author knows the one intended.
pub(in crate::stages::report::checklists) fn sample_size(facts: &Facts) -> Option<String> {
    let text = format!(
        "The test split has {}; the intervals of the results show what this number permits. The program plans no \
         sample size.",
        count(facts.splits[2].images, "image")
    );
    Some(text)
}

/// Images of each class in each split, and patients where they are known.
pub(in crate::stages::report::checklists) fn characteristics(facts: &Facts) -> Option<String> {
    let names = ["training", "validation", "test"];
    let each = names.iter().zip(&facts.splits).map(|(name, split)| {
        let classes = split.classes.iter();
        let classes: Vec<String> = classes
            .map(|(class, n)| format!("{} {}", escape(class), format::thousands(*n as u64)))
            .collect();
        let patients = match facts.patients_known() {
            true => format!(" ({})", count(split.patients.len(), "patient")),
            false => String::new(),
        };
        format!("{name}: {}{patients}", classes.join(", "))
    });
    Some(each.collect::<Vec<_>>().join("; ") + ".")
}

pub(in crate::stages::report::checklists) fn poor_input(_: &Facts) -> Option<String> {
    Some("`predict` refuses a file that it cannot read completely; it does not judge the quality of an image.".into())
}
