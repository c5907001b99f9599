//! Images a second: rotate, flip, zoom and brightness on 224×224×3 f32, on one thread and on two.
//!
//! `cargo run --release -p augment --example bench`, beside `peer.py`, which does the same in Python.

use std::time::{Duration, Instant};

use augment::{AugmentConfig, Augmenter, Factor, Flip, Raster, Rotation};

const SIDE: usize = 224;
const BATCH: usize = 64;
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let augmenter = Augmenter::new(&AugmentConfig {
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
    })?;
    let originals: Vec<Raster> = (0..BATCH).map(picture).collect::<Result<_, _>>()?;
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        println!(
            "augment, {threads} thread(s): {:.0} images/s",
            pool.install(|| best_rate(&augmenter, &originals))?
        );
    }
    Ok(())
}

/// The best of a few rounds of half a second. Copying the originals is part of the work, as in the peers.
fn best_rate(augmenter: &Augmenter, originals: &[Raster]) -> Result<f64, augment::AugmentError> {
    use rayon::prelude::*;
    let mut batch = originals.to_vec();
    let (mut best, mut seed) = (0.0f64, 0u64);
    for _ in 0..ROUNDS {
        let (start, mut images) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(500) {
            let seeds: Vec<u64> = (seed..seed + BATCH as u64).collect();
            batch
                .par_iter_mut()
                .zip(originals)
                .for_each(|(to, from)| to.data_mut().copy_from_slice(from.data()));
            augmenter.apply_batch(&seeds, &mut batch)?;
            (seed, images) = (seed + BATCH as u64, images + BATCH);
        }
        best = best.max(images as f64 / start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Some picture: bands and a gradient.
fn picture(index: usize) -> Result<Raster, augment::AugmentError> {
    let value = |i: usize| ((i * 31 + index * 17) % 255) as f32 / 255.0;
    Raster::new(SIDE, SIDE, 3, (0..SIDE * SIDE * 3).map(value).collect())
}
