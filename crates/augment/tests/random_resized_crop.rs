//! Compares the random resized crop with torchvision's (`random_resized_crop/make.py`): what a window shows, and how
//! often each window is drawn; then settings, composition and hand-written crops.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml exempts tests, but not their helpers"
)]

use augment::{
    AugmentConfig, Augmenter, Draw, Fill, RandomResizedCrop, Raster, RelativeRect, Warp,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    height: usize,
    width: usize,
    picture: Vec<f32>,
    labels: Vec<f32>,
    crops: Vec<Cut>,
    distributions: Vec<Distribution>,
    fallbacks: Vec<Fallback>,
}

#[derive(Deserialize)]
struct Cut {
    window: [usize; 4],
    flip: bool,
    image: Vec<f32>,
    mask: Vec<f32>,
}

#[derive(Deserialize)]
struct Distribution {
    size: (usize, usize),
    area: [f64; 2],
    ratio: [f64; 2],
    area_share: Summary,
    width_over_height: Summary,
    down: Summary,
    right: Summary,
}

#[derive(Deserialize)]
struct Summary {
    n: usize,
    mean: f64,
    sd: f64,
    quantiles: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct Fallback {
    size: (usize, usize),
    area: [f64; 2],
    ratio: [f64; 2],
    window: [usize; 4],
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("random_resized_crop/expected.json")).unwrap()
}

impl Expected {
    fn image(&self) -> Raster {
        Raster::new(self.height, self.width, 3, self.picture.clone()).unwrap()
    }

    fn mask(&self) -> Raster {
        Raster::new(self.height, self.width, 1, self.labels.clone()).unwrap()
    }
}

/// torchvision's (top, left, height, width) in pixels, as fractions of the sides.
fn part(window: [usize; 4], (height, width): (usize, usize)) -> RelativeRect {
    let [top, left, rows, columns] = window.map(|pixels| pixels as f64);
    let (height, width) = (height as f64, width as f64);
    RelativeRect {
        top: top / height,
        left: left / width,
        height: rows / height,
        width: columns / width,
    }
}

fn cropped(window: [usize; 4], size: (usize, usize)) -> Draw {
    Draw {
        crop: Some(part(window, size)),
        ..Draw::default()
    }
}

fn largest_difference(actual: &Raster, expected: &[f32]) -> f32 {
    assert_eq!(actual.data().len(), expected.len());
    let pairs = actual.data().iter().zip(expected);
    // NaN, which `max` would skip, counts as the largest possible difference.
    let off = pairs.map(|(a, b)| (a - b).abs());
    off.map(|v| if v.is_nan() { f32::INFINITY } else { v })
        .fold(0.0, f32::max)
}

#[test]
fn windows_show_the_same_as_torchvisions_resized_crop() {
    let expected = expected();
    for case in &expected.crops {
        for fill in [Fill::Constant(0.0), Fill::Nearest, Fill::Reflect] {
            let draw = Draw {
                flip_horizontal: case.flip,
                fill,
                ..cropped(case.window, (expected.height, expected.width))
            };
            let (mut image, mut mask) = (expected.image(), expected.mask());
            draw.apply(&mut image, Some(&mut mask));
            let off = largest_difference(&image, &case.image);
            assert!(off < 1e-6, "{:?} with {fill:?}: off by {off}", case.window);
            assert_eq!(mask.data(), case.mask, "{:?} with {fill:?}", case.window);
        }
    }
}

#[test]
fn crops_are_the_same_for_any_number_of_channels() {
    let expected = expected();
    for case in &expected.crops {
        let draw = Draw {
            flip_horizontal: case.flip,
            ..cropped(case.window, (expected.height, expected.width))
        };
        for channels in [1, 2, 4, 5] {
            // Every channel equals the image's first.
            let spread = |values: &[f32]| -> Vec<f32> {
                let first = values.iter().step_by(3);
                first
                    .flat_map(|v| std::iter::repeat_n(*v, channels))
                    .collect()
            };
            let values = spread(&expected.picture);
            let mut image = Raster::new(expected.height, expected.width, channels, values).unwrap();
            draw.apply(&mut image, None);
            let off = largest_difference(&image, &spread(&case.image));
            assert!(off < 1e-6, "{:?}, {channels} channels: {off}", case.window);
        }
    }
}

/// Statistics of our own crops, in the fixture's terms.
#[derive(Default)]
struct Drawn {
    area_share: Vec<f64>,
    width_over_height: Vec<f64>,
    down: Vec<f64>,
    right: Vec<f64>,
}

