//! JPEG (ITU-T T.81): sequential and progressive with 8 bits by `jpeg-decoder`, extended with 12 bits and lossless here.
//!
//! `jpeg-decoder` does not read 12 bits, and fills what is missing of a truncated lossless stream without an error.

mod dct12;
mod lossless;
mod stream;

use decoding::jpeg::{check, next_marker, segment};
use jpeg_decoder::{ColorTransform, Decoder};

use self::stream::Stream;
use super::Shape;
use crate::layout::{Layout, Photometric};
use crate::samples::{Frame, Samples};

/// What the markers before the first scan say.
#[derive(Debug, Default)]
struct Markers {
    /// Marker of the frame: the coding process.
    process: u8,
    precision: u8,
    rows: u32,
    columns: u32,
    components: Vec<u8>,
    jfif: bool,
    /// The colour transform of Adobe's marker.
    adobe: Option<u8>,
}

const LOSSLESS: u8 = 0xC3;

pub(crate) fn decode(bytes: &[u8], layout: &Layout) -> Result<Frame, String> {
    let markers = Markers::read(bytes)?;
    markers.shape().check(layout)?;
    let samples = match (markers.process, markers.precision) {
        (0xC0..=0xC2, 8) => {
            check(bytes, layout.pixels() as u64)?;
            by_crate(bytes, layout)?
        }
        (0xC1, 12) => dct12::decode(Stream::new(bytes), layout)?,
        (LOSSLESS, precision @ 2..=16) => lossless::decode(Stream::new(bytes), layout, precision)?,
        (process, precision) => {
            return Err(format!(
                "its JPEG coding (process marker FF{process:02X}, {precision} bits) is not read; convert it to Explicit \
                 VR Little Endian"
            ));
        }
    };
    Ok(Frame {
        samples,
        photometric: markers.photometric(layout.photometric),
    })
}

/// Without a colour transform, which follows from header and markers together.
fn by_crate(bytes: &[u8], layout: &Layout) -> Result<Samples, String> {
    let mut decoder = Decoder::new(bytes);
    if layout.samples == 3 {
        // Interleaves the components and leaves their values; `None` would leave them in rows of their own.
        decoder.set_color_transform(ColorTransform::RGB);
    }
    let values = layout.pixels() * usize::from(layout.samples);
    decoder.set_max_decoding_buffer_size(values * 2);
    let decoded = decoder.decode();
    let samples = decoded.map_err(|error| format!("its JPEG cannot be decoded: {error}"))?;
    match samples.len() == values {
        true => Ok(Samples::U8(samples)),
        false => Err(
            "its JPEG cannot be decoded: it has another number of samples than it states"
                .to_owned(),
        ),
    }
}

impl Markers {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let cut = || "truncated: its JPEG ends before its first scan".to_owned();
        if !bytes.starts_with(&[0xFF, 0xD8]) {
            return Err("its compressed pixels are not a JPEG".to_owned());
        }
        let (mut markers, mut at) = (Self::default(), 2);
        loop {
            let marker = next_marker(bytes, &mut at).ok_or_else(cut)?;
            if matches!(marker, 0x01 | 0xD0..=0xD8) {
                continue;
            }
            let body = segment(bytes, &mut at).ok_or_else(cut)?;
            match (marker, body) {
                (0xDA, _) => break,
                (0xC4 | 0xC8 | 0xCC, _) => {}
                (0xC0..=0xCF, &[precision, h1, h0, w1, w0, n, ref listed @ ..]) => {
                    markers.process = marker;
                    markers.precision = precision;
                    markers.rows = u16::from_be_bytes([h1, h0]).into();
                    markers.columns = u16::from_be_bytes([w1, w0]).into();
                    let ids = listed.chunks_exact(3).map(|component| component[0]);
                    markers.components = ids.take(n.into()).collect();
                }
                (0xE0, body) => markers.jfif |= body.starts_with(b"JFIF"),
                (0xEE, body) if body.starts_with(b"Adobe") => markers.adobe = body.get(11).copied(),
                _ => {}
            }
        }
        match markers.process {
            0 => Err("its JPEG is damaged: a scan before its frame".to_owned()),
            _ => Ok(markers),
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            rows: self.rows,
            columns: self.columns,
            samples: self.components.len() as u16,
            precision: self.precision,
        }
    }

    /// The colours of the stream: component names and markers are what JPEG decoders follow, so that files whose header
    /// disagrees with them look right in other programs.
    fn photometric(&self, stated: Photometric) -> Photometric {
        if self.components.len() != 3 {
            return stated;
        }
        let ybr = match stated {
            Photometric::YbrFull422 => Photometric::YbrFull422,
            _ => Photometric::YbrFull,
        };
        match (self.components.as_slice(), self.adobe) {
            (b"RGB" | b"rgb", _) => Photometric::Rgb,
            (_, Some(0)) if !self.jfif => stated,
            (_, Some(1)) => ybr,
            _ if self.jfif => ybr,
            _ => stated,
        }
    }
}
