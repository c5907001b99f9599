//! How often a predicted image is read. A test binary of its own, because the system counts reads per process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use formats::checkpoint::{Checkpoint, MapClasses, Meta, Preprocessing};
use image::{ImageBuffer, Luma};
use model::graph::{GraphBuilder, Init, Padding};
use model::store::ParamStore;
use pipeline::predict::Predictor;

const SIDE: usize = 16;

/// A classifier whose class map was trained on masks, so that a prediction consists of overlay, mask and class.
fn checkpoint() -> Checkpoint {
    let mut g = GraphBuilder::new(3);
    let padding = Padding::Symmetric(0);
    let map = g.conv("map", g.input(), 2, 1, 1, padding, true, Init::Normal(0.3));
    g.publish("map", map);
    let pooled = g.global_avg_pool("pool", map);
    let logits = g.linear("head", pooled, 2, Init::Normal(0.5));
    g.publish("logits", logits);
    let graph = g.finish(1).unwrap();
    let preprocessing = Preprocessing::stretched((SIDE, SIDE), vec![0.5; 3], vec![0.25; 3]);
    let mut meta = Meta::new(["WELL", "ILL"], preprocessing);
    meta.map = Some(MapClasses {
        classes: vec!["background".into(), "lung".into()],
        values: vec![0, 255],
    });
    let store = ParamStore::initialized(&graph, 1);
    Checkpoint::new(graph, store, meta)
}

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
