//! Grad-CAM and Grad-CAM++: feature maps weighted by their influence on a score.

use model::engine::Sensitivity;
use model::graph::{Graph, NodeId};
use model::network::Network;

use crate::error::{AttributionError, Result};
use crate::heat_map::HeatMap;
use crate::image::Image;
use crate::scoring::Scored;
use crate::target::Target;

/// Grad-CAM: the sum of the feature maps, each weighted by the mean over its pixels of the score's gradient. Selvaraju et
/// al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
///
/// The features' grid is stretched over the image, which is exact where the convolutions before them pad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradCam {
    /// The node whose value is the feature maps: a published name (`features.4`, `decoder`) or a node's own; `None` for
    /// the encoder's deepest features.
    pub at: Option<String>,
    /// Whether negative sums become 0, as in the paper: only what speaks for the class is shown. Captum's default is
    /// not to.
    pub relu: bool,
}

/// Grad-CAM++: as Grad-CAM, but a feature map's weight is a sum of its positive gradients in which each pixel counts by
/// the closed form of the paper, so that several separate regions all count. Chattopadhyay et al., "Grad-CAM++:
/// Generalized Gradient-based Visual Explanations for Deep Convolutional Networks", WACV 2018, equations 10 and 19, for
/// the exponential of the score; the factor `exp(score)`, common to all pixels, is left out.
///
/// The closed form assumes features that are not negative, as after ReLU; others may give a pixel a negative or a large
/// weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradCamPlusPlus {
    /// As [`GradCam::at`].
    pub at: Option<String>,
    /// As [`GradCam::relu`].
    pub relu: bool,
}

impl Default for GradCam {
    fn default() -> Self {
        GradCam {
            at: None,
            relu: true,
        }
    }
}

impl Default for GradCamPlusPlus {
    fn default() -> Self {
        GradCamPlusPlus {
            at: None,
            relu: true,
        }
    }
}

impl GradCam {
    /// The map at the image's size.
    ///
    /// # Errors
    /// No such node or class, a value without places, an image that the network cannot take, or a network that is not on
    /// the CPU.
    pub fn map(&self, network: &Network, image: Image<'_>, target: Target) -> Result<HeatMap> {
        let scored = Scored { network, target };
        let small = feature_map(scored, image, self.at.as_deref(), mean_gradients)?;
        Ok(finished(small, self.relu, image))
    }
}

impl GradCamPlusPlus {
    /// The map at the image's size.
    ///
    /// # Errors
    /// As [`GradCam::map`].
    pub fn map(&self, network: &Network, image: Image<'_>, target: Target) -> Result<HeatMap> {
        let scored = Scored { network, target };
        let small = feature_map(scored, image, self.at.as_deref(), closed_form)?;
        Ok(finished(small, self.relu, image))
    }
}

/// `Σ_c weight_c · feature_c` for each pixel of the features, with a weight per channel of one image's features.
fn feature_map(
    scored: Scored<'_>,
    image: Image<'_>,
    at: Option<&str>,
    weights: fn(&Sensitivity) -> Vec<f64>,
) -> Result<HeatMap> {
    let graph = scored.network.graph();
    let name = match at {
        Some(name) => name,
        None => *graph
            .features()
            .first()
            .ok_or(AttributionError::NoFeatures)?,
    };
    let found = scored.sensitivities(image.data(), image.shape(), &[node(graph, name)?])?;
    let Some(features) = found.at.first() else {
        return Err(AttributionError::NoFeatures);
    };
    let shape = features.value.shape;
    if (shape.h, shape.w) == (1, 1) {
        return Err(AttributionError::NoPlaces { name: name.into() });
    }
    let weights = weights(features);
    let pixels = features.value.data.chunks_exact(shape.c);
    let values = pixels.map(|pixel| {
        let terms = pixel.iter().zip(&weights);
        terms.map(|(a, w)| f64::from(*a) * w).sum::<f64>() as f32
    });
    Ok(HeatMap::of(shape.h, shape.w, values.collect()))
}

/// The node with a published name, or with a name of its own.
fn node(graph: &Graph, name: &str) -> Result<NodeId> {
    let own = || graph.ids().find(|id| graph.node(*id).name == name);
    let found = graph.output(name).or_else(own);
    found.ok_or_else(|| AttributionError::NoNode {
        name: name.into(),
        known: graph.features().join(", "),
    })
}

fn finished(small: HeatMap, relu: bool, image: Image<'_>) -> HeatMap {
    let (height, width) = small.size();
    let small = match relu {
        true => {
            let positive = small.values().iter().map(|value| value.max(0.0));
            HeatMap::of(height, width, positive.collect())
        }
        false => small,
    };
    small.resized(image.shape().h, image.shape().w)
}

/// Grad-CAM's weights.
fn mean_gradients(features: &Sensitivity) -> Vec<f64> {
    let shape = features.value.shape;
    let mut sums = channel_sums(&features.gradient, shape.c);
    let pixels = (shape.h * shape.w) as f64;
    sums.iter_mut().for_each(|sum| *sum /= pixels);
    sums
}

/// Grad-CAM++'s weights: with g a pixel's gradient and S the sum of the channel's features,
/// `Σ g² / (2 g² + S g³) · max(g, 0)`. As in the authors' code, a denominator of 0 counts as 1.
fn closed_form(features: &Sensitivity) -> Vec<f64> {
    let c = features.value.shape.c;
    let sums = channel_sums(&features.value.data, c);
    let mut weights = vec![0.0; c];
    for pixel in features.gradient.chunks_exact(c) {
        for ((weight, sum), g) in weights.iter_mut().zip(&sums).zip(pixel) {
            let g = f64::from(*g);
            let denominator = 2.0 * g * g + sum * g * g * g;
            let alpha = match denominator {
                0.0 => g * g,
                _ => g * g / denominator,
            };
            *weight += alpha * g.max(0.0);
        }
    }
    weights
}

fn channel_sums(values: &[f32], channels: usize) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    for pixel in values.chunks_exact(channels) {
        let pairs = sums.iter_mut().zip(pixel);
        pairs.for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums
}
