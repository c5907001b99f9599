//! Grey values of the images of a class.

/// Levels that grey values are counted in: those of 8 bits, so that files of 8 bits are counted exactly.
pub(crate) const LEVELS: usize = 256;

/// Number of pixels at each level.
pub(crate) fn levels(values: &[f32]) -> Box<[u32]> {
    let mut counts = vec![0; LEVELS].into_boxed_slice();
    for value in values {
        let level = (value * (LEVELS - 1) as f32).round() as usize;
        counts[level.min(LEVELS - 1)] += 1;
    }
    counts
}

/// The bin of a value in [0, 1] among `bins` equal ones.
pub(crate) fn bin(value: f64, bins: usize) -> usize {
    ((value * bins as f64) as usize).min(bins - 1)
}

/// The mean distribution of the pixels of several images, each of the same weight.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    /// By level, the sum of the images' shares.
    sums: Vec<f64>,
    images: usize,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            sums: vec![0.0; LEVELS],
            images: 0,
        }
    }
}

impl Histogram {
    /// Adds an image's pixels.
    pub(crate) fn add(&mut self, counts: &[u32]) {
        let pixels = counts.iter().map(|&n| f64::from(n)).sum::<f64>().max(1.0);
        for (sum, &count) in self.sums.iter_mut().zip(counts) {
            *sum += f64::from(count) / pixels;
        }
        self.images += 1;
    }

    /// The share of the pixels in each of `bins` equal bins over [0, 1].
    pub(crate) fn shares(&self, bins: usize) -> Vec<f64> {
        let mut shares = vec![0.0; bins];
        let images = self.images.max(1) as f64;
        for (level, sum) in self.sums.iter().enumerate() {
            let value = level as f64 / (LEVELS - 1) as f64;
            shares[bin(value, bins)] += sum / images;
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_any_size_weigh_the_same() {
        let mut histogram = Histogram::default();
        histogram.add(&levels(&[0.0, 1.0]));
        histogram.add(&levels(&[0.5; 100]));
        assert_eq!(histogram.shares(4), [0.25, 0.0, 0.5, 0.25]);
        assert_eq!(levels(&[128.0 / 255.0])[128], 1);
    }
}
