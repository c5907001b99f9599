//! How a network computes beyond its weights: padding and batch norm's epsilon.

use std::fmt;

use model::graph::Padding;

use super::{ENCODER, Family};
use model::build::{EncoderEntry, PaddingStyle};
use model::graph::{Graph, Op};

/// What a file's weights were trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conventions {
    /// How convolutions pad.
    pub padding: PaddingStyle,
    /// Added to the variance in batch normalization.
    pub bn_eps: f32,
}

/// Blocks of B0, whose nominal image side (224) halves five times without a rest.
const B0: usize = 16;

/// Blocks of B4. From B5 on, torchvision has TensorFlow's epsilon.
const B4: usize = 32;

/// What a family's names say of how its network computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Computes {
    /// Nothing: timm's `efficientnet_*` and `tf_efficientnet_*` share their names.
    Unsaid,
    As(Conventions),
    /// TensorFlow's padding of one nominal image side, whatever the image's: 240 halves to 15, whose odd rest asks for
    /// another padding than the 14 of an image of 224. With images in multiples of 32, as all networks here have them,
    /// only B0's is TensorFlow's.
    FixedPadding,
}

impl Computes {
    pub(super) fn of_family(family: Family, blocks: usize) -> Computes {
        match family {
            Family::Ours | Family::Timm | Family::SmpTimm => Computes::Unsaid,
            Family::SmpOwn | Family::Lukemelas if blocks > B0 => Computes::FixedPadding,
            Family::SmpOwn | Family::Lukemelas => Computes::As(Conventions::TENSORFLOW),
            Family::Torchvision if blocks > B4 => Computes::As(Conventions {
                bn_eps: Conventions::TENSORFLOW.bn_eps,
                ..Conventions::PYTORCH
            }),
            Family::Torchvision => Computes::As(Conventions::PYTORCH),
        }
    }
}

impl Conventions {
    /// TensorFlow's: `SAME` padding of the image at hand.
    pub const TENSORFLOW: Conventions = Conventions {
        padding: PaddingStyle::TfSame,
        bn_eps: 1e-3,
    };
    /// PyTorch's.
    pub const PYTORCH: Conventions = Conventions {
        padding: PaddingStyle::Symmetric,
        bn_eps: 1e-5,
    };

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
            Self::TENSORFLOW => "Load them into a tf_efficientnet_* encoder.",
            Self::PYTORCH => "Load them into an efficientnet_* encoder.",
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
