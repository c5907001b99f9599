use std::collections::BTreeMap;

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Rgb, RgbImage};

use super::*;

/// A JPEG of each coding, written by Pillow; see `files/make.py`.
const JPEGS: [(&str, &[u8]); 8] = [
    ("grey", include_bytes!("files/grey.jpeg")),
    ("full", include_bytes!("files/full.jpeg")),
    ("halved", include_bytes!("files/halved.jpeg")),
    ("restarts", include_bytes!("files/restarts.jpeg")),
    ("progressive", include_bytes!("files/progressive.jpeg")),
    (
        "progressive-grey",
        include_bytes!("files/progressive-grey.jpeg"),
    ),
    ("optimized", include_bytes!("files/optimized.jpeg")),
    ("cmyk", include_bytes!("files/cmyk.jpeg")),
];

const ORIENTATIONS: [&[u8]; 8] = [
    include_bytes!("files/orientation-1.png"),
    include_bytes!("files/orientation-2.png"),
    include_bytes!("files/orientation-3.png"),
    include_bytes!("files/orientation-4.png"),
    include_bytes!("files/orientation-5.png"),
    include_bytes!("files/orientation-6.png"),
    include_bytes!("files/orientation-7.png"),
    include_bytes!("files/orientation-8.png"),
];

#[derive(Deserialize)]
struct Expected {
    means: BTreeMap<String, f64>,
    shown: BTreeMap<usize, Vec<Vec<u8>>>,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("files/expected.json")).unwrap()
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    Decoder::default()
        .decode(bytes)
        .map(|decoded| decoded.pixels)
}

fn limited(max_pixels: u64) -> Decoder {
    Decoder {
        max_pixels,
        ..Decoder::default()
    }
}

fn jpeg() -> Vec<u8> {
    let image = RgbImage::from_fn(40, 30, |x, y| {
        Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8])
    });
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90)
        .encode_image(&image)
        .unwrap();
    bytes
}

#[test]
fn complete_jpegs_of_every_coding_decode_as_in_pillow() {
    let means = expected().means;
    for (name, bytes) in JPEGS {
        let image = decode(bytes).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!((image.width(), image.height()), (59, 43), "{name}");
        if let Some(mean) = means.get(name) {
            let values = image.into_bytes();
            let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
            let found = sum / values.len() as f64;
            assert!((found - mean).abs() < 0.5, "{name}: {found} {mean}");
        }
    }
}

#[test]
fn every_truncation_of_a_jpeg_is_detected() {
    for (name, whole) in JPEGS {
        for len in 0..whole.len() {
            assert!(decode(&whole[..len]).is_err(), "{name}: {len} bytes passed");
        }
    }
}

/// Such a file results if a download breaks off and a program then closes the file properly.
#[test]
fn every_truncation_of_the_scans_that_keeps_the_end_marker_is_detected() {
    for (name, whole) in JPEGS {
        let scan = whole
            .windows(2)
            .position(|pair| pair == [0xFF, 0xDA])
            .unwrap();
        for len in scan..whole.len() - 2 {
            let cut = [&whole[..len], &[0xFF, 0xD9]].concat();
            assert!(decode(&cut).is_err(), "{name}: {len} bytes passed");
        }
    }
}

#[test]
fn the_error_for_a_jpeg_with_a_gap_states_where_it_is() {
    let whole = jpeg();
    let scan = whole
        .windows(2)
        .position(|pair| pair == [0xFF, 0xDA])
        .unwrap();
    let cut = [&whole[..scan + 100], &[0xFF, 0xD9]].concat();
    let reason = decode(&cut).unwrap_err();
    assert!(
        reason.contains("truncated JPEG: its data end in block row"),
        "{reason}"
    );
    let mut zeroed = whole.clone();
    let half = zeroed.len() / 2;
    zeroed[half..].fill(0);
    assert!(decode(&zeroed).unwrap_err().contains("truncated"));
}

#[test]
fn a_lost_restart_interval_is_detected() {
    let (_, whole) = JPEGS[3];
    let at = |marker: u8| {
        let found = whole.windows(2).position(|pair| pair == [0xFF, marker]);
        found.unwrap()
    };
    let lost = [&whole[..at(0xD1)], &whole[at(0xD2)..]].concat();
    assert!(decode(&lost).unwrap_err().contains("truncated"));
}

#[test]
fn trailing_bytes_are_accepted() {
    let mut bytes = jpeg();
    bytes.extend([0, 13, 10]);
    assert!(decode(&bytes).is_ok());
}

#[test]
fn every_truncation_of_a_png_is_detected() {
    let mut bytes = Vec::new();
    let image = decode(&jpeg()).unwrap();
    image
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .unwrap();
    // The 12 bytes of the last chunk (IEND) contain no data.
    for len in 0..bytes.len() - 12 {
        assert!(
            decode(&bytes[..len]).is_err(),
            "{len} of {} bytes passed",
            bytes.len()
        );
    }
}

