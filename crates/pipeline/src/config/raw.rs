//! The tables as they stand in the TOML: types only, nothing checked. `[augment]`, `[model]` and `[train]` are read
//! straight into their crates' own types; the key that `[model]` holds besides is here.

use model::engine::Precision;
use morphology::BorderWeights;
use serde::Deserialize;

use crate::stages::Artifact;

use dataset::{CsvLayout, OfficialVal, OnBadImage, OnMask, PatientRule, SplitFolders, SplitLists};
use imaging::{Fit, MaskCoding};

/// Tables of a pipeline file.
pub(super) const TABLES: [&str; 11] = [
    "pipeline", "data", "image", "augment", "model", "train", "evaluate", "segment", "report",
    "phantom", "demo",
];

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Pipeline {
    pub(super) title: String,
    pub(super) stages: Vec<String>,
    pub(super) seed: u64,
    pub(super) device: String,
    pub(super) precision: Precision,
}

impl Default for Pipeline {
    fn default() -> Self {
        let stages = crate::stages::all()
            .iter()
            // Masks are not the rule.
            .filter(|stage| !stage.writes().contains(&Artifact::Segmentation))
            .map(|stage| stage.name().to_owned())
            .collect();
        Pipeline {
            title: String::new(),
            stages,
            seed: 0,
            device: "auto".into(),
            precision: Precision::F32,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Data {
    pub(super) dir: String,
    pub(super) layout: Layout,
    pub(super) images: Option<String>,
    pub(super) csv: Csv,
    pub(super) classes: Vec<String>,
    pub(super) names: std::collections::BTreeMap<String, String>,
    pub(super) positive: Option<String>,
    pub(super) folders: Option<SplitFolders>,
    pub(super) patients: Vec<PatientRule>,
    pub(super) masks: Option<String>,
    pub(super) mask: MaskCoding,
    pub(super) on_bad_mask: OnMask,
    pub(super) on_missing_mask: OnMask,
    pub(super) resize_masks: bool,
    pub(super) regions: std::collections::BTreeMap<String, String>,
    pub(super) on_bad_image: OnBadImage,
    pub(super) validation: Validation,
    pub(super) limit_per_class: Option<usize>,
}

/// How images and classes lie below `dir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Layout {
    #[default]
    Classes,
    Images,
    Csv,
}

impl Layout {
    pub(super) fn name(self) -> &'static str {
        match self {
            Layout::Classes => "classes",
            Layout::Images => "images",
            Layout::Csv => "csv",
        }
    }
}

/// The table and its columns' names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Csv {
    pub(super) file: Option<String>,
    pub(super) path: Option<String>,
    pub(super) mask: Option<String>,
    pub(super) class: Option<String>,
    pub(super) split: Option<String>,
    pub(super) patient: Option<String>,
}

