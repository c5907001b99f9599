//! The tables of results: a row per image, a column per fact, as CSV and as Parquet.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use files::Temporary;
use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use pipeline::predict::{Prediction, Predictor};
use serde::{Deserialize, Serialize};

use crate::journal::{Outcome, Row};

/// Rows of a row group: bounds the memory, and what a reader has to read for a few rows.
const GROUP: usize = 65_536;

/// A value of a table; `None` where the image has none.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Text(Option<String>),
    Number(Option<f64>),
}

/// A column's name, and its value of a row.
struct Column {
    name: String,
    cell: Box<dyn Fn(&Row) -> Cell>,
}

/// What a network can have values of, which determines the columns of its results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Classes of images; none where the network only segments.
    pub(crate) classes: Vec<String>,
    /// Whether it tells how unlike the training images an image is.
    pub(crate) novelty: bool,
    /// Whether it has a class map.
    pub(crate) map: bool,
    /// Classes of pixels; none where it does not segment.
    pub(crate) pixel_classes: Vec<String>,
    /// Whether it sees a region of the image.
    pub(crate) region: bool,
}

impl Layout {
    pub(crate) fn of(predictor: &Predictor) -> Self {
        let network = predictor.networks().first();
        let classes = |there: bool, classes: &[String]| match there {
            true => classes.to_vec(),
            false => vec![],
        };
        Layout {
            classes: classes(network.classifies(), &network.meta().classes),
            novelty: predictor.networks().has_novelty(),
            map: network.has_map(),
            pixel_classes: classes(network.segments(), network.map_classes()),
            region: network.sees_region(),
        }
    }
}

/// The columns of a network's results.
pub(crate) struct Columns(Vec<Column>);

impl Columns {
    pub(crate) fn of(layout: &Layout) -> Self {
        let mut columns = Columns(vec![]);
        columns.text("image", |row| {
            Some(match &row.outcome {
                Outcome::Predicted(prediction) => shown(&prediction.image),
                Outcome::Failed { image, .. } => image.clone(),
            })
        });
        columns.text("error", |row| match &row.outcome {
            Outcome::Predicted(_) => None,
            Outcome::Failed { error, .. } => Some(error.clone()),
        });
        if !layout.classes.is_empty() {
            columns.about("class", |p| p.class.clone());
            columns.about("set", |p| Some(p.set.as_ref()?.join(";")));
            columns.about("abstains", |p| {
                p.abstains.map(|abstains| abstains.to_string())
            });
            if layout.novelty {
                columns.number("novelty", |p| p.novelty);
                columns.about("unlike_training", |p| {
                    p.unlike_training.map(|unlike| unlike.to_string())
                });
            }
            for class in layout.classes.clone() {
                let of_class = class.clone();
                columns.number(format!("probability_{class}"), move |p| {
                    let found = p.probabilities.iter().find(|p| p.class == of_class);
                    found.map(|p| p.probability)
                });
            }
        }
        if layout.map {
            columns.number("green_share", |p| p.green_share);
        }
        for class in &layout.pixel_classes {
            let share = |p: &Prediction, class: &str| {
                let mut found = p.segmentation.iter().flat_map(|found| &found.shares);
                found.find(|share| share.class == class).cloned()
            };
            let (a, b) = (class.clone(), class.clone());
            columns.number(format!("share_{class}"), move |p| Some(share(p, &a)?.share));
            columns.number(format!("area_mm2_{class}"), move |p| share(p, &b)?.area_mm2);
        }
        if layout.region {
            columns.number("region_top", |p| Some(p.region.as_ref()?.top as f64));
            columns.number("region_left", |p| Some(p.region.as_ref()?.left as f64));
            columns.number("region_height", |p| Some(p.region.as_ref()?.height as f64));
            columns.number("region_width", |p| Some(p.region.as_ref()?.width as f64));
            columns.about("region_fallback", |p| p.region.as_ref()?.fallback.clone());
        }
        columns.number("height", |p| Some(p.original_size[0] as f64));
        columns.number("width", |p| Some(p.original_size[1] as f64));
        columns.about("overlay", |p| p.overlay.as_deref().map(shown));
        columns.about("mask", |p| {
            p.segmentation.as_ref()?.mask.as_deref().map(shown)
        });
        columns.about("image_sha256", |p| Some(p.image_sha256.clone()));
        columns
    }

    fn text(&mut self, name: &str, of: impl Fn(&Row) -> Option<String> + 'static) {
        self.0.push(Column {
            name: name.into(),
            cell: Box::new(move |row| Cell::Text(of(row))),
        });
    }

    fn about(&mut self, name: &str, of: impl Fn(&Prediction) -> Option<String> + 'static) {
        self.text(name, move |row| of(predicted(row)?));
    }

    fn number(
        &mut self,
        name: impl Into<String>,
        of: impl Fn(&Prediction) -> Option<f64> + 'static,
    ) {
        self.0.push(Column {
            name: name.into(),
            cell: Box::new(move |row| Cell::Number(predicted(row).and_then(&of))),
        });
    }

    fn cells(&self, row: &Row) -> Vec<Cell> {
        self.0.iter().map(|column| (column.cell)(row)).collect()
    }

