//! Behaviour of segmentation metrics without a reference implementation: empty masks, grouping, properties, errors.
#![allow(clippy::unwrap_used, reason = "tests")]

use metrics::*;
use proptest::prelude::*;

/// Distances in pixels.
const PIXELS: [f64; 2] = [1.0, 1.0];

fn image(truth: &[u8], predicted: &[u8], classes: usize) -> SegmentedImage {
    SegmentedImage::new(&LabelMaps {
        truth,
        predicted,
        height: 1,
        width: truth.len(),
        classes,
        spacing: None,
        ignore: None,
    })
    .unwrap()
}

fn judge(images: &[SegmentedImage], groups: Option<&[usize]>) -> SegmentationEvaluation {
    let names = ["background", "cell"];
    evaluate_segmentation(&names, images, groups, &SegmentationSettings::default()).unwrap()
}

#[test]
fn absent_classes_count_in_no_mean_but_false_positives_and_negatives_count() {
    let check = |truth: &[bool], predicted: &[bool], expected: SurfaceDistance, counted| {
        let found = hd95(truth, predicted, 1, truth.len(), PIXELS).unwrap();
        assert_eq!((found, found.counted()), (expected, counted));
    };
    let (none, some) = ([false; 3], [false, true, false]);
    let diagonal = 10f64.sqrt();
    check(&none, &none, SurfaceDistance::BothEmpty, None);
    check(
        &some,
        &none,
        SurfaceDistance::FalseNegative { diagonal },
        Some(diagonal),
    );
    check(
        &none,
        &some,
        SurfaceDistance::FalsePositive { diagonal },
        Some(diagonal),
    );
    check(&some, &some, SurfaceDistance::Between(0.0), Some(0.0));

    let images = [
        image(&[0, 0, 0, 0], &[0, 0, 0, 0], 2),
        image(&[0, 1, 0, 0], &[0, 0, 0, 0], 2),
        image(&[0, 0, 0, 0], &[0, 1, 1, 0], 2),
        image(&[1, 0, 0, 0], &[0, 0, 1, 0], 2),
        image(&[1, 1, 0, 0], &[1, 0, 0, 0], 2),
    ];
    let judged = judge(&images, None);
    let cell = judged.classes[1].clone();
    assert_eq!(
        (
            cell.n,
            cell.absent,
            cell.false_negatives,
            cell.false_positives
        ),
        (4, 1, 1, 1)
    );
    assert_eq!((judged.n, judged.empty), (5, 1));
    let dice = cell.dice.unwrap();
    assert!((dice.mean - (0.0 + 0.0 + 0.0 + 2.0 / 3.0) / 4.0).abs() < 1e-15 && dice.n == 4);
    assert_eq!(judged.mean_dice.unwrap().estimate, dice.mean);
    // Precision needs predicted pixels, recall needs true pixels.
    assert_eq!((cell.precision.unwrap().n, cell.recall.unwrap().n), (3, 3));
    // Twice the diagonal, 2, and 1 − 5 %.
    let distances = cell.hd95.unwrap();
    assert_eq!(distances.n, 4);
    let expected = (2.0 * 17f64.sqrt() + 2.0 + 0.95) / 4.0;
    assert!((distances.mean - expected).abs() < 1e-12);

    let nothing = judge(&images[..1], None);
    assert_eq!((nothing.mean_dice, nothing.empty), (None, 1));
    assert_eq!(
        (nothing.classes[1].dice, nothing.classes[1].hd95),
        (None, None)
    );
}

/// If an image has only one of two classes, the other does not count as correctly predicted.
#[test]
fn the_mean_over_classes_includes_only_classes_present_in_the_image() {
    let images = [
        image(&[0, 1, 1, 0], &[0, 1, 0, 0], 3),
        image(&[0, 2, 2, 2], &[0, 2, 0, 0], 3),
    ];
    let names = ["background", "a", "b"];
    let settings = SegmentationSettings::default();
    let judged = evaluate_segmentation(&names, &images, None, &settings).unwrap();
    let expected = (2.0 / 3.0 + 0.5) / 2.0;
    assert!((judged.mean_dice.unwrap().estimate - expected).abs() < 1e-15);
    assert_eq!((judged.classes[1].n, judged.classes[2].n), (1, 1));
}

