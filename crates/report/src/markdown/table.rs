//! Tables.

use std::fmt::{self, Display};

use crate::Error;
use crate::error::check_len;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Align {
    /// Words.
    #[default]
    Left,
    /// Short marks.
    Center,
    /// Numbers.
    Right,
}

/// A table; columns are padded, so that the source reads well too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub fn new<I: IntoIterator<Item = (S, Align)>, S: AsRef<str>>(columns: I) -> Self {
        let columns = columns
            .into_iter()
            .map(|(name, align)| (cell(name.as_ref()), align));
        let (header, aligns) = columns.unzip();
        Self {
            header,
            aligns,
            rows: Vec::new(),
        }
    }

    /// Adds a row. Pipes and line breaks in cells are escaped; other Markdown works. A row of
    /// another length than the header is an error.
    pub fn row<I: IntoIterator<Item = S>, S: AsRef<str>>(
        &mut self,
        cells: I,
    ) -> Result<&mut Self, Error> {
        let row: Vec<_> = cells.into_iter().map(|text| cell(text.as_ref())).collect();
        let what = format!(
            "table `{}`: cells of row {}",
            self.header.join(", "),
            self.rows.len() + 1
        );
        check_len(&what, self.header.len(), row.len())?;
        self.rows.push(row);
        Ok(self)
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .chain([&self.header])
                .map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(3)
        };
        (0..self.header.len()).map(width).collect()
    }
}

impl Display for Table {
    /// Without a trailing line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            f.write_str("|")?;
            for ((cell, &width), align) in cells.iter().zip(&widths).zip(&self.aligns) {
                match align {
                    Align::Left => write!(f, " {cell:<width$} |")?,
                    Align::Center => write!(f, " {cell:^width$} |")?,
                    Align::Right => write!(f, " {cell:>width$} |")?,
                }
            }
            Ok(())
        };
        line(f, &self.header)?;
        f.write_str("\n|")?;
        for (&width, align) in widths.iter().zip(&self.aligns) {
            match align {
                Align::Left => write!(f, " {} |", "-".repeat(width))?,
                Align::Center => write!(f, " :{}: |", "-".repeat(width - 2))?,
                Align::Right => write!(f, " {}: |", "-".repeat(width - 1))?,
            }
        }
        for row in &self.rows {
            f.write_str("\n")?;
            line(f, row)?;
        }
        Ok(())
    }
}

fn cell(text: &str) -> String {
    // An already escaped pipe stays as it is.
    let text = text.trim().replace("\\|", "|").replace('|', "\\|");
    text.lines().collect::<Vec<_>>().join("<br>")
}
