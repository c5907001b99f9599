//! Mask files in memory: one class per pixel.

use std::path::PathBuf;

use super::{Channel, Marks, MaskCoding, UNKNOWN, stored};
use crate::Decoder;
use crate::placement::nearest;

/// A mask in memory: one class number per pixel, [`UNKNOWN`] where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    classes: Vec<u8>,
}

impl Mask {
    /// The mask in an image's mask files. Several files are united into one mask, in which a pixel has the class that
    /// any of them marks.
    ///
    /// # Errors
    /// The reason, as a message.
    pub fn of_bytes(
        files: &[Vec<u8>],
        coding: &MaskCoding,
        decoder: Decoder,
    ) -> Result<Self, String> {
        let mut masks = files
            .iter()
            .map(|bytes| Self::decode(bytes, coding, decoder));
        let mut united = masks
            .next()
            .unwrap_or_else(|| Err("there is no such file".to_owned()))?;
        for mask in masks {
            united.unite(&mask?)?;
        }
        Ok(united)
    }

    #[cfg(test)]
    pub(crate) fn of_classes(width: usize, height: usize, classes: Vec<u8>) -> Self {
        Self {
            width,
            height,
            classes,
        }
    }

    fn decode(bytes: &[u8], coding: &MaskCoding, decoder: Decoder) -> Result<Self, String> {
        // The colours of a palette are only for display, unless they are what the classes are given by.
        let displayed = coding.has_colours() || coding.channel != Channel::Grey;
        let image = match displayed {
            true => decoder.decode_displayed(bytes)?,
            false => decoder.decode_indices(bytes)?,
        };
        let (width, height) = (image.width() as usize, image.height() as usize);
        let values = match coding.has_colours() {
            true => stored::colours(&image),
            false => stored::greys(&image, coding.channel)?,
        };
        let classes = coding.decode(&values)?;
        Ok(Self {
            width,
            height,
            classes,
        })
    }

