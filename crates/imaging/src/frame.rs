//! Images and masks in a network's frame.

mod kept;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U16, U16x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, GenericImage, ImageBuffer, Luma, Pixel, Rgb};

use crate::decode::{Decoder, to_grey, without_alpha};
use crate::error::ImagingError;
use crate::mask::{Mask, MaskCoding, UNKNOWN};
use crate::placement::nearest;
use crate::{Fit, Placement, Rect};

/// The shape that images are resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3; grey images are replicated to 3.
    pub channels: usize,
    /// How an image of another shape is fitted into it.
    pub fit: Fit,
}

impl Frame {
    /// A part of an image in the frame; all of it without a part.
    pub(crate) fn part(
        self,
        pixels: &DynamicImage,
        part: Option<Rect>,
        path: &Path,
    ) -> Result<Framed, ImagingError> {
        self.check()?;
        let (height, width) = (pixels.height() as usize, pixels.width() as usize);
        let part = part.unwrap_or(Rect::whole(height, width));
        let inside = |from: usize, side: usize, of: usize| {
            side > 0 && from.checked_add(side).is_some_and(|end| end <= of)
        };
        if !inside(part.top, part.height, height) || !inside(part.left, part.width, width) {
            let reason = format!("{part:?} is not a part of its {height}x{width} pixels");
            return Err(ImagingError::bad_image(path, reason));
        }
        framed(&of_channels(pixels, self.channels), None, part, self)
            .map_err(|reason| ImagingError::bad_image(path, reason))
    }

    fn check(&self) -> Result<(), ImagingError> {
        let Self {
            height,
            width,
            channels,
            ..
        } = *self;
        if height > 0 && width > 0 && matches!(channels, 1 | 3) {
            return Ok(());
        }
        let shape = format!("{height}x{width}x{channels}");
        let reason = "needs sizes above 0 and 1 or 3 channels";
        Err(ImagingError::setting("shape", shape, reason))
    }
}

impl Decoder {
    /// An image file in a frame, resized exactly as training images are.
    ///
    /// # Errors
    /// [`ImagingError::Setting`] for a frame without pixels or with a number of channels other than 1 or 3,
    /// [`ImagingError::BadImage`] if the file cannot be read or decoded.
    pub fn framed(&self, path: &Path, frame: Frame) -> Result<Framed, ImagingError> {
        frame.part(&self.pixels(path)?, None, path)
    }
}

/// An image and its mask at their own size, from which random crops are cut.
#[derive(Debug)]
pub struct Picture {
    pixels: DynamicImage,
    mask: Option<Mask>,
}

impl Picture {
    /// Reads an image file, of 1 or 3 channels, and the files of its mask, if there are any; `label` is the image's
    /// class.
    ///
    /// # Errors
    /// [`ImagingError::BadImage`] if a file cannot be read or decoded, or the mask does not fit the image.
    pub fn read(
        image: &Path,
        masks: &[PathBuf],
        (coding, label): (&MaskCoding, usize),
        channels: usize,
        decoder: Decoder,
    ) -> Result<Self, ImagingError> {
        let pixels = decoder.pixels(image)?;
        let mask = masks.first().map(|path| {
            let mask = Mask::open(masks, coding, label, decoder).and_then(|mask| {
                // Whether masks may differ in size was decided when the data were indexed.
                let fits = mask.check_size(pixels.width(), pixels.height(), true);
                fits.map(|()| mask)
            });
            mask.map_err(|reason| ImagingError::bad_image(path, reason))
        });
        Ok(Self {
            mask: mask.transpose()?,
            pixels: of_channels(&pixels, channels).into_owned(),
        })
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.pixels.height() as usize, self.pixels.width() as usize)
    }

    /// A part of it in a frame.
    ///
    /// # Errors
    /// The reason, as a message.
    pub fn framed(&self, part: Rect, frame: Frame) -> Result<Framed, String> {
        framed(&self.pixels, self.mask.as_ref(), part, frame)
    }

    /// Its size in memory.
    pub fn bytes(&self) -> usize {
        self.pixels.as_bytes().len() + self.mask.as_ref().map_or(0, |mask| mask.classes().len())
    }
}

