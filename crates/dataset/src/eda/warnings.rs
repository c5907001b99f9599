//! Warnings from the analysis, as sentences.

use super::{DuplicateGroup, Eda, NearCopies, SplitSummary, split_name};
use crate::Manifest;
use crate::words::counted;

pub(super) fn of(eda: &Eda, manifest: &Manifest) -> Vec<String> {
    let mut warnings = Vec::new();
    // Images in no split are not used.
    for split in eda.splits.iter().filter(|s| s.split != split_name(None)) {
        warnings.extend(imbalance(split));
    }
    warnings.extend(prevalence_shift(eda));
    warnings.extend(small_validation(eda));
    warnings.extend(leaks(eda));
    warnings.extend(duplicates(eda));
    warnings.extend(near_copies(&eda.near_copies));
    warnings.extend(brightness(eda));
    warnings.extend(mixed_formats(eda));
    warnings.extend(unmatched(eda));
    warnings.extend(bad_images(eda));
    warnings.extend(masks(eda));
    warnings.extend(manifest.notes());
    warnings
}

fn imbalance(split: &SplitSummary) -> Option<String> {
    let ratio = split.imbalance.filter(|&ratio| ratio > 1.5)?;
    let largest = split.classes.iter().max_by_key(|class| class.images)?;
    Some(format!(
        "{}: the largest class has {ratio:.1} times the images of the smallest; always predicting \
         {} would be correct in {:.1} % of the cases, so accuracy alone means little.",
        split.split,
        largest.class,
        100.0 * largest.share
    ))
}

/// Thresholds and calibrated probabilities depend on the prevalence.
fn prevalence_shift(eda: &Eda) -> Option<String> {
    let of = |name: &str| eda.splits.iter().find(|split| split.split == name);
    let (train, test) = (of("train")?, of("test")?);
    let shift = |a: &f64, b: &f64| a.total_cmp(b);
    let classes = train.classes.iter().zip(&test.classes);
    let (class, by) = classes
        .map(|(a, b)| (&a.class, 100.0 * (b.share - a.share)))
        .max_by(|a, b| shift(&a.1.abs(), &b.1.abs()))?;
    (by.abs() > 5.0).then(|| {
        format!(
            "The share of {class} differs by {by:+.1} points from train to test: a threshold or \
             probability fitted to one does not hold for the other."
        )
    })
}

fn small_validation(eda: &Eda) -> Option<String> {
    let val = eda.splits.iter().find(|split| split.split == "val")?;
    let (low, high) = wilson(0.9, val.images as f64);
    (high - low > 0.1).then(|| {
        format!(
            "val has {} images: an accuracy of 90 % on it means anything from {:.0} to {:.0} % \
             (95 % Wilson interval); draw validation from train by patient instead.",
            val.images,
            100.0 * low,
            100.0 * high
        )
    })
}

/// Wilson's score interval at 95 % (Wilson 1927).
fn wilson(p: f64, n: f64) -> (f64, f64) {
    let z2 = 1.959_964_f64.powi(2);
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (z2 * (p * (1.0 - p) / n + z2 / (4.0 * n * n))).sqrt() / (1.0 + z2 / n);
    (centre - half, centre + half)
}

fn leaks(eda: &Eda) -> Option<String> {
    let leaked = eda.leaked_patients.as_slice();
    let first = leaked.first()?;
    Some(format!(
        "{} with images in more than one split ({} among them): results on the later split will \
         look better than they are.",
        counted(leaked.len(), "patient"),
        first.patient
    ))
}

fn duplicates(eda: &Eda) -> Vec<String> {
    let groups = &eda.duplicates;
    let files = |groups: &mut dyn Iterator<Item = &DuplicateGroup>| {
        groups.fold((0, 0), |(n, files), group| {
            (n + 1, files + group.paths.len())
        })
    };
    let mut sentences = Vec::new();
    let mut say = |(n, files): (usize, usize), what: &str| {
        if n > 0 {
            let groups = counted(n, "group");
            sentences.push(format!(
                "{groups} of byte-identical files ({files} files) {what}."
            ));
        }
    };
    say(
        files(&mut groups.iter()),
        "are in the data: they count more than once",
    );
    say(
        files(&mut groups.iter().filter(|g| g.crosses_splits)),
        "lie in more than one split: the test is not independent of training",
    );
    say(
        files(&mut groups.iter().filter(|g| g.crosses_classes)),
        "carry more than one label: at least one label is wrong",
    );
    sentences
}

