//! Images per second: rotation, flips, zoom and brightness on 224×224×3 f32, on one thread and on two; then also with
//! elastic deformation or a random resized crop.
//!
//! `cargo run --release -p augment --example bench`; `peer.py` does the same in Python.

use std::time::{Duration, Instant};

use augment::{
    AugmentConfig, Augmenter, Elastic, Factor, Flip, RandomResizedCrop, Raster, Rotation,
};
use rayon::prelude::*;

const SIDE: usize = 224;
const BATCH: usize = 16;
const ROUNDS: usize = 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = AugmentConfig {
        rotation: Some(Rotation {
            degrees: 15.0,
            probability: 1.0,
        }),
        flip: Some(Flip {
            horizontal: 0.5,
            vertical: 0.0,
        }),
        zoom: Some(Factor {
            min: 0.9,
            max: 1.1,
            probability: 1.0,
        }),
        brightness: Some(Factor {
            min: 0.8,
            max: 1.2,
            probability: 1.0,
        }),
        ..AugmentConfig::default()
    };
    let elastic = Elastic {
        grid: 3,
        sigma: 10.0,
        probability: 1.0,
    };
    let bent = Augmenter::new(&AugmentConfig {
        elastic: Some(elastic),
        ..config.clone()
    })?;
    let cropped = Augmenter::new(&AugmentConfig {
        random_resized_crop: Some(RandomResizedCrop::default()),
        ..config.clone()
    })?;
    let alone = Augmenter::new(&AugmentConfig {
        random_resized_crop: Some(RandomResizedCrop::default()),
        ..AugmentConfig::default()
    })?;
    let rows = [
        ("augment", &Augmenter::new(&config)?),
        ("with elastic", &bent),
        ("with random_resized_crop", &cropped),
        ("random_resized_crop alone", &alone),
    ];
    let originals: Vec<Raster> = (0..BATCH).map(picture).collect::<Result<_, _>>()?;
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        for (name, augmenter) in rows {
            println!(
                "{name}, {threads} thread(s): {:.0} images/s",
                pool.install(|| best_rate(augmenter, &originals, threads))
            );
        }
    }
    Ok(())
}

/// The best of many short rounds, which is least affected by other load. As in a data loader, and as in `peer.py`,
/// each original is read and the augmented image written elsewhere.
fn best_rate(augmenter: &Augmenter, originals: &[Raster], threads: usize) -> f64 {
    let mut buffers = vec![originals[0].clone(); threads];
    let (mut best, mut seed) = (0.0f64, 0u64);
    for _ in 0..ROUNDS {
        let (start, first) = (Instant::now(), seed);
        while start.elapsed() < Duration::from_millis(50) {
            let shares = originals.par_chunks(BATCH / threads).enumerate();
            buffers
                .par_iter_mut()
                .zip(shares)
                .for_each(|(image, (share, originals))| {
                    for (i, original) in originals.iter().enumerate() {
                        image.data_mut().copy_from_slice(original.data());
                        augmenter.apply(seed + (share * BATCH + i) as u64, image, None);
                    }
                });
            seed += BATCH as u64;
        }
        best = best.max((seed - first) as f64 / start.elapsed().as_secs_f64());
    }
    best
}

/// A test image: bands and a gradient.
fn picture(index: usize) -> Result<Raster, augment::AugmentError> {
    let value = |i: usize| ((i * 31 + index * 17) % 255) as f32 / 255.0;
    Raster::new(SIDE, SIDE, 3, (0..SIDE * SIDE * 3).map(value).collect())
}
