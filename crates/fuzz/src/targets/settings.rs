//! Pipeline files, loaded as by a run.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use settings::{ConfigError, Request};

use crate::formats::text;
use crate::{Case, Outcome, Rng, Session, Target};

const FILE: &str = "pipeline.toml";

/// The shipped pipelines, which contain almost every key.
const PIPELINES: [&str; 8] = [
    include_str!("../../../../pipelines/pneumonia.toml"),
    include_str!("../../../../pipelines/pneumonia-robust.toml"),
    include_str!("../../../../pipelines/pneumonia-both.toml"),
    include_str!("../../../../pipelines/u-efficientnet.toml"),
    include_str!("../../../../pipelines/lung-segmentation.toml"),
    include_str!("../../../../pipelines/brain-tumor.toml"),
    include_str!("../../../../pipelines/membrane.toml"),
    include_str!("../../../../pipelines/glioma.toml"),
];

/// An experiment, which may have the tables of its pipeline in its own file.
const EXPERIMENT: &str = r#"
[experiment]
title = "Everything"
seeds = [1, 2]
folds = 2
set = ["train.batch_size=4"]
[experiment.grid]
"train.optimizer.lr" = [1e-4, 3e-4]
model.decoder = ["unet", "unetpp"]
"#;

/// Maximum number of input values of a batch: no machine has the memory for more.
const LARGEST_BATCH: u128 = 1 << 40;

pub(super) struct Settings;

impl Target for Settings {
    fn name(&self) -> &'static str {
        "settings"
    }

    fn about(&self) -> &'static str {
        "the TOML of a pipeline or an experiment: keys and values of the shipped ones mixed, out of range, of wrong types, deeply nested"
    }

    fn short(&self) -> u64 {
        1000
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        let plain = |text: &'static str| {
            text.lines()
                .map(|line| {
                    line.split_once(" #")
                        .map_or(line, |(code, _)| code)
                        .trim_end()
                })
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
        };
        let texts = PIPELINES.into_iter().chain([EXPERIMENT]);
        let file = |texts: &[&'static str]| {
            let lines = texts.iter().flat_map(|text| plain(text));
            lines.collect::<Vec<_>>().join("\n").into_bytes()
        };
        let seeds = PIPELINES.map(|text| file(&[text])).into_iter();
        let experiments = PIPELINES[..2].iter().map(|text| file(&[text, EXPERIMENT]));
        Ok(Box::new(Files {
            lines: texts.flat_map(plain).collect(),
            seeds: seeds.chain(experiments).collect(),
        }))
    }
}

struct Files {
    lines: Vec<&'static str>,
    seeds: Vec<Vec<u8>>,
}

impl Session for Files {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let seed = rng.pick(&self.seeds).cloned().unwrap_or_default();
        Case::file(
            FILE,
            text::mutate(rng, &seed, &['=', ',', '[', ']', '{', '}'], &self.lines),
        )
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let file = input.join(FILE);
        let request = Request::new(input, file.display().to_string());
        let text = std::fs::read(&file).unwrap_or_default();
        if String::from_utf8_lossy(&text).contains("[experiment") {
            return run_experiment(&request, &file);
        }
        match settings::load(&request) {
            Err(error) => refused(&error),
            Ok(settings) => check(&settings, &file),
        }
    }
}

fn refused(error: &ConfigError) -> Outcome {
    match error.to_string() {
        text if text.is_empty() => Outcome::Wrong("an error without a message".into()),
        _ => Outcome::Refused,
    }
}

/// Every run has settings that pass the check, and a folder of its own.
fn run_experiment(request: &Request, file: &Path) -> Outcome {
    // Without the images, which are not there.
    let request = Request {
        dry: true,
        ..request.clone()
    };
    let experiment = match settings::load_experiment(&request) {
        Err(error) => return refused(&error),
        Ok(experiment) => experiment,
    };
    let names: BTreeSet<&str> = experiment.runs.iter().map(|r| r.name.as_str()).collect();
    if names.len() < experiment.runs.len() || names.iter().any(|name| name.contains('/')) {
        return Outcome::Wrong(format!("runs share a folder: {names:?}"));
    }
    let outcomes = experiment.runs.iter().map(|run| check(&run.settings, file));
    let mut wrong = outcomes.filter(|outcome| matches!(outcome, Outcome::Wrong(_)));
    wrong.next().unwrap_or(Outcome::Accepted)
}

/// The batch size is plausible, and the settings that a run's folder stores are the same.
fn check(settings: &settings::Settings, file: &Path) -> Outcome {
    let image = &settings.image;
    let sides = [
        image.height,
        image.width,
        image.channels,
        settings.train.batch_size,
    ];
    let values = sides
        .iter()
        .try_fold(1_u128, |product, side| product.checked_mul(*side as u128));
    if values.is_none_or(|values| values > LARGEST_BATCH) {
        return Outcome::Wrong(format!("a batch of {sides:?} is accepted"));
    }
    match settings::leaves(file, &settings.resolved) {
        Ok(leaves) if leaves == settings.leaves => Outcome::Accepted,
        Ok(_) => Outcome::Wrong("the resolved settings differ".into()),
        Err(error) => Outcome::Wrong(format!("the resolved settings cannot be read: {error}")),
    }
}
