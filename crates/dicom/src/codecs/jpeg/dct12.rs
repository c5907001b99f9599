//! JPEG Extended with 12 bits (ITU-T T.81, process 4): sequential DCT with Huffman codes.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use decoding::huffman::Bits;

use super::stream::{Coded, Scan, Stream, extended, symbol};
use crate::layout::Layout;
use crate::samples::Samples;

/// Place of each coefficient in its block, in the order of the file (figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

pub(super) fn decode(mut stream: Stream<'_>, layout: &Layout) -> Result<Samples, String> {
    let mut image = Image::new(layout);
    stream.scans(layout, |scan| {
        let (across, down) = (image.columns.div_ceil(8), image.rows.div_ceil(8));
        let mut before = vec![0; scan.coded.len()];
        for unit in 0..across * down {
            let cut = || {
                format!(
                    "truncated or damaged: its JPEG ends in block row {} of {down}",
                    unit / across
                )
            };
            image.unit(scan, &mut before, unit).ok_or_else(cut)?;
        }
        Ok(())
    })?;
    Ok(Samples::U16(image.samples))
}

struct Image {
    rows: usize,
    columns: usize,
    components: usize,
    basis: [[f32; 8]; 8],
    samples: Vec<u16>,
}

impl Image {
    fn new(layout: &Layout) -> Self {
        let basis = |u: usize, x: usize| {
            let scale = if u == 0 { FRAC_1_SQRT_2 } else { 1. };
            scale / 2. * ((2 * x + 1) as f32 * u as f32 * PI / 16.).cos()
        };
        let components = usize::from(layout.samples);
        Self {
            rows: layout.rows as usize,
            columns: layout.columns as usize,
            components,
            basis: std::array::from_fn(|u| std::array::from_fn(|x| basis(u, x))),
            samples: vec![0; layout.pixels() * components],
        }
    }

    /// A block of each component of a scan; `before` are the last DC coefficients.
    fn unit(&mut self, scan: &mut Scan<'_, '_>, before: &mut [i32], unit: usize) -> Option<()> {
        if scan.restarts(unit)? {
            before.fill(0);
        }
        let across = self.columns.div_ceil(8);
        for (coded, before) in scan.coded.iter().zip(before) {
            let block = block(coded, &mut scan.bits, before)?;
            self.store(
                &block,
                coded.component,
                unit % across * 8,
                unit / across * 8,
            );
        }
        Some(())
    }

    /// Transforms a block back (A.3.3) and writes the part of it that is in the image.
    fn store(&mut self, block: &[f32; 64], component: usize, left: usize, top: usize) {
        let basis = &self.basis;
        let mut columns = [0_f32; 64];
        for (v, row) in block.as_chunks::<8>().0.iter().enumerate() {
            for x in 0..8 {
                columns[8 * v + x] = (0..8).map(|u| row[u] * basis[u][x]).sum();
            }
        }
        for y in top..self.rows.min(top + 8) {
            for x in left..self.columns.min(left + 8) {
                let value: f32 = (0..8)
                    .map(|v| columns[8 * v + x - left] * basis[v][y - top])
                    .sum();
                let place = self
                    .samples
                    .get_mut((y * self.columns + x) * self.components + component);
                place
                    .into_iter()
                    .for_each(|place| *place = (value + 2048.5).clamp(0., 4095.) as u16);
            }
        }
    }
}

/// The next block's coefficients (F.2.2), dequantized, row by row.
fn block(coded: &Coded<'_>, bits: &mut Bits<'_>, before: &mut i32) -> Option<[f32; 64]> {
    let quantization = coded.quantization?;
    let mut block = [0_f32; 64];
    let category = symbol(coded.dc, bits)?;
    let dc = *before + extended(bits, Some(category).filter(|c| *c <= 16)?)?;
    // What no encoder writes would overflow in the end.
    *before = Some(dc).filter(|dc| dc.abs() < 1 << 17)?;
    block[0] = dc as f32 * f32::from(quantization[0]);
    let mut i = 1;
    while i < 64 {
        let run = symbol(coded.ac?, bits)?;
        match (usize::from(run >> 4), run & 15) {
            (15, 0) => i += 16,
            (_, 0) => break,
            (zeros, category) => {
                i += zeros;
                let factor = f32::from(*quantization.get(i)?);
                block[usize::from(ZIGZAG[i])] = extended(bits, category)? as f32 * factor;
                i += 1;
            }
        }
    }
    Some(block)
}
