//! JPEG Lossless (ITU-T T.81, annex H; process 14): each sample as the difference from a prediction.

use super::stream::{Scan, Stream, damaged, extended, symbol};
use crate::layout::Layout;
use crate::samples::Samples;

pub(super) fn decode(
    mut stream: Stream<'_>,
    layout: &Layout,
    precision: u8,
) -> Result<Samples, String> {
    let (rows, columns) = (layout.rows as usize, layout.columns as usize);
    let components = usize::from(layout.samples);
    let mut samples = vec![0_u16; layout.pixels() * components];
    stream.scans(layout, |scan| {
        if !(1..=7).contains(&scan.predictor) || scan.shift >= precision {
            return Err(damaged(0xDA));
        }
        let mut lines = Lines::new(scan, columns, precision);
        for (y, row) in samples.chunks_exact_mut(columns * components).enumerate() {
            let cut = || format!("truncated or damaged: its JPEG ends in row {y} of {rows}");
            lines.next(scan, y).ok_or_else(cut)?;
            for (coded, line) in scan.coded.iter().zip(&lines.now) {
                let places = row.iter_mut().skip(coded.component).step_by(components);
                places
                    .zip(line)
                    .for_each(|(place, value)| *place = value << scan.shift);
            }
        }
        Ok(())
    })?;
    Ok(match layout.allocated {
        8 => Samples::U8(samples.into_iter().map(|sample| sample as u8).collect()),
        _ => Samples::U16(samples),
    })
}

/// The line being decoded and the one before, of each component of a scan.
struct Lines {
    before: Vec<Vec<u16>>,
    now: Vec<Vec<u16>>,
    /// The prediction of the first sample.
    initial: u16,
    /// Whether the line is the first, or the first after a restart.
    first: bool,
}

impl Lines {
    fn new(scan: &Scan<'_, '_>, columns: usize, precision: u8) -> Self {
        let empty = vec![vec![0; columns]; scan.coded.len()];
        Self {
            before: empty.clone(),
            now: empty,
            initial: 1 << (precision - scan.shift - 1),
            first: true,
        }
    }

    fn next(&mut self, scan: &mut Scan<'_, '_>, y: usize) -> Option<()> {
        std::mem::swap(&mut self.before, &mut self.now);
        let columns = self.now.first()?.len();
        self.first = y == 0;
        for x in 0..columns {
            // A restart interval is a number of whole lines (H.1.1).
            if scan.restarts(y * columns + x)? {
                self.first = true;
            }
            let Scan {
                coded,
                bits,
                predictor,
                ..
            } = &mut *scan;
            for (i, coded) in coded.iter().enumerate() {
                let difference = match symbol(coded.dc, bits)? {
                    category @ 0..=15 => extended(bits, category)?,
                    16 => 1 << 15,
                    _ => return None,
                };
                let prediction = self.prediction(i, x, *predictor);
                self.now[i][x] = prediction.wrapping_add(difference) as u16;
            }
        }
        Some(())
    }

    /// Table H.1; the first line and column have their own predictors (H.1.2.1).
    fn prediction(&self, component: usize, x: usize, predictor: u8) -> i32 {
        let (now, before) = (&self.now[component], &self.before[component]);
        match (self.first, x) {
            (true, 0) => return self.initial.into(),
            (true, _) => return now[x - 1].into(),
            (false, 0) => return before[0].into(),
            _ => {}
        }
        let [a, b, c] = [now[x - 1], before[x], before[x - 1]].map(i32::from);
        match predictor {
            1 => a,
            2 => b,
            3 => c,
            4 => a + b - c,
            5 => a + ((b - c) >> 1),
            6 => b + ((a - c) >> 1),
            _ => (a + b) >> 1,
        }
    }
}
