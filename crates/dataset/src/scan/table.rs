//! A table that lists every image: path, mask, class, split, patient.

mod paths;

use std::collections::{BTreeMap, BTreeSet};

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::found::{Candidate, ClassFolder, Scan, one_class};
use crate::config::{CsvLayout, IndexConfig};
use crate::error::DatasetError;
use crate::left_out::BadImage;
use crate::manifest::COLUMNS;
use crate::mask::MaskPlace;
use crate::split_name::Split;
use paths::{Missing, Paths};

/// The table's rows as candidates.
pub(crate) fn scan(config: &IndexConfig, layout: &CsvLayout) -> Result<Scan, DatasetError> {
    read(config, layout).map_err(|reason| DatasetError::Csv {
        path: layout.file.clone(),
        reason,
    })
}

fn read(config: &IndexConfig, layout: &CsvLayout) -> Result<Scan, String> {
    let table = Table::read(&config.decoder.read(&layout.file)?, layout)?;
    let with_masks = config.masks.as_ref().map(|masks| &masks.place) == Some(&MaskPlace::Column);
    if with_masks && !table.has_masks {
        return Err("there is no mask column; name it in csv.mask".to_owned());
    }
    let classes = classes(config, &table)?;
    let mut reading = Reading {
        config,
        paths: Paths::new(&config.root),
        labels: table.has_classes.then(|| classes.clone()),
        scan: Scan {
            classes,
            ..Scan::default()
        },
        lines: BTreeMap::new(),
        groups: BTreeSet::new(),
    };
    for row in &table.rows {
        let added = reading.add(row);
        added.map_err(|reason| format!("line {}: {reason}", row.line))?;
    }
    let folder = |(class, split)| ClassFolder {
        split,
        class,
        folder: layout.file.clone(),
    };
    let mut scan = reading.scan;
    refuse_absent(&scan, config)?;
    scan.folders = reading.groups.into_iter().map(folder).collect();
    Ok(scan)
}

/// The conversion of rows to candidates.
struct Reading<'c> {
    config: &'c IndexConfig,
    paths: Paths<'c>,
    /// The classes, if the table has a column for them.
    labels: Option<Vec<String>>,
    scan: Scan,
    /// The line of each path.
    lines: BTreeMap<String, u64>,
    /// Each class and split in the table; each must keep an image.
    groups: BTreeSet<(usize, Option<Split>)>,
}

impl Reading<'_> {
    /// The error is the reason as text.
    fn add(&mut self, row: &Row) -> Result<(), String> {
        let text = row.path.as_ref().ok_or("the path is empty")?;
        let found = self.paths.find(text);
        let path = found.as_ref().unwrap_or(text).clone();
        let candidate = self.candidate(row, path)?;
        self.groups.insert((candidate.class, candidate.split));
        match found {
            Ok(path) => match self.lines.insert(path, row.line) {
                None => self.scan.candidates.push(candidate),
                Some(first) => {
                    let path = candidate.path;
                    return Err(format!("{path} is listed twice, first in line {first}"));
                }
            },
            Err(Missing::Refused(reason)) => return Err(reason),
            Err(Missing::Absent(reason)) => self.scan.unreadable.push(BadImage {
                path: text.clone(),
                reason: format!("line {}: {reason}", row.line),
            }),
        }
        Ok(())
    }

    fn candidate(&self, row: &Row, path: String) -> Result<Candidate, String> {
        let root = &self.config.root;
        let mask = row.mask.as_deref().map(|mask| self.paths.inside(mask));
        let mask = mask.transpose()?;
        let there = mask.iter().filter(|mask| root.join(mask).is_file());
        Ok(Candidate {
            split: row.split.as_deref().map(split).transpose()?,
            class: match &self.labels {
                Some(classes) => label(row.class.as_deref(), classes)?,
                None => 0,
            },
            file: root.join(&path),
            path,
            masks: there.cloned().collect(),
            expected_mask: mask,
            patient: row.patient.clone(),
            attributes: row.attributes.clone(),
            ..Candidate::default()
        })
    }
}

/// If no row leads to a file, the table as a whole is wrong, not its rows.
fn refuse_absent(scan: &Scan, config: &IndexConfig) -> Result<(), String> {
    match scan.unreadable.first() {
        Some(first) if scan.candidates.is_empty() => Err(format!(
            "none of its {} paths leads to a file; {}: {}. Paths are relative to {}",
            scan.unreadable.len(),
            first.path,
            first.reason,
            config.root.display()
        )),
        _ => Ok(()),
    }
}

/// Trimmed cells, `None` if empty or if there is no such column.
struct Row {
    /// Where it begins; a quoted cell may span several lines.
    line: u64,
    path: Option<String>,
    mask: Option<String>,
    class: Option<String>,
    split: Option<String>,
    patient: Option<String>,
    attributes: BTreeMap<String, String>,
}

