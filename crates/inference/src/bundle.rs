//! A checkpoint ready to run.

use std::path::Path;

use formats::checkpoint::{Checkpoint, Meta};
use imaging::{Decoder, Frame, ImageFile};
use metrics::{DecisionRule, MetricsError, Scaling};
use model::engine::{Device, InferencePrecision};
use model::graph::Hwc;
use model::network::Network;

use crate::error::{InferenceError, Result};
use crate::novelty::NoveltyDetector;
use crate::precision::prepare;
use crate::reading::MapReading;
use crate::region::{Found, OwnRegion};

/// A network with its classes, preprocessing, calibration and decision rule.
pub struct Bundle {
    network: Network,
    meta: Meta,
    reading: MapReading,
    scaling: Scaling,
    rule: DecisionRule,
    region: Option<OwnRegion>,
    novelty: Option<NoveltyDetector>,
    precision: InferencePrecision,
}

impl Bundle {
    /// Reads a checkpoint file and prepares it for a device and a precision.
    ///
    /// # Errors
    /// The file is missing, damaged or of another kind, or contains several networks; the device is unavailable, or the
    /// network cannot be run in this precision.
    pub fn load(
        path: &Path,
        device: Device,
        precision: impl Into<InferencePrecision>,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::load(path)?;
        match &checkpoint.ensemble {
            None => Self::of(path, checkpoint, device, precision),
            Some(ensemble) => Err(InferenceError::Several {
                path: path.into(),
                networks: 1 + ensemble.others.len(),
            }),
        }
    }

    /// Prepares a checkpoint that was read from `path`.
    ///
    /// # Errors
    /// The device is unavailable, or the network cannot be run in this precision.
    pub fn of(
        path: &Path,
        mut checkpoint: Checkpoint,
        device: Device,
        precision: impl Into<InferencePrecision>,
    ) -> Result<Self> {
        let precision = precision.into();
        let region = checkpoint.region.take();
        let region = region.map(|region| OwnRegion::new(path, *region, device));
        let region = region.transpose()?;
        let novelty = checkpoint.novelty.take();
        let novelty = novelty.map(|stored| NoveltyDetector::stored(*stored));
        let novelty = novelty
            .transpose()
            .map_err(|source| InferenceError::Novelty {
                path: path.into(),
                source,
            })?;
        let (network, meta) = checkpoint.into_network();
        let network = prepare(precision, path, network, meta.quantization.as_ref(), device)?;
        let (scaling, rule) = decision(&meta).map_err(|source| InferenceError::Decision {
            path: path.into(),
            source,
        })?;
        let reading = MapReading::of(
            network.graph(),
            &network,
            &meta.preprocessing,
            meta.map.is_some(),
        );
        Ok(Bundle {
            network,
            meta,
            reading,
            scaling,
            rule,
            region,
            novelty,
            precision,
        })
    }

    /// The precision that the network computes in.
    pub fn precision(&self) -> InferencePrecision {
        self.precision
    }

    /// What detects images unlike those that the network was trained on, where a run has determined it.
    pub fn novelty(&self) -> Option<&NoveltyDetector> {
        self.novelty.as_ref()
    }

    /// Whether the network sees only a part of each image, which its own segmenter finds.
    pub fn sees_region(&self) -> bool {
        self.region.is_some()
    }

    /// The part of each image that the network sees; `None` if it sees whole images.
    ///
    /// # Errors
    /// As [`RegionFinder::measure`](crate::RegionFinder::measure).
    pub fn regions(&self, images: &[ImageFile]) -> Result<Vec<Option<Found>>> {
        match &self.region {
            None => Ok(vec![None; images.len()]),
            Some(region) => Ok(region.find(images)?.into_iter().map(Some).collect()),
        }
    }

    /// The checkpoint's metadata: everything besides the network.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How the map's scores become probabilities.
    pub fn reading(&self) -> &MapReading {
        &self.reading
    }

