//! Guarantees for the pixels of a map: compared with MAPIE, SciPy and NumPy (`map_risk.json`, made by `map_risk.py` in
//! this folder), and tested for what they promise on simulated patients.

// clippy.toml allows unwrap in tests, but not in helpers outside `#[test]` functions.
#![allow(clippy::unwrap_used)]

use metrics::{Interval, MarkedPixels, PixelHistogram, PixelPrecision, PixelSensitivity};
use random::Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    bins: usize,
    patients: Vec<usize>,
    /// For each image and pixel twice the bin, plus 1 inside the mask.
    pixels: Vec<Vec<usize>>,
    outside_allowed: f64,
    level: f64,
    missed_allowed: f64,
    lowest: Option<f64>,
    highest: Option<f64>,
    at_lowest: AtLowest,
    /// Allowed share, threshold and p-value.
    sweep: Vec<(f64, Option<f64>, Option<f64>)>,
}

/// Estimate, low, high and number of patients.
#[derive(Deserialize, Default)]
#[serde(default)]
struct AtLowest {
    outside: [f64; 4],
    outside_if: [f64; 4],
    missed: [f64; 4],
    missed_if: [f64; 4],
}

fn histogram(bins: usize, pixels: &[usize]) -> PixelHistogram {
    let mut histogram = PixelHistogram::new(bins).unwrap();
    for pixel in pixels {
        let probability = ((pixel / 2) as f64 + 0.5) / bins as f64;
        histogram.add(probability, pixel % 2 == 1).unwrap();
    }
    histogram
}

#[track_caller]
fn same(found: Interval, [estimate, low, high, n]: [f64; 4]) {
    let pairs = [
        (found.estimate, estimate),
        (found.low, low),
        (found.high, high),
    ];
    let near = pairs.iter().all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(
        near && found.n as f64 == n,
        "{found:?}: {estimate} {low} {high} {n}"
    );
}

#[test]
fn thresholds_are_those_of_mapie_scipy_and_numpy() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("map_risk.json")).unwrap();
    for case in cases {
        let images = case
            .pixels
            .iter()
            .map(|pixels| histogram(case.bins, pixels));
        let images: Vec<PixelHistogram> = images.collect();
        let groups = Some(&case.patients[..]);
        let calibrate = |allowed| PixelPrecision::calibrate(&images, groups, (allowed, case.level));
        for (allowed, threshold, p) in &case.sweep {
            let found = calibrate(*allowed).unwrap();
            assert_eq!(found.map(|f| f.least_probability), *threshold, "{allowed}");
            let near = found.map_or(0.0, |f| f.p) - p.unwrap_or(0.0);
            assert!(near.abs() < 1e-9, "{allowed}: {found:?}, {p:?}");
        }
        let precision = calibrate(case.outside_allowed).unwrap();
        assert_eq!(precision.map(|f| f.least_probability), case.lowest);
        let sensitivity = PixelSensitivity::calibrate(&images, groups, case.missed_allowed);
        let sensitivity = sensitivity.unwrap().map(|f| f.least_probability);
        assert_eq!(sensitivity, case.highest);
        if let Some(precision) = precision {
            let found = precision.evaluate(&images, groups, 0.95).unwrap();
            assert!((found.outside.estimate - precision.outside).abs() < 1e-12);
            same(found.outside, case.at_lowest.outside);
            same(found.outside_if_marked.unwrap(), case.at_lowest.outside_if);
            same(found.missed, case.at_lowest.missed);
            same(found.missed_if_mask.unwrap(), case.at_lowest.missed_if);
            assert_eq!(found.images, images.len());
        }
    }
}

const BINS: usize = 100;

/// Patients with one to three images of 60 pixels, whose maps are good or poor alike; every sixth image has no mask.
/// Near 1, few pixels are marked and many of them are wrong, so that the risk is not monotone.
fn draw(rng: &mut Rng, patients: usize) -> (Vec<PixelHistogram>, Vec<usize>) {
    let (mut images, mut groups) = (vec![], vec![]);
    for patient in 0..patients {
        let skill = 3.0 + 1.5 * rng.normal();
        for _ in 0..=rng.below(3) {
            let share = match rng.below(6) {
                0 => 0.0,
                _ => rng.range(0.1, 0.6),
            };
            let mut image = PixelHistogram::new(BINS).unwrap();
            for _ in 0..60 {
                let inside = rng.chance(share);
                let centre = if inside { skill } else { -3.0 };
                let artefact = if rng.chance(0.0004) { 9.0 } else { 0.0 };
                let log_odds = 0.5 * centre + 1.3 * rng.normal() + artefact;
                image.add(1.0 / (1.0 + (-log_odds).exp()), inside).unwrap();
            }
            images.push(image);
            groups.push(patient);
        }
    }
    (images, groups)
}

