//! File → resized pixels, kept in memory within a budget.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;

use crate::decode::{binary_mask, decode, to_grey, without_alpha};
use crate::{DatasetError, ImageRecord, Manifest};

/// Shape of what comes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

/// Where a row's pixels come from.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) image: PathBuf,
    pub(super) mask: Option<PathBuf>,
    pub(super) label: usize,
}

impl Files {
    pub(super) fn of(manifest: &Manifest, record: &ImageRecord) -> Self {
        Self {
            image: manifest.image_file(record),
            mask: manifest.mask_file(record),
            label: record.class,
        }
    }
}

/// An image from outside any data set, ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// HWC in [0, 1], of the size asked for.
    pub image: Vec<f32>,
    /// Pixels down in the file.
    pub original_height: usize,
    /// Pixels across in the file.
    pub original_width: usize,
}

/// Reads any JPEG or PNG exactly as the loader does.
///
/// # Errors
/// [`DatasetError::Setting`] for a size of 0 or channels other than 1 or 3,
/// [`DatasetError::BadImage`] where the file cannot be read or decoded.
pub fn read_image(
    path: &Path,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Picture, DatasetError> {
    if height == 0 || width == 0 || !matches!(channels, 1 | 3) {
        let shape = format!("{height}x{width}x{channels}");
        return Err(DatasetError::setting(
            "shape",
            shape,
            "needs sizes above 0, 1 or 3 channels",
        ));
    }
    let image = open(path)?;
    let (original_height, original_width) = (image.height() as usize, image.width() as usize);
    let geometry = Geometry {
        height,
        width,
        channels,
    };
    let pixels = Pixels::new(path, image, geometry)?;
    Ok(Picture {
        image: pixels.to_unit(channels),
        original_height,
        original_width,
    })
}

/// Resized, not yet augmented; grey is kept as one channel until it is needed as three.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) image: Pixels,
    /// HW, 0 or 255.
    mask: Option<Vec<u8>>,
}

impl Prepared {
    pub(super) fn read(files: &Files, geometry: Geometry) -> Result<Self, DatasetError> {
        let image = Pixels::new(&files.image, open(&files.image)?, geometry)?;
        let mask = files
            .mask
            .as_ref()
            .map(|path| read_mask(path, geometry))
            .transpose()?;
        Ok(Self { image, mask })
    }

    /// 0 or 1, HW: resizing blends, half decides.
    pub(super) fn unit_mask(&self) -> Option<Vec<f32>> {
        let set = |&value: &u8| f32::from(u8::from(value >= 128));
        self.mask
            .as_ref()
            .map(|mask| mask.iter().map(set).collect())
    }

    fn bytes(&self) -> usize {
        self.image.bytes() + self.mask.as_ref().map_or(0, Vec::len)
    }
}

/// HWC pixels as stored: a 16-bit file that uses the lowest 4096 values must not lose them to 8.
#[derive(Debug)]
pub(super) enum Pixels {
    Eight(Vec<u8>, usize),
    Sixteen(Vec<u16>, usize),
}

impl Pixels {
    fn new(path: &Path, image: DynamicImage, geometry: Geometry) -> Result<Self, DatasetError> {
        let image = if geometry.channels == 1 {
            to_grey(image)
        } else {
            without_alpha(image)
        };
        let image = resized(path, image, geometry)?;
        let channels = usize::from(image.color().channel_count());
        Ok(match image {
            DynamicImage::ImageLuma16(grey) => Self::Sixteen(grey.into_raw(), channels),
            DynamicImage::ImageRgb16(rgb) => Self::Sixteen(rgb.into_raw(), channels),
            other => Self::Eight(other.into_bytes(), channels),
        })
    }

    /// HWC in [0, 1] with `channels` channels, grey replicated.
    pub(super) fn to_unit(&self, channels: usize) -> Vec<f32> {
        match self {
            Self::Eight(v, stored) => {
                unit(v.iter().map(|&v| f32::from(v) / 255.0), channels / stored)
            }
            Self::Sixteen(v, stored) => {
                unit(v.iter().map(|&v| f32::from(v) / 65535.0), channels / stored)
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Eight(values, _) => values.len(),
            Self::Sixteen(values, _) => 2 * values.len(),
        }
    }
}

fn unit(values: impl Iterator<Item = f32>, copies: usize) -> Vec<f32> {
    match copies {
        1 => values.collect(),
        _ => values
            .flat_map(|value| std::iter::repeat_n(value, copies))
            .collect(),
    }
}

fn open(path: &Path) -> Result<DynamicImage, DatasetError> {
    let bytes = std::fs::read(path).map_err(|error| bad(path, error.to_string()))?;
    decode(&bytes).map_err(|reason| bad(path, reason))
}

fn read_mask(path: &Path, geometry: Geometry) -> Result<Vec<u8>, DatasetError> {
    let mask = DynamicImage::ImageLuma8(binary_mask(open(path)?));
    Ok(resized(path, mask, geometry)?.into_bytes())
}

/// Bilinear with a filter as wide as the shrinking (Pillow's `BILINEAR`): without it fine ribs and
/// noise alias into patterns that a network learns.
fn resized(path: &Path, image: DynamicImage, to: Geometry) -> Result<DynamicImage, DatasetError> {
    let (height, width) = (to.height as u32, to.width as u32);
    if (image.height(), image.width()) == (height, width) {
        return Ok(image);
    }
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false);
    let mut out = DynamicImage::new(width, height, image.color());
    let done = Resizer::new().resize(&image, &mut out, &options);
    done.map_err(|error| bad(path, format!("cannot be resized: {error}")))?;
    Ok(out)
}

fn bad(path: &Path, reason: String) -> DatasetError {
    DatasetError::BadImage {
        path: path.to_owned(),
        reason,
    }
}

/// Prepared images by row. Which of them fit in the budget depends on who came first; what a
/// sample looks like does not.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Vec<OnceLock<Arc<Prepared>>>,
    used: AtomicUsize,
    budget: usize,
}

impl Cache {
    pub(super) fn new(rows: usize, budget: usize) -> Self {
        let slots = std::iter::repeat_with(OnceLock::new).take(rows).collect();
        Self {
            slots,
            used: AtomicUsize::new(0),
            budget,
        }
    }

    pub(super) fn get_or_read(
        &self,
        row: usize,
        read: impl FnOnce() -> Result<Prepared, DatasetError>,
    ) -> Result<Arc<Prepared>, DatasetError> {
        if let Some(prepared) = self.slots[row].get() {
            return Ok(prepared.clone());
        }
        let prepared = Arc::new(read()?);
        let bytes = prepared.bytes();
        let fits = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.budget;
        if !fits || self.slots[row].set(prepared.clone()).is_err() {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(prepared)
    }
}
