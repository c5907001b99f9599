//! A table that lists every image: path, mask, class, split, patient.

mod labels;
mod paths;
pub(crate) mod text;
mod unlisted;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::found::{Candidate, ClassFolder, Scan, one_class};
use crate::config::{CsvLayout, IndexConfig};
use crate::error::DatasetError;
use crate::left_out::{BadImage, Reason};
use crate::manifest::COLUMNS;
use crate::mask::MaskPlace;
use crate::split_name::Split;
use crate::words::did_you_mean;
use labels::{LabelCells, Labels, NoClass, RowLabels, Sign};
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
    let places = config.masks.iter().flat_map(|masks| &masks.places);
    if places.into_iter().any(|place| *place == MaskPlace::Column) && !table.has_masks {
        return Err("there is no mask column; name it in csv.mask".to_owned());
    }
    let classes = classes(config, layout, &table)?;
    let mut reading = Reading {
        config,
        paths: Paths::new(&config.root),
        labels: table.labelled(layout, &classes),
        scan: Scan {
            remarks: table.guessed(layout).into_iter().collect(),
            ..Scan::default()
        },
        lines: BTreeMap::new(),
        groups: BTreeSet::new(),
        no_class: BTreeMap::new(),
        passed_over: HashSet::new(),
    };
    for row in &table.rows {
        let added = reading.add(row);
        added.map_err(|reason| format!("line {}: {reason}", row.line))?;
    }
    reading.refuse_absent_classes(&classes)?;
    let folder = |(class, split)| ClassFolder {
        split,
        class,
        folder: layout.file.clone(),
    };
    let mut scan = reading.scan;
    refuse_absent(&scan, config)?;
    scan.folders = reading.groups.into_iter().map(folder).collect();
    unlisted::count(&mut scan, config, &reading.passed_over);
    scan.classes = classes;
    Ok(scan)
}

/// How rows get their classes.
enum Labelling<'c> {
    /// There is one class.
    None,
    /// By the class column.
    Classes(&'c [String]),
    /// By labels that the settings convert.
    Labels(Labels<'c>),
}

/// The conversion of rows to candidates.
struct Reading<'c> {
    config: &'c IndexConfig,
    paths: Paths<'c>,
    labels: Labelling<'c>,
    scan: Scan,
    /// The line of each path.
    lines: BTreeMap<String, u64>,
    /// Each class and split in the table; each must keep an image.
    groups: BTreeSet<(usize, Option<Split>)>,
    /// Number of rows that are left out for want of a class.
    no_class: BTreeMap<NoClass, usize>,
    /// Their images.
    passed_over: HashSet<String>,
}

