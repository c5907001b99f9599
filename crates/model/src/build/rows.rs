//! The rows of the registry.

use super::entries::{ArchitectureEntry, DecoderEntry, EncoderEntry, HeadEntry, WholeNetwork};
use super::entries::{Normalization, PaddingStyle, Scaling};
use super::spec::{ENCODER_DECODER, ModelSpec};
use super::trunk::Trunk;
use super::{eff_unet_keras, head, tpcuar, unet, unet_2015, unetpp, unetpp_2018};
use crate::graph::GraphBuilder;

const B: &str = "EfficientNet (squeeze-excite, SiLU), PyTorch padding";
const TF_B: &str = "EfficientNet (squeeze-excite, SiLU), TensorFlow padding and batch norm";
const LITE: &str = "EfficientNet-Lite (ReLU6, no squeeze-excite), PyTorch padding";
const TF_LITE: &str =
    "EfficientNet-Lite (ReLU6, no squeeze-excite), TensorFlow padding and batch norm";

const IMAGENET: Normalization = Normalization::IMAGENET;
const HALF: Normalization = Normalization::HALF;

/// Widths and depths: Tan & Le, "EfficientNet", ICML 2019, and the authors' code; the rest: timm's configurations.
pub(super) static ENCODERS: [EncoderEntry; 26] = [
    pytorch("efficientnet_b0", B, b(1.0, 1.0), 224, IMAGENET),
    pytorch("efficientnet_b1", B, b(1.0, 1.1), 240, HALF),
    pytorch("efficientnet_b2", B, b(1.1, 1.2), 256, IMAGENET),
    pytorch("efficientnet_b3", B, b(1.2, 1.4), 288, IMAGENET),
    pytorch("efficientnet_b4", B, b(1.4, 1.8), 320, IMAGENET),
    pytorch("efficientnet_b5", B, b(1.6, 2.2), 448, IMAGENET),
    pytorch("efficientnet_b6", B, b(1.8, 2.6), 528, IMAGENET),
    pytorch("efficientnet_b7", B, b(2.0, 3.1), 600, IMAGENET),
    tensorflow("tf_efficientnet_b0", TF_B, b(1.0, 1.0), 224, IMAGENET),
    tensorflow("tf_efficientnet_b1", TF_B, b(1.0, 1.1), 240, IMAGENET),
    tensorflow("tf_efficientnet_b2", TF_B, b(1.1, 1.2), 260, IMAGENET),
    tensorflow("tf_efficientnet_b3", TF_B, b(1.2, 1.4), 300, IMAGENET),
    tensorflow("tf_efficientnet_b4", TF_B, b(1.4, 1.8), 380, IMAGENET),
    tensorflow("tf_efficientnet_b5", TF_B, b(1.6, 2.2), 456, IMAGENET),
    tensorflow("tf_efficientnet_b6", TF_B, b(1.8, 2.6), 528, IMAGENET),
    tensorflow("tf_efficientnet_b7", TF_B, b(2.0, 3.1), 600, IMAGENET),
    pytorch("efficientnet_lite0", LITE, lite(1.0, 1.0), 224, IMAGENET),
    pytorch("efficientnet_lite1", LITE, lite(1.0, 1.1), 240, IMAGENET),
    pytorch("efficientnet_lite2", LITE, lite(1.1, 1.2), 260, IMAGENET),
    pytorch("efficientnet_lite3", LITE, lite(1.2, 1.4), 300, IMAGENET),
    pytorch("efficientnet_lite4", LITE, lite(1.4, 1.8), 380, IMAGENET),
    tensorflow("tf_efficientnet_lite0", TF_LITE, lite(1.0, 1.0), 224, HALF),
    tensorflow("tf_efficientnet_lite1", TF_LITE, lite(1.0, 1.1), 240, HALF),
    tensorflow("tf_efficientnet_lite2", TF_LITE, lite(1.1, 1.2), 260, HALF),
    tensorflow("tf_efficientnet_lite3", TF_LITE, lite(1.2, 1.4), 300, HALF),
    tensorflow("tf_efficientnet_lite4", TF_LITE, lite(1.4, 1.8), 380, HALF),
];

