//! Parts of an image: as fractions of its sides, in whole pixels, or with the value that replaces them.

use std::ops::Range;

/// Rounding error, in pixels, of a position computed from fractions of whole pixels: a position within this distance of
/// an edge is on the edge.
pub(crate) const ROUNDING: f64 = 1e-6;

/// A rectangle in fractions of the image's sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeRect {
    /// Upper edge.
    pub top: f64,
    /// Left edge.
    pub left: f64,
    /// Height.
    pub height: f64,
    /// Width.
    pub width: f64,
}

/// A part of the image and the value that replaces it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shade<A> {
    /// The part that is replaced.
    pub area: A,
    /// The value written there.
    pub value: f64,
}

/// A part of an image in whole pixels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl Window {
    /// A window with the corner (top, left) and the size (rows, columns).
    pub(crate) fn new((top, left): (usize, usize), (rows, columns): (usize, usize)) -> Self {
        Self {
            rows: top..top + rows,
            columns: left..left + columns,
        }
    }

    /// Height and width.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.columns.len())
    }

    /// The window in fractions of an image of this size (height, width).
    pub(crate) fn shares(&self, (height, width): (usize, usize)) -> RelativeRect {
        let share = |pixels: usize, side: usize| pixels as f64 / side as f64;
        RelativeRect {
            top: share(self.rows.start, height),
            left: share(self.columns.start, width),
            height: share(self.rows.len(), height),
            width: share(self.columns.len(), width),
        }
    }

    /// The pixels that `part` of an image of this size (height, width) touches; `None` if there are none.
    pub(crate) fn touched(part: RelativeRect, (height, width): (usize, usize)) -> Option<Self> {
        let pixels = |start: f64, share: f64, side: usize| {
            let side = side as f64;
            let first = (start * side + ROUNDING).floor().clamp(0.0, side) as usize;
            let end = ((start + share) * side - ROUNDING).ceil();
            let end = end.clamp(0.0, side) as usize;
            (first < end).then_some(first..end)
        };
        Some(Self {
            rows: pixels(part.top, part.height, height)?,
            columns: pixels(part.left, part.width, width)?,
        })
    }
}
