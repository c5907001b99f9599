//! Determines the ranges of quantized inference from images.
//!
//! A [`Calibration`] collects a histogram of each feature map over images that the network was trained on, and chooses
//! the range with the least squared error: a few large values are then clipped where that makes the steps for all others
//! finer (as PyTorch's `HistogramObserver` does). A map for which even that error is large stays `f32`.

use std::iter;

use kernels::quantized;
use rayon::prelude::*;

use crate::engine::{Images, Value};
use crate::graph::{Graph, NodeId, ShapeError};
use crate::network::{Network, NetworkError};
use crate::plan::{Kind, Plan, Step};
use crate::quantization::Ranges;

/// Collects the values of a network's feature maps over images.
#[derive(Clone, Debug)]
pub struct Calibration {
    nodes: Vec<NodeId>,
    histograms: Vec<Histogram>,
}

impl Calibration {
    /// Nothing seen yet, for a network that is given images of `height × width`.
    ///
    /// # Errors
    /// The image size does not suit the network.
    pub fn new(graph: &Graph, height: usize, width: usize) -> Result<Self, ShapeError> {
        let nodes = coded_nodes(graph, (1, height, width))?;
        let histograms = vec![Histogram::default(); nodes.len()];
        Ok(Calibration { nodes, histograms })
    }

    /// Adds the values for a batch of images; the network must compute in f32.
    ///
    /// # Errors
    /// As [`Network::infer`].
    pub fn observe(&mut self, network: &Network, images: Images<'_>) -> Result<(), NetworkError> {
        let values = network.values(images, &self.nodes)?;
        let pairs = self.histograms.par_iter_mut().zip(&values);
        pairs.for_each(|(histogram, value): (&mut Histogram, &Value)| histogram.add(&value.data));
        Ok(())
    }

    /// The range of each value of which codes are a good representation.
    pub fn ranges(&self, graph: &Graph) -> Ranges {
        let pairs = self.nodes.par_iter().zip(&self.histograms);
        let named = pairs.filter_map(|(id, histogram)| {
            let fit = histogram.fit();
            let good = fit.range[0] < fit.range[1] && fit.noise <= MAX_NOISE;
            good.then(|| (graph.node(*id).name.clone(), fit.range))
        });
        let named: Vec<_> = named.collect();
        named.into_iter().collect()
    }
}

/// Squared error of the codes over the squared values above which a value stays `f32`: −26 dB. Uniformly distributed
/// values have 1.5e-5, values with long tails some 1e-3.
const MAX_NOISE: f64 = 2.5e-3;

/// The nodes whose values may be coded, the images among them: in every combination of outputs that is computed, as that
/// decides which operations are fused.
fn coded_nodes(graph: &Graph, batch: (usize, usize, usize)) -> Result<Vec<NodeId>, ShapeError> {
    let published: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let usual = ["logits", "map"]
        .iter()
        .filter_map(|name| graph.output(name));
    let mut coded = vec![false; graph.nodes.len()];
    for outputs in [usual.collect(), published] {
        let plan = Plan::quantized(graph, &vec![true; graph.nodes.len()], batch, &outputs)?;
        for id in iter::once(NodeId::INPUT).chain(plan.steps.iter().map(Step::last)) {
            coded[id.index()] |= plan.kinds[id.index()] == Kind::U8;
        }
    }
    Ok(graph.ids().filter(|id| coded[id.index()]).collect())
}

/// Bins of a histogram, over a range that is symmetric about zero.
const BINS: usize = 4096;

/// Counts of values in equal bins over `[-limit, limit]`. The limit is a power of two, so that it can be doubled by
/// merging pairs of bins, and the result does not depend on the order of the images.
#[derive(Clone, Debug)]
struct Histogram {
    limit: f32,
    counts: Vec<u64>,
    least: f32,
    largest: f32,
}

/// The range that codes should cover.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fit {
    range: [f32; 2],
    /// Squared error over squared values.
    noise: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            limit: f32::MIN_POSITIVE,
            counts: vec![0; BINS],
            least: 0.0,
            largest: 0.0,
        }
    }
}

impl Histogram {
    fn add(&mut self, values: &[f32]) {
        let (least, largest) = quantized::range(values);
        if !(least.is_finite() && largest.is_finite()) {
            return; // inference reports such values itself
        }
        self.least = self.least.min(least);
        self.largest = self.largest.max(largest);
        self.widen(largest.max(-least));
        let half = (BINS / 2) as i32;
        let scale = half as f32 / self.limit;
        for value in values.iter().filter(|value| **value != 0.0) {
            // Scaling by a power of two is exact, and so is the bin.
            let bin = (value * scale).floor() as i32 + half;
            self.counts[bin.clamp(0, 2 * half - 1) as usize] += 1;
        }
    }

    /// Doubles the limit until it is at least `largest`.
    fn widen(&mut self, largest: f32) {
        while self.limit < largest && self.limit < f32::MAX / 2.0 {
            self.limit *= 2.0;
            let old = std::mem::replace(&mut self.counts, vec![0; BINS]);
            for (bin, count) in old.into_iter().enumerate() {
                self.counts[BINS / 4 + bin / 2] += count;
            }
        }
    }

