//! Which of this crate's networks a file's tensors fit.

use super::load::encoder_fits;
use super::names::{Conventions, Family};
use super::{TensorFile, WeightsError};
use model::build::{BuildError, EncoderEntry, ModelSpec, build, encoders};
use model::graph::Graph;

/// What a file holds, as far as its names and shapes show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recognised {
    /// Whose names it has.
    pub family: Option<Family>,
    /// Encoders that the tensors fit by name and shape.
    pub encoders: Vec<Candidate>,
    /// `unet` or `unetpp`, if it has one of these decoders.
    pub decoder: Option<&'static str>,
    /// `cam`, `bottleneck` or `region`, if it has a head.
    pub head: Option<&'static str>,
    /// Classes of its head.
    pub classes: Option<usize>,
    /// Channels of its class map.
    pub map_classes: Option<usize>,
    /// Image channels of its stem.
    pub in_channels: Option<usize>,
}

/// An encoder that a file's tensors fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// A name of [`encoders`].
    pub encoder: &'static str,
    /// Why the weights are rejected nevertheless.
    pub refused: Option<String>,
}

impl Family {
    /// The family of a file's names; `None` if its stem has no known name.
    pub fn of(file: &TensorFile) -> Option<Family> {
        let has = |name: &str| file.find(name).is_some();
        Self::of_names(has)
    }
}

impl Recognised {
    /// Encoders that the weights can be loaded into.
    pub fn accepted(&self) -> impl Iterator<Item = &'static str> {
        let good = self.encoders.iter().filter(|c| c.refused.is_none());
        good.map(|c| c.encoder)
    }

    /// The network of the file with this encoder: the whole network if the file has a known decoder or head, otherwise
    /// the encoder with an untrained head, because no network consists of an encoder alone.
    ///
    /// # Errors
    /// An unknown encoder.
    pub fn spec(&self, encoder: &str) -> Result<ModelSpec, BuildError> {
        model::build::find_encoder(encoder)?;
        let decoder = self.decoder.unwrap_or("none");
        let by_decoder = if self.decoder.is_some() {
            "none"
        } else {
            "bottleneck"
        };
        let classes = self.classes.or(self.map_classes).unwrap_or(2);
        Ok(ModelSpec {
            encoder: Some(encoder.into()),
            decoder: Some(decoder.into()),
            head: self.head.unwrap_or(by_decoder).into(),
            classes,
            map_classes: self.map_classes.filter(|n| *n != classes),
            in_channels: self.in_channels.unwrap_or(3),
            ..ModelSpec::default()
        })
    }

    /// Whether the file has an encoder and nothing else.
    pub fn is_encoder_only(&self) -> bool {
        self.decoder.is_none() && self.head.is_none()
    }
}

/// Recognises a file's contents by names and shapes.
pub fn recognise(file: &TensorFile) -> Recognised {
    let family = Family::of(file);
    let shape = |name: &str| file.find(name).map(|t| t.shape.as_slice());
    let first = |name: &str| shape(name).and_then(<[usize]>::first).copied();
    let in_channels = family.and_then(|f| shape(&f.stem())?.get(1).copied());
    let whole = family.is_some_and(Family::has_our_decoders);
    let decoder = DECODERS
        .iter()
        .find(|(name, _)| whole && shape(name).is_some());
    let map = first("segmentation_head.0.weight").filter(|_| whole);
    let head = HEADS
        .iter()
        .find_map(|name| Some((*name, shape(name)?)))
        .filter(|_| whole);
    Recognised {
        family,
        encoders: in_channels.map_or(vec![], |n| candidates(file, n)),
        decoder: decoder.map(|(_, decoder)| *decoder),
        head: head.map(|(name, shape)| match shape {
            _ if name == REGION_HEAD => "region",
            [_, inputs] if map == Some(*inputs) => "cam",
            _ => "bottleneck",
        }),
        classes: head.and_then(|(_, shape)| shape.first()).copied(),
        map_classes: map,
        in_channels,
    }
}

/// For each decoder, a tensor that only it has.
const DECODERS: [(&str, &str); 2] = [
    ("decoder.blocks.x_0_0.conv1.0.weight", "unetpp"),
    ("decoder.blocks.0.conv1.0.weight", "unet"),
];

/// The last layer, in this crate's names and in smp's for a classification head.
const HEADS: [&str; 3] = ["head.weight", REGION_HEAD, "classification_head.3.weight"];
const REGION_HEAD: &str = "region_head.weight";

fn candidates(file: &TensorFile, in_channels: usize) -> Vec<Candidate> {
    let fits = |encoder: &'static EncoderEntry| {
        let graph = encoder_graph(encoder.name, in_channels)?;
        let refused = match encoder_fits(file, &graph) {
            Ok(()) => None,
            Err(WeightsError::Conventions { trained, .. }) => {
                let has = Conventions::of_encoder(encoder);
                Some(format!("trained with {trained}; this encoder has {has}"))
            }
            Err(error @ WeightsError::FixedPadding { .. }) => Some(error.to_string()),
            Err(_) => return None,
        };
        Some(Candidate {
            encoder: encoder.name,
            refused,
        })
    };
    encoders().iter().filter_map(fits).collect()
}

fn encoder_graph(encoder: &str, in_channels: usize) -> Option<Graph> {
    let spec = ModelSpec {
        encoder: Some(encoder.into()),
        decoder: Some("none".into()),
        head: "bottleneck".into(),
        in_channels,
        ..ModelSpec::default()
    };
    build(&spec).ok()
}
