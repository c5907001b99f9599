//! The reference run, which is not disturbed, and the comparison of other runs with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::process::{Ended, Running, remove};

const PIPELINE: &str = include_str!("tiny.toml");

/// What the experiment varies; its pipeline is the tiny one without the stages that only draw.
const EXPERIMENT: &str = r#"
seeds = [1, 2]
folds = 2
set = ["train.epochs=2", "pipeline.stages=['index', 'train', 'evaluate', 'report']"]
"#;

/// Files that contain times: they must exist, but may differ.
const TIMED: [&str; 6] = [
    "timings.json",
    "history.csv",
    "report.md",
    "report.html",
    "sections/train.json",
    "checkpoints/last.safetensors",
];

/// Where the images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Phantoms, which the run draws.
    Demo,
    /// A folder of the user.
    Folder,
    /// Phantoms, for an experiment of four runs.
    Experiment,
}

/// One folder for all runs, which always have the same path because a run's settings contain paths; the reference run;
/// and copies of the data that runs start from.
pub(super) struct Ground {
    home: tempfile::TempDir,
    pub(super) source: Source,
    /// How long a run takes.
    pub(super) takes: Duration,
    /// Bytes of all files of a run.
    pub(super) bytes: u64,
}

impl Ground {
    /// Makes the reference run.
    ///
    /// # Errors
    /// The run fails, so there is nothing to compare others with.
    pub(super) fn new(source: Source, stop: &dyn Fn() -> bool) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("torture-").tempdir();
        let mut ground = Self {
            home: home.context("cannot make a temporary folder")?,
            source,
            takes: Duration::ZERO,
            bytes: 0,
        };
        fs::write(ground.file("tiny.toml"), PIPELINE)?;
        let pipeline = toml_string(&ground.file("tiny.toml"));
        let experiment = format!("[experiment]\npipeline = {pipeline}{EXPERIMENT}");
        fs::write(ground.file("tiny-folds.toml"), experiment)?;
        if source == Source::Folder {
            ground.make_data(stop)?;
        }
        ground.clear(false)?;
        let start = Instant::now();
        ground.good_run(stop)?;
        ground.takes = start.elapsed();
        let run = ground.finished_run().context("the run left no folder")?;
        ground.bytes = files(&ground.place())?
            .iter()
            .map(|f| ground.place().join(f))
            .map(|f| size(&f))
            .sum();
        fs::rename(run, ground.truth())?;
        if source != Source::Folder {
            fs::rename(ground.place().join(".phantom"), ground.file("phantom"))?;
        }
        Ok(ground)
    }

    fn good_run(&self, stop: &dyn Fn() -> bool) -> Result<()> {
        let ended = Running::start(self.command(false))?.end(stop)?;
        match ended.succeeded() || stop() {
            true => Ok(()),
            false => bail!("an undisturbed run fails: {}", ended.in_words()),
        }
    }

    /// Draws the phantoms of a run and keeps them as a user's data.
    fn make_data(&self, stop: &dyn Fn() -> bool) -> Result<()> {
        let mut command = self.command(false);
        command.args(["--set", "pipeline.stages=[\"index\"]", "--demo"]);
        let ended = Running::start(command)?.end(stop)?;
        let phantom = fs::read_dir(self.place().join(".phantom")).and_then(|mut entries| {
            entries
                .next()
                .unwrap_or_else(|| Err(std::io::ErrorKind::NotFound.into()))
        });
        let phantom =
            phantom.with_context(|| format!("no phantoms were made: {}", ended.in_words()))?;
        fs::rename(phantom.path(), self.file("phantom"))?;
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// `--out` of all runs.
    pub(super) fn place(&self) -> PathBuf {
        self.file("place")
    }

    fn truth(&self) -> PathBuf {
        self.file("truth")
    }

    /// The folder of the images of [`Source::Folder`].
    pub(super) fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// Empties the place and restores the images; with `phantoms`, those of the reference run are provided.
    pub(super) fn clear(&self, phantoms: bool) -> Result<()> {
        remove(&self.place())?;
        fs::create_dir_all(self.place())?;
        match self.source {
            Source::Folder => self.restore_data(),
            _ if phantoms => copy(&self.file("phantom"), &self.place().join(".phantom")),
            _ => Ok(()),
        }
    }

    /// Restores the user's images.
    pub(super) fn restore_data(&self) -> Result<()> {
        match self.file("phantom").is_dir() {
            true => {
                remove(&self.data())?;
                copy(&self.file("phantom"), &self.data())
            }
            false => Ok(()),
        }
    }

    /// The name of what runs, and of the folder of its runs.
    fn name(&self) -> &'static str {
        match self.source {
            Source::Experiment => "tiny-folds",
            _ => "tiny",
        }
    }

    /// This program on the tiny pipeline or experiment.
    pub(super) fn command(&self, resume: bool) -> Command {
        let this = std::env::current_exe().unwrap_or_else(|_| "xtask".into());
        let mut command = Command::new(this);
        let kind = match self.source {
            Source::Experiment => "experiment",
            _ => "pipeline",
        };
        command
            .arg(kind)
            .arg(self.file(&format!("{}.toml", self.name())))
            .arg("--out")
            .arg(self.place());
        if self.data().is_dir() {
            let masks = format!(
                "data.masks=\"{}\"",
                self.data().join("masks/opacity").display()
            );
            command
                .arg("--data")
                .arg(self.data().join("images"))
                .args(["--set", &masks]);
        } else if self.source != Source::Folder {
            command.arg("--demo");
        }
        if resume {
            command.arg("--resume");
        }
        command.stderr(Stdio::piped());
        command
    }

    /// Folders of runs.
    pub(super) fn runs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place().join(self.name()))
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let folders = entries
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .map(|e| e.path());
        let mut folders: Vec<_> = folders.collect();
        folders.sort();
        folders
    }

    fn finished_run(&self) -> Option<PathBuf> {
        self.runs()
            .into_iter()
            .rfind(|run| run.join("report.md").is_file())
    }

    /// Resumes the unfinished run, or starts a new one, and compares the result with the reference run.
    ///
    /// A run that was started on other data, because some were missing when they were indexed, must refuse to resume
    /// with all of them; a new run is started then.
    pub(super) fn settle(&self, stop: &dyn Fn() -> bool) -> Result<Settled> {
        let other_data = self.begun_on_other_data()?;
        let mut ended = Running::start(self.command(true))?.end(stop)?;
        let refused = match other_data {
            true => ended.said.contains("have changed since this run began"),
            false => ended.said.contains("no unfinished run"),
        };
        if !ended.succeeded() && refused && self.finished_run().is_none() {
            ended = Running::start(self.command(false))?.end(stop)?;
        }
        let none_left = ended.said.contains("no unfinished run") && self.finished_run().is_some();
        let wrong = match ended.succeeded() || none_left {
            false => Some(format!("resuming fails: {}", ended.in_words())),
            true => self.differences()?,
        };
        Ok(Settled { ended, wrong })
    }

    /// Whether the newest run was started on other images or masks than the reference run.
    pub(super) fn begun_on_other_data(&self) -> Result<bool> {
        let begun = self.runs().pop().map(|run| fingerprint(&run)).transpose()?;
        let begun = begun.flatten();
        Ok(begun.is_some() && begun != fingerprint(&self.truth())?)
    }

    /// How the finished run differs from the reference run; `None` if it does not.
    pub(super) fn differences(&self) -> Result<Option<String>> {
        match self.finished_run() {
            None => Ok(Some("no run has a report".into())),
            Some(run) => self.differences_of(&run),
        }
    }

    /// As [`Ground::differences`], for one of several runs.
    pub(super) fn differences_of(&self, run: &Path) -> Result<Option<String>> {
        // In an experiment, the files of a run are in a folder of its own.
        let above = usize::from(self.source == Source::Experiment);
        let mut wrong = differences(&self.truth(), run, above)?;
        wrong.extend(self.leftovers()?);
        Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
    }

    /// Temporary files next to runs and phantoms, and a `latest` that does not point to a run.
    fn leftovers(&self) -> Result<Vec<String>> {
        let is_left = |file: &&PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".tmp") || name.contains("partial") || name.starts_with(".latest")
        };
        let mut found: Vec<String> = files(&self.place())?
            .iter()
            .filter(is_left)
            .map(|file| format!("{} is left over", file.display()))
            .collect();
        if !self.place().join(self.name()).join("latest").exists() {
            found.push("latest does not point to a run".into());
        }
        Ok(found)
    }

    /// Keeps a copy of the place of a failed run for analysis.
    pub(super) fn keep(&self, failures: &Path, name: &str) -> Result<PathBuf> {
        let kept = failures.join("runs").join(name);
        remove(&kept)?;
        copy(&self.place(), &kept)?;
        Ok(kept)
    }
}

