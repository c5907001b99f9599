//! Codes as `i16` pairs.

use super::Quantized;
use crate::Nhwc;
use crate::conv2d::{InputPart, Inputs};
use crate::simd::Simd;
use crate::size;
use std::ops::Range;

/// Codes that are widened at a time at least.
const BLOCK: usize = 16;
/// Words beyond the last pixel, which a whole vector may reach.
const SLACK: usize = 16;

/// The parts of an input, whose pixels are written as words of two channels each, `code − zero`. Pairs do not span
/// parts: after an odd channel comes an arbitrary number of at most 255, which is multiplied by a weight of 0.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) inputs: &'a Inputs,
    /// Shape of the joined input.
    pub(super) xs: Nhwc,
    pub(super) parts: &'a [Quantized<'a>],
    /// Whether the numbers are multiplied by 128.
    pub(super) shift: bool,
}

/// A rectangle of an image's pixels, which may extend beyond its borders.
#[derive(Clone, Copy)]
pub(super) struct Rectangle {
    pub(super) n: usize,
    /// First row and column.
    pub(super) first: [isize; 2],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Rectangle {
    /// Of its columns, how many come before an image of width `w`, all if none is inside; and which columns of the image are
    /// inside.
    #[inline(always)]
    pub(super) fn columns_of(self, w: usize) -> (usize, Range<usize>) {
        let inside = |at: isize| at.clamp(0, w as isize) as usize;
        let left = self.first[1];
        let start = inside(left);
        let end = inside(left + self.columns as isize).max(start);
        match start == end {
            true => (self.columns, start..end),
            false => ((start as isize - left) as usize, start..end),
        }
    }
}

/// Words of a rectangle's pixels, of so many words each.
pub(super) fn words(rows: usize, columns: usize, pixel: usize) -> usize {
    size([rows, columns, pixel]) + SLACK
}

impl Source<'_> {
    /// Words per pixel.
    #[inline(always)]
    fn pixel(&self) -> usize {
        self.inputs.runs(2)
    }

    /// Writes the rectangle's pixels row after row; those beyond the image are 0.
    #[inline(always)]
    pub(super) fn widen<S: Simd>(&self, s: S, from: Rectangle, to: &mut [f32]) {
        let (Nhwc { h, w, .. }, pixel) = (self.xs, self.pixel());
        assert!(
            to.len() >= words(from.rows, from.columns, pixel) && S::LANES <= SLACK,
            "too little room for {} × {} pixels",
            from.rows,
            from.columns
        );
        let (before, inside) = from.columns_of(w);
        // From the first row to the last: a vector may reach beyond its pixel, into what is written next.
        for row in 0..from.rows {
            let y = from.first[0] + row as isize;
            let to = &mut to[row * from.columns * pixel..];
            if y < 0 || y >= h as isize {
                to[..from.columns * pixel].fill(0.0);
                continue;
            }
            to[..before * pixel].fill(0.0);
            self.row(
                s,
                from.n,
                y as usize,
                inside.clone(),
                &mut to[before * pixel..],
            );
            to[(before + inside.len()) * pixel..from.columns * pixel].fill(0.0);
        }
    }

    /// Writes the pixels of one row.
    #[inline(always)]
    fn row<S: Simd>(&self, s: S, n: usize, y: usize, columns: Range<usize>, to: &mut [f32]) {
        let (Nhwc { h, w, c, .. }, pixel) = (self.xs, self.pixel());
        if let ([part], true) = (self.parts, self.inputs.is_whole() && c % 2 == 0) {
            let first = ((n * h + y) * w + columns.start) * c;
            return run(s, *part, self.shift, first, columns.len() * c, to);
        }
        // Part by part if each has whole pairs and at least a block of them: its last block then overlaps the one before it
        // instead of reaching into the next part.
        let parts = || self.parts.iter().zip(self.inputs.parts());
        if parts().all(|(_, shape)| shape.channels % 2 == 0 && shape.channels >= BLOCK) {
            let mut word = 0;
            for (part, shape) in parts() {
                let to = &mut to[word..];
                self.part(s, *part, *shape, [n, y], columns.clone(), to);
                word += shape.channels / 2;
            }
            return;
        }
        for (i, x) in columns.enumerate() {
            let mut to = &mut to[i * pixel..];
            for (part, shape) in parts() {
                let first = offset(*shape, self.xs, [n, y, x]);
                run(s, *part, self.shift, first, shape.channels, to);
                to = &mut to[shape.channels.div_ceil(2)..];
            }
        }
    }

