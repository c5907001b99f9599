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
    /// Changes a sample by a value.
    pub(super) apply: fn(f64, &mut Sample, SampleKey),
}

/// All changes: from what differs between devices and archives to what a person would send back.
pub(super) const KINDS: [Kind; 11] = [
    Kind {
        name: "darker",
        unit: "brightness factor",
        values: [0.9, 0.75, 0.6, 0.45, 0.3],
        apply: brightness,
    },
    Kind {
        name: "brighter",
        unit: "brightness factor",
        values: [1.1, 1.25, 1.5, 1.8, 2.2],
        apply: brightness,
    },
    Kind {
        name: "flatter",
        unit: "contrast factor",
        values: [0.85, 0.7, 0.5, 0.35, 0.2],
        apply: |contrast, sample, key| {
            let draw = Draw {
                contrast,
                ..Draw::default()
            };
            drawn(sample, key, draw);
        },
    },
    Kind {
        name: "gamma below 1",
        unit: "exponent",
        values: [0.85, 0.7, 0.55, 0.4, 0.25],
        apply: gamma,
    },
    Kind {
        name: "gamma above 1",
        unit: "exponent",
        values: [1.2, 1.5, 1.9, 2.4, 3.0],
        apply: gamma,
    },
    Kind {
        name: "noise",
        unit: "standard deviation, white is 1",
        values: [0.01, 0.025, 0.05, 0.1, 0.2],
        apply: |noise_sigma, sample, key| {
            let draw = Draw {
                noise_sigma,
                ..Draw::default()
            };
            drawn(sample, key, draw);
        },
    },
    Kind {
        name: "blur",
        unit: "standard deviation, % of the side",
        values: [0.25, 0.5, 1.0, 1.5, 2.5],
        apply: |percent, sample, key| {
            let draw = Draw {
                blur_sigma: percent / 100.0 * sample.height.max(sample.width) as f64,
                ..Draw::default()
            };
            drawn(sample, key, draw);
        },
    },
    Kind {
        name: "JPEG",
        unit: "quality",
        values: [75.0, 50.0, 30.0, 15.0, 5.0],
        apply: |quality, sample, key| {
            let draw = Draw {
                jpeg_quality: Some(quality as u8),
                ..Draw::default()
            };
            drawn(sample, key, draw);
        },
    },
    Kind {
        name: "coarser",
        unit: "share of the pixels along a side",
        values: [0.75, 0.5, 0.35, 0.25, 0.15],
        apply: |share, sample, _| {
            let side = |pixels: usize| ((share * pixels as f64).round() as usize).max(1);
            coarse(sample, (side(sample.height), side(sample.width)));
        },
    },
    Kind {
        name: "rotated",
        unit: "degrees, to either side",
        values: [3.0, 7.0, 15.0, 25.0, 45.0],
        apply: |degrees, sample, key| {
            let draw = Draw {
                rotation_degrees: if key.index % 2 == 0 {
                    degrees
                } else {
                    -degrees
                },
                ..Draw::default()
            };
            drawn(sample, key, draw);
        },
    },
    Kind {
        name: "closer",
        unit: "enlargement",
        values: [1.05, 1.15, 1.3, 1.5, 1.8],
        apply: |zoom, sample, key| {
            let draw = Draw {
                zoom,
                ..Draw::default()
            };
            drawn(sample, key, draw);
        },
    },
];

fn brightness(brightness: f64, sample: &mut Sample, key: SampleKey) {
    let draw = Draw {
        brightness,
        ..Draw::default()
    };
    drawn(sample, key, draw);
}

fn gamma(gamma: f64, sample: &mut Sample, key: SampleKey) {
    let draw = Draw {
        gamma,
        ..Draw::default()
    };
    drawn(sample, key, draw);
}
