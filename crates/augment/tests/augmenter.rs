//! Configuration, determinism and statistics.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml exempts tests, but not their helpers"
)]

use augment::{AugmentConfig, Augmenter, Draw, Fill, Raster};

/// Everything on.
const ALL: &str = r#"
rotation = { degrees = 15, probability = 0.5 }
flip = { horizontal = 0.5, vertical = 0.1 }
zoom = { min = 0.9, max = 1.1 }
shift = { fraction = 0.1, probability = 0.3 }
shear = { degrees = 5 }
brightness = { min = 0.8, max = 1.2 }
contrast = { min = 0.8, max = 1.2, probability = 0.9 }
gamma = { min = 0.8, max = 1.25 }
blur = { sigma = 1.0, probability = 0.3 }
noise = { sigma = 0.03, probability = 0.4 }
jpeg = { min = 30, max = 60, probability = 0.35 }
border = { fraction = 0.1, probability = 0.2 }
erase = { min = 0.02, max = 0.1, probability = 0.25, value = 0.5 }
fill = "reflect"
"#;

/// The size of the images; no transform here depends on it.
const SIZE: (usize, usize) = (40, 50);

fn augmenter(toml: &str) -> Augmenter {
    Augmenter::new(&toml::from_str(toml).unwrap()).unwrap()
}

fn draws(toml: &str, n: u64) -> Vec<Draw> {
    let augmenter = augmenter(toml);
    (0..n).map(|seed| augmenter.draw(seed, SIZE)).collect()
}

fn images(n: usize) -> Vec<Raster> {
    let values = |k: usize| {
        (0..40 * 50 * 3)
            .map(|i| ((i * 37 + k * 11) % 256) as f32 / 255.0)
            .collect()
    };
    (0..n)
        .map(|k| Raster::new(40, 50, 3, values(k)).unwrap())
        .collect()
}

#[test]
fn a_config_survives_a_round_trip_through_toml() {
    let config: AugmentConfig = toml::from_str(ALL).unwrap();
    assert_eq!(
        toml::from_str::<AugmentConfig>(&toml::to_string(&config).unwrap()).unwrap(),
        config
    );
    assert_eq!(config.zoom.unwrap().probability, 1.0);
    let empty: AugmentConfig = toml::from_str("").unwrap();
    assert_eq!(empty, AugmentConfig::default());
    assert_eq!(
        toml::from_str::<AugmentConfig>(&toml::to_string(&empty).unwrap()).unwrap(),
        empty
    );
    let filled: AugmentConfig = toml::from_str("fill = { constant = 0.5 }").unwrap();
    assert_eq!(filled.fill, Fill::Constant(0.5));
}

#[test]
fn misspelt_keys_are_rejected_by_name() {
    for (toml, named) in [
        ("rotaton = { degrees = 15 }", "rotaton"),
        ("rotation = { degree = 15 }", "degree"),
        ("fill = \"wrap\"", "wrap"),
        ("zoom = { min = 0.9 }", "max"),
        ("zoom = { min = \"a\", max = 1 }", "invalid type"),
    ] {
        let error = toml::from_str::<AugmentConfig>(toml)
            .unwrap_err()
            .to_string();
        assert!(error.contains(named), "{toml}: {error}");
    }
}

