//! Where a segmentation is right and wrong.

use super::grid::{ImageGrid, Tile};
use crate::draw::legend::{Key, Mark};
use crate::draw::palette;
use crate::{Error, Figure, Plane, compose};

/// A grid of grey images with true positives, false positives and false negatives in colour.
#[derive(Debug, Clone, Default)]
pub struct ErrorMaps {
    /// Printed above.
    pub title: String,
    /// The cases.
    pub cases: Vec<ErrorMapCase>,
}

/// One segmented image.
#[derive(Debug, Clone)]
pub struct ErrorMapCase {
    /// Grey image in 0..=1.
    pub image: Plane,
    /// True mask, of the image's size.
    pub truth: Plane,
    /// Predicted mask, of the image's size.
    pub predicted: Plane,
    /// Printed below: "person80_bacteria, Dice 0.91".
    pub caption: String,
}

impl ErrorMaps {
    /// Draws the cases under a legend of the three colours.
    pub fn draw(&self) -> Result<Figure, Error> {
        let tiles = self
            .cases
            .iter()
            .map(ErrorMapCase::tile)
            .collect::<Result<_, _>>()?;
        let grid = ImageGrid {
            title: self.title.clone(),
            tiles,
            ..ImageGrid::default()
        };
        grid.draw_with_legend(&[
            Key::new(Mark::Area, palette::TRUE_POSITIVE, "found (true positive)"),
            Key::new(
                Mark::Area,
                palette::FALSE_POSITIVE,
                "too much (false positive)",
            ),
            Key::new(
                Mark::Area,
                palette::FALSE_NEGATIVE,
                "missed (false negative)",
            ),
        ])
    }
}

impl ErrorMapCase {
    fn tile(&self) -> Result<Tile, Error> {
        let image = compose::error_map(&self.image, &self.truth, &self.predicted)?;
        Ok(Tile {
            image: image.into(),
            caption: self.caption.clone(),
            border: None,
        })
    }
}
