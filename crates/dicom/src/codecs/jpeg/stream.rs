//! The segments of a JPEG with Huffman codes: tables, restart intervals, scans. Components must have the same size.

use decoding::huffman::{Bits, Table, Tables};
use decoding::jpeg::{next_marker, segment};

use crate::layout::Layout;

/// A stream whose frame the caller has compared with the layout.
pub(super) struct Stream<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Name and quantization table of each component.
    components: Vec<(u8, usize)>,
    quantization: [Option<[u16; 64]>; 4],
    tables: Tables,
    /// Units between two restart markers; 0 for none.
    restart: usize,
}

/// A scan: its components with their tables, and its entropy-coded bits.
pub(super) struct Scan<'s, 'b> {
    pub(super) coded: Vec<Coded<'s>>,
    pub(super) bits: Bits<'b>,
    /// Ss: the predictor of a lossless scan.
    pub(super) predictor: u8,
    /// Al: the point transform of a lossless scan.
    pub(super) shift: u8,
    restart: usize,
}

/// A component of a scan.
pub(super) struct Coded<'s> {
    /// Its place among the frame's components.
    pub(super) component: usize,
    pub(super) dc: &'s Table,
    pub(super) ac: Option<&'s Table>,
    pub(super) quantization: Option<&'s [u16; 64]>,
}

impl<'b> Stream<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            at: 2,
            components: Vec::new(),
            quantization: [None; 4],
            tables: Tables::default(),
            restart: 0,
        }
    }

    /// Decodes scans until each component of the layout has been in one.
    pub(super) fn scans(
        &mut self,
        layout: &Layout,
        mut decode: impl FnMut(&mut Scan<'_, 'b>) -> Result<(), String>,
    ) -> Result<(), String> {
        let cut = || "truncated: its JPEG is not complete".to_owned();
        let mut received = 0;
        while received < usize::from(layout.samples) {
            let marker = next_marker(self.bytes, &mut self.at).ok_or_else(cut)?;
            match marker {
                0x01 | 0xD0..=0xD8 => continue,
                0xD9 => return Err(cut()),
                _ => {}
            }
            let body = segment(self.bytes, &mut self.at).ok_or_else(cut)?;
            let broken = || damaged(marker);
            match marker {
                0xC1 | 0xC3 => self.frame(body)?,
                0xC4 => self.tables.define(body).ok_or_else(broken)?,
                0xDA => {
                    let mut scan = self.scan(body).ok_or_else(broken)?;
                    decode(&mut scan)?;
                    received += scan.coded.len();
                    self.at = scan.bits.at();
                }
                0xDB => self.quantization(body).ok_or_else(broken)?,
                0xDD => self.restart = usize::from(word(body).ok_or_else(broken)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn frame(&mut self, body: &[u8]) -> Result<(), String> {
        let listed = body.get(6..).unwrap_or_default().as_chunks::<3>().0;
        // A single component's sampling factors have no meaning.
        if listed.len() > 1 && listed.iter().any(|component| component[1] != 0x11) {
            return Err(
                "its JPEG has components of different sizes, which is not read in this coding"
                    .to_owned(),
            );
        }
        self.components = listed
            .iter()
            .map(|&[id, _, table]| (id, usize::from(table)))
            .collect();
        Ok(())
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

    fn scan(&self, header: &[u8]) -> Option<Scan<'_, 'b>> {
        let (&n, rest) = header.split_first()?;
        let (listed, rest) = rest.split_at_checked(2 * usize::from(n))?;
        let &[predictor, _, approximation] = rest else {
            return None;
        };
        let coded = listed.as_chunks::<2>().0.iter().map(|&[id, tables]| {
            let component = self.components.iter().position(|(own, _)| *own == id)?;
            let quantization = self.quantization.get(self.components[component].1);
            Some(Coded {
                component,
                dc: self.tables.dc(usize::from(tables >> 4))?,
                ac: self.tables.ac(usize::from(tables & 15)),
                quantization: quantization.and_then(Option::as_ref),
            })
        });
        Some(Scan {
            coded: coded
                .collect::<Option<Vec<_>>>()
                .filter(|coded| !coded.is_empty())?,
            bits: Bits::new(self.bytes, self.at),
            predictor,
            shift: approximation & 15,
            restart: self.restart,
        })
    }
}

impl Scan<'_, '_> {
    /// Reads the restart marker before a unit, counted from 0, if there must be one; whether there was.
    pub(super) fn restarts(&mut self, unit: usize) -> Option<bool> {
        if self.restart == 0 || unit == 0 || !unit.is_multiple_of(self.restart) {
            return Some(false);
        }
        let number = (unit / self.restart - 1) % 8;
        self.bits.restart(0xD0 + number as u8)?;
        Some(true)
    }
}

pub(super) fn damaged(marker: u8) -> String {
    format!("its JPEG is damaged: the segment FF{marker:02X}")
}

fn word(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?))
}

pub(super) fn symbol(table: &Table, bits: &mut Bits<'_>) -> Option<u8> {
    let (length, symbol) = table.find(bits.peek())?;
    bits.take(length)?;
    Some(symbol)
}

/// A signed number of as many bits as its category, up to 16 (F.2.2.1, EXTEND).
pub(super) fn extended(bits: &mut Bits<'_>, category: u8) -> Option<i32> {
    if category == 0 {
        return Some(0);
    }
    let category = u32::from(category);
    let value = i32::from(bits.take(category)?);
    match value < 1 << (category - 1) {
        true => Some(value + 1 - (1 << category)),
        false => Some(value),
    }
}
