//! Parts of an image: where the finding is not, or should not be.

use std::path::Path;

use anyhow::Result;
use dataset::Sample;
use report::Plane;

use crate::context::{Context, Data};
use crate::stages::overlays::region_mask;
use crate::stages::pixels::blanked;

/// Width of the border as a share of the side: where scanners and exports leave traces.
const BORDER: f64 = 0.03;

/// Side of a corner as a share of the image's: where markers and labels are.
const CORNER: f64 = 0.2;

/// A part of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// Everything within this share of the side from the edge.
    Ring(f64),
    /// The four corners.
    Corners,
    /// The pixels of the masks of `data.regions` with this number.
    Region(usize),
}

impl Part {
    /// The outermost pixels.
    pub(super) const BORDER: Part = Part::Ring(BORDER);

    /// Whether a pixel of an image of a shape is in it; `region` is the region's mask.
    pub(super) fn contains(
        self,
        (y, x): (usize, usize),
        (h, w): (usize, usize),
        region: Option<&Plane>,
    ) -> bool {
        let near = |at: usize, n: usize, share: f64| {
            let least = (share * n as f64).ceil() as usize;
            at.min(n - 1 - at) < least
        };
        match self {
            Part::Ring(share) => near(y, h, share) || near(x, w, share),
            Part::Corners => near(y, h, CORNER) && near(x, w, CORNER),
            Part::Region(_) => region.is_some_and(|mask| mask.values()[y * w + x] > 0.5),
        }
    }

    /// Sets the part, or with `rest` everything else, to the mean of what is left: the mean of the whole image would tell
    /// something about what is taken away.
    pub(super) fn blank(self, sample: &mut Sample, rest: bool, region: Option<&Plane>) {
        let shape = (sample.height, sample.width);
        let taken = |y, x| self.contains((y, x), shape, region) != rest;
        let left = mean_of(sample, |y, x| !taken(y, x));
        blanked(sample, left, taken);
    }

    /// Its name; of a region, that of the settings.
    pub(super) fn name(self, context: &Context<'_>) -> String {
        match self {
            Part::Ring(share) if share <= BORDER => "border".into(),
            Part::Ring(_) => "outer ring".into(),
            Part::Corners => "corners".into(),
            Part::Region(i) => {
                let region = context.settings.data.regions.get(i);
                region.map_or_else(|| "region".into(), |(name, _)| name.clone())
            }
        }
    }
}

/// The mean grey value of some pixels; 0 without any.
fn mean_of(sample: &Sample, counts: impl Fn(usize, usize) -> bool) -> f32 {
    let (mut sum, mut n) = (0.0, 0.0);
    for (i, pixel) in sample.image.chunks(sample.channels).enumerate() {
        if counts(i / sample.width, i % sample.width) {
            sum += pixel.iter().map(|v| f64::from(*v)).sum::<f64>();
            n += pixel.len() as f64;
        }
    }
    if n > 0.0 { (sum / n) as f32 } else { 0.0 }
}

/// The masks of a region for some rows, at a size; `None` where one of them is missing.
pub(super) fn masks(
    context: &Context<'_>,
    data: &Data,
    rows: &[usize],
    size: (usize, usize),
) -> Result<Option<Vec<Plane>>> {
    let mask = |row: &usize| region_mask(context.settings, data, *row, 0, size);
    rows.iter().map(mask).collect()
}

/// The ending of a file's name, in small letters.
pub(super) fn ending(path: &str) -> String {
    let ending = Path::new(path).extension();
    ending.map_or_else(String::new, |e| e.to_string_lossy().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_and_corners_are_where_they_should_be() {
        let count = |part: Part| {
            let pixels = (0..100).map(|i| (i / 10, i % 10));
            pixels
                .filter(|at| part.contains(*at, (10, 10), None))
                .count()
        };
        assert_eq!(count(Part::BORDER), 36);
        assert_eq!(count(Part::Ring(0.15)), 100 - 36);
        assert_eq!(count(Part::Corners), 16);
        assert_eq!(count(Part::Region(0)), 0);
    }
}
