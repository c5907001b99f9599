//! How often a predicted image is read. A test binary of its own, because the system counts reads per process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod small;

use std::fs;

use image::{ImageBuffer, Luma};
use pipeline::predict::Predictor;
use small::checkpoint;

/// Bytes that the process has read from files.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_predicted_image_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let (model, image) = (
        folder.path().join("model.safetensors"),
        folder.path().join("noise.png"),
    );
    checkpoint().save(&model).unwrap();
    // Noise, which PNG cannot compress.
    let mut state = 1_u64;
    let noise = ImageBuffer::from_fn(600, 500, |_, _| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        Luma([(state >> 48) as u16])
    });
    noise.save(&image).unwrap();
    let predictor = Predictor::open(&model).unwrap();
    let (size, before) = (fs::metadata(&image).unwrap().len(), bytes_read());
    let prediction = predictor
        .predict(&image, &folder.path().join("out"))
        .unwrap();
    let read = bytes_read() - before;
    assert!(size > 500_000, "{size}");
    assert!((size..size + size / 4).contains(&read), "{read} of {size}");
    assert_eq!(prediction.original_size, [500, 600]);
    assert!(prediction.overlay.is_some() && prediction.segmentation.is_some());
}