    /// Adds the marked pixels of another mask; pixels that neither marks are background.
    fn unite(&mut self, other: &Self) -> Result<(), String> {
        if (self.width, self.height) != (other.width, other.height) {
            return Err(format!(
                "one of its files is {}x{} pixels, another {}x{}",
                self.width, self.height, other.width, other.height
            ));
        }
        for (own, &other) in self.classes.iter_mut().zip(&other.classes) {
            match (*own, other) {
                (_, 0) => {}
                (0 | UNKNOWN, other) => *own = other,
                (_, UNKNOWN) => {}
                (a, b) if a == b => {}
                (a, b) => {
                    return Err(format!(
                        "a pixel has class {a} in one of its files and class {b} in another"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Reads the mask files of an image with this label.
    ///
    /// # Errors
    /// The reason, as a message.
    pub fn open(
        files: &[PathBuf],
        coding: &MaskCoding,
        label: usize,
        decoder: Decoder,
    ) -> Result<Self, String> {
        let bytes: Vec<_> = files
            .iter()
            .map(|f| decoder.read(f))
            .collect::<Result<_, _>>()?;
        let mut mask = Self::of_bytes(&bytes, coding, decoder)?;
        if coding.marks == Marks::ImageClass {
            // 255 is taken, so an image's class can be at most 253.
            let class = u8::try_from(label + 1)
                .ok()
                .filter(|class| *class != UNKNOWN);
            let class =
                class.ok_or("its image's class is above 253, the highest that masks can mark")?;
            let marked = mask.classes.iter_mut().filter(|c| **c == 1);
            marked.for_each(|c| *c = class);
        }
        Ok(mask)
    }

    /// The class of each pixel of an image of this size, from the nearest pixel of the mask; their sizes may differ by
    /// a common factor.
    pub fn over(&self, height: usize, width: usize) -> Vec<u8> {
        if (self.height, self.width) == (height, width) {
            return self.classes.clone();
        }
        let columns: Vec<usize> = nearest(self.width, width).collect();
        let row = |y: usize| {
            columns
                .iter()
                .map(move |x| self.classes[y * self.width + x])
        };
        nearest(self.height, height).flat_map(row).collect()
    }

    /// Share of each class among the pixels whose class is known; `None` if there are none.
    pub fn shares(&self, classes: usize) -> Option<Vec<f64>> {
        let mut counts = vec![0_usize; classes.max(usize::from(UNKNOWN) + 1)];
        self.classes
            .iter()
            .for_each(|&c| counts[usize::from(c)] += 1);
        let known: usize = counts[..classes].iter().sum();
        let share = |&count: &usize| count as f64 / known as f64;
        (known > 0).then(|| counts[..classes].iter().map(share).collect())
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// The class of each pixel, row by row.
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// Checks that the mask fits an image of this size.
    ///
    /// # Errors
    /// The reason, as a message.
    pub fn check_size(&self, width: u32, height: u32, resize: bool) -> Result<(), String> {
        let (width, height) = (width as usize, height as usize);
        if (self.width, self.height) == (width, height) {
            return Ok(());
        }
        let sizes = format!(
            "it is {}x{} pixels, its image {width}x{height}",
            self.width, self.height
        );
        if self.width * height != self.height * width {
            return Err(format!("{sizes}: the two have no common scale"));
        }
        if !resize {
            return Err(format!("{sizes}; set resize_masks = true to accept it"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_pixels_may_take_the_class_of_their_image() {
        let coding = MaskCoding {
            marks: Marks::ImageClass,
            ..MaskCoding::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = vec![dir.path().join("mask.png")];
        let drawn = image::GrayImage::from_raw(3, 1, vec![0, 255, 255]);
        drawn.unwrap().save(&path[0]).unwrap();
        assert_eq!(
            Mask::open(&path, &coding, 1, Decoder::default())
                .unwrap()
                .classes,
            [0, 2, 2]
        );
        assert!(
            Mask::open(&path, &coding, 254, Decoder::default())
                .unwrap_err()
                .contains("253")
        );
        let names = ["normal", "ill"].map(str::to_owned);
        assert_eq!(
            coding.pixel_classes(&names),
            ["background", "normal", "ill"]
        );
        assert_eq!([0, 1, 2].map(|class| coding.stored(class)), [0, 1, 2]);
        assert_eq!(MaskCoding::default().stored(1), 255);
    }

    #[test]
    fn sizes_must_match_the_image_up_to_a_common_scale() {
        let mask = Mask {
            width: 12,
            height: 9,
            classes: vec![0; 108],
        };
        assert!(mask.check_size(12, 9, false).is_ok());
        assert!(mask.check_size(24, 18, true).is_ok());
        assert!(
            mask.check_size(24, 18, false)
                .unwrap_err()
                .contains("resize_masks")
        );
        assert!(
            mask.check_size(24, 17, true)
                .unwrap_err()
                .contains("no common scale")
        );
    }

    #[test]
    fn shares_exclude_unknown_pixels() {
        let mask = Mask {
            width: 5,
            height: 1,
            classes: vec![0, 1, 1, 1, UNKNOWN],
        };
        assert_eq!(mask.shares(2).unwrap(), [0.25, 0.75]);
        let blank = Mask {
            width: 1,
            height: 1,
            classes: vec![UNKNOWN],
        };
        assert_eq!(blank.shares(2), None);
    }

    fn of(classes: &[u8]) -> Mask {
        Mask {
            width: classes.len(),
            height: 1,
            classes: classes.to_vec(),
        }
    }

    #[test]
    fn several_files_are_united_into_one_mask() {
        let mut mask = of(&[0, 1, 0, UNKNOWN, 1, UNKNOWN]);
        mask.unite(&of(&[0, 0, 2, 2, UNKNOWN, 0])).unwrap();
        assert_eq!(mask.classes, [0, 1, 2, 2, 1, UNKNOWN]);
        let reason = mask.unite(&of(&[0, 2, 0, 0, 0, 0])).unwrap_err();
        assert!(
            reason.contains("class 1") && reason.contains("class 2"),
            "{reason}"
        );
        let reason = mask.unite(&of(&[0])).unwrap_err();
        assert!(reason.contains("6x1 pixels, another 1x1"), "{reason}");
    }
}