impl Reading<'_> {
    /// The error is the reason as text.
    fn add(&mut self, row: &Row) -> Result<(), String> {
        let text = row.path.as_ref().ok_or("the path is empty")?;
        let class = match self.class(row)? {
            Ok(class) => class,
            Err(why) => {
                *self.no_class.entry(why).or_default() += 1;
                self.passed_over.extend(self.paths.find(text));
                self.scan
                    .left_out
                    .add(Reason::Label, why.text(), text.clone());
                return Ok(());
            }
        };
        let found = self.paths.find(text);
        let path = found.as_ref().unwrap_or(text).clone();
        let candidate = self.candidate(row, class, path)?;
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

    fn class(&self, row: &Row) -> Result<Result<usize, NoClass>, String> {
        match &self.labels {
            Labelling::None => Ok(Ok(0)),
            Labelling::Classes(classes) => label(&row.labels, classes).map(Ok),
            Labelling::Labels(labels) => Ok(labels.class(&row.labels)),
        }
    }

    fn candidate(&self, row: &Row, class: usize, path: String) -> Result<Candidate, String> {
        let root = &self.config.root;
        let mask = row.mask.as_deref().map(|mask| self.paths.inside(mask));
        let mask = mask.transpose()?;
        let there = mask.iter().filter(|mask| root.join(mask).is_file());
        Ok(Candidate {
            split: row.split.as_deref().map(split).transpose()?,
            class,
            file: root.join(&path),
            path,
            masks: there.cloned().collect(),
            expected_mask: mask,
            patient: row.patient.clone(),
            attributes: row.attributes.clone(),
            ..Candidate::default()
        })
    }

    /// If labels are converted, a class of which no row is left is a mistake in their settings.
    fn refuse_absent_classes(&self, classes: &[String]) -> Result<(), String> {
        let has = |class: usize| self.groups.iter().any(|(group, _)| *group == class);
        let absent = (0..classes.len()).find(|class| !has(*class));
        let (Labelling::Labels(_), Some(class), false) =
            (&self.labels, absent, self.config.incomplete)
        else {
            return Ok(());
        };
        let left_out = self
            .no_class
            .iter()
            .map(|(why, n)| format!("{n} {}", why.text()));
        let left_out: Vec<String> = left_out.collect();
        Err(match left_out.is_empty() {
            true => format!(
                "no row has the class {:?}; check csv.labels",
                classes[class]
            ),
            false => format!(
                "no row has the class {:?}; left out are {}: check csv.labels, csv.precedence, csv.otherwise, \
                 csv.uncertain and csv.blank",
                classes[class],
                left_out.join(", ")
            ),
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
    labels: RowLabels,
    split: Option<String>,
    patient: Option<String>,
    attributes: BTreeMap<String, String>,
}

struct Table {
    rows: Vec<Row>,
    has_masks: bool,
    has_labels: bool,
    /// The first line that is not UTF-8.
    guessed: Option<usize>,
}

impl Table {
    fn read(bytes: &[u8], layout: &CsvLayout) -> Result<Self, String> {
        let decoded = text::decode(bytes)?;
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter(&decoded.text))
            .from_reader(decoded.text.as_bytes());
        let header = reader.headers().map_err(in_words)?.clone();
        let columns = Columns::find(&header, layout)?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(in_words)?;
            let line = record.position().map_or(0, csv::Position::line);
            let row = columns.row(&record, line);
            rows.push(row.map_err(|reason| format!("line {line}: {reason}"))?);
        }
        Ok(Self {
            rows,
            has_masks: columns.mask.is_some(),
            has_labels: columns.labels.is_some(),
            guessed: decoded.guessed,
        })
    }

    fn labelled<'c>(&self, layout: &'c CsvLayout, classes: &'c [String]) -> Labelling<'c> {
        match (self.has_labels, layout.labels.is_used()) {
            (false, _) => Labelling::None,
            (true, false) => Labelling::Classes(classes),
            (true, true) => Labelling::Labels(Labels::new(&layout.labels, classes)),
        }
    }

    /// The distinct labels.
    fn labels(&self) -> BTreeSet<&str> {
        let labels = self.rows.iter().flat_map(|row| &row.labels);
        let labels = labels.map(|(label, _)| label.as_ref());
        labels.filter(|label| !label.is_empty()).collect()
    }

    fn guessed(&self, layout: &CsvLayout) -> Option<String> {
        let line = self.guessed?;
        Some(format!(
            "{} is not UTF-8 (first in line {line}) and was read as Windows-1252 (Latin-1): if names have wrong \
             characters, save it as UTF-8.",
            layout.file.display()
        ))
    }
}

/// Where a table has what.
struct Columns {
    path: usize,
    mask: Option<usize>,
    labels: Option<LabelCells>,
    split: Option<usize>,
    patient: Option<usize>,
    attributes: Vec<(String, usize)>,
}

impl Columns {
    fn find(header: &StringRecord, layout: &CsvLayout) -> Result<Self, String> {
        let column = |key: &str, named: &Option<String>| column(header, key, named);
        let path = column("path", &layout.path)?;
        Ok(Self {
            path: path.ok_or_else(|| missing_column(header, "path", "path"))?,
            mask: column("mask", &layout.mask)?,
            labels: label_cells(header, layout)?,
            split: column("split", &layout.split)?,
            patient: column("patient", &layout.patient)?,
            attributes: attributes(header, &layout.attributes)?,
        })
    }

    fn row(&self, record: &StringRecord, line: u64) -> Result<Row, String> {
        let cell = |column: Option<usize>| {
            let cell = record.get(column?)?.trim();
            (!cell.is_empty()).then(|| cell.to_owned())
        };
        let labels = self.labels.as_ref().map(|labels| labels.read(record));
        let attribute =
            |(name, column): &(String, usize)| Some((name.clone(), cell(Some(*column))?));
        Ok(Row {
            line,
            path: cell(Some(self.path)),
            mask: cell(self.mask),
            labels: labels.transpose()?.unwrap_or_default(),
            split: cell(self.split),
            patient: cell(self.patient),
            attributes: self.attributes.iter().filter_map(attribute).collect(),
        })
    }
}

/// Where the labels are: in columns of their own, or in the class column if there is one.
fn label_cells(header: &StringRecord, layout: &CsvLayout) -> Result<Option<LabelCells>, String> {
    let labels = &layout.labels;
    if !labels.columns.is_empty() {
        let found =
            |name: &String| Ok((name.as_str().into(), named_column(header, "class", name)?));
        let columns = labels.columns.iter().map(found);
        return Ok(Some(LabelCells::Columns(
            columns.collect::<Result<_, String>>()?,
        )));
    }
    let class = column(header, "class", &layout.class)?;
    match class {
        None if labels.is_used() => Err(missing_column(header, "class", "class")),
        class => Ok(class.map(|column| LabelCells::Names(column, labels.separator.clone()))),
    }
}

/// A comma or, if the header has none, a semicolon or tab, as spreadsheets write in locales with a
/// decimal comma. Those in quotes do not count.
fn delimiter(text: &str) -> u8 {
    let mut quoted = false;
    let plain = text.bytes().filter(|&byte| {
        quoted ^= byte == b'"';
        !quoted
    });
    let header: Vec<u8> = plain.take_while(|byte| !b"\r\n".contains(byte)).collect();
    let known = [b',', b';', b'\t'].into_iter();
    let mut present = known.filter(|delimiter| header.contains(delimiter));
    present.next().unwrap_or(b',')
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
        Ok((name.clone(), named_column(header, "attributes", name)?))
    };
    names.iter().map(attribute).collect()
}

