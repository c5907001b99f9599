//! JPEG 2000 (ISO/IEC 15444-1) by `hayro-jpeg2000`, which reverses its colour transform: YBR_RCT and YBR_ICT become RGB.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::Shape;
use crate::layout::Layout;
use crate::samples::Samples;

/// Tiles of an image: each costs the decoder memory and time besides its pixels. Images have one, seldom more than 1,000.
const MAX_TILES: u64 = 4096;

pub(crate) fn decode(bytes: &[u8], layout: &Layout) -> Result<Samples, String> {
    // Some programs leave the boxes of a JP2 file around the codestream, whose colours the header states instead.
    let start = bytes
        .windows(4)
        .position(|window| window == b"\xFF\x4F\xFF\x51");
    let bytes = bytes
        .get(start.unwrap_or(bytes.len())..)
        .unwrap_or_default();
    let size = Size::read(bytes).ok_or("its compressed pixels are not a JPEG 2000 image")?;
    size.check(layout)?;
    let undecodable =
        |error: hayro_jpeg2000::DecodeError| format!("its JPEG 2000 cannot be decoded: {error}");
    let settings = DecodeSettings {
        resolve_palette_indices: false,
        strict: true,
        target_resolution: None,
    };
    let image = Image::new(bytes, &settings).map_err(undecodable)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(undecodable)?;
    let (pixels, n) = (layout.pixels(), usize::from(layout.samples));
    let components = decoded.components();
    if components.len() != n || components.iter().any(|c| c.samples().len() != pixels) {
        return Err(
            "its JPEG 2000 cannot be decoded: it has another number of samples than it states"
                .to_owned(),
        );
    }
    let (mut samples, container) = (vec![0; pixels * n], size.container());
    for (i, component) in components.iter().enumerate() {
        let places = samples.iter_mut().skip(i).step_by(n);
        places
            .zip(component.samples())
            .for_each(|(place, &value)| *place = container(value));
    }
    Ok(size.shape.contained(samples, layout, size.signed))
}

/// The image and tile sizes of a codestream (annex A.5.1), read here because they decide what is allocated.
struct Size {
    shape: Shape,
    signed: bool,
    tiles: u64,
    /// Whether all components have the same bits and no subsampling.
    uniform: bool,
}

impl Size {
    fn read(bytes: &[u8]) -> Option<Self> {
        let body = bytes.get(8..)?;
        let number = |i: usize| Some(u32::from_be_bytes(*body.get(4 * i..)?.first_chunk()?));
        let [x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(number);
        let tiles = |end: Option<u32>, start: Option<u32>, size: Option<u32>| {
            let size = u64::from(size?).max(1);
            Some(u64::from(end?.checked_sub(start?)?).div_ceil(size))
        };
        let components = u16::from_be_bytes(*body.get(32..)?.first_chunk()?);
        let listed = body.get(34..)?.as_chunks::<3>().0;
        let listed = listed.get(..usize::from(components))?;
        let [depth, ..] = *listed.first()?;
        Some(Self {
            shape: Shape {
                rows: y1?.checked_sub(y0?)?,
                columns: x1?.checked_sub(x0?)?,
                samples: components,
                precision: (depth & 0x7F) + 1,
            },
            signed: depth & 0x80 != 0,
            tiles: tiles(x1, tile_x0, tile_x)?.checked_mul(tiles(y1, tile_y0, tile_y)?)?,
            uniform: listed.iter().all(|component| *component == [depth, 1, 1]),
        })
    }

    fn check(&self, layout: &Layout) -> Result<(), String> {
        self.shape.check(layout)?;
        if !self.uniform {
            return Err(
                "its JPEG 2000 has components of different sizes or bits, which is not read"
                    .to_owned(),
            );
        }
        if self.tiles > MAX_TILES {
            return Err(format!(
                "its JPEG 2000 has {} tiles; up to {MAX_TILES} are read",
                self.tiles
            ));
        }
        Ok(())
    }

    /// From a sample to its container. The decoder adds half of the range to signed samples, too.
    fn container(&self) -> impl Fn(f32) -> u16 {
        let range = 1_u32 << self.shape.precision;
        let (greatest, half) = ((range - 1) as f32, if self.signed { range / 2 } else { 0 });
        // To the nearest number; `round` is a function call without SSE 4.1.
        move |value| ((value.clamp(0.0, greatest) + 0.5) as u32).wrapping_sub(half) as u16
    }
}
