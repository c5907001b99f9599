//! The changes and their strengths.

use augment::Draw;
use dataset::{Sample, SampleKey};

use crate::stages::pixels::{coarse, drawn};

/// A change that makes images harder, at five strengths.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// From weak to strong.
    pub(super) values: [f64; 5],
    how: How,
}

/// What a value does to an image.
enum How {
    /// An augmentation, drawn from the value and the number of the image.
    Augmented(fn(f64, u64) -> Draw),
    /// A Gaussian blur of this standard deviation, in percent of the longer side.
    Blurred,
    /// Only this share of the pixels along each side.
    Coarse,
}

impl Kind {
    /// Changes a sample by a value.
    pub(super) fn apply(&self, value: f64, sample: &mut Sample, key: SampleKey) {
        let share = |pixels: usize| ((value * pixels as f64).round() as usize).max(1);
        match self.how {
            How::Augmented(draw) => drawn(sample, key, draw(value, key.index)),
            How::Blurred => {
                let blur_sigma = value / 100.0 * sample.height.max(sample.width) as f64;
                let draw = Draw {
                    blur_sigma,
                    ..Draw::default()
                };
                drawn(sample, key, draw);
            }
            How::Coarse => coarse(sample, (share(sample.height), share(sample.width))),
        }
    }
}

/// All changes: from what differs between devices and archives to what a person would send back.
pub(super) const KINDS: [Kind; 11] = [
    Kind {
        name: "darker",
        unit: "brightness factor",
        values: [0.9, 0.75, 0.6, 0.45, 0.3],
        how: How::Augmented(brightness),
    },
    Kind {
        name: "brighter",
        unit: "brightness factor",
        values: [1.1, 1.25, 1.5, 1.8, 2.2],
        how: How::Augmented(brightness),
    },
    Kind {
        name: "flatter",
        unit: "contrast factor",
        values: [0.85, 0.7, 0.5, 0.35, 0.2],
        how: How::Augmented(|contrast, _| Draw {
            contrast,
            ..Draw::default()
        }),
    },
    Kind {
        name: "gamma below 1",
        unit: "exponent",
        values: [0.85, 0.7, 0.55, 0.4, 0.25],
        how: How::Augmented(gamma),
    },
    Kind {
        name: "gamma above 1",
        unit: "exponent",
        values: [1.2, 1.5, 1.9, 2.4, 3.0],
        how: How::Augmented(gamma),
    },
    Kind {
        name: "noise",
        unit: "standard deviation, white is 1",
        values: [0.01, 0.025, 0.05, 0.1, 0.2],
        how: How::Augmented(|noise_sigma, _| Draw {
            noise_sigma,
            ..Draw::default()
        }),
    },
    Kind {
        name: "blur",
        unit: "standard deviation, % of the side",
        values: [0.25, 0.5, 1.0, 1.5, 2.5],
        how: How::Blurred,
    },
    Kind {
        name: "JPEG",
        unit: "quality",
        values: [75.0, 50.0, 30.0, 15.0, 5.0],
        how: How::Augmented(|quality, _| Draw {
            jpeg_quality: Some(quality as u8),
            ..Draw::default()
        }),
    },
    Kind {
        name: "coarser",
        unit: "share of the pixels along a side",
        values: [0.75, 0.5, 0.35, 0.25, 0.15],
        how: How::Coarse,
    },
    Kind {
        name: "rotated",
        unit: "degrees, to either side",
        values: [3.0, 7.0, 15.0, 25.0, 45.0],
        how: How::Augmented(|degrees, index| Draw {
            rotation_degrees: if index % 2 == 0 { degrees } else { -degrees },
            ..Draw::default()
        }),
    },
    Kind {
        name: "closer",
        unit: "enlargement",
        values: [1.05, 1.15, 1.3, 1.5, 1.8],
        how: How::Augmented(|zoom, _| Draw {
            zoom,
            ..Draw::default()
        }),
    },
];

fn brightness(brightness: f64, _: u64) -> Draw {
    Draw {
        brightness,
        ..Draw::default()
    }
}

fn gamma(gamma: f64, _: u64) -> Draw {
    Draw {
        gamma,
        ..Draw::default()
    }
}
