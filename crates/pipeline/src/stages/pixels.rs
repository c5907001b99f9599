//! Changes of an image in memory.

use augment::{Draw, Raster};
use dataset::{Sample, SampleKey};

/// Applies chosen augmentations; what is random in them depends on the key.
pub(super) fn drawn(sample: &mut Sample, key: SampleKey, draw: Draw) {
    let (h, w, c) = (sample.height, sample.width, sample.channels);
    let draw = Draw {
        seed: key.rng_seed(),
        ..draw
    };
    // A sample always matches its shape.
    if let Ok(mut image) = Raster::new(h, w, c, std::mem::take(&mut sample.image)) {
        draw.apply(&mut image, None);
        sample.image = image.into_data();
    }
}

/// The means of `size` (rows, columns) cells of equal area, interpolated bilinearly back to the image's size.
pub(super) fn coarse(sample: &mut Sample, size: (usize, usize)) {
    let size = (size.0.min(sample.height), size.1.min(sample.width));
    let cells = thumbnail(sample, size);
    let [rows, columns] =
        [(sample.height, size.0), (sample.width, size.1)].map(|(n, cells)| weights(n, cells));
    let channels = sample.channels;
    for (i, pixel) in sample.image.chunks_mut(channels).enumerate() {
        let (y, x) = (rows[i / sample.width], columns[i % sample.width]);
        for (channel, value) in pixel.iter_mut().enumerate() {
            let at =
                |row: usize, column: usize| cells[(row * size.1 + column) * channels + channel];
            let mix = |row: usize| at(row, x.0) * (1.0 - x.2) + at(row, x.1) * x.2;
            *value = mix(y.0) * (1.0 - y.2) + mix(y.1) * y.2;
        }
    }
}

/// The mean of each of `rows × columns` cells, channels last.
pub(super) fn thumbnail(sample: &Sample, (rows, columns): (usize, usize)) -> Vec<f32> {
    let channels = sample.channels;
    let (mut sums, mut counts) = (
        vec![0.0_f64; rows * columns * channels],
        vec![0.0_f64; rows * columns],
    );
    for (i, pixel) in sample.image.chunks(channels).enumerate() {
        let (y, x) = (i / sample.width, i % sample.width);
        let cell = (y * rows / sample.height) * columns + x * columns / sample.width;
        counts[cell] += 1.0;
        for (sum, value) in sums[cell * channels..].iter_mut().zip(pixel) {
            *sum += f64::from(*value);
        }
    }
    let mean = |(i, sum): (usize, f64)| (sum / counts[i / channels]) as f32;
    sums.into_iter().enumerate().map(mean).collect()
}

/// For each of `n` pixels the two cells it lies between, and the share of the second.
fn weights(n: usize, cells: usize) -> Vec<(usize, usize, f32)> {
    let weight = |i: usize| {
        let at = ((i as f32 + 0.5) * cells as f32 / n as f32 - 0.5).max(0.0);
        let first = (at as usize).min(cells - 1);
        (first, (first + 1).min(cells - 1), at - first as f32)
    };
    (0..n).map(weight).collect()
}

/// Sets the pixels that `blank` names by row and column to a grey value.
pub(super) fn blanked(sample: &mut Sample, value: f32, blank: impl Fn(usize, usize) -> bool) {
    let width = sample.width;
    for (i, pixel) in sample.image.chunks_mut(sample.channels).enumerate() {
        if blank(i / width, i % width) {
            pixel.fill(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imaging::{Fit, Placement};

    fn ramp(side: usize) -> Sample {
        Sample {
            image: (0..side * side)
                .map(|i| (i % side) as f32 / side as f32)
                .collect(),
            mask: None,
            height: side,
            width: side,
            channels: 1,
            label: 0,
            row: 0,
            placement: Placement::new(Fit::Stretch, (side, side), (side, side)),
        }
    }

    #[test]
    fn a_coarse_ramp_stays_a_ramp_inside() {
        let mut sample = ramp(32);
        let before = sample.image.clone();
        coarse(&mut sample, (8, 8));
        for (i, (after, before)) in sample.image.iter().zip(&before).enumerate() {
            let inside = (2..30).contains(&(i % 32));
            assert!(
                !inside || (after - before).abs() < 1e-5,
                "{i}: {after} {before}"
            );
        }
        // As many cells as pixels: unchanged.
        coarse(&mut sample, (32, 32));
        let again = sample.image.clone();
        coarse(&mut sample, (99, 99));
        assert_eq!(sample.image, again);
    }

    #[test]
    fn thumbnails_are_means_of_cells() {
        let sample = ramp(4);
        assert_eq!(thumbnail(&sample, (1, 2)), [0.125, 0.625]);
    }

    #[test]
    fn blanks_what_is_named() {
        let mut sample = ramp(2);
        blanked(&mut sample, 9.0, |y, x| y == 1 && x == 0);
        assert_eq!(sample.image, [0.0, 0.5, 9.0, 0.5]);
    }
}
