//! Compares with values from torchvision, PyTorch's grid_sample, scipy and Pillow (`reference.py`), and with a naive per-pixel
//! f64 version on random transforms.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml exempts tests, but not their helpers"
)]

use augment::{Draw, Fill, Raster, RelativeRect, Warp};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    height: usize,
    width: usize,
    picture: Vec<f32>,
    grey: Vec<f32>,
    mask: Vec<f32>,
    geometry: Vec<Geometry>,
    light: Vec<Light>,
    elastic: Vec<Geometry>,
    jpeg: Vec<Jpeg>,
}

#[derive(Deserialize)]
struct Geometry {
    rotation: f64,
    flip: [bool; 2],
    zoom: f64,
    shear: f64,
    shift: [f64; 2],
    constant: Vec<f32>,
    nearest: Vec<f32>,
    reflect: Vec<f32>,
    mask: Vec<f32>,
    #[serde(default)]
    grid: usize,
    #[serde(default)]
    shifts: Vec<[f64; 2]>,
}

#[derive(Deserialize)]
struct Light {
    name: String,
    value: f64,
    expected: Vec<f32>,
}

#[derive(Deserialize)]
struct Jpeg {
    quality: u8,
    image: Vec<u8>,
    expected: Vec<u8>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference.json")).unwrap()
}

fn check(what: &str, actual: &Raster, expected: &[f32], tolerance: f32) {
    let worst = actual
        .data()
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        actual.data().len() == expected.len() && worst <= tolerance,
        "{what}: off by {worst}"
    );
}

#[test]
fn geometry_agrees_with_torchvision_interpolate_and_grid_sample() {
    let reference = reference();
    for case in reference.geometry.iter().chain(&reference.elastic) {
        let cases = [
            (Fill::Constant(0.0), &case.constant),
            (Fill::Nearest, &case.nearest),
            (Fill::Reflect, &case.reflect),
        ];
        for (fill, expected) in cases {
            let draw = draw(case, fill);
            let mut image = Raster::new(
                reference.height,
                reference.width,
                3,
                reference.picture.clone(),
            )
            .unwrap();
            draw.apply(&mut image, None);
            check(&format!("{draw} with {fill:?}"), &image, expected, 5e-6);
        }
    }
}

#[test]
fn masks_agree_with_torchvision() {
    let reference = reference();
    for case in reference.geometry.iter().chain(&reference.elastic) {
        let draw = draw(case, Fill::Constant(1.0));
        let mut image = Raster::new(
            reference.height,
            reference.width,
            3,
            reference.picture.clone(),
        )
        .unwrap();
        let mut mask =
            Raster::new(reference.height, reference.width, 1, reference.mask.clone()).unwrap();
        draw.apply(&mut image, Some(&mut mask));
        // Beyond the edge, pixels are unknown here and background in torchvision.
        let filled = mask.into_data().into_iter();
        let filled = filled.map(|v| if v.is_nan() { 0.0 } else { v }).collect();
        let mask = Raster::new(reference.height, reference.width, 1, filled).unwrap();
        check(&draw.to_string(), &mask, &case.mask, 0.0);
    }
}

fn draw(case: &Geometry, fill: Fill) -> Draw {
    Draw {
        rotation_degrees: case.rotation,
        flip_horizontal: case.flip[0],
        flip_vertical: case.flip[1],
        zoom: case.zoom,
        shear_degrees: case.shear,
        shift: case.shift,
        fill,
        warp: (case.grid > 0).then(|| Warp {
            grid: case.grid,
            shifts: case.shifts.clone(),
        }),
        ..Draw::default()
    }
}

#[test]
fn photometric_transforms_agree_with_torchvision_and_scipy() {
    let reference = reference();
    for case in &reference.light {
        let mut draw = Draw::default();
        let field = match case.name.as_str() {
            "brightness" => &mut draw.brightness,
            "contrast" => &mut draw.contrast,
            "gamma" => &mut draw.gamma,
            "blur" => &mut draw.blur_sigma,
            other => panic!("no such transform: {other}"),
        };
        *field = case.value;
        // Contrast is about the mean, which torchvision computes from the grey version with weights that sum to 0.9999:
        // nearly the same if the image is grey.
        let (data, tolerance) = if case.name == "contrast" {
            (&reference.grey, 5e-5)
        } else {
            (&reference.picture, 2e-6)
        };
        let mut image = Raster::new(reference.height, reference.width, 3, data.clone()).unwrap();
        draw.apply(&mut image, None);
        check(&draw.to_string(), &image, &case.expected, tolerance);
    }
}