    /// Writes a part of the pixels of one row.
    #[inline(always)]
    fn part<S: Simd>(
        &self,
        s: S,
        part: Quantized<'_>,
        shape: InputPart,
        [n, y]: [usize; 2],
        columns: Range<usize>,
        to: &mut [f32],
    ) {
        let (pixel, channels) = (self.pixel(), shape.channels);
        // Codes of a vector, or half of one.
        let block = match channels >= 2 * S::LANES {
            true => 2 * S::LANES,
            false => BLOCK,
        };
        let mask = s.mask(block / 2);
        let (zero, double) = (part.zero_pairs(s), u32::from(shape.doubled));
        let row = offset(shape, self.xs, [n, y, 0]);
        let from = &part.data[row..];
        let Some(last) = columns.clone().last() else {
            return;
        };
        assert!(
            channels >= block
                && channels % 2 == 0
                && ((last >> double) + 1) * channels <= from.len()
                && (columns.len() - 1) * pixel + channels / 2 <= to.len(),
            "too little room for {channels} channels of {} pixels",
            columns.len()
        );
        for (i, x) in columns.enumerate() {
            let from = from.as_ptr().wrapping_add((x >> double) * channels);
            let to = to.as_mut_ptr().wrapping_add(i * pixel);
            let mut at = 0;
            while at < channels {
                let first = at.min(channels - block);
                // SAFETY: whole blocks within the pixel's channels, which were checked to be within both slices.
                unsafe {
                    let codes = s.load_bytes_as_i16(from.add(first), block);
                    let value = self.shifted(s, s.sub_i16(codes, zero));
                    s.store(to.add(first / 2), mask, value);
                }
                at += block;
            }
        }
    }

    #[inline(always)]
    fn shifted<S: Simd>(&self, s: S, value: S::V) -> S::V {
        match self.shift {
            true => s.times_128_i16(value),
            false => value,
        }
    }
}

impl Quantized<'_> {
    /// The code of zero in every half of a vector's words.
    #[inline(always)]
    fn zero_pairs<S: Simd>(self, s: S) -> S::V {
        let zero = i16::from(self.affine.zero);
        s.splat(crate::simd::pair_i16(zero, zero))
    }
}

/// First code of a pixel of a part.
#[inline(always)]
fn offset(part: InputPart, xs: Nhwc, [n, y, x]: [usize; 3]) -> usize {
    let shift = u32::from(part.doubled);
    ((n * (xs.h >> shift) + (y >> shift)) * (xs.w >> shift) + (x >> shift)) * part.channels
}

/// Writes `len` codes from `first` in whole vectors.
#[inline(always)]
fn run<S: Simd>(s: S, part: Quantized<'_>, shift: bool, first: usize, len: usize, to: &mut [f32]) {
    let zero = part.zero_pairs(s);
    let from = &part.data[first..];
    assert!(
        len <= from.len() && to.len() >= len.div_ceil(2 * S::LANES) * S::LANES,
        "too little room for {len} codes"
    );
    for at in (0..len).step_by(2 * S::LANES) {
        // SAFETY: what remains of the part bounds the codes that are read; there is room for whole vectors.
        unsafe {
            let codes = s.load_bytes_as_i16(from.as_ptr().add(at), from.len() - at);
            let mut value = s.sub_i16(codes, zero);
            if shift {
                value = s.times_128_i16(value);
            }
            s.store(to.as_mut_ptr().add(at / 2), s.mask(S::LANES), value);
        }
    }
}
