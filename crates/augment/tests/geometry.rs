//! Transforms whose result is known in closed form.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml exempts tests, but not their helpers"
)]

use augment::{Draw, Fill, Raster, RelativeRect, Shade};

const SIDE: usize = 6;

/// A square image in which every value is different.
fn picture(channels: usize) -> Raster {
    let values = SIDE * SIDE * channels;
    Raster::new(
        SIDE,
        SIDE,
        channels,
        (0..values).map(|i| i as f32 / values as f32).collect(),
    )
    .unwrap()
}

/// Checks that `draw` shows exactly the source pixel `from(x, y)` at (x, y); outside, the fill 0 for the image and
/// unknown for the mask.
fn check(draw: Draw, from: impl Fn(i64, i64) -> (i64, i64)) {
    for channels in [1, 2, 3, 4] {
        let source = picture(channels);
        let (mut image, mut mask) = (source.clone(), picture(1));
        draw.apply(&mut image, Some(&mut mask));
        for (raster, source, outside) in [(image, source, 0.0), (mask, picture(1), f32::NAN)] {
            for (i, &value) in raster.data().iter().enumerate() {
                let (pixel, channel) = (i / raster.channels(), i % raster.channels());
                let (x, y) = from((pixel % SIDE) as i64, (pixel / SIDE) as i64);
                let inside = (0..SIDE as i64).contains(&x) && (0..SIDE as i64).contains(&y);
                let at = (y * SIDE as i64 + x) as usize * raster.channels() + channel;
                let expected = if inside { source.data()[at] } else { outside };
                assert!(
                    value == expected || (value.is_nan() && expected.is_nan()),
                    "{draw}, {channels} channels: {value}, not {expected}, at {:?}",
                    (pixel % SIDE, pixel / SIDE)
                );
            }
        }
    }
}

const LAST: i64 = SIDE as i64 - 1;

#[test]
fn identity_changes_nothing() {
    check(Draw::default(), |x, y| (x, y));
    check(
        Draw {
            rotation_degrees: 360.0,
            ..Draw::default()
        },
        |x, y| (x, y),
    );
}

#[test]
fn flips_are_exact() {
    check(
        Draw {
            flip_horizontal: true,
            ..Draw::default()
        },
        |x, y| (LAST - x, y),
    );
    check(
        Draw {
            flip_vertical: true,
            ..Draw::default()
        },
        |x, y| (x, LAST - y),
    );
}

#[test]
fn quarter_turns_are_transposition_and_flip() {
    check(
        Draw {
            rotation_degrees: 90.0,
            ..Draw::default()
        },
        |x, y| (y, LAST - x),
    );
    check(
        Draw {
            rotation_degrees: -90.0,
            ..Draw::default()
        },
        |x, y| (LAST - y, x),
    );
    check(
        Draw {
            rotation_degrees: 180.0,
            ..Draw::default()
        },
        |x, y| (LAST - x, LAST - y),
    );
}

#[test]
fn the_flip_precedes_the_rotation() {
    check(
        Draw {
            rotation_degrees: 90.0,
            flip_horizontal: true,
            ..Draw::default()
        },
        |x, y| (LAST - y, LAST - x),
    );
}

#[test]
fn shifts_by_whole_pixels_are_exact() {
    let side = SIDE as f64;
    check(
        Draw {
            shift: [2.0 / side, -1.0 / side],
            ..Draw::default()
        },
        |x, y| (x - 2, y + 1),
    );
    check(
        Draw {
            shift: [2.0, 0.0],
            ..Draw::default()
        },
        |_, _| (-1, -1),
    );
}

#[test]
fn a_shear_of_45_degrees_moves_rows_by_whole_pixels() {
    // With an odd side the centre would be a pixel row; here rows are half a pixel off, so add half a shift.
    let half = 0.5 / SIDE as f64;
    check(
        Draw {
            shear_degrees: 45.0,
            shift: [half, 0.0],
            ..Draw::default()
        },
        |x, y| (x + y - 3, y),
    );
}

#[test]
fn zoom_enlarges_about_the_centre() {
    // At zoom 3 the source step is ⅓: pixels 1 and 4 of an output row show source pixels 2 and 3.
    let source = picture(1);
    let mut image = source.clone();
    Draw {
        zoom: 3.0,
        ..Draw::default()
    }
    .apply(&mut image, None);
    for (out, from) in [((1, 1), (2, 2)), ((4, 1), (3, 2)), ((4, 4), (3, 3))] {
        let (value, expected) = (
            image.data()[out.1 * SIDE + out.0],
            source.data()[from.1 * SIDE + from.0],
        );
        assert!(
            (value - expected).abs() < 1e-6,
            "{out:?} is {value}, not {expected}"
        );
    }
    // Shrunk to half, the image fills the middle 3×3 and the constant the rest.
    let mut image = Raster::new(SIDE, SIDE, 1, vec![1.0; SIDE * SIDE]).unwrap();
    Draw {
        zoom: 0.5,
        ..Draw::default()
    }
    .apply(&mut image, None);
    let area: f32 = image.data().iter().sum();
    assert!((area - 9.0).abs() < 1e-4, "{area}");
}

