//! Colour images (PS3.3, C.7.6.3.1).
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use crate::support::*;
use dicom::Window;

const PLANAR: u32 = 0x0028_0006;

#[test]
fn rgb_by_pixel_and_by_plane() {
    let file = File::shaped("RGB", 1, 2, [8, 8, 7, 0]);
    let by_pixel = file
        .clone()
        .us(PLANAR, 0)
        .bytes(PIXELS, b"OB", &[1, 2, 3, 4, 5, 6]);
    let by_plane = file.us(PLANAR, 1).bytes(PIXELS, b"OB", &[1, 4, 2, 5, 3, 6]);
    assert_eq!(rgb8(&by_pixel), [1, 2, 3, 4, 5, 6]);
    assert_eq!(rgb8(&by_plane), [1, 2, 3, 4, 5, 6]);
    assert_eq!(modality(&by_plane), [1., 2., 3., 4., 5., 6.]);
    // Colours have no window.
    assert_eq!(
        read(&by_pixel, Window::Percentile).pixels.into_bytes(),
        [1, 2, 3, 4, 5, 6]
    );
}

#[test]
fn more_than_8_bits_keep_the_upper_ones() {
    let file =
        File::shaped("RGB", 1, 1, [16, 16, 15, 0]).words(PIXELS, b"OW", &[0xABCD, 0x00FF, 0xFFFF]);
    assert_eq!(rgb8(&file), [0xAB, 0, 0xFF]);
    let file = File::shaped("RGB", 1, 1, [16, 10, 9, 0]).words(PIXELS, b"OW", &[1023, 4, 0]);
    assert_eq!(rgb8(&file), [255, 1, 0]);
    assert_eq!(modality(&file), [1023., 4., 0.]);
}

/// R = Y + 1.402 (Cr − 128), G = Y − 0.344136 (Cb − 128) − 0.714136 (Cr − 128), B = Y + 1.772 (Cb − 128).
fn of_ybr(ybr: &[u8]) -> Vec<u8> {
    let rgb = |p: &[u8]| {
        let [y, cb, cr] = [
            f64::from(p[0]),
            f64::from(p[1]) - 128.,
            f64::from(p[2]) - 128.,
        ];
        [
            y + 1.402 * cr,
            y - 0.344136 * cb - 0.714136 * cr,
            y + 1.772 * cb,
        ]
        .map(|v| v.round().clamp(0., 255.) as u8)
    };
    ybr.chunks(3).flat_map(rgb).collect()
}

#[test]
fn ybr_becomes_rgb() {
    let ybr: Vec<u8> = (0..=255_u8)
        .flat_map(|i| [i, i.wrapping_mul(37), i.wrapping_mul(91)])
        .collect();
    let file = File::shaped("YBR_FULL", 16, 16, [8, 8, 7, 0]).bytes(PIXELS, b"OB", &ybr);
    assert_eq!(rgb8(&file), of_ybr(&ybr));
    // Y Y Cb Cr
    let packed = [10, 20, 100, 200, 30, 40, 150, 128];
    let file = File::shaped("YBR_FULL_422", 1, 4, [8, 8, 7, 0]).bytes(PIXELS, b"OB", &packed);
    let whole = [10, 100, 200, 20, 100, 200, 30, 150, 128, 40, 150, 128];
    assert_eq!(rgb8(&file), of_ybr(&whole));
    let odd = File::shaped("YBR_FULL_422", 2, 3, [8, 8, 7, 0]).bytes(PIXELS, b"OB", &[0; 12]);
    assert!(refused(&odd).contains("even"), "{}", refused(&odd));
}

fn palette(descriptor: [u16; 3], entries: [&[u16]; 3]) -> File {
    let mut file =
        File::shaped("PALETTE COLOR", 1, 4, [8, 8, 7, 0]).bytes(PIXELS, b"OB", &[0, 10, 11, 200]);
    for (i, entries) in (0..).zip(entries) {
        file =
            file.words(0x0028_1101 + i, b"US", &descriptor)
                .words(0x0028_1201 + i, b"OW", entries);
    }
    file
}

#[test]
fn palettes_map_indices_to_colours() {
    // From index 10 on; indices beyond the ends take the first or last entry.
    let file = palette([2, 10, 16], [&[0x1234, 0xFF00], &[0, 0x8000], &[0xFFFF, 1]]);
    assert_eq!(
        rgb8(&file),
        [0x12, 0, 255, 0x12, 0, 255, 255, 128, 0, 255, 128, 0]
    );
    assert_eq!(modality(&file)[6..9], [65280., 32768., 1.]);
    // Entries of 8 bits in bytes, and in words that state 16 bits.
    let bytes = palette([2, 10, 8], [&[0x0201], &[0x0403], &[0x0605]]);
    assert_eq!(rgb8(&bytes)[3..9], [1, 3, 5, 2, 4, 6]);
    let words = palette([2, 10, 16], [&[1, 2], &[3, 4], &[5, 200]]);
    assert_eq!(rgb8(&words)[3..9], [1, 3, 5, 2, 4, 200]);
}

#[test]
fn palettes_may_consist_of_segments() {
    // Discrete 0, then a line of two entries to 200 · 257.
    let mut file = palette([3, 10, 16], [&[], &[], &[]]);
    for i in 0..3 {
        file = file.words(0x0028_1221 + i, b"OW", &[0, 1, 0, 1, 2, 51_400]);
    }
    assert_eq!(rgb8(&file)[3..], [0, 0, 0, 100, 100, 100, 200, 200, 200]);
    let damaged = file.words(0x0028_1222, b"OW", &[0, 9, 0]);
    assert!(
        refused(&damaged).contains("(0028,1222)"),
        "{}",
        refused(&damaged)
    );
}
