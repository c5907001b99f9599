//! What a network's computation depends on besides its weights: padding and batch norm's epsilon.

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

/// Number of blocks of B0, whose nominal image side (224) halves five times without a remainder.
const B0: usize = 16;

/// Number of blocks of B4. From B5 on, torchvision has TensorFlow's epsilon.
const B4: usize = 32;

/// What a family's names imply about how its network computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Computes {
    /// Nothing: timm's `efficientnet_*` and `tf_efficientnet_*` share their names.
    Unsaid,
    As(Conventions),
    /// TensorFlow's padding for one nominal image side, regardless of the actual one: 240 halves to 15, which is odd
    /// and needs another padding than the 14 of an image of 224. With image sides that are multiples of 32, as in all
    /// networks here, only B0's equals TensorFlow's.
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
    /// TensorFlow's: `SAME` padding for the actual image size.
    pub const TENSORFLOW: Conventions = Conventions {
        padding: PaddingStyle::TfSame,
        bn_eps: 1e-3,
    };
    /// PyTorch's.
    pub const PYTORCH: Conventions = Conventions {
        padding: PaddingStyle::Symmetric,
        bn_eps: 1e-5,
    };

    /// Conventions of an encoder.
    pub fn of_encoder(encoder: &EncoderEntry) -> Conventions {
        Conventions {
            padding: encoder.padding,
            bn_eps: encoder.bn_eps,
        }
    }

    /// Conventions of a network: its stem's padding and its first norm's epsilon; `None` if it lacks either.
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

    /// Which of this program's encoders have these conventions, for an error message.
    pub(in super::super) fn hint(self) -> &'static str {
        match self {
            Self::TENSORFLOW => "Load them into a tf_efficientnet_* encoder.",
            Self::PYTORCH => "Load them into an efficientnet_* encoder.",
            _ => "No encoder of this program uses this padding and epsilon.",
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