impl Drawn {
    fn of(augmenter: &Augmenter, size: (usize, usize), n: u64) -> Self {
        let whole = part([0, 0, size.0, size.1], size);
        let mut drawn = Self::default();
        for seed in 0..n {
            let part = augmenter.draw(seed, size).crop.unwrap_or(whole);
            let (rows, columns) = (part.height * size.0 as f64, part.width * size.1 as f64);
            drawn.area_share.push(part.height * part.width);
            drawn.width_over_height.push(columns / rows);
            let place = |start: f64, share: f64| (share < 1.0).then(|| start / (1.0 - share));
            drawn.down.extend(place(part.top, part.height));
            drawn.right.extend(place(part.left, part.width));
        }
        drawn
    }
}

/// Checks that mean and quantiles agree within four standard errors of the difference of two samples.
fn check(what: &str, ours: &[f64], theirs: &Summary) {
    let per_draw = 1.0 / ours.len() as f64 + 1.0 / theirs.n as f64;
    let mean = ours.iter().sum::<f64>() / ours.len() as f64;
    let error = theirs.sd * per_draw.sqrt();
    let off = (mean - theirs.mean) / error;
    assert!(
        off.abs() < 4.0,
        "{what}: mean {mean}, not {}: {off:.1} errors",
        theirs.mean
    );
    for &(level, quantile) in &theirs.quantiles {
        // Windows of whole pixels repeat some values often, so a quantile is bracketed: at most its fraction of the
        // draws is below it, and at least its fraction is below or at it.
        let share =
            |limit: f64| ours.iter().filter(|v| **v < limit).count() as f64 / ours.len() as f64;
        let (below, up_to) = (share(quantile - 1e-8), share(quantile + 1e-8));
        let error = 4.0 * (level * (1.0 - level) * per_draw).sqrt();
        assert!(
            below <= level + error && up_to >= level - error,
            "{what}: {quantile} should be the quantile {level}, but {below} are below and {up_to} below or at it"
        );
    }
}

fn crop(area: [f64; 2], ratio: [f64; 2]) -> Augmenter {
    let crop = RandomResizedCrop {
        area,
        ratio,
        probability: 1.0,
    };
    Augmenter::new(&AugmentConfig {
        random_resized_crop: Some(crop),
        ..AugmentConfig::default()
    })
    .unwrap()
}

#[test]
fn windows_are_distributed_as_in_torchvision() {
    for case in expected().distributions {
        let drawn = Drawn::of(&crop(case.area, case.ratio), case.size, 200_000);
        let name = |what: &str| format!("{:?} of {:?}: {what}", case.area, case.size);
        check(&name("area"), &drawn.area_share, &case.area_share);
        check(
            &name("ratio"),
            &drawn.width_over_height,
            &case.width_over_height,
        );
        check(&name("down"), &drawn.down, &case.down);
        check(&name("right"), &drawn.right, &case.right);
    }
}

#[test]
fn the_central_fallback_window_matches_torchvision() {
    for case in expected().fallbacks {
        let whole = case.window == [0, 0, case.size.0, case.size.1];
        let expected = (!whole).then(|| part(case.window, case.size));
        for seed in 0..300 {
            let drawn = crop(case.area, case.ratio).draw(seed, case.size).crop;
            assert_eq!(drawn, expected, "{:?}, seed {seed}", case.size);
        }
    }
}

const DEFAULTS: &str = "random_resized_crop = { area = [0.08, 1.0], ratio = [0.75, 1.3333333333333333], probability = 1.0 }";

fn augmenter(toml: &str) -> Augmenter {
    Augmenter::new(&toml::from_str(toml).unwrap()).unwrap()
}

