//! Integrated gradients: the score's gradient along the way from a baseline to the image.

use model::graph::{Hwc, NodeId};
use model::network::Network;

use crate::error::{Result, count_in};
use crate::heat_map::HeatMap;
use crate::image::{Baseline, Image};
use crate::quadrature::gauss_legendre;
use crate::scoring::{MOST_AT_ONCE, Scored};
use crate::target::Target;

/// Integrated gradients: `(x − x₀) · ∫ ∂score(x₀ + t (x − x₀)) / ∂x dt`, integrated by Gauss-Legendre quadrature as in
/// Captum. Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegratedGradients {
    /// The image x₀ at which nothing is attributed.
    pub baseline: Baseline,
    /// Number of gradients.
    pub steps: usize,
    /// Number of gradients that are computed together; memory is proportional to it.
    pub batch: usize,
}

/// What integrated gradients found.
#[derive(Clone, Debug, PartialEq)]
pub struct Integrated {
    /// The image's shape.
    pub shape: Hwc,
    /// The share of every number of the image in the score, `[h, w, c]`.
    pub attributions: Vec<f32>,
    /// The image's score.
    pub score: f64,
    /// The baseline's score.
    pub baseline_score: f64,
    /// The sum of the attributions minus the difference of the two scores, which an exact integral would make 0: small
    /// against that difference if there are enough steps.
    pub completeness_error: f64,
}

/// Largest number of steps.
const MOST_STEPS: usize = 10_000;

impl Default for IntegratedGradients {
    /// Captum's default of 50 steps.
    fn default() -> Self {
        IntegratedGradients {
            baseline: Baseline::Mean,
            steps: 50,
            batch: 10,
        }
    }
}

impl IntegratedGradients {
    /// The attributions, summed over the channels of each pixel.
    ///
    /// # Errors
    /// As [`IntegratedGradients::attribute`].
    pub fn map(&self, network: &Network, image: Image<'_>, target: Target) -> Result<HeatMap> {
        Ok(self.attribute(network, image, target)?.map())
    }

    /// The attributions with the error of their sum.
    ///
    /// # Errors
    /// No such class, a setting outside its range, an image that the network cannot take, or a network that is not on
    /// the CPU.
    pub fn attribute(
        &self,
        network: &Network,
        image: Image<'_>,
        target: Target,
    ) -> Result<Integrated> {
        count_in("steps", self.steps, MOST_STEPS)?;
        count_in("batch", self.batch, MOST_AT_ONCE)?;
        let (scored, shape) = (Scored { network, target }, image.shape());
        let baseline = self.baseline.image(shape)?;
        let mean = self.mean_gradient(scored, image, &baseline)?;
        let way = image.data().iter().zip(&baseline).map(|(x, b)| x - b);
        let shares: Vec<f64> = way.zip(&mean).map(|(d, g)| f64::from(d) * g).collect();
        let score = scored.scores(image.data(), shape)?.iter().sum();
        let baseline_score = scored.scores(&baseline, shape)?.iter().sum();
        Ok(Integrated {
            shape,
            attributions: shares.iter().map(|share| *share as f32).collect(),
            score,
            baseline_score,
            completeness_error: shares.iter().sum::<f64>() - (score - baseline_score),
        })
    }

    /// The mean gradient along the way.
    fn mean_gradient(
        &self,
        scored: Scored<'_>,
        image: Image<'_>,
        baseline: &[f32],
    ) -> Result<Vec<f64>> {
        let shape = image.shape();
        let mut mean = vec![0.0; shape.len()];
        for points in gauss_legendre(self.steps).chunks(self.batch) {
            let between = |(t, _): &(f64, f64)| {
                let pairs = image.data().iter().zip(baseline);
                let t = *t as f32;
                pairs.map(move |(x, b)| b + t * (x - b))
            };
            let images: Vec<f32> = points.iter().flat_map(between).collect();
            let found = scored.sensitivities(&images, shape, &[NodeId::INPUT])?;
            let gradients = found
                .at
                .iter()
                .flat_map(|at| at.gradient.chunks(shape.len()));
            for (gradient, (_, weight)) in gradients.zip(points) {
                let sums = mean.iter_mut().zip(gradient);
                sums.for_each(|(sum, g)| *sum += weight * f64::from(*g));
            }
        }
        Ok(mean)
    }
}

impl Integrated {
    /// The attributions, summed over the channels of each pixel.
    pub fn map(&self) -> HeatMap {
        let pixels = self.attributions.chunks_exact(self.shape.c);
        let values = pixels.map(|pixel| pixel.iter().sum()).collect();
        HeatMap::of(self.shape.h, self.shape.w, values)
    }

    /// [`Integrated::completeness_error`] as a share of the difference of the scores; infinite if that is 0.
    pub fn relative_error(&self) -> f64 {
        (self.completeness_error / (self.score - self.baseline_score)).abs()
    }
}
