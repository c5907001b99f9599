//! A small grey copy of each image, by which near-identical images are found.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pack;

/// Side of the copy in pixels.
pub(crate) const SIDE: usize = 64;

/// Number of its values.
pub(crate) const VALUES: usize = SIDE * SIDE;

/// Side, in pixels of the copy, of the blocks that are summed.
pub(crate) const BLOCK: usize = 8;

/// Blocks in a copy.
pub(crate) const BLOCKS: usize = (SIDE / BLOCK) * (SIDE / BLOCK);

/// An image as [`SIDE`] × [`SIDE`] grey values, row by row: each the mean of its part of the image, whatever the aspect
/// ratio. Clones share the values, which may be in a file rather than in memory.
#[derive(Clone, Debug)]
pub(crate) struct Small {
    signature: Signature,
    values: Values,
}

/// Where the grey values are.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// In memory: 4 kB per image.
    Here(Arc<[u8]>),
    /// In a file of the index cache.
    Stored(StoredValues),
}

/// The values of a small copy in a file of the cache.
#[derive(Clone, Debug)]
pub(crate) struct StoredValues {
    /// The file.
    pub(crate) file: Arc<Path>,
    /// Position of the first value in it.
    pub(crate) at: u64,
}

impl StoredValues {
    /// `None` if the file is gone or shorter.
    fn read(&self) -> Option<Vec<u8>> {
        pack::bytes(&self.file, self.at, VALUES)
    }
}

/// The signature has a checksum of the values.
impl PartialEq for Small {
    fn eq(&self, other: &Self) -> bool {
        self.signature == other.signature
    }
}

impl Values {
    /// `None` if the file that holds them is gone.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        match self {
            Values::Here(values) => Some(values.to_vec()),
            Values::Stored(stored) => stored.read(),
        }
    }
}

/// What is needed to decide whether two copies may be alike, without their values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    /// Sum of the values.
    pub(crate) sum: u32,
    /// Sum of their squares, which is below 2³².
    pub(crate) squares: u32,
    /// Sums of the blocks of 8 × 8 values, row by row; in two halves, because serde's arrays are short.
    blocks: [[u16; BLOCKS / 2]; 2],
    /// CRC-32C of the values.
    checksum: u32,
}

impl Small {
    /// From the grey values of an image in [0, 1], row by row, of at least one pixel.
    pub(crate) fn of(values: &[f32], width: usize) -> Self {
        let values = reduced(values, width);
        Self {
            signature: Signature::of(&values),
            values: Values::Here(values.into()),
        }
    }

    /// Of values that are known, or elsewhere.
    pub(crate) fn new(signature: Signature, values: Values) -> Self {
        Self { signature, values }
    }

    pub(crate) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(crate) fn into_parts(self) -> (Signature, Values) {
        (self.signature, self.values)
    }

    /// The grey values; `None` if the file that holds them is gone or damaged.
    pub(crate) fn values(&self) -> Option<Cow<'_, [u8]>> {
        match &self.values {
            Values::Here(values) => Some(Cow::Borrowed(values)),
            Values::Stored(stored) => {
                let values = stored.read()?;
                self.signature.fits(&values).then_some(Cow::Owned(values))
            }
        }
    }
}

impl Signature {
    fn of(values: &[u8]) -> Self {
        Self {
            sum: values.iter().map(|v| u32::from(*v)).sum(),
            squares: values.iter().map(|v| u32::from(*v).pow(2)).sum(),
            blocks: block_sums(values),
            checksum: crc32c::crc32c(values),
        }
    }

    /// Whether these are the values that the signature is of.
    pub(crate) fn fits(&self, values: &[u8]) -> bool {
        values.len() == VALUES && crc32c::crc32c(values) == self.checksum
    }

    /// The sums of the blocks, row by row.
    pub(crate) fn blocks(&self) -> &[u16] {
        self.blocks.as_flattened()
    }

    /// The sums of the blocks of the mirror image.
    pub(crate) fn mirrored_blocks(&self) -> Vec<u16> {
        let rows = self.blocks().chunks_exact(SIDE / BLOCK);
        rows.flat_map(|row| row.iter().rev().copied()).collect()
    }
}

/// Left and right exchanged.
pub(crate) fn mirrored(values: &[u8]) -> Vec<u8> {
    let rows = values.chunks_exact(SIDE);
    rows.flat_map(|row| row.iter().rev().copied()).collect()
}

/// The grey values of an image as those of its small copy.
pub(crate) fn reduced(values: &[f32], width: usize) -> Vec<u8> {
    let rows = part_means(values.chunks_exact(width), values.len() / width, width);
    let small = rows
        .chunks_exact(width)
        .flat_map(|row| part_means(row.chunks_exact(1), width, 1));
    small.map(|mean| (mean * 255.0).round() as u8).collect()
}

fn block_sums(values: &[u8]) -> [[u16; BLOCKS / 2]; 2] {
    let mut sums = [[0; BLOCKS / 2]; 2];
    for (y, row) in values.chunks_exact(SIDE).enumerate() {
        let of_row = &mut sums.as_flattened_mut()[y / BLOCK * (SIDE / BLOCK)..];
        for (sum, part) in of_row.iter_mut().zip(row.chunks_exact(BLOCK)) {
            *sum += part.iter().map(|v| u16::from(*v)).sum::<u16>();
        }
    }
    sums
}

/// Divides `n` lines of `width` values into [`SIDE`] equal parts, and returns the mean line of each, one after another; a
/// line that lies in several parts counts in each by its share.
fn part_means<'l>(lines: impl Iterator<Item = &'l [f32]>, n: usize, width: usize) -> Vec<f32> {
    let mut means = vec![0.0; SIDE * width];
    let parts_per_line = SIDE as f64 / n as f64;
    for (i, line) in lines.enumerate() {
        let (start, end) = (i as f64 * parts_per_line, (i + 1) as f64 * parts_per_line);
        let last = (end.ceil() as usize).min(SIDE);
        let parts = means.chunks_exact_mut(width).enumerate();
        for (part, mean) in parts.take(last).skip(start as usize) {
            let weight = (end.min((part + 1) as f64) - start.max(part as f64)) as f32;
            // Written over a line, so that the sums of its values are independent of one another and fast.
            mean.iter_mut()
                .zip(line)
                .for_each(|(sum, v)| *sum += weight * v);
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_copy_has_the_means_of_equal_parts() {
        let check = |width: usize, height: usize, value: &dyn Fn(usize, usize) -> f32| {
            let at = |i: usize| value(i % width, i / width);
            let values: Vec<f32> = (0..width * height).map(at).collect();
            reduced(&values, width)
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
        let values: Vec<u8> = (0..VALUES).map(|i| (i % 251) as u8).collect();
        assert_eq!(mirrored(&values)[0], values[SIDE - 1]);
        assert_eq!(mirrored(&mirrored(&values)), values);
        let signature = Signature::of(&values);
        let of_mirror = Signature::of(&mirrored(&values));
        assert_eq!(signature.mirrored_blocks(), of_mirror.blocks());
        assert_eq!(
            signature.blocks()[1],
            (0..8 * 8)
                .map(|i| (8 + i % 8 + i / 8 * SIDE) % 251)
                .sum::<usize>() as u16
        );
        assert!(signature.fits(&values) && !signature.fits(&mirrored(&values)));
    }
}
