//! `[image]`: how images are prepared for the network.

use std::path::Path;

use dataset::DiskCache;
use formats::weights::InputNormalization;
use imaging::{Decoder, Equalize, Fit, Tones, Window};
use model::build::{self, ModelSpec};
use serde::Deserialize;

use super::region::{Region, RegionSettings, region};
use crate::keys::Keys;
use crate::paths::Paths;
use crate::tree::{ConfigError, did_you_mean};

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Image {
    pub(crate) size: Size,
    pub(crate) fit: Fit,
    pub(crate) crop: Option<Size>,
    pub(crate) channels: usize,
    pub(crate) normalization: Normalization,
    pub(crate) cache: CacheName,
    pub(crate) cache_mib: usize,
    pub(crate) cache_disk_mib: Option<u64>,
    pub(crate) max_megapixels: u64,
    pub(crate) frame: Option<u32>,
    pub(crate) window: Window,
    pub(crate) bits: Option<u8>,
    pub(crate) equalize: Equalize,
    pub(crate) region: Region,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            size: Size(224, 224),
            fit: Fit::Stretch,
            crop: None,
            channels: 3,
            normalization: Normalization::Named("auto".into()),
            cache: CacheName::Memory,
            cache_mib: 2048,
            cache_disk_mib: None,
            max_megapixels: imaging::Decoder::DEFAULT_MEGAPIXELS,
            frame: None,
            window: Window::Auto,
            bits: None,
            equalize: Equalize::None,
            region: Region::None,
        }
    }
}

/// Where decoded images are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheName {
    Memory,
    Disk,
}

/// `224` or `[height, width]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) usize, pub(crate) usize);

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
pub(crate) enum Normalization {
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

/// How images are prepared for the network.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSettings {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// How an image of another shape is fitted to that size.
    pub fit: Fit,
    /// Rows and columns of the random crops that training takes from larger images.
    pub crop: Option<(usize, usize)>,
    /// 1 or 3.
    pub channels: usize,
    /// Subtracted from values in [0, 1], one per channel.
    pub mean: Vec<f32>,
    /// Then divided by, one per channel.
    pub std: Vec<f32>,
    /// Memory for caching decoded images.
    pub cache_bytes: usize,
    /// Disk for decoded images that do not fit there.
    pub disk: Option<DiskCache>,
    /// How image files are read, and up to what size.
    pub decoder: Decoder,
    /// The part of each image that the network sees; all of it if `None`.
    pub region: Option<RegionSettings>,
}

pub(crate) fn image(
    keys: &Keys<'_>,
    paths: &Paths<'_>,
    raw: Image,
    spec: &ModelSpec,
    trained_with: Option<&InputNormalization>,
    runs: &Path,
) -> Result<ImageSettings, ConfigError> {
    let Size(height, width) = raw.size;
    if raw.channels != 1 && raw.channels != 3 {
        return Err(keys.refuse(
            "image.channels",
            format!("{} is not supported: use 1 (grey) or 3 (RGB)", raw.channels),
        ));
    }
    keys.within("image.cache_mib", raw.cache_mib, 0, 1 << 20)?;
    keys.within("image.max_megapixels", raw.max_megapixels, 1, 4000)?;
    if let Some(frame) = raw.frame {
        keys.within("image.frame", frame, 1, u32::MAX)?;
    }
    if let Some(bits) = raw.bits {
        keys.within("image.bits", bits, 9, 16)?;
    }
    if let Some(Size(rows, columns)) = raw.crop {
        keys.within("image.crop", rows.min(columns), 1, 1 << 16)?;
        keys.within("image.crop", rows.max(columns), 1, 1 << 16)?;
    }
    let trained_with = trained_with.map(|n| n.channels(raw.channels));
    let InputNormalization { mean, std } = match (&raw.normalization, trained_with) {
        (Normalization::Named(name), Some(weights)) if name == "auto" => weights,
        (chosen, weights) => {
            let chosen = normalization(keys, chosen, raw.channels, spec)?;
            agree(keys, &chosen, weights.as_ref())?;
            chosen
        }
    };
    let tones = Tones {
        window: raw.window,
        bits: raw.bits,
        equalize: raw.equalize,
    };
    Ok(ImageSettings {
        height,
        width,
        fit: raw.fit,
        crop: raw.crop.map(|Size(rows, columns)| (rows, columns)),
        channels: raw.channels,
        mean,
        std,
        cache_bytes: raw.cache_mib << 20,
        disk: disk(keys, &raw, runs)?,
        decoder: Decoder {
            frame: raw.frame,
            tones,
            ..Decoder::of_megapixels(raw.max_megapixels)
        },
        region: region(keys, paths, raw.region, tones)?,
    })
}

/// Below the folder of all runs, which share it.
fn disk(keys: &Keys<'_>, raw: &Image, runs: &Path) -> Result<Option<DiskCache>, ConfigError> {
    /// 64 GiB.
    const DEFAULT_MIB: u64 = 1 << 16;
    match (raw.cache, raw.cache_disk_mib) {
        (CacheName::Memory, None) => Ok(None),
        (CacheName::Memory, Some(_)) => Err(keys.refuse(
            "image.cache_disk_mib",
            "nothing is kept on the disk: set image.cache = \"disk\", or remove the key",
        )),
        (CacheName::Disk, mib) => {
            let mib = mib.unwrap_or(DEFAULT_MIB);
            keys.within("image.cache_disk_mib", mib, 1, 1 << 30)?;
            Ok(Some(DiskCache {
                folder: runs.join(".cache/decoded"),
                bytes: mib << 20,
            }))
        }
    }
}

/// With another input normalization than that of their training, the features of pretrained weights are meaningless.
fn agree(
    keys: &Keys<'_>,
    chosen: &InputNormalization,
    weights: Option<&InputNormalization>,
) -> Result<(), ConfigError> {
    match weights {
        Some(weights) if !weights.agrees(chosen) => Err(keys.refuse(
            "image.normalization",
            format!(
                "this is {chosen}, but the weights of model.pretrained were trained with {weights}: set \"auto\" to \
                 use theirs"
            ),
        )),
        _ => Ok(()),
    }
}

fn normalization(
    keys: &Keys<'_>,
    raw: &Normalization,
    channels: usize,
    spec: &ModelSpec,
) -> Result<InputNormalization, ConfigError> {
    const KEY: &str = "image.normalization";
    let chosen = match raw {
        Normalization::Values { mean, std } => {
            let whole = mean.len() == channels && std.len() == channels;
            if !whole
                || mean.iter().chain(std).any(|v| !v.is_finite())
                || std.iter().any(|s| *s <= 0.0)
            {
                return Err(keys.refuse(
                    KEY,
                    format!("mean and std need {channels} finite numbers each, std above 0"),
                ));
            }
            return Ok(InputNormalization {
                mean: mean.clone(),
                std: std.clone(),
            });
        }
        Normalization::Named(name) => match name.as_str() {
            "auto" => spec.normalization().map_err(|e| {
                let key = e.key().map_or("model".into(), |key| format!("model.{key}"));
                keys.refuse(&key, e.to_string())
            })?,
            "half" => build::Normalization::HALF,
            "imagenet" => build::Normalization::IMAGENET,
            other => {
                let hint = did_you_mean(other, &["auto", "half", "imagenet"]);
                return Err(keys.refuse(KEY, format!("\"{other}\" is not known{hint}; choose one of auto, half, imagenet or {{ mean, std }}")));
            }
        },
    };
    Ok(InputNormalization::from(chosen).channels(channels))
}