/// The true shares outside and missed at each threshold, by many patients.
fn truth() -> Vec<[f64; 2]> {
    let (images, groups) = draw(&mut Rng::stream(61, 0), 6000);
    let at = |bin: usize| {
        let threshold = bin as f64 / BINS as f64;
        let found = MarkedPixels::at(threshold, &images, Some(&groups), 0.95).unwrap();
        [found.outside.estimate, found.missed.estimate]
    };
    (0..=BINS).map(at).collect()
}

fn bin(threshold: f64) -> usize {
    (threshold * BINS as f64).round() as usize
}

#[test]
fn the_promises_hold() {
    let truth = truth();
    let (runs, patients) = (500, 100);
    let (outside_allowed, level, missed_allowed) = (0.1, 0.9, 0.2);
    let (mut broken, mut none, mut missed, mut lower) = (0, 0_u64, 0.0, 0.0);
    for stream in 0..runs {
        let (images, groups) = draw(&mut Rng::stream(62, stream), patients);
        let groups = Some(&groups[..]);
        let precision =
            PixelPrecision::calibrate(&images, groups, (outside_allowed, level)).unwrap();
        match precision {
            Some(found) => {
                let at = bin(found.least_probability);
                broken += usize::from(truth[at][0] > outside_allowed);
                lower += found.least_probability;
            }
            None => none += 1,
        }
        let sensitivity = PixelSensitivity::calibrate(&images, groups, missed_allowed);
        let found = sensitivity.unwrap().unwrap();
        missed += truth[bin(found.least_probability)][1] / runs as f64;
    }
    lower /= (runs - none) as f64;
    println!(
        "more than {outside_allowed} outside in {broken} of {runs} calibrations (limit {:.0}), none found in {none}, mean \
         threshold {lower:.3}; missed {missed:.4} on average, {missed_allowed} allowed",
        (1.0 - level) * runs as f64
    );
    // 50 are allowed, standard deviation 6.7.
    assert!(broken <= 70 && none < 50, "{broken} {none}");
    // Not above the limit, but for the error of the mean and of the truth, and not far below it.
    assert!(missed <= missed_allowed + 0.004, "{missed}");
    assert!(missed >= missed_allowed - 0.03, "{missed}");
}

/// Maps of one pixel, which is outside with a probability of 0.6 · (1 − p): the share outside at t is 0.3 · (1 − t)², and
/// as a loss of 0 or 1 varies as much as possible.
#[test]
fn the_limit_of_precision_is_exceeded_rarely_though_it_binds() {
    let (runs, mut broken, mut thresholds) = (1000, 0, 0.0);
    for stream in 0..runs {
        let mut rng = Rng::stream(64, stream);
        let images = (0..200).map(|_| {
            let (mut image, p) = (PixelHistogram::new(BINS).unwrap(), rng.unit());
            image.add(p, !rng.chance(0.6 * (1.0 - p))).unwrap();
            image
        });
        let images: Vec<PixelHistogram> = images.collect();
        let found = PixelPrecision::calibrate(&images, None, (0.1, 0.9)).unwrap();
        let threshold = found.unwrap().least_probability;
        thresholds += threshold / runs as f64;
        broken += usize::from(0.3 * (1.0 - threshold).powi(2) > 0.1);
    }
    println!(
        "maps of one pixel: limit exceeded in {broken} of {runs}, 100 allowed; mean threshold {thresholds:.3}, best 0.423"
    );
    assert!(broken <= 128 && broken > 0, "{broken}");
    assert!(thresholds < 0.6, "{thresholds}");
}

#[test]
fn intervals_on_test_images_cover_the_truth() {
    let truth = truth();
    let runs = 400;
    let mut covered = [0; 2];
    for stream in 0..runs {
        let (images, groups) = draw(&mut Rng::stream(63, stream), 80);
        let found = MarkedPixels::at(0.8, &images, Some(&groups), 0.95).unwrap();
        let intervals = [found.outside, found.missed];
        for ((count, interval), truth) in covered.iter_mut().zip(intervals).zip(truth[80]) {
            *count += usize::from(interval.low <= truth && truth <= interval.high);
        }
    }
    println!("intervals of outside and missed cover {covered:?} of {runs}");
    // 380 expected, standard deviation 4.4.
    assert!(covered.iter().all(|count| *count >= 366), "{covered:?}");
}

