//! A run's folder: `runs/<pipeline>/<time>/`, which is enough to reproduce the run and to resume it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use files::{Lock, Locked};
use report::{Document, Figure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Seconds by stage.
pub(crate) const TIMINGS: &str = "timings.json";

/// The complete settings that the run was started with, as a pipeline file.
pub const RESOLVED: &str = "resolved.toml";
/// The record of the run: version, seed, data fingerprint, completed stages.
pub const RUN: &str = "run.json";

/// The folder of one run. All files in it are written whole or not at all.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

/// A run's folder, locked against other processes as long as this value exists.
#[derive(Debug)]
pub struct OwnRun {
    dir: RunDir,
    _lock: Lock,
}

/// The lock file. In a run's folder it is held by the process that works on the run; in the folder of all runs of a
/// pipeline, by the process that starts a run or moves `latest`.
const LOCK: &str = ".lock";

impl OwnRun {
    /// Creates the folder of a run that starts now. Folders of runs that were killed before they began are removed.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn create(runs: &Path, pipeline: &str) -> Result<Self> {
        let parent = runs.join(pipeline);
        make_folder(&parent)?;
        // A folder is created and locked while holding the parent's lock, so that one that is unlocked and contains no
        // run is a leftover.
        let _turn = turn(&parent)?;
        remove_unbegun(&parent);
        OwnRun::take(RunDir::create(&parent)?)
    }

    /// The newest unfinished run of a pipeline or experiment.
    ///
    /// # Errors
    /// There is none; another process has it, or has just finished it.
    pub fn newest_unfinished(runs: &Path, name: &str) -> Result<Self> {
        let run = OwnRun::take(RunDir::newest_unfinished(runs, name)?)?;
        if run.is_finished()? {
            bail!("another process has just finished {}", run.path().display());
        }
        Ok(run)
    }

    /// Locks a run for this process, and removes partially written files of a killed one.
    ///
    /// # Errors
    /// Another process holds the lock.
    pub(crate) fn take(dir: RunDir) -> Result<Self> {
        let path = dir.file(LOCK);
        match Lock::try_at(&path).map_err(|e| unwritable(e, "lock", &path))? {
            Locked::Mine(lock) => {
                files::sweep_tree(dir.path());
                Ok(OwnRun { dir, _lock: lock })
            }
            Locked::ByProcess(pid) => bail!(
                "{} is in use by {}: wait until it has ended, or stop it, before resuming",
                dir.path().display(),
                pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
            ),
        }
    }
}

impl Deref for OwnRun {
    type Target = RunDir;

    fn deref(&self) -> &RunDir {
        &self.dir
    }
}

/// `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Pipeline's name.
    pub pipeline: String,
    /// Version of this program.
    pub version: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// `cpu`, `cuda`.
    pub device: String,
    /// Operating system and processor family.
    pub platform: String,
    /// SHA-256 over classes, paths, labels and file contents; set by the first stage.
    pub data_fingerprint: Option<String>,
    /// Completed stages, in order.
    pub done: Vec<String>,
    /// Whether all stages are complete.
    pub finished: bool,
}

impl RunDir {
    fn create(parent: &Path) -> Result<Self> {
        let stamp = timestamp(SystemTime::now());
        for attempt in 1..1000 {
            let name = if attempt == 1 {
                stamp.clone()
            } else {
                format!("{stamp}-{attempt}")
            };
            let path = parent.join(name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    files::sync_folder(parent)
                        .map_err(|e| unwritable(e, "create the run folder", &path))?;
                    return Ok(RunDir { path });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(unwritable(e, "create the run folder", &path)),
            }
        }
        bail!(
            "{} already contains a thousand runs started in this second; try again",
            parent.display()
        )
    }

