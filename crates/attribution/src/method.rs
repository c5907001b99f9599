//! The choice of a method.

use model::network::Network;

use crate::cam::{GradCam, GradCamPlusPlus};
use crate::error::Result;
use crate::heat_map::HeatMap;
use crate::image::Image;
use crate::integrated_gradients::IntegratedGradients;
use crate::occlusion::Occlusion;
use crate::target::Target;

/// A method with its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Grad-CAM.
    GradCam(GradCam),
    /// Grad-CAM++.
    GradCamPlusPlus(GradCamPlusPlus),
    /// Integrated gradients.
    IntegratedGradients(IntegratedGradients),
    /// Occlusion.
    Occlusion(Occlusion),
}

impl Method {
    /// The names that [`Method::named`] accepts.
    pub const NAMES: [&str; 4] = [
        "grad_cam",
        "grad_cam_plus_plus",
        "integrated_gradients",
        "occlusion",
    ];

    /// The method with this name and its default settings; `None` for an unknown name.
    pub fn named(name: &str) -> Option<Method> {
        Some(match name {
            "grad_cam" => Method::GradCam(GradCam::default()),
            "grad_cam_plus_plus" => Method::GradCamPlusPlus(GradCamPlusPlus::default()),
            "integrated_gradients" => Method::IntegratedGradients(IntegratedGradients::default()),
            "occlusion" => Method::Occlusion(Occlusion::default()),
            _ => return None,
        })
    }

    /// The method's name, one of [`Method::NAMES`].
    pub fn name(&self) -> &'static str {
        let [cam, plus_plus, integrated, occlusion] = Self::NAMES;
        match self {
            Method::GradCam(_) => cam,
            Method::GradCamPlusPlus(_) => plus_plus,
            Method::IntegratedGradients(_) => integrated,
            Method::Occlusion(_) => occlusion,
        }
    }

    /// The heat map of one image, at the image's size.
    ///
    /// # Errors
    /// As the method's own `map`.
    pub fn map(&self, network: &Network, image: Image<'_>, target: Target) -> Result<HeatMap> {
        match self {
            Method::GradCam(method) => method.map(network, image, target),
            Method::GradCamPlusPlus(method) => method.map(network, image, target),
            Method::IntegratedGradients(method) => method.map(network, image, target),
            Method::Occlusion(method) => method.map(network, image, target),
        }
    }
}
