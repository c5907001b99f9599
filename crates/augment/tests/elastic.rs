//! Elastic deformation: settings, determinism, statistics, labels, hand-written warps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml exempts tests, but not their helpers"
)]

use augment::{AugmentConfig, Augmenter, Draw, Fill, Raster, Warp};

const UNET: &str = "elastic = { grid = 3, sigma = 10.0, probability = 1.0 }";

/// The size of the images; no transform here depends on it.
const SIZE: (usize, usize) = (40, 50);

fn augmenter(toml: &str) -> Augmenter {
    Augmenter::new(&toml::from_str(toml).unwrap()).unwrap()
}

fn picture(height: usize, width: usize, channels: usize) -> Raster {
    let value = |i| ((i * 7919 + 13) % 1009) as f32 / 1008.0;
    let values = (0..height * width * channels).map(value).collect();
    Raster::new(height, width, channels, values).unwrap()
}

#[test]
fn settings_default_to_those_of_unet_and_are_checked() {
    let short: AugmentConfig = toml::from_str("elastic = {}").unwrap();
    let full: AugmentConfig = toml::from_str(UNET).unwrap();
    assert_eq!(short, full);
    let written = toml::to_string(&full).unwrap();
    assert_eq!(toml::from_str::<AugmentConfig>(&written).unwrap(), full);
    for (toml, expected) in [
        (
            "elastic = { grid = 1 }",
            "`elastic.grid` is 1, but it must be",
        ),
        ("elastic = { grid = 33 }", "`elastic.grid` is 33"),
        ("elastic = { sigma = -1.0 }", "`elastic.sigma` is -1"),
        ("elastic = { sigma = nan }", "`elastic.sigma` is NaN"),
        (
            "elastic = { probability = 2 }",
            "`elastic.probability` is 2",
        ),
    ] {
        let error = Augmenter::new(&toml::from_str(toml).unwrap()).unwrap_err();
        assert!(error.to_string().contains(expected), "{toml}: {error}");
    }
    let error = toml::from_str::<AugmentConfig>("elastic = { alpha = 3 }").unwrap_err();
    assert!(error.to_string().contains("alpha"), "{error}");
    for off in [
        "elastic = { sigma = 0.0 }",
        "elastic = { probability = 0.0 }",
    ] {
        assert!(augmenter(off).is_identity() && augmenter(off).draw(3, SIZE).is_identity());
    }
    assert!(!augmenter(UNET).is_identity());
}

#[test]
fn displacements_have_the_configured_strength_and_probability() {
    let augmenter = augmenter("elastic = { grid = 4, sigma = 3.0, probability = 0.25 }");
    let draws: Vec<Draw> = (0..8000).map(|seed| augmenter.draw(seed, SIZE)).collect();
    let warps: Vec<&Warp> = draws.iter().filter_map(|draw| draw.warp.as_ref()).collect();
    let share = warps.len() as f64 / 8000.0;
    assert!((share - 0.25).abs() < 0.02, "{share}");
    let moves: Vec<f64> = warps
        .iter()
        .flat_map(|w| &w.shifts)
        .flatten()
        .copied()
        .collect();
    assert_eq!(moves.len(), 32 * warps.len());
    let moment = |power| moves.iter().map(|v| v.powi(power)).sum::<f64>() / moves.len() as f64;
    assert!(moment(1).abs() < 0.05, "mean {}", moment(1));
    assert!(
        (moment(2).sqrt() - 3.0).abs() < 0.05,
        "sd {}",
        moment(2).sqrt()
    );
    let product = warps
        .iter()
        .flat_map(|w| &w.shifts)
        .map(|[x, y]| x * y)
        .sum::<f64>();
    assert!(
        (product / moves.len() as f64).abs() < 0.2,
        "right and down are independent"
    );
}

#[test]
fn elastic_deformation_does_not_change_other_draws() {
    let others = "rotation = { degrees = 15 }\nzoom = { min = 0.9, max = 1.1 }";
    let (with, without) = (augmenter(&format!("{others}\n{UNET}")), augmenter(others));
    for seed in 0..50 {
        let straightened = Draw {
            warp: None,
            ..with.draw(seed, SIZE)
        };
        assert_eq!(straightened, without.draw(seed, SIZE));
    }
}

