//! Framed images as bytes, for a cache.

use super::{Frame, Framed, Pixels, Stored};
use crate::{Placement, Rect};

/// Numbers at the beginning, of 8 bytes each.
const NUMBERS: usize = 9;

impl Framed {
    /// The image as bytes, from which [`Framed::from_bytes`] makes the same image again.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (original, source) = (self.placement.original, self.placement.source);
        let bits = match self.image.stored {
            Stored::Eight(_) => 8,
            Stored::Sixteen(_) => 16,
        };
        let numbers: [usize; NUMBERS] = [
            bits,
            self.image.of,
            usize::from(self.mask.is_some()),
            original.0,
            original.1,
            source.top,
            source.left,
            source.height,
            source.width,
        ];
        let mut bytes: Vec<u8> = Vec::with_capacity(8 * NUMBERS + self.bytes());
        numbers
            .iter()
            .for_each(|n| bytes.extend((*n as u64).to_le_bytes()));
        match &self.image.stored {
            Stored::Eight(values) => bytes.extend(values),
            Stored::Sixteen(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        }
        bytes.extend(self.mask.iter().flatten());
        bytes
    }

    /// The image in this frame; `None` if the bytes are not those of one.
    pub fn from_bytes(bytes: &[u8], frame: Frame) -> Option<Self> {
        let (numbers, rest) = bytes.split_at_checked(8 * NUMBERS)?;
        let numbers: Option<Vec<usize>> = numbers.chunks_exact(8).map(number).collect();
        let [bits, of, masks, height, width, top, left, rows, columns] = numbers?[..] else {
            return None;
        };
        let source = Rect {
            top,
            left,
            height: rows,
            width: columns,
        };
        let known = matches!(bits, 8 | 16) && (of == 1 || of == frame.channels) && masks <= 1;
        let inside = rows > 0
            && columns > 0
            && top.checked_add(rows).is_some_and(|end| end <= height)
            && left.checked_add(columns).is_some_and(|end| end <= width);
        let pixels = frame.height.checked_mul(frame.width)?;
        let image = pixels.checked_mul(of)?.checked_mul(bits / 8)?;
        if !known || !inside || image.checked_add(masks * pixels) != Some(rest.len()) {
            return None;
        }
        let (image, mask) = rest.split_at_checked(image)?;
        let two = |pair: &[u8]| pair.try_into().map_or(0, u16::from_le_bytes);
        Some(Self {
            image: Pixels {
                stored: match bits {
                    8 => Stored::Eight(image.to_vec()),
                    _ => Stored::Sixteen(image.chunks_exact(2).map(two).collect()),
                },
                of,
                channels: frame.channels,
            },
            mask: (masks == 1).then(|| mask.to_vec()),
            placement: Placement::of_part(
                frame.fit,
                (height, width),
                source,
                (frame.height, frame.width),
            ),
        })
    }
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Luma, Rgb};

    use super::*;
    use crate::Fit;
    use crate::frame::framed;
    use crate::mask::Mask;

    fn all() -> Vec<(Framed, Frame)> {
        let grey = image::ImageBuffer::from_fn(9, 7, |x, y| Luma([(x * y) as u8]));
        let deep = image::ImageBuffer::from_fn(9, 7, |x, y| Luma([(999 * x * y) as u16]));
        let colour = image::ImageBuffer::from_fn(9, 7, |x, y| Rgb([(x * y) as u8, 3, x as u8]));
        let images = [
            DynamicImage::ImageLuma8(grey),
            DynamicImage::ImageLuma16(deep),
            DynamicImage::ImageRgb8(colour),
        ];
        let mask = Mask::of_classes(9, 7, (0..63).map(|i| i % 3).collect());
        let mut all = vec![];
        for fit in [Fit::Stretch, Fit::Pad] {
            let frame = Frame {
                height: 4,
                width: 6,
                channels: 3,
                fit,
            };
            for (image, mask) in images.iter().zip([Some(&mask), None, Some(&mask)]) {
                let part = Rect {
                    top: 1,
                    left: 2,
                    height: 5,
                    width: 6,
                };
                for part in [part, Rect::whole(7, 9)] {
                    all.push((framed(image, mask, part, frame).unwrap(), frame));
                }
            }
        }
        all
    }

    #[test]
    fn a_framed_image_survives_as_bytes() {
        for (framed, frame) in all() {
            let again = Framed::from_bytes(&framed.to_bytes(), frame).unwrap();
            assert_eq!(again.placement, framed.placement);
            assert_eq!(again.image.values(), framed.image.values());
            assert_eq!((again.mask, again.image.channels), (framed.mask, 3));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        for (framed, frame) in all() {
            let bytes = framed.to_bytes();
            for end in 0..bytes.len() {
                assert!(Framed::from_bytes(&bytes[..end], frame).is_none(), "{end}");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert!(Framed::from_bytes(&longer, frame).is_none());
            // The number of bits, of channels, of masks, and the part's height.
            for at in [0, 8, 16, 7 * 8] {
                let mut damaged = bytes.clone();
                damaged[at] = 0xFF;
                assert!(Framed::from_bytes(&damaged, frame).is_none(), "{at}");
            }
            let wider = Frame { width: 7, ..frame };
            assert!(Framed::from_bytes(&bytes, wider).is_none());
        }
    }
}