/// The length of this palette is not a multiple of 3, on which the decoder panics.
#[test]
fn a_decoders_panic_becomes_an_error_for_the_file() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette([0_u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].as_slice());
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[3; 64]).unwrap();
    drop(writer);
    let reason = decode(&bytes).unwrap_err();
    assert!(reason.contains("damaged"), "{reason}");
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("palette.png");
    std::fs::write(&path, &bytes).unwrap();
    let error = Decoder::default().pixels(&path).unwrap_err().to_string();
    assert!(error.contains("palette.png"), "{error}");
}

#[test]
fn orientations_match_pillow() {
    for (bytes, (orientation, shown)) in ORIENTATIONS.into_iter().zip(expected().shown) {
        let decoded = Decoder::default().decode(bytes).unwrap();
        assert_eq!(decoded.turned, orientation != 1);
        let image = decoded.pixels.into_luma8();
        let rows: Vec<Vec<u8>> = image
            .rows()
            .map(|row| row.map(|p| p.0[0]).collect())
            .collect();
        assert_eq!(rows, shown, "orientation {orientation}");
    }
}

#[test]
fn palettes_decode_to_indices_if_requested() {
    let files: [&[u8]; 2] = [
        include_bytes!("files/palette-2.png"),
        include_bytes!("files/palette-8.png"),
    ];
    for bytes in files {
        let indices = Decoder::default()
            .decode_indices(bytes)
            .unwrap()
            .into_luma8();
        assert_eq!(indices.dimensions(), (7, 5));
        let expected: Vec<u8> = (0..35).map(|i| i % 3).collect();
        assert_eq!(indices.into_raw(), expected);
        assert_eq!(decode(bytes).unwrap().into_rgb8()[(1, 0)].0, [128, 0, 0]);
    }
}

/// A header is enough to reject the file: 60,000 by 60,000 pixels would be 10 GB.
#[test]
fn pixels_beyond_the_limit_are_rejected_before_memory_is_allocated() {
    let huge = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let frame = bytes
            .windows(2)
            .position(|pair| pair == [0xFF, 0xC0])
            .unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
        bytes
    };
    let reason = decode(&huge(&jpeg())).unwrap_err();
    assert!(
        reason.contains("60000x60000") && reason.contains("image.max_megapixels"),
        "{reason}"
    );
    let mut png = Vec::new();
    let image = DynamicImage::ImageLuma8(GrayImage::new(1001, 1000));
    image
        .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
        .unwrap();
    assert!(Decoder::of_megapixels(1).decode(&png).is_err());
    assert!(Decoder::of_megapixels(2).decode(&png).is_ok());
    let sparse = tempfile::NamedTempFile::new().unwrap();
    sparse.as_file().set_len(1 << 40).unwrap();
    let reason = Decoder::default().read(sparse.path()).unwrap_err();
    assert!(reason.contains("MB"), "{reason}");
}

#[cfg(unix)]
#[test]
fn folders_and_devices_are_not_images() {
    let check = |path: &str, expected: &str| {
        let reason = Decoder::default().read(Path::new(path)).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    };
    check("/", "folder");
    check("/dev/zero", "not a regular file");
    check("/no/where.png", "no such file");
}

#[test]
fn luma_matches_pillow() {
    // PIL.Image.new("RGB", (1, 1), c).convert("L").getpixel((0, 0))
    let check = |rgb: [u8; 3], expected: u8| {
        let image = DynamicImage::ImageRgb8(RgbImage::from_pixel(1, 1, Rgb(rgb)));
        assert_eq!(to_grey(image).into_luma8()[(0, 0)].0[0], expected);
    };
    check([255, 0, 0], 76);
    check([0, 255, 0], 150);
    check([0, 0, 255], 29);
    check([200, 100, 50], 124);
    check([77, 77, 77], 77);
}

/// Files of other formats, written by Pillow, and its pixels of them; see `files/make_formats.py`.
mod formats {
    use super::*;

    #[derive(Deserialize)]
    struct Shown {
        shape: [usize; 3],
        bits: u8,
        values: Vec<f64>,
    }

    fn shown() -> BTreeMap<String, Shown> {
        serde_json::from_str(include_str!("files/formats/formats.json")).unwrap()
    }

    fn bytes(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/decode/files/formats");
        std::fs::read(folder.join(name)).unwrap()
    }

    fn values(image: DynamicImage) -> (u8, Vec<f64>) {
        match image {
            DynamicImage::ImageLuma16(grey) => {
                (16, grey.into_raw().into_iter().map(f64::from).collect())
            }
            other => (8, other.into_bytes().into_iter().map(f64::from).collect()),
        }
    }

