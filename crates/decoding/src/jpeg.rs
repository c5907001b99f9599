//! Checks that a JPEG is complete.
//!
//! The decoder (zune-jpeg through `image`) silently fills missing data with grey, even in its strict mode if the end
//! marker was kept: a film that is cut off after its first rows passes as an image. Therefore the entropy-coded data
//! are traversed once, symbol by symbol and without computing any pixels, and must contain every block of every scan
//! (ITU-T T.81, sections F.2 and G.2).

use crate::huffman::{Bits, Fault, Table, Tables};

/// Checks that `bytes` are a complete JPEG. Unsupported codings (arithmetic, lossless) and images of more than
/// `max_pixels` are left to the decoder to reject.
///
/// # Errors
/// What is missing or damaged, as a message.
pub fn check(bytes: &[u8], max_pixels: u64) -> Result<(), String> {
    let mut walk = Walk::new(bytes, max_pixels);
    loop {
        let Some(marker) = next_marker(bytes, &mut walk.at) else {
            return Err("truncated JPEG: its data end before the end-of-image marker".to_owned());
        };
        match marker {
            EOI => return walk.ended(),
            0x01 | 0xD0..=0xD8 => continue,
            _ => {}
        }
        let segment = segment(bytes, &mut walk.at);
        let segment = segment.ok_or("truncated JPEG: its data end within a header")?;
        match walk.segment(marker, segment) {
            Ok(()) => {}
            Err(Stop::Unknown) => return Ok(()),
            Err(Stop::Damaged(reason)) => return Err(reason),
        }
    }
}

const EOI: u8 = 0xD9;

/// The same as the decoder's own limit: a file of many empty scans would otherwise take hours.
const MAX_SCANS: usize = 100;

/// The next marker from `at` on, skipping entropy-coded bytes (FF 00 is a stuffed FF) and fill bytes.
pub fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let ff = bytes.get(*at..)?.iter().position(|&byte| byte == 0xFF)?;
        *at += ff + 1;
        match *bytes.get(*at)? {
            0x00 => {}
            0xFF => continue,
            marker => {
                *at += 1;
                return Some(marker);
            }
        }
    }
}

/// The bytes of the segment at `at` after its length; `at` moves behind it. `None` if the data end within it.
pub fn segment<'b>(bytes: &'b [u8], at: &mut usize) -> Option<&'b [u8]> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(*at)?, *bytes.get(*at + 1)?]));
    let body = bytes.get(*at + 2..*at + length)?;
    *at += length;
    Some(body)
}

/// Why the traversal stops.
enum Stop {
    /// The coding is left to the decoder.
    Unknown,
    Damaged(String),
}

fn damaged(what: &str) -> Stop {
    Stop::Damaged(format!("damaged JPEG: {what}"))
}

/// A component of the frame. Sizes are in blocks of 8×8 coefficients.
struct Component {
    id: u8,
    /// Blocks of one minimum coded unit across and down.
    sampling: (usize, usize),
    /// Blocks that contain pixels, across and down.
    own: (usize, usize),
    /// Blocks per row, including those that only pad the last unit.
    stride: usize,
    /// For each coefficient: the number of bits still missing, [`ABSENT`] before its first scan.
    missing: [u8; 64],
    /// For each block: which coefficients are non-zero so far. The length of a refinement depends on them.
    nonzero: Vec<u64>,
}

const ABSENT: u8 = 255;

struct Frame {
    progressive: bool,
    components: Vec<Component>,
    /// Minimum coded units across and down.
    units: (usize, usize),
}

/// Parameters of a scan's coefficients.
#[derive(Clone, Copy)]
struct Band {
    first: usize,
    last: usize,
    /// Whether the scan refines coefficients that earlier scans have begun.
    refines: bool,
    /// Bits still missing after the scan.
    missing: u8,
}

/// A component of a scan with its Huffman tables.
#[derive(Clone, Copy)]
struct Coded {
    component: usize,
    dc: usize,
    ac: usize,
}