/// The image with 1 or 3 channels; a grey one stays grey and is replicated only when 3 channels are needed.
fn of_channels(pixels: &DynamicImage, channels: usize) -> Cow<'_, DynamicImage> {
    match (channels, pixels) {
        (_, DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_)) => Cow::Borrowed(pixels),
        (1, _) => Cow::Owned(to_grey(pixels.clone())),
        (_, DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgb16(_)) => Cow::Borrowed(pixels),
        _ => Cow::Owned(without_alpha(pixels.clone())),
    }
}

/// A part of an image and its mask in a frame; the pixels have the frame's channels, or are grey.
fn framed(
    pixels: &DynamicImage,
    mask: Option<&Mask>,
    part: Rect,
    frame: Frame,
) -> Result<Framed, String> {
    let size = (pixels.height() as usize, pixels.width() as usize);
    let placement = Placement::of_part(frame.fit, size, part, (frame.height, frame.width));
    Ok(Framed {
        image: Pixels::new(in_frame(pixels, &placement)?, frame.channels),
        mask: mask.map(|mask| mask_in_frame(mask, &placement)),
        placement,
    })
}

/// An image in its frame, not yet augmented.
#[derive(Debug)]
pub struct Framed {
    /// Its pixels.
    pub image: Pixels,
    /// HW, class numbers or [`UNKNOWN`].
    mask: Option<Vec<u8>>,
    /// Where the file's pixels are in the frame, and the inverse mapping.
    pub placement: Placement,
}

impl Framed {
    /// Class numbers, HW; NaN where the class is unknown.
    pub fn mask_values(&self) -> Option<Vec<f32>> {
        let class = |&class: &u8| match class {
            UNKNOWN => f32::NAN,
            class => f32::from(class),
        };
        let mask = self.mask.as_ref()?;
        Some(mask.iter().map(class).collect())
    }

    /// Its size in memory.
    pub fn bytes(&self) -> usize {
        self.image.bytes() + self.mask.as_ref().map_or(0, Vec::len)
    }
}

/// HWC pixels as stored: a 16-bit file that uses only the lowest 4096 values must not be reduced to 8 bits.
#[derive(Debug)]
pub struct Pixels {
    stored: Stored,
    /// Channels stored: 1 or as many as `channels`.
    of: usize,
    channels: usize,
}

#[derive(Debug)]
enum Stored {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

impl Pixels {
    fn new(image: DynamicImage, channels: usize) -> Self {
        let of = usize::from(image.color().channel_count());
        let stored = match image {
            DynamicImage::ImageLuma16(grey) => Stored::Sixteen(grey.into_raw()),
            DynamicImage::ImageRgb16(rgb) => Stored::Sixteen(rgb.into_raw()),
            other => Stored::Eight(other.into_bytes()),
        };
        Self {
            stored,
            of,
            channels,
        }
    }

    /// HWC in [0, 1], grey replicated to the frame's channels.
    pub fn values(&self) -> Vec<f32> {
        let copies = self.channels / self.of;
        match &self.stored {
            Stored::Eight(v) => replicated(v.iter().map(|&v| f32::from(v) / 255.0), copies),
            Stored::Sixteen(v) => replicated(v.iter().map(|&v| f32::from(v) / 65535.0), copies),
        }
    }

