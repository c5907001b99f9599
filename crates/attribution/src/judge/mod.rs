//! Figures that judge heat maps: whether they name the pixels on which the score depends, where the finding is, and
//! whether they depend on the weights at all.

mod agreement;
mod curve;
mod localization;
mod randomization;

pub use agreement::agreement;
pub use curve::{Curve, Deletion, Insertion, Start};
pub use localization::{Localization, localize};
pub use randomization::{Randomization, Randomized, Stage, stages};
