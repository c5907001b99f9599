//! The pixels of one image by probability, inside and outside its mask.

use crate::check;
use crate::error::{MetricsError, Result};

/// Counts of an image's pixels by their probability, inside and outside the mask, so that any number of pixels is kept in
/// 8 bytes per bin.
///
/// Bin k of n has the probabilities from k / n up to, but not including, (k + 1) / n, as doubles; a probability of 1
/// has a bin of its own. Counts of pixels from one of these edges on are exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PixelHistogram {
    /// Pixels outside and inside, by bin.
    counts: Vec<[u32; 2]>,
    added: usize,
}

impl PixelHistogram {
    /// An image without pixels. A thousand bins distinguish probabilities by a tenth of a percent.
    ///
    /// # Errors
    /// No bins, or more than 65,536.
    pub fn new(bins: usize) -> Result<Self> {
        check::count_in("bins", bins, 65_536, "1 to 65,536; 1000 is usual")?;
        Ok(Self {
            counts: vec![[0; 2]; bins + 1],
            added: 0,
        })
    }

    /// Adds a pixel, which is inside the mask or not. Of pixels whose class is unknown nothing can be said: leave them
    /// out.
    ///
    /// # Errors
    /// A value that is not a probability.
    pub fn add(&mut self, probability: f64, inside: bool) -> Result<()> {
        if !(0.0..=1.0).contains(&probability) {
            return Err(MetricsError::NotAProbability {
                what: "pixel",
                index: self.added,
                value: probability,
            });
        }
        let bins = self.bins();
        let mut bin = (probability * bins as f64) as usize;
        // The product may be rounded over an edge.
        if probability < edge(bin, bins) {
            bin -= 1;
        } else if bin < bins && probability >= edge(bin + 1, bins) {
            bin += 1;
        }
        let count = &mut self.counts[bin][usize::from(inside)];
        *count = count.saturating_add(1);
        self.added += 1;
        Ok(())
    }

    /// Number of bins, without the one for a probability of 1.
    pub fn bins(&self) -> usize {
        self.counts.len() - 1
    }

    /// Number of pixels outside and inside the mask.
    pub fn pixels(&self) -> [u64; 2] {
        self.reaching().last().copied().unwrap_or_default()
    }

    /// Number of pixels outside and inside the mask from each edge on, from the edge at 1 down to the one at 0.
    pub(super) fn reaching(&self) -> Vec<[u64; 2]> {
        let counts = self.counts.iter().rev();
        let sums = counts.scan([0; 2], |sums, count| {
            *sums = [0, 1].map(|side| sums[side] + u64::from(count[side]));
            Some(*sums)
        });
        sums.collect()
    }
}

/// The least probability of a bin.
pub(super) fn edge(bin: usize, bins: usize) -> f64 {
    bin as f64 / bins as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use random::Rng;

    #[test]
    fn a_pixel_is_counted_from_an_edge_on_if_its_probability_reaches_it() {
        let mut rng = Rng::stream(51, 0);
        for bins in [1, 7, 49, 100, 1000, 65_536] {
            let at_edge = |rng: &mut Rng| {
                let near = edge(rng.below(bins + 1), bins);
                [near, near.next_down().max(0.0), near.next_up().min(1.0)]
            };
            let mut pixels: Vec<f64> = (0..200).flat_map(|_| at_edge(&mut rng)).collect();
            pixels.extend((0..200).map(|_| rng.unit()));
            let mut histogram = PixelHistogram::new(bins).unwrap();
            pixels
                .iter()
                .for_each(|p| histogram.add(*p, *p > 0.3).unwrap());
            let reaching = histogram.reaching();
            for _ in 0..200 {
                let bin = rng.below(bins + 1);
                let reached = pixels.iter().filter(|p| **p >= edge(bin, bins));
                let inside = reached.clone().filter(|p| **p > 0.3).count() as u64;
                let expected = [reached.count() as u64 - inside, inside];
                assert_eq!(reaching[bins - bin], expected, "{bin} of {bins}");
            }
            assert_eq!(histogram.pixels().iter().sum::<u64>(), 800);
        }
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        let mut histogram = PixelHistogram::new(10).unwrap();
        histogram.add(1.0, true).unwrap();
        for value in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = histogram.add(value, false).unwrap_err().to_string();
            assert!(error.contains("pixel[1]"), "{error}");
        }
        assert!(PixelHistogram::new(0).is_err() && PixelHistogram::new(1 << 20).is_err());
    }
}
