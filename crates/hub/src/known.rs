//! The table of known weights.
//!
//! Repositories, licences and normalizations are from the configurations of timm and segmentation_models.pytorch.
//! timm's repositories are followed on their main branch: the commit and the checksum that the hub returns are recorded
//! next to the file, and `--revision` and `--sha256` pin a later download to them. segmentation_models.pytorch pins
//! commits.

use crate::HubError;

/// Known weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// timm's name, or `smp_` followed by that of segmentation_models.pytorch.
    pub name: &'static str,
    /// The encoder that they belong to.
    pub encoder: &'static str,
    /// Repository on the hub.
    pub repo: &'static str,
    /// File in it.
    pub file: &'static str,
    /// Branch, tag or commit.
    pub revision: &'static str,
    /// The file's checksum, if it is known beforehand; otherwise the hub's is used, and recorded.
    pub sha256: Option<&'static str>,
    /// Licence.
    pub licence: &'static str,
    /// Input normalization: subtracted from x/255, one value per RGB channel.
    pub mean: [f32; 3],
    /// Input normalization: the divisor after the subtraction.
    pub std: [f32; 3],
}

/// All known weights.
pub fn known() -> &'static [Known] {
    &KNOWN
}

/// Returns the weights of this name.
///
/// # Errors
/// [`HubError::Unknown`] with the nearest name.
pub fn find(name: &str) -> Result<&'static Known, HubError> {
    KNOWN
        .iter()
        .find(|k| k.name == name)
        .ok_or_else(|| HubError::Unknown {
            name: name.into(),
            nearest: nearest(name),
        })
}

fn nearest(name: &str) -> Option<&'static str> {
    let scored = KNOWN
        .iter()
        .map(|k| (strsim::jaro_winkler(name, k.name), k.name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.6).map(|(_, name)| name)
}

type Normalization = ([f32; 3], [f32; 3]);

const IMAGENET: Normalization = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const HALF: Normalization = ([0.5; 3], [0.5; 3]);

/// Weights in one of timm's repositories.
macro_rules! timm {
    ($encoder:literal, $tag:literal, $normalization:expr) => {
        Known {
            name: concat!($encoder, ".", $tag),
            encoder: $encoder,
            repo: concat!("timm/", $encoder, ".", $tag),
            file: "model.safetensors",
            revision: "main",
            sha256: None,
            licence: "Apache-2.0",
            mean: $normalization.0,
            std: $normalization.1,
        }
    };
}

/// TensorFlow's ImageNet weights in the form of segmentation_models.pytorch's own EfficientNets.
macro_rules! smp {
    ($size:literal, $revision:literal) => {
        Known {
            name: concat!("smp_efficientnet-", $size, ".imagenet"),
            encoder: concat!("tf_efficientnet_", $size),
            repo: concat!("smp-hub/efficientnet-", $size, ".imagenet"),
            file: "model.safetensors",
            revision: $revision,
            sha256: None,
            licence: "Apache-2.0",
            mean: IMAGENET.0,
            std: IMAGENET.1,
        }
    };
}

static KNOWN: [Known; 54] = [
    timm!("efficientnet_b0", "ra4_e3600_r224_in1k", HALF),
    timm!("efficientnet_b0", "ra_in1k", IMAGENET),
    timm!("efficientnet_b1", "ft_in1k", IMAGENET),
    timm!("efficientnet_b1", "ra4_e3600_r240_in1k", HALF),
    timm!("efficientnet_b2", "ra_in1k", IMAGENET),
    timm!("efficientnet_b3", "ra2_in1k", IMAGENET),
    timm!("efficientnet_b4", "ra2_in1k", IMAGENET),
    timm!("efficientnet_b5", "sw_in12k_ft_in1k", IMAGENET),
    timm!("efficientnet_lite0", "ra_in1k", IMAGENET),
    timm!("tf_efficientnet_b0", "aa_in1k", IMAGENET),
    timm!("tf_efficientnet_b0", "ap_in1k", HALF),
    timm!("tf_efficientnet_b0", "in1k", IMAGENET),
    timm!("tf_efficientnet_b0", "ns_jft_in1k", IMAGENET),
    timm!("tf_efficientnet_b1", "aa_in1k", IMAGENET),
    timm!("tf_efficientnet_b1", "ap_in1k", HALF),
    timm!("tf_efficientnet_b1", "in1k", IMAGENET),
    timm!("tf_efficientnet_b1", "ns_jft_in1k", IMAGENET),
    timm!("tf_efficientnet_b2", "aa_in1k", IMAGENET),
    timm!("tf_efficientnet_b2", "ap_in1k", HALF),
    timm!("tf_efficientnet_b2", "in1k", IMAGENET),
    timm!("tf_efficientnet_b2", "ns_jft_in1k", IMAGENET),
    timm!("tf_efficientnet_b3", "aa_in1k", IMAGENET),
    timm!("tf_efficientnet_b3", "ap_in1k", HALF),
    timm!("tf_efficientnet_b3", "in1k", IMAGENET),
    timm!("tf_efficientnet_b3", "ns_jft_in1k", IMAGENET),
    timm!("tf_efficientnet_b4", "aa_in1k", IMAGENET),
    timm!("tf_efficientnet_b4", "ap_in1k", HALF),
    timm!("tf_efficientnet_b4", "in1k", IMAGENET),
    timm!("tf_efficientnet_b4", "ns_jft_in1k", IMAGENET),
    timm!("tf_efficientnet_b5", "aa_in1k", IMAGENET),
    timm!("tf_efficientnet_b5", "ap_in1k", HALF),
    timm!("tf_efficientnet_b5", "in1k", IMAGENET),
    timm!("tf_efficientnet_b5", "ns_jft_in1k", IMAGENET),
    timm!("tf_efficientnet_b5", "ra_in1k", IMAGENET),
    timm!("tf_efficientnet_b6", "aa_in1k", IMAGENET),
    timm!("tf_efficientnet_b6", "ap_in1k", HALF),
    timm!("tf_efficientnet_b6", "ns_jft_in1k", IMAGENET),
    timm!("tf_efficientnet_b7", "aa_in1k", IMAGENET),
    timm!("tf_efficientnet_b7", "ap_in1k", HALF),
    timm!("tf_efficientnet_b7", "ns_jft_in1k", IMAGENET),
    timm!("tf_efficientnet_b7", "ra_in1k", IMAGENET),
    timm!("tf_efficientnet_lite0", "in1k", HALF),
    timm!("tf_efficientnet_lite1", "in1k", HALF),
    timm!("tf_efficientnet_lite2", "in1k", HALF),
    timm!("tf_efficientnet_lite3", "in1k", HALF),
    timm!("tf_efficientnet_lite4", "in1k", HALF),
    smp!("b0", "1bbe7ecc1d5ea1d2058de1a2db063b8701aff314"),
    smp!("b1", "5d637466a5215de300a8ccb13a39357df2df2bf4"),
    smp!("b2", "a96d4f0295ffbae18ebba173bf7f3c0c8f21990e"),
    smp!("b3", "074c54a6c473e0d294690d49cedb6cf463e7127d"),
    smp!("b4", "05cd5dde5dab658f00c463f9b9aa0ced76784f40"),
    smp!("b5", "69f4d28460a4e421b7860bc26ee7d832e03e01ca"),
    smp!("b6", "8570752016f7c62ae149cffa058550fe44e21c8b"),
    smp!("b7", "5a5dbe687d612ebc3dca248274fd1191111deda6"),
];
