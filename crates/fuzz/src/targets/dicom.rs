//! DICOM files, read as images.

use std::path::Path;

use anyhow::Result;
use dicom::write::{Capture, Network, Source, secondary_capture};
use dicom::{ReadOptions, Window};
use imaging::Decoder;

use crate::formats::dicom::{self as format, File};
use crate::{Case, Outcome, Rng, Session, Target};

const FILE: &str = "image.dcm";

/// Rows × columns of the largest image that is read here: small, so that the bound on memory is, too.
const MAX_PIXELS: u64 = 1 << 20;

pub(super) struct Dicom;

impl Target for Dicom {
    fn name(&self) -> &'static str {
        "dicom"
    }

    fn about(&self) -> &'static str {
        "DICOM: elements, lengths, nested sequences, tables, compressed pixels"
    }

    /// What `dicom::ReadOptions` states for this number of pixels.
    fn memory(&self) -> usize {
        (64 * MAX_PIXELS as usize) + (64 << 20)
    }

    fn short(&self) -> u64 {
        4000
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(Files { seeds: seeds() }))
    }
}

struct Files {
    seeds: Vec<File>,
}

impl Session for Files {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let mut one = || rng.below(self.seeds.len());
        let (seed, other) = (one(), one());
        Case::file(
            FILE,
            format::mutate(rng, &self.seeds[seed], &self.seeds[other]),
        )
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let path = input.join(FILE);
        let image = match (Decoder {
            max_pixels: MAX_PIXELS,
            ..Decoder::default()
        })
        .pixels(&path)
        {
            Err(error) => return Outcome::refused(error, FILE),
            Ok(image) => image,
        };
        let size = u64::from(image.width()) * u64::from(image.height());
        match std::fs::read(&path) {
            Err(error) => Outcome::Wrong(error.to_string()),
            Ok(bytes) if !copies(&bytes) => {
                Outcome::Wrong("a result with its patient and study cannot be read".into())
            }
            Ok(bytes) => Outcome::accepted_if(size <= MAX_PIXELS && repeats(&bytes, size), || {
                "its values are not those of its pixels".into()
            }),
        }
    }
}

/// Whether the values of the first frame are as many as its pixels, through a window of the image's own.
fn repeats(bytes: &[u8], size: u64) -> bool {
    // Only DICOM has values; a mutated file may have become something else.
    if !dicom::is_dicom(bytes) {
        return true;
    }
    let options = ReadOptions {
        frame: Some(1),
        window: Window::Percentile,
        max_pixels: MAX_PIXELS,
    };
    let values = dicom::voi_values(bytes, &options);
    values.is_ok_and(|values| values.values.len() as u64 == size * values.samples as u64)
}

/// Whether a result that repeats its patient and study, where it has any, is read again.
fn copies(bytes: &[u8]) -> bool {
    let options = ReadOptions {
        frame: None,
        window: Window::Auto,
        max_pixels: MAX_PIXELS,
    };
    let Ok(source) = Source::of(bytes, &options) else {
        return true;
    };
    let (rows, columns) = source.size();
    let capture = Capture {
        rgb: &vec![0; 3 * rows as usize * columns as usize],
        description: "",
    };
    let network = Network {
        program: "fuzz",
        version: "0",
        weights_sha256: "0",
    };
    let file = secondary_capture(&source, network, &capture);
    file.and_then(|file| dicom::read(&file, &options))
        .is_ok_and(|image| (image.header.rows, image.header.columns) == (rows, columns))
}

macro_rules! stream {
    ($name:literal) => {
        include_bytes!(concat!("../../../dicom/tests/streams/", $name))
    };
}

fn seeds() -> Vec<File> {
    let mut seeds = native();
    let grey = |bits: u16| {
        let allocated = if bits <= 8 { 8 } else { 16 };
        File::image("MONOCHROME2", [21, 34, 1], [allocated, bits, bits - 1, 0])
    };
    let rgb = || File::image("RGB", [21, 34, 3], [8, 8, 7, 0]);
    let signed = File::image("MONOCHROME1", [21, 34, 1], [16, 16, 15, 1]);
    const LS: &str = "1.2.840.10008.1.2.4.81";
    const J2K: &str = "1.2.840.10008.1.2.4.90";
    const LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
    const DCT: &str = "1.2.840.10008.1.2.4.51";
    seeds.extend([
        grey(8).compressed(LS, stream!("ls-8-near0-1-ilv0.jls")),
        grey(16).compressed(LS, stream!("ls-16-near100-1-ilv0.jls")),
        rgb().compressed(LS, stream!("ls-8-near0-3-ilv0.jls")),
        rgb().compressed(LS, stream!("ls-8-near2-3-ilv1.jls")),
        rgb().compressed(LS, stream!("ls-8-near2-3-ilv2.jls")),
        grey(12).compressed(J2K, stream!("grey12.j2k")),
        signed.compressed(J2K, stream!("signed16.j2k")),
        rgb().compressed(J2K, stream!("rgb8.jp2")),
        grey(12).compressed(LOSSLESS, stream!("lossless12.jpg")),
        grey(12).compressed(DCT, stream!("dct12.jpg")),
        grey(8).compressed("1.2.840.10008.1.2.4.50", stream!("dct8.jpg")),
    ]);
    seeds
}

