//! Shapes in binary masks: exact distances, connected components, surfaces, and U-Net's border weights.
//!
//! This is a separate crate because training weights pixels by their distance to cells, evaluation measures distances
//! between surfaces, and neither should depend on the other for the transform that both need. It is independent of
//! images, networks and metrics; masks are slices of `bool`, row by row.
//!
//! ```
//! use morphology::{BorderWeights, Mask};
//!
//! // Two cells with a membrane of one pixel between them.
//! let cells = Mask::new(1, 5, &[true, true, false, true, true])?;
//! let known = Mask::new(1, 5, &[true; 5])?;
//! assert_eq!(cells.components().count, 2);
//! assert_eq!(cells.squared_distances(), [0.0, 0.0, 1.0, 0.0, 0.0]);
//! let weights = BorderWeights::default().of(cells, known)?;
//! assert!(weights[2] > 9.0 && weights[0] < 1.0);
//! # Ok::<(), morphology::MorphologyError>(())
//! ```

// The print macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod border;
mod components;
mod distance;
mod mask;

pub use border::BorderWeights;
pub use components::Components;
pub use mask::{Mask, MorphologyError};
