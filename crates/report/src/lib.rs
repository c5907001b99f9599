//! Markdown, HTML and figures for human-readable reports: takes plain data and writes files.
//!
//! Within the workspace this crate depends on `files`, to write, and on `terminal`, to make control characters visible.
//! Each figure is a small struct of numbers and names with a `draw` method that returns a [`Figure`]. A [`Document`] is
//! a list of typed [`Block`]s, which can be passed on as JSON and rendered as Markdown for GitHub or as one HTML file
//! ([`Document::save_with_html`]). The text of a report is up to the caller.
//!
//! The HTML file holds its pictures, style and script, fetches nothing, and is complete without running the script. All
//! text is escaped, and its Content-Security-Policy allows no other script or style than those of this crate.
//!
//! Guarantees for every figure:
//! - Only a Rust toolchain is needed: the font is embedded, without fontconfig or system libraries.
//! - The same data give the same bytes.
//! - Data without values to show (an empty curve, only NaN) give a labelled empty figure, never a panic; inconsistent
//!   data (a map of the wrong length, ragged counts) give an [`Error`].
//! - Colours come from one colour-blind-safe palette ([`palette`]); figures are 800 units wide and saved at two pixels
//!   per unit, so that text is readable at the width at which GitHub displays them.
//! - Files are written atomically, and errors name the path.
//!
//! ```
//! use report::{ClassDistribution, Document, SplitCounts};
//!
//! let figure = ClassDistribution {
//!     title: "Images per split".into(),
//!     classes: vec!["NORMAL".into(), "PNEUMONIA".into()],
//!     splits: vec![SplitCounts { name: "train".into(), counts: vec![1341, 3875] }],
//! }
//! .draw()?;
//! let folder = std::env::temp_dir();
//! figure.save(&folder.join("classes.png"))?;
//!
//! let mut document = Document::new("Pneumonia");
//! document.heading(2, "Data").figure("classes.png", "Images per split", "Three in four images show pneumonia.");
//! document.save(&folder.join("report.md"))?;
//! # Ok::<(), report::Error>(())
//! ```

// Printing panics if the output is closed; use `terminal` instead.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod compose;
mod document;
mod draw;
mod error;
mod figure;
mod figures;
pub mod format;
pub mod html;
mod labels;
mod markdown;
mod plane;
mod save;
pub mod text;

pub use compose::{OVERLAY_THRESHOLD, class_overlay, error_map, heat_map, outline, overlay};
pub use document::{
    Alert, Align, Block, Case, Cases, Column, Document, OperatingPoint, Outcome, Table,
    ThresholdCurve, Thresholds,
};
pub use draw::colormap::Colormap;
pub use draw::palette::{self, Color};
pub use error::Error;
pub use figure::Figure;
pub use figures::class_distribution::{ClassDistribution, SplitCounts};
pub use figures::confusion::ConfusionHeatmap;
pub use figures::curves::{CurveLine, CurvePanel, TrainingCurves};
pub use figures::decision_curve::DecisionCurve;
pub use figures::grid::{ImageGrid, Picture, Tile};
pub use figures::histogram::{Histogram, HistogramSeries, Marker};
pub use figures::overlays::{OverlayCase, OverlayPanels};
pub use figures::reliability::{ReliabilityDiagram, ReliabilityLine, ReliabilityMark};
pub use figures::risk_coverage::RiskCoverageCurve;
pub use figures::roc::{MarkedPoint, PrCurves, PrLine, RocCurves, RocLine};
pub use figures::segmentation::{SegmentationCase, SegmentationPanels};
pub use figures::strengths::{StrengthCurves, StrengthPanel};
pub use labels::Labels;
pub use plane::Plane;
