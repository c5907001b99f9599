//! What a process has predicted so far: a line of JSON per image, appended batch by batch.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use pipeline::predict::Prediction;
use serde::{Deserialize, Serialize};

/// A line of the journal, and of `predictions.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The image's number in the job, from 0.
    pub row: usize,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// A prediction; its files are named relative to the job's folder.
    Predicted(Box<Prediction>),
    /// The image could not be predicted.
    Failed {
        /// The file; characters that are not Unicode are replaced.
        image: String,
        /// Why.
        error: String,
    },
}

/// The part of a line that is needed to find where a killed process stopped.
#[derive(Deserialize)]
struct Numbered {
    row: usize,
    error: Option<String>,
}

/// A journal, open at its end.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Rows in it.
    pub(crate) rows: usize,
    /// Rows in it of images that could not be predicted.
    pub(crate) failed: usize,
}

impl Journal {
    /// Opens the journal of the given batches of row numbers, or begins it. What a killed process left after the last
    /// complete batch is cut off.
    pub(crate) fn open(path: &Path, batches: &[Vec<usize>]) -> Result<Self> {
        let unusable = || format!("cannot open {}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).with_context(unusable)?;
        let kept = complete(&file, batches).with_context(unusable)?;
        file.set_len(kept.bytes).with_context(unusable)?;
        file.seek(SeekFrom::End(0)).with_context(unusable)?;
        Ok(Journal {
            path: path.into(),
            file,
            rows: kept.rows,
            failed: kept.failed,
        })
    }

    /// Appends a batch; it is on the disk when this returns.
    pub(crate) fn append(&mut self, rows: &[Row]) -> Result<Vec<String>> {
        let lines: Vec<String> = rows.iter().map(line).collect::<Result<_>>()?;
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        let written = self.file.write_all(text.as_bytes());
        let written = written.and_then(|()| self.file.sync_data());
        written.with_context(|| {
            format!(
                "cannot write {} (is the disk full?); the same command goes on from there",
                self.path.display()
            )
        })?;
        self.rows += rows.len();
        self.failed += rows.iter().filter(|row| row.outcome.failed()).count();
        Ok(lines)
    }
}

impl Outcome {
    /// Whether the image could not be predicted.
    pub fn failed(&self) -> bool {
        matches!(self, Outcome::Failed { .. })
    }
}

fn line(row: &Row) -> Result<String> {
    let line = serde_json::to_string(row);
    line.with_context(|| format!("row {} cannot be written as JSON", row.row))
}

/// The batches that a journal has completely.
#[derive(Default)]
struct Kept {
    rows: usize,
    failed: usize,
    bytes: u64,
}

fn complete(file: &File, batches: &[Vec<usize>]) -> io::Result<Kept> {
    let mut reader = BufReader::new(file);
    let mut kept = Kept::default();
    for batch in batches {
        let (mut bytes, mut failed) = (0, 0);
        for &row in batch {
            let mut line = vec![];
            let length = reader.read_until(b'\n', &mut line)?;
            let whole = line.ends_with(b"\n");
            match serde_json::from_slice::<Numbered>(&line) {
                Ok(found) if whole && found.row == row => {
                    failed += usize::from(found.error.is_some());
                    bytes += length as u64;
                }
                _ => return Ok(kept),
            }
        }
        kept.rows += batch.len();
        kept.failed += failed;
        kept.bytes += bytes;
    }
    Ok(kept)
}

/// The number of rows in a journal that another process may be writing.
pub(crate) fn rows(path: &Path, batches: &[Vec<usize>]) -> Result<usize> {
    let unusable = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(unusable)?;
    Ok(complete(&file, batches).with_context(unusable)?.rows)
}

/// The lines of several journals, in the order of their rows.
pub(crate) struct Joined {
    parts: Vec<(PathBuf, io::Lines<BufReader<File>>)>,
}

impl Joined {
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self> {
        let open = |path: &PathBuf| {
            let file = File::open(path);
            let file = file.with_context(|| format!("cannot read {}", path.display()))?;
            Ok((path.clone(), BufReader::new(file).lines()))
        };
        let parts = paths.iter().map(open).collect::<Result<_>>()?;
        Ok(Joined { parts })
    }

    /// The next line of a part, which must be that of `row`.
    pub(crate) fn next(&mut self, part: usize, row: usize) -> Result<(String, Row)> {
        let (path, lines) = self.parts.get_mut(part).context("there is no such part")?;
        let line = lines.next().transpose();
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        let line = line.with_context(|| format!("{} ends before row {row}", path.display()))?;
        let found: Row = serde_json::from_str(&line)
            .with_context(|| format!("{}: the line of row {row} is damaged", path.display()))?;
        ensure!(
            found.row == row,
            "{} has row {} where row {row} is expected",
            path.display(),
            found.row
        );
        Ok((line, found))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn failed(row: usize) -> Row {
        let outcome = Outcome::Failed {
            image: format!("{row}.png"),
            error: "no image\nat all".into(),
        };
        Row { row, outcome }
    }

    #[test]
    fn a_journal_goes_on_after_its_last_complete_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1-of-1.jsonl");
        let batches = [vec![0, 1], vec![4, 5], vec![8]];
        let write = |journal: &mut Journal, batch: &[usize]| {
            let rows: Vec<Row> = batch.iter().map(|row| failed(*row)).collect();
            journal.append(&rows).unwrap();
        };
        let mut journal = Journal::open(&path, &batches).unwrap();
        batches.iter().for_each(|batch| write(&mut journal, batch));
        assert_eq!((journal.rows, journal.failed), (5, 5));
        let whole = std::fs::read(&path).unwrap();
        // Killed after any byte.
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(&path, &batches).unwrap();
            let rows = journal.rows;
            assert!(
                rows == 5 || rows.is_multiple_of(2),
                "{rows} rows after {cut} bytes"
            );
            for batch in batches.iter().skip(rows.div_ceil(2)) {
                write(&mut journal, batch);
            }
            assert_eq!(std::fs::read(&path).unwrap(), whole, "after {cut} bytes");
        }
        // A file of another list is not gone on with.
        let other = Journal::open(&path, &[vec![1, 2]]).unwrap();
        assert_eq!(other.rows, 0);
    }
}