#[test]
fn settings_default_to_those_of_torchvision_and_are_checked() {
    let short: AugmentConfig = toml::from_str("random_resized_crop = {}").unwrap();
    let full: AugmentConfig = toml::from_str(DEFAULTS).unwrap();
    assert_eq!(short, full);
    let written = toml::to_string(&full).unwrap();
    assert_eq!(toml::from_str::<AugmentConfig>(&written).unwrap(), full);
    for (keys, expected) in [
        (
            "area = [0.0, 1.0]",
            "`random_resized_crop.area[0]` is 0, but it must be a fraction of the image's area, from 0.001 to 1",
        ),
        ("area = [0.5, 1.5]", "`random_resized_crop.area[1]` is 1.5"),
        ("area = [nan, 1.0]", "`random_resized_crop.area[0]` is NaN"),
        (
            "area = [1.0, 0.08]",
            "`random_resized_crop.area` runs from 1 to 0.08: swap the two",
        ),
        (
            "ratio = [0.0, 1.0]",
            "`random_resized_crop.ratio[0]` is 0, but it must be a ratio of width to height, from 0.1 to 10",
        ),
        (
            "ratio = [1.0, inf]",
            "`random_resized_crop.ratio[1]` is inf",
        ),
        (
            "ratio = [1.5, 0.75]",
            "`random_resized_crop.ratio` runs from 1.5 to 0.75",
        ),
        (
            "probability = -1",
            "`random_resized_crop.probability` is -1, but it must be a probability",
        ),
    ] {
        let config = toml::from_str(&format!("random_resized_crop = {{ {keys} }}")).unwrap();
        let error = Augmenter::new(&config).unwrap_err().to_string();
        assert!(error.contains(expected), "{keys}: {error}");
    }
    for (keys, named) in [
        ("scale = [0.08, 1.0]", "scale"),
        ("area = 0.5", "invalid type"),
        ("area = [0.5]", "length 1"),
    ] {
        let error = toml::from_str::<AugmentConfig>(&format!("random_resized_crop = {{ {keys} }}"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(named), "{keys}: {error}");
    }
}

#[test]
fn crops_that_are_off_or_of_the_whole_image_change_nothing() {
    let off = augmenter("random_resized_crop = { probability = 0.0 }");
    assert!(off.is_identity() && off.draw(3, (9, 9)).is_identity());
    assert!(!augmenter(DEFAULTS).is_identity());
    // On a square image, a square crop of the full area is the whole image; on any other image it is not.
    let all = augmenter("random_resized_crop = { area = [1, 1], ratio = [1, 1] }");
    assert_eq!(all.draw(3, (9, 9)).to_string(), "unchanged");
    let expected = "cropped to 50.0 %";
    assert_eq!(all.draw(3, (9, 18)).to_string(), expected);
    assert!(augmenter(DEFAULTS).draw(3, (0, 5)).is_identity());
}

#[test]
fn crops_have_the_configured_probability() {
    let half = augmenter("random_resized_crop = { area = [0.1, 0.5], probability = 0.25 }");
    let hits = (0..20_000).filter(|seed| half.draw(*seed, (64, 64)).crop.is_some());
    let share = hits.count() as f64 / 20_000.0;
    assert!((share - 0.25).abs() < 0.0123, "{share}");
}

/// Recorded once: a run repeated with a later version must draw the same values.
#[test]
fn draws_never_change() {
    let augmenter = augmenter(&format!("rotation = {{ degrees = 20 }}\n{DEFAULTS}"));
    let captions = [0, 1].map(|seed| augmenter.draw(seed, (40, 50)).to_string());
    assert_eq!(captions, CAPTIONS);
    // FNV-1a over the bits of every value.
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    for seed in 0..8 {
        let mut image = noise(40, 50, 3);
        augmenter.apply(seed, &mut image, None);
        for value in image.data() {
            hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01B3);
        }
    }
    assert_eq!(hash, HASH);
}

const CAPTIONS: [&str; 2] = [
    "cropped to 29.9 %, rotated 1.9° counter-clockwise",
    "cropped to 62.4 %, rotated 16.1° clockwise",
];
const HASH: u64 = 11013076719768151466;

/// An image of noise, in which a wrong coordinate shows most.
fn noise(height: usize, width: usize, channels: usize) -> Raster {
    let value = |i| ((i * 7919 + 13) % 1009) as f32 / 1008.0;
    let values = (0..height * width * channels).map(value).collect();
    Raster::new(height, width, channels, values).unwrap()
}

#[test]
fn cropping_does_not_change_other_draws() {
    let others = "rotation = { degrees = 15 }\nflip = { horizontal = 0.5 }\nerase = { min = 0.1, max = 0.2 }";
    let (with, without) = (
        augmenter(&format!("{others}\n{DEFAULTS}")),
        augmenter(others),
    );
    for seed in 0..50 {
        let uncropped = Draw {
            crop: None,
            ..with.draw(seed, (40, 50))
        };
        assert_eq!(uncropped, without.draw(seed, (40, 50)));
    }
}

