//! Parts of a picture: in shares of its sides, in whole pixels, or with the value that hides them.

use std::ops::Range;

/// What a place computed from shares of whole pixels may be off by, in pixels: within this of an edge it is on the edge.
pub(crate) const ROUNDING: f64 = 1e-6;

/// A rectangle in shares of the picture's sides.
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

/// A part of the picture and the value that hides it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shade<A> {
    /// What is hidden.
    pub area: A,
    /// The value written there.
    pub value: f64,
}

/// A part of a picture in whole pixels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl Window {
    /// Of the corner (top, left) and the size (rows, columns).
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

    /// As shares of a picture of this size (height, width).
    pub(crate) fn shares(&self, (height, width): (usize, usize)) -> RelativeRect {
        let share = |pixels: usize, side: usize| pixels as f64 / side as f64;
        RelativeRect {
            top: share(self.rows.start, height),
            left: share(self.columns.start, width),
            height: share(self.rows.len(), height),
            width: share(self.columns.len(), width),
        }
    }

    /// The pixels of a picture of `size` that `part` of it touches; `None` where there are none.
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
