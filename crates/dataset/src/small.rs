//! A small grey copy of each image, by which near-identical images are found.

use std::sync::Arc;

/// Side of the copy in pixels.
pub(crate) const SIDE: usize = 64;

/// Side of what the perceptual hash is computed from.
const HASHED: usize = 32;

/// Side of the block of low frequencies that the hash has the bits of.
const LOW: usize = 8;

/// An image as [`SIDE`] × [`SIDE`] grey values, row by row: each the mean of its part of the image, whatever the aspect
/// ratio. Clones share the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Small(Arc<[u8]>);

impl Small {
    /// From the grey values of an image in [0, 1], row by row, of at least one pixel.
    pub(crate) fn of(values: &[f32], width: usize) -> Self {
        let rows = part_means(values.chunks_exact(width), values.len() / width, width);
        let small = rows.iter().flat_map(|row| {
            let pixels = row.chunks_exact(1);
            part_means(pixels, width, 1).into_iter().flatten()
        });
        Self(small.map(|mean| (mean * 255.0).round() as u8).collect())
    }

    /// The grey values.
    pub(crate) fn values(&self) -> &[u8] {
        &self.0
    }

    /// Left and right exchanged.
    pub(crate) fn mirrored(&self) -> Self {
        let rows = self.0.chunks_exact(SIDE);
        Self(rows.flat_map(|row| row.iter().rev().copied()).collect())
    }

    /// Its perceptual hash.
    pub(crate) fn hash(&self) -> u64 {
        let at = |row: usize, column: usize| f64::from(self.0[row * SIDE + column]);
        let mean = |i: usize| {
            let (row, column) = (2 * (i / HASHED), 2 * (i % HASHED));
            let sum = at(row, column) + at(row, column + 1) + at(row + 1, column);
            (sum + at(row + 1, column + 1)) / 4.0
        };
        perceptual_hash(&(0..HASHED * HASHED).map(mean).collect::<Vec<_>>())
    }
}

/// Divides `n` lines of `width` values into [`SIDE`] equal parts, and returns the mean line of each; a line that lies in
/// several parts counts in each by its share.
fn part_means<'l>(lines: impl Iterator<Item = &'l [f32]>, n: usize, width: usize) -> Vec<Vec<f32>> {
    let mut means = vec![vec![0.0; width]; SIDE];
    let parts_per_line = SIDE as f64 / n as f64;
    for (i, line) in lines.enumerate() {
        let (start, end) = (i as f64 * parts_per_line, (i + 1) as f64 * parts_per_line);
        let last = (end.ceil() as usize).min(SIDE);
        for (part, mean) in means.iter_mut().enumerate().take(last).skip(start as usize) {
            let weight = (end.min((part + 1) as f64) - start.max(part as f64)) as f32;
            // Written over a line, so that the sums of its values are independent of one another and fast.
            mean.iter_mut()
                .zip(line)
                .for_each(|(sum, v)| *sum += weight * v);
        }
    }
    means
}

/// The 64-bit perceptual hash of 32 × 32 grey values, row by row: bit for bit that of `imagehash.phash`, the first bit
/// the highest (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions").
///
/// A bit says whether one of the 8 × 8 lowest frequencies of the discrete cosine transform is above their median.
fn perceptual_hash(grey: &[f64]) -> u64 {
    let low = low_frequencies(grey);
    let mut sorted = low.clone();
    sorted.sort_by(f64::total_cmp);
    let median = (sorted[LOW * LOW / 2 - 1] + sorted[LOW * LOW / 2]) / 2.0;
    let bit = |hash: u64, value: &f64| hash << 1 | u64::from(*value > median);
    low.iter().fold(0, bit)
}

/// The lowest frequencies of the discrete cosine transform (type II) of 32 × 32 values, vertical by horizontal.
fn low_frequencies(grey: &[f64]) -> Vec<f64> {
    let wave = |k: usize, i: usize| {
        let angle = std::f64::consts::PI * (k * (2 * i + 1)) as f64 / (2 * HASHED) as f64;
        2.0 * angle.cos()
    };
    let waves: Vec<Vec<f64>> = (0..LOW)
        .map(|k| (0..HASHED).map(|i| wave(k, i)).collect())
        .collect();
    let transformed = |k: usize, values: &mut dyn Iterator<Item = f64>| -> f64 {
        values
            .zip(&waves[k])
            .map(|(value, wave)| value * wave)
            .sum()
    };
    let columns: Vec<f64> = (0..LOW * HASHED)
        .map(|i| {
            let mut column = grey.iter().skip(i % HASHED).step_by(HASHED).copied();
            transformed(i / HASHED, &mut column)
        })
        .collect();
    let rows = columns.chunks_exact(HASHED);
    rows.flat_map(|row| (0..LOW).map(|k| transformed(k, &mut row.iter().copied())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        grey: Vec<u8>,
        hash: String,
    }

    /// `tests/perceptual_hash.py` writes the fixture.
    #[test]
    fn hashes_are_those_of_imagehash() {
        let text = include_str!("../tests/perceptual_hash.json");
        for case in serde_json::from_str::<Vec<Case>>(text).unwrap() {
            let grey: Vec<f64> = case.grey.iter().map(|v| f64::from(*v)).collect();
            assert_eq!(format!("{:016x}", perceptual_hash(&grey)), case.hash);
            // The same values as an image, each of four pixels.
            let image: Vec<f32> = (0..SIDE * SIDE)
                .map(|i| case.grey[i / SIDE / 2 * HASHED + i % SIDE / 2])
                .map(|v| f32::from(v) / 255.0)
                .collect();
            assert_eq!(
                format!("{:016x}", Small::of(&image, SIDE).hash()),
                case.hash
            );
        }
    }

    #[test]
    fn a_small_copy_has_the_means_of_equal_parts() {
        let check = |width: usize, height: usize, value: &dyn Fn(usize, usize) -> f32| {
            let at = |i: usize| value(i % width, i / width);
            let values: Vec<f32> = (0..width * height).map(at).collect();
            Small::of(&values, width).values().to_vec()
        };
        // Columns of 2 pixels and rows of 3.
        let small = check(128, 192, &|x, y| ((x / 2 + y / 3) % 200) as f32 / 255.0);
        let expected = (0..SIDE * SIDE).map(|i| ((i % SIDE + i / SIDE) % 200) as u8);
        assert_eq!(small, expected.collect::<Vec<u8>>());
        // A part has 1.5 columns: of the values 0, 2, 4 its first two have (0 + 1) / 1.5 and (1 + 4) / 1.5.
        let small = check(96, 1, &|x, _| (2 * x) as f32 / 255.0);
        assert_eq!(small[..2], [1, 3]);
        // Fewer pixels than parts.
        assert_eq!(check(1, 1, &|_, _| 0.4), vec![102; SIDE * SIDE]);
        let small = check(3, 2, &|x, y| if (x, y) == (2, 1) { 1.0 } else { 0.0 });
        assert_eq!((small[0], small[SIDE * SIDE - 1]), (0, 255));
    }

    #[test]
    fn a_mirror_image_is_mirrored() {
        let values: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % 251) as f32 / 255.0).collect();
        let small = Small::of(&values, SIDE);
        assert_eq!(small.mirrored().values()[0], small.values()[SIDE - 1]);
        assert_eq!(small.mirrored().mirrored(), small);
    }
}