/// Recorded once: a run repeated with a later version must draw the same values.
#[test]
fn draws_never_change() {
    let augmenter = augmenter(&format!("rotation = {{ degrees = 20 }}\n{UNET}"));
    assert_eq!(CAPTION, augmenter.draw(1, SIZE).to_string());
    // FNV-1a over the bits of every value.
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    for seed in 0..4 {
        let mut image = picture(40, 50, 3);
        augmenter.apply(seed, &mut image, None);
        for value in image.data() {
            hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01B3);
        }
    }
    assert_eq!(hash, HASH);
}

const CAPTION: &str = "rotated 16.1° clockwise, deformed by 7.7 px";
const HASH: u64 = 17068687270123067063;

#[test]
fn threads_and_batches_do_not_change_the_result() {
    let augmenter = augmenter(UNET);
    let seeds: Vec<u64> = (0..8).collect();
    let mut serial: Vec<Raster> = seeds.iter().map(|_| picture(30, 41, 3)).collect();
    let mut batch = serial.clone();
    for (image, seed) in serial.iter_mut().zip(&seeds) {
        augmenter.apply(*seed, image, None);
    }
    augmenter.apply_batch(&seeds, &mut batch).unwrap();
    assert_eq!(batch, serial);
    assert!(serial.iter().all(|image| *image != picture(30, 41, 3)));
}

#[test]
fn label_masks_keep_their_values_and_follow_the_image() {
    let augmenter = augmenter(&format!("rotation = {{ degrees = 20 }}\n{UNET}"));
    let labels = |height, width| {
        let label = |i: usize| ((i / width / 9 + i % width / 7) % 5) as f32;
        (0..height * width).map(label).collect::<Vec<f32>>()
    };
    for seed in 0..100 {
        // The image is its own label map, of bands wider than the bilinear blend between them.
        let mut image = Raster::new(60, 70, 1, labels(60, 70)).unwrap();
        let mut mask = image.clone();
        augmenter.apply(seed, &mut image, Some(&mut mask));
        assert!(
            mask.data()
                .iter()
                .all(|v| v.is_nan() || (v.fract() == 0.0 && (0.0..5.0).contains(v)))
        );
        let pairs = image.data().iter().zip(mask.data());
        let known: Vec<_> = pairs.filter(|(_, label)| !label.is_nan()).collect();
        let agree = known.iter().filter(|(a, b)| (*a - *b).abs() < 0.51);
        assert!(known.len() > 2100, "{}", known.len());
        assert!(agree.count() as f64 > 0.75 * known.len() as f64);
    }
}

#[test]
fn a_warp_with_equal_displacements_is_a_shift() {
    for fill in [Fill::Constant(0.2), Fill::Nearest, Fill::Reflect] {
        for channels in [1, 2, 3, 4] {
            let warp = Warp {
                grid: 4,
                shifts: vec![[-2.0, 1.0]; 16],
            };
            let bent = Draw {
                warp: Some(warp),
                fill,
                ..Draw::default()
            };
            let shifted = Draw {
                shift: [2.0 / 9.0, -1.0 / 8.0],
                fill,
                ..Draw::default()
            };
            let (mut a, mut b) = (picture(8, 9, channels), picture(8, 9, channels));
            bent.apply(&mut a, None);
            shifted.apply(&mut b, None);
            for (a, b) in a.data().iter().zip(b.data()) {
                assert!((a - b).abs() < 1e-6, "{fill:?}, {channels} channels");
            }
        }
    }
}

#[test]
fn absurd_warps_and_images_do_not_panic() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
        for fill in [Fill::Constant(0.0), Fill::Nearest, Fill::Reflect] {
            let warp = |grid, shifts| Draw {
                warp: Some(Warp { grid, shifts }),
                fill,
                ..Draw::default()
            };
            let mut image = picture(6, 7, 3);
            warp(2, vec![[bad, 1.0]; 4]).apply(&mut image, None);
            for (grid, points) in [(0, 0), (1, 1), (3, 8), (usize::MAX, 1)] {
                let mut image = picture(6, 7, 3);
                warp(grid, vec![[bad, bad]; points]).apply(&mut image, None);
                assert_eq!(image, picture(6, 7, 3), "no grid, no deformation");
            }
        }
    }
    for (height, width) in [(0, 0), (0, 5), (1, 1), (1, 9), (9, 1)] {
        let mut image = picture(height, width, 3);
        let mut mask = picture(2, 2, 1);
        augmenter(UNET).apply(1, &mut image, Some(&mut mask));
        assert_eq!(image.data().len(), height * width * 3);
    }
}
