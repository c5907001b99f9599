//! JPEG Extended with 12 bits (ITU-T T.81, process 4): sequential DCT with Huffman codes, which no decoder in Rust reads.
//!
//! Components must have the same size; in practice there is one.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use decoding::huffman::{Bits, Table};
use decoding::jpeg::{next_marker, segment};

use crate::frame::Samples;
use crate::layout::Layout;

/// Column and row of each coefficient in its order in the file (figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The caller has compared the frame's size with the layout.
pub(super) fn decode(bytes: &[u8], layout: &Layout) -> Result<Samples, String> {
    let mut decoder = Decoder::new(layout);
    let mut at = 2;
    let cut = || "truncated: its JPEG is not complete".to_owned();
    while decoder.received < usize::from(layout.samples) {
        let marker = next_marker(bytes, &mut at).ok_or_else(cut)?;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        if marker == 0xD9 {
            return Err(cut());
        }
        let body = segment(bytes, &mut at).ok_or_else(cut)?;
        let broken = || damaged(marker);
        match marker {
            0xC1 => decoder.frame(body)?,
            0xC4 => decoder.huffman(body).ok_or_else(broken)?,
            0xDA => at = decoder.scan(body, bytes, at)?,
            0xDB => decoder.quantization(body).ok_or_else(broken)?,
            0xDD => decoder.restart = usize::from(word(body).ok_or_else(broken)?),
            _ => {}
        }
    }
    Ok(Samples::U16(decoder.samples))
}

fn damaged(marker: u8) -> String {
    format!("its JPEG is damaged: the segment FF{marker:02X}")
}

fn word(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?))
}

struct Decoder {
    rows: usize,
    columns: usize,
    /// Name and quantization table of each component.
    components: Vec<(u8, usize)>,
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    /// Blocks between two restart markers; 0 for none.
    restart: usize,
    basis: [[f32; 8]; 8],
    samples: Vec<u16>,
    /// Components that have been decoded.
    received: usize,
}

/// A component of a scan.
struct Coded<'d> {
    component: usize,
    dc: &'d Table,
    ac: &'d Table,
    quantization: &'d [u16; 64],
    /// The DC coefficient of the block before.
    before: i32,
}

impl Decoder {
    fn new(layout: &Layout) -> Self {
        let basis = |u: usize, x: usize| {
            let scale = if u == 0 { FRAC_1_SQRT_2 } else { 1. };
            scale / 2. * ((2 * x + 1) as f32 * u as f32 * PI / 16.).cos()
        };
        Self {
            rows: layout.rows as usize,
            columns: layout.columns as usize,
            components: Vec::new(),
            quantization: [None; 4],
            dc: Default::default(),
            ac: Default::default(),
            restart: 0,
            basis: std::array::from_fn(|u| std::array::from_fn(|x| basis(u, x))),
            samples: vec![0; layout.pixels() * usize::from(layout.samples)],
            received: 0,
        }
    }

    fn frame(&mut self, body: &[u8]) -> Result<(), String> {
        let listed = body.get(6..).unwrap_or_default().as_chunks::<3>().0;
        if listed.windows(2).any(|pair| pair[0][1] != pair[1][1]) {
            return Err(
                "its JPEG of 12 bits has components of different sizes, which is not read"
                    .to_owned(),
            );
        }
        self.components = listed
            .iter()
            .map(|&[id, _, table]| (id, usize::from(table)))
            .collect();
        // Sampling factors only matter relative to each other, but 2x2 of a single component still orders its blocks.
        let plain = listed.len() == 1 || listed.iter().all(|component| component[1] == 0x11);
        match plain && !self.components.is_empty() {
            true => Ok(()),
            false => Err(damaged(0xC1)),
        }
    }

