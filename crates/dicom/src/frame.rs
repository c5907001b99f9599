//! The samples of one frame, decompressed, as they are stored.

use std::borrow::Cow;

use crate::codecs::{jpeg, jpeg_ls, jpeg2000, rle};
use crate::dataset::{DataSet, Value};
use crate::fragments;
use crate::layout::{Layout, Photometric, encapsulated};
use crate::samples::{Frame, Samples};
use crate::syntax::{Pixels, Syntax};
use crate::tags;

/// Decodes a frame, counted from 0.
pub(crate) fn decode(
    set: &DataSet<'_>,
    layout: &Layout,
    syntax: &Syntax,
    frame: usize,
) -> Result<Frame, String> {
    let samples = match (encapsulated(set), syntax.pixels) {
        (Some(_), Pixels::Native) => native(&fragments::frame(set, layout, frame)?, layout, false)?,
        (None, Pixels::Native) => {
            let (bytes, big_endian) = native_bytes(set, layout, frame)?;
            native(&bytes, layout, big_endian)?
        }
        (None, _) => {
            return Err(format!(
                "its pixels are not encapsulated, as {} requires",
                syntax.name
            ));
        }
        (Some(_), compressed) => {
            let bytes = fragments::frame(set, layout, frame)?;
            match compressed {
                Pixels::Rle => rle::decode(&bytes, layout)?,
                Pixels::JpegLs => jpeg_ls::decode(&bytes, layout)?,
                Pixels::Jpeg2000 => jpeg2000::decode(&bytes, layout)?,
                Pixels::Jpeg | Pixels::Native => return jpeg::decode(&bytes, layout),
            }
        }
    };
    Ok(Frame {
        samples,
        photometric: layout.photometric,
    })
}

/// The bytes of a frame of native pixels, and whether they are big-endian.
fn native_bytes<'b>(
    set: &DataSet<'b>,
    layout: &Layout,
    frame: usize,
) -> Result<(Cow<'b, [u8]>, bool), String> {
    let element = set.element(tags::PIXELS);
    let (vr, bytes) = match element.map(|element| (element.vr, &element.value)) {
        Some((vr, Value::Bytes(bytes))) => (vr, *bytes),
        _ => return Err("its pixels are damaged".to_owned()),
    };
    let bits = frame_bits(layout);
    let need = (bits * layout.frames as usize).div_ceil(8);
    if bytes.len() < need {
        return Err(format!(
            "truncated: its pixels have {} bytes, and {need} are needed for {} of {}x{}",
            bytes.len(),
            frames(layout.frames),
            layout.columns,
            layout.rows
        ));
    }
    let words = set.is_big_endian() && vr == Some(*b"OW") && layout.allocated <= 8;
    if layout.allocated == 1 {
        return Ok((bits_of(bytes, bits * frame, bits, words), false));
    }
    let (start, length) = (bits / 8 * frame, bits / 8);
    if words {
        // Bytes that are written as words are swapped in pairs (PS3.5, section 8.1.2); a pair may span two frames.
        let swapped =
            (start..start + length).map(|i| bytes.get(i ^ 1).copied().unwrap_or_default());
        return Ok((swapped.collect(), false));
    }
    let bytes = bytes.get(start..start + length).unwrap_or_default();
    Ok((Cow::Borrowed(bytes), set.is_big_endian()))
}

fn frames(number: u32) -> String {
    match number {
        1 => "a frame".to_owned(),
        number => format!("{number} frames"),
    }
}

/// Bits of a frame of native pixels.
fn frame_bits(layout: &Layout) -> usize {
    let samples = match layout.photometric {
        Photometric::YbrFull422 => 2,
        _ => usize::from(layout.samples),
    };
    layout.pixels() * samples * usize::from(layout.allocated)
}

/// Single bits as bytes, the lowest bit of each byte first; frames follow each other without padding.
fn bits_of<'b>(bytes: &[u8], start: usize, length: usize, words: bool) -> Cow<'b, [u8]> {
    let bit = |i: usize| {
        let at = (i / 8) ^ usize::from(words);
        bytes.get(at).map_or(0, |byte| byte >> (i % 8) & 1)
    };
    (start..start + length).map(bit).collect()
}

fn native(bytes: &[u8], layout: &Layout, big_endian: bool) -> Result<Samples, String> {
    let samples = match layout.allocated {
        1 | 8 => Samples::U8(bytes.to_vec()),
        16 => Samples::U16(words(bytes, big_endian)),
        _ => Samples::U32(long_words(bytes, big_endian)),
    };
    let samples = match (layout.photometric, samples) {
        (Photometric::YbrFull422, Samples::U8(packed)) => Samples::U8(from_422(&packed, layout)?),
        (_, samples) if layout.planar && layout.samples > 1 => interleaved(samples, layout),
        (_, samples) => samples,
    };
    match samples.len() == layout.pixels() * usize::from(layout.samples) {
        true => Ok(samples),
        false => Err("truncated: its pixels are not complete".to_owned()),
    }
}

fn words(bytes: &[u8], big_endian: bool) -> Vec<u16> {
    let (words, _) = bytes.as_chunks();
    match big_endian {
        true => words.iter().map(|word| u16::from_be_bytes(*word)).collect(),
        false => words.iter().map(|word| u16::from_le_bytes(*word)).collect(),
    }
}

fn long_words(bytes: &[u8], big_endian: bool) -> Vec<u32> {
    let (words, _) = bytes.as_chunks();
    match big_endian {
        true => words.iter().map(|word| u32::from_be_bytes(*word)).collect(),
        false => words.iter().map(|word| u32::from_le_bytes(*word)).collect(),
    }
}

/// Two pixels as Y, Y, Cb, Cr (PS3.3, C.7.6.3.1.2).
fn from_422(packed: &[u8], layout: &Layout) -> Result<Vec<u8>, String> {
    if !layout.columns.is_multiple_of(2) {
        return Err(format!(
            "it has {} columns, but YBR_FULL_422 needs an even number",
            layout.columns
        ));
    }
    let (pairs, _) = packed.as_chunks::<4>();
    Ok(pairs
        .iter()
        .flat_map(|&[y0, y1, cb, cr]| [y0, cb, cr, y1, cb, cr])
        .collect())
}

fn interleaved(samples: Samples, layout: &Layout) -> Samples {
    fn of<T: Copy>(planes: &[T], pixels: usize) -> Vec<T> {
        let planes: Vec<&[T]> = planes.chunks_exact(pixels).collect();
        (0..pixels)
            .flat_map(|i| planes.iter().map(move |plane| plane[i]))
            .collect()
    }
    match samples {
        Samples::U8(planes) => Samples::U8(of(&planes, layout.pixels())),
        Samples::U16(planes) => Samples::U16(of(&planes, layout.pixels())),
        Samples::U32(planes) => Samples::U32(of(&planes, layout.pixels())),
    }
}
