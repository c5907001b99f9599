//! The placement of an image in a network's frame, and the inverse mapping.

use serde::{Deserialize, Serialize};

/// How an image of another shape is fitted into the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Both sides are scaled to the frame's, without preserving the aspect ratio.
    #[default]
    Stretch,
    /// Both sides are scaled by the same factor; the image is centred, with black around it (letterbox).
    Pad,
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Rect {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Rect {
    /// The whole of an image.
    pub fn whole(height: usize, width: usize) -> Self {
        Self {
            top: 0,
            left: 0,
            height,
            width,
        }
    }

    /// The smallest rectangle of pixels of an image of `size` (height, width) that contains the part whose edges (top,
    /// left, bottom, right) are given as shares of the image's sides, and at least one pixel. Shares outside 0 to 1 are
    /// clamped.
    pub fn of_shares(size: (usize, usize), [top, left, bottom, right]: [f64; 4]) -> Self {
        let side = |side: usize, from: f64, to: f64| {
            let pixels = side as f64;
            // The tolerance keeps an edge that is on a pixel's border from rounding to the next pixel.
            let first = (from * pixels + 1e-6).floor().clamp(0.0, pixels - 1.0) as usize;
            let end = (to * pixels - 1e-6).ceil().clamp(0.0, pixels) as usize;
            (first, end.max(first + 1) - first)
        };
        let (top, height) = side(size.0, top, bottom);
        let (left, width) = side(size.1, left, right);
        Self {
            top,
            left,
            height,
            width,
        }
    }
}

/// Which pixels of an image are where in the frame.
///
/// ```
/// use imaging::{Fit, Placement};
/// // 100 rows of 200 pixels in a frame of 64×64: 32 rows, 16 of border above and below.
/// let placed = Placement::new(Fit::Pad, (100, 200), (64, 64));
/// assert_eq!((placed.target.top, placed.target.height), (16, 32));
/// let map = placed.restore(&[0.5; 64 * 64]);
/// assert_eq!(map.len(), 100 * 200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// Rows and columns of the image file.
    pub original: (usize, usize),
    /// The part of the image that is shown; all of it unless it was cropped.
    pub source: Rect,
    /// Rows and columns of the frame.
    pub frame: (usize, usize),
    /// Where in the frame that part is; the rest is border.
    pub target: Rect,
}

impl Placement {
    /// Places a whole image of `original` (height, width) in a `frame`.
    pub fn new(fit: Fit, original: (usize, usize), frame: (usize, usize)) -> Self {
        Self::of_part(fit, original, Rect::whole(original.0, original.1), frame)
    }

    /// Places a part of an image in a `frame`.
    pub fn of_part(
        fit: Fit,
        original: (usize, usize),
        source: Rect,
        frame: (usize, usize),
    ) -> Self {
        let target = match fit {
            Fit::Stretch => Rect::whole(frame.0, frame.1),
            Fit::Pad => letterbox(source, frame),
        };
        Self {
            original,
            source,
            frame,
            target,
        }
    }

    /// Whether every pixel of the frame shows the image.
    pub fn fills_frame(&self) -> bool {
        self.target == Rect::whole(self.frame.0, self.frame.1)
    }

    /// Maps values of the frame, HW, back to the image's own size, bilinearly between pixel centres. Pixels that the
    /// frame does not show (outside a crop) are NaN.
    pub fn restore(&self, map: &[f32]) -> Vec<f32> {
        self.restored(|rows, columns| bilinear(map, self.frame.1, rows, columns))
    }

    /// Like [`Placement::restore`] for class numbers: takes the nearest pixel, so that no new values appear.
    pub fn restore_labels(&self, labels: &[f32]) -> Vec<f32> {
        self.restored(|row, column| {
            labels[row.round() as usize * self.frame.1 + column.round() as usize]
        })
    }

    fn restored(&self, value: impl Fn(f64, f64) -> f32) -> Vec<f32> {
        let rows = axis(
            self.original.0,
            self.source.top,
            self.source.height,
            self.target.top,
            self.target.height,
        );
        let columns = axis(
            self.original.1,
            self.source.left,
            self.source.width,
            self.target.left,
            self.target.width,
        );
        let pixel = |row: Option<f64>, column: Option<f64>| match (row, column) {
            (Some(row), Some(column)) => value(row, column),
            _ => f32::NAN,
        };
        let row = |&row: &Option<f64>| columns.iter().map(move |&column| (row, column));
        rows.iter()
            .flat_map(row)
            .map(|(row, column)| pixel(row, column))
            .collect()
    }
}

/// The largest centred rectangle of the part's aspect ratio in the frame, at least one pixel wide.
fn letterbox(part: Rect, (height, width): (usize, usize)) -> Rect {
    let scale = (height as f64 / part.height as f64).min(width as f64 / part.width as f64);
    let side = |part: usize, frame: usize| ((part as f64 * scale).round() as usize).clamp(1, frame);
    let (rows, columns) = (side(part.height, height), side(part.width, width));
    Rect {
        top: (height - rows) / 2,
        left: (width - columns) / 2,
        height: rows,
        width: columns,
    }
}

