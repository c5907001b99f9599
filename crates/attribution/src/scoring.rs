//! The explained score of many images.

use model::engine::{Images, OutputGradient, Sensitivities};
use model::graph::{Hwc, NodeId};
use model::network::Network;

use crate::error::{Result, finite};
use crate::target::Target;

/// Largest number of images that are computed together.
pub(crate) const MOST_AT_ONCE: usize = 1024;

/// A network and the score that is explained.
#[derive(Clone, Copy)]
pub(crate) struct Scored<'a> {
    pub(crate) network: &'a Network,
    pub(crate) target: Target,
}

impl Scored<'_> {
    /// Number of the network's class scores.
    fn classes(self) -> Result<usize> {
        let graph = self.network.graph();
        Ok(graph.node(self.network.output("logits")?).channels)
    }

    /// The explained score of each image of a batch, `[n, h, w, c]`.
    pub(crate) fn scores(self, images: &[f32], shape: Hwc) -> Result<Vec<f64>> {
        let weights = self.target.weights(self.classes()?)?;
        let dot = |scores: &[f32]| {
            let terms = scores.iter().zip(&weights);
            terms.map(|(z, w)| f64::from(*z) * f64::from(*w)).sum()
        };
        self.map_logits(images, shape, dot)
    }

    /// The target's probability for each image of a batch.
    pub(crate) fn probabilities(self, images: &[f32], shape: Hwc) -> Result<Vec<f64>> {
        self.target.weights(self.classes()?)?; // the target's classes exist
        self.map_logits(images, shape, |scores| self.target.probability(scores))
    }

    fn map_logits(
        self,
        images: &[f32],
        shape: Hwc,
        of: impl Fn(&[f32]) -> f64,
    ) -> Result<Vec<f64>> {
        let images = batch(images, shape);
        let values = self.network.infer(images, &["logits"])?;
        let mut found = Vec::with_capacity(images.shape.n);
        for value in values {
            finite("the network's output", &value.data)?;
            found.extend(value.data.chunks(value.shape.c).map(&of));
        }
        Ok(found)
    }

    /// Gradients of the explained score of each image of a batch with respect to the values of `at`.
    pub(crate) fn sensitivities(
        self,
        images: &[f32],
        shape: Hwc,
        at: &[NodeId],
    ) -> Result<Sensitivities> {
        let images = batch(images, shape);
        let gradient = self.target.weights(self.classes()?)?.repeat(images.shape.n);
        let of = OutputGradient {
            of: self.network.output("logits")?,
            gradient: &gradient,
        };
        let found = self.network.sensitivities(images, of, at)?;
        for sensitivity in &found.at {
            finite("a gradient", &sensitivity.gradient)?;
        }
        Ok(found)
    }
}

fn batch(images: &[f32], shape: Hwc) -> Images<'_> {
    Images {
        data: images,
        shape: shape.batch(images.len() / shape.len().max(1)),
    }
}
