//! Rendering of tables; columns are padded, so that the source is readable as well.

use std::iter::once;

use crate::document::{Align, Column, Table};

/// Renders a table, without a trailing line break.
pub(super) fn render(table: &Table) -> String {
    let columns = table.columns();
    let header = columns.iter().map(|column| cell(&column.name)).collect();
    let rows = table.rows().iter();
    let rows = rows.map(|row| row.iter().map(|text| cell(text)).collect());
    let cells: Vec<Vec<String>> = once(header).chain(rows).collect();
    let widths = widths(columns.len(), &cells);
    let mut lines: Vec<_> = cells
        .iter()
        .map(|row| line(row, columns, &widths))
        .collect();
    lines.insert(1, rule(columns, &widths));
    lines.join("\n")
}

fn cell(text: &str) -> String {
    // A pipe that is already escaped is not escaped again.
    let text = text.trim().replace("\\|", "|").replace('|', "\\|");
    text.lines().collect::<Vec<_>>().join("<br>")
}

/// Number of characters in the widest cell of each column; at least three, as required by the rule.
fn widths(columns: usize, cells: &[Vec<String>]) -> Vec<usize> {
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.fold(3, usize::max)
    };
    (0..columns).map(width).collect()
}

fn line(cells: &[String], columns: &[Column], widths: &[usize]) -> String {
    let padded = |((cell, column), &width): ((&String, &Column), &usize)| match column.align {
        Align::Left => format!(" {cell:<width$} |"),
        Align::Center => format!(" {cell:^width$} |"),
        Align::Right => format!(" {cell:>width$} |"),
    };
    let cells = cells.iter().zip(columns).zip(widths).map(padded);
    format!("|{}", cells.collect::<String>())
}

/// The line below the header, which determines the alignment of columns.
fn rule(columns: &[Column], widths: &[usize]) -> String {
    let dashes = |(column, &width): (&Column, &usize)| match column.align {
        Align::Left => format!(" {} |", "-".repeat(width)),
        Align::Center => format!(" :{}: |", "-".repeat(width - 2)),
        Align::Right => format!(" {}: |", "-".repeat(width - 1)),
    };
    let cells = columns.iter().zip(widths).map(dashes);
    format!("|{}", cells.collect::<String>())
}
