//! Answers about the network and its training.

use report::format;
use report::text::{code, escape};
use settings::StageId;
use train::Task;

use super::super::facts::Facts;
use super::text::{NETWORK, RESULTS, TRAINING, join, see};
use crate::stages::Rule;
use crate::words::count;

/// What is trained, as a kind of method.
pub(in crate::stages::report::checklists) fn technology(facts: &Facts) -> Option<String> {
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

pub(in crate::stages::report::checklists) fn goal(facts: &Facts) -> Option<String> {
    facts.has(StageId::Train).then(|| {
        "Development of a model, and its evaluation on a test split that was not used to choose anything.".into()
    })
}

pub(in crate::stages::report::checklists) fn model(facts: &Facts) -> Option<String> {
    let text = format!(
        "{}; layers and weights are in `model.safetensors`, all settings in `resolved.toml`.",
        escape(&facts.settings.model.label())
    );
    join([Some(text), see(facts, [NETWORK])])
}

pub(in crate::stages::report::checklists) fn software(facts: &Facts) -> Option<String> {
    let record = &facts.record;
    Some(format!(
        "This program, version {}, in Rust, on {} ({}). The versions of its libraries are in the `Cargo.lock` of that \
         version.",
        record.version,
        escape(&record.platform),
        escape(&record.device)
    ))
}

pub(in crate::stages::report::checklists) fn initial(facts: &Facts) -> Option<String> {
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

pub(in crate::stages::report::checklists) fn training(facts: &Facts) -> Option<String> {
    let train = &facts.settings.train;
    let text = format!(
        "At most {} in batches of {}.",
        count(train.epochs, "epoch"),
        count(train.batch_size, "image")
    );
    join([Some(text), see(facts, [NETWORK, TRAINING])])
}

/// The kind of model and how it came about.
pub(in crate::stages::report::checklists) fn building(facts: &Facts) -> Option<String> {
    join([technology(facts), training(facts), selection(facts)])
}

pub(in crate::stages::report::checklists) fn selection(facts: &Facts) -> Option<String> {
    let train = &facts.settings.train;
    Some(match train.restore_best {
        true => format!(
            "The epoch with the best {} on validation.",
            code(&train.monitor)
        ),
        false => "The last epoch.".into(),
    })
}

pub(in crate::stages::report::checklists) fn ensemble(facts: &Facts) -> Option<String> {
    let averaged = facts.settings.train.swa.map(|swa| {
        let epochs = count(swa.epochs, "epoch");
        format!("; its weights are the average over the last {epochs}")
    });
    Some(format!(
        "None: a single network{}.",
        averaged.unwrap_or_default()
    ))
}

pub(in crate::stages::report::checklists) fn balance(facts: &Facts) -> Option<String> {
    let classifies = facts.settings.train.task().classifies();
    let weights = serde_json::to_string(&facts.settings.train.class_weights).unwrap_or_default();
    classifies.then(|| {
        format!(
            "Class weights of the loss: {}. Probabilities are calibrated on validation afterwards.",
            code(weights.trim_matches('"'))
        )
    })
}

/// How an output becomes a decision.
pub(in crate::stages::report::checklists) fn output(facts: &Facts) -> Option<String> {
    let metrics = facts.metrics.as_ref()?;
    let decision = match metrics.threshold {
        Some(chosen) => {
            let origin = match chosen.rule {
                Rule::Fixed => "fixed in the settings",
                Rule::Youden => "which maximizes Youden's index on validation",
                Rule::Sensitivity(_) => "chosen on validation for a sensitivity",
            };
            let threshold = format::fixed(chosen.probability, 3);
            format!("an image is positive from a probability of {threshold}, {origin}")
        }
        None => "the class with the highest score is predicted".into(),
    };
    let text = format!("A calibrated probability of each class; {decision}.");
    join([Some(text), see(facts, [RESULTS])])
}

pub(in crate::stages::report::checklists) fn predicting(_: &Facts) -> Option<String> {
    Some(format!(
        "`{} predict RUN IMAGES` computes with the checkpoint what this run computed for its test images.",
        terminal::program()
    ))
}

pub(in crate::stages::report::checklists) fn protocol(_: &Facts) -> Option<String> {
    Some(
        "All settings are in `resolved.toml`, which repeats the run bit by bit on the same data."
            .into(),
    )
}

pub(in crate::stages::report::checklists) fn availability(_: &Facts) -> Option<String> {
    Some("The trained model is `model.safetensors` in the run's folder.".into())
}
