//! Codes as they are, of the pixels under some output rows.

use super::Quantized;
use crate::Nhwc;
use crate::conv2d::{InputPart, Inputs};
use crate::simd::{Bytes, Words};
use std::ops::Range;

pub(super) use super::widen::Rectangle;

/// The parts of an input. Words do not span parts: after a part's last channel come arbitrary codes, which are multiplied
/// by weights of 0.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) inputs: &'a Inputs,
    /// Shape of the joined input.
    pub(super) xs: Nhwc,
    pub(super) parts: &'a [Quantized<'a>],
}

/// Words as bytes.
pub(super) fn bytes(words: &mut [f32]) -> &mut [u8] {
    // SAFETY: any byte is a `u8` and needs no alignment, any four are an `f32`; the words are borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

impl Source<'_> {
    /// Bytes per pixel.
    fn pixel(&self) -> usize {
        Bytes::EACH * self.inputs.runs(Bytes::EACH)
    }

    /// Writes the rectangle's pixels row after row, those beyond the image as zeros; returns them.
    pub(super) fn copy<'a>(&self, from: Rectangle, to: &'a mut [u8]) -> &'a [u8] {
        let (pixel, (before, inside)) = (self.pixel(), from.columns_of(self.xs.w));
        let to = &mut to[..from.rows * from.columns * pixel];
        for (i, row) in to.chunks_exact_mut(from.columns * pixel).enumerate() {
            let y = from.first[0] + i as isize;
            if y < 0 || y >= self.xs.h as isize {
                self.zeros(row);
                continue;
            }
            let (outside, row) = row.split_at_mut(before * pixel);
            self.zeros(outside);
            let (row, outside) = row.split_at_mut(inside.len() * pixel);
            self.zeros(outside);
            self.row([from.n, y as usize], inside.clone(), row);
        }
        to
    }

    /// Pixels of zeros.
    fn zeros(&self, to: &mut [u8]) {
        let (mut first, pixel) = (0, self.pixel());
        for (part, shape) in self.parts.iter().zip(self.inputs.parts()) {
            let end = first + shape.channels.next_multiple_of(Bytes::EACH);
            for pixel in to.chunks_exact_mut(pixel) {
                pixel[first..end].fill(part.affine.zero);
            }
            first = end;
        }
    }

    /// Some pixels of a row.
    fn row(&self, [n, y]: [usize; 2], columns: Range<usize>, to: &mut [u8]) {
        let (xs, whole) = (self.xs, self.inputs.is_whole());
        if let ([part], true) = (self.parts, whole && xs.c.is_multiple_of(Bytes::EACH)) {
            let first = ((n * xs.h + y) * xs.w + columns.start) * xs.c;
            to.copy_from_slice(&part.data[first..][..to.len()]);
            return;
        }
        let (mut at, pixel) = (0, self.pixel());
        for (part, shape) in self.parts.iter().zip(self.inputs.parts()) {
            let InputPart { channels, doubled } = *shape;
            let shift = u32::from(doubled);
            let row = ((n * (xs.h >> shift) + (y >> shift)) * (xs.w >> shift)) * channels;
            let codes = &part.data[row..][..(xs.w >> shift) * channels];
            for (x, to) in columns.clone().zip(to.chunks_exact_mut(pixel)) {
                let from = &codes[(x >> shift) * channels..][..channels];
                copy(from, &mut to[at..at + channels]);
            }
            at += channels.next_multiple_of(Bytes::EACH);
        }
    }
}

/// Copies a pixel's channels, most of them in blocks whose size the compiler knows.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    const BLOCK: usize = 16;
    let len = from.len();
    if len < BLOCK {
        return to.copy_from_slice(from);
    }
    for at in (0..len).step_by(BLOCK) {
        // The last block overlaps the one before it.
        let block = at.min(len - BLOCK)..at.min(len - BLOCK) + BLOCK;
        to[block.clone()].copy_from_slice(&from[block]);
    }
}