/// Keys' bicubic convolution of the grid's displacements with `a = −0.75`, by its definition: a sum over all points,
/// each weighted by the kernel at its distance; points beyond the grid have the edge's displacement.
fn naive_bend(warp: &Warp, at: (f64, f64)) -> (f64, f64) {
    let kernel = |x: f64| match x.abs() {
        x if x <= 1.0 => 1.25 * x.powi(3) - 2.25 * x.powi(2) + 1.0,
        x if x < 2.0 => -0.75 * (x.powi(3) - 5.0 * x.powi(2) + 8.0 * x - 4.0),
        _ => 0.0,
    };
    let last = warp.grid as i64 - 1;
    let mut sum = (0.0, 0.0);
    for row in -2..=last + 2 {
        for column in -2..=last + 2 {
            let share = kernel(at.0 - column as f64) * kernel(at.1 - row as f64);
            let point = row.clamp(0, last) * (last + 1) + column.clamp(0, last);
            let [x, y] = warp.shifts[point as usize];
            sum = (sum.0 + share * x, sum.1 + share * y);
        }
    }
    sum
}

/// The definition, written another way: undo each step in turn on centred coordinates, in f64. `finer` is the factor by
/// which the raster is finer than the image.
fn naive_source(
    draw: &Draw,
    (height, width): (usize, usize),
    finer: usize,
    x: usize,
    y: usize,
) -> (f64, f64) {
    let centre = ((width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0);
    let bend = draw.warp.as_ref().map_or((0.0, 0.0), |warp| {
        let scale = finer as f64;
        let place = |at: usize, len: usize| {
            let (at, last) = ((at as f64 + 0.5) / scale - 0.5, (len / finer) as f64 - 1.0);
            let share = if last > 0.0 { at / last } else { 0.0 };
            share.clamp(0.0, 1.0) * (warp.grid as f64 - 1.0)
        };
        let (right, down) = naive_bend(warp, (place(x, width), place(y, height)));
        (right * scale, down * scale)
    });
    let (px, py) = (
        x as f64 + bend.0 - centre.0 - draw.shift[0] * width as f64,
        y as f64 + bend.1 - centre.1 - draw.shift[1] * height as f64,
    );
    let (sin, cos) = draw.rotation_degrees.to_radians().sin_cos();
    let (px, py) = (cos * px + sin * py, cos * py - sin * px);
    let (px, py) = (px / draw.zoom, py / draw.zoom);
    let px = px + draw.shear_degrees.to_radians().tan() * py;
    let (px, py) = (
        if draw.flip_horizontal { -px } else { px },
        if draw.flip_vertical { -py } else { py },
    );
    let (px, py) = (px + centre.0, py + centre.1);
    let Some(crop) = draw.crop else {
        return (px, py);
    };
    // As fractions of the crop, from its edges, then of the image.
    let (x, y) = ((px + 0.5) / width as f64, (py + 0.5) / height as f64);
    let (x, y) = (crop.left + x * crop.width, crop.top + y * crop.height);
    (x * width as f64 - 0.5, y * height as f64 - 0.5)
}

/// The first and last column and row that the crop touches, if every source point is inside the crop.
fn only_seen(draw: &Draw, (height, width): (usize, usize)) -> Option<[i64; 4]> {
    let crop = draw.crop.filter(|_| draw.warp.is_none())?;
    let inside = |at: f64, len: usize, start: f64, share: f64| {
        // A rotation by 90° may end exactly at the edge, where rounding must not decide.
        let (at, first, end) = (at + 0.5, start * len as f64, (start + share) * len as f64);
        first - 1e-6 <= at && at <= end + 1e-6
    };
    let all = (0..height * width).all(|i| {
        let (x, y) = naive_source(draw, (height, width), 1, i % width, i / width);
        inside(x, width, crop.left, crop.width) && inside(y, height, crop.top, crop.height)
    });
    let ends = |start: f64, share: f64, len: usize| {
        let (first, end) = (start * len as f64, (start + share) * len as f64);
        [(first + 1e-6).floor(), (end - 1e-6).ceil() - 1.0].map(|pixel| pixel as i64)
    };
    let [left, right] = ends(crop.left, crop.width, width);
    let [top, bottom] = ends(crop.top, crop.height, height);
    all.then_some([left, right, top, bottom])
}

fn naive_tap(raster: &Raster, fill: Fill, x: i64, y: i64, channel: usize) -> f64 {
    let continued = |at: i64, len: usize| match fill {
        Fill::Constant(_) => (0..len as i64).contains(&at).then_some(at),
        Fill::Nearest => Some(at.clamp(0, len as i64 - 1)),
        Fill::Reflect => {
            let mut at = at;
            while !(0..len as i64).contains(&at) {
                at = if at < 0 {
                    -1 - at
                } else {
                    2 * len as i64 - 1 - at
                };
            }
            Some(at)
        }
    };
    match (
        continued(x, raster.width()),
        continued(y, raster.height()),
        fill,
    ) {
        (Some(x), Some(y), _) => f64::from(
            raster.data()[(y as usize * raster.width() + x as usize) * raster.channels() + channel],
        ),
        (_, _, Fill::Constant(value)) => value,
        _ => unreachable!(),
    }
}

/// If `only` is given, its edge is repeated without end.
fn naive_bilinear(
    raster: &Raster,
    fill: Fill,
    only: Option<[i64; 4]>,
    (x, y): (f64, f64),
    channel: usize,
) -> f64 {
    let (x0, y0) = (x.floor(), y.floor());
    let mut sum = 0.0;
    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let weight =
            (1.0 - (x - x0 - f64::from(dx)).abs()) * (1.0 - (y - y0 - f64::from(dy)).abs());
        let (x, y) = (x0 as i64 + i64::from(dx), y0 as i64 + i64::from(dy));
        let (x, y) = only.map_or((x, y), |[left, right, top, bottom]| {
            (x.clamp(left, right), y.clamp(top, bottom))
        });
        sum += weight * naive_tap(raster, fill, x, y, channel);
    }
    sum
}

