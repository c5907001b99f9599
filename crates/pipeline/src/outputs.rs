//! Reads the tables that a run wrote: `predictions.csv` and `history.csv`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use dataset::Split;

use crate::run_dir::RunDir;

/// The class scores of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Path in the data folder.
    pub path: String,
    /// Its patient.
    pub patient: String,
    /// Its true class.
    pub label: usize,
    /// Scores before softmax, `[classes]`.
    pub logits: Vec<f64>,
}

/// A run's predictions for the images of a split, in the order of the file; `classes` are those of its `metrics.json`.
///
/// # Errors
/// A file that cannot be read, or is not one that a run with these classes wrote.
pub fn predictions(run: &RunDir, split: Split, classes: &[String]) -> Result<Vec<Prediction>> {
    let table = Csv::open(&run.file("predictions.csv"))?;
    let mut rows = vec![];
    table.each(|line| {
        if line.field("split")? != split.name() {
            return Ok(());
        }
        let class = line.field("class")?;
        let label = classes.iter().position(|name| name == class);
        let logits = classes.iter().map(|name| {
            let text = line.field(&format!("score_{name}"))?;
            let score: f32 = text
                .parse()
                .with_context(|| format!("{text:?} is not a number"))?;
            Ok(f64::from(score))
        });
        rows.push(Prediction {
            label: label.ok_or_else(|| anyhow!("class {class:?} is not in metrics.json"))?,
            logits: logits.collect::<Result<_>>()?,
            path: line.field("path")?.to_owned(),
            patient: line.field("patient")?.to_owned(),
        });
        Ok(())
    })?;
    Ok(rows)
}

/// A number per patient, in the order of their first image, for each prediction.
pub fn patients(rows: &[Prediction]) -> Vec<usize> {
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    let patients = rows.iter().map(|row| row.patient.as_str());
    patients
        .map(|patient| {
            let next = ids.len();
            *ids.entry(patient).or_insert(next)
        })
        .collect()
}

/// Columns of a run's training history, a row per epoch; NaN where a value is absent.
///
/// # Errors
/// A file that cannot be read or lacks a column.
pub fn history<const N: usize>(run: &RunDir, columns: [&str; N]) -> Result<Vec<[f64; N]>> {
    let mut epochs = vec![];
    Csv::open(&run.file("history.csv"))?.each(|line| {
        let mut row = [f64::NAN; N];
        for (value, column) in row.iter_mut().zip(columns) {
            *value = line.field(column)?.parse().unwrap_or(f64::NAN);
        }
        epochs.push(row);
        Ok(())
    })?;
    Ok(epochs)
}

/// A CSV table with a header, written by a run.
pub struct Csv {
    path: PathBuf,
    reader: csv::Reader<fs::File>,
    columns: BTreeMap<String, usize>,
}

/// A line of a [`Csv`].
pub struct Line<'a> {
    columns: &'a BTreeMap<String, usize>,
    record: &'a csv::StringRecord,
}

impl Csv {
    /// Opens a table that a run wrote.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
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

    /// Passes each line to `take`; an error names file and line.
    ///
    /// # Errors
    /// A line that is not CSV, or what `take` returns.
    pub fn each(mut self, mut take: impl FnMut(Line<'_>) -> Result<()>) -> Result<()> {
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
    /// The value of a column.
    ///
    /// # Errors
    /// There is no such column.
    pub fn field(&self, name: &str) -> Result<&str> {
        let column = self.columns.get(name).and_then(|i| self.record.get(*i));
        column.ok_or_else(|| anyhow!("there is no column {name:?}"))
    }
}