/// The hash of the data that a run was started on; `None` before they were indexed.
fn fingerprint(run: &Path) -> Result<Option<String>> {
    let Ok(text) = fs::read_to_string(run.join("run.json")) else {
        return Ok(None);
    };
    let record: serde_json::Value = serde_json::from_str(&text)?;
    Ok(record["data_fingerprint"].as_str().map(str::to_owned))
}

/// How a run's folder differs from that of the reference run; files with times are `above` levels below it.
fn differences(truth: &Path, run: &Path, above: usize) -> Result<Vec<String>> {
    let (known, found) = (files(truth)?, files(run)?);
    let missing = known
        .difference(&found)
        .map(|f| format!("{} is missing", f.display()));
    let extra = found
        .difference(&known)
        .map(|f| format!("{} is left over", f.display()));
    let mut wrong: Vec<String> = missing.chain(extra).collect();
    for file in known.intersection(&found) {
        let of_run: PathBuf = file.iter().skip(above).collect();
        let timed = TIMED.iter().any(|timed| of_run == Path::new(timed));
        if !timed && fs::read(truth.join(file))? != fs::read(run.join(file))? {
            wrong.push(format!("{} differs", file.display()));
        }
    }
    Ok(wrong)
}

/// The result of a disturbed run after resuming.
pub(super) struct Settled {
    pub(super) ended: Ended,
    /// How it differs from the reference run.
    pub(super) wrong: Option<String>,
}