fn named_column(header: &StringRecord, key: &str, name: &str) -> Result<usize, String> {
    let found = header.iter().position(|column| column.trim() == name);
    found.ok_or_else(|| missing_column(header, key, name))
}

fn missing_column(header: &StringRecord, key: &str, name: &str) -> String {
    let names: Vec<&str> = header.iter().map(str::trim).collect();
    let hint = did_you_mean(name, &names);
    let names = names.join(", ");
    format!("no column {name:?}{hint}; there are {names}: name the right one in csv.{key}")
}

fn classes(config: &IndexConfig, layout: &CsvLayout, table: &Table) -> Result<Vec<String>, String> {
    if !table.has_labels {
        return one_class(config).map_err(|error| error.to_string());
    }
    let found = table.labels();
    if found.is_empty() && layout.labels.is_used() {
        return Err("no row has a label".to_owned());
    }
    if !config.incomplete {
        labels::check(&layout.labels, &found)?;
    }
    if !config.classes.is_empty() {
        return Ok(config.classes.clone());
    }
    let classes = labels::classes(&layout.labels, &found);
    if classes.is_empty() {
        return Err("no row has a class".to_owned());
    }
    Ok(classes)
}

/// The class that the class column names.
fn label(labels: &RowLabels, classes: &[String]) -> Result<usize, String> {
    let named = labels.iter().find(|(_, sign)| *sign == Sign::Positive);
    let (name, _) = named.ok_or("the class is empty")?;
    let found = classes.iter().position(|class| **class == **name);
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