prop_compose! {
    fn any_warp()(grid in 2usize..6)(
        shifts in prop::collection::vec([-6.0..6.0f64, -6.0..6.0f64], grid * grid), grid in Just(grid),
    ) -> Warp {
        Warp { grid, shifts }
    }
}

/// Crops whose sides are at least a hundredth of the image's.
fn any_crop() -> impl Strategy<Value = RelativeRect> {
    let side = || (0.0..0.99f64, 0.01..1.0f64);
    (side(), side()).prop_map(|((top, height), (left, width))| RelativeRect {
        top,
        left,
        height: height * (1.0 - top),
        width: width * (1.0 - left),
    })
}

prop_compose! {
    fn any_draw()(
        crop in prop::option::of(any_crop()),
        warp in prop::option::of(any_warp()),
        fill in prop_oneof![(0.0..1.0f64).prop_map(Fill::Constant), Just(Fill::Nearest), Just(Fill::Reflect)],
        rotation_degrees in prop_oneof![1 => -180.0..180.0f64, 1 => Just(90.0), 2 => Just(0.0)],
        flip_horizontal: bool,
        flip_vertical: bool,
        zoom in prop_oneof![0.3..3.0f64, Just(1.0)],
        shear_degrees in prop_oneof![-60.0..60.0f64, Just(0.0)],
        shift in prop_oneof![[-1.0..1.0f64, -1.0..1.0f64], Just([0.0, 0.0])],
    ) -> Draw {
        Draw { crop, warp, fill, rotation_degrees, flip_horizontal, flip_vertical, zoom, shear_degrees, shift, ..Draw::default() }
    }
}

