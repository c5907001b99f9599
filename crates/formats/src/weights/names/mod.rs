//! The names that other programs give to EfficientNet's parameters, and which of them a file has.
//!
//! All of them name the same network; [`tables`] has one row per layer, [`Naming`] applies them to a graph. A family
//! may also determine how its networks compute (padding, epsilon), which the tensors do not show: weights that were
//! trained with TensorFlow's padding load without an error into a network with PyTorch's, and then give worse results.
//! [`Conventions`] are compared to detect this.

mod conventions;
mod naming;
mod tables;

use std::fmt;

pub(super) use conventions::Computes;
pub use conventions::Conventions;
pub(super) use naming::{ENCODER, Naming, Target};

/// Whose names a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// This crate's, which are also those of segmentation_models.pytorch's former `timm-` encoders:
    /// `encoder.conv_stem`.
    Ours,
    /// timm's own: `conv_stem`.
    Timm,
    /// timm's in segmentation_models.pytorch's `tu-` encoders: `encoder.model.conv_stem`.
    SmpTimm,
    /// segmentation_models.pytorch's own EfficientNet, after lukemelas': `encoder._conv_stem`.
    SmpOwn,
    /// lukemelas' efficientnet_pytorch, and smp's encoders on their own: `_conv_stem`.
    Lukemelas,
    /// torchvision's: `features.0.0`.
    Torchvision,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 6] = [
        Family::Ours,
        Family::Timm,
        Family::SmpTimm,
        Family::SmpOwn,
        Family::Lukemelas,
        Family::Torchvision,
    ];

    pub(super) fn of_names(has: impl Fn(&str) -> bool) -> Option<Family> {
        Family::ALL.into_iter().find(|f| has(&f.stem()))
    }

    /// The first convolution's kernel.
    pub(super) fn stem(self) -> String {
        let table = self.table();
        let theirs = table.outside.first().map_or("", |(_, theirs)| theirs);
        format!("{}{theirs}.weight", table.encoder)
    }

    pub(super) fn table(self) -> &'static tables::Table {
        match self {
            Family::Ours => &tables::OURS,
            Family::Timm => &tables::TIMM,
            Family::SmpTimm => &tables::SMP_TIMM,
            Family::SmpOwn => &tables::SMP_OWN,
            Family::Lukemelas => &tables::LUKEMELAS,
            Family::Torchvision => &tables::TORCHVISION,
        }
    }

    /// What to know before weights of this family are used here, if anything.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Family::Timm | Family::SmpTimm => Some(
                "the names do not distinguish efficientnet_* from tf_efficientnet_*: choose the encoder by the model's name in timm",
            ),
            _ => None,
        }
    }

    /// Whether a file of this family may hold a decoder of this crate, in segmentation_models.pytorch's names.
    /// smp's own EfficientNets pass the stem (32 channels) to the decoder where timm's pass the first stage.
    pub fn has_our_decoders(self) -> bool {
        matches!(self, Family::Ours | Family::SmpTimm)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ours => "this project",
            Family::Timm => "timm",
            Family::SmpTimm => "segmentation_models.pytorch, timm encoder (tu-)",
            Family::SmpOwn => "segmentation_models.pytorch, own EfficientNet encoder",
            Family::Lukemelas => "efficientnet_pytorch (lukemelas)",
            Family::Torchvision => "torchvision",
        })
    }
}
