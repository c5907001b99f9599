//! Contrast-limited adaptive histogram equalization (Zuiderveld, Graphics Gems IV, 1994), step by step as in
//! scikit-image's `exposure.equalize_adapthist` with its defaults, so that the two can be compared.

use image::{DynamicImage, ImageBuffer, Pixel};

use super::grey::without_alpha;

/// Grey levels that histograms are computed from.
const LEVELS: usize = 1 << 14;
/// Bins of a histogram.
const BINS: usize = 256;
/// Grey levels of a bin.
const BIN: usize = 1 + LEVELS / BINS;
/// A bin holds at most this share of a tile's pixels; what exceeds it is distributed over the others.
const CLIP_LIMIT: f64 = 0.01;
/// Tiles along each side.
const TILES: usize = 8;

/// Equalizes an image; of colours the value of HSV, so that hue and saturation stay. The depth stays, alpha is dropped.
pub(super) fn equalized(image: DynamicImage) -> DynamicImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let size = (height, width);
    match without_alpha(image) {
        DynamicImage::ImageLuma8(mut grey) => {
            replace(&mut grey, size, 257, 255.0, |v| v as u8);
            DynamicImage::ImageLuma8(grey)
        }
        DynamicImage::ImageLuma16(mut grey) => {
            replace(&mut grey, size, 1, 65535.0, |v| v as u16);
            DynamicImage::ImageLuma16(grey)
        }
        DynamicImage::ImageRgb8(mut rgb) => {
            replace(&mut rgb, size, 257, 255.0, |v| v as u8);
            DynamicImage::ImageRgb8(rgb)
        }
        DynamicImage::ImageRgb16(mut rgb) => {
            replace(&mut rgb, size, 1, 65535.0, |v| v as u16);
            DynamicImage::ImageRgb16(rgb)
        }
        // `without_alpha` returns one of the four.
        other => other,
    }
}

/// Scales the channels of each pixel so that the largest becomes the equalized one. `to_u16` takes a sample to 16 bits,
/// `white` is the highest sample.
fn replace<P, S>(
    image: &mut ImageBuffer<P, Vec<S>>,
    size: (usize, usize),
    to_u16: u16,
    white: f64,
    sample: impl Fn(f64) -> S,
) where
    P: Pixel<Subpixel = S>,
    S: image::Primitive + Into<u16>,
{
    let value = |pixel: &P| {
        let channels = pixel.channels().iter().map(|&c| c.into());
        channels.max().unwrap_or(0_u16)
    };
    let values: Vec<u16> = image.pixels().map(|p| value(p) * to_u16).collect();
    let Some(equalized) = equalized_values(&values, size) else {
        return;
    };
    for (pixel, new) in image.pixels_mut().zip(equalized) {
        let old = f64::from(value(pixel));
        for channel in pixel.channels_mut() {
            // Black has no hue: it becomes grey.
            let share = match old {
                0.0 => 1.0,
                old => f64::from((*channel).into()) / old,
            };
            *channel = sample((new * share * white).round());
        }
    }
}

/// Values in [0, 1], row by row; `None` if all pixels are equal.
fn equalized_values(values: &[u16], (height, width): (usize, usize)) -> Option<Vec<f64>> {
    let levels = levels(values)?;
    let rows = Tiling::of(height);
    let columns = Tiling::of(width);
    let maps = maps(&levels, &rows, &columns);
    let mut mapped = Vec::with_capacity(levels.len());
    for y in 0..height {
        let (above, below, down) = rows.neighbours(y);
        for x in 0..width {
            let (left, right, across) = columns.neighbours(x);
            let bin = usize::from(levels[y * width + x]) / BIN;
            let at = |row: usize, column: usize| f64::from(maps[row * columns.tiles + column][bin]);
            // In single precision and in this order, as the reference adds them.
            let sum = (at(above, left) * ((1.0 - across) * (1.0 - down))) as f32
                + (at(above, right) * (across * (1.0 - down))) as f32
                + (at(below, left) * ((1.0 - across) * down)) as f32
                + (at(below, right) * (across * down)) as f32;
            mapped.push(sum as u16);
        }
    }
    let (darkest, range) = range(&mapped)?;
    let stretched = |v: &u16| f64::from(v - darkest) / f64::from(range);
    Some(mapped.iter().map(stretched).collect())
}

