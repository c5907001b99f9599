//! Grey images: what stored values become, by the formulas of PS3.3, C.7.6.3, C.11.1 and C.11.2.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use crate::support::*;
use dicom::{ReadOptions, Window};

const SLOPE: u32 = 0x0028_1053;
const INTERCEPT: u32 = 0x0028_1052;
const CENTER: u32 = 0x0028_1050;
const WIDTH: u32 = 0x0028_1051;
const FUNCTION: u32 = 0x0028_1056;

fn rescaled(file: File, slope: &str, intercept: &str) -> File {
    file.text(SLOPE, b"DS", slope)
        .text(INTERCEPT, b"DS", intercept)
}

fn windowed(file: File, center: &str, width: &str) -> File {
    file.text(CENTER, b"DS", center).text(WIDTH, b"DS", width)
}

#[test]
fn without_a_window_grey_covers_the_range_of_the_stored_bits() {
    let file = File::grey(&[0, 1, 2048, 4095], 12, false);
    assert_eq!(
        grey16(&file, Window::Auto),
        stretched(&[0., 1., 2048., 4095.], 0., 4095.)
    );
    assert_eq!(grey16(&file, Window::Full), grey16(&file, Window::Auto));
    // Signed values; the window is the range in the modality's unit, whatever the sign of the slope.
    let file = File::grey(&[0x8000, 0xFFFF, 0, 0x7FFF], 16, true);
    let values = [-32768., -1., 0., 32767.];
    assert_eq!(modality(&file), values);
    assert_eq!(
        grey16(&file, Window::Full),
        stretched(&values, -32768., 32767.)
    );
    let file = rescaled(file, "-2", "5");
    let values = values.map(|value| -2. * value + 5.);
    assert_eq!(modality(&file), values);
    assert_eq!(
        grey16(&file, Window::Full),
        stretched(&values, -65529., 65541.)
    );
}

#[test]
fn windows_are_in_the_unit_of_the_modality() {
    let file = rescaled(
        File::grey(&[0, 984, 1024, 1064, 4095], 12, false),
        "1",
        "-1024",
    );
    let values = [-1024., -40., 0., 40., 3071.];
    let linear = windowed(file.clone(), "40", "80");
    assert_eq!(grey16(&linear, Window::Auto), stretched(&values, 0., 79.));
    let exact = linear.clone().text(FUNCTION, b"CS", "LINEAR_EXACT");
    assert_eq!(grey16(&exact, Window::Auto), stretched(&values, 0., 80.));
    let sigmoid = linear.clone().text(FUNCTION, b"CS", "SIGMOID");
    let expected =
        values.map(|x: f64| (65535. / (1. + (-4. * (x - 40.) / 80.).exp())).round() as u16);
    assert_eq!(grey16(&sigmoid, Window::Auto), expected);
    let fixed = Window::Fixed {
        center: 0.,
        width: 80.,
    };
    assert_eq!(grey16(&linear, fixed), stretched(&values, -40., 40.));
    // The first of several windows.
    let several = windowed(file, "40\\400", "80\\2000");
    assert_eq!(
        grey16(&several, Window::Auto),
        grey16(&linear, Window::Auto)
    );
}

/// `numpy.percentile(numpy.arange(3, 3000, 3), [0.5, 99.5])` is 17.97, 2982.03.
#[test]
fn percentiles_match_numpy_and_leave_padding_out() {
    let words: Vec<u16> = (0..1000).map(|i| 3 * i).collect();
    let values: Vec<f64> = words.iter().map(|&word| word.into()).collect();
    let file = File::grey(&words, 12, false).us(0x0028_0120, 0);
    let expected = stretched(&values, 17.97, 2982.03);
    let check = |found: Vec<u16>| {
        let close = found
            .iter()
            .zip(&expected)
            .all(|(a, b)| a.abs_diff(*b) <= 1);
        assert!(close && found.len() == 1000);
    };
    check(grey16(&file, Window::Percentile));
    // A constant image has no range.
    let file = File::grey(&[7; 9], 12, false);
    assert!(
        grey16(&file, Window::Percentile)
            .iter()
            .all(|&grey| grey == 0)
    );
    // 32 bits have no table of counts.
    let mut file = File::shaped("MONOCHROME2", 1, 1000, [32, 32, 31, 0]);
    let wide: Vec<u8> = words
        .iter()
        .flat_map(|&word| (u32::from(word) * 100_000).to_le_bytes())
        .collect();
    file = file.bytes(PIXELS, b"OW", &wide).us(0x0028_0120, 0);
    check(grey16(&file, Window::Percentile));
}