    fn bytes(&self) -> usize {
        match &self.stored {
            Stored::Eight(values) => values.len(),
            Stored::Sixteen(values) => 2 * values.len(),
        }
    }
}

fn replicated(values: impl Iterator<Item = f32>, copies: usize) -> Vec<f32> {
    match copies {
        1 => values.collect(),
        _ => values
            .flat_map(|value| std::iter::repeat_n(value, copies))
            .collect(),
    }
}

/// The placement's part of the image, resized; black around it.
fn in_frame(image: &DynamicImage, placement: &Placement) -> Result<DynamicImage, String> {
    let Rect {
        top,
        left,
        height,
        width,
    } = placement.source;
    let target = placement.target;
    let resized = if (height, width) == placement.original {
        resized(image, target)?
    } else {
        let part = image.crop_imm(left as u32, top as u32, width as u32, height as u32);
        resized(&part, target)?
    };
    if placement.fills_frame() {
        return Ok(resized);
    }
    let (rows, columns) = placement.frame;
    let mut frame = DynamicImage::new(columns as u32, rows as u32, resized.color());
    let (x, y) = (target.left as u32, target.top as u32);
    let copied = match (&mut frame, &resized) {
        // Type by type: the trait of `DynamicImage` uses RGBA8, which would lose 16-bit precision.
        (DynamicImage::ImageLuma8(to), DynamicImage::ImageLuma8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageRgb8(to), DynamicImage::ImageRgb8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageLuma16(to), DynamicImage::ImageLuma16(from)) => {
            to.copy_from(from, x, y)
        }
        (DynamicImage::ImageRgb16(to), DynamicImage::ImageRgb16(from)) => to.copy_from(from, x, y),
        (to, from) => to.copy_from(from, x, y),
    };
    copied.map_err(|error| format!("cannot be padded: {error}"))?;
    Ok(frame)
}

/// Bilinear, with a filter that widens with the reduction (Pillow's `BILINEAR`): otherwise fine ribs and noise alias
/// into patterns that a network learns. The image is one of [`of_channels`].
fn resized(image: &DynamicImage, to: Rect) -> Result<DynamicImage, String> {
    let (height, width) = (to.height as u32, to.width as u32);
    if (image.height(), image.width()) == (height, width) {
        return Ok(image.clone());
    }
    let size = (width, height);
    // `Resizer::resize` would do the same, and be compiled for thirteen types of pixels.
    match image {
        DynamicImage::ImageLuma8(_) => resized_as::<U8, Luma<u8>>(image, size).map(Into::into),
        DynamicImage::ImageRgb8(_) => resized_as::<U8x3, Rgb<u8>>(image, size).map(Into::into),
        DynamicImage::ImageLuma16(_) => resized_as::<U16, Luma<u16>>(image, size).map(Into::into),
        DynamicImage::ImageRgb16(_) => resized_as::<U16x3, Rgb<u16>>(image, size).map(Into::into),
        other => Err(format!("pixels of type {:?}", other.color())),
    }
    .map_err(|error| format!("cannot be resized: {error}"))
}

/// An image whose pixels are of type `T`, called `P` by `image`, resized to a width and a height.
fn resized_as<T, P>(
    image: &DynamicImage,
    (width, height): (u32, u32),
) -> Result<ImageBuffer<P, Vec<P::Subpixel>>, String>
where
    T: PixelTrait<Component = P::Subpixel>,
    P: Pixel,
{
    let from = TypedImageRef::<T>::from_buffer(image.width(), image.height(), image.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut to = TypedImage::new(width, height);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false);
    let done = Resizer::new().resize_typed(&from, &mut to, &options);
    done.map_err(|error| error.to_string())?;
    let values = T::components(to.pixels()).to_vec();
    ImageBuffer::from_raw(width, height, values).ok_or_else(|| "too few values".to_owned())
}

/// The mask in the frame, by nearest pixel because classes cannot be interpolated; unknown in the border.
fn mask_in_frame(mask: &Mask, placement: &Placement) -> Vec<u8> {
    let Placement {
        original,
        source,
        frame,
        target,
    } = *placement;
    // Pixels of the image, and from there of the mask, which may differ in size by a common factor.
    let rows = nearest(source.height, target.height)
        .map(|row| (2 * (source.top + row) + 1) * mask.size().0 / (2 * original.0));
    let columns: Vec<usize> = nearest(source.width, target.width)
        .map(|column| (2 * (source.left + column) + 1) * mask.size().1 / (2 * original.1))
        .collect();
    let mut classes = vec![UNKNOWN; frame.0 * frame.1];
    for (y, row) in rows.enumerate() {
        let start = (target.top + y) * frame.1 + target.left;
        for (class, column) in classes[start..start + target.width]
            .iter_mut()
            .zip(&columns)
        {
            *class = mask.classes()[row * mask.size().1 + column];
        }
    }
    classes
}
