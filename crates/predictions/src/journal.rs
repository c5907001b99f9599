//! What a process has predicted so far: a line of JSON per image, appended batch by batch.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use files::sha256::Running;
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
    pub(crate) fn open(path: &Path, batches: impl Iterator<Item = Range<usize>>) -> Result<Self> {
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

fn complete(file: &File, batches: impl Iterator<Item = Range<usize>>) -> io::Result<Kept> {
    let mut reader = BufReader::new(file);
    let mut kept = Kept::default();
    for batch in batches {
        let (mut bytes, mut failed) = (0, 0);
        for row in batch.clone() {
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
pub(crate) fn rows(path: &Path, batches: impl Iterator<Item = Range<usize>>) -> Result<usize> {
    let unusable = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(unusable)?;
    Ok(complete(&file, batches).with_context(unusable)?.rows)
}

/// Bytes of all journals that are in memory at a time, about, and the least of one of them.
const PIECES: usize = 64 << 20;
const PIECE: usize = 1 << 14;

/// Longest line, in bytes.
const LINE: usize = 64 << 20;

/// The lines of several journals, in the order of their rows.
pub(crate) struct Journals(Vec<Lines>);

impl Journals {
    pub(crate) fn open(paths: Vec<PathBuf>) -> Self {
        let piece = (PIECES / paths.len().max(1)).clamp(PIECE, 1 << 20);
        let lines = paths.into_iter().map(|path| Lines::of(path, piece));
        Journals(lines.collect())
    }

    /// The next line of a journal, which must be that of `row`.
    pub(crate) fn next(&mut self, journal: usize, row: usize) -> Result<(&str, Row)> {
        let lines = self.0.get_mut(journal).context("there is no such part")?;
        let shown = lines.path.display().to_string();
        let line = lines
            .next()
            .with_context(|| format!("cannot read {shown}"))?;
        let line = line.with_context(|| format!("{shown} ends before row {row}"))?;
        let found: Row = serde_json::from_str(line)
            .with_context(|| format!("{shown}: the line of row {row} is damaged"))?;
        ensure!(
            found.row == row,
            "{shown} has row {} where row {row} is expected",
            found.row
        );
        Ok((line, found))
    }

    /// The SHA-256 of each journal.
    ///
    /// # Errors
    /// A journal has more lines.
    pub(crate) fn finish(self) -> Result<Vec<String>> {
        let sum = |mut lines: Lines| {
            let shown = lines.path.display().to_string();
            let more = lines
                .next()
                .with_context(|| format!("cannot read {shown}"))?;
            ensure!(more.is_none(), "{shown} goes on after its last row");
            Ok(lines.hash.hex())
        };
        self.0.into_iter().map(sum).collect()
    }
}

/// The lines of a file, which is open only while a piece of it is read: there may be more journals than files that a
/// process may have open.
struct Lines {
    path: PathBuf,
    piece: usize,
    /// What has been read and not been taken begins at `taken`.
    buffer: Vec<u8>,
    taken: usize,
    /// Bytes that have been read.
    read: u64,
    hash: Running,
}

impl Lines {
    fn of(path: PathBuf, piece: usize) -> Self {
        Lines {
            path,
            piece,
            buffer: vec![],
            taken: 0,
            read: 0,
            hash: Running::default(),
        }
    }

    /// The next line, without its end; an error if the last line has none.
    fn next(&mut self) -> io::Result<Option<&str>> {
        let length = loop {
            let rest = self.buffer.get(self.taken..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                break length;
            }
            let (empty, long) = (rest.is_empty(), rest.len() > LINE);
            match self.fill()? {
                true if long => return Err(io::Error::other("a line is too long")),
                true => {}
                false if empty => return Ok(None),
                false => return Err(io::Error::other("its last line is incomplete")),
            }
        };
        let line = self.taken..self.taken + length;
        self.taken = line.end + 1;
        let line = self.buffer.get(line).unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(io::Error::other)?;
        Ok(Some(line))
    }

    /// Reads a piece; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let before = self.buffer.len();
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let piece = u64::try_from(self.piece).unwrap_or(u64::MAX);
        let read = file.take(piece).read_to_end(&mut self.buffer)?;
        self.hash
            .update(self.buffer.get(before..).unwrap_or_default());
        self.read += read as u64;
        Ok(read > 0)
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
        let batches = [0..2, 4..6, 8..9];
        let open = || Journal::open(&path, batches.iter().cloned()).unwrap();
        let write = |journal: &mut Journal, batch: &Range<usize>| {
            let rows: Vec<Row> = batch.clone().map(failed).collect();
            journal.append(&rows).unwrap();
        };
        let mut journal = open();
        batches.iter().for_each(|batch| write(&mut journal, batch));
        assert_eq!((journal.rows, journal.failed), (5, 5));
        let whole = std::fs::read(&path).unwrap();
        // Killed after any byte.
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = open();
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
        let other = Journal::open(&path, std::iter::once(1..3)).unwrap();
        assert_eq!(other.rows, 0);
    }

    #[test]
    fn lines_are_read_in_pieces_of_any_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let text = "one\n\nthree is longer\nµ\n";
        std::fs::write(&path, text).unwrap();
        for piece in 1..=text.len() + 1 {
            let mut lines = Lines::of(path.clone(), piece);
            let mut found = String::new();
            while let Some(line) = lines.next().unwrap() {
                found = found + line + "\n";
            }
            assert_eq!(found, text, "pieces of {piece}");
            assert_eq!(lines.hash.hex(), files::sha256::hex(text.as_bytes()));
        }
        std::fs::write(&path, "one\ntw").unwrap();
        let mut lines = Lines::of(path, 3);
        assert_eq!(lines.next().unwrap(), Some("one"));
        assert!(lines.next().unwrap_err().to_string().contains("incomplete"));
    }
}
