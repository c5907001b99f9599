//! Masks of an image, in each coding.

use std::path::Path;

use anyhow::Result;
use dataset::{DataLayout, IndexConfig, Manifest, MaskConfig, OnMask, SplitFolders, index};
use imaging::{MaskCoding, PixelValue};

use crate::formats::png;
use crate::seeds::{self, two};
use crate::{Case, Outcome, Rng, Session, Target};

const FILE: &str = "masks/a.png";

pub(super) struct Mask;

impl Target for Mask {
    fn name(&self) -> &'static str {
        "mask"
    }

    fn about(&self) -> &'static str {
        "the mask of an image, binary and by a table of values: right checksums, any size, bit depth and values"
    }

    fn memory(&self) -> usize {
        2 << 30
    }

    fn short(&self) -> u64 {
        1500
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(Masks {
            image: seeds::grey_png(16, 12),
            seeds: seeds::masks(),
        }))
    }
}

struct Masks {
    image: Vec<u8>,
    seeds: Vec<Vec<u8>>,
}

impl Session for Masks {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let (seed, other) = two(rng, &self.seeds);
        Case::file("images/a.png", self.image.clone()).with(FILE, png::mutate(rng, seed, other))
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let table = MaskCoding {
            values: (0..4)
                .map(|value| (PixelValue::Grey(value * 17), value as u8))
                .collect(),
            ignore: [PixelValue::Grey(255)].into(),
            ..MaskCoding::default()
        };
        let outcomes = [(MaskCoding::default(), false), (table, true)]
            .map(|(coding, resize)| read(input, coding, resize));
        let mut wrong = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Wrong(_)));
        match wrong.next() {
            Some(wrong) => wrong.clone(),
            None if outcomes.contains(&Outcome::Accepted) => Outcome::Accepted,
            None => Outcome::Refused,
        }
    }
}

fn read(input: &Path, coding: MaskCoding, resize: bool) -> Outcome {
    let masks = MaskConfig {
        coding,
        on_bad: OnMask::Fail,
        on_missing: OnMask::Fail,
        resize,
        ..MaskConfig::tree(input.join("masks"))
    };
    let config = IndexConfig {
        root: input.join("images"),
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        masks: Some(masks),
        ..IndexConfig::default()
    };
    match index(&config) {
        Err(error) => Outcome::refused(error, "a.png"),
        Ok(manifest) => check(&manifest),
    }
}

/// Shares are in [0, 1] and sum to 1, and the mask has as many pixels as the image.
fn check(manifest: &Manifest) -> Outcome {
    for record in manifest.rows() {
        if let Some(shares) = &record.mask_shares {
            let sum: f64 = shares.iter().sum();
            if (sum - 1.0).abs() > 1e-9 || shares.iter().any(|s| !(0.0..=1.0).contains(s)) {
                return Outcome::Wrong(format!("shares {shares:?}"));
            }
        }
        match manifest.true_pixels(record) {
            Ok(Some(pixels)) if pixels.len() != 16 * 12 => {
                return Outcome::Wrong(format!(
                    "a mask of {} pixels for an image of 192",
                    pixels.len()
                ));
            }
            Ok(_) => {}
            Err(error) => return Outcome::Wrong(format!("indexed, but cannot be read: {error}")),
        }
    }
    Outcome::Accepted
}
