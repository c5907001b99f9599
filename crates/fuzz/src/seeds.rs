//! Valid inputs to start from.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, Rgb, RgbImage};

use crate::formats::png::{Header, picture};

/// Every kind of PNG: colour types, bit depths, interlacing.
pub(crate) fn pngs() -> Vec<Vec<u8>> {
    const KINDS: [(u8, u8); 15] = [
        (0, 1),
        (0, 2),
        (0, 4),
        (0, 8),
        (0, 16),
        (2, 8),
        (2, 16),
        (3, 1),
        (3, 2),
        (3, 4),
        (3, 8),
        (4, 8),
        (4, 16),
        (6, 8),
        (6, 16),
    ];
    let of = |(colour, bits): (u8, u8), interlaced| {
        picture(Header {
            width: 13,
            height: 9,
            bits,
            colour,
            interlaced,
        })
    };
    let plain = KINDS.map(|kind| of(kind, false));
    let interlaced = [(0, 1), (0, 16), (2, 8), (3, 4), (6, 8)].map(|kind| of(kind, true));
    plain.into_iter().chain(interlaced).collect()
}

/// Binary masks and label masks of 16×12 pixels.
pub(crate) fn masks() -> Vec<Vec<u8>> {
    let mask = |bits, colour| {
        picture(Header {
            width: 16,
            height: 12,
            bits,
            colour,
            interlaced: false,
        })
    };
    vec![mask(1, 0), mask(8, 0), mask(16, 0), mask(8, 2), mask(8, 3)]
}

/// A grey PNG of this size.
pub(crate) fn grey_png(width: u32, height: u32) -> Vec<u8> {
    picture(Header {
        width,
        height,
        bits: 8,
        colour: 0,
        interlaced: false,
    })
}

/// Baseline grey and RGB, and the files of `seeds/`.
pub(crate) fn jpegs() -> Vec<Vec<u8>> {
    let rgb = RgbImage::from_fn(24, 20, |x, y| {
        Rgb([(x * 10) as u8, (y * 12) as u8, (x * y) as u8])
    });
    let grey: Vec<u8> = rgb.pixels().map(|p| p.0[0] ^ p.0[1]).collect();
    let encoded = |pixels: &[u8], colour| {
        let mut bytes = vec![];
        // Cannot fail: it writes to memory, and the sizes are right.
        let _ = JpegEncoder::new_with_quality(&mut bytes, 70).encode(pixels, 24, 20, colour);
        bytes
    };
    vec![
        encoded(&grey, ExtendedColorType::L8),
        encoded(&rgb, ExtendedColorType::Rgb8),
        include_bytes!("../seeds/progressive.jpg").to_vec(),
        include_bytes!("../seeds/restarts.jpg").to_vec(),
        include_bytes!("../seeds/cmyk.jpg").to_vec(),
        include_bytes!("../seeds/exif.jpg").to_vec(),
    ]
}

/// TIFF, BMP and WebP in every coding, as Pillow writes them.
pub(crate) fn others() -> Vec<Vec<u8>> {
    macro_rules! files {
        ($($name:literal)*) => {
            vec![$(include_bytes!(concat!("../../imaging/src/decode/files/formats/", $name)).to_vec()),*]
        };
    }
    files!(
        "grey.tif" "grey16-lzw.tif" "grey16-deflate.tif" "grey16-big-endian.tif" "rgb-lzw.tif" "rgb-packbits.tif"
        "rgb-deflate.tif" "rgba.tif" "bits.tif" "bits-packbits.tif" "palette-lzw.tif" "turned.tif" "refused-pages.tif"
        "grey.bmp" "rgb.bmp" "rgba.bmp" "bits.bmp" "palette.bmp"
        "rgb-lossless.webp" "rgba-lossless.webp" "rgb-lossy.webp" "turned.webp"
    )
}

/// Two of the seeds: one to mutate, and another to take parts from.
pub(crate) fn two<'s>(rng: &mut crate::Rng, seeds: &'s [Vec<u8>]) -> (&'s [u8], &'s [u8]) {
    let mut one = || rng.pick(seeds).map(Vec::as_slice).unwrap_or_default();
    (one(), one())
}