#[test]
fn other_geometry_shows_the_image_beyond_the_crop() {
    // The middle half is enlarged to 12 pixels, and those move left by 6: the view is the crop's right half, and then
    // the quarter of the image that is to the right of the crop.
    let source = noise(12, 12, 1);
    let (mut image, mut mask) = (source.clone(), source.clone());
    let draw = Draw {
        shift: [-0.5, 0.0],
        fill: Fill::Constant(0.25),
        ..cropped([3, 3, 6, 6], (12, 12))
    };
    draw.apply(&mut image, Some(&mut mask));
    let column = |raster: &Raster, x: usize| -> Vec<f32> {
        raster.data().iter().skip(x).step_by(12).copied().collect()
    };
    // Source column of view column x: (x + 6 + ½)/2 + 3 − ½.
    let nearest = |x: usize| (x + 12) / 2;
    for x in 0..12 {
        let rows = (0..12).map(|y| source.data()[(3 + y / 2) * 12 + nearest(x)]);
        assert_eq!(column(&mask, x), rows.collect::<Vec<_>>(), "column {x}");
    }
    assert!(image.data().iter().all(|v| v.is_finite()));
    let beyond = Draw {
        shift: [-1.0, 0.0],
        ..draw
    };
    let (mut image, mut mask) = (source.clone(), source);
    beyond.apply(&mut image, Some(&mut mask));
    assert_eq!(column(&image, 11), [0.25; 12]);
    assert!(column(&mask, 11).iter().all(|v| v.is_nan()));
}

#[test]
fn masks_keep_their_classes_at_any_size() {
    let augmenter = augmenter(&format!("flip = {{ horizontal = 0.5 }}\n{DEFAULTS}"));
    for seed in 0..300 {
        // The same scene at twice the resolution.
        let coarse = noise(24, 30, 1).into_data();
        let coarse: Vec<f32> = coarse.iter().map(|v| (v * 4.0).floor()).collect();
        let fine = (0..48 * 60).map(|i| coarse[i / 60 / 2 * 30 + i % 60 / 2]);
        let mut fine = Raster::new(48, 60, 1, fine.collect()).unwrap();
        let mut coarse = Raster::new(24, 30, 1, coarse).unwrap();
        augmenter.apply(seed, &mut noise(24, 30, 3), Some(&mut coarse));
        augmenter.apply(seed, &mut noise(24, 30, 3), Some(&mut fine));
        let classes = |raster: &Raster| {
            raster
                .data()
                .iter()
                .all(|v| [0., 1., 2., 3., 4.].contains(v))
        };
        assert!(classes(&coarse) && classes(&fine), "seed {seed}");
        assert_eq!((fine.height(), fine.width()), (48, 60));
    }
}

#[test]
fn sample_order_and_threads_do_not_change_the_result() {
    let augmenter = augmenter(DEFAULTS);
    let seeds: Vec<u64> = (0..16).collect();
    let pictures = || -> Vec<Raster> { seeds.iter().map(|_| noise(30, 41, 3)).collect() };
    let mut serial = pictures();
    for (image, seed) in serial.iter_mut().zip(&seeds).rev() {
        augmenter.apply(*seed, image, None);
    }
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let mut batch = pictures();
        pool.unwrap()
            .install(|| augmenter.apply_batch(&seeds, &mut batch))
            .unwrap();
        assert!(batch == serial, "{threads} threads");
    }
}

#[test]
fn absurd_crops_and_images_do_not_panic() {
    let bads = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -3.0,
        0.0,
        2.0,
        1e300,
    ];
    let warp = Warp {
        grid: 2,
        shifts: vec![[1.0, -1.0]; 4],
    };
    for bad in bads {
        for [top, left, height, width] in [[bad, 0.1, 0.5, 0.5], [0.1, 0.1, bad, 0.5], [bad; 4]] {
            for warp in [None, Some(warp.clone())] {
                let crop = RelativeRect {
                    top,
                    left,
                    height,
                    width,
                };
                let mut image = noise(6, 7, 3);
                Draw {
                    crop: Some(crop),
                    warp,
                    ..Draw::default()
                }
                .apply(&mut image, Some(&mut noise(3, 3, 1)));
                assert_eq!((image.height(), image.width()), (6, 7));
                assert_eq!(image.data().len(), 126);
            }
        }
    }
    for (height, width) in [(0, 0), (0, 5), (1, 1), (1, 9), (9, 1)] {
        for seed in 0..20 {
            let mut image = noise(height, width, 3);
            augmenter(DEFAULTS).apply(seed, &mut image, Some(&mut noise(2, 2, 1)));
            assert_eq!(image.data().len(), height * width * 3);
        }
    }
}
