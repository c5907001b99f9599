//! The image or mask that is augmented.

use crate::area::Window;
use crate::error::{AugmentError, MAX_SIDE};

/// An image in memory: rows of pixels, channels innermost (HWC), values in `[0, 1]`.
///
/// A mask is also a raster, usually of one channel with values 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) data: Vec<f32>,
}

impl Raster {
    /// The longest side, in pixels: source coordinates are fixed-point numbers with 31 integer bits,
    /// and the strongest allowed zoom-out and shear reach about 150 sides away.
    pub const MAX_SIDE: usize = MAX_SIDE;

    /// A raster over `data`, which holds `height · width · channels` values in HWC order.
    ///
    /// # Errors
    /// If the number of values does not match the shape, there are no channels, or a side exceeds [`Self::MAX_SIDE`].
    pub fn new(
        height: usize,
        width: usize,
        channels: usize,
        data: Vec<f32>,
    ) -> Result<Self, AugmentError> {
        if channels == 0 || height.max(width) > Self::MAX_SIDE {
            return Err(AugmentError::BadShape {
                height,
                width,
                channels,
            });
        }
        let (expected, actual) = ((height * width).saturating_mul(channels), data.len());
        if expected != actual {
            return Err(AugmentError::WrongLength {
                height,
                width,
                channels,
                expected,
                actual,
            });
        }
        Ok(Self {
            height,
            width,
            channels,
            data,
        })
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Values per pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The values, HWC.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values, HWC, mutable.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Consumes the raster and returns the values, HWC.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Values per row.
    pub(crate) fn stride(&self) -> usize {
        self.width * self.channels
    }

    /// Crops to a window, which must be inside the raster.
    pub(crate) fn cut(&mut self, window: &Window) {
        let (stride, channels) = (self.stride(), self.channels);
        let values = window.columns.len() * channels;
        for (to, row) in window.rows.clone().enumerate() {
            // Rows only move towards the start, so none is overwritten before it has moved.
            let first = row * stride + window.columns.start * channels;
            self.data.copy_within(first..first + values, to * values);
        }
        (self.height, self.width) = (window.rows.len(), window.columns.len());
        self.data.truncate(self.height * values);
    }

    /// Sets the pixels of a rectangle, given in rows and columns inside the raster, to `value`.
    pub(crate) fn paint(
        &mut self,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        value: f32,
    ) {
        let (stride, channels) = (self.stride(), self.channels);
        for row in rows {
            self.data[row * stride..][columns.start * channels..columns.end * channels].fill(value);
        }
    }
}
