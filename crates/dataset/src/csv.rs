//! A table that names every image: path, mask, class, split, patient.

use std::collections::BTreeSet;
use std::path::Path;

use polars::prelude::*;

use crate::mask::MaskPlace;
use crate::scan::{Candidate, ClassFolder, Scan, one_class};
use crate::{CsvLayout, DatasetError, IndexConfig, Split};

/// The table's rows as candidates.
pub(crate) fn scan(config: &IndexConfig, layout: &CsvLayout) -> Result<Scan, DatasetError> {
    let fail = |reason: String| DatasetError::Csv {
        path: layout.file.clone(),
        reason,
    };
    let table = Table::read(layout).map_err(fail)?;
    let classes = match &table.class {
        Some(column) => classes(config, column).map_err(fail)?,
        None => one_class(config)?,
    };
    let with_masks = config.masks.as_ref().map(|masks| &masks.place) == Some(&MaskPlace::Column);
    if with_masks && table.mask.is_none() {
        return Err(fail("there is no mask column".to_owned()));
    }
    let mut scan = Scan {
        classes,
        ..Scan::default()
    };
    for row in 0..table.path.len() {
        let candidate = table.candidate(row, config, &scan.classes);
        // The header is line 1.
        scan.candidates
            .push(candidate.map_err(|reason| fail(format!("line {}: {reason}", row + 2)))?);
    }
    refuse_twice(&scan.candidates).map_err(fail)?;
    scan.folders = (0..scan.classes.len())
        .flat_map(|class| groups(&scan, class, &layout.file))
        .collect();
    Ok(scan)
}

/// Every class in every split that the table has must keep an image.
fn groups(scan: &Scan, class: usize, file: &Path) -> Vec<ClassFolder> {
    let of_class = scan.candidates.iter().filter(|c| c.class == class);
    let splits: BTreeSet<Option<Split>> = of_class.map(|c| c.split).collect();
    let group = |split| ClassFolder {
        split,
        class,
        folder: file.to_owned(),
    };
    splits.into_iter().map(group).collect()
}

type Texts = Vec<Option<String>>;

struct Table {
    path: Texts,
    mask: Option<Texts>,
    class: Option<Texts>,
    split: Option<Texts>,
    patient: Option<Texts>,
}

impl Table {
    fn read(layout: &CsvLayout) -> Result<Self, String> {
        let text = |error: PolarsError| error.to_string();
        // Schema inference off: `007` is a patient, not a number.
        let frame = CsvReadOptions::default()
            .with_infer_schema_length(Some(0))
            .try_into_reader_with_file_path(Some(layout.file.clone()))
            .and_then(CsvReader::finish)
            .map_err(text)?;
        let column = |named: &Option<String>, usual: &str| texts(&frame, named, usual);
        let path = layout.path.clone().unwrap_or_else(|| "path".to_owned());
        Ok(Self {
            path: column(&Some(path), "path")?.unwrap_or_default(),
            mask: column(&layout.mask, "mask")?,
            class: column(&layout.class, "class")?,
            split: column(&layout.split, "split")?,
            patient: column(&layout.patient, "patient")?,
        })
    }

    fn candidate(
        &self,
        row: usize,
        config: &IndexConfig,
        classes: &[String],
    ) -> Result<Candidate, String> {
        let path = self.path[row].clone().ok_or("the path is empty")?;
        if Path::new(&path).is_absolute() {
            return Err(format!("{path} must be relative to the data folder"));
        }
        let class = match &self.class {
            None => 0,
            Some(column) => label(column[row].as_deref(), classes)?,
        };
        Ok(Candidate {
            split: cell(&self.split, row).map(|s| split(&s)).transpose()?,
            class,
            file: config.root.join(&path),
            path,
            mask: cell(&self.mask, row),
            patient: cell(&self.patient, row),
        })
    }
}

fn cell(column: &Option<Texts>, row: usize) -> Option<String> {
    column.as_ref()?.get(row)?.clone()
}

/// A column's trimmed texts, `None` where a cell is empty.
fn texts(frame: &DataFrame, named: &Option<String>, usual: &str) -> Result<Option<Texts>, String> {
    let name = named.as_deref().unwrap_or(usual);
    let Ok(column) = frame.column(name) else {
        let names: Vec<&str> = frame
            .get_column_names()
            .iter()
            .map(|n| n.as_str())
            .collect();
        return match named {
            Some(_) => Err(format!(
                "no column {name:?}; there are {}",
                names.join(", ")
            )),
            None => Ok(None),
        };
    };
    let column = column.str().map_err(|error| error.to_string())?;
    let text = |cell: Option<&str>| {
        let cell = cell.map(str::trim).filter(|cell| !cell.is_empty());
        cell.map(str::to_owned)
    };
    Ok(Some(column.iter().map(text).collect()))
}

fn classes(config: &IndexConfig, column: &Texts) -> Result<Vec<String>, String> {
    if !config.classes.is_empty() {
        return Ok(config.classes.clone());
    }
    let found: BTreeSet<&String> = column.iter().flatten().collect();
    if found.is_empty() {
        return Err("no row has a class".to_owned());
    }
    Ok(found.into_iter().cloned().collect())
}

fn label(name: Option<&str>, classes: &[String]) -> Result<usize, String> {
    let name = name.ok_or("the class is empty")?;
    let found = classes.iter().position(|class| class == name);
    found.ok_or_else(|| format!("{name:?} is no class; there are {}", classes.join(", ")))
}

fn split(name: &str) -> Result<Split, String> {
    match name.to_lowercase().as_str() {
        "train" | "training" => Ok(Split::Train),
        "val" | "valid" | "validation" => Ok(Split::Val),
        "test" | "testing" => Ok(Split::Test),
        _ => Err(format!(
            "{name:?} is no split; it may be train, val or test"
        )),
    }
}

fn refuse_twice(candidates: &[Candidate]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match candidates.iter().find(|c| !seen.insert(&c.path)) {
        None => Ok(()),
        Some(twice) => Err(format!("{} stands twice", twice.path)),
    }
}
