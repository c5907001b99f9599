//! Colour images: palettes, YBR to RGB (PS3.3, C.7.6.3.1.2).

use image::{DynamicImage, ImageBuffer};

use crate::dataset::DataSet;
use crate::layout::{Layout, Photometric};
use crate::lut::{Descriptor, Lut};
use crate::samples::{Frame, Samples};
use crate::tags;

/// Red, green and blue of each pixel as they are stored: the samples' bits, or the entries' of a palette.
pub(crate) fn values(set: &DataSet<'_>, frame: Frame, layout: &Layout) -> Result<Vec<f64>, String> {
    if frame.photometric == Photometric::Palette {
        let palette = palette(set, layout)?;
        let indices = frame.samples.map(|container| layout.value(container));
        let colours = indices
            .iter()
            .flat_map(|index| palette.each_ref().map(|lut| lut.at(*index)));
        return Ok(colours.map(f64::from).collect());
    }
    let samples = rgb(frame)?;
    Ok(samples.map(|container| layout.value(container) as f64))
}

/// The image with 8 bits per sample, the upper ones of those stored.
pub(crate) fn image(
    set: &DataSet<'_>,
    frame: Frame,
    layout: &Layout,
) -> Result<DynamicImage, String> {
    let pixels = match frame.photometric {
        Photometric::Palette => {
            let palette = palette(set, layout)?;
            let bytes = palette.each_ref().map(Lut::upper_byte);
            let of = |container: u32| {
                let index = layout.value(container);
                std::array::from_fn::<u8, 3, _>(|c| bytes[c](palette[c].at(index)))
            };
            frame.samples.map(of).into_flattened()
        }
        _ => match (rgb(frame)?, layout.stored) {
            (Samples::U8(samples), 8) => samples,
            (samples, stored) => samples.map(|container| {
                let value = layout.value(container) as u64;
                match stored {
                    ..=8 => (value << (8 - stored)) as u8,
                    _ => (value >> (stored - 8)) as u8,
                }
            }),
        },
    };
    let image = ImageBuffer::from_raw(layout.columns, layout.rows, pixels);
    image
        .map(DynamicImage::ImageRgb8)
        .ok_or_else(|| "its pixels are not complete".to_owned())
}

fn rgb(frame: Frame) -> Result<Samples, String> {
    match (frame.photometric, frame.samples) {
        (Photometric::YbrFull | Photometric::YbrFull422, Samples::U8(samples)) => {
            Ok(Samples::U8(of_ybr(samples)))
        }
        (Photometric::YbrFull | Photometric::YbrFull422, _) => {
            Err("it has YBR colours of more than 8 bits, which are not read".to_owned())
        }
        (_, samples) => Ok(samples),
    }
}

/// Full-range YCbCr to RGB.
fn of_ybr(mut samples: Vec<u8>) -> Vec<u8> {
    let chroma = |factor: f64| -> [f32; 256] {
        std::array::from_fn(|c| (factor * (c as f64 - 128.)) as f32)
    };
    let (red, blue) = (chroma(1.402), chroma(1.772));
    let (green_b, green_r) = (chroma(0.114 * 1.772 / 0.587), chroma(0.299 * 1.402 / 0.587));
    for [y, cb, cr] in samples.as_chunks_mut::<3>().0 {
        let (luma, b, r) = (f32::from(*y) + 0.5, usize::from(*cb), usize::from(*cr));
        // A cast to u8 saturates.
        *y = (luma + red[r]) as u8;
        *cb = (luma - green_b[b] - green_r[r]) as u8;
        *cr = (luma + blue[b]) as u8;
    }
    samples
}

/// The tables of red, green and blue.
fn palette(set: &DataSet<'_>, layout: &Layout) -> Result<[Lut; 3], String> {
    let lut = |descriptor, data, segments| {
        let descriptor = Descriptor::of(set, descriptor, layout.signed)?;
        match set.bytes(segments) {
            Some(_) => Lut::of_segments(set, descriptor, segments),
            None => Lut::of(set, descriptor, data),
        }
    };
    Ok([
        lut(tags::RED, tags::RED_DATA, tags::RED_SEGMENTS)?,
        lut(tags::GREEN, tags::GREEN_DATA, tags::GREEN_SEGMENTS)?,
        lut(tags::BLUE, tags::BLUE_DATA, tags::BLUE_SEGMENTS)?,
    ])
}