/// The lowest value and the distance to the highest; `None` if they are equal.
fn range(values: &[u16]) -> Option<(u16, u16)> {
    let (darkest, brightest) = (*values.iter().min()?, *values.iter().max()?);
    (brightest > darkest).then_some((darkest, brightest - darkest))
}

/// Values stretched over all grey levels.
fn levels(values: &[u16]) -> Option<Vec<u16>> {
    let (darkest, range) = range(values)?;
    let stretched = |v: &u16| {
        let share = f64::from(v - darkest) / f64::from(range);
        (share * (LEVELS - 1) as f64).round_ties_even() as u16
    };
    Some(values.iter().map(stretched).collect())
}

/// The tiles along one side of an image.
struct Tiling {
    /// Pixels of the image.
    side: usize,
    /// Pixels of a tile.
    tile: usize,
    tiles: usize,
}

impl Tiling {
    fn of(side: usize) -> Self {
        let tile = (side / TILES).max(1);
        Self {
            side,
            tile,
            tiles: side.div_ceil(tile),
        }
    }

    /// The image's pixel at a place of a tile; the last tile may exceed the image, which is mirrored there.
    fn pixel(&self, tile: usize, offset: usize) -> usize {
        let at = tile * self.tile + offset;
        match at < self.side {
            true => at,
            false => 2 * (self.side - 1) - at,
        }
    }

    /// The two tiles with the nearest centres, and how far from the first to the second a pixel is.
    fn neighbours(&self, pixel: usize) -> (usize, usize, f64) {
        let shifted = pixel + self.tile / 2;
        let (block, offset) = (shifted / self.tile, shifted % self.tile);
        let last = self.tiles - 1;
        let first = block.saturating_sub(1).min(last);
        (first, block.min(last), offset as f64 / self.tile as f64)
    }
}

/// For each tile, row by row, the new level of each bin.
fn maps(levels: &[u16], rows: &Tiling, columns: &Tiling) -> Vec<[u16; BINS]> {
    let pixels = rows.tile * columns.tile;
    let limit = ((CLIP_LIMIT * pixels as f64) as usize).max(1);
    let tiles = (0..rows.tiles).flat_map(|row| (0..columns.tiles).map(move |column| (row, column)));
    let map = |(row, column)| {
        let mut histogram = [0_usize; BINS];
        for y in (0..rows.tile).map(|offset| rows.pixel(row, offset)) {
            for x in (0..columns.tile).map(|offset| columns.pixel(column, offset)) {
                histogram[usize::from(levels[y * columns.side + x]) / BIN] += 1;
            }
        }
        clip(&mut histogram, limit);
        cumulated(&histogram, pixels)
    };
    tiles.map(map).collect()
}

fn cumulated(histogram: &[usize; BINS], pixels: usize) -> [u16; BINS] {
    let mut sum = 0;
    histogram.map(|count| {
        sum += count;
        let highest = (LEVELS - 1) as f64;
        (sum as f64 * (highest / pixels as f64)).min(highest) as u16
    })
}

/// Cuts bins at the limit and distributes what they had more over the bins below it.
fn clip(histogram: &mut [usize; BINS], limit: usize) {
    let mut excess = 0_i64;
    for count in histogram.iter_mut() {
        excess += count.saturating_sub(limit) as i64;
        *count = (*count).min(limit);
    }
    let limit = limit as i64;
    let increment = excess / BINS as i64;
    let upper = limit - increment;
    let mut counts = histogram.map(|count| count as i64);
    for count in &mut counts {
        if *count < upper {
            *count += increment;
            excess -= increment;
        }
    }
    for count in &mut counts {
        if (upper..limit).contains(count) {
            excess += *count - limit;
            *count = limit;
        }
    }
    distribute(&mut counts, limit, excess);
    for (count, new) in histogram.iter_mut().zip(counts) {
        *count = new.max(0) as usize;
    }
}