struct Walk<'b> {
    bytes: &'b [u8],
    max_pixels: u64,
    at: usize,
    frame: Option<Frame>,
    tables: Tables,
    /// Units between two restart markers; 0 for none.
    restart: usize,
    scans: usize,
}

impl<'b> Walk<'b> {
    fn new(bytes: &'b [u8], max_pixels: u64) -> Self {
        Walk {
            bytes,
            max_pixels,
            at: 2,
            frame: None,
            tables: Tables::default(),
            restart: 0,
            scans: 0,
        }
    }

    fn segment(&mut self, marker: u8, body: &[u8]) -> Result<(), Stop> {
        match marker {
            0xC0..=0xC2 if self.frame.is_some() => Err(damaged("it has two frames")),
            0xC0..=0xC2 => {
                self.frame = Some(Frame::read(marker == 0xC2, body, self.max_pixels)?);
                Ok(())
            }
            0xC4 => {
                let defined = self.tables.define(body);
                defined.ok_or_else(|| damaged("a Huffman table"))
            }
            // Arithmetic, lossless and hierarchical coding.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => Err(Stop::Unknown),
            0xDA => self.scan(body),
            0xDD => match body {
                [high, low, ..] => {
                    self.restart = usize::from(u16::from_be_bytes([*high, *low]));
                    Ok(())
                }
                _ => Err(damaged("its restart interval")),
            },
            _ => Ok(()),
        }
    }

    fn scan(&mut self, body: &[u8]) -> Result<(), Stop> {
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(damaged("it has more than 100 scans"));
        }
        let frame = self.frame.as_mut();
        let frame = frame.ok_or_else(|| damaged("a scan before its frame"))?;
        let header = frame.scan_header(body);
        let (coded, band) = header.ok_or_else(|| damaged("the header of a scan"))?;
        let mut scan = Scan {
            bits: Bits::new(self.bytes, self.at),
            frame: &mut *frame,
            tables: &self.tables,
            band,
            run: 0,
        };
        scan.units(&coded, self.restart)?;
        self.at = scan.bits.at();
        frame.received(&coded, band);
        Ok(())
    }

    /// Checks, at the end marker, that no component is incomplete.
    fn ended(&self) -> Result<(), String> {
        let Some(frame) = &self.frame else {
            return Err("damaged JPEG: it has no frame".to_owned());
        };
        let complete = |c: &Component| c.missing.iter().all(|&bits| bits == 0);
        match frame.components.iter().all(complete) {
            true => Ok(()),
            false => Err("truncated JPEG: some of its scans are missing".to_owned()),
        }
    }
}

impl Frame {
    fn read(progressive: bool, body: &[u8], max_pixels: u64) -> Result<Self, Stop> {
        let broken = || damaged("the header of its frame");
        let [_, h1, h0, w1, w0, n, rest @ ..] = body else {
            return Err(broken());
        };
        let [height, width] = [[*h1, *h0], [*w1, *w0]].map(|b| usize::from(u16::from_be_bytes(b)));
        let listed: Vec<&[u8]> = rest.chunks_exact(3).take(usize::from(*n)).collect();
        let sampling = |c: &&[u8]| (usize::from(c[1] >> 4), usize::from(c[1] & 15));
        let across = listed.iter().map(|c| sampling(c).0).max().unwrap_or(0);
        let down = listed.iter().map(|c| sampling(c).1).max().unwrap_or(0);
        let possible = |c: &&[u8]| matches!(sampling(c), (1..=4, 1..=4));
        if listed.len() != usize::from(*n) || listed.len() > 4 || !listed.iter().all(possible) {
            return Err(broken());
        }
        // The number of lines may follow the first scan, which decoders reject.
        let pixels = height as u64 * width as u64;
        if pixels == 0 || pixels > max_pixels {
            return Err(Stop::Unknown);
        }
        let units = (width.div_ceil(8 * across), height.div_ceil(8 * down));
        let component = |c: &&[u8]| {
            let sampling = sampling(c);
            let stride = units.0 * sampling.0;
            Component {
                id: c[0],
                sampling,
                own: (
                    (width * sampling.0).div_ceil(8 * across),
                    (height * sampling.1).div_ceil(8 * down),
                ),
                stride,
                missing: [ABSENT; 64],
                nonzero: match progressive {
                    true => vec![0; stride * units.1 * sampling.1],
                    false => Vec::new(),
                },
            }
        };
        Ok(Frame {
            progressive,
            components: listed.iter().map(component).collect(),
            units,
        })
    }