    /// Whether there is a class map to display.
    pub fn has_map(&self) -> bool {
        self.reading != MapReading::None
    }

    /// Whether the map was trained on masks.
    pub fn segments(&self) -> bool {
        self.meta.map.is_some()
    }

    /// Whether the network outputs class scores.
    pub fn classifies(&self) -> bool {
        self.network.graph().output("logits").is_some()
    }

    /// Names of the map's classes.
    pub fn map_classes(&self) -> &[String] {
        let trained = self.meta.map.as_ref();
        trained.map_or(&self.meta.classes, |map| &map.classes)
    }

    /// The values of the map's classes in mask files.
    pub fn map_values(&self) -> Vec<u16> {
        match &self.meta.map {
            Some(map) => map.values.clone(),
            None => (0..).take(self.meta.classes.len()).collect(),
        }
    }

    /// The class of the map that overlays show: the positive class if the map has it, otherwise the last one.
    pub fn shown(&self) -> usize {
        let classes = self.map_classes();
        let name = self.meta.classes.get(self.meta.positive);
        let own = classes.iter().position(|class| Some(class) == name);
        own.unwrap_or(classes.len().saturating_sub(1))
    }

    /// Rows, columns and channels of the map.
    ///
    /// # Errors
    /// There is no map.
    pub fn map_shape(&self) -> Result<Hwc> {
        let (graph, image) = (self.network.graph(), &self.meta.preprocessing);
        let map = graph.output("map").ok_or(InferenceError::NoMap)?;
        Ok(graph.shapes(image.height, image.width)?[map.index()])
    }

    /// Rows, columns and channels of the network's input.
    pub fn input_shape(&self) -> Hwc {
        let p = &self.meta.preprocessing;
        Hwc {
            h: p.height,
            w: p.width,
            c: p.channels,
        }
    }

    /// How an image is fitted into the network's input.
    pub fn frame(&self) -> Frame {
        let p = &self.meta.preprocessing;
        Frame {
            height: p.height,
            width: p.width,
            channels: p.channels,
            fit: p.fit,
        }
    }

    /// The decoder for image files, with the size limit and the tones of the training run.
    pub fn decoder(&self) -> Decoder {
        let p = &self.meta.preprocessing;
        Decoder {
            max_pixels: p.max_pixels,
            frame: p.frame,
            tones: p.tones,
        }
    }

    /// Normalizes pixels in [0, 1], channels last, for the network.
    pub fn normalized(&self, image: &[f32]) -> Vec<f32> {
        let p = &self.meta.preprocessing;
        let normalized =
            |(i, v): (usize, &f32)| (v - p.mean[i % p.channels]) / p.std[i % p.channels];
        image.iter().enumerate().map(normalized).collect()
    }

    /// How scores become probabilities.
    pub fn scaling(&self) -> &Scaling {
        &self.scaling
    }

    /// How scores become a class.
    pub fn rule(&self) -> DecisionRule {
        self.rule
    }

    /// Class probabilities from one image's scores.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f64> {
        self.scaling.probabilities(logits)
    }

    /// The predicted class from one image's scores.
    pub fn decide(&self, logits: &[f32]) -> usize {
        let probabilities = self.probabilities(logits);
        let logits: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
        self.rule.decide(&logits, &probabilities)
    }
}

/// Plain softmax and the most probable class, unless an evaluation has chosen a calibration and a rule.
pub(crate) fn decision(meta: &Meta) -> std::result::Result<(Scaling, DecisionRule), MetricsError> {
    let Some(decision) = &meta.decision else {
        let classes = meta.classes.len();
        return Ok((Scaling::identity(classes), DecisionRule::MostProbable));
    };
    let rule = match decision.threshold {
        Some(log_odds) => DecisionRule::Threshold {
            positive: meta.positive,
            log_odds,
        },
        None => DecisionRule::MostProbable,
    };
    let scaling = Scaling::new(decision.temperature, decision.bias.clone())?;
    Ok((scaling, rule))
}
