//! Resizing beside Pillow's (`pillow.json`, made by `pillow.py`).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use imaging::{Decoder, Fit, Frame};

#[derive(serde::Deserialize)]
struct PillowCase {
    from: [usize; 3],
    to: [usize; 2],
    values: Vec<u8>,
}

#[test]
fn resizing_is_pillows() {
    let cases: Vec<PillowCase> = serde_json::from_str(include_str!("pillow.json")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for PillowCase {
        from: [height, width, channels],
        to,
        values,
    } in cases
    {
        let at = |i: usize| (i / channels / width, i / channels % width, i % channels);
        let pixel = |i: usize| {
            let (y, x, c) = at(i);
            ((x * 7 + y * 13 + x * y + c * 50) % 256) as u8
        };
        let pixels: Vec<u8> = (0..height * width * channels).map(pixel).collect();
        let color = if channels == 1 {
            image::ColorType::L8
        } else {
            image::ColorType::Rgb8
        };
        let path = dir.path().join("pattern.png");
        image::save_buffer(&path, &pixels, width as u32, height as u32, color).unwrap();
        let frame = Frame {
            height: to[0],
            width: to[1],
            channels,
            fit: Fit::Stretch,
        };
        let got = Decoder::default().framed(&path, frame).unwrap();
        assert_eq!(got.placement.original, (height, width));
        let got = got
            .image
            .values()
            .into_iter()
            .map(|v| (v * 255.0).round() as i32);
        let worst = got
            .zip(&values)
            .map(|(a, &b)| (a - i32::from(b)).abs())
            .max()
            .unwrap();
        assert!(
            worst <= 1,
            "{height}x{width}x{channels} -> {to:?}: off by {worst}"
        );
    }
}