#[test]
fn padding_is_black_in_both_conventions() {
    let padded = |photometric: &str| {
        File::grey(&[63536, 0, 100, 4, 5, 6], 16, true)
            .text(0x0028_0004, b"CS", photometric)
            .words(0x0028_0120, b"SS", &[63536])
    };
    let fixed = Window::Fixed {
        center: 0.,
        width: 200.,
    };
    let plain = stretched(&[-2000., 0., 100., 4., 5., 6.], -100., 100.);
    assert_eq!(grey16(&padded("MONOCHROME2"), fixed), plain);
    let inverted: Vec<u16> = [1.0_f64, 0.5, 0., 0.48, 0.475, 0.47]
        .map(|grey| (grey * 65535.).round() as u16)
        .to_vec();
    let found = grey16(&padded("MONOCHROME1"), fixed);
    assert_eq!((found[0], &found[1..]), (0, &inverted[1..]));
    // A range of padding values, in either order.
    let range =
        padded("MONOCHROME1")
            .words(0x0028_0120, b"SS", &[6])
            .words(0x0028_0121, b"SS", &[4]);
    let found = grey16(&range, fixed);
    assert_eq!((found[0], &found[3..]), (65535, &[0, 0, 0][..]));
}

#[test]
fn bits_beside_the_stored_ones_do_not_count() {
    // 12 bits from bit 13 down, with an overlay in the others.
    let file = File::shaped("MONOCHROME2", 1, 3, [16, 12, 13, 1]);
    let file = file.words(PIXELS, b"OW", &[0x0004 | 1, 0x1FFC | 0xC000, 0x2000]);
    assert_eq!(modality(&file), [1., 2047., -2048.]);
}

#[test]
fn images_of_up_to_8_bits_have_8() {
    let file =
        File::shaped("MONOCHROME1", 1, 4, [8, 8, 7, 0]).bytes(PIXELS, b"OB", &[0, 1, 200, 255]);
    assert_eq!(grey8(&file, Window::Auto), [255, 254, 55, 0]);
    // 6 bits stored, signed.
    let file = File::shaped("MONOCHROME2", 1, 4, [8, 6, 5, 1]).bytes(
        PIXELS,
        b"OB",
        &[0x20, 0x3F, 0, 0x1F],
    );
    assert_eq!(modality(&file), [-32., -1., 0., 31.]);
    assert_eq!(grey8(&file, Window::Auto), [0, 125, 130, 255]);
}

#[test]
fn single_bits_follow_each_other_across_rows_and_frames() {
    let file = File::shaped("MONOCHROME2", 1, 5, [1, 1, 0, 0]).text(0x0028_0008, b"IS", "3");
    let file = file.bytes(PIXELS, b"OB", &[0b0111_0101, 0b0110_0010]);
    let frame = |number| {
        let options = ReadOptions {
            frame: Some(number),
            ..options(Window::Auto)
        };
        dicom::read(&file.write(), &options)
            .unwrap()
            .pixels
            .into_luma8()
            .into_raw()
    };
    assert_eq!(frame(1), [255, 0, 255, 0, 255]);
    assert_eq!(frame(2), [255, 255, 0, 0, 255]);
    assert_eq!(frame(3), [0, 0, 0, 255, 255]);
}

fn lut(descriptor: [u16; 3], entries: &[u16]) -> File {
    File::empty(EXPLICIT)
        .words(0x0028_3002, b"US", &descriptor)
        .words(0x0028_3006, b"OW", entries)
}

#[test]
fn tables_replace_rescaling_and_windows() {
    let file = rescaled(
        windowed(File::grey(&[0, 5, 6, 7, 8, 4095], 12, false), "1", "2"),
        "9",
        "9",
    );
    let file = file.items(0x0028_3000, vec![lut([3, 6, 16], &[100, 200, 1000])]);
    assert_eq!(modality(&file), [100., 100., 100., 200., 1000., 1000.]);
    // The range of a table is that of its entries' bits.
    assert_eq!(
        grey16(&file, Window::Full),
        [100, 100, 100, 200, 1000, 1000]
    );
    let file = file.items(
        0x0028_3010,
        vec![lut([2, 200, 12], &[1, 4095]), lut([1, 0, 12], &[9])],
    );
    assert_eq!(grey16(&file, Window::Auto), [16, 16, 16, 16, 65535, 65535]);
    let values = dicom::voi_values(&file.write(), &options(Window::Auto)).unwrap();
    assert_eq!(values.values, [1., 1., 1., 1., 4095., 4095.]);
    let damaged = |item| refused(&file.clone().items(0x0028_3010, vec![item]));
    assert!(damaged(lut([0, 0, 12], &[1, 2])).contains("65536 entries"));
    assert!(damaged(lut([2, 0, 17], &[1, 2])).contains("17 bits"));
}

