//! The affine map from output pixels to source points, and its exact evaluation along rows.

use std::ops::Range;

use crate::RelativeRect;
use crate::area::ROUNDING;

/// Maps an output pixel to its source point: `x' = a·x + b·y + c`, `y' = d·x + e·y + f`.
///
/// Coordinates are pixel centres: the first pixel of a row is at 0, the last at `width − 1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// `[a, b, c]`, for the source's column.
    pub x: [f64; 3],
    /// `[d, e, f]`, for the source's row.
    pub y: [f64; 3],
}

impl Affine {
    /// The map that takes `out` to `source`, with the matrix `rows` as its linear part.
    pub(crate) fn about(rows: [[f64; 2]; 2], out: [f64; 2], source: [f64; 2]) -> Self {
        let row = |[a, b]: [f64; 2], origin: f64| [a, b, origin - a * out[0] - b * out[1]];
        Self {
            x: row(rows[0], source[0]),
            y: row(rows[1], source[1]),
        }
    }

    /// The source point of the output pixel in column `x` and row `y`.
    pub fn source(&self, x: f64, y: f64) -> (f64, f64) {
        let at = |[a, b, c]: [f64; 3]| a * x + b * y + c;
        (at(self.x), at(self.y))
    }

    /// The same map where the source is `part` of an image of this size (height, width), enlarged to fill it.
    ///
    /// A pixel's centre is half a pixel from its edges: PyTorch's `align_corners=False`.
    pub(crate) fn through_part(self, part: RelativeRect, (height, width): (usize, usize)) -> Self {
        let enlarged = |[a, b, c]: [f64; 3], share: f64, edge: f64| {
            [a * share, b * share, (c + 0.5) * share + edge - 0.5]
        };
        Self {
            x: enlarged(self.x, part.width, part.left * width as f64),
            y: enlarged(self.y, part.height, part.top * height as f64),
        }
    }

    /// The same map where the source begins at the pixel in row `top` and column `left`.
    pub(crate) fn with_corner(self, top: usize, left: usize) -> Self {
        let moved = |[a, b, c]: [f64; 3], first: usize| [a, b, c - first as f64];
        Self {
            x: moved(self.x, left),
            y: moved(self.y, top),
        }
    }

    /// Whether every source point is in `part` or on its edge, where source and output have this size (height, width).
    pub(crate) fn stays_in(&self, part: RelativeRect, (height, width): (usize, usize)) -> bool {
        let (height, width) = (height as f64, width as f64);
        let inside = |at: f64, start: f64, share: f64, side: f64| {
            let (first, end) = (start * side, (start + share) * side);
            (first - ROUNDING..=end + ROUNDING).contains(&(at + 0.5))
        };
        // An affine map keeps all points within the hull of the mapped corners.
        let corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)];
        corners.into_iter().all(|(right, down)| {
            let (x, y) = self.source(right * (width - 1.0), down * (height - 1.0));
            inside(x, part.left, part.width, width) && inside(y, part.top, part.height, height)
        })
    }

    /// The same map between images of size `to`, where this one is for images of size `from` (height, width): both
    /// show the same scene.
    pub(crate) fn rescaled(&self, from: (usize, usize), to: (usize, usize)) -> Self {
        if from == to || from.0 * from.1 == 0 {
            return *self;
        }
        let (sx, sy) = (to.1 as f64 / from.1 as f64, to.0 as f64 / from.0 as f64);
        // Pixel centre i is at i + ½ from the edge, and distances from the edge scale.
        let rescale = |[a, b, c]: [f64; 3], s: f64| {
            let edge = c + 0.5 - 0.5 * (a + b);
            let [a, b, edge] = [s * a / sx, s * b / sy, s * edge];
            [a, b, edge - 0.5 + 0.5 * (a + b)]
        };
        Self {
            x: rescale(self.x, sx),
            y: rescale(self.y, sy),
        }
    }

    /// The source points of the output row `y`.
    pub(crate) fn row(&self, y: usize) -> Walk {
        let start = |[_, b, c]: [f64; 3]| to_fixed(b * y as f64 + c, MAX_START);
        let step = |[a, _, _]: [f64; 3]| to_fixed(a, MAX_STEP);
        Walk {
            x: start(self.x),
            y: start(self.y),
            dx: step(self.x),
            dy: step(self.y),
        }
    }
}