    /// A folder for results that are not those of a run, created if necessary.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn at(path: &Path) -> Result<Self> {
        make_folder(path)?;
        Ok(RunDir { path: path.into() })
    }

    /// Opens a folder that exists already (`latest` included).
    pub fn open(path: &Path) -> Result<Self> {
        let path = fs::canonicalize(path)
            .with_context(|| format!("no run folder at {}", path.display()))?;
        if path.is_dir() {
            return Ok(RunDir { path });
        }
        // Where symbolic links are not available, `latest` is a text file that contains the newest run's name.
        let name = fs::read_to_string(&path).unwrap_or_default();
        let target = path.with_file_name(name.trim());
        if !name.trim().is_empty() && target.is_dir() {
            return Ok(RunDir { path: target });
        }
        bail!("{} is not a run folder", path.display())
    }

    fn newest_unfinished(runs: &Path, name: &str) -> Result<Self> {
        let parent = runs.join(name);
        let listed = fs::read_dir(&parent)
            .map(|d| d.filter_map(|e| Some(e.ok()?.path())).collect::<Vec<_>>());
        let mut folders = listed.unwrap_or_default();
        folders.sort();
        let all = folders
            .iter()
            .rev()
            .filter(|p| !p.is_symlink() && p.join(RUN).is_file())
            .map(|p| RunDir { path: p.clone() });
        let unfinished = |run: &RunDir| run.is_finished().is_ok_and(|finished| !finished);
        all.into_iter().find(unfinished).ok_or_else(|| {
            anyhow!(
                "no unfinished run in {}: start one without --resume",
                parent.display()
            )
        })
    }

    /// What the records of runs and experiments have in common.
    fn is_finished(&self) -> Result<bool> {
        #[derive(Deserialize)]
        struct Record {
            finished: bool,
        }
        let record: Record = self.read_json(RUN)?;
        Ok(record.finished)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder in it, created if necessary.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        make_folder(&path)?;
        Ok(path)
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write(&self.file(name), bytes)
    }

    /// As [`RunDir::write`], as pretty-printed JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value)
            .with_context(|| format!("{name} cannot be written as JSON"))?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Saves a figure as `figures/<name>.png` and adds it to a section.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn figure(
        &self,
        section: &mut Document,
        name: &str,
        figure: &Figure,
        alt: &str,
        caption: &str,
    ) -> Result<()> {
        section.figure(&self.save_figure(name, figure)?, alt, caption);
        Ok(())
    }

    /// Saves a figure as `figures/<name>.png`, and returns this path.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn save_figure(&self, name: &str, figure: &Figure) -> Result<String> {
        self.folder("figures")?;
        let path = format!("figures/{name}.png");
        figure.save(&self.file(&path))?;
        Ok(path)
    }

    /// Reads a text file.
    pub fn read(&self, name: &str) -> Result<String> {
        let path = self.file(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Seconds by stage name.
    pub fn timings(&self) -> BTreeMap<String, f64> {
        self.read_json(TIMINGS).unwrap_or_default()
    }

    /// Reads JSON.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_str(&self.read(name)?)
            .with_context(|| format!("{} is damaged", self.file(name).display()))
    }

    /// `run.json`.
    pub fn record(&self) -> Result<RunRecord> {
        self.read_json(RUN)
    }

    /// Points `latest`, next to the run folders, at this one.
    pub fn link_latest(&self) -> Result<()> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        let (link, temporary) = (parent.join("latest"), parent.join(".latest"));
        let fail = |e| unwritable(e, "write", &link);
        // Under the lock, so that anything at the temporary name is a leftover of a killed process.
        let _turn = turn(parent)?;
        let _ = fs::remove_file(&temporary);
        match symlink(Path::new(name), &temporary) {
            Ok(()) => fs::rename(&temporary, &link)
                .and_then(|()| files::sync_folder(parent))
                .map_err(fail),
            Err(_) => write(&link, format!("{}\n", name.to_string_lossy()).as_bytes()),
        }
    }
}

/// Waits for the lock that allows starting runs in a folder.
fn turn(parent: &Path) -> Result<Lock> {
    let path = parent.join(LOCK);
    Lock::at(&path).map_err(|e| unwritable(e, "lock", &path))
}

/// Removes folders that a killed process created without beginning a run. What cannot be removed stays.
fn remove_unbegun(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten();
    let folders = entries.filter_map(|e| Some(e.ok()?.path()));
    for path in folders.filter(|p| p.is_dir() && !p.is_symlink() && !p.join(RUN).exists()) {
        let begun = |name: &str| name != LOCK && name != RESOLVED;
        if names(&path).iter().any(|name| begun(name)) {
            continue; // not a run's folder, or one whose record was deleted
        }
        if let Ok(Locked::Mine(_)) = Lock::try_at(&path.join(LOCK)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    files::sweep(folder);
    let entries = fs::read_dir(folder).into_iter().flatten();
    let name =
        |e: io::Result<fs::DirEntry>| Some(e.ok()?.file_name().to_string_lossy().into_owned());
    entries.filter_map(name).collect()
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    tracing::trace!(file = %path.display(), bytes = bytes.len(), "writing");
    files::write(path, bytes).map_err(|e| unwritable(e, "write", path))
}

pub(crate) fn make_folder(path: &Path) -> Result<()> {
    files::create_folder(path).map_err(|e| unwritable(e, "create the folder", path))
}

fn unwritable(error: io::Error, action: &str, path: &Path) -> anyhow::Error {
    let hint = "is the disk full? is the folder writable? choose another folder with --out DIR";
    anyhow::Error::new(error).context(format!("cannot {action} {} ({hint})", path.display()))
}

/// `2026-11-23T13-46-55Z`: sorts by time, and is a valid file name on every system.
pub fn timestamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}-{m:02}-{s:02}Z")
}