/// For each pixel along one side of the image: its position in the frame, clamped to the target's pixels; `None`
/// outside the source.
fn axis(original: usize, from: usize, source: usize, to: usize, target: usize) -> Vec<Option<f64>> {
    let scale = target as f64 / source as f64;
    let place = |at: usize| {
        let inside = at.checked_sub(from).filter(|&at| at < source)?;
        let centre = (inside as f64 + 0.5) * scale - 0.5;
        Some(to as f64 + centre.clamp(0.0, target as f64 - 1.0))
    };
    (0..original).map(place).collect()
}

fn bilinear(map: &[f32], width: usize, row: f64, column: f64) -> f32 {
    let (y, x) = (row.floor(), column.floor());
    let (fy, fx) = ((row - y) as f32, (column - x) as f32);
    // A weight of 0 must neither read beyond the edge nor pick up NaN from the border around the image.
    let next = |fraction: f32| usize::from(fraction > 0.0);
    let (y, x) = (y as usize, x as usize);
    let at = |y: usize, x: usize| map[y * width + x];
    let mix = |a: f32, b: f32, fraction: f32| {
        if fraction > 0.0 {
            a + (b - a) * fraction
        } else {
            a
        }
    };
    let (below, right) = (y + next(fy), x + next(fx));
    let top = mix(at(y, x), at(y, right), fx);
    mix(top, mix(at(below, x), at(below, right), fx), fy)
}

/// The nearest pixel of `from` to each of `to` pixels, centre to centre.
pub(crate) fn nearest(from: usize, to: usize) -> impl Iterator<Item = usize> {
    (0..to).map(move |at| (2 * at + 1) * from / (2 * to))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letterboxes_keep_the_aspect_ratio() {
        let check = |original, frame, expected: [usize; 4]| {
            let t = Placement::new(Fit::Pad, original, frame).target;
            assert_eq!([t.top, t.left, t.height, t.width], expected);
        };
        check((100, 200), (64, 64), [16, 0, 32, 64]);
        check((200, 100), (64, 64), [0, 16, 64, 32]);
        check((50, 50), (64, 96), [0, 16, 64, 64]);
        check((1, 1000), (64, 64), [31, 0, 1, 64]);
    }

    #[test]
    fn shares_become_whole_pixels_of_the_image() {
        let check = |size, shares, expected: [usize; 4]| {
            let r = Rect::of_shares(size, shares);
            assert_eq!([r.top, r.left, r.height, r.width], expected, "{shares:?}");
        };
        check((100, 200), [0.1, 0.25, 0.9, 0.75], [10, 50, 80, 100]);
        check((10, 10), [0.11, 0.19, 0.55, 0.61], [1, 1, 5, 6]);
        check((10, 10), [-0.5, 0.0, 1.5, 1.0], [0, 0, 10, 10]);
        check((10, 10), [0.5, 0.5, 0.5, 0.5], [5, 5, 1, 1]);
        check((10, 10), [1.0, 1.0, 1.0, 1.0], [9, 9, 1, 1]);
        check((3, 3), [1.0 / 3.0, 0.0, 2.0 / 3.0, 1.0], [1, 0, 1, 3]);
    }

    #[test]
    fn nearest_is_centre_to_centre() {
        assert_eq!(nearest(4, 2).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(nearest(2, 4).collect::<Vec<_>>(), [0, 0, 1, 1]);
        assert_eq!(nearest(3, 3).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_crop_leaves_the_rest_unknown() {
        let source = Rect {
            top: 1,
            left: 2,
            height: 2,
            width: 2,
        };
        let placed = Placement::of_part(Fit::Stretch, (4, 5), source, (2, 2));
        let back = placed.restore(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(back.iter().filter(|v| v.is_nan()).count(), 16);
        assert_eq!([back[7], back[8], back[12], back[13]], [1.0, 2.0, 3.0, 4.0]);
    }

    proptest! {
        /// A ramp is restored to within a pixel for all shapes.
        #[test]
        fn both_fits_are_invertible(
            original in (4_usize..120, 4_usize..120),
            frame in (32_usize..80, 32_usize..80),
            pad in any::<bool>(),
        ) {
            let fit = if pad { Fit::Pad } else { Fit::Stretch };
            let placed = Placement::new(fit, original, frame);
            let target = placed.target;
            // Each pixel of the frame has the row of the image that it shows as its value, in [0, 1].
            let mut map = vec![f32::NAN; frame.0 * frame.1];
            for y in 0..target.height {
                for x in 0..target.width {
                    let at = (target.top + y) * frame.1 + target.left + x;
                    map[at] = (y as f32 + 0.5) / target.height as f32;
                }
            }
            let back = placed.restore(&map);
            prop_assert_eq!(back.len(), original.0 * original.1);
            for (i, value) in back.iter().enumerate() {
                let row = (i / original.1) as f32 + 0.5;
                let error = (value - row / original.0 as f32).abs();
                prop_assert!(error <= 0.51 / target.height as f32 + 1e-5, "{} {}", row, value);
            }
            prop_assert!(placed.restore_labels(&map).iter().all(|v| v.is_finite()));
        }
    }
}
