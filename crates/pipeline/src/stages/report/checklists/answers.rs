//! What a run can say to the items of the checklists, each in a sentence or two. `None` where this run does not know.

use report::format;
use report::text::{code, escape};
use settings::StageId;
use train::Task;

use super::super::summary;
use super::facts::Facts;
use crate::results;
use crate::words::count;

/// What is trained, as a kind of method.
pub(super) fn technology(facts: &Facts) -> Option<String> {
    let task = match facts.settings.train.task() {
        Task::Classify => "classifies images",
        Task::Segment => "segments images",
        Task::Both => "classifies and segments images",
    };
    Some(format!(
        "Deep learning: a convolutional neural network ({}) that {task}.",
        escape(&facts.settings.model.label())
    ))
}

/// The results in the sentences that the report begins with.
pub(super) fn results(facts: &Facts) -> Option<String> {
    let classes = facts.metrics.as_ref().map(summary::classification);
    let masks = facts.segmentation.as_ref().map(summary::segmentation);
    join([classes, masks])
}

/// Whether data were collected for the study, where a program drew them.
pub(super) fn design(facts: &Facts) -> Option<String> {
    facts
        .phantoms()
        .then(|| "Neither: the images are phantoms drawn by a program.".into())
}

pub(super) fn goal(facts: &Facts) -> Option<String> {
    facts.has(StageId::Train).then(|| {
        "Development of a model, and its evaluation on a test split that was not used to choose anything.".into()
    })
}

/// Where the images come from, as far as a folder tells.
pub(super) fn source(facts: &Facts) -> Option<String> {
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
    join([Some(text), see(facts, StageId::Index, "Data")])
}

/// What was left out.
pub(super) fn exclusions(facts: &Facts) -> Option<String> {
    let dropped = facts.splits[3].images;
    let text = format!(
        "Left out of all splits because of the same patient or file in the test split, or of a limit: {}. Files that \
         could not be used are counted by reason in the report.",
        count(dropped, "image")
    );
    join([Some(text), see(facts, StageId::Index, "Data")])
}

pub(super) fn preprocessing(facts: &Facts) -> Option<String> {
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
    let more = see(facts, StageId::Train, "Network");
    join([
        Some(text),
        more,
        see(facts, StageId::AugmentPreview, "Augmentation"),
    ])
}

pub(super) fn subsets(facts: &Facts) -> Option<String> {
    Some(match facts.settings.data.limit_per_class {
        Some(most) => format!("At most {} of each class per split were used.", count(most, "image")),
        None => "All images that could be read were assigned to a split, or left out as stated under exclusion.".into(),
    })
}

pub(super) fn identifiers(_: &Facts) -> Option<String> {
    Some(
        "The program reads no names, dates of birth or accession numbers; identifiers of patients in DICOM files and \
         tables are kept as salted hashes. Names of files and what is burnt into pixels are not checked."
            .into(),
    )
}

pub(super) fn missing(facts: &Facts) -> Option<String> {
    let without = facts.segmentation.as_ref().map_or(0, |s| s.without_mask);
    let mut text =
        "Nothing is imputed: a file that cannot be read is left out and counted.".to_owned();
    if facts.segmentation.is_some() {
        let images = count(without, "test image");
        text += &format!(" Without a usable mask, and therefore not evaluated: {images}.");
    }
    join([Some(text), see(facts, StageId::Index, "Data")])
}

