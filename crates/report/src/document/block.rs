//! The kinds of blocks.

use serde::{Deserialize, Serialize};

use super::table::Table;

/// One block of a document, as it was given: what a format needs (escapes, line breaks, limits) is up to its renderer.
/// Text is Markdown within a line unless its field says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "block", rename_all = "snake_case")]
pub enum Block {
    /// A heading.
    Heading {
        /// 1 for a title, up to 6; what lies outside counts as the nearest of these.
        level: usize,
        /// One line.
        text: String,
    },
    /// A paragraph.
    Paragraph {
        /// What it says.
        text: String,
    },
    /// A bullet list.
    List {
        /// One text a bullet.
        items: Vec<String>,
    },
    /// A table.
    Table(Table),
    /// A picture in a file of its own.
    Figure {
        /// Relative to the document, as a plain path.
        path: String,
        /// What those read who cannot see the picture; plain text.
        alt: String,
        /// Stands below the picture; may be empty.
        caption: String,
    },
    /// Code, shown as it is.
    Code {
        /// By which it is coloured; may be empty.
        language: String,
        /// Plain text.
        code: String,
    },
    /// Blocks that open on a click.
    Details {
        /// What there is to click; plain text.
        summary: String,
        /// What opens.
        blocks: Vec<Block>,
    },
    /// A boxed remark.
    Alert {
        /// A note or a warning.
        kind: Alert,
        /// What it says.
        text: String,
    },
}

/// The kind of a boxed remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// Additional information.
    Note,
    /// Something that affects how results may be used.
    Warning,
}
