//! JPEG-LS (ITU-T T.87 | ISO/IEC 14495-1), lossless and near-lossless, in every interleaving.
//!
//! Why our own: the decoders in Rust read neither near-lossless nor interleaved streams, or bring a DICOM toolkit with
//! them; CharLS needs a C++ compiler. Comments name the standard's variables and code segments.

mod bits;
mod parameters;
mod scan;

use decoding::jpeg::{next_marker, segment};

use self::parameters::Parameters;
use self::scan::{Order, Scan};
use super::Shape;
use crate::layout::Layout;
use crate::samples::Samples;

pub(crate) fn decode(bytes: &[u8], layout: &Layout) -> Result<Samples, String> {
    let mut stream = Stream::default();
    let mut at = 2;
    let cut = || "truncated: its JPEG-LS data are not complete".to_owned();
    while stream.received < usize::from(layout.samples) {
        let marker = next_marker(bytes, &mut at).ok_or_else(cut)?;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let body = segment(bytes, &mut at).ok_or_else(cut)?;
        match marker {
            0xF7 => stream.frame(body, layout)?,
            0xF8 => stream.preset(body)?,
            0xDA => at += stream.scan(body, bytes.get(at..).unwrap_or_default())?,
            0xDD => return Err("its JPEG-LS has restart intervals, which are not read".to_owned()),
            _ => {}
        }
    }
    let shape = stream.shape.ok_or_else(|| damaged("it has no frame"))?;
    Ok(shape.contained(stream.samples, layout, false))
}

fn damaged(what: &str) -> String {
    format!("its JPEG-LS is damaged: {what}")
}

/// What the markers state, and the samples so far.
#[derive(Default)]
struct Stream {
    shape: Option<Shape>,
    components: Vec<u8>,
    /// MAXVAL, T1, T2, T3, RESET of a preset; zeros for the defaults.
    preset: [u16; 5],
    samples: Vec<u16>,
    /// Components that have been decoded.
    received: usize,
}

impl Stream {
    fn frame(&mut self, body: &[u8], layout: &Layout) -> Result<(), String> {
        let &[precision, h1, h0, w1, w0, n, ref listed @ ..] = body else {
            return Err(damaged("the header of its frame"));
        };
        let shape = Shape {
            rows: u16::from_be_bytes([h1, h0]).into(),
            columns: u16::from_be_bytes([w1, w0]).into(),
            samples: n.into(),
            precision,
        };
        shape.check(layout)?;
        let listed = listed.as_chunks::<3>().0;
        if self.shape.is_some() || !(2..=16).contains(&precision) || listed.len() != usize::from(n)
        {
            return Err(damaged("the header of its frame"));
        }
        if listed.iter().any(|component| component[1] != 0x11) {
            return Err(
                "its JPEG-LS has components of different sizes, which is not read".to_owned(),
            );
        }
        self.components = listed.iter().map(|component| component[0]).collect();
        self.samples = vec![0; layout.pixels() * usize::from(n)];
        self.shape = Some(shape);
        Ok(())
    }

    fn preset(&mut self, body: &[u8]) -> Result<(), String> {
        let (kind, body) = body
            .split_first()
            .ok_or_else(|| damaged("its preset parameters"))?;
        match (kind, body.as_chunks::<2>().0) {
            (1, [a, b, c, d, e]) => {
                self.preset = [a, b, c, d, e].map(|word| u16::from_be_bytes(*word));
                Ok(())
            }
            _ => Err("its JPEG-LS has parameters that are not read".to_owned()),
        }
    }

    /// Decodes a scan; returns the number of its bytes.
    fn scan(&mut self, header: &[u8], bytes: &[u8]) -> Result<usize, String> {
        let broken = || damaged("the header of a scan");
        let shape = self
            .shape
            .ok_or_else(|| damaged("a scan before its frame"))?;
        let (&n, rest) = header.split_first().ok_or_else(broken)?;
        let n = usize::from(n);
        let (listed, rest) = rest.split_at_checked(2 * n).ok_or_else(broken)?;
        let &[near, interleave, transform] = rest else {
            return Err(broken());
        };
        if transform != 0 || listed.chunks(2).any(|component| component[1] != 0) {
            return Err(
                "its JPEG-LS has a point transform or mapping tables, which are not read"
                    .to_owned(),
            );
        }
        let first = self
            .components
            .iter()
            .position(|id| Some(id) == listed.first())
            .ok_or_else(broken)?;
        let ids = listed.iter().step_by(2);
        let ordered = self
            .components
            .get(first..first + n)
            .is_some_and(|own| own.iter().eq(ids));
        let order = match interleave {
            0 if n == 1 => Order::Line,
            1 => Order::Line,
            2 => Order::Sample,
            _ => return Err(broken()),
        };
        if !ordered || first != self.received {
            return Err(broken());
        }
        let parameters = Parameters::new(shape.precision, near, self.preset)
            .ok_or_else(|| damaged("its parameters"))?;
        let mut scan = Scan::new(parameters, bytes, shape.columns as usize, n);
        let rows = self
            .samples
            .chunks_exact_mut(shape.columns as usize * self.components.len());
        for (y, row) in rows.enumerate() {
            let line = scan.line(order);
            line.ok_or_else(|| {
                format!(
                    "truncated or damaged: its JPEG-LS data end in row {y} of {}",
                    shape.rows
                )
            })?;
            scan.store(row, self.components.len(), first);
        }
        self.received += n;
        Ok(scan.at())
    }
}
