//! File → pixels in the network's frame, kept in memory within a budget.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, GenericImage};

use crate::decode::{Decoder, to_grey, without_alpha};
use crate::mask::{Mask, MaskCoding, UNKNOWN};
use crate::placement::nearest;
use crate::{DatasetError, Fit, ImageRecord, Manifest, Placement, Rect};

/// Shape of what comes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) fit: Fit,
}

/// Where a row's pixels come from.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) image: PathBuf,
    pub(super) masks: Vec<PathBuf>,
    pub(super) label: usize,
}

impl Files {
    pub(super) fn of(manifest: &Manifest, record: &ImageRecord) -> Self {
        Self {
            image: manifest.image_file(record),
            masks: manifest.mask_files(record),
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
    /// Where the file's pixels lie in `image`, and the way back.
    pub placement: Placement,
}

impl Decoder {
    /// Reads any JPEG or PNG exactly as the loader does.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for a size of 0 or channels other than 1 or 3,
    /// [`DatasetError::BadImage`] where the file cannot be read or decoded.
    pub fn picture(
        &self,
        path: &Path,
        (height, width): (usize, usize),
        channels: usize,
        fit: Fit,
    ) -> Result<Picture, DatasetError> {
        if height == 0 || width == 0 || !matches!(channels, 1 | 3) {
            let shape = format!("{height}x{width}x{channels}");
            let reason = "needs sizes above 0, 1 or 3 channels";
            return Err(DatasetError::setting("shape", shape, reason));
        }
        let image = self.open(path)?;
        let (original_height, original_width) = (image.height() as usize, image.width() as usize);
        let geometry = Geometry {
            height,
            width,
            channels,
            fit,
        };
        let whole = Whole::new(image, None, channels);
        let all = Rect::whole(original_height, original_width);
        let framed = whole.framed(path, all, geometry)?;
        Ok(Picture {
            image: framed.image.to_unit(channels),
            original_height,
            original_width,
            placement: framed.placement,
        })
    }
}

impl Manifest {
    /// An image as [`Decoder::picture`] reads it.
    ///
    /// # Errors
    /// As there, but for [`DatasetError::Vanished`] where the file can no longer be read.
    pub fn picture(
        &self,
        record: &ImageRecord,
        size: (usize, usize),
        channels: usize,
        fit: Fit,
    ) -> Result<Picture, DatasetError> {
        let picture = (self.decoder()).picture(&self.image_file(record), size, channels, fit);
        picture.map_err(DatasetError::vanished)
    }
}

/// An image and its mask at their own size: what random crops are cut from.
#[derive(Debug)]
pub(super) struct Whole {
    image: DynamicImage,
    mask: Option<Mask>,
}

impl Whole {
    fn new(image: DynamicImage, mask: Option<Mask>, channels: usize) -> Self {
        let image = match channels {
            1 => to_grey(image),
            _ => without_alpha(image),
        };
        Self { image, mask }
    }

    pub(super) fn read(
        files: &Files,
        coding: &MaskCoding,
        channels: usize,
        decoder: Decoder,
    ) -> Result<Self, DatasetError> {
        let image = decoder.open(&files.image)?;
        let mask = files.masks.first().map(|path| {
            let mask = Mask::open(&files.masks, coding, files.label, decoder);
            let mask = mask.map_err(|reason| bad(path, reason))?;
            // Whether another size may be was decided when it was indexed.
            let fits = mask.check_size(image.width(), image.height(), true);
            fits.map(|()| mask).map_err(|reason| bad(path, reason))
        });
        let mask = mask.transpose()?;
        Ok(Self::new(image, mask, channels))
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.image.height() as usize, self.image.width() as usize)
    }

    /// A part of it in the network's frame; grey is kept as one channel until it is needed as
    /// three.
    pub(super) fn framed(
        &self,
        path: &Path,
        part: Rect,
        geometry: Geometry,
    ) -> Result<Framed, DatasetError> {
        let frame = (geometry.height, geometry.width);
        let placement = Placement::of_part(geometry.fit, self.size(), part, frame);
        let image = in_frame(path, &self.image, &placement)?;
        Ok(Framed {
            image: Pixels::new(image),
            mask: self
                .mask
                .as_ref()
                .map(|mask| mask_in_frame(mask, &placement)),
            placement,
        })
    }

    fn bytes(&self) -> usize {
        self.image.as_bytes().len() + self.mask.as_ref().map_or(0, |mask| mask.classes.len())
    }
}

/// Resized, not yet augmented.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) image: Pixels,
    /// HW, class numbers or [`UNKNOWN`].
    mask: Option<Vec<u8>>,
    pub(super) placement: Placement,
}