#[test]
fn a_transform_and_its_inverse_cancel() {
    let smooth =
        |x: usize, y: usize| 0.5 + 0.2 * (x as f32 * 0.1).sin() + 0.2 * (y as f32 * 0.13).cos();
    let side = 64;
    let source = Raster::new(
        side,
        side,
        1,
        (0..side * side)
            .map(|i| smooth(i % side, i / side))
            .collect(),
    )
    .unwrap();
    let pairs = [
        (
            Draw {
                rotation_degrees: 33.0,
                ..Draw::default()
            },
            Draw {
                rotation_degrees: -33.0,
                ..Draw::default()
            },
        ),
        (
            Draw {
                zoom: 1.25,
                ..Draw::default()
            },
            Draw {
                zoom: 0.8,
                ..Draw::default()
            },
        ),
        (
            Draw {
                shear_degrees: 20.0,
                ..Draw::default()
            },
            Draw {
                shear_degrees: -20.0,
                ..Draw::default()
            },
        ),
        (
            Draw {
                shift: [0.11, -0.07],
                ..Draw::default()
            },
            Draw {
                shift: [-0.11, 0.07],
                ..Draw::default()
            },
        ),
        (
            Draw {
                flip_vertical: true,
                ..Draw::default()
            },
            Draw {
                flip_vertical: true,
                ..Draw::default()
            },
        ),
    ];
    for (there, back) in pairs {
        let mut image = source.clone();
        there.apply(&mut image, None);
        back.apply(&mut image, None);
        // Near the middle, which none of these transforms move out of the image.
        for i in (0..side * side)
            .filter(|i| (24..40).contains(&(i % side)) && (24..40).contains(&(i / side)))
        {
            assert!(
                (image.data()[i] - source.data()[i]).abs() < 2e-3,
                "{there}, then {back}"
            );
        }
    }
}

#[test]
fn degenerate_images_are_handled() {
    let draw = Draw {
        rotation_degrees: 10.0,
        blur_sigma: 2.0,
        contrast: 2.0,
        gamma: 2.0,
        noise_sigma: 0.1,
        ..Draw::default()
    };
    let border = Shade {
        area: 0.5,
        value: 0.3,
    };
    for fill in [Fill::Constant(0.0), Fill::Nearest, Fill::Reflect] {
        for (height, width) in [(0, 0), (0, 5), (1, 1), (1, 9), (9, 1), (3, 3)] {
            let mut image = Raster::new(height, width, 3, vec![0.5; height * width * 3]).unwrap();
            let mut mask = Raster::new(2, 2, 1, vec![1.0; 4]).unwrap();
            Draw {
                fill,
                border,
                ..draw.clone()
            }
            .apply(&mut image, Some(&mut mask));
            assert!(
                image.data().iter().all(|&value| value == 0.3),
                "a border of half the side hides everything"
            );
        }
    }
}

#[test]
fn absurd_draws_do_not_panic() {
    for bad in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        1e300,
        -1e-300,
    ] {
        let mut image = picture(3);
        Draw {
            zoom: bad,
            ..Draw::default()
        }
        .apply(&mut image, None);
        Draw {
            rotation_degrees: bad,
            shift: [bad, 1.0],
            ..Draw::default()
        }
        .apply(&mut image, None);
        Draw {
            shear_degrees: bad,
            fill: Fill::Reflect,
            ..Draw::default()
        }
        .apply(&mut image, None);
    }
}

#[test]
fn borders_and_rectangles_hide_the_stated_area() {
    let hidden = |draw: Draw| {
        let mut image = Raster::new(4, 8, 2, vec![1.0; 64]).unwrap();
        draw.apply(&mut image, None);
        let shown = |pixel: &[f32]| if pixel == [0.0, 0.0] { '.' } else { '#' };
        image
            .data()
            .chunks(16)
            .map(|row| row.chunks(2).map(shown).collect())
            .collect::<Vec<String>>()
    };
    let border = Draw {
        border: Shade {
            area: 0.25,
            value: 0.0,
        },
        ..Draw::default()
    };
    assert_eq!(
        hidden(border),
        ["........", "..####..", "..####..", "........"]
    );
    let area = RelativeRect {
        top: 0.25,
        left: 0.5,
        height: 0.5,
        width: 0.25,
    };
    let erase = Draw {
        erase: Some(Shade { area, value: 0.0 }),
        ..Draw::default()
    };
    assert_eq!(
        hidden(erase),
        ["########", "####..##", "####..##", "########"]
    );
}
