//! How stored values become grey, before an image is used.

use dicom::{Line, Window};
use image::{DynamicImage, ImageBuffer, Pixel};
use serde::{Deserialize, Serialize};

use super::{clahe, grey};

/// How stored values become grey: the window, the bits that are used, and equalization, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tones {
    /// The values from black to white. Formats other than DICOM have no window of their own: `auto` and `full` are then
    /// all values that their samples can have, a fixed window is in stored values, and colours are windowed channel by
    /// channel.
    pub window: Window,
    /// How many bits of a 16-bit sample are used, 9 to 16; not for DICOM files, which state it.
    pub bits: Option<u8>,
    /// Whether local contrast is enhanced.
    pub equalize: Equalize,
}

/// How local contrast is enhanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Equalize {
    /// Not at all.
    #[default]
    None,
    /// Contrast-limited adaptive histogram equalization with 8 × 8 tiles and a clip limit of 0.01, as
    /// `skimage.exposure.equalize_adapthist`.
    Clahe,
}

impl Tones {
    /// The settings in words, one for each step that differs from the default.
    pub fn steps(&self) -> Vec<String> {
        let window = match self.window {
            Window::Auto => None,
            Window::Full => Some("full range of the stored bits".to_owned()),
            Window::Percentile => Some("window from the 0.5th to the 99.5th percentile".to_owned()),
            Window::Fixed { center, width } => {
                Some(format!("window of center {center} and width {width}"))
            }
        };
        let bits = self.bits.map(|bits| format!("{bits} bits of 16"));
        let equalize = match self.equalize {
            Equalize::None => None,
            Equalize::Clahe => Some("CLAHE".to_owned()),
        };
        [window, bits, equalize].into_iter().flatten().collect()
    }

    /// The settings in words.
    pub fn in_words(&self) -> String {
        match self.steps() {
            steps if steps.is_empty() => "images as their files show them".to_owned(),
            steps => steps.join(", "),
        }
    }

    /// Applies window and bits to an image that is not from a DICOM file.
    pub(super) fn stretched(&self, image: DynamicImage) -> Result<DynamicImage, String> {
        let bits = self.bits.unwrap_or(16);
        let image = match (self.window, bits) {
            (Window::Auto | Window::Full, 16) => return Ok(image),
            _ => grey::without_alpha(image),
        };
        match image {
            DynamicImage::ImageLuma8(mut image) => {
                let line = self.line(&image, 8);
                stretch(&mut image, 255.0, line, |v| v as u8);
                Ok(DynamicImage::ImageLuma8(image))
            }
            DynamicImage::ImageRgb8(mut image) => {
                let line = self.line(&image, 8);
                stretch(&mut image, 255.0, line, |v| v as u8);
                Ok(DynamicImage::ImageRgb8(image))
            }
            DynamicImage::ImageLuma16(mut image) => {
                self.check_bits(image.as_raw())?;
                let line = self.line(&image, bits);
                stretch(&mut image, 65535.0, line, |v| v as u16);
                Ok(DynamicImage::ImageLuma16(image))
            }
            DynamicImage::ImageRgb16(mut image) => {
                self.check_bits(image.as_raw())?;
                let line = self.line(&image, bits);
                stretch(&mut image, 65535.0, line, |v| v as u16);
                Ok(DynamicImage::ImageRgb16(image))
            }
            other => Ok(other),
        }
    }

    /// The sample values that become black and white.
    fn line<P, S>(&self, image: &ImageBuffer<P, Vec<S>>, bits: u8) -> Line
    where
        P: Pixel<Subpixel = S>,
        S: image::Primitive + Into<u16>,
    {
        match self.window {
            Window::Auto | Window::Full => Line {
                black: 0.0,
                white: f64::from((1_u32 << bits) - 1),
            },
            Window::Fixed { center, width } => Line::exactly(center, width),
            Window::Percentile => percentiles(image.pixels().map(brightness).collect()),
        }
    }

    /// Values that need more bits than stated are not noise: the setting is wrong.
    fn check_bits(&self, samples: &[u16]) -> Result<(), String> {
        let highest = samples.iter().max().copied().unwrap_or_default();
        match self.bits {
            Some(bits) if u32::from(highest) >= 1 << bits => Err(format!(
                "its values go up to {highest}, more than image.bits = {bits} can hold; set it to {}",
                16 - highest.leading_zeros()
            )),
            _ => Ok(()),
        }
    }