    #[test]
    fn pixels_match_pillow() {
        for (
            name,
            Shown {
                shape,
                bits,
                values: expected,
            },
        ) in shown()
        {
            let decoded = Decoder::default().decode(&bytes(&name));
            let Decoded { pixels, turned, .. } =
                decoded.unwrap_or_else(|reason| panic!("{name}: {reason}"));
            assert_eq!(turned, name.contains("turned"), "{name}");
            let size = (pixels.height() as usize, pixels.width() as usize);
            assert_eq!(size, (shape[0], shape[1]), "{name}");
            let pixels = match shape[2] {
                // Grey BMPs have a palette of greys.
                1 if pixels.color().has_color() => DynamicImage::ImageLuma8(pixels.to_luma8()),
                _ => pixels,
            };
            let (found_bits, found) = values(pixels);
            assert_eq!((found_bits, found.len()), (bits, expected.len()), "{name}");
            // Lossy WebP leaves rounding and the interpolation of chroma to the decoder.
            let allowed = if name.contains("lossy") { 3. } else { 0. };
            let worst = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0., f64::max);
            assert!(worst <= allowed, "{name}: off by {worst}");
        }
    }

    #[test]
    fn every_truncation_is_detected() {
        for (
            name,
            Shown {
                values: expected, ..
            },
        ) in shown()
        {
            let whole = bytes(&name);
            let all = Decoder::default()
                .decode(&whole)
                .unwrap()
                .pixels
                .into_bytes();
            assert!(!expected.is_empty());
            for len in 0..whole.len() {
                // Padding and metadata after the pixels may be missing.
                if let Ok(decoded) = Decoder::default().decode(&whole[..len]) {
                    assert!(
                        decoded.pixels.into_bytes() == all,
                        "{name}: {len} bytes passed"
                    );
                }
            }
        }
    }

    #[test]
    fn palettes_decode_to_indices_if_requested() {
        for name in ["palette-lzw.tif", "palette.bmp"] {
            let indices = Decoder::default()
                .decode_indices(&bytes(name))
                .unwrap()
                .into_luma8();
            let expected: Vec<u8> = (0..13 * 19_u32)
                .map(|i| (i % 19, i / 19))
                .map(|(x, y)| ((x * 11 + y * 17 + x * y) % 256 % 5) as u8)
                .collect();
            assert_eq!(indices.into_raw(), expected, "{name}");
        }
        let turned = Decoder::default()
            .decode_indices(&bytes("palette-turned.tif"))
            .unwrap();
        assert_eq!((turned.width(), turned.height()), (13, 19));
    }

    #[test]
    fn pages_animations_and_codings_that_hide_gaps_are_refused() {
        let check = |name: &str, expected: &str| {
            let reason = Decoder::default().decode(&bytes(name)).unwrap_err();
            assert!(reason.contains(expected), "{name}: {reason}");
        };
        check("refused-pages.tif", "several pages");
        check("refused-jpeg.tif", "JPEG");
        check("refused-animation.webp", "animation");
    }

    /// The decoder would allocate 4 GB for a chunk of metadata that claims them.
    #[test]
    fn a_chunk_of_a_webp_may_not_claim_more_than_there_is() {
        let mut file = bytes("turned.webp");
        let exif = file
            .windows(4)
            .position(|window| window == b"EXIF")
            .unwrap();
        file[exif + 4..exif + 8].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xEF]);
        let reason = Decoder::default().decode(&file).unwrap_err();
        assert!(reason.contains("truncated"), "{reason}");
    }

    #[test]
    fn the_limit_holds_for_every_format() {
        for name in ["grey.tif", "palette-lzw.tif", "rgb.bmp", "turned.webp"] {
            let reason = limited(246).decode(&bytes(name)).unwrap_err();
            assert!(reason.contains("image.max_megapixels"), "{name}: {reason}");
            assert!(limited(247).decode(&bytes(name)).is_ok());
        }
    }
}

/// A file of Explicit VR Little Endian with four pixels of 12 bits in a window from 0 to 3.
#[test]
fn dicom_files_are_images_but_not_masks() {
    let mut file = [&[0; 128][..], b"DICM"].concat();
    let mut element = |group: u16, number: u16, vr: &[u8; 2], value: &[u8]| {
        file.extend([group.to_le_bytes(), number.to_le_bytes(), *vr].as_flattened());
        match vr {
            b"OW" => {
                file.extend([[0, 0], (value.len() as u16).to_le_bytes(), [0, 0]].as_flattened())
            }
            _ => file.extend((value.len() as u16).to_le_bytes()),
        }
        file.extend(value);
    };
    element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\0");
    for (number, vr, value) in [
        (0x0002, b"US", &[1, 0][..]),
        (0x0004, b"CS", b"MONOCHROME1 "),
        (0x0010, b"US", &[1, 0]),
        (0x0011, b"US", &[4, 0]),
        (0x0100, b"US", &[16, 0]),
        (0x0101, b"US", &[12, 0]),
        (0x0102, b"US", &[11, 0]),
        (0x0103, b"US", &[0, 0]),
        (0x1050, b"DS", b"2 "),
        (0x1051, b"DS", b"4 "),
    ] {
        element(0x0028, number, vr, value);
    }
    element(0x7FE0, 0x10, b"OW", &[0, 0, 1, 0, 3, 0, 9, 0]);
    let decoded = Decoder::default().decode(&file).unwrap();
    assert_eq!(
        decoded.pixels.into_luma16().into_raw(),
        [65535, 43690, 0, 0]
    );
    let reason = limited(3).decode(&file).unwrap_err();
    assert!(reason.contains("image.max_megapixels"), "{reason}");
    let reason = Decoder::default().decode_indices(&file).unwrap_err();
    assert!(reason.contains("DICOM"), "{reason}");
}