/// One, in the fixed-point numbers of source coordinates: 31 integer bits, 32 fractional bits.
///
/// Steps of a rounded integer add up exactly, where floats would drift: over a row of 2²⁰ pixels the
/// error stays below 2⁻¹², over one of 224 below 2⁻²⁴. It also makes the span below exact.
pub(crate) const ONE: i64 = 1 << 32;

/// Bounds, in pixels, that keep a walk over a row of `Raster::MAX_SIDE` from overflowing. A checked
/// configuration stays far within them; a [`crate::Draw`] written by hand may not.
const MAX_START: f64 = (1u64 << 30) as f64;
const MAX_STEP: f64 = (1u64 << 9) as f64;

/// A walk that stays at a source point.
pub(crate) fn standing(x: f64, y: f64) -> Walk {
    Walk {
        x: to_fixed(x, MAX_START),
        y: to_fixed(y, MAX_START),
        dx: 0,
        dy: 0,
    }
}

/// Rounds to fixed point; NaN becomes 0.
fn to_fixed(value: f64, limit: f64) -> i64 {
    (value.clamp(-limit, limit) * ONE as f64).round() as i64
}

/// Splits a fixed-point coordinate into the pixel at or before it and the fraction of the way to the next.
#[inline(always)]
pub(crate) fn split(at: i64) -> (i64, f32) {
    // An f32 holds 24 bits, and converting them as a signed number avoids a slow unsigned conversion.
    let fraction = ((at as u32) >> 8) as i32 as f32 * (1.0 / (1 << 24) as f32);
    (at >> 32, fraction)
}

/// The source points of one output row, left to right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk {
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) dx: i64,
    pub(crate) dy: i64,
}

impl Walk {
    /// The point `columns` further on.
    pub(crate) fn ahead(self, columns: usize) -> Self {
        let n = columns as i64;
        Self {
            x: self.x + n * self.dx,
            y: self.y + n * self.dy,
            ..self
        }
    }

    /// Whether the point is in `0 ≤ x < limit_x`, `0 ≤ y < limit_y` (pixels).
    #[inline]
    pub(crate) fn is_inside(&self, limit_x: i64, limit_y: i64) -> bool {
        (0..limit_x).contains(&(self.x >> 32)) && (0..limit_y).contains(&(self.y >> 32))
    }

    /// The output columns, of `width`, whose source point is in `0 ≤ x < limit_x`, `0 ≤ y < limit_y` (pixels).
    pub(crate) fn span(&self, width: usize, limit_x: i64, limit_y: i64) -> Range<usize> {
        let x = within(self.x, self.dx, limit_x * ONE - 1);
        let y = within(self.y, self.dy, limit_y * ONE - 1);
        let from = x.0.max(y.0).clamp(0, width as i64);
        let to = x.1.min(y.1).clamp(from, width as i64);
        from as usize..to as usize
    }
}

/// The half-open range of `n` for which `0 ≤ start + n·step ≤ high`; empty ranges end before they begin.
fn within(start: i64, step: i64, high: i64) -> (i64, i64) {
    match step {
        0 if (0..=high).contains(&start) => (i64::MIN, i64::MAX),
        0 => (0, 0),
        // −start/step rounded up, and (high − start)/step rounded down.
        1.. => (-start.div_euclid(step), (high - start).div_euclid(step) + 1),
        // Counted from the other end, the steps are positive.
        _ => within(high - start, -step, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_span_holds_exactly_the_points_inside(
            x in -40.0..40.0f64, y in -40.0..40.0f64, dx in -2.0..2.0f64, dy in -2.0..2.0f64,
            limit_x in -1i64..30, limit_y in -1i64..30,
        ) {
            let fixed = |value| to_fixed(value, 100.0);
            let walk = Walk { x: fixed(x), y: fixed(y), dx: fixed(dx), dy: fixed(dy) };
            let inside = |n: &usize| {
                let at = walk.ahead(*n);
                (0..limit_x).contains(&(at.x >> 32)) && (0..limit_y).contains(&(at.y >> 32))
            };
            let expected: Vec<usize> = (0..50).filter(inside).collect();
            prop_assert_eq!(walk.span(50, limit_x, limit_y).collect::<Vec<_>>(), expected);
        }
    }
}