struct Table {
    rows: Vec<Row>,
    has_masks: bool,
    has_classes: bool,
}

impl Table {
    fn read(bytes: &[u8], layout: &CsvLayout) -> Result<Self, String> {
        let text = utf8(bytes)?;
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter(text))
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(in_words)?.clone();
        let column = |key: &str, named: &Option<String>| column(&header, key, named);
        let path = column("path", &layout.path)?;
        let path = path.ok_or_else(|| missing_column(&header, "path", "path"))?;
        let [mask, class, split, patient] = [
            column("mask", &layout.mask)?,
            column("class", &layout.class)?,
            column("split", &layout.split)?,
            column("patient", &layout.patient)?,
        ];
        let attributes = attributes(&header, &layout.attributes)?;
        let row = |record: StringRecord| {
            let cell = |column: Option<usize>| {
                let cell = record.get(column?)?.trim();
                (!cell.is_empty()).then(|| cell.to_owned())
            };
            Row {
                line: record.position().map_or(0, csv::Position::line),
                path: cell(Some(path)),
                mask: cell(mask),
                class: cell(class),
                split: cell(split),
                patient: cell(patient),
                attributes: attributes
                    .iter()
                    .filter_map(|(name, column)| Some((name.clone(), cell(Some(*column))?)))
                    .collect(),
            }
        };
        let rows = reader.records().map(|record| record.map(row));
        Ok(Self {
            rows: rows.collect::<Result<_, _>>().map_err(in_words)?,
            has_masks: mask.is_some(),
            has_classes: class.is_some(),
        })
    }
}

/// The text without the byte order mark that some programs write first.
fn utf8(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err("it is UTF-16; save it as UTF-8".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        format!("line {line} is not UTF-8; save the table as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text))
}

/// A comma or, if the header has none, a semicolon or tab, as spreadsheets write in locales with a
/// decimal comma.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let others = [b';', b'\t'].into_iter();
    let mut present = others.filter(|&other| header.contains(char::from(other)));
    match header.contains(',') {
        true => b',',
        false => present.next().unwrap_or(b','),
    }
}

fn in_words(error: csv::Error) -> String {
    match error.kind() {
        ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => format!(
            "line {}: it has {len} fields but the header has {expected_len}; put fields with a \
             comma in quotes",
            pos.as_ref().map_or(0, csv::Position::line)
        ),
        _ => error.to_string(),
    }
}

/// The column that is named for a key, otherwise the one with the key's name, if it exists.
fn column(
    header: &StringRecord,
    key: &str,
    named: &Option<String>,
) -> Result<Option<usize>, String> {
    let name = named.as_deref().unwrap_or(key);
    let found = header.iter().position(|column| column.trim() == name);
    match (found, named) {
        (None, Some(_)) => Err(missing_column(header, key, name)),
        _ => Ok(found),
    }
}

/// The columns of attributes by their names.
fn attributes(header: &StringRecord, names: &[String]) -> Result<Vec<(String, usize)>, String> {
    let attribute = |name: &String| {
        if COLUMNS.contains(&name.as_str()) {
            return Err(format!(
                "csv.attributes names {name:?}, which the manifest has already; rename the column"
            ));
        }
        let found = header.iter().position(|column| column.trim() == name);
        let found = found.ok_or_else(|| missing_column(header, "attributes", name))?;
        Ok((name.clone(), found))
    };
    names.iter().map(attribute).collect()
}

fn missing_column(header: &StringRecord, key: &str, name: &str) -> String {
    let names: Vec<&str> = header.iter().collect();
    let names = names.join(", ");
    format!("no column {name:?}; there are {names}: name the right one in csv.{key}")
}

fn classes(config: &IndexConfig, table: &Table) -> Result<Vec<String>, String> {
    if !table.has_classes {
        return one_class(config).map_err(|error| error.to_string());
    }
    if !config.classes.is_empty() {
        return Ok(config.classes.clone());
    }
    let found: BTreeSet<&String> = table.rows.iter().filter_map(|r| r.class.as_ref()).collect();
    if found.is_empty() {
        return Err("no row has a class".to_owned());
    }
    Ok(found.into_iter().cloned().collect())
}

fn label(name: Option<&str>, classes: &[String]) -> Result<usize, String> {
    let name = name.ok_or("the class is empty")?;
    let found = classes.iter().position(|class| class == name);
    found.ok_or_else(|| format!("{name:?} is not a class; there are {}", classes.join(", ")))
}

fn split(name: &str) -> Result<Split, String> {
    match name.to_lowercase().as_str() {
        "train" | "training" => Ok(Split::Train),
        "val" | "valid" | "validation" => Ok(Split::Val),
        "test" | "testing" => Ok(Split::Test),
        _ => Err(format!(
            "{name:?} is not a split; it may be train, val or test"
        )),
    }
}
