//! A single f32 channel, used for grey images, class maps and masks.

use image::{GrayImage, RgbImage};

use crate::Error;

/// A single-channel image in row-major order: `height` rows of `width` values.
///
/// In a grey image or class map, values are in 0..=1 (others are clamped when displayed, NaN is displayed as 0); in a
/// mask, pixels with values of at least 0.5 are inside.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    width: u32,
    height: u32,
    values: Vec<f32>,
}

impl Plane {
    /// Checks that `values` has `width · height` entries and that neither side is 0.
    pub fn new(width: u32, height: u32, values: Vec<f32>) -> Result<Self, Error> {
        let wanted = width as usize * height as usize;
        if wanted == 0 || values.len() != wanted {
            let expected = format!("{width}×{height} values, at least one");
            return Err(Error::shape("image plane", expected, values.len()));
        }
        Ok(Self {
            width,
            height,
            values,
        })
    }

    /// Creates a plane whose value at column x, row y is `value(x, y)`; a side of 0 is an error.
    pub fn from_fn(
        width: u32,
        height: u32,
        mut value: impl FnMut(u32, u32) -> f32,
    ) -> Result<Self, Error> {
        let cells = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let values = cells.map(|(x, y)| value(x, y)).collect();
        Self::new(width, height, values)
    }

    /// Creates a plane from 8-bit grey values, scaled to 0..=1.
    pub fn from_luma8(image: &GrayImage) -> Result<Self, Error> {
        let values = image
            .as_raw()
            .iter()
            .map(|&v| f32::from(v) / 255.0)
            .collect();
        Self::new(image.width(), image.height(), values)
    }

    /// Columns and rows.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The values in row-major order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The value at column x, row y; `None` outside the plane.
    pub fn get(&self, x: u32, y: u32) -> Option<f32> {
        if x >= self.width || y >= self.height {
            return None;
        }
        self.values
            .get(y as usize * self.width as usize + x as usize)
            .copied()
    }

    /// Whether the pixel is inside the mask; false outside the plane.
    pub fn is_set(&self, x: u32, y: u32) -> bool {
        self.get(x, y).is_some_and(|v| v >= 0.5)
    }

    /// Bilinear resampling with pixel centres at half-integers (align_corners = false), used to scale a map in the
    /// network's size to the original image. Resizing to the same size does not change the values.
    pub fn resized(&self, width: u32, height: u32) -> Result<Self, Error> {
        if (width, height) == self.dimensions() {
            return Ok(self.clone());
        }
        let (sx, sy) = (
            f64::from(self.width) / f64::from(width),
            f64::from(self.height) / f64::from(height),
        );
        Self::from_fn(width, height, |x, y| {
            self.sample(
                (f64::from(x) + 0.5) * sx - 0.5,
                (f64::from(y) + 0.5) * sy - 0.5,
            )
        })
    }

    /// Converts grey to three equal 8-bit channels.
    pub fn to_rgb(&self) -> RgbImage {
        RgbImage::from_fn(self.width, self.height, |x, y| {
            let grey = to_byte(self.get(x, y).unwrap_or(0.0));
            image::Rgb([grey, grey, grey])
        })
    }

    fn sample(&self, x: f64, y: f64) -> f32 {
        let (x0, x1, fx) = neighbours(x, self.width);
        let (y0, y1, fy) = neighbours(y, self.height);
        let at = |x, y| self.get(x, y).unwrap_or(0.0);
        let top = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
        let bottom = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
        top * (1.0 - fy) + bottom * fy
    }
}

/// Maps 0..=1 to 0..=255, rounded and clamped; NaN becomes 0.
pub(crate) fn to_byte(value: f32) -> u8 {
    // `as` saturates and maps NaN to 0.
    (value * 255.0).round() as u8
}

/// The indices on both sides of a position, clamped to the border, and the weight of the second.
fn neighbours(position: f64, len: u32) -> (u32, u32, f32) {
    let clamped = position.clamp(0.0, f64::from(len - 1));
    let low = clamped.floor();
    let index = low as u32;
    (index, (index + 1).min(len - 1), (clamped - low) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_for_wrong_sizes_name_the_plane() {
        let error = Plane::new(3, 2, vec![0.0; 5]).unwrap_err().to_string();
        assert_eq!(
            error,
            "image plane: expected 3×2 values, at least one, found 5"
        );
        assert!(Plane::new(0, 0, vec![]).is_err());
    }

    /// Expected values of PyTorch 2.15: torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=False).
    #[test]
    fn resizing_agrees_with_pytorch() {
        let plane = Plane::new(2, 2, vec![0.0, 1.0, 2.0, 4.0]).unwrap();
        let wider = plane.resized(4, 2).unwrap();
        assert_eq!(wider.values(), [0.0, 0.25, 0.75, 1.0, 2.0, 2.5, 3.5, 4.0]);
        assert_eq!(plane.resized(1, 1).unwrap().values(), [1.75]);
    }

    #[test]
    fn bytes_saturate() {
        let shown: Vec<u8> = [-1.0, 0.0, 0.5, 1.0, 7.0, f32::NAN]
            .into_iter()
            .map(to_byte)
            .collect();
        assert_eq!(shown, [0, 0, 128, 255, 255, 0]);
    }
}