    fn scan_header(&self, body: &[u8]) -> Option<(Vec<Coded>, Band)> {
        let (&n, rest) = body.split_first()?;
        let n = usize::from(n);
        let coded = rest.get(..2 * n)?.chunks_exact(2).map(|c| {
            Some(Coded {
                component: self.components.iter().position(|own| own.id == c[0])?,
                dc: usize::from(c[1] >> 4),
                ac: usize::from(c[1] & 15),
            })
        });
        let coded: Vec<Coded> = coded.collect::<Option<_>>()?;
        let &[first, last, bits] = rest.get(2 * n..2 * n + 3)?.first_chunk()?;
        let band = match self.progressive {
            true => Band {
                first: first.into(),
                last: last.into(),
                refines: bits >> 4 != 0,
                missing: bits & 15,
            },
            false => Band {
                first: 0,
                last: 63,
                refines: false,
                missing: 0,
            },
        };
        let dc_apart = !self.progressive || (band.first == 0) == (band.last == 0);
        let possible = band.first <= band.last && band.last < 64 && dc_apart;
        let alone = coded.len() == 1 || (coded.len() > 1 && band.first == 0);
        (possible && alone).then_some((coded, band))
    }

    fn received(&mut self, coded: &[Coded], band: Band) {
        for scanned in coded {
            self.components[scanned.component].missing[band.first..=band.last].fill(band.missing);
        }
    }
}

/// One scan's entropy-coded data.
struct Scan<'w, 'b> {
    bits: Bits<'b>,
    frame: &'w mut Frame,
    tables: &'w Tables,
    band: Band,
    /// Number of following blocks without new coefficients in this band.
    run: u32,
}

impl Scan<'_, '_> {
    fn units(&mut self, coded: &[Coded], restart: usize) -> Result<(), Stop> {
        // A single component is coded block by block, without those that only pad units.
        let (across, down) = match coded {
            [alone] => self.frame.components[alone.component].own,
            _ => self.frame.units,
        };
        for unit in 0..across * down {
            if restart > 0 && unit > 0 && unit % restart == 0 {
                let number = (unit / restart - 1) % 8;
                self.restarted(number as u8)
                    .ok_or_else(|| self.short(unit / across, down))?;
            }
            self.unit(coded, (unit % across, unit / across))
                .map_err(|fault| match fault {
                    Fault::Ended => self.short(unit / across, down),
                    Fault::Code => damaged("a code that is not in its table"),
                })?;
        }
        Ok(())
    }

    fn short(&self, row: usize, rows: usize) -> Stop {
        Stop::Damaged(format!(
            "truncated JPEG: its data end in block row {} of {rows}",
            row + 1
        ))
    }

    /// Continues after the restart marker of this number.
    fn restarted(&mut self, number: u8) -> Option<()> {
        self.run = 0;
        self.bits.restart(0xD0 + number)
    }

