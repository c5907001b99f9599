//! A run's folder after a failure: used for a prediction, and resumed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pipeline::predict::Predictor;
use serde_json::{Value, json};
use settings::Request;
use terminal::{Interrupt, Progress};

use crate::formats::{json as json_format, text};
use crate::{Case, Outcome, Rng, Session, Target, case, mutate};

/// Phantoms of 16×16 pixels and a network of a few thousand weights: a run takes less than a second.
const PIPELINE: &str = r#"
[pipeline]
seed = 3
device = "cpu"
stages = ["index", "train", "evaluate", "report"]
[data]
dir = "absent"
classes = ["NORMAL", "PNEUMONIA"]
positive = "PNEUMONIA"
[image]
size = 16
[model]
architecture = "unet_2015"
base_channels = 1
head = "cam"
[train]
epochs = 2
batch_size = 8
[evaluate]
bootstrap = 20
baseline_size = 4
[demo.phantom]
size = 16
train = [8, 8]
val = [2, 2]
test = [4, 4]
[demo.data.validation]
fraction = 0.3
"#;

const STAGES: [&str; 4] = ["index", "train", "evaluate", "report"];

/// Files that must be the same after resuming.
const RESULTS: [&str; 5] = [
    "manifest.csv",
    "splits.csv",
    "predictions.csv",
    "metrics.json",
    "model.safetensors",
];

pub(super) struct Run;

impl Target for Run {
    fn name(&self) -> &'static str {
        "run"
    }

    fn about(&self) -> &'static str {
        "a run's folder with damaged, changed and missing files, interrupted anywhere: predict, and --resume to the \
         same results"
    }

    fn memory(&self) -> usize {
        1 << 30
    }

    fn short(&self) -> u64 {
        40
    }

    fn file(&self) -> &'static str {
        "run/model.safetensors"
    }

    fn open(&self, home: &Path) -> Result<Box<dyn Session>> {
        let file = home.join("tiny.toml");
        fs::write(&file, PIPELINE)?;
        let request = Request {
            out: Some(home.join("runs")),
            demo: true,
            ..Request::new(home, file.display().to_string())
        };
        let finished = pipeline::run(&request, false, Progress::Silent, &Interrupt::default())?;
        let image = first_image(&home.join("runs/.phantom")).context("the run has no images")?;
        Ok(Box::new(Runs {
            files: files(&finished.folder)?,
            runs: home.join("runs"),
            request,
            image,
            overlays: home.join("overlays"),
        }))
    }
}

fn first_image(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .map(|e| e.path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    paths.into_iter().find_map(|path| match path.is_dir() {
        true => first_image(&path),
        false => path
            .extension()
            .is_some_and(|e| e == "jpeg")
            .then_some(path),
    })
}

/// All files except the figures, which are not read again.
fn files(run: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![run.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((!path.ends_with("figures")).then_some(path));
            } else {
                found.insert(path.strip_prefix(run)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

struct Runs {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// The folder of all runs and their phantoms.
    runs: PathBuf,
    request: Request,
    image: PathBuf,
    overlays: PathBuf,
}

impl Session for Runs {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let mut files = self.files.clone();
        // Training again takes a hundred times as long as everything else.
        let done = match rng.once_in(20) {
            true => rng.below(2),
            false => 2 + rng.below(3),
        };
        let begun = self
            .files
            .get(Path::new("run.json"))
            .map(Vec::as_slice)
            .unwrap_or_default();
        files.insert("run.json".into(), broken_off(begun, done));
        let names: Vec<PathBuf> = files.keys().cloned().collect();
        loop {
            let name = rng.pick(&names).cloned().unwrap_or_default();
            match rng.once_in(10) {
                true => drop(files.remove(&name)),
                false => {
                    let bytes = files.get(&name).cloned().unwrap_or_default();
                    files.insert(name.clone(), change(rng, &name, bytes));
                }
            }
            if !rng.once_in(3) {
                break;
            }
        }
        let place = Path::new("run");
        let files = files
            .into_iter()
            .map(|(name, bytes)| (place.join(name), case::Content::Bytes(bytes)));
        Case {
            files: files.collect(),
        }
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let run = input.join("run");
        let asked = Predictor::open(&run).and_then(|p| p.predict(&self.image, &self.overlays));
        let p = asked
            .iter()
            .flat_map(|a| &a.probabilities)
            .map(|p| p.probability);
        if let Some(p) = p.into_iter().find(|p| !(0.0..=1.0).contains(p)) {
            return Outcome::Wrong(format!("predict returns a probability of {p}"));
        }
        match self.resume(&run) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::refused(format!("{error:#}"), ""),
        }
    }
}

impl Runs {
    /// Resumes the run at the path of the original, because its settings contain paths.
    fn resume(&self, run: &Path) -> Result<Outcome> {
        let place = self.runs.join("tiny/2000-01-01T00-00-00Z");
        let parent = self.runs.join("tiny");
        let _ = fs::remove_dir_all(&parent); // absent after the first time
        case::copy(run, &place)?;
        pipeline::run(&self.request, true, Progress::Silent, &Interrupt::default())?;
        for name in RESULTS {
            let (now, truth) = (
                fs::read(place.join(name)).ok(),
                self.files.get(Path::new(name)),
            );
            // A file that was damaged and is not read again cannot be detected.
            let given = fs::read(run.join(name)).ok();
            if now.as_ref() != truth && now != given {
                return Ok(Outcome::Wrong(format!("the resumed run's {name} differs")));
            }
        }
        Ok(Outcome::Accepted)
    }
}

/// `run.json` of a run with this many completed stages.
fn broken_off(bytes: &[u8], done: usize) -> Vec<u8> {
    let mut record: Value = serde_json::from_slice(bytes).unwrap_or_default();
    record["done"] = json!(STAGES[..done]);
    record["finished"] = json!(false);
    record.to_string().into_bytes()
}

fn change(rng: &mut Rng, name: &Path, mut bytes: Vec<u8>) -> Vec<u8> {
    let extension = name
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match extension {
        "json" if !rng.once_in(3) => json_format::mutate_text(rng, &bytes),
        "csv" | "toml" if !rng.once_in(3) => text::mutate(rng, &bytes, &[',', '=', '[', ']'], &[]),
        _ => {
            mutate::damage(rng, &mut bytes);
            bytes
        }
    }
}