/// A path as a string of TOML.
fn toml_string(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// Relative paths of everything below a folder that is not a folder itself.
fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in
            fs::read_dir(&next).with_context(|| format!("cannot list {}", next.display()))?
        {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => drop(found.insert(entry.path().strip_prefix(folder)?.to_owned())),
            }
        }
    }
    Ok(found)
}

fn size(file: &Path) -> u64 {
    fs::symlink_metadata(file).map_or(0, |m| m.len())
}

/// Copies a folder with its contents, links as links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for file in files(from)? {
        let (source, target) = (from.join(&file), to.join(&file));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::read_link(&source) {
            Ok(link) => std::os::unix::fs::symlink(link, &target)?,
            Err(_) => drop(
                fs::copy(&source, &target)
                    .with_context(|| format!("cannot copy {}", source.display()))?,
            ),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_reported_per_file() {
        let home = tempfile::tempdir().unwrap();
        let [truth, run] = ["truth", "run"].map(|name| home.path().join(name));
        for folder in [&truth, &run] {
            fs::create_dir_all(folder.join("sections")).unwrap();
            for file in ["metrics.json", "model.safetensors", "sections/train.json"] {
                fs::write(folder.join(file), "as it is").unwrap();
            }
        }
        fs::write(run.join("sections/train.json"), "other times").unwrap();
        assert_eq!(differences(&truth, &run, 0).unwrap(), Vec::<String>::new());
        fs::write(run.join("metrics.json"), "as it was").unwrap();
        fs::remove_file(run.join("model.safetensors")).unwrap();
        fs::write(run.join("sections/.a.tmp"), "").unwrap();
        let expected = [
            "model.safetensors is missing",
            "sections/.a.tmp is left over",
            "metrics.json differs",
        ];
        assert_eq!(differences(&truth, &run, 0).unwrap(), expected);
    }
}
