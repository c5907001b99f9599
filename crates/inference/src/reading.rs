//! Conversion of a pixel's scores on the class map to probabilities.

use formats::checkpoint::Preprocessing;
use model::graph::{Graph, Hwc, Op};
use model::network::Network;

/// How a pixel's class scores are converted to a probability.
#[derive(Clone, Debug, PartialEq)]
pub enum MapReading {
    /// The class-activation head is linear in the mean of the map, so the same matrix applied to a pixel gives scores
    /// whose mean over the image is the score of the image (a class activation map, Zhou et al. 2016). The channels of
    /// the map themselves need not correspond to the classes, because the matrix may permute or mix them.
    Head {
        /// `[channels of the map, classes]`.
        weight: Vec<f32>,
        /// One value per class.
        bias: Vec<f32>,
    },
    /// A map trained on masks: its losses are computed on the softmax of its channels, or on one channel's log-odds
    /// against the others, which is equivalent.
    Softmax,
    /// There is no map.
    None,
}

impl MapReading {
    pub(crate) fn of(
        graph: &Graph,
        network: &Network,
        image: &Preprocessing,
        supervised: bool,
    ) -> Self {
        let Some(map) = graph.output("map") else {
            return MapReading::None;
        };
        // A network without padding has a map smaller than its input, which cannot be overlaid on the image.
        let shapes = graph.shapes(image.height, image.width);
        let as_large = |shape: &Hwc| (shape.h, shape.w) == (image.height, image.width);
        if !shapes.is_ok_and(|shapes| as_large(&shapes[map.index()])) {
            return MapReading::None;
        }
        if supervised {
            return MapReading::Softmax;
        }
        let store = network.store();
        let linear = graph.nodes.iter().find(|node| {
            let pooled = node.inputs.first().map(|id| graph.node(*id));
            matches!(node.op, Op::Linear { .. })
                && pooled.is_some_and(|p| p.op == Op::GlobalAvgPool && p.inputs == [map])
        });
        match linear.map(|node| node.params.as_slice()) {
            Some([weight, bias]) => MapReading::Head {
                weight: store.get(*weight).to_vec(),
                bias: store.get(*bias).to_vec(),
            },
            // No loss has ever reached this map.
            _ => MapReading::None,
        }
    }

    /// The probability of one class at each pixel: `map` is `[…, channels]`, the result `[…]`.
    pub(crate) fn probabilities(&self, map: &[f32], channels: usize, class: usize) -> Vec<f32> {
        let pixels = map.chunks(channels.max(1));
        match self {
            MapReading::Head { weight, bias } => pixels
                .map(|pixel| head_probability(pixel, weight, bias, class))
                .collect(),
            MapReading::Softmax => pixels
                .map(|pixel| softmax(pixel).get(class).copied().unwrap_or(0.0))
                .collect(),
            MapReading::None => vec![],
        }
    }
}

fn head_probability(pixel: &[f32], weight: &[f32], bias: &[f32], class: usize) -> f32 {
    let score = |j: usize| {
        bias[j]
            + pixel
                .iter()
                .enumerate()
                .map(|(i, x)| x * weight[i * bias.len() + j])
                .sum::<f32>()
    };
    let own = score(class);
    // 1 / Σ exp(score − own): the softmax without overflow where it matters.
    1.0 / (0..bias.len()).map(|j| (score(j) - own).exp()).sum::<f32>()
}

pub(crate) fn softmax(scores: &[f32]) -> Vec<f32> {
    let top = scores.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let exps: Vec<f32> = scores.iter().map(|x| (x - top).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.into_iter().map(|e| e / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_applies_to_each_pixel() {
        // Two pixels of two channels under a head that swaps the channels.
        let reading = MapReading::Head {
            weight: vec![0.0, 2.0, 1.0, 0.0],
            bias: vec![0.5, -0.5],
        };
        let map = [3.0, -1.0, 1.0, 2.0];
        let p = reading.probabilities(&map, 2, 1);
        let score = |m: &[f32]| (2.0 * m[0] - 0.5) - (m[1] + 0.5);
        let expected = [score(&map[..2]), score(&map[2..])].map(|x| 1.0 / (1.0 + (-x).exp()));
        assert!(
            p.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{p:?} {expected:?}"
        );
    }

    #[test]
    fn extreme_scores_stay_probabilities() {
        let reading = MapReading::Head {
            weight: vec![1.0, 0.0, 0.0, 1.0],
            bias: vec![0.0, 0.0],
        };
        assert_eq!(
            reading.probabilities(&[500.0, -500.0, -500.0, 500.0], 2, 1),
            [0.0, 1.0]
        );
    }

    #[test]
    fn a_map_trained_on_masks_uses_softmax() {
        let p = MapReading::Softmax.probabilities(&[2.0, 0.0, 0.0, 3f32.ln()], 2, 1);
        assert!((p[1] - 0.75).abs() < 1e-6 && (p[0] - 1.0 / (1.0 + 2f32.exp())).abs() < 1e-6);
        assert_eq!(softmax(&[500.0, -500.0]), [1.0, 0.0]);
    }
}