    fn schema(&self) -> Result<Type> {
        // Which columns hold text does not depend on the row.
        let none = Row {
            row: 0,
            outcome: Outcome::Failed {
                image: String::new(),
                error: String::new(),
            },
        };
        let fields = self.0.iter().zip(self.cells(&none)).map(|(column, cell)| {
            let (physical, converted) = match cell {
                Cell::Text(_) => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
                Cell::Number(_) => (Physical::DOUBLE, ConvertedType::NONE),
            };
            let field = Type::primitive_type_builder(&column.name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_converted_type(converted)
                .build()?;
            Ok(Arc::new(field))
        });
        let fields = fields.collect::<Result<_>>()?;
        Ok(Type::group_type_builder("predictions")
            .with_fields(fields)
            .build()?)
    }
}

fn predicted(row: &Row) -> Option<&Prediction> {
    match &row.outcome {
        Outcome::Predicted(prediction) => Some(prediction),
        Outcome::Failed { .. } => None,
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The endings of the tables; `predictions` comes before them.
const ENDINGS: [&str; 3] = ["jsonl", "csv", "parquet"];

/// `predictions.jsonl`, `.csv` and `.parquet`, written row by row: to temporary files, which replace those of an
/// earlier attempt once all rows are there.
pub(crate) struct Tables<'c> {
    columns: &'c Columns,
    /// The files and their names to be.
    files: Vec<(Temporary, PathBuf)>,
    lines: io::BufWriter<File>,
    csv: csv::Writer<File>,
    parquet: SerializedFileWriter<File>,
    group: Vec<Vec<Cell>>,
}

impl<'c> Tables<'c> {
    pub(crate) fn create(folder: &Path, columns: &'c Columns) -> Result<Self> {
        let mut files = vec![];
        let mut create = |ending: &str| {
            let path = folder.join(format!("predictions.{ending}"));
            let created = Temporary::beside(&path).and_then(|mut file| {
                let open = file.file().try_clone()?;
                files.push((file, path.clone()));
                Ok(open)
            });
            created.with_context(|| format!("cannot write {}", path.display()))
        };
        let [lines, csv, parquet] = ENDINGS.map(&mut create);
        let mut csv = csv::Writer::from_writer(csv?);
        csv.write_record(columns.0.iter().map(|column| &column.name))?;
        // Dictionaries, which repeat no class name, are on by default.
        let properties =
            WriterProperties::builder().set_created_by(format!("eff-unet {}", pipeline::VERSION));
        let properties = Arc::new(properties.build());
        let schema = Arc::new(columns.schema()?);
        Ok(Tables {
            columns,
            lines: io::BufWriter::new(lines?),
            csv,
            parquet: SerializedFileWriter::new(parquet?, schema, properties)?,
            group: vec![],
            files,
        })
    }

    /// Appends a row, whose line in the journal was `line`.
    pub(crate) fn push(&mut self, line: &str, row: &Row) -> Result<()> {
        writeln!(self.lines, "{line}")?;
        let cells = self.columns.cells(row);
        self.csv.write_record(cells.iter().map(in_csv))?;
        self.group.push(cells);
        match self.group.len() < GROUP {
            true => Ok(()),
            false => self.end_group(),
        }
    }

    fn end_group(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.group);
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = self.parquet.next_row_group()?;
        let mut at = 0;
        while let Some(mut column) = group.next_column()? {
            write_column(&mut column, rows.iter().filter_map(|row| row.get(at)))?;
            column.close()?;
            at += 1;
        }
        group.close()?;
        Ok(())
    }

    /// Ends the files and gives them their names; they are then on the disk.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.end_group()?;
        self.lines.flush()?;
        self.csv.flush()?;
        self.parquet.close()?;
        for (file, path) in self.files {
            let kept = file.persist(&path);
            kept.with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn in_csv(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone().unwrap_or_default(),
        Cell::Number(number) => number.map_or(String::new(), plainly),
    }
}

/// A number that reads back to the bit: whole numbers without a point, small ones with an exponent.
fn plainly(number: f64) -> String {
    match number.fract() == 0.0 && number.abs() < 1e15 {
        true => format!("{number:.0}"),
        false => format!("{number:?}"),
    }
}

/// Writes the values of a column, and for each row whether it has one.
fn write_column<'r>(
    column: &mut SerializedColumnWriter<'_>,
    cells: impl Iterator<Item = &'r Cell>,
) -> Result<()> {
    let (mut texts, mut numbers, mut levels, mut text) = (vec![], vec![], vec![], false);
    for cell in cells {
        let present = match cell {
            Cell::Text(value) => {
                text = true;
                texts.extend(value.as_deref().map(ByteArray::from));
                value.is_some()
            }
            Cell::Number(value) => {
                numbers.extend(*value);
                value.is_some()
            }
        };
        levels.push(i16::from(present));
    }
    match text {
        true => column
            .typed::<ByteArrayType>()
            .write_batch(&texts, Some(&levels), None)?,
        false => column
            .typed::<DoubleType>()
            .write_batch(&numbers, Some(&levels), None)?,
    };
    Ok(())
}
