//! The values of a decoded mask file, one per pixel.

use image::DynamicImage;

use super::{Channel, PixelValue};
use crate::decode::without_alpha;

/// The colour of each pixel, with 8 bits per channel.
pub(super) fn colours(image: &DynamicImage) -> Vec<PixelValue> {
    let colours = image.to_rgb8();
    colours.pixels().map(|p| PixelValue::Colour(p.0)).collect()
}

/// The values of a channel as stored.
///
/// # Errors
/// The reason, as a message: a colour image where grey is expected, or a channel that the image lacks.
pub(super) fn greys(image: &DynamicImage, channel: Channel) -> Result<Vec<PixelValue>, String> {
    let values = match channel {
        Channel::Grey => grey(image)?,
        Channel::Red => of_channel(image, 0),
        Channel::Green => of_channel(image, 1),
        Channel::Blue => of_channel(image, 2),
        Channel::Alpha if image.color().has_alpha() => of_channel(image, 3),
        Channel::Alpha => {
            return Err("it has no alpha channel, where data.mask.channel expects the mask".into());
        }
    };
    Ok(values.into_iter().map(PixelValue::Grey).collect())
}

/// Grey values; colour is rejected unless all channels are equal.
fn grey(image: &DynamicImage) -> Result<Vec<u16>, String> {
    let coloured = "it is a colour image, but a mask has one value per pixel: give each class its colour in \
                    data.mask.values, name the channel in data.mask.channel, or store the classes as grey values or with \
                    a palette";
    let values = match without_alpha(image.clone()) {
        DynamicImage::ImageLuma8(grey) => grey.into_raw().into_iter().map(u16::from).collect(),
        DynamicImage::ImageLuma16(grey) => grey.into_raw(),
        other => {
            let [red, green, blue] = [0, 1, 2].map(|channel| of_channel(&other, channel));
            if red != green || red != blue {
                return Err(coloured.to_owned());
            }
            red
        }
    };
    if image.color().has_alpha() {
        refuse_blank(&values, &of_channel(image, 3))?;
    }
    Ok(values)
}

/// A file of one grey value whose opacity varies has its mask in the opacity, as drawing programs save it.
fn refuse_blank(values: &[u16], alpha: &[u16]) -> Result<(), String> {
    let constant = |values: &[u16]| values.iter().all(|value| Some(value) == values.first());
    match constant(values) && !constant(alpha) {
        true => Err(format!(
            "all its pixels have the value {}, and only their opacity differs: if that is the mask, set \
             data.mask.channel = \"alpha\"",
            values.first().copied().unwrap_or_default()
        )),
        false => Ok(()),
    }
}

/// Red, green, blue or alpha (0 to 3) of each pixel, with the image's own number of bits.
fn of_channel(image: &DynamicImage, channel: usize) -> Vec<u16> {
    let deep = image.color().bytes_per_pixel() > image.color().channel_count();
    match deep {
        true => image.to_rgba16().pixels().map(|p| p.0[channel]).collect(),
        false => image
            .to_rgba8()
            .pixels()
            .map(|p| u16::from(p.0[channel]))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayAlphaImage, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn values(image: &DynamicImage, channel: Channel) -> Result<Vec<u16>, String> {
        let values = greys(image, channel)?.into_iter();
        let grey = |value| match value {
            PixelValue::Grey(value) => value,
            PixelValue::Colour(_) => panic!("a colour"),
        };
        Ok(values.map(grey).collect())
    }

    #[test]
    fn each_channel_is_read_as_stored() {
        let image = RgbaImage::from_fn(2, 1, |x, _| Rgba([1, 2, 3, 4].map(|v| v + 10 * x as u8)));
        let image = DynamicImage::ImageRgba8(image);
        for (channel, first) in [
            (Channel::Red, 1),
            (Channel::Green, 2),
            (Channel::Blue, 3),
            (Channel::Alpha, 4),
        ] {
            assert_eq!(values(&image, channel), Ok(vec![first, first + 10]));
        }
        assert!(
            values(&image, Channel::Grey)
                .unwrap_err()
                .contains("colour")
        );
        let wide = DynamicImage::ImageRgba16(image.to_rgba16());
        assert_eq!(values(&wide, Channel::Alpha), Ok(vec![4 * 257, 14 * 257]));
        let colours = colours(&image);
        assert_eq!(colours[1], PixelValue::Colour([11, 12, 13]));
    }

    #[test]
    fn a_mask_in_the_opacity_alone_is_not_taken_for_an_empty_one() {
        let image = GrayAlphaImage::from_fn(2, 1, |x, _| LumaA([255, 200 * x as u8]));
        let image = DynamicImage::ImageLumaA8(image);
        let text = values(&image, Channel::Grey).unwrap_err();
        assert!(text.contains("channel = \"alpha\""), "{text}");
        assert_eq!(values(&image, Channel::Alpha), Ok(vec![0, 200]));
        let opaque = GrayAlphaImage::from_pixel(2, 1, LumaA([7, 255]));
        let opaque = DynamicImage::ImageLumaA8(opaque);
        assert_eq!(values(&opaque, Channel::Grey), Ok(vec![7, 7]));
        let plain = DynamicImage::ImageRgb8(RgbImage::from_pixel(1, 1, Rgb([5; 3])));
        assert_eq!(values(&plain, Channel::Grey), Ok(vec![5]));
        assert!(
            values(&plain, Channel::Alpha)
                .unwrap_err()
                .contains("no alpha")
        );
    }
}