/// The classes, whose meaning the program does not know.
pub(super) fn outcome(facts: &Facts) -> Option<String> {
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

pub(super) fn partitions(facts: &Facts) -> Option<String> {
    let [train, val, test, _] = &facts.splits;
    let text = format!(
        "{} for training, {} for validation, {} for testing.",
        count(train.images, "image"),
        format::thousands(val.images as u64),
        format::thousands(test.images as u64)
    );
    join([Some(text), see(facts, StageId::Index, "Data")])
}

/// Whether a patient is in one split only, counted in the list of splits.
pub(super) fn disjoint(facts: &Facts) -> Option<String> {
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
pub(super) fn sample_size(facts: &Facts) -> Option<String> {
    let text = format!(
        "The test split has {}; the intervals of the results show what this number permits. The program plans no \
         sample size.",
        count(facts.splits[2].images, "image")
    );
    Some(text)
}

pub(super) fn model(facts: &Facts) -> Option<String> {
    let text = format!(
        "{}; layers and weights are in `model.safetensors`, all settings in `resolved.toml`.",
        escape(&facts.settings.model.label())
    );
    join([Some(text), see(facts, StageId::Train, "Network")])
}

pub(super) fn software(facts: &Facts) -> Option<String> {
    let record = &facts.record;
    Some(format!(
        "This program, version {}, in Rust, on {} ({}). The versions of its libraries are in the `Cargo.lock` of that \
         version.",
        record.version,
        escape(&record.platform),
        escape(&record.device)
    ))
}

pub(super) fn initial(facts: &Facts) -> Option<String> {
    Some(match &facts.settings.pretrained {
        Some(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!(
                "The encoder starts from {}, the rest at random (seed {}).",
                code(&name),
                facts.record.seed
            )
        }
        None => format!("At random (seed {}).", facts.record.seed),
    })
}

pub(super) fn training(facts: &Facts) -> Option<String> {
    let train = &facts.settings.train;
    let text = format!(
        "At most {} in batches of {}.",
        count(train.epochs, "epoch"),
        count(train.batch_size, "image")
    );
    let more = see(facts, StageId::Train, "Network");
    join([Some(text), more, see(facts, StageId::Train, "Training")])
}

pub(super) fn selection(facts: &Facts) -> Option<String> {
    let train = &facts.settings.train;
    Some(match train.restore_best {
        true => format!(
            "The epoch with the best {} on validation.",
            code(&train.monitor)
        ),
        false => "The last epoch.".into(),
    })
}

pub(super) fn ensemble(facts: &Facts) -> Option<String> {
    let averaged = facts.settings.train.swa.map(|swa| {
        let epochs = count(swa.epochs, "epoch");
        format!("; its weights are the average over the last {epochs}")
    });
    Some(format!(
        "None: a single network{}.",
        averaged.unwrap_or_default()
    ))
}

pub(super) fn measures(facts: &Facts) -> Option<String> {
    let classes = facts.metrics.is_some().then(|| {
        "Accuracy, balanced accuracy, AUC, average precision, F1, MCC, Cohen's kappa, log loss, Brier score and \
         calibration error; with two classes sensitivity, specificity and predictive values; ROC, precision-recall and \
         reliability curves. Compared with the majority class and a linear model."
            .to_owned()
    });
    let masks = facts.segmentation.is_some().then(|| {
        "Dice, IoU, precision, recall and the 95th-percentile Hausdorff distance at the images' own size, compared with \
         the mean of the training masks."
            .to_owned()
    });
    join([classes, masks])
}

pub(super) fn uncertainty(facts: &Facts) -> Option<String> {
    let classes = facts.metrics.as_ref();
    let classes = classes.map(|m| results::brackets(&m.test) + ".");
    let masks = facts.segmentation.as_ref().map(|_| {
        "Intervals of segmentation results are a bootstrap that resamples patients, where they are known, or images."
            .to_owned()
    });
    join([classes, masks])
}

pub(super) fn robustness(facts: &Facts) -> Option<String> {
    let metrics = facts.metrics.as_ref().filter(|m| !m.shifts.is_empty())?;
    let names: Vec<String> = metrics.shifts.iter().map(|s| escape(&s.name)).collect();
    let text = format!(
        "Validation images under stated changes: {}.",
        names.join(", ")
    );
    join([Some(text), see(facts, StageId::Evaluate, "Results")])
}

pub(super) fn explanation(facts: &Facts) -> Option<String> {
    see(facts, StageId::Overlays, "Where the network looks").map(|see| {
        format!("Class maps over the images, and how much of them is inside known regions. {see}")
    })
}

/// Results on the run's own test split, with the section that has them all.
pub(super) fn performance(facts: &Facts) -> Option<String> {
    join([results(facts), detailed(facts)])
}

/// Where all results are.
pub(super) fn detailed(facts: &Facts) -> Option<String> {
    let masks = see(facts, StageId::EvaluateSegmentation, "Segmentation");
    join([see(facts, StageId::Evaluate, "Results"), masks])
}

pub(super) fn external(_: &Facts) -> Option<String> {
    Some("Not by this run. `cargo xtask evaluate RUN --data DIR` evaluates the model on other data, unchanged.".into())
}

pub(super) fn no_updating(_: &Facts) -> Option<String> {
    Some("None: threshold and calibration were fitted on validation, before the test images were evaluated.".into())
}

pub(super) fn failures(facts: &Facts) -> Option<String> {
    let wrong = facts.metrics.as_ref().map(|m| {
        let errors = (m.test.n as f64 * (1.0 - m.test.accuracy.estimate)).round() as usize;
        format!(
            "Misclassified: {} of {}.",
            errors,
            count(m.test.n, "test image")
        )
    });
    let overlays = see(facts, StageId::Overlays, "Where the network looks");
    let masks = see(facts, StageId::EvaluateSegmentation, "Segmentation");
    join([wrong, overlays, masks])
}

pub(super) fn limits(facts: &Facts) -> Option<String> {
    let anchor = "[report, section “What these results show and do not show”](report.md#what-these-results-show-and-do-not-show)";
    let evaluated = facts.metrics.is_some() || facts.segmentation.is_some();
    evaluated.then(|| format!("See {anchor}."))
}

/// Images of each class in each split, and patients where they are known.
pub(super) fn characteristics(facts: &Facts) -> Option<String> {
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

pub(super) fn protocol(_: &Facts) -> Option<String> {
    Some(
        "All settings are in `resolved.toml`, which repeats the run bit by bit on the same data."
            .into(),
    )
}

pub(super) fn availability(_: &Facts) -> Option<String> {
    Some("The trained model is `model.safetensors` in the run's folder.".into())
}

/// How an output becomes a decision.
pub(super) fn output(facts: &Facts) -> Option<String> {
    let metrics = facts.metrics.as_ref()?;
    let decision = match metrics.threshold {
        Some(chosen) => format!(
            "an image is positive from a probability of {}, chosen on validation or fixed in the settings",
            format::fixed(chosen.probability, 3)
        ),
        None => "the class with the highest score is predicted".into(),
    };
    let text = format!("A calibrated probability of each class; {decision}.");
    join([Some(text), see(facts, StageId::Evaluate, "Results")])
}

pub(super) fn balance(facts: &Facts) -> Option<String> {
    let classifies = facts.settings.train.task().classifies();
    let weights = serde_json::to_string(&facts.settings.train.class_weights).unwrap_or_default();
    classifies.then(|| {
        format!(
            "Class weights of the loss: {}. Probabilities are calibrated on validation afterwards.",
            code(weights.trim_matches('"'))
        )
    })
}

pub(super) fn predicting(_: &Facts) -> Option<String> {
    Some("`cargo xtask predict RUN IMAGES` computes with the checkpoint what this run computed for its test images.".into())
}

pub(super) fn poor_input(_: &Facts) -> Option<String> {
    Some("`predict` refuses a file that it cannot read completely; it does not judge the quality of an image.".into())
}

fn see(facts: &Facts, stage: StageId, heading: &str) -> Option<String> {
    facts.see(stage, heading).map(|link| format!("See {link}."))
}

/// The parts that are known, as one text.
fn join<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let known: Vec<String> = parts.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(" "))
}
