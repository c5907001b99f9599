//! A builder for Markdown as GitHub renders it.

mod table;

use std::fmt::{self, Display, Write as _};
use std::path::Path;

use crate::Error;
use crate::error::write;
use terminal::visible;

use crate::text::{escape, longest_run};

pub use table::{Align, Table};

/// A Markdown document, built block by block; blocks are a blank line apart.
///
/// Text given to it is Markdown (emphasis, code spans and links work); text from outside, such as names of files and classes,
/// goes through [`crate::text::escape`] or [`crate::text::code`] first. Control characters are shown wherever they stand.
///
/// ```
/// use report::{Align, Document, Table};
///
/// let mut document = Document::new("Results");
/// let mut table = Table::new([("metric", Align::Left), ("value", Align::Right)]);
/// table.row(["accuracy", "92.8 %"])?;
/// document.heading(2, "Test").table(&table).note("624 images.");
/// assert!(document.to_string().starts_with("# Results\n\n## Test\n\n| metric"));
/// # Ok::<(), report::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    blocks: Vec<String>,
}

impl Document {
    /// A document that opens with a first-level heading.
    pub fn new(title: &str) -> Self {
        let mut document = Self::default();
        document.heading(1, title);
        document
    }

    /// A document without a title, to be put into another one (see [`Document::details`]).
    pub fn fragment() -> Self {
        Self::default()
    }

    /// A heading; `level` is held to 1..=6.
    pub fn heading(&mut self, level: usize, text: &str) -> &mut Self {
        self.push(format!(
            "{} {}",
            "#".repeat(level.clamp(1, 6)),
            one_line(text)
        ))
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        self.push(text.trim().to_owned())
    }

    /// A bullet list.
    pub fn list<I: IntoIterator<Item = S>, S: AsRef<str>>(&mut self, items: I) -> &mut Self {
        let lines: Vec<_> = items
            .into_iter()
            .map(|item| format!("- {}", item.as_ref().trim().replace('\n', "\n  ")))
            .collect();
        self.push(lines.join("\n"))
    }

    /// A table.
    pub fn table(&mut self, table: &Table) -> &mut Self {
        self.push(table.to_string())
    }

    /// A picture with its alternative text, which may hold anything, and, unless it is empty, a caption below. `path` is
    /// relative to the document and may hold spaces and brackets.
    pub fn figure(&mut self, path: &str, alt: &str, caption: &str) -> &mut Self {
        let picture = format!("![{}]({})", escape(&one_line(alt)), link(path));
        match caption.trim() {
            "" => self.push(picture),
            caption => self.push(format!("{picture}\n\n*{}*", one_line(caption))),
        }
    }

    /// A fenced code block; `language` may be empty. The fence outgrows any in the code.
    pub fn code(&mut self, language: &str, code: &str) -> &mut Self {
        let fence = "`".repeat(longest_run(code).max(2) + 1);
        self.push(format!(
            "{fence}{language}\n{}\n{fence}",
            code.trim_end_matches('\n')
        ))
    }

    /// Blocks that open on a click.
    pub fn details(&mut self, summary: &str, inside: &Document) -> &mut Self {
        let summary = escape_html(&one_line(summary));
        let body = inside.to_string();
        self.push(format!(
            "<details>\n<summary>{summary}</summary>\n\n{body}\n</details>"
        ))
    }

    /// A boxed note.
    pub fn note(&mut self, text: &str) -> &mut Self {
        self.alert("NOTE", text)
    }

    /// A boxed warning.
    pub fn warning(&mut self, text: &str) -> &mut Self {
        self.alert("WARNING", text)
    }

    /// Adds all blocks of another document.
    pub fn append(&mut self, other: &Document) -> &mut Self {
        self.blocks.extend(other.blocks.iter().cloned());
        self
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Writes the document, whole or not at all. The folder must exist.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write(path, self.to_string().as_bytes())
    }

    fn alert(&mut self, kind: &str, text: &str) -> &mut Self {
        let mut block = format!("> [!{kind}]");
        for line in text.trim().lines() {
            block.push_str("\n> ");
            block.push_str(line);
        }
        self.push(block)
    }

    fn push(&mut self, block: String) -> &mut Self {
        self.blocks.push(visible(&block).into_owned());
        self
    }
}

impl Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, block) in self.blocks.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            writeln!(f, "{block}")?;
        }
        Ok(())
    }
}

/// On one line, with single spaces.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Percent-encodes what would end or split a link's target. Backslashes become slashes, so that a
/// path built on Windows works.
fn link(path: &str) -> String {
    let mut target = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '\\' => target.push('/'),
            ' ' | '(' | ')' | '<' | '>' | '[' | ']' | '%' | '#' | '?' | '"' | '\n' | '\t' => {
                // Writing into a String cannot fail.
                let _ = write!(target, "%{:02X}", u32::from(c));
            }
            _ => target.push(c),
        }
    }
    target
}