    /// The range with the least squared error among shares of the one that was seen.
    fn fit(&self) -> Fit {
        let moments = Moments::of(self);
        let best = candidates(self.least)
            .flat_map(|least| candidates(self.largest).map(move |largest| [least, largest]))
            .map(|range| (range, moments.error(range)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let (range, error) = best.unwrap_or(([0.0; 2], 0.0));
        let power = moments.total.squares.max(f64::MIN_POSITIVE);
        Fit {
            range,
            noise: error / power,
        }
    }
}

/// Shares of a limit that are tried, in steps of 1/48 from 1/4 on; zero alone if it is zero.
fn candidates(limit: f32) -> impl Iterator<Item = f32> + Clone {
    const STEPS: u16 = 48;
    let from = if limit == 0.0 { STEPS } else { STEPS / 4 };
    (from..=STEPS).map(move |k| limit * f32::from(k) / f32::from(STEPS))
}

/// Number, sum and sum of squares of the values below the start of each bin.
struct Moments {
    below: Vec<Moment>,
    total: Moment,
    limit: f64,
}

#[derive(Clone, Copy, Default)]
struct Moment {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn of(histogram: &Histogram) -> Self {
        let limit = f64::from(histogram.limit);
        let mut total = Moment::default();
        let mut below = vec![];
        for (bin, count) in histogram.counts.iter().enumerate() {
            below.push(total);
            let centre = (bin as f64 + 0.5) / (BINS / 2) as f64 * limit - limit;
            let count = *count as f64;
            total.count += count;
            total.sum += count * centre;
            total.squares += count * centre * centre;
        }
        below.push(total);
        Moments {
            below,
            total,
            limit,
        }
    }

    /// Squared error of values rounded to 255 equal steps over a range, and clipped to it.
    fn error(&self, [least, largest]: [f32; 2]) -> f64 {
        let (least, largest) = (f64::from(least), f64::from(largest));
        let low = self.below[self.bin(least).floor() as usize];
        let high = self.below[self.bin(largest).ceil() as usize];
        let step = (largest - least) / 255.0;
        let above = Moment {
            count: self.total.count - high.count,
            sum: self.total.sum - high.sum,
            squares: self.total.squares - high.squares,
        };
        (high.count - low.count) * step * step / 12.0 + low.about(least) + above.about(largest)
    }

    /// Position of a value in bins, within the histogram.
    fn bin(&self, value: f64) -> f64 {
        let bin = (value / self.limit + 1.0) * (BINS / 2) as f64;
        bin.clamp(0.0, BINS as f64)
    }
}

impl Moment {
    /// Sum of squared distances from `x`.
    fn about(self, x: f64) -> f64 {
        (self.squares - 2.0 * x * self.sum + x * x * self.count).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(batches: &[&[f32]]) -> Histogram {
        let mut histogram = Histogram::default();
        batches.iter().for_each(|batch| histogram.add(batch));
        histogram
    }

    /// Values at equal steps between two limits.
    fn even(least: f32, largest: f32, n: usize) -> Vec<f32> {
        let step = (largest - least) / (n - 1) as f32;
        (0..n).map(|i| least + step * i as f32).collect()
    }

    #[test]
    fn evenly_spread_values_keep_their_whole_range() {
        let fit = histogram(&[&even(-1.0, 3.0, 100_000)]).fit();
        assert_eq!(fit.range, [-1.0, 3.0]);
        // step² / 12 over the mean square: (4/255)² / 12 / 7.33·…
        let expected = (4.0f64 / 255.0).powi(2) / 12.0 / (28.0 / 12.0);
        assert!((fit.noise / expected - 1.0).abs() < 0.02, "{fit:?}");
    }

    #[test]
    fn one_outlier_among_many_values_is_clipped_but_not_among_few() {
        let mut values = even(0.0, 1.0, 1_000_000);
        values.push(4.0);
        let clipped = histogram(&[&values]).fit().range[1];
        assert!((1.0..2.0).contains(&clipped), "{clipped}");
        let mut few = even(0.0, 1.0, 10);
        few.push(4.0);
        assert_eq!(histogram(&[&few]).fit().range, [0.0, 4.0]);
    }

    #[test]
    fn neither_the_order_nor_the_division_into_batches_matters() {
        let (small, large) = (even(-0.1, 0.2, 1000), even(-7.0, 100.0, 1000));
        let forward = histogram(&[&small, &large]);
        let backward = histogram(&[&large, &small]);
        let joined = histogram(&[&[&small[..], &large].concat()]);
        let all = small.iter().chain(&large).filter(|value| **value != 0.0);
        assert_eq!(forward.counts.iter().sum::<u64>(), all.count() as u64);
        // Doubling the limit merges bins, and never splits one.
        let (f, b, j) = (forward.fit(), backward.fit(), joined.fit());
        assert!((f, b) == (j, j), "{f:?} {b:?} {j:?}");
    }

    #[test]
    fn zeros_alone_give_an_empty_range_and_what_is_not_finite_none() {
        assert_eq!(histogram(&[&[0.0; 8]]).fit().range, [0.0; 2]);
        assert_eq!(histogram(&[&[f32::INFINITY, 1.0]]).fit().range, [0.0; 2]);
        assert_eq!(histogram(&[&[f32::NAN, 1.0]]).fit().range, [0.0, 1.0]);
    }
}