    /// Applies the equalization.
    pub(super) fn equalized(&self, image: DynamicImage) -> DynamicImage {
        match self.equalize {
            Equalize::Clahe => clahe::equalized(image),
            Equalize::None => image,
        }
    }
}

/// The grey value of a pixel of 1 or 3 channels.
fn brightness<P, S>(pixel: &P) -> u16
where
    P: Pixel<Subpixel = S>,
    S: image::Primitive + Into<u16>,
{
    match *pixel.channels() {
        [r, g, b] => grey::luma([r, g, b].map(|c| u32::from(c.into()))) as u16,
        [grey, ..] => grey.into(),
        [] => 0,
    }
}

fn percentiles(mut values: Vec<u16>) -> Line {
    values.sort_unstable();
    let at = |rank: usize| f64::from(values.get(rank).copied().unwrap_or_default());
    Line::of_percentiles(values.len(), at)
}

/// Maps the line from black to white onto 0 to the highest sample.
fn stretch<P, S>(
    image: &mut ImageBuffer<P, Vec<S>>,
    highest: f64,
    line: Line,
    sample: impl Fn(f64) -> S,
) where
    P: Pixel<Subpixel = S>,
    S: image::Primitive + Into<u16>,
{
    let values = 0..=highest as usize;
    let table: Vec<S> = values
        .map(|value| sample((line.grey(value as f64) * highest).round()))
        .collect();
    for value in image.iter_mut() {
        let index: u16 = (*value).into();
        *value = table[usize::from(index)];
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};

    use super::*;

    fn deep(values: &[u16]) -> DynamicImage {
        let image = ImageBuffer::<Luma<u16>, _>::from_raw(values.len() as u32, 1, values.to_vec());
        DynamicImage::ImageLuma16(image.unwrap())
    }

    #[test]
    fn twelve_bits_cover_the_whole_range() {
        let tones = Tones {
            bits: Some(12),
            ..Tones::default()
        };
        let found = tones.stretched(deep(&[0, 1, 2048, 4095])).unwrap();
        assert_eq!(found, deep(&[0, 16, 32776, 65535]));
        let reason = tones.stretched(deep(&[0, 4096])).unwrap_err();
        assert!(
            reason.contains("4096") && reason.contains("set it to 13"),
            "{reason}"
        );
        let eight = DynamicImage::ImageLuma8(GrayImage::from_pixel(2, 2, Luma([200])));
        assert_eq!(tones.stretched(eight.clone()).unwrap(), eight);
        assert_eq!(Tones::default().stretched(deep(&[9])).unwrap(), deep(&[9]));
    }

    #[test]
    fn a_window_is_in_stored_values() {
        let window = Window::Fixed {
            center: 100.0,
            width: 100.0,
        };
        let tones = Tones {
            window,
            ..Tones::default()
        };
        let grey = GrayImage::from_vec(4, 1, vec![20, 75, 100, 200]).unwrap();
        let expected = GrayImage::from_vec(4, 1, vec![0, 64, 128, 255]).unwrap();
        let found = tones.stretched(DynamicImage::ImageLuma8(grey)).unwrap();
        assert_eq!(found, DynamicImage::ImageLuma8(expected));
        let found = tones.stretched(deep(&[50, 100, 150, 4000])).unwrap();
        assert_eq!(found, deep(&[0, 32768, 65535, 65535]));
    }

    /// `numpy.percentile(values, [0.5, 99.5])`.
    #[test]
    fn percentiles_are_those_of_numpy() {
        let line = percentiles((0..=1000).collect());
        assert_eq!((line.black, line.white), (5.0, 995.0));
        let Line { black, white } = percentiles(vec![7, 3, 90, 12, 40]);
        assert!(
            (black - 3.08).abs() < 1e-9 && (white - 89.0).abs() < 1e-9,
            "{black} {white}"
        );
        let tones = Tones {
            window: Window::Percentile,
            ..Tones::default()
        };
        let rgb = RgbImage::from_fn(256, 4, |x, _| Rgb([x as u8; 3]));
        let DynamicImage::ImageRgb8(found) = tones.stretched(DynamicImage::ImageRgb8(rgb)).unwrap()
        else {
            panic!("another kind");
        };
        let (black, white) = (1.0, 254.0);
        for (x, _, pixel) in found.enumerate_pixels() {
            let expected = ((f64::from(x) - black) / (white - black)).clamp(0.0, 1.0) * 255.0;
            assert!((f64::from(pixel.0[1]) - expected).abs() <= 0.51, "{x}");
        }
    }
}
