//! The blocks of a document.

use serde::{Deserialize, Serialize};

use super::cases::Cases;
use super::table::Table;
use super::thresholds::Thresholds;

/// One block of a document, stored as given: the renderer handles what a format needs (escapes, line breaks, limits).
/// Text is inline Markdown unless its field is documented otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "block", rename_all = "snake_case")]
pub enum Block {
    /// A heading.
    Heading {
        /// From 1 for a title to 6; other values are clamped to this range.
        level: usize,
        /// A single line.
        text: String,
    },
    /// A paragraph.
    Paragraph {
        /// Its text.
        text: String,
    },
    /// A bullet list.
    List {
        /// One text per bullet.
        items: Vec<String>,
    },
    /// A table.
    Table(Table),
    /// An image in a separate file.
    Figure {
        /// Path relative to the document, not encoded.
        path: String,
        /// Alternative text for readers who cannot see the image; plain text.
        alt: String,
        /// Caption below the image; may be empty.
        caption: String,
    },
    /// Code, shown verbatim.
    Code {
        /// Language for syntax highlighting; may be empty.
        language: String,
        /// Plain text.
        code: String,
    },
    /// A collapsible section.
    Details {
        /// The text that is always shown; plain text.
        summary: String,
        /// The collapsible content.
        blocks: Vec<Block>,
    },
    /// A figure of an ROC curve, whose threshold a reader of the HTML file can move.
    Thresholds(Thresholds),
    /// Single cases to browse in the HTML file; nothing in Markdown.
    Cases(Cases),
    /// A boxed remark.
    Alert {
        /// A note or a warning.
        kind: Alert,
        /// Its text.
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
