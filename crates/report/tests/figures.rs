//! Properties of the drawn pixels: positions, colours and sizes.

// clippy.toml allows unwrap in tests, but not in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use image::{Rgb, RgbImage};
use report::*;

fn classes(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("class {i}")).collect()
}

fn distribution(counts: &[u64]) -> ClassDistribution {
    ClassDistribution {
        title: "Images".into(),
        classes: classes(counts.len()),
        splits: vec![SplitCounts {
            name: "train".into(),
            counts: counts.into(),
        }],
    }
}

fn is(pixel: &Rgb<u8>, color: Color) -> bool {
    pixel.0 == color.rgb()
}

/// The length of the longest vertical run of a colour.
fn tallest(image: &RgbImage, color: Color) -> u32 {
    let run = |x: u32| {
        let column = (0..image.height()).map(|y| is(image.get_pixel(x, y), color));
        let lengths = column.scan(0, |run, hit| {
            *run = if hit { *run + 1 } else { 0 };
            Some(*run)
        });
        lengths.max().unwrap_or(0)
    };
    (0..image.width()).map(run).max().unwrap_or(0)
}

fn count(image: &RgbImage, color: Color) -> usize {
    image.pixels().filter(|pixel| is(pixel, color)).count()
}

#[test]
fn bar_heights_are_proportional_to_counts() {
    let figure = distribution(&[1000, 250, 500]).draw().unwrap();
    let [a, b, c] = [0, 1, 2].map(|i| f64::from(tallest(figure.image(), palette::series(i))));
    assert!(a > 300.0, "the tallest bar must fill the plot: {a}");
    // Rounding can add a pixel at both ends.
    assert!((b / a - 0.25).abs() < 3.0 / a, "{b} of {a}");
    assert!((c / a - 0.5).abs() < 3.0 / a, "{c} of {a}");
}

#[test]
fn figures_are_1600_pixels_wide_labelled_and_on_white() {
    let figure = distribution(&[3, 4]).draw().unwrap();
    let image = figure.image();
    assert_eq!(image.width(), 1600);
    assert!(is(image.get_pixel(0, 0), palette::PAPER));
    assert!(count(image, palette::INK) > 500, "title and counts");
}

#[test]
fn the_same_data_produce_the_same_bytes() {
    let png = || {
        let curve = RocLine {
            points: vec![(0.0, 0.0), (0.2, 0.9), (1.0, 1.0)],
            ..RocLine::default()
        };
        let figure = RocCurves {
            title: "ROC".into(),
            curves: vec![curve],
        }
        .draw()
        .unwrap();
        figure.to_png("roc.png".as_ref()).unwrap()
    };
    assert_eq!(png(), png());
}

/// A grey ramp, and a map that reaches 0.97 only in one quarter.
fn quarter() -> (Plane, Plane) {
    let image = Plane::from_fn(32, 32, |x, y| (x + y) as f32 / 62.0).unwrap();
    let map = Plane::from_fn(32, 32, |x, y| if x < 16 && y < 16 { 0.97 } else { 0.9699 }).unwrap();
    (image, map)
}

#[test]
fn only_pixels_whose_map_reaches_the_threshold_are_green() {
    let (image, map) = quarter();
    let picture = overlay(&image, &map, OVERLAY_THRESHOLD).unwrap();
    let plain = image.to_rgb();
    for (x, y, pixel) in picture.enumerate_pixels() {
        let [r, g, b] = pixel.0;
        if x < 16 && y < 16 {
            assert!(g > r && g > b, "green at {x},{y}: {pixel:?}");
        } else {
            assert_eq!(pixel, plain.get_pixel(x, y), "untouched grey at {x},{y}");
            assert!(r == g && g == b);
        }
    }
}

#[test]
fn nan_in_a_map_leaves_the_image_unchanged() {
    let (image, _) = quarter();
    let map = Plane::new(32, 32, vec![f32::NAN; 1024]).unwrap();
    assert_eq!(overlay(&image, &map, 0.0).unwrap(), image.to_rgb());
    assert_eq!(
        heat_map(&image, &map, Colormap::Inferno, 1.0).unwrap(),
        image.to_rgb()
    );
}

#[test]
fn a_small_map_is_scaled_to_the_whole_image() {
    let (image, _) = quarter();
    let map = Plane::new(1, 1, vec![1.0]).unwrap();
    let picture = overlay(&image, &map, 0.97).unwrap();
    assert!(picture.pixels().all(|p| p.0[1] > p.0[0]));
    assert_eq!(picture.dimensions(), (32, 32));
}

#[test]
fn an_error_map_distinguishes_kinds_of_error() {
    let black = Plane::new(3, 2, vec![0.0; 6]).unwrap();
    let labels = |classes: [u8; 6]| Labels::new(3, 2, classes.into()).unwrap();
    let truth = labels([1, 0, 1, 0, 2, Labels::UNKNOWN]);
    let predicted = labels([1, 1, 0, 0, 1, 1]);
    let picture = error_map(&black, &truth, &predicted).unwrap();
    // A colour at 55 % opacity on black.
    let at = |c: Color| c.rgb().map(|v| (f32::from(v) * 0.55).round() as u8);
    let expected = [
        at(palette::TRUE_POSITIVE),
        at(palette::FALSE_POSITIVE),
        at(palette::FALSE_NEGATIVE),
        [0, 0, 0],
        at(palette::CONFUSED),
        [0, 0, 0],
    ];
    let actual: Vec<_> = picture.pixels().map(|pixel| pixel.0).collect();
    assert_eq!(actual, expected);
    let shown = class_overlay(&black, &truth).unwrap();
    let shown: Vec<_> = shown.pixels().map(|pixel| pixel.0).collect();
    let classes = [1, 0, 1, 0, 2, 0];
    let expected = classes.map(|class| match class {
        0 => [0, 0, 0],
        class => at(palette::pixels(class)),
    });
    assert_eq!(shown, expected);
}