/// Adds what is left one by one, evenly over the bins below the limit.
fn distribute(counts: &mut [i64; BINS], limit: i64, mut excess: i64) {
    while excess > 0 {
        let before = excess;
        for first in 0..BINS {
            let below = counts.iter().filter(|count| **count < limit).count() as i64;
            let step = (below / excess).max(1) as usize;
            for count in counts.iter_mut().skip(first).step_by(step) {
                if *count < limit {
                    *count += 1;
                    excess -= 1;
                }
            }
            if excess <= 0 {
                break;
            }
        }
        if excess == before {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean, standard deviation and some pixels (row, column, value) of `skimage.exposure.equalize_adapthist(image)`
    /// (scikit-image 0.26) for `image` as below.
    struct Reference {
        size: (usize, usize),
        /// What the pattern is multiplied by, and to 16 bits.
        scale: (f64, u16),
        mean: f64,
        std: f64,
        pixels: [(usize, usize, f64); 4],
    }

    const REFERENCES: [Reference; 4] = [
        Reference {
            size: (43, 59),
            scale: (1.0, 257),
            mean: 0.5296894680067084,
            std: 0.26296687759011256,
            pixels: [
                (21, 29, 0.2520263901979265),
                (42, 58, 0.6410933081998115),
                (1, 57, 0.8486961985548225),
                (41, 3, 0.046999685830977064),
            ],
        },
        Reference {
            size: (64, 64),
            scale: (200.0, 1),
            mean: 0.5191534133184524,
            std: 0.2442509629396997,
            pixels: [
                (32, 32, 0.7063492063492064),
                (63, 63, 0.4603174603174603),
                (21, 12, 0.15674603174603174),
                (62, 3, 0.5396825396825397),
            ],
        },
        Reference {
            size: (7, 9),
            scale: (1.0, 257),
            mean: 0.5079365079365079,
            std: 0.4999370078737658,
            pixels: [(0, 0, 1.0), (3, 4, 0.0), (2, 1, 1.0), (5, 3, 1.0)],
        },
        Reference {
            size: (130, 101),
            scale: (200.0, 1),
            mean: 0.6449215660306981,
            std: 0.2549192526916193,
            pixels: [
                (65, 50, 0.5706835194502393),
                (1, 99, 1.0),
                (43, 20, 0.2513191802675175),
                (128, 3, 0.17278193643391826),
            ],
        },
    ];

    fn pattern(y: usize, x: usize, width: usize) -> f64 {
        let texture = (x * 37 + y * 101 + (x * y) % 53 * 7) % 256;
        texture as f64 * 0.4 + (x as f64 * 255.0 / width as f64) * 0.6
    }

    #[test]
    fn values_are_those_of_scikit_image() {
        for reference in REFERENCES {
            let ((height, width), (scale, to_u16)) = (reference.size, reference.scale);
            let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
            let values =
                pixels.map(|(y, x)| (pattern(y, x, width) * scale).floor() as u16 * to_u16);
            let found = equalized_values(&values.collect::<Vec<_>>(), (height, width)).unwrap();
            let n = found.len() as f64;
            let mean = found.iter().sum::<f64>() / n;
            let variance = found.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            assert!((mean - reference.mean).abs() < 1e-9, "{mean}");
            assert!((variance.sqrt() - reference.std).abs() < 1e-9, "{variance}");
            for (y, x, expected) in reference.pixels {
                let found = found[y * width + x];
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{y} {x} {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn depth_and_hue_stay() {
        let rgb = image::RgbImage::from_fn(20, 30, |x, y| {
            image::Rgb([(4 * x + y) as u8, (2 * x) as u8, 0])
        });
        let values: Vec<u16> = rgb.pixels().map(|p| u16::from(p.0[0]) * 257).collect();
        let expected = equalized_values(&values, (30, 20)).unwrap();
        let DynamicImage::ImageRgb8(found) = equalized(DynamicImage::ImageRgb8(rgb.clone())) else {
            panic!("another depth");
        };
        for ((old, new), value) in rgb.pixels().zip(found.pixels()).zip(expected) {
            assert_eq!(new.0[0], (value * 255.0).round() as u8);
            let green = match old.0[0] {
                0 => value * 255.0,
                red => value * 255.0 * f64::from(old.0[1]) / f64::from(red),
            };
            assert!((f64::from(new.0[1]) - green).abs() <= 0.5 + 1e-9);
        }
        let flat = DynamicImage::ImageLuma16(ImageBuffer::from_pixel(9, 9, image::Luma([700])));
        assert_eq!(equalized(flat.clone()), flat);
    }
}