    fn quantization(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = body.split_first() {
            let (values, length): (Vec<u16>, usize) = match kind >> 4 {
                0 => (
                    rest.get(..64)?.iter().map(|&value| value.into()).collect(),
                    64,
                ),
                _ => (
                    rest.get(..128)?
                        .as_chunks()
                        .0
                        .iter()
                        .map(|v| u16::from_be_bytes(*v))
                        .collect(),
                    128,
                ),
            };
            *self.quantization.get_mut(usize::from(kind & 15))? = values.try_into().ok();
            body = &rest[length..];
        }
        Some(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = body.split_first() {
            let lengths = rest.first_chunk::<16>()?;
            let symbols: usize = lengths.iter().map(|&n| usize::from(n)).sum();
            let table = Table::new(lengths, rest.get(16..16 + symbols)?)?;
            let slots = if kind >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            *slots.get_mut(usize::from(kind & 15))? = Some(table);
            body = &rest[16 + symbols..];
        }
        Some(())
    }

    /// Decodes a scan; returns the position behind it.
    fn scan(&mut self, header: &[u8], bytes: &[u8], at: usize) -> Result<usize, String> {
        let mut samples = std::mem::take(&mut self.samples);
        let mut coded = self.coded(header).ok_or_else(|| damaged(0xDA))?;
        let mut bits = Bits::new(bytes, at);
        let across = self.columns.div_ceil(8);
        let units = across * self.rows.div_ceil(8);
        for unit in 0..units {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                let marker = 0xD0 + ((unit / self.restart - 1) % 8) as u8;
                bits.restart(marker)
                    .ok_or_else(|| self.truncated(unit / across))?;
                coded.iter_mut().for_each(|component| component.before = 0);
            }
            for component in &mut coded {
                let block = component
                    .block(&mut bits)
                    .ok_or_else(|| self.truncated(unit / across))?;
                self.store(
                    &mut samples,
                    &block,
                    component.component,
                    (unit % across * 8, unit / across * 8),
                );
            }
        }
        let received = coded.len();
        self.samples = samples;
        self.received += received;
        Ok(bits.at())
    }

    fn truncated(&self, row: usize) -> String {
        format!(
            "truncated or damaged: its JPEG ends in block row {row} of {}",
            self.rows.div_ceil(8)
        )
    }

    fn coded(&self, header: &[u8]) -> Option<Vec<Coded<'_>>> {
        let (&n, rest) = header.split_first()?;
        let listed = rest.get(..2 * usize::from(n))?.as_chunks::<2>().0;
        let coded = listed.iter().map(|&[id, tables]| {
            let component = self.components.iter().position(|(own, _)| *own == id)?;
            Some(Coded {
                component,
                dc: self.dc.get(usize::from(tables >> 4))?.as_ref()?,
                ac: self.ac.get(usize::from(tables & 15))?.as_ref()?,
                quantization: self
                    .quantization
                    .get(self.components[component].1)?
                    .as_ref()?,
                before: 0,
            })
        });
        coded
            .collect::<Option<Vec<_>>>()
            .filter(|coded| !coded.is_empty())
    }

    /// Transforms a block back (A.3.3) and writes the part of it that is in the image.
    fn store(
        &self,
        samples: &mut [u16],
        block: &[f32; 64],
        component: usize,
        (left, top): (usize, usize),
    ) {
        let basis = &self.basis;
        let mut columns = [0_f32; 64];
        for (v, row) in block.as_chunks::<8>().0.iter().enumerate() {
            for x in 0..8 {
                columns[8 * v + x] = (0..8).map(|u| row[u] * basis[u][x]).sum();
            }
        }
        let n = self.components.len();
        for y in top..self.rows.min(top + 8) {
            for x in left..self.columns.min(left + 8) {
                let value: f32 = (0..8)
                    .map(|v| columns[8 * v + x - left] * basis[v][y - top])
                    .sum();
                let place = samples.get_mut((y * self.columns + x) * n + component);
                place
                    .into_iter()
                    .for_each(|place| *place = (value + 2048.5).clamp(0., 4095.) as u16);
            }
        }
    }
}

impl Coded<'_> {
    /// The next block's coefficients (F.2.2), dequantized, row by row.
    fn block(&mut self, bits: &mut Bits<'_>) -> Option<[f32; 64]> {
        let mut block = [0_f32; 64];
        let category = symbol(self.dc, bits)?;
        let before = self.before + value(bits, category)?;
        self.before = Some(before).filter(|dc| dc.abs() < 1 << 17)?;
        block[0] = self.before as f32 * f32::from(self.quantization[0]);
        let mut i = 1;
        while i < 64 {
            let run = symbol(self.ac, bits)?;
            let (zeros, category) = (usize::from(run >> 4), run & 15);
            match (zeros, category) {
                (15, 0) => i += 16,
                (_, 0) => break,
                _ => {
                    i += zeros;
                    let quantization = self.quantization.get(i)?;
                    block[usize::from(ZIGZAG[i])] =
                        value(bits, category)? as f32 * f32::from(*quantization);
                    i += 1;
                }
            }
        }
        Some(block)
    }
}

fn symbol(table: &Table, bits: &mut Bits<'_>) -> Option<u8> {
    let (length, symbol) = table.find(bits.peek())?;
    bits.take(length)?;
    Some(symbol)
}

/// A signed number of as many bits as its category (F.2.2.1, EXTEND).
fn value(bits: &mut Bits<'_>, category: u8) -> Option<i32> {
    if category == 0 {
        return Some(0);
    }
    let category = u32::from(category.min(16));
    let value = i32::from(bits.take(category)?);
    match value < 1 << (category - 1) {
        true => Some(value + 1 - (1 << category)),
        false => Some(value),
    }
}