    fn unit(&mut self, coded: &[Coded], (x, y): (usize, usize)) -> Result<(), Fault> {
        if let [alone] = coded {
            return self.block(*alone, (x, y));
        }
        for scanned in coded {
            let (across, down) = self.frame.components[scanned.component].sampling;
            for block in 0..across * down {
                let at = (x * across + block % across, y * down + block / across);
                self.block(*scanned, at)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, coded: Coded, (x, y): (usize, usize)) -> Result<(), Fault> {
        let Band { first, refines, .. } = self.band;
        if !self.frame.progressive {
            self.dc(coded)?;
            let table = self.tables.ac(coded.ac).ok_or(Fault::Code)?;
            return self.bits.skip_coefficients(table);
        }
        if first == 0 {
            return match refines {
                true => self.bits.take(1).map(drop).ok_or(Fault::Ended),
                false => self.dc(coded),
            };
        }
        let block = y * self.frame.components[coded.component].stride + x;
        match refines {
            true => self.refine(coded, block),
            false if self.run > 0 => {
                self.run -= 1;
                Ok(())
            }
            false => self.ac(coded, first, self.band.last, block),
        }
    }

    fn dc(&mut self, coded: Coded) -> Result<(), Fault> {
        let bits = symbol(&mut self.bits, self.tables.dc(coded.dc))?;
        self.bits.take(bits.into()).map(drop).ok_or(Fault::Ended)
    }

    /// Reads the first bits of coefficients of progressive JPEG, and records which are not zero: later scans refine them.
    fn ac(&mut self, coded: Coded, first: usize, last: usize, block: usize) -> Result<(), Fault> {
        let table = self.tables.ac(coded.ac);
        let mut k = first;
        while k <= last {
            let code = symbol(&mut self.bits, table)?;
            let (zeros, bits) = (code >> 4, code & 15);
            match (zeros, bits) {
                (15, 0) => k += 16,
                (_, 0) => {
                    self.run = self.run_length(zeros)? - 1;
                    return Ok(());
                }
                _ => {
                    k += usize::from(zeros);
                    if k > last {
                        return Err(Fault::Code);
                    }
                    self.bits.take(bits.into()).ok_or(Fault::Ended)?;
                    self.frame.components[coded.component].nonzero[block] |= 1 << k;
                    k += 1;
                }
            }
        }
        Ok(())
    }

    fn run_length(&mut self, bits: u8) -> Result<u32, Fault> {
        let more = self.bits.take(bits.into()).ok_or(Fault::Ended)?;
        Ok((1 << bits) + u32::from(more))
    }

    /// Reads one more bit of each non-zero coefficient, and those that become non-zero (figure G.7).
    fn refine(&mut self, coded: Coded, block: usize) -> Result<(), Fault> {
        let Band { first, last, .. } = self.band;
        let mut known = self.frame.components[coded.component].nonzero[block];
        let mut k = first;
        while self.run == 0 && k <= last {
            let code = symbol(&mut self.bits, self.tables.ac(coded.ac))?;
            let (mut zeros, appears) = (code >> 4, code & 15 != 0);
            if !appears && zeros < 15 {
                self.run = self.run_length(zeros)?;
                break;
            }
            if appears {
                self.bits.take(1).ok_or(Fault::Ended)?;
            }
            while k <= last {
                if known >> k & 1 == 1 {
                    self.bits.take(1).ok_or(Fault::Ended)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if appears && k <= last {
                known |= 1 << k;
            }
            k += 1;
        }
        if self.run > 0 {
            for k in k..=last {
                if known >> k & 1 == 1 {
                    self.bits.take(1).ok_or(Fault::Ended)?;
                }
            }
            self.run -= 1;
        }
        self.frame.components[coded.component].nonzero[block] = known;
        Ok(())
    }
}

#[inline]
fn symbol(bits: &mut Bits<'_>, table: Option<&Table>) -> Result<u8, Fault> {
    match table.ok_or(Fault::Code)?.find(bits.peek()) {
        Some((length, symbol)) => match bits.take(length) {
            Some(_) => Ok(symbol),
            None => Err(Fault::Ended),
        },
        // Bits beyond the end read as zeros, which need not be a code.
        None if bits.ends() => Err(Fault::Ended),
        None => Err(Fault::Code),
    }
}
