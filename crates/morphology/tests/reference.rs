//! Against SciPy (`reference.json`, made by `reference.py`) and, on random masks, against the definitions.
#![allow(clippy::unwrap_used, reason = "tests")]

use morphology::{BorderWeights, Mask, MorphologyError};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    height: usize,
    width: usize,
    mask: Vec<u8>,
    labels: Vec<u32>,
    count: usize,
    squares: Option<Vec<f64>>,
    surface: Vec<u8>,
    w0: f64,
    sigma: f64,
    balance: bool,
    weights: Vec<f32>,
}

#[test]
fn distances_components_surfaces_and_weights_are_scipys() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("reference.json")).unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let pixels: Vec<bool> = case.mask.iter().map(|v| *v == 1).collect();
        let mask = Mask::new(case.height, case.width, &pixels).unwrap();
        let components = mask.components();
        assert_eq!(
            (components.labels, components.count),
            (case.labels, case.count)
        );
        let surface: Vec<u8> = mask.surface().into_iter().map(u8::from).collect();
        assert_eq!(surface, case.surface);
        match case.squares {
            Some(squares) => assert_eq!(mask.squared_distances(), squares),
            None => assert!(mask.distances().iter().all(|d| *d == f64::INFINITY)),
        }
        let settings = BorderWeights {
            w0: case.w0,
            sigma: case.sigma,
            balance: case.balance,
        };
        let all = vec![true; mask.pixels().len()];
        let known = Mask::new(mask.height(), mask.width(), &all).unwrap();
        let weights = settings.of(mask, known).unwrap();
        for (found, expected) in weights.iter().zip(&case.weights) {
            assert!(
                (found - expected).abs() <= 1e-6 * expected,
                "{found}, {expected}"
            );
        }
    }
}

prop_compose! {
    fn any_mask()(height in 1usize..14, width in 1usize..14, dense in 1u32..20)(
        pixels in prop::collection::vec((0u32..20).prop_map(move |v| v < dense), height * width),
        width in Just(width), height in Just(height),
    ) -> (usize, usize, Vec<bool>) {
        (height, width, pixels)
    }
}

/// Squared distance from `i` to the nearest pixel that `is_set` names.
fn nearest(width: usize, n: usize, i: usize, is_set: impl Fn(usize) -> bool) -> f64 {
    let gap = |a: usize, b: usize| (a as f64 - b as f64).powi(2);
    (0..n)
        .filter(|j| is_set(*j))
        .map(|j| gap(i / width, j / width) + gap(i % width, j % width))
        .fold(f64::INFINITY, f64::min)
}

proptest! {
    #[test]
    fn distances_are_those_of_the_definition((height, width, pixels) in any_mask()) {
        let squares = Mask::new(height, width, &pixels).unwrap().squared_distances();
        for (i, square) in squares.iter().enumerate() {
            prop_assert_eq!(*square, nearest(width, pixels.len(), i, |j| pixels[j]));
        }
    }

    #[test]
    fn weights_are_those_of_the_definition((height, width, pixels) in any_mask()) {
        let mask = Mask::new(height, width, &pixels).unwrap();
        let components = mask.components();
        let settings = BorderWeights { balance: false, ..BorderWeights::default() };
        let all = vec![true; pixels.len()];
        let known = Mask::new(height, width, &all).unwrap();
        for (i, weight) in settings.of(mask, known).unwrap().iter().enumerate() {
            let mut d: Vec<f64> = (1..=components.count as u32)
                .map(|label| nearest(width, pixels.len(), i, |j| components.labels[j] == label).sqrt())
                .collect();
            d.sort_by(f64::total_cmp);
            let border = if d.len() < 2 || pixels[i] { 0.0 } else { 10.0 * (-(d[0] + d[1]).powi(2) / 50.0).exp() };
            prop_assert!((f64::from(*weight) - 1.0 - border).abs() < 1e-5);
        }
    }
}

/// What is unknown has no weight, and those that are known are balanced as if it were not there.
#[test]
fn unknown_pixels_are_no_background() {
    let cells = [true, false, false, false, false, false, false, true];
    let known = [true, true, true, true, false, false, false, false];
    let mask = |pixels: &'static [bool]| Mask::new(1, pixels.len(), pixels).unwrap();
    let settings = BorderWeights {
        w0: 0.0,
        ..BorderWeights::default()
    };
    let (cells, known) = (cells.to_vec().leak(), known.to_vec().leak());
    let found = settings.of(mask(cells), mask(known)).unwrap();
    let third = 4.0 / (2.0 * 3.0);
    assert_eq!(
        found,
        [
            2.0,
            third as f32,
            third as f32,
            third as f32,
            0.0,
            0.0,
            0.0,
            0.0
        ]
    );
    let other = settings.of(mask(&[true]), mask(&[true, true])).unwrap_err();
    assert!(other.to_string().contains("2 were given"), "{other}");
}

#[test]
fn bad_input_is_an_error() {
    let check = |error: MorphologyError, expected: &str| assert_eq!(error.to_string(), expected);
    check(
        Mask::new(2, 3, &[true; 5]).unwrap_err(),
        "a mask of 2×3 needs 6 pixels, but 5 were given",
    );
    let mask = Mask::new(1, 2, &[true, false]).unwrap();
    let of = |w0, sigma| {
        let balance = true;
        let settings = BorderWeights { w0, sigma, balance };
        settings.of(mask, mask).unwrap_err()
    };
    check(
        of(-1.0, 5.0),
        "`w0` is -1: it must be 0 or a positive number",
    );
    check(
        of(10.0, 0.0),
        "`sigma` is 0: it must be a positive number of pixels",
    );
    let none = Mask::new(0, 0, &[]).unwrap();
    assert!(none.is_empty() && none.squared_distances().is_empty());
    assert!(BorderWeights::default().of(none, none).unwrap().is_empty());
}

#[test]
fn a_mask_of_512_pixels_with_hundreds_of_cells_is_quick() {
    // Discs of radius 11 on a grid of 24: 441 cells.
    let side = 512;
    let far = |v: usize| (v % 24) as i64 - 12;
    let pixels: Vec<bool> = (0..side * side)
        .map(|i| far(i % side).pow(2) + far(i / side).pow(2) <= 121)
        .collect();
    let mask = Mask::new(side, side, &pixels).unwrap();
    let start = std::time::Instant::now();
    let all = vec![true; pixels.len()];
    let known = Mask::new(side, side, &all).unwrap();
    BorderWeights::default().of(mask, known).unwrap();
    let took = start.elapsed();
    println!("{} cells: {took:?}", mask.components().count);
    assert!(
        took.as_secs_f64() < 2.0 || cfg!(debug_assertions),
        "{took:?}"
    );
}