#[test]
fn means_over_classes_exclude_the_background() {
    let images = [
        image(&[0, 0, 0, 1], &[0, 0, 0, 1], 2),
        image(&[0, 0, 1, 1], &[0, 0, 0, 1], 2),
    ];
    let judged = judge(&images, None);
    assert_eq!(judged.mean_dice, judged.classes[1].mean_dice);
    let settings = SegmentationSettings {
        background: None,
        ..SegmentationSettings::default()
    };
    let all = evaluate_segmentation(&["a", "b"], &images, None, &settings).unwrap();
    let means = all
        .classes
        .iter()
        .map(|c| c.dice.unwrap().mean)
        .sum::<f64>()
        / 2.0;
    assert!((all.mean_dice.unwrap().estimate - means).abs() < 1e-15);
    assert_eq!(judged.classes[1].dice.unwrap().to_string(), "0.833 ± 0.236");
    let text = serde_json::to_string(&judged).unwrap();
    assert_eq!(
        serde_json::from_str::<SegmentationEvaluation>(&text).unwrap(),
        judged
    );
}

#[test]
fn grouping_widens_the_interval_if_images_of_a_patient_agree() {
    let mut rng = random::Rng::stream(4, 4);
    let patients: Vec<usize> = (0..200).map(|i| i / 10).collect();
    let hits: Vec<usize> = (0..20).map(|_| rng.below(8)).collect();
    let images: Vec<SegmentedImage> = patients
        .iter()
        .map(|p| {
            let predicted: Vec<u8> = (0..8).map(|i| u8::from(i <= hits[*p])).collect();
            image(&[1; 8], &predicted, 2)
        })
        .collect();
    let width = |groups| {
        let interval = judge(&images, groups).mean_dice.unwrap();
        interval.high - interval.low
    };
    assert!(width(Some(&patients)) > 2.0 * width(None));
    assert_eq!(judge(&images, Some(&patients)).groups, Some(20));
    assert_eq!(
        judge(&images, Some(&patients)),
        judge(&images, Some(&patients))
    );
}

/// Two pixels apart in a row of pixels 0.5 mm wide, in images of which only one has a spacing.
#[test]
fn millimetres_are_of_the_images_that_have_a_spacing() {
    let of = |spacing| {
        SegmentedImage::new(&LabelMaps {
            truth: &[1_u8, 0, 0, 0],
            predicted: &[0, 0, 1, 0],
            height: 1,
            width: 4,
            classes: 2,
            spacing,
            ignore: None,
        })
        .unwrap()
    };
    let cell = judge(&[of(None), of(Some([2.0, 0.5]))], None)
        .classes
        .remove(1);
    assert_eq!(cell.hd95.unwrap().mean, 2.0);
    let millimetres = cell.hd95_mm.unwrap();
    assert_eq!((millimetres.mean, millimetres.n), (1.0, 1));
    let without = judge(&[of(None)], None).classes.remove(1);
    assert!(without.hd95_mm.is_none() && without.mean_hd95_mm.is_none());
}

#[test]
fn bad_input_is_an_error() {
    let check = |error: MetricsError, expected: &str| {
        assert!(error.to_string().contains(expected), "{error}");
    };
    let maps = |truth: &'static [u8], predicted: &'static [u8], ignore| LabelMaps {
        truth,
        predicted,
        height: 1,
        width: 2,
        classes: 2,
        spacing: None,
        ignore,
    };
    let of = |maps| SegmentedImage::new(&maps).unwrap_err();
    check(
        of(maps(&[0], &[0, 1], None)),
        "`truth` has 1 entries, but 2",
    );
    check(of(maps(&[0, 1], &[0], None)), "`predicted` has 1 entries");
    check(of(maps(&[0, 2], &[0, 1], None)), "`labels[1]` is class 2");
    check(of(maps(&[9, 9], &[0, 1], Some(9))), "`labels` is empty");
    for wrong in [[0.0, 1.0], [1.0, f64::NAN]] {
        let error = hd95(&[true], &[true], 1, 1, wrong).unwrap_err();
        check(error, "above 0");
    }
    check(
        hd95(&[], &[], 0, 0, PIXELS).unwrap_err(),
        "`truth` is empty",
    );
    check(
        hd95(&[true; 4], &[true; 4], 2, 3, PIXELS).unwrap_err(),
        "4 entries, but 6",
    );
    let settings = SegmentationSettings::default();
    let judge = |names: &[&str], images: &[SegmentedImage]| {
        evaluate_segmentation(names, images, None, &settings).unwrap_err()
    };
    check(judge(&["a", "b"], &[]), "`images` is empty");
    let one = [image(&[0, 0], &[0, 0], 1)];
    check(judge(&["a", "b"], &one), "classes` has 1 entries, but 2");
    check(judge(&["a"], &one), "other than the background` is empty");
    let mut matrix = ConfusionMatrix::new(2, &[0, 1], &[1, 1]).unwrap();
    check(matrix.add(&one[0].confusion).unwrap_err(), "`other` has 1");
}