pub(super) static ARCHITECTURES: [ArchitectureEntry; 7] = [
    ArchitectureEntry {
        name: ENCODER_DECODER,
        description: "an encoder and a decoder of the lists below (Eff-UNet; U-EfficientNet, Lin & Lin's glioma net)",
        keys: &["encoder", "decoder", "drop_path"],
        whole: None,
    },
    ArchitectureEntry {
        name: "eff_unet_keras",
        description: "Eff-UNet/B1, layer by layer as in Keras's segmentation_models: expanded skips, conv_head",
        keys: &["drop_path"],
        whole: Some(WholeNetwork {
            normalization: IMAGENET,
            has_map: true,
            drops: false,
            write: eff_unet_keras::write,
        }),
    },
    ArchitectureEntry {
        name: "unet_2015",
        description: "U-Net of 2015 with padded convolutions: the map is as large as the image",
        keys: &["base_channels"],
        whole: Some(segmenter(true, unet_2015::same)),
    },
    ArchitectureEntry {
        name: "unet_2015_valid",
        description: "U-Net of 2015 without padding, as in the paper: a 388x388 map for a 572x572 image",
        keys: &["base_channels"],
        whole: Some(segmenter(true, unet_2015::valid)),
    },
    ArchitectureEntry {
        name: "unetpp_2018",
        description: "U-Net++ as its authors published it: deep supervision, pruning",
        keys: &["base_channels", "pruning_level"],
        whole: Some(segmenter(true, unetpp_2018::write)),
    },
    ArchitectureEntry {
        name: "tpcuar_classifier",
        description: "TPCUAR-Net's stage 1 in our reading: local and global paths, no class map (head = \"bottleneck\")",
        keys: &["base_channels"],
        whole: Some(WholeNetwork {
            has_map: false,
            ..segmenter(false, tpcuar::classifier)
        }),
    },
    ArchitectureEntry {
        name: "tpcuar_segmenter",
        description: "TPCUAR-Net's stage 2 in our reading: cascaded pairs of U-Nets of asymmetric residual units",
        keys: &["base_channels"],
        whole: Some(segmenter(false, tpcuar::segmenter)),
    },
];

pub(super) static DECODERS: [DecoderEntry; 3] = [
    DecoderEntry {
        name: "unet",
        description: "U-Net: nearest-neighbour 2x, skip, two 3x3 convolutions per level",
        write: Some(unet::write),
    },
    DecoderEntry {
        name: "unetpp",
        description: "U-Net++: U-Net with a dense grid of skips",
        write: Some(unetpp::write),
    },
    DecoderEntry {
        name: "none",
        description: "no decoder and no class map: a plain classifier (head = \"bottleneck\")",
        write: None,
    },
];

pub(super) static HEADS: [HeadEntry; 4] = [
    HeadEntry {
        name: "cam",
        description: "class activation (CAM): scores from a linear layer on the class map's global average; image labels train the map",
        needs_map: true,
        needs_masks: false,
        scores: true,
        drops: false,
        write: head::cam,
    },
    HeadEntry {
        name: "region",
        description: "class scores from the mean of the decoder's features inside the region that the map, taught by masks, predicts",
        needs_map: true,
        needs_masks: true,
        scores: true,
        drops: true,
        write: head::region,
    },
    HeadEntry {
        name: "bottleneck",
        description: "class scores from the mean of the deepest features; a decoder's map is trained on masks only",
        needs_map: false,
        needs_masks: false,
        scores: true,
        drops: true,
        write: head::bottleneck,
    },
    HeadEntry {
        name: "none",
        description: "no class scores: segmentation only (train.task = \"segment\")",
        needs_map: true,
        needs_masks: false,
        scores: false,
        drops: false,
        write: head::none,
    },
];

/// A network with a class map and without pretrained weights, so no normalization is prescribed.
const fn segmenter(drops: bool, write: fn(&mut GraphBuilder, &ModelSpec) -> Trunk) -> WholeNetwork {
    WholeNetwork {
        normalization: HALF,
        has_map: true,
        drops,
        write,
    }
}

/// timm's `efficientnet_*`.
const fn pytorch(
    name: &'static str,
    description: &'static str,
    scaling: Scaling,
    resolution: usize,
    normalization: Normalization,
) -> EncoderEntry {
    let padding = PaddingStyle::Symmetric;
    EncoderEntry {
        name,
        description,
        bn_eps: 1e-5,
        bn_momentum: 0.1,
        padding,
        resolution,
        normalization,
        scaling,
    }
}

/// timm's `tf_efficientnet_*`: TensorFlow's padding and epsilon, PyTorch's momentum.
const fn tensorflow(
    name: &'static str,
    description: &'static str,
    scaling: Scaling,
    resolution: usize,
    normalization: Normalization,
) -> EncoderEntry {
    let like = pytorch(name, description, scaling, resolution, normalization);
    EncoderEntry {
        bn_eps: 1e-3,
        padding: PaddingStyle::TfSame,
        ..like
    }
}

const fn b(width: f64, depth: f64) -> Scaling {
    Scaling {
        width,
        depth,
        lite: false,
    }
}

const fn lite(width: f64, depth: f64) -> Scaling {
    Scaling {
        width,
        depth,
        lite: true,
    }
}
