//! `train.freeze`: epochs in which the encoder stays as it is.

use serde::{Deserialize, Serialize};

/// How long the encoder is frozen: its weights, running statistics and moments do not change, its batch norms use their
/// running statistics and its drop path is off, and neither weight decay nor clipping sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawFreeze", into = "RawFreeze")]
pub enum Freeze {
    /// In the whole run (`"encoder"`): only what follows the encoder is trained.
    Encoder,
    /// In this many epochs from the first (`{ encoder_epochs = 3 }`); then everything is trained. The optimizer counts the
    /// encoder's steps from there, as PyTorch's do for parameters that had no gradient before.
    EncoderEpochs(usize),
}

impl Freeze {
    /// Whether the encoder is frozen in an epoch (from 1).
    pub fn at(self, epoch: usize) -> bool {
        match self {
            Freeze::Encoder => true,
            Freeze::EncoderEpochs(epochs) => epoch <= epochs,
        }
    }
}

/// As written in the settings: a word or a table.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"encoder\" (for the whole run) or { encoder_epochs = N }"
)]
enum RawFreeze {
    Word(String),
    Epochs(Epochs),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Epochs {
    encoder_epochs: usize,
}

impl TryFrom<RawFreeze> for Freeze {
    type Error = String;

    fn try_from(raw: RawFreeze) -> Result<Self, String> {
        match raw {
            RawFreeze::Word(word) if word == "encoder" => Ok(Freeze::Encoder),
            RawFreeze::Word(word) => Err(format!(
                "freeze = \"{word}\" is unknown: write \"encoder\" (for the whole run) or {{ encoder_epochs = N }}"
            )),
            RawFreeze::Epochs(Epochs { encoder_epochs: 0 }) => Err(
                "freeze.encoder_epochs = 0 freezes nothing: write at least 1, or remove the key"
                    .into(),
            ),
            RawFreeze::Epochs(Epochs { encoder_epochs }) => {
                Ok(Freeze::EncoderEpochs(encoder_epochs))
            }
        }
    }
}

impl From<Freeze> for RawFreeze {
    fn from(freeze: Freeze) -> Self {
        match freeze {
            Freeze::Encoder => RawFreeze::Word("encoder".into()),
            Freeze::EncoderEpochs(encoder_epochs) => RawFreeze::Epochs(Epochs { encoder_epochs }),
        }
    }
}