/// Native pixels and RLE, in every photometric interpretation and with every table.
fn native() -> Vec<File> {
    let words = |n: usize| {
        (0..n)
            .flat_map(|i| ((i * 97 % 4096) as u16).to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let bytes = |n: usize| (0..n).map(|i| (i * 31 % 256) as u8).collect::<Vec<u8>>();
    let grey = || File::image("MONOCHROME2", [5, 6, 1], [16, 12, 11, 1]);
    let lut = || {
        File::item()
            .with((0x0028, 0x3002), b"US", vec![4, 0, 0, 0, 12, 0])
            .with((0x0028, 0x3006), b"OW", words(4))
    };
    let window = |file: File| {
        file.text((0x0028, 0x1050), b"DS", "40\\50")
            .text((0x0028, 0x1051), b"DS", "400\\90")
            .text((0x0028, 0x1052), b"DS", "-1024")
            .text((0x0028, 0x1053), b"DS", "1.5")
    };
    let palette = (0..3).fold(
        File::image("PALETTE COLOR", [5, 6, 1], [8, 8, 7, 0]),
        |file, i| {
            file.with((0x0028, 0x1101 + i), b"US", vec![16, 0, 2, 0, 16, 0])
                .with((0x0028, 0x1201 + i), b"OW", words(16))
        },
    );
    let segmented = (0..3).fold(
        File::image("PALETTE COLOR", [5, 6, 1], [8, 8, 7, 0]),
        |file, i| {
            file.with((0x0028, 0x1101 + i), b"US", vec![4, 0, 0, 0, 16, 0])
                .with(
                    (0x0028, 0x1221 + i),
                    b"OW",
                    vec![0, 0, 1, 0, 9, 0, 1, 0, 3, 0, 200, 0],
                )
        },
    );
    let groups = File::item().sequence((0x0028, 0x9145), window(File::item()));
    let place = File::item().text((0x0020, 0x0032), b"DS", "1\\2\\3");
    let place = File::item().sequence((0x0020, 0x9113), place);
    // What a result repeats.
    let identified = grey()
        .text((0x0008, 0x0005), b"CS", "ISO_IR 100")
        .text((0x0008, 0x0016), b"UI", "1.2.840.10008.5.1.4.1.1.2")
        .text((0x0008, 0x0018), b"UI", "1.2.3.4")
        .text((0x0008, 0x0020), b"DA", "20200102")
        .text((0x0010, 0x0010), b"PN", "Doe^Jane")
        .text((0x0020, 0x000D), b"UI", "1.2.3.5")
        .text((0x0020, 0x000E), b"UI", "1.2.3.6")
        .text((0x0020, 0x0037), b"DS", "1\\0\\0\\0\\1\\0")
        .text((0x0020, 0x0052), b"UI", "1.2.3.7")
        .text((0x0028, 0x0030), b"DS", "0.5\\0.5")
        .sequence((0x5200, 0x9230), place);
    let mut rle = vec![1, 0, 0, 0, 64];
    rle.resize(64, 0);
    rle.extend([29, 200]);
    rle.extend(bytes(30));
    vec![
        window(grey())
            .text((0x0028, 0x1056), b"CS", "SIGMOID")
            .us(0x0120, 7)
            .us(0x0121, 99)
            .pixels(words(30)),
        grey()
            .sequence((0x0028, 0x3000), lut())
            .sequence((0x0028, 0x3010), lut())
            .pixels(words(30)),
        grey()
            .text((0x0028, 0x0008), b"IS", "2")
            .sequence((0x5200, 0x9230), groups)
            .pixels(words(60)),
        identified.pixels(words(30)),
        File::image("MONOCHROME1", [5, 6, 1], [32, 32, 31, 0]).pixels(words(60)),
        File::image("MONOCHROME2", [5, 6, 1], [1, 1, 0, 0]).pixels(bytes(4)),
        File::image("RGB", [5, 6, 3], [8, 8, 7, 0])
            .us(0x0006, 1)
            .pixels(bytes(90)),
        File::image("YBR_FULL_422", [5, 6, 3], [8, 8, 7, 0]).pixels(bytes(60)),
        palette.pixels(bytes(30)),
        segmented.pixels(bytes(30)),
        File::image("MONOCHROME2", [5, 6, 1], [8, 8, 7, 0]).compressed("1.2.840.10008.1.2.5", &rle),
    ]
}
