//! A binary mask, and its surface.

/// A binary mask over borrowed pixels, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask<'a> {
    height: usize,
    width: usize,
    pixels: &'a [bool],
}

/// Why a mask or a setting was rejected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MorphologyError {
    /// The number of pixels does not match the shape.
    #[error("a mask of {height}×{width} needs {} pixels, but {len} were given", height * width)]
    Length {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Pixels given.
        len: usize,
    },
    /// A setting outside its range.
    #[error("`{name}` is {value}: it must be {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The given value.
        value: f64,
        /// The allowed values.
        expected: &'static str,
    },
}

impl<'a> Mask<'a> {
    /// A mask over `pixels`.
    ///
    /// # Errors
    /// If the number of pixels is not `height · width`.
    pub fn new(height: usize, width: usize, pixels: &'a [bool]) -> Result<Self, MorphologyError> {
        let len = pixels.len();
        if height.checked_mul(width) != Some(len) {
            return Err(MorphologyError::Length { height, width, len });
        }
        Ok(Self {
            height,
            width,
            pixels,
        })
    }

    /// Rows.
    pub fn height(self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(self) -> usize {
        self.width
    }

    /// The pixels, row by row.
    pub fn pixels(self) -> &'a [bool] {
        self.pixels
    }

    /// Whether no pixel is set.
    pub fn is_empty(self) -> bool {
        !self.pixels.contains(&true)
    }

    /// The mask's surface: its pixels that share an edge with a pixel outside it or with the image's border (the mask
    /// without its erosion by a cross, the definition of MedPy and MONAI).
    pub fn surface(self) -> Vec<bool> {
        let inner = |i: usize| {
            let (row, column) = (i / self.width, i % self.width);
            row > 0
                && column > 0
                && row + 1 < self.height
                && column + 1 < self.width
                && self.pixels[i - 1]
                && self.pixels[i + 1]
                && self.pixels[i - self.width]
                && self.pixels[i + self.width]
        };
        let surface = |(i, set): (usize, &bool)| *set && !inner(i);
        self.pixels.iter().enumerate().map(surface).collect()
    }
}
