//! The record of every answer: hashes, classes and times, no pixels and no names.
//!
//! A log is a text file of JSON lines. It is only ever appended to, and each line has the SHA-256 of the line before it,
//! so that a line that is changed, inserted or removed later breaks the chain, which [`verify`] finds. Lines cut off at
//! the end are not found; where that matters, keep the last hash in another place.
//!
//! A line is on the disk before its answer is sent. A process that is killed while it writes leaves an incomplete line,
//! which stays; the line after it is then `started`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use files::{Lock, Locked, sha256};
use pipeline::predict::{ClassProbability, ClassShare, Prediction};
use serde::{Deserialize, Serialize};

/// What stands before the first line.
const NOTHING: &str = "";

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The service was started.
    Started {
        /// Version of the program.
        version: String,
        /// SHA-256 of the checkpoint.
        weights_sha256: String,
    },
    /// An image was predicted.
    Answered(Answered),
    /// An image could not be predicted.
    Refused {
        /// The request that it was part of.
        request: String,
        /// SHA-256 of the image's bytes.
        image_sha256: String,
        /// HTTP status.
        status: u16,
    },
    /// The service was stopped in order.
    Stopped,
}

/// What was answered about an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The request that it was part of.
    pub request: String,
    /// SHA-256 of the image's bytes.
    pub image_sha256: String,
    /// SHA-256 of the checkpoint.
    pub weights_sha256: String,
    /// The predicted class; `null` where the network only segments.
    pub class: Option<String>,
    /// Calibrated, per class.
    pub probabilities: Vec<ClassProbability>,
    /// The threshold of the positive class, as a probability.
    pub threshold: Option<f64>,
    /// What of the image each class covers; empty where the network was not trained on masks.
    pub shares: Vec<ClassShare>,
}

impl Answered {
    /// What the log keeps of a prediction.
    pub fn of(request: &str, prediction: &Prediction) -> Self {
        let shares = prediction
            .segmentation
            .iter()
            .flat_map(|found| &found.shares);
        Answered {
            request: request.into(),
            image_sha256: prediction.image_sha256.clone(),
            weights_sha256: prediction.weights_sha256.clone(),
            class: prediction.class.clone(),
            probabilities: prediction.probabilities.clone(),
            threshold: prediction.threshold,
            shares: shares.cloned().collect(),
        }
    }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it was written, in UTC.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// SHA-256 of the line before it, without its line feed; empty in the first line.
    pub previous: String,
}

/// A log that this process appends to.
pub(crate) struct Audit {
    path: PathBuf,
    file: File,
    /// Bytes of the lines that are complete.
    length: u64,
    last: String,
    /// Whether a line is incomplete that could not be removed.
    damaged: bool,
    _lock: Lock,
}

impl Audit {
    /// Opens a log after checking it, or begins one.
    ///
    /// # Errors
    /// Another process appends to it, its chain is broken, or it cannot be written.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot write the audit log {}", path.display());
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            files::create_folder(folder).with_context(cannot)?;
        }
        let lock = match Lock::try_at(&path.with_extension("lock")).with_context(cannot)? {
            Locked::Mine(lock) => lock,
            Locked::ByProcess(_) => bail!(
                "another process writes the audit log {}; give this one another file with --audit",
                path.display()
            ),
        };
        let end = if path.exists() {
            verify(path)?
        } else {
            End::default()
        };
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .with_context(cannot)?;
        if !end.complete {
            file.write_all(b"\n").with_context(cannot)?;
        }
        Ok(Audit {
            path: path.into(),
            length: file.metadata().with_context(cannot)?.len(),
            file,
            last: end.sha256,
            damaged: false,
            _lock: lock,
        })
    }

    /// Appends lines; they are on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written to, and the answers must not be sent.
    pub(crate) fn append(&mut self, events: impl IntoIterator<Item = Event>) -> Result<()> {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let (mut text, mut last) = (String::new(), self.last.clone());
        for event in events {
            let line = Line {
                time: time.clone(),
                event,
                previous: last,
            };
            let line = serde_json::to_string(&line)?;
            last = sha256::hex(line.as_bytes());
            text += &line;
            text.push('\n');
        }
        let cannot = || format!("cannot write the audit log {}", self.path.display());
        if self.damaged {
            bail!(
                "{}: a line is incomplete; start the service again",
                cannot()
            );
        }
        let written = self.file.write_all(text.as_bytes());
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            // What was written belongs to answers that are not sent; the next line would continue it.
            self.damaged = self.file.set_len(self.length).is_err();
            return Err(error).with_context(cannot);
        }
        (self.length, self.last) = (self.length + text.len() as u64, last);
        Ok(())
    }
}

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Number of lines.
    pub lines: usize,
    /// SHA-256 of the last line.
    pub sha256: String,
    /// Whether the last line ends with a line feed.
    pub complete: bool,
}

