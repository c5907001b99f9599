//! Reads the tables that runs write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

/// A CSV table with a header, written by a run.
pub(crate) struct Csv {
    path: PathBuf,
    reader: csv::Reader<fs::File>,
    columns: BTreeMap<String, usize>,
}

/// A row of it.
pub(crate) struct Line<'a> {
    columns: &'a BTreeMap<String, usize>,
    record: &'a csv::StringRecord,
}

impl Csv {
    /// Opens a table and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let mut reader = csv::Reader::from_path(path).with_context(cannot)?;
        let header = reader.headers().with_context(cannot)?.iter();
        let columns = header
            .enumerate()
            .map(|(i, name)| (name.to_owned(), i))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            reader,
            columns,
        })
    }

    /// Calls `take` for each row; errors name the file and the line.
    pub(crate) fn each(mut self, mut take: impl FnMut(Line<'_>) -> Result<()>) -> Result<()> {
        let mut record = csv::StringRecord::new();
        let at = |reader: &csv::Reader<fs::File>, path: &Path| {
            format!("{}, line {}", path.display(), reader.position().line())
        };
        loop {
            let more = self.reader.read_record(&mut record);
            if !more.with_context(|| at(&self.reader, &self.path))? {
                return Ok(());
            }
            let line = Line {
                columns: &self.columns,
                record: &record,
            };
            take(line).with_context(|| at(&self.reader, &self.path))?;
        }
    }
}

impl Line<'_> {
    /// The cell in the column of this name.
    pub(crate) fn field(&self, name: &str) -> Result<&str> {
        let column = self.columns.get(name).and_then(|i| self.record.get(*i));
        column.ok_or_else(|| anyhow!("there is no column {name:?}"))
    }
}