/// Values of pydicom 3.0's `apply_voi_lut(apply_modality_lut(array, ds), ds)` for stored values −4, −1, 0, 3 of 3 bits,
/// slope 2, intercept 1: the window's range is that of the modality, from −7 to 7.
#[test]
fn voi_values_cover_the_range_of_the_modality() {
    let file = File::shaped("MONOCHROME2", 1, 4, [8, 3, 2, 1]).bytes(PIXELS, b"OB", &[4, 7, 0, 3]);
    let file = windowed(rescaled(file, "2", "1"), "1", "9");
    let values = dicom::voi_values(&file.write(), &options(Window::Auto)).unwrap();
    assert_eq!(values.values, [-7., -2.625, 0.875, 7.]);
    assert_eq!((values.rows, values.columns, values.samples), (1, 4, 1));
}

#[test]
fn functional_groups_of_a_frame_come_first() {
    let transformation = |slope: &str, intercept: &str| {
        let item = rescaled(File::empty(EXPLICIT), slope, intercept);
        File::empty(EXPLICIT).items(0x0028_9145, vec![item])
    };
    let voi = windowed(File::empty(EXPLICIT), "50", "100").text(FUNCTION, b"CS", "LINEAR_EXACT");
    let measures = File::empty(EXPLICIT).text(0x0028_0030, b"DS", "0.5\\0.25");
    let shared = transformation("1", "0")
        .items(0x0028_9132, vec![voi])
        .items(0x0028_9110, vec![measures]);
    let frames = vec![transformation("2", "1"), File::empty(EXPLICIT)];
    let file = File::grey(&[0, 50, 10, 100], 12, false)
        .us(0x0028_0011, 2)
        .text(0x0028_0008, b"IS", "2")
        .items(0x5200_9229, vec![shared])
        .items(0x5200_9230, frames);
    let frame = |number| {
        let options = ReadOptions {
            frame: Some(number),
            ..options(Window::Auto)
        };
        let values = dicom::modality_values(&file.write(), &options)
            .unwrap()
            .values;
        (values, dicom::read(&file.write(), &options).unwrap())
    };
    let (values, image) = frame(1);
    assert_eq!(values, [1., 101.]);
    assert_eq!(
        image.pixels.into_luma16().into_raw(),
        stretched(&values, 0., 100.)
    );
    let spacing = image.header.pixel_spacing.unwrap();
    assert_eq!((spacing.rows_mm, spacing.columns_mm), (0.5, 0.25));
    assert_eq!(frame(2).0, [10., 100.]);
}

#[test]
fn unusable_windows_are_refused_unless_another_is_chosen() {
    let file = windowed(File::grey(&[0, 4095], 12, false), "40", "0");
    assert!(refused(&file).contains("width 0"), "{}", refused(&file));
    assert_eq!(grey16(&file, Window::Full), [0, 65535]);
    let file = windowed(File::grey(&[0, 4095], 12, false), "wide", "1");
    assert!(refused(&file).contains("\"wide\""), "{}", refused(&file));
    let file = windowed(File::grey(&[0], 12, false), "1", "9").text(FUNCTION, b"CS", "SPLINE");
    assert!(refused(&file).contains("SPLINE"), "{}", refused(&file));
    assert!(refused(&rescaled(File::grey(&[0], 12, false), "0", "1")).contains("Rescale Slope"));
}

#[test]
fn windows_are_written_as_words_or_tables() {
    let read = |json: &str| serde_json::from_str::<Window>(json);
    for (json, window) in [
        ("\"auto\"", Window::Auto),
        ("\"full\"", Window::Full),
        ("\"percentile\"", Window::Percentile),
        (
            r#"{"center":-600.0,"width":1500.0}"#,
            Window::Fixed {
                center: -600.,
                width: 1500.,
            },
        ),
    ] {
        assert_eq!(read(json).unwrap(), window);
        assert_eq!(serde_json::to_string(&window).unwrap(), json);
    }
    for (json, part) in [
        ("\"lung\"", "\"percentile\" or { center"),
        ("3", "expected \"auto\""),
        (r#"{"center":1,"width":0}"#, "greater than 0"),
        (r#"{"center":1}"#, "expected \"auto\""),
    ] {
        let reason = read(json).unwrap_err().to_string();
        assert!(reason.contains(part), "{reason}");
    }
}
