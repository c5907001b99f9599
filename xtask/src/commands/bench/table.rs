//! Tables with aligned columns: the first to the left, the others to the right.

use std::fmt;

/// A table with a title.
pub(super) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(title: impl Into<String>, header: &[&str]) -> Self {
        let header = header.iter().map(|&cell| cell.to_owned()).collect();
        Table {
            title: title.into(),
            rows: vec![header],
        }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                line += &match column {
                    0 => format!("  {cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A time in milliseconds, with three significant digits or all digits before the decimal point.
pub(super) fn milliseconds(seconds: f64) -> String {
    significant(seconds * 1e3)
}

/// A number with three significant digits or all digits before the decimal point.
pub(super) fn significant(value: f64) -> String {
    let decimals = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Bytes in MiB.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let mut table = Table::new("times", &["who", "ms"]);
        table.row(vec!["this f32".into(), milliseconds(0.0012)]);
        table.row(vec!["x".into(), milliseconds(1.5)]);
        let expected = "times\n  who         ms\n  this f32  1.20\n  x         1500\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn three_digits_are_kept() {
        let numbers = [0.1234, 1.234, 12.34, 123.4, 1234.5].map(significant);
        assert_eq!(numbers, ["0.123", "1.23", "12.3", "123", "1234"]);
        assert_eq!(mebibytes(3 << 20), "3");
    }
}
