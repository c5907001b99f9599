//! Single cases with their pictures.

use serde::{Deserialize, Serialize};

/// Cases that a reader of the HTML file can filter and sort. Markdown, which can do neither, leaves them out: it has the
/// figures that show cases side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cases {
    /// What the cases are, for readers of the screen and of its contents; plain text.
    pub name: String,
    /// How they were selected; inline Markdown.
    pub rule: String,
    /// What `Case::value` is, such as "confidence"; plain text.
    pub measure: String,
    /// The cases, in the order in which they are shown at first.
    pub cases: Vec<Case>,
}

/// A case of [`Cases`]; all its texts are plain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Path of its picture relative to the document, not encoded.
    pub picture: String,
    /// The image's path in its data folder.
    pub title: String,
    /// What is known about it, a line each.
    pub lines: Vec<String>,
    /// Whether the prediction is right, if it is a class.
    pub outcome: Option<Outcome>,
    /// What cases are sorted by.
    pub value: f64,
}

/// Whether and how a predicted class is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is the true class.
    Correct,
    /// The positive class is predicted, the other is true.
    FalsePositive,
    /// The positive class is true, the other is predicted.
    FalseNegative,
    /// It is one of several other classes.
    Wrong,
}

impl Outcome {
    /// A class for the style of a page, and words for a reader.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Outcome::Correct => ("correct", "correct"),
            Outcome::FalsePositive => ("fp", "false positive"),
            Outcome::FalseNegative => ("fn", "false negative"),
            Outcome::Wrong => ("wrong", "wrong"),
        }
    }
}