impl Csv {
    /// The same for a table that was found.
    pub(super) fn layout(self, file: std::path::PathBuf) -> CsvLayout {
        CsvLayout {
            file,
            path: self.path,
            mask: self.mask,
            class: self.class,
            split: self.split,
            patient: self.patient,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Validation {
    pub(super) policy: Policy,
    pub(super) fraction: f64,
    pub(super) test_fraction: f64,
    pub(super) official_val: OfficialVal,
    pub(super) count: usize,
    pub(super) test_count: usize,
    pub(super) by: By,
    pub(super) lists: SplitLists,
}

impl Default for Validation {
    fn default() -> Self {
        Validation {
            policy: Policy::FromTrain,
            fraction: 0.1,
            test_fraction: 0.2,
            official_val: OfficialVal::MergeIntoTrain,
            count: 0,
            test_count: 0,
            by: By::Seed,
            lists: SplitLists::default(),
        }
    }
}

/// Which images a count takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    Seed,
    Order,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Policy {
    FromTrain,
    Official,
    Holdout,
    Count,
    List,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Image {
    pub(super) size: Size,
    pub(super) fit: Fit,
    pub(super) crop: Option<Size>,
    pub(super) channels: usize,
    pub(super) normalization: Normalization,
    pub(super) cache_mib: usize,
    pub(super) max_megapixels: u64,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            size: Size(224, 224),
            fit: Fit::Stretch,
            crop: None,
            channels: 3,
            normalization: Normalization::Named("auto".into()),
            cache_mib: 2048,
            max_megapixels: imaging::Decoder::DEFAULT_MEGAPIXELS,
        }
    }
}

/// `224` or `[height, width]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) usize, pub(super) usize);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Size;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a side in pixels, or [height, width]")
            }
            fn visit_u64<E: serde::de::Error>(self, side: u64) -> Result<Size, E> {
                Ok(Size(side as usize, side as usize))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Size, A::Error> {
                match (
                    seq.next_element()?,
                    seq.next_element()?,
                    seq.next_element::<usize>()?,
                ) {
                    (Some(height), Some(width), None) => Ok(Size(height, width)),
                    _ => Err(serde::de::Error::custom(
                        "give one side in pixels, or [height, width]",
                    )),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `"auto"`, `"half"`, `"imagenet"` or `{ mean = […], std = […] }`.
#[derive(Clone, Debug)]
pub(super) enum Normalization {
    Named(String),
    Values { mean: Vec<f32>, std: Vec<f32> },
}

impl<'de> Deserialize<'de> for Normalization {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Values {
            mean: Vec<f32>,
            std: Vec<f32>,
        }
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Normalization;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"auto\", \"half\", \"imagenet\" or { mean = [...], std = [...] }")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Normalization, E> {
                Ok(Normalization::Named(name.into()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Normalization, A::Error> {
                let Values { mean, std } =
                    Values::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Normalization::Values { mean, std })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Keys of `[model]` that are not the network's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ModelExtra {
    pub(super) pretrained: Option<String>,
}

/// Keys of `[train]` that are not the trainer's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TrainExtra {
    pub(super) border: Option<Border>,
    pub(super) repeats: Option<usize>,
}

/// U-Net's weights of pixels between touching cells.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Border {
    pub(super) w0: f64,
    pub(super) sigma: f64,
    pub(super) balance: bool,
}

impl Default for Border {
    fn default() -> Self {
        let BorderWeights { w0, sigma, balance } = BorderWeights::default();
        Border { w0, sigma, balance }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Evaluate {
    pub(super) threshold: Threshold,
    pub(super) bootstrap: usize,
    pub(super) confidence: f64,
    pub(super) tta: bool,
    pub(super) baseline_size: usize,
    pub(super) tile_overlap: f64,
}

impl Default for Evaluate {
    fn default() -> Self {
        Evaluate {
            threshold: Threshold::Youden,
            bootstrap: 2000,
            confidence: 0.95,
            tta: false,
            baseline_size: 48,
            tile_overlap: 0.5,
        }
    }
}

/// How the threshold is chosen, on the validation images alone: `"youden"`, a number, `{ sensitivity = 0.95 }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// The largest sensitivity + specificity − 1.
    Youden,
    /// This one, whatever the data.
    Fixed(f64),
    /// The highest with at least this sensitivity.
    Sensitivity(f64),
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            sensitivity: f64,
        }
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Threshold;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"youden\", a number or { sensitivity = 0.95 }")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Threshold, E> {
                match (name, name.parse()) {
                    ("youden", _) => Ok(Threshold::Youden),
                    (_, Ok(number)) => Ok(Threshold::Fixed(number)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Threshold, E> {
                Ok(Threshold::Fixed(number))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Threshold, E> {
                Ok(Threshold::Fixed(number as f64))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Threshold, A::Error> {
                let wanted =
                    Wanted::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Threshold::Sensitivity(wanted.sensitivity))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Segment {
    pub(super) certainty: f32,
    pub(super) examples: usize,
}

impl Default for Segment {
    fn default() -> Self {
        Segment {
            certainty: report::OVERLAY_THRESHOLD,
            examples: 4,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Report {
    pub(super) notes: Vec<String>,
    pub(super) samples: usize,
}

impl Default for Report {
    fn default() -> Self {
        Report {
            notes: vec![],
            samples: 12,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Phantom {
    /// Read before settings are: see [`super::load`].
    #[serde(rename = "stands_in_for")]
    pub(super) _stands_in_for: Option<String>,
    pub(super) kind: PhantomKind,
    pub(super) images: usize,
    pub(super) per_class: [usize; 2],
    pub(super) size: usize,
    pub(super) train: [usize; 2],
    pub(super) val: [usize; 2],
    pub(super) test: [usize; 2],
    pub(super) images_per_patient: usize,
    pub(super) difficulty: f64,
    pub(super) masks: Option<PhantomMasks>,
    pub(super) seed: u64,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PhantomKind {
    Chest,
    Cells,
    Heads,
}

impl PhantomKind {
    /// Its name, and the keys that the others do not have.
    pub(super) const OWN_KEYS: [(Self, &'static str, &'static [&'static str]); 3] = [
        (
            Self::Chest,
            "chest",
            &[
                "train",
                "val",
                "test",
                "images_per_patient",
                "difficulty",
                "masks",
            ],
        ),
        (Self::Cells, "cells", &["images"]),
        (Self::Heads, "heads", &["per_class"]),
    ];
}

/// Which of the phantom's masks teach the map.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PhantomMasks {
    Lungs,
    Opacity,
}

impl PhantomMasks {
    pub(super) fn folder(self) -> &'static str {
        match self {
            PhantomMasks::Lungs => "lungs",
            PhantomMasks::Opacity => "opacity",
        }
    }
}

impl Default for Phantom {
    fn default() -> Self {
        let dataset::phantom::PhantomConfig {
            size,
            train,
            val,
            test,
            images_per_patient,
            difficulty,
            seed,
            ..
        } = Default::default();
        let pair = |c: dataset::phantom::ClassImages| [c.normal, c.pneumonia];
        let heads = dataset::phantom::HeadsConfig::default();
        Phantom {
            _stands_in_for: None,
            kind: PhantomKind::Chest,
            images: dataset::phantom::CellsConfig::default().images,
            per_class: [heads.train, heads.test],
            size,
            train: pair(train),
            val: pair(val),
            test: pair(test),
            images_per_patient,
            difficulty,
            masks: None,
            seed,
        }
    }
}
