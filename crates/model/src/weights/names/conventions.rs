//! How a network computes beyond its weights: padding and batch norm's epsilon.

use std::fmt;

use kernels::Padding;

use super::{ENCODER, Family};
use crate::build::{EncoderEntry, PaddingStyle};
use crate::graph::{Graph, Op};

/// What a file's weights were trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conventions {
    /// How convolutions pad.
    pub padding: PaddingStyle,
    /// Added to the variance in batch normalization.
    pub bn_eps: f32,
}

/// Blocks of B4. From B5 on, torchvision has TensorFlow's epsilon.
const TORCHVISION_TORCH_EPS: usize = 32;

impl Conventions {
    const TF: Conventions = Conventions {
        padding: PaddingStyle::TfSame,
        bn_eps: 1e-3,
    };
    const TORCH: Conventions = Conventions {
        padding: PaddingStyle::Symmetric,
        bn_eps: 1e-5,
    };

    /// What a family's names say; timm's say nothing, for `efficientnet_*` and `tf_efficientnet_*` share them.
    pub(in super::super) fn of_family(family: Family, blocks: usize) -> Option<Conventions> {
        match family {
            Family::Ours | Family::Timm | Family::SmpTimm => None,
            Family::SmpOwn | Family::Lukemelas => Some(Self::TF),
            Family::Torchvision if blocks > TORCHVISION_TORCH_EPS => Some(Conventions {
                bn_eps: Self::TF.bn_eps,
                ..Self::TORCH
            }),
            Family::Torchvision => Some(Self::TORCH),
        }
    }

    /// An encoder's.
    pub fn of_encoder(encoder: &EncoderEntry) -> Conventions {
        Conventions {
            padding: encoder.padding,
            bn_eps: encoder.bn_eps,
        }
    }

    /// A network's: its stem's padding, its first norm's epsilon. `None` for a network without.
    pub fn of_graph(graph: &Graph) -> Option<Conventions> {
        let nodes = || graph.nodes.iter().filter(|n| n.name.starts_with(ENCODER));
        let padding = nodes().find_map(|n| match &n.op {
            Op::Conv2d { window, .. } if window.stride > 1 => Some(match window.padding {
                Padding::Same => PaddingStyle::TfSame,
                Padding::Symmetric(_) => PaddingStyle::Symmetric,
            }),
            _ => None,
        })?;
        let bn_eps = nodes().find_map(|n| match n.op {
            Op::BatchNorm { eps, .. } => Some(eps),
            _ => None,
        })?;
        Some(Conventions { padding, bn_eps })
    }

    /// Which of this crate's encoders compute so, in words.
    pub(in super::super) fn hint(self) -> &'static str {
        match self {
            Self::TF => "Load them into a tf_efficientnet_* encoder.",
            Self::TORCH => "Load them into an efficientnet_* encoder.",
            _ => "No encoder of this program computes so.",
        }
    }
}

impl fmt::Display for Conventions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padding = match self.padding {
            PaddingStyle::Symmetric => "symmetric",
            PaddingStyle::TfSame => "TensorFlow's SAME",
        };
        write!(
            f,
            "{padding} padding and batch-norm epsilon {:e}",
            self.bn_eps
        )
    }
}