#[test]
fn values_out_of_range_name_their_key() {
    for (toml, expected) in [
        (
            "rotation = { degrees = 200 }",
            "`rotation.degrees` is 200, but it must be from 0 to 180 degrees",
        ),
        ("rotation = { degrees = -1 }", "`rotation.degrees` is -1"),
        (
            "rotation = { degrees = 5, probability = 1.5 }",
            "`rotation.probability` is 1.5, but it must be a probability",
        ),
        ("flip = { horizontal = -0.1 }", "`flip.horizontal` is -0.1"),
        ("flip = { vertical = nan }", "`flip.vertical` is NaN"),
        ("zoom = { min = 0, max = 1 }", "`zoom.min` is 0"),
        (
            "zoom = { min = 1.2, max = 0.8 }",
            "`zoom` runs from 1.2 to 0.8",
        ),
        ("shift = { fraction = 2 }", "`shift.fraction` is 2"),
        ("shear = { degrees = 90 }", "`shear.degrees` is 90"),
        (
            "brightness = { min = 0.5, max = inf }",
            "`brightness.max` is inf",
        ),
        ("contrast = { min = -1, max = 1 }", "`contrast.min` is -1"),
        ("gamma = { min = 0, max = 1 }", "`gamma.min` is 0"),
        ("noise = { sigma = 25 }", "`noise.sigma` is 25"),
        ("blur = { sigma = 100 }", "`blur.sigma` is 100"),
        (
            "erase = { min = 0.5, max = 0.2 }",
            "`erase` runs from 0.5 to 0.2",
        ),
        (
            "erase = { min = 0.1, max = 0.2, value = 255 }",
            "`erase.value` is 255",
        ),
        ("border = { fraction = 0.6 }", "`border.fraction` is 0.6"),
        ("fill = { constant = 255 }", "`fill.constant` is 255"),
    ] {
        let error = Augmenter::new(&toml::from_str(toml).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{toml}: {error}");
    }
}

#[test]
fn rasters_are_checked() {
    for (shape, len, expected) in [
        ((2, 2, 3), 11, "needs 12 values, but 11 were given"),
        ((2, 2, 0), 0, "channels from 1"),
        ((1 << 21, 1, 1), 0, "sides go up to 1048576"),
        ((1 << 20, 1 << 20, usize::MAX), 0, "needs"),
    ] {
        let error = Raster::new(shape.0, shape.1, shape.2, vec![0.0; len])
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn transforms_that_are_off_change_nothing() {
    for toml in [
        "",
        "rotation = { degrees = 9, probability = 0.0 }",
        "flip = {}",
        "zoom = { min = 1, max = 1 }",
    ] {
        let augmenter = augmenter(toml);
        assert!(
            augmenter.is_identity() && augmenter.draw(5, SIZE).is_identity(),
            "{toml}"
        );
        let mut image = images(1).remove(0);
        augmenter.apply(5, &mut image, None);
        assert_eq!(image, images(1)[0]);
        assert_eq!(augmenter.draw(5, SIZE).to_string(), "unchanged");
    }
    for line in ALL
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("fill"))
    {
        assert!(!augmenter(line).is_identity(), "{line}");
    }
}

#[test]
fn threads_and_batches_do_not_change_the_result() {
    let augmenter = augmenter(ALL);
    let seeds: Vec<u64> = (100..132).collect();
    let mut serial = images(32);
    for (image, &seed) in serial.iter_mut().zip(&seeds) {
        augmenter.apply(seed, image, None);
    }
    assert_ne!(serial, images(32));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut batch = images(32);
        pool.install(|| augmenter.apply_batch(&seeds, &mut batch))
            .unwrap();
        assert!(batch == serial, "{threads} threads");
    }
    let error = augmenter
        .apply_batch(&seeds, &mut images(3))
        .unwrap_err()
        .to_string();
    assert!(error.contains("3 images came with 32 seeds"), "{error}");
}

/// Recorded once: a run repeated with a later version must draw the same values.
#[test]
fn draws_never_change() {
    let captions: Vec<String> = draws(ALL, 3).iter().map(Draw::to_string).collect();
    assert_eq!(
        captions,
        [
            "flipped horizontally, rotated 1.4° counter-clockwise, zoom ×0.911, sheared 2.4°, brightness ×0.92, contrast ×1.10, gamma 1.09",
            "rotated 12.0° clockwise, zoom ×1.019, sheared 0.7°, shifted -7.9 % right, -3.9 % down, brightness ×0.97, contrast ×0.97, gamma 0.85",
            "flipped horizontally, zoom ×1.094, sheared -2.1°, brightness ×1.01, contrast ×1.17, gamma 0.95",
        ]
    );
    // FNV-1a over the bits of every value: sixteen seeds cover all transforms.
    let hash = |toml: &str| {
        let mut batch = images(16);
        augmenter(toml)
            .apply_batch(&(0..16).collect::<Vec<u64>>(), &mut batch)
            .unwrap();
        let values = batch.iter().flat_map(Raster::data);
        values.fold(0xCBF2_9CE4_8422_2325u64, |hash, value| {
            (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01B3)
        })
    };
    assert_eq!(hash(ALL), 9137841525764826812);
    let without_jpeg: Vec<&str> = ALL
        .lines()
        .filter(|line| !line.starts_with("jpeg"))
        .collect();
    assert_eq!(hash(&without_jpeg.join("\n")), 1573587741449590360);
}

#[test]
fn masks_stay_binary_or_unknown_and_values_stay_in_range() {
    let augmenter = augmenter(ALL);
    for seed in 0..200 {
        let mut image = images(1).remove(0);
        let mut mask =
            Raster::new(40, 50, 1, (0..2000).map(|i| (i / 7 % 2) as f32).collect()).unwrap();
        augmenter.apply(seed, &mut image, Some(&mut mask));
        assert!(
            mask.data()
                .iter()
                .all(|&value| value == 0.0 || value == 1.0 || value.is_nan()),
            "{}",
            augmenter.draw(seed, SIZE)
        );
        assert!(
            image.data().iter().all(|value| (0.0..=1.0).contains(value)),
            "{}",
            augmenter.draw(seed, SIZE)
        );
    }
}

#[test]
fn one_transform_does_not_change_the_draws_of_another() {
    let with = draws(
        "rotation = { degrees = 15 }\nzoom = { min = 0.9, max = 1.1 }",
        50,
    );
    let without = draws("zoom = { min = 0.9, max = 1.1 }", 50);
    assert!(
        with.iter()
            .zip(&without)
            .all(|(with, without)| with.zoom == without.zoom)
    );
}

#[test]
fn probabilities_and_ranges_hold() {
    let n = 20_000;
    let draws = draws(ALL, n);
    let check = |name: &str, probability: f64, hit: &dyn Fn(&Draw) -> bool| {
        let share = draws.iter().filter(|draw| hit(draw)).count() as f64 / n as f64;
        let sigma = (probability * (1.0 - probability) / n as f64).sqrt();
        assert!(
            (share - probability).abs() <= 4.0 * sigma,
            "{name}: {share}, not {probability}"
        );
    };
    check("rotation", 0.5, &|d| d.rotation_degrees != 0.0);
    check(
        "rotation, half of them by over half the range",
        0.25,
        &|d| d.rotation_degrees.abs() > 7.5,
    );
    check("horizontal flip", 0.5, &|d| d.flip_horizontal);
    check("vertical flip", 0.1, &|d| d.flip_vertical);
    check("zoom", 1.0, &|d| {
        (0.9..=1.1).contains(&d.zoom) && d.zoom != 1.0
    });
    check("zoom, half of them out", 0.5, &|d| d.zoom < 1.0);
    check("shift", 0.3, &|d| {
        d.shift[0] != 0.0 && d.shift[1].abs() <= 0.1
    });
    check("shear", 1.0, &|d| {
        d.shear_degrees != 0.0 && d.shear_degrees.abs() <= 5.0
    });
    check("contrast", 0.9, &|d| d.contrast != 1.0);
    check("gamma", 1.0, &|d| (0.8..=1.25).contains(&d.gamma));
    check("blur", 0.3, &|d| d.blur_sigma > 0.0 && d.blur_sigma <= 1.0);
    check("noise", 0.4, &|d| {
        d.noise_sigma > 0.0 && d.noise_sigma <= 0.03
    });
    check("JPEG", 0.35, &|d| {
        d.jpeg_quality
            .is_some_and(|quality| (30..=60).contains(&quality))
    });
    check(
        "JPEG, of the lowest or highest quality",
        0.35 * 2.0 / 31.0,
        &|d| matches!(d.jpeg_quality, Some(30 | 60)),
    );
    check("border", 0.2, &|d| {
        d.border.area > 0.0 && d.border.area <= 0.1
    });
    check("erase", 0.25, &|d| d.erase.is_some());
    check("independence", 0.05, &|d| {
        d.flip_horizontal && d.flip_vertical
    });
}

#[test]
fn erased_rectangles_are_inside_and_have_an_area_in_range() {
    for draw in draws("erase = { min = 0.02, max = 1.0 }", 5_000) {
        let area = draw.erase.unwrap().area;
        assert!(area.top >= 0.0 && area.left >= 0.0, "{area:?}");
        assert!(
            area.top + area.height <= 1.0 + 1e-12 && area.left + area.width <= 1.0 + 1e-12,
            "{area:?}"
        );
        assert!(
            (0.0199..=1.0).contains(&(area.height * area.width)),
            "{area:?}"
        );
    }
}

#[test]
fn noise_keeps_grey_images_grey_and_has_the_drawn_strength() {
    let mut image = Raster::new(100, 100, 3, vec![0.5; 30_000]).unwrap();
    Draw {
        noise_sigma: 0.05,
        seed: 9,
        ..Draw::default()
    }
    .apply(&mut image, None);
    assert!(
        image
            .data()
            .chunks(3)
            .all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
    );
    let variance = image
        .data()
        .iter()
        .map(|v| f64::from(v - 0.5).powi(2))
        .sum::<f64>()
        / 30_000.0;
    assert!(
        (variance.sqrt() - 0.05).abs() < 0.002,
        "{}",
        variance.sqrt()
    );
}