impl Framed {
    /// Class numbers, HW; NaN where the class is unknown.
    pub(super) fn unit_mask(&self) -> Option<Vec<f32>> {
        let class = |&class: &u8| match class {
            UNKNOWN => f32::NAN,
            class => f32::from(class),
        };
        let mask = self.mask.as_ref()?;
        Some(mask.iter().map(class).collect())
    }

    fn bytes(&self) -> usize {
        self.image.bytes() + self.mask.as_ref().map_or(0, Vec::len)
    }
}

/// What is kept of a file: the frame where that is always the same, else all of it.
#[derive(Debug)]
pub(super) enum Prepared {
    Framed(Framed),
    Whole(Whole),
}

impl Prepared {
    fn bytes(&self) -> usize {
        match self {
            Self::Framed(framed) => framed.bytes(),
            Self::Whole(whole) => whole.bytes(),
        }
    }
}

/// HWC pixels as stored: a 16-bit file that uses the lowest 4096 values must not lose them to 8.
#[derive(Debug)]
pub(super) enum Pixels {
    Eight(Vec<u8>, usize),
    Sixteen(Vec<u16>, usize),
}

impl Pixels {
    fn new(image: DynamicImage) -> Self {
        let channels = usize::from(image.color().channel_count());
        match image {
            DynamicImage::ImageLuma16(grey) => Self::Sixteen(grey.into_raw(), channels),
            DynamicImage::ImageRgb16(rgb) => Self::Sixteen(rgb.into_raw(), channels),
            other => Self::Eight(other.into_bytes(), channels),
        }
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

/// The placement's part of the image, resized; black around it.
fn in_frame(
    path: &Path,
    image: &DynamicImage,
    placement: &Placement,
) -> Result<DynamicImage, DatasetError> {
    let Rect {
        top,
        left,
        height,
        width,
    } = placement.source;
    let target = placement.target;
    let resized = if (height, width) == placement.original {
        resized(path, image, target)?
    } else {
        let part = image.crop_imm(left as u32, top as u32, width as u32, height as u32);
        resized(path, &part, target)?
    };
    if placement.fills_frame() {
        return Ok(resized);
    }
    let (rows, columns) = placement.frame;
    let mut frame = DynamicImage::new(columns as u32, rows as u32, resized.color());
    let (x, y) = (target.left as u32, target.top as u32);
    let copied = match (&mut frame, &resized) {
        // Type by type: the trait of `DynamicImage` speaks RGBA8, in which 16 bits would be lost.
        (DynamicImage::ImageLuma8(to), DynamicImage::ImageLuma8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageRgb8(to), DynamicImage::ImageRgb8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageLuma16(to), DynamicImage::ImageLuma16(from)) => {
            to.copy_from(from, x, y)
        }
        (DynamicImage::ImageRgb16(to), DynamicImage::ImageRgb16(from)) => to.copy_from(from, x, y),
        (to, from) => to.copy_from(from, x, y),
    };
    copied.map_err(|error| bad(path, format!("cannot be padded: {error}")))?;
    Ok(frame)
}

/// Bilinear with a filter as wide as the shrinking (Pillow's `BILINEAR`): without it fine ribs and
/// noise alias into patterns that a network learns.
fn resized(path: &Path, image: &DynamicImage, to: Rect) -> Result<DynamicImage, DatasetError> {
    let (height, width) = (to.height as u32, to.width as u32);
    if (image.height(), image.width()) == (height, width) {
        return Ok(image.clone());
    }
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false);
    let mut out = DynamicImage::new(width, height, image.color());
    let done = Resizer::new().resize(image, &mut out, &options);
    done.map_err(|error| bad(path, format!("cannot be resized: {error}")))?;
    Ok(out)
}

/// The nearest pixel, for there is no class between two classes; unknown in the border.
fn mask_in_frame(mask: &Mask, placement: &Placement) -> Vec<u8> {
    let Placement {
        original,
        source,
        frame,
        target,
    } = *placement;
    // Pixels of the image, and from there of the mask, whose size may be another by one factor.
    let rows = nearest(source.height, target.height)
        .map(|row| (2 * (source.top + row) + 1) * mask.height / (2 * original.0));
    let columns: Vec<usize> = nearest(source.width, target.width)
        .map(|column| (2 * (source.left + column) + 1) * mask.width / (2 * original.1))
        .collect();
    let mut classes = vec![UNKNOWN; frame.0 * frame.1];
    for (y, row) in rows.enumerate() {
        let start = (target.top + y) * frame.1 + target.left;
        for (class, column) in classes[start..start + target.width]
            .iter_mut()
            .zip(&columns)
        {
            *class = mask.classes[row * mask.width + column];
        }
    }
    classes
}

fn bad(path: &Path, reason: String) -> DatasetError {
    DatasetError::bad_image(path, reason)
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