/// States what to do about near-identical images.
fn near_copies(found: &NearCopies) -> Vec<String> {
    let pairs = |n: usize| format!("{} of nearly identical images", counted(n, "pair"));
    let more = if found.truncated {
        ", and perhaps more,"
    } else {
        ""
    };
    let sentences = [
        (
            found.across_splits,
            "between splits, so that the test is not independent of training: look at them, then remove one image of \
             each pair, or put both into one split (data.validation.policy = \"list\")",
        ),
        (
            found.across_classes,
            "with different labels: look at them, because at least one label of a true copy is wrong",
        ),
        (
            found.across_patients,
            "of different patients by name: if they are copies, the names do not tell patients apart, and a split by \
             patient does not keep them together",
        ),
    ];
    let noted = sentences.into_iter().filter(|(n, _)| *n > 0);
    let mut noted: Vec<String> = noted
        .map(|(n, what)| format!("{}{more} {what}.", pairs(n)))
        .collect();
    if noted.is_empty() && found.pairs > 0 {
        let what = "are in the data: they count more than once";
        noted.push(format!("{}{more} {what}.", pairs(found.pairs)));
    }
    noted
}

/// Warns of more than half a standard deviation (a medium effect, Cohen 1988) between two classes.
fn brightness(eda: &Eda) -> Option<String> {
    let by_mean =
        |a: &&super::ClassIntensity, b: &&super::ClassIntensity| a.mean.total_cmp(&b.mean);
    let dark = eda.intensity.iter().min_by(by_mean)?;
    let bright = eda.intensity.iter().max_by(by_mean)?;
    let pooled = ((dark.std_of_means.powi(2) + bright.std_of_means.powi(2)) / 2.0).sqrt();
    let effect = (bright.mean - dark.mean) / pooled.max(1e-9);
    (effect > 0.5).then(|| {
        format!(
            "{} images are brighter than {} ones by {effect:.1} standard deviations of an image's \
             mean: a model may learn the exposure instead of the disease.",
            bright.class, dark.class
        )
    })
}

fn mixed_formats(eda: &Eda) -> Option<String> {
    let others: usize = eda.formats.iter().skip(1).map(|format| format.images).sum();
    let main = eda.formats.first()?;
    (others > 0).then(|| {
        format!(
            "{} not stored like the rest ({} channels, {} bit): check that the storage format is \
             not related to the class.",
            if others == 1 {
                "1 image is".to_owned()
            } else {
                format!("{others} images are")
            },
            main.channels,
            main.bit_depth
        )
    })
}

fn unmatched(eda: &Eda) -> Option<String> {
    (eda.unmatched_patients > 0).then(|| {
        format!(
            "No patient rule matches {}: each counts as a patient of its own.",
            counted(eda.unmatched_patients, "image")
        )
    })
}

fn bad_images(eda: &Eda) -> Option<String> {
    let first = eda.bad_images.first()?;
    Some(format!(
        "{} left out; the first is {}: {}.",
        counted(eda.bad_images.len(), "bad file"),
        first.path,
        first.reason
    ))
}

fn masks(eda: &Eda) -> Vec<String> {
    let sum = |of: fn(&super::MaskSummary) -> usize| eda.masks.iter().map(of).sum::<usize>();
    let faults = [
        (sum(|m| m.missing), "has no mask", "have no mask"),
        (
            sum(|m| m.bad),
            "has an unusable mask",
            "have an unusable mask",
        ),
        (sum(|m| m.empty), "has an empty mask", "have an empty mask"),
    ];
    let sentence = |(n, one, many): (usize, &str, &str)| {
        (n > 0).then(|| {
            format!(
                "{} {}.",
                counted(n, "image"),
                if n == 1 { one } else { many }
            )
        })
    };
    faults.into_iter().filter_map(sentence).collect()
}