impl Default for End {
    fn default() -> Self {
        End {
            lines: 0,
            sha256: NOTHING.into(),
            complete: true,
        }
    }
}

/// Checks that no line of a log was changed, inserted or removed.
///
/// # Errors
/// The file cannot be read, or the first line at which the chain is broken.
pub fn verify(path: &Path) -> Result<End> {
    let cannot = || format!("cannot read the audit log {}", path.display());
    let mut reader = BufReader::new(File::open(path).with_context(cannot)?);
    let (mut end, mut torn, mut bytes) = (End::default(), false, vec![]);
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).with_context(cannot)? == 0 {
            return Ok(end);
        }
        end.complete = bytes.last() == Some(&b'\n');
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        end.lines += 1;
        torn = follows(text, &end.sha256, torn).with_context(|| {
            format!(
                "the audit log {} was changed at line {}",
                path.display(),
                end.lines
            )
        })?;
        end.sha256 = sha256::hex(text);
    }
}

/// Whether a line that follows one with this hash is incomplete.
fn follows(text: &[u8], last: &str, torn: bool) -> Result<bool> {
    let line: Line = match serde_json::from_slice(text) {
        Ok(line) => line,
        Err(_) if !torn => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    if line.previous != last {
        bail!("it does not follow the line before it");
    }
    if torn && !matches!(line.event, Event::Started { .. }) {
        bail!("the line before it is incomplete, but the service was not started again");
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Event {
        Event::Started {
            version: "1".into(),
            weights_sha256: "aa".into(),
        }
    }

    fn refused(image: &str) -> Event {
        Event::Refused {
            request: "r".into(),
            image_sha256: image.into(),
            status: 422,
        }
    }

    fn log() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        (folder, path)
    }

    #[test]
    fn lines_are_chained_over_restarts() {
        let (_folder, path) = log();
        Audit::open(&path)
            .unwrap()
            .append([started(), refused("x")])
            .unwrap();
        Audit::open(&path)
            .unwrap()
            .append([started(), Event::Stopped])
            .unwrap();
        let end = verify(&path).unwrap();
        assert_eq!((end.lines, end.complete), (4, true));
    }

    #[test]
    fn a_changed_removed_or_inserted_line_is_found() {
        let (_folder, path) = log();
        let events = [started(), refused("x"), refused("y"), Event::Stopped];
        Audit::open(&path).unwrap().append(events).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let check = |lines: &[&str], at: &str| {
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            let error = format!("{:#}", verify(&path).unwrap_err());
            assert!(error.contains(at), "{error}");
            assert!(Audit::open(&path).is_err());
        };
        let changed = lines[1].replace('x', "z");
        check(&[lines[0], &changed, lines[2], lines[3]], "line 3");
        check(&[lines[0], lines[2], lines[3]], "line 2");
        check(&[lines[0], lines[1], lines[1], lines[2]], "line 3");
        check(&["nonsense", lines[1]], "line 2");
    }

    #[test]
    fn an_incomplete_line_stays_and_is_followed_by_a_start() {
        let (_folder, path) = log();
        Audit::open(&path)
            .unwrap()
            .append([started(), refused("x")])
            .unwrap();
        let text = std::fs::read(&path).unwrap();
        for cut in 1..text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            Audit::open(&path).unwrap().append([started()]).unwrap();
            let end = verify(&path).unwrap();
            assert!(end.complete && end.lines >= 2, "{cut}");
            let now = std::fs::read(&path).unwrap();
            assert!(now.starts_with(&text[..cut]), "{cut}");
        }
    }

    /// `/dev/full` takes nothing, and cannot be shortened either.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_log_that_cannot_be_written_stays_as_it_was() {
        let (_folder, path) = log();
        let mut audit = Audit::open(&path).unwrap();
        audit.append([started()]).unwrap();
        let before = std::fs::read(&path).unwrap();
        let file = std::mem::replace(&mut audit.file, File::create("/dev/full").unwrap());
        assert!(audit.append([refused("x")]).is_err());
        let again = format!("{:#}", audit.append([refused("x")]).unwrap_err());
        assert!(again.contains("incomplete"), "{again}");
        // Where the file can be shortened, nothing is left of what was written, and the chain goes on.
        (audit.file, audit.damaged) = (file, false);
        audit.file.write_all(b"{\"time\": \"half a li").unwrap();
        audit.file.set_len(audit.length).unwrap();
        audit.append([Event::Stopped]).unwrap();
        assert_eq!(verify(&path).unwrap().lines, 2);
        assert!(std::fs::read(&path).unwrap().starts_with(&before));
    }

    #[test]
    fn one_process_at_a_time_appends() {
        let (_folder, path) = log();
        let _first = Audit::open(&path).unwrap();
        assert!(Audit::open(&path).is_err());
    }
}