/// HD95 by its definition, comparing every pair of pixels.
fn naive_hd95(
    a: &[bool],
    b: &[bool],
    (height, width): (usize, usize),
    [rows, columns]: [f64; 2],
) -> f64 {
    let surface = |mask: &[bool]| -> Vec<(i64, i64)> {
        let at = |y: i64, x: i64| {
            let inside = (0..height as i64).contains(&y) && (0..width as i64).contains(&x);
            inside && mask[y as usize * width + x as usize]
        };
        let points = (0..height as i64).flat_map(|y| (0..width as i64).map(move |x| (y, x)));
        points
            .filter(|(y, x)| at(*y, *x))
            .filter(|(y, x)| {
                let cross = [(-1, 0), (1, 0), (0, -1), (0, 1)];
                cross.iter().any(|(dy, dx)| !at(y + dy, x + dx))
            })
            .collect()
    };
    let (a, b) = (surface(a), surface(b));
    let directed = |from: &[(i64, i64)], to: &[(i64, i64)]| {
        let gap = |p: &(i64, i64), q: &(i64, i64)| {
            let (down, across) = ((p.0 - q.0) as f64 * rows, (p.1 - q.1) as f64 * columns);
            down * down + across * across
        };
        let nearest = |p| {
            to.iter()
                .map(|q| gap(p, q).sqrt())
                .fold(f64::INFINITY, f64::min)
        };
        let mut all: Vec<f64> = from.iter().map(nearest).collect();
        all.sort_by(f64::total_cmp);
        let position = 0.95 * (all.len() - 1) as f64;
        let below = position.floor() as usize;
        let above = (below + 1).min(all.len() - 1);
        all[below] + (position - below as f64) * (all[above] - all[below])
    };
    directed(&a, &b).max(directed(&b, &a))
}