#[test]
fn segmentation_panels_show_wide_and_tall_images() {
    for (width, height) in [(64, 16), (16, 64)] {
        let pixels = (width * height) as usize;
        let labels = |class| Labels::new(width, height, vec![class; pixels]).unwrap();
        let figure = SegmentationPanels {
            title: "Cells".into(),
            classes: classes(3),
            cases: vec![SegmentationCase {
                caption: "a case".into(),
                image: Plane::new(width, height, vec![0.0; pixels]).unwrap(),
                truth: labels(1),
                predicted: labels(2),
            }],
        };
        let picture = figure.draw().unwrap().image().clone();
        let tint = palette::CONFUSED
            .rgb()
            .map(|v| (f32::from(v) * 0.55).round() as u8);
        assert!(
            picture.pixels().any(|pixel| pixel.0 == tint),
            "{width}x{height}"
        );
    }
}

#[test]
fn an_outline_is_the_border_of_the_mask() {
    let mask = Plane::from_fn(7, 7, |x, y| {
        f32::from(u8::from((1..6).contains(&x) && (1..6).contains(&y)))
    })
    .unwrap();
    let mut picture = RgbImage::new(7, 7);
    outline(&mut picture, &mask, palette::YELLOW).unwrap();
    assert_eq!(count(&picture, palette::YELLOW), 16);
    assert!(!is(picture.get_pixel(3, 3), palette::YELLOW));
}

#[test]
fn masks_of_a_different_size_are_rejected() {
    let (image, _) = quarter();
    let small = Labels::new(2, 2, vec![0; 4]).unwrap();
    let error = error_map(&image, &small, &small).unwrap_err().to_string();
    assert_eq!(
        error,
        "error map: truth: expected 32×32 pixels, as the image, found 2×2"
    );
}

/// Expected: matplotlib 3.11, `matplotlib.colormaps[name](v)`, times 255 (see colormaps.py).
#[test]
fn colour_maps_match_matplotlib() {
    let cases = [
        (Colormap::Viridis, 0.0, [68, 1, 84]),
        (Colormap::Viridis, 0.25, [59, 82, 139]),
        (Colormap::Viridis, 0.5, [33, 145, 140]),
        (Colormap::Viridis, 0.75, [94, 201, 98]),
        (Colormap::Viridis, 1.0, [253, 231, 37]),
        (Colormap::Inferno, 0.0, [0, 0, 4]),
        (Colormap::Inferno, 0.25, [87, 16, 110]),
        (Colormap::Inferno, 0.5, [188, 55, 84]),
        (Colormap::Inferno, 0.75, [249, 142, 9]),
        (Colormap::Inferno, 1.0, [252, 255, 164]),
    ];
    for (map, value, expected) in cases {
        let actual = map.color(value).rgb();
        let far = actual
            .iter()
            .zip(expected)
            .map(|(&a, e)| a.abs_diff(e))
            .max();
        assert!(
            far <= Some(14),
            "{map:?}({value}) = {actual:?}, matplotlib {expected:?}"
        );
    }
}

#[test]
fn colour_maps_increase_in_lightness() {
    for map in [Colormap::Viridis, Colormap::Inferno] {
        let luma: Vec<_> = (0..=100)
            .map(|i| map.color(f64::from(i) / 100.0).luma())
            .collect();
        assert!(
            luma.windows(2).all(|pair| pair[0] <= pair[1] + 0.005),
            "{map:?}"
        );
    }
}

#[test]
fn a_grid_shows_its_tiles_and_borders() {
    let red = Color(255, 0, 0);
    let tile = |border| Tile {
        image: RgbImage::from_pixel(5, 5, Rgb(red.rgb())).into(),
        caption: "a caption".into(),
        border,
    };
    let grid = ImageGrid {
        columns: 2,
        tiles: vec![tile(None), tile(Some(palette::RIGHT))],
        ..ImageGrid::default()
    };
    let figure = grid.draw().unwrap();
    assert!(
        count(figure.image(), red) > 600_000,
        "two tiles of about 760 × 760"
    );
    assert!(count(figure.image(), palette::RIGHT) > 10_000, "one border");
}

#[test]
fn histogram_bins_include_both_ends_and_exclude_nan() {
    let values = [0.0, 0.1, 0.5, 1.0, 1.1, -0.1, f64::NAN];
    let series = HistogramSeries::from_values("p", &values, (0.0, 1.0), 2);
    assert_eq!(series.counts, [2, 2]);
    assert_eq!(
        HistogramSeries::from_values("p", &values, (0.0, 1.0), 0).counts,
        []
    );
}
