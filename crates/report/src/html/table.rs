//! Tables, in a box that scrolls by itself where the window is narrower.

use super::escape::attribute;
use super::inline;
use crate::document::{Align, Column, Table};

/// Renders a table; `place` is where it is in the document.
pub(super) fn render(table: &Table, place: &str) -> String {
    let columns = table.columns();
    let header: String = columns.iter().map(header).collect();
    let rows: String = table.rows().iter().map(|r| row(columns, r)).collect();
    let label = attribute(&format!("Table: {place}"));
    format!(
        "<div class=\"scroll\" role=\"group\" aria-label=\"{label}\" tabindex=\"0\"><table>\n\
         <thead><tr>{header}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>"
    )
}

fn header(column: &Column) -> String {
    let class = class(column.align);
    match column.name.trim() {
        // An empty header is no header.
        "" => "<td></td>".to_owned(),
        name => format!("<th scope=\"col\"{class}>{}</th>", cell(name)),
    }
}

/// A row's first cell is its header where it has words.
fn row(columns: &[Column], cells: &[String]) -> String {
    let mut html = String::from("<tr>");
    for (i, (column, text)) in columns.iter().zip(cells).enumerate() {
        let class = class(column.align);
        let header = i == 0 && column.align == Align::Left && !text.trim().is_empty();
        html += &match header {
            true => format!("<th scope=\"row\">{}</th>", cell(text)),
            false => format!("<td{class}>{}</td>", cell(text)),
        };
    }
    html + "</tr>\n"
}

fn cell(text: &str) -> String {
    // As in Markdown, where a pipe ends a cell, it may be escaped even in code.
    let text = text.trim().replace("\\|", "|");
    let lines: Vec<_> = text.lines().map(inline::html).collect();
    lines.join("<br>")
}

fn class(align: Align) -> &'static str {
    match align {
        Align::Left => "",
        Align::Center => " class=\"center\"",
        Align::Right => " class=\"number\"",
    }
}