/// An image of noise, in which a wrong coordinate shows most.
fn noise(height: usize, width: usize, channels: usize) -> Raster {
    let data = (0..height * width * channels)
        .map(|i| ((i * 7919 + 13) % 1009) as f32 / 1008.0)
        .collect();
    Raster::new(height, width, channels, data).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn images_agree_with_the_naive_version(draw in any_draw(), height in 1usize..24, width in 1usize..24, channels in 1usize..6) {
        let source = noise(height, width, channels);
        let mut image = source.clone();
        draw.apply(&mut image, None);
        let only = only_seen(&draw, (height, width));
        for (i, &value) in image.data().iter().enumerate() {
            let (x, y) = (i / channels % width, i / channels / width);
            let at = naive_source(&draw, (height, width), 1, x, y);
            let expected = naive_bilinear(&source, draw.fill, only, at, i % channels);
            prop_assert!((f64::from(value) - expected).abs() < 5e-6, "{draw}: ({x}, {y}) is {value}, not {expected}");
        }
    }

    /// Here the source points of the outermost pixels of an image rotated by 90° are exactly on the crop's edge.
    #[test]
    fn a_view_that_ends_at_the_crops_edge_is_cut_to_it(left in 0.0..0.6f64, width in 0.01..0.4f64, top in 0.0..0.9f64) {
        let crop = Some(RelativeRect { top, left, height: 0.01, width });
        let draw = Draw { crop, rotation_degrees: 90.0, ..Draw::default() };
        let source = noise(19, 18, 1);
        let mut image = source.clone();
        draw.apply(&mut image, None);
        let only = only_seen(&draw, (19, 18));
        prop_assert!(only.is_some());
        for (i, &value) in image.data().iter().enumerate() {
            let at = naive_source(&draw, (19, 18), 1, i % 18, i / 18);
            let expected = naive_bilinear(&source, draw.fill, only, at, 0);
            prop_assert!((f64::from(value) - expected).abs() < 5e-6, "{draw}: pixel {i} is {value}, not {expected}");
        }
    }

    #[test]
    fn masks_agree_with_the_naive_version(draw in any_draw(), height in 1usize..24, width in 1usize..24, finer in 1usize..4) {
        // The mask may be finer than the image: the same scene at a higher resolution.
        let mut image = noise(height, width, 3);
        let (height, width) = (height * finer, width * finer);
        let source = {
            let values = noise(height, width, 1).into_data().into_iter().map(|v| f32::from(v > 0.5)).collect();
            Raster::new(height, width, 1, values).unwrap()
        };
        let mut mask = source.clone();
        draw.apply(&mut image, Some(&mut mask));
        let fill = if let Fill::Constant(_) = draw.fill { Fill::Constant(f64::NAN) } else { draw.fill };
        for (i, &value) in mask.data().iter().enumerate() {
            let at = naive_source(&draw, (height, width), finer, i % width, i / width);
            let tie = |v: f64| (v - v.floor() - 0.5).abs() < 1e-6;
            let expected = naive_tap(&source, fill, at.0.round() as i64, at.1.round() as i64, 0);
            let same = f64::from(value) == expected || (value.is_nan() && expected.is_nan());
            prop_assert!(tie(at.0) || tie(at.1) || same, "{draw}: {at:?} is {value}");
            prop_assert!(value == 0.0 || value == 1.0 || value.is_nan());
        }
    }
}

/// libjpeg transforms with integers and divides by multiplication with a rounded inverse: near the middle between two
/// steps, which is frequent where steps are small and the image is noise, a coefficient is rounded to the other one. A
/// reference with SciPy's `dctn` differs from libjpeg by the same figures.
#[test]
fn compression_agrees_with_libjpeg() {
    let reference = reference();
    let size = (3 * reference.height, 3 * reference.width);
    let unit = |values: &[u8]| {
        values
            .iter()
            .map(|&v| f32::from(v) / 255.0)
            .collect::<Vec<_>>()
    };
    for case in &reference.jpeg {
        let mut image = Raster::new(size.0, size.1, 3, unit(&case.image)).unwrap();
        let draw = Draw {
            jpeg_quality: Some(case.quality),
            ..Draw::default()
        };
        draw.apply(&mut image, None);
        let expected = unit(&case.expected);
        let differences = image
            .data()
            .iter()
            .zip(&expected)
            .map(|(a, b)| 255.0 * (a - b).abs());
        let differences: Vec<f32> = differences.collect();
        let mean = differences.iter().sum::<f32>() / differences.len() as f32;
        let original = unit(&case.image);
        let changes = original
            .iter()
            .zip(&expected)
            .map(|(a, b)| 255.0 * (a - b).abs());
        let changed = changes.sum::<f32>() / differences.len() as f32;
        let allowed = match changed < 25.0 && case.quality < 90 {
            true => 0.05,
            false => 0.18 * changed,
        };
        assert!(
            mean < allowed,
            "quality {}: {mean} of {changed}",
            case.quality
        );
    }
}

#[test]
fn compression_keeps_grey_images_grey() {
    let reference = reference();
    let grey = Raster::new(reference.height, reference.width, 3, reference.grey).unwrap();
    let mut image = grey.clone();
    let draw = Draw {
        jpeg_quality: Some(40),
        ..Draw::default()
    };
    draw.apply(&mut image, None);
    assert_ne!(image.data(), grey.data());
    assert!(image.data().chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
    let single = grey.data().chunks(3).map(|p| p[0]).collect();
    let mut single = Raster::new(reference.height, reference.width, 1, single).unwrap();
    draw.apply(&mut single, None);
    let first: Vec<f32> = image.data().chunks(3).map(|p| p[0]).collect();
    assert_eq!(single.data(), first);
}
