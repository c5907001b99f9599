//! Images, read as for a network.

use std::path::Path;

use anyhow::Result;
use imaging::{Decoder, Fit, Frame, ImagingError};

use crate::formats::{jpeg, png};
use crate::seeds::{self, two};
use crate::{Case, Outcome, Rng, Session, Target, mutate};

/// Side of the frame that images are fitted into, in pixels.
const SIDE: usize = 16;
const FILE: &str = "image.png";

/// In bytes: an image of the largest allowed size (100 megapixels) may have 8 bytes per pixel, plus 6 for a copy
/// without transparency.
const MEMORY: usize = 2 << 30;

fn values(path: &Path) -> Result<Vec<f32>, ImagingError> {
    let frame = Frame {
        height: SIDE,
        width: SIDE,
        channels: 3,
        fit: Fit::Pad,
    };
    Ok(Decoder::default().framed(path, frame)?.image.values())
}

/// A format whose files must be refused or give values from 0 to 1.
pub(super) struct Format {
    name: &'static str,
    about: &'static str,
    seeds: fn() -> Vec<Vec<u8>>,
    mutate: Mutate,
}

/// Makes an input of a seed, and of another one.
type Mutate = fn(&mut Rng, &[u8], &[u8]) -> Vec<u8>;

pub(super) const PNG: Format = Format {
    name: "png",
    about: "PNG with right checksums: sizes, bit depths, palettes, chunks, pixels",
    seeds: seeds::pngs,
    mutate: png::mutate,
};

pub(super) const JPEG: Format = Format {
    name: "jpeg",
    about: "JPEG: frames, tables, scans, baseline and progressive",
    seeds: seeds::jpegs,
    mutate: jpeg::mutate,
};

pub(super) const OTHER: Format = Format {
    name: "image-other",
    about: "TIFF, BMP and WebP: headers, directories, palettes, compressed pixels",
    seeds: seeds::others,
    mutate: |rng, seed, other| {
        let mut bytes = seed.to_vec();
        mutate::bytes(rng, &mut bytes, &WORDS, other);
        bytes
    },
};

impl Target for Format {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn memory(&self) -> usize {
        MEMORY
    }

    fn short(&self) -> u64 {
        4000
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(Pictures {
            seeds: (self.seeds)(),
            mutate: self.mutate,
        }))
    }
}

/// What the decoders of these formats look for.
const WORDS: [&[u8]; 8] = [
    b"II*\0\x08\0\0\0",
    b"\x00\x01\x03\0\x01\0\0\0",
    b"\x03\x01\x03\0\x01\0\0\0\x05\0",
    b"\x12\x01\x03\0\x01\0\0\0\x06\0",
    b"BM",
    b"RIFF",
    b"VP8X",
    b"VP8L",
];

struct Pictures {
    seeds: Vec<Vec<u8>>,
    mutate: Mutate,
}

impl Session for Pictures {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let (seed, other) = two(rng, &self.seeds);
        Case::file(FILE, (self.mutate)(rng, seed, other))
    }

    fn run(&mut self, input: &Path) -> Outcome {
        match read(input) {
            Err(refused) => refused,
            Ok(pixels) => {
                let good = pixels.len() == SIDE * SIDE * 3
                    && pixels.iter().all(|v| (0.0..=1.0).contains(v));
                Outcome::accepted_if(good, || "its values are not all in [0, 1]".into())
            }
        }
    }
}

fn read(input: &Path) -> Result<Vec<f32>, Outcome> {
    values(&input.join(FILE)).map_err(|error| Outcome::refused(error, FILE))
}

pub(super) struct Damaged;

impl Target for Damaged {
    fn name(&self) -> &'static str {
        "image-damaged"
    }

    fn about(&self) -> &'static str {
        "PNG with flipped bits and lost bytes, JPEG with a truncated scan and an end marker: refused, or read unchanged"
    }

    fn memory(&self) -> usize {
        MEMORY
    }

    fn short(&self) -> u64 {
        4000
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn open(&self, home: &Path) -> Result<Box<dyn Session>> {
        let (pngs, jpegs) = (seeds::pngs(), seeds::jpegs());
        let mut known = vec![];
        for bytes in pngs.iter().chain(&jpegs) {
            std::fs::write(home.join(FILE), bytes)?;
            known.push(values(&home.join(FILE))?);
        }
        Ok(Box::new(DamagedPictures { pngs, jpegs, known }))
    }
}

struct DamagedPictures {
    pngs: Vec<Vec<u8>>,
    jpegs: Vec<Vec<u8>>,
    /// The pixels of the undamaged files.
    known: Vec<Vec<f32>>,
}

impl Session for DamagedPictures {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let bytes = match rng.once_in(2) {
            true => {
                let whole = two(rng, &self.jpegs).0;
                jpeg::cut(rng, whole)
            }
            false => {
                let mut bytes = two(rng, &self.pngs).0.to_vec();
                mutate::damage(rng, &mut bytes);
                bytes
            }
        };
        Case::file(FILE, bytes)
    }

    fn run(&mut self, input: &Path) -> Outcome {
        match read(input) {
            Err(refused) => refused,
            Ok(pixels) => Outcome::accepted_if(self.known.contains(&pixels), || {
                "a damaged image is accepted with other pixels".into()
            }),
        }
    }
}