/// One image with a marked and an unmarked pixel inside, and one with a marked pixel and an empty mask.
#[test]
fn images_without_a_mask_are_all_wrong_or_nothing_to_miss() {
    let pixels = |pixels: &[(f64, bool)]| {
        let mut image = PixelHistogram::new(10).unwrap();
        pixels
            .iter()
            .for_each(|(p, inside)| image.add(*p, *inside).unwrap());
        image
    };
    let images = [
        pixels(&[(0.9, true), (0.1, true)]),
        pixels(&[(0.95, false)]),
        pixels(&[(0.1, false)]),
    ];
    let found = MarkedPixels::at(0.9, &images, None, 0.95).unwrap();
    let estimate = |interval: Option<Interval>| interval.map(|i| (i.estimate, i.n));
    assert_eq!(estimate(Some(found.outside)), Some((1.0 / 3.0, 3)));
    assert_eq!(estimate(found.outside_if_marked), Some((0.5, 2)));
    assert_eq!(estimate(Some(found.missed)), Some((0.5 / 3.0, 3)));
    assert_eq!(estimate(found.missed_if_mask), Some((0.5, 1)));
    // The same patient has the mean of its images.
    let found = MarkedPixels::at(0.9, &images, Some(&[4, 4, 9]), 0.95).unwrap();
    assert_eq!(estimate(Some(found.outside)), Some((0.25, 2)));
    assert!(found.outside.low >= 0.0 && found.outside.high <= 1.0);
    // A probability of 1 reaches every threshold.
    let one = [pixels(&[(1.0, true), (0.999, true)])];
    assert_eq!(
        MarkedPixels::at(1.0, &one, None, 0.95)
            .unwrap()
            .missed
            .estimate,
        0.5
    );
}

#[test]
fn what_cannot_be_promised_is_none() {
    let image = |p: f64, inside| {
        let mut image = PixelHistogram::new(10).unwrap();
        image.add(p, inside).unwrap();
        image
    };
    let right = vec![image(0.95, true); 22];
    let calibrate = |images: &[PixelHistogram]| PixelPrecision::calibrate(images, None, (0.1, 0.9));
    // 0.9^22 < 0.1 < 0.9^21.
    let found = calibrate(&right).unwrap().unwrap();
    assert_eq!((found.least_probability, found.outside), (0.0, 0.0));
    assert_eq!(calibrate(&right[..21]).unwrap(), None);
    // All images of one patient say as much as one.
    let one = PixelPrecision::calibrate(&right, Some(&[3; 22]), (0.1, 0.9)).unwrap();
    assert_eq!(one, None);
    // Without a marked pixel the promise would be empty.
    assert_eq!(calibrate(&vec![image(0.95, false); 30]).unwrap(), None);

    let sensitivity = |n: usize| PixelSensitivity::calibrate(&right[..n], None, 0.1).unwrap();
    assert_eq!(sensitivity(8), None);
    let found = sensitivity(9).unwrap();
    assert_eq!((found.least_probability, found.missed), (0.9, 0.0));
    assert_eq!((found.patients, found.patients_with_mask), (9, 9));
}

#[test]
fn bad_input_is_an_error() {
    let image = PixelHistogram::new(10).unwrap();
    let images = [image.clone(), image.clone()];
    let precision = |images: &[PixelHistogram], groups, limits| {
        PixelPrecision::calibrate(images, groups, limits)
    };
    assert_eq!(precision(&images, None, (0.1, 0.9)), Ok(None));
    assert!(precision(&[], None, (0.1, 0.9)).is_err());
    assert!(precision(&images, Some(&[1]), (0.1, 0.9)).is_err());
    assert!(precision(&images, None, (0.0, 0.9)).is_err());
    assert!(precision(&images, None, (0.1, f64::NAN)).is_err());
    let other = [image, PixelHistogram::new(20).unwrap()];
    assert!(precision(&other, None, (0.1, 0.9)).is_err());
    assert!(PixelSensitivity::calibrate(&images, None, 1.0).is_err());
    for threshold in [0.25, -0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(
            MarkedPixels::at(threshold, &images, None, 0.95).is_err(),
            "{threshold}"
        );
    }
    assert!(MarkedPixels::at(0.3, &images, None, 0.95).is_ok());
    assert!(MarkedPixels::at(0.3, &images, None, 1.5).is_err());
}
