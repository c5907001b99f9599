//! The image that is explained, and the constant image that takes the place of what is removed.

use model::graph::Hwc;

use crate::error::{AttributionError, Result, finite};

/// One image as the network takes it: normalized, channels last.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    data: &'a [f32],
    shape: Hwc,
}

impl<'a> Image<'a> {
    /// `data` has `h·w·c` values.
    ///
    /// # Errors
    /// Another number of values, or one that is NaN or infinite.
    pub fn new(data: &'a [f32], shape: Hwc) -> Result<Self> {
        if data.len() != shape.len() {
            return Err(AttributionError::Length {
                what: "an image",
                shape,
                len: data.len(),
            });
        }
        finite("the image", data)?;
        Ok(Image { data, shape })
    }

    /// The values, `[h, w, c]`.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Rows, columns and channels.
    pub fn shape(&self) -> Hwc {
        self.shape
    }
}

/// An image without information: one colour.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Baseline {
    /// The mean colour of the training images: zero after normalization.
    #[default]
    Mean,
    /// A colour, after normalization: one value per channel. Black is `−mean / std`.
    Colour(Vec<f32>),
}

impl Baseline {
    /// The colour of an image of `channels` channels.
    ///
    /// # Errors
    /// Not one finite value per channel.
    pub fn colour(&self, channels: usize) -> Result<Vec<f32>> {
        match self {
            Baseline::Mean => Ok(vec![0.0; channels]),
            Baseline::Colour(colour) if colour.len() == channels => {
                finite("the baseline", colour)?;
                Ok(colour.clone())
            }
            Baseline::Colour(colour) => Err(AttributionError::Setting {
                name: "baseline",
                value: format!("{colour:?}"),
                expected: format!("one value for each of the image's {channels} channels"),
            }),
        }
    }

    /// The whole image, `[h, w, c]`.
    ///
    /// # Errors
    /// As [`Baseline::colour`].
    pub fn image(&self, shape: Hwc) -> Result<Vec<f32>> {
        Ok(self.colour(shape.c)?.repeat(shape.h * shape.w))
    }
}
