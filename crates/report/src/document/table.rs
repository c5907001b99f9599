//! Tables.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::check_len;

/// Alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// For words.
    #[default]
    Left,
    /// For short marks.
    Center,
    /// For numbers.
    Right,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Header of the column.
    pub name: String,
    /// Alignment of its cells.
    pub align: Align,
}

/// A table; every row has one cell per column, which is also checked when deserializing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with these columns and no rows.
    pub fn new<I: IntoIterator<Item = (S, Align)>, S: AsRef<str>>(columns: I) -> Self {
        let columns = columns.into_iter().map(|(name, align)| Column {
            name: name.as_ref().to_owned(),
            align,
        });
        Self {
            columns: columns.collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells may contain pipes, line breaks and Markdown. A row whose length differs from the header is an
    /// error.
    pub fn row<I: IntoIterator<Item = S>, S: AsRef<str>>(
        &mut self,
        cells: I,
    ) -> Result<&mut Self, Error> {
        let row: Vec<_> = cells.into_iter().map(|c| c.as_ref().to_owned()).collect();
        let names: Vec<_> = self.columns.iter().map(|c| c.name.as_str()).collect();
        let what = format!(
            "table `{}`: cells of row {}",
            names.join(", "),
            self.rows.len() + 1
        );
        check_len(&what, self.columns.len(), row.len())?;
        self.rows.push(row);
        Ok(self)
    }

    /// The columns, from left to right.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The cells of each row, from top to bottom.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A table as read from a file, whose rows may have any length.
#[derive(Deserialize)]
struct Unchecked {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl TryFrom<Unchecked> for Table {
    type Error = Error;

    fn try_from(Unchecked { columns, rows }: Unchecked) -> Result<Self, Error> {
        let mut table = Self {
            columns,
            rows: Vec::new(),
        };
        for row in rows {
            table.row(row)?;
        }
        Ok(table)
    }
}
