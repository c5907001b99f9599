//! Decoders of compressed frames: each checks the stream's size against the header before anything is allocated.

pub(crate) mod jpeg;
pub(crate) mod jpeg2000;
pub(crate) mod jpeg_ls;
pub(crate) mod rle;

use crate::layout::Layout;
use crate::samples::Samples;

/// The shape that a compressed stream states.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: u32,
    columns: u32,
    samples: u16,
    precision: u8,
}

impl Shape {
    /// Checks that it is the header's.
    fn check(&self, layout: &Layout) -> Result<(), String> {
        let Self {
            rows,
            columns,
            samples,
            precision,
        } = *self;
        if (rows, columns, samples) != (layout.rows, layout.columns, layout.samples) {
            return Err(format!(
                "its compressed image is {columns}x{rows} pixels of {samples} samples, but its header says {}x{} of {}",
                layout.columns, layout.rows, layout.samples
            ));
        }
        if !matches!(layout.allocated, 8 | 16) || u16::from(precision) > layout.allocated {
            return Err(format!(
                "its compressed image has {precision} bits, but its header says {} allocated",
                layout.allocated
            ));
        }
        Ok(())
    }

    /// Samples in containers of the allocated size. Unsigned streams with signed pixels hold their lowest bits.
    fn contained(&self, mut samples: Vec<u16>, layout: &Layout, stream_is_signed: bool) -> Samples {
        if layout.signed && !stream_is_signed {
            let unused = 16 - u32::from(self.precision);
            samples
                .iter_mut()
                .for_each(|s| *s = (((*s << unused) as i16) >> unused) as u16);
        }
        match layout.allocated {
            8 => Samples::U8(samples.into_iter().map(|sample| sample as u8).collect()),
            _ => Samples::U16(samples),
        }
    }
}