proptest! {
    #[test]
    fn distances_are_symmetric_and_match_the_definition(
        (height, width, a, b) in (1usize..12, 1usize..12).prop_flat_map(|(h, w)| {
            let mask = || prop::collection::vec(any::<bool>(), h * w);
            (Just(h), Just(w), mask(), mask())
        }),
        (rows, columns) in (0.05f64..3.0, 0.05f64..3.0),
    ) {
        for spacing in [PIXELS, [rows, columns]] {
            let found = hd95(&a, &b, height, width, spacing).unwrap();
            let back = hd95(&b, &a, height, width, spacing).unwrap();
            prop_assert_eq!(found.counted(), back.counted());
            if let SurfaceDistance::Between(found) = found {
                let naive = naive_hd95(&a, &b, (height, width), spacing);
                prop_assert!((found - naive).abs() < 1e-12, "{} {}", found, naive);
                let diagonal = (height as f64 * spacing[0]).hypot(width as f64 * spacing[1]);
                prop_assert!(found <= diagonal);
            }
        }
        let same = hd95(&a, &a, height, width, PIXELS).unwrap().counted();
        prop_assert_eq!(same, a.contains(&true).then_some(0.0));
    }

    #[test]
    fn overlap_scores_stay_within_bounds(truth in prop::collection::vec(0u8..3, 30), predicted in prop::collection::vec(0u8..3, 30)) {
        let there = image(&truth, &predicted, 3);
        let back = image(&predicted, &truth, 3);
        for (a, b) in there.classes.iter().zip(&back.classes) {
            let s = a.scores;
            prop_assert_eq!(s.dice.is_some(), s.iou.is_some());
            if let (Some(dice), Some(iou)) = (s.dice, s.iou) {
                prop_assert!((dice - 2.0 * iou / (1.0 + iou)).abs() < 1e-12);
                prop_assert!(iou <= dice && dice <= 1.0 && iou >= 0.0);
            }
            prop_assert_eq!((s.dice, s.precision), (b.scores.dice, b.scores.recall));
            let counts = s.counts;
            let all = counts.true_positives + counts.false_positives + counts.true_negatives + counts.false_negatives;
            prop_assert_eq!(all, 30);
        }
        prop_assert_eq!(there.confusion.total(), 30);
    }

    #[test]
    fn otsu_matches_its_definition(histogram in prop::collection::vec(0u64..6, 1..20)) {
        let within = |cut: usize| {
            let spread = |part: &[(usize, u64)]| {
                let n: f64 = part.iter().map(|(_, n)| *n as f64).sum();
                let mean = part.iter().map(|(bin, k)| *bin as f64 * *k as f64).sum::<f64>() / n;
                (n, part.iter().map(|(bin, k)| *k as f64 * (*bin as f64 - mean).powi(2)).sum::<f64>())
            };
            let bins: Vec<(usize, u64)> = histogram.iter().copied().enumerate().collect();
            let (dark, bright) = (spread(&bins[..=cut]), spread(&bins[cut + 1..]));
            (dark.0 > 0.0 && bright.0 > 0.0).then_some(dark.1 + bright.1)
        };
        let least = (0..histogram.len()).filter_map(within).fold(f64::INFINITY, f64::min);
        match otsu_threshold(&histogram) {
            Some(cut) => prop_assert!(within(cut).unwrap() <= least + 1e-9),
            None => prop_assert_eq!(least, f64::INFINITY),
        }
    }
}

/// The difference is that of the means over images, each over the images that are not empty for it, and an image's
/// difficulty cancels: a constant difference has an interval of no width, while the intervals of both overlap.
#[test]
fn segmentations_of_the_same_images_are_compared_in_pairs() {
    let settings = SegmentationSettings::default();
    let truths = [
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ];
    let images = |predicted: [[u8; 8]; 3]| -> Vec<SegmentedImage> {
        let pairs = truths.iter().zip(&predicted);
        pairs
            .map(|(truth, predicted)| image(truth, predicted, 2))
            .collect()
    };
    let right = images(truths);
    let compare = |a: &[SegmentedImage], b: &[SegmentedImage], groups| {
        compare_segmentations([a, b], groups, &settings).unwrap()
    };
    let same = compare(&right, &right, None).dice.unwrap();
    assert_eq!((same.estimate, same.low, same.high), (0.0, 0.0, 0.0));

    // Dice 2/3 in both images with a mask, and a false positive that only the second one counts: (2/3 + 2/3 + 0) / 3.
    let half = images([
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ]);
    let found = compare(&right, &half, None);
    let (dice, iou) = (found.dice.unwrap(), found.iou.unwrap());
    assert!((dice.estimate - (1.0 - 4.0 / 9.0)).abs() < 1e-15 && dice.n == 3);
    assert!((iou.estimate - (1.0 - 1.0 / 3.0)).abs() < 1e-15);
    let back = compare(&half, &right, None).dice.unwrap();
    assert_eq!(
        (back.estimate, back.low, back.high),
        (-dice.estimate, -dice.high, -dice.low)
    );

    // Without the third image the difference is the same in both others.
    let constant = compare(&right[..2], &half[..2], None).dice.unwrap();
    for bound in [constant.estimate, constant.low, constant.high] {
        assert!((bound - 1.0 / 3.0).abs() < 1e-15, "{constant:?}");
    }
    // One group: every resample is the whole.
    let grouped = compare(&right, &half, Some(&[4, 4, 4])).dice.unwrap();
    assert!(grouped.low == grouped.high && grouped.estimate == dice.estimate);

    let none = compare(&right[2..], &right[2..], None);
    assert_eq!((none.dice, none.iou), (None, None));
    let fewer = compare_segmentations([&right, &half[1..]], None, &settings);
    assert!(fewer.unwrap_err().to_string().contains("second"));
    assert!(compare_segmentations([&[], &[]], None, &settings).is_err());
}
