//! The content of a report as a list of blocks, independent of the output format.

mod block;
mod cases;
mod table;
mod thresholds;

use serde::{Deserialize, Serialize};

pub use block::{Alert, Block};
pub use cases::{Case, Cases, Outcome};
pub use table::{Align, Column, Table};
pub use thresholds::{OperatingPoint, ThresholdCurve, Thresholds};

/// A report or a part of one: a list of blocks. It survives a round trip through serde unchanged, so that one program
/// can write parts and another can combine them.
///
/// Running text is a Markdown string (emphasis, code spans and links work): blocks are typed, inline content is not.
/// Text from outside, such as names of files and classes, must go through [`crate::text::escape`] or
/// [`crate::text::code`] first. Control characters are made visible everywhere.
///
/// ```
/// use report::{Align, Document, Table};
///
/// let mut document = Document::new("Results");
/// let mut table = Table::new([("metric", Align::Left), ("value", Align::Right)]);
/// table.row(["accuracy", "92.8 %"])?;
/// document.heading(2, "Test").table(&table).note("624 images.");
/// assert!(document.to_markdown().starts_with("# Results\n\n## Test\n\n| metric"));
/// # Ok::<(), report::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Document {
    blocks: Vec<Block>,
}

impl Document {
    /// Creates a document that starts with a first-level heading.
    pub fn new(title: &str) -> Self {
        let mut document = Self::default();
        document.heading(1, title);
        document
    }

    /// Creates a document without a title, to be inserted into another one (see [`Document::append`] and
    /// [`Document::details`]).
    pub fn fragment() -> Self {
        Self::default()
    }

    /// Adds a heading; `level` is clamped to 1..=6.
    pub fn heading(&mut self, level: usize, text: &str) -> &mut Self {
        let text = text.to_owned();
        self.push(Block::Heading { level, text })
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        let text = text.to_owned();
        self.push(Block::Paragraph { text })
    }

    /// Adds a bullet list.
    pub fn list<I: IntoIterator<Item = S>, S: AsRef<str>>(&mut self, items: I) -> &mut Self {
        let items = items.into_iter().map(|item| item.as_ref().to_owned());
        self.push(Block::List {
            items: items.collect(),
        })
    }

    /// Adds a table.
    pub fn table(&mut self, table: &Table) -> &mut Self {
        self.push(Block::Table(table.clone()))
    }

    /// Adds an image with an alternative text, which may contain any characters, and a caption below unless it is
    /// empty. `path` is relative to the document and may contain spaces and brackets.
    pub fn figure(&mut self, path: &str, alt: &str, caption: &str) -> &mut Self {
        self.push(Block::Figure {
            path: path.to_owned(),
            alt: alt.to_owned(),
            caption: caption.to_owned(),
        })
    }

    /// Adds the figure of an ROC curve with a movable threshold.
    pub fn thresholds(&mut self, thresholds: Thresholds) -> &mut Self {
        self.push(Block::Thresholds(thresholds))
    }

    /// Adds cases to browse.
    pub fn cases(&mut self, cases: Cases) -> &mut Self {
        self.push(Block::Cases(cases))
    }

    /// Adds a block of code; `language` may be empty.
    pub fn code(&mut self, language: &str, code: &str) -> &mut Self {
        self.push(Block::Code {
            language: language.to_owned(),
            code: code.to_owned(),
        })
    }

    /// Adds a collapsible section.
    pub fn details(&mut self, summary: &str, inside: &Document) -> &mut Self {
        self.push(Block::Details {
            summary: summary.to_owned(),
            blocks: inside.blocks.clone(),
        })
    }

    /// Adds a boxed note.
    pub fn note(&mut self, text: &str) -> &mut Self {
        self.alert(Alert::Note, text)
    }

    /// Adds a boxed warning.
    pub fn warning(&mut self, text: &str) -> &mut Self {
        self.alert(Alert::Warning, text)
    }

    /// Adds all blocks of another document.
    pub fn append(&mut self, other: Document) -> &mut Self {
        self.blocks.extend(other.blocks);
        self
    }

    /// The document's blocks, in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Whether the document has no blocks.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn alert(&mut self, kind: Alert, text: &str) -> &mut Self {
        let text = text.to_owned();
        self.push(Block::Alert { kind, text })
    }

    fn push(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }
}