/// Days since 1970 to the Gregorian date (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (
        yoe + era * 400 + u64::from(month <= 2),
        month,
        doy - (153 * mp + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_are_dates() {
        // date -u -d @N +%FT%H-%M-%SZ
        let check = |seconds, expected: &str| {
            assert_eq!(
                timestamp(UNIX_EPOCH + Duration::from_secs(seconds)),
                expected
            );
        };
        check(0, "1970-01-01T00-00-00Z");
        check(951_782_400, "2000-02-29T00-00-00Z");
        check(1_735_689_599, "2024-12-31T23-59-59Z");
        check(4_107_542_400, "2100-03-01T00-00-00Z");
    }

    #[test]
    fn a_second_run_in_one_second_gets_its_own_folder_and_latest_follows() {
        let runs = tempfile::tempdir().unwrap();
        let first = OwnRun::create(runs.path(), "p").unwrap();
        first.link_latest().unwrap();
        let second = OwnRun::create(runs.path(), "p").unwrap();
        second.link_latest().unwrap();
        assert_ne!(first.path(), second.path());
        let latest = RunDir::open(&runs.path().join("p/latest")).unwrap();
        assert_eq!(latest.path(), fs::canonicalize(second.path()).unwrap());
    }

    #[test]
    fn a_run_has_one_owner_and_taking_it_removes_leftovers() {
        let runs = tempfile::tempdir().unwrap();
        let owner = OwnRun::create(runs.path(), "p").unwrap();
        let run = owner.dir.clone();
        let leftover = run.folder("sections").unwrap().join(".writing-1-0.tmp");
        fs::write(&leftover, "cut").unwrap();
        let error = OwnRun::take(run.clone()).unwrap_err().to_string();
        let pid = std::process::id().to_string();
        assert!(error.contains(&pid) && error.contains("in use"), "{error}");
        drop(owner);
        OwnRun::take(run).unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn folders_of_runs_that_never_began_are_removed() {
        let runs = tempfile::tempdir().unwrap();
        let parent = runs.path().join("p");
        let killed = OwnRun::create(runs.path(), "p").unwrap().dir;
        killed.write(RESOLVED, b"").unwrap();
        fs::write(killed.file(".writing-1-0.tmp"), "cut").unwrap();
        // Renamed, so that no run of this second gets the same name.
        let dead = parent.join("dead");
        fs::rename(killed.path(), &dead).unwrap();
        let living = OwnRun::create(runs.path(), "p").unwrap();
        fs::create_dir_all(parent.join("somebodys/notes")).unwrap();
        let begun = OwnRun::create(runs.path(), "p").unwrap().dir;
        begun.write_json(RUN, &RunRecord::default()).unwrap();
        let next = OwnRun::create(runs.path(), "p").unwrap();
        assert!(!dead.exists());
        for kept in [
            living.path(),
            begun.path(),
            next.path(),
            &parent.join("somebodys"),
        ] {
            assert!(kept.exists(), "{}", kept.display());
        }
    }

    /// Eight runs start at once, over the leftover of a killed one: none fails, and one becomes the latest.
    #[test]
    fn latest_is_one_of_the_runs_that_start_at_once() {
        let runs = tempfile::tempdir().unwrap();
        OwnRun::create(runs.path(), "p").unwrap();
        fs::write(runs.path().join("p/.latest"), "left").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let run = OwnRun::create(runs.path(), "p").unwrap();
                    run.link_latest().unwrap();
                });
            }
        });
        assert!(RunDir::open(&runs.path().join("p/latest")).is_ok());
        assert!(!runs.path().join("p/.latest").exists());
    }

    #[test]
    fn a_run_folder_that_cannot_be_created_is_named_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runs");
        fs::write(&file, "not a folder").unwrap();
        let error = OwnRun::create(&file, "p").unwrap_err().to_string();
        assert!(error.contains("runs") && error.contains("--out"), "{error}");
    }

    #[test]
    fn only_unfinished_runs_resume() {
        let runs = tempfile::tempdir().unwrap();
        assert!(
            RunDir::newest_unfinished(runs.path(), "p")
                .unwrap_err()
                .to_string()
                .contains("no unfinished run")
        );
        let run = OwnRun::create(runs.path(), "p").unwrap();
        let mut record = RunRecord::default();
        run.write_json(RUN, &record).unwrap();
        assert_eq!(
            RunDir::newest_unfinished(runs.path(), "p").unwrap().path(),
            run.path()
        );
        record.finished = true;
        run.write_json(RUN, &record).unwrap();
        assert!(RunDir::newest_unfinished(runs.path(), "p").is_err());
    }
}
