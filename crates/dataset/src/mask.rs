//! Mask files: where they lie, what their pixel values mean, and what is wrong with bad ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use image::DynamicImage;
use serde::{Deserialize, Serialize};

use crate::decode::{decode, without_alpha};
use crate::placement::nearest;

/// Where the mask of an image lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskPlace {
    /// A folder tree parallel to the images': the same path with the extension `.png`.
    Tree(PathBuf),
    /// A file beside the image, `{stem}` standing for the image's name without its extension:
    /// `{stem}_mask.png`. Files of such a name are no images.
    Beside(String),
    /// Named by the mask column of the CSV, relative to the data folder.
    Column,
}

/// A pixel's value as stored, 8 or 16 bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PixelValue(pub u16);

impl<'de> Deserialize<'de> for PixelValue {
    /// From a number, or from text: a TOML key is always text.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = PixelValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pixel value from 0 to 65535")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PixelValue, E> {
                let invalid = |_| E::invalid_value(serde::de::Unexpected::Str(text), &self);
                text.parse().map(PixelValue).map_err(invalid)
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<PixelValue, E> {
                let invalid = |_| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self);
                u16::try_from(number).map(PixelValue).map_err(invalid)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<PixelValue, E> {
                let invalid = |_| E::invalid_value(serde::de::Unexpected::Signed(number), &self);
                u16::try_from(number).map(PixelValue).map_err(invalid)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What a mask's pixel values mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskCoding {
    /// Class number of each pixel value. Empty: a binary mask, in which 0 is class 0 and the one
    /// other value (1, 255, 65535) is class 1.
    pub values: BTreeMap<PixelValue, u8>,
    /// Values of pixels that count nowhere.
    pub ignore: BTreeSet<PixelValue>,
    /// Names of the classes by number; empty: `background` and `foreground`, or the numbers.
    pub names: Vec<String>,
    /// What a binary mask's marked pixels are.
    pub marks: Marks,
}

/// What the marked pixels of a binary mask are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marks {
    /// Class 1 of the mask.
    #[default]
    Foreground,
    /// The class of their image: class 0 is the background, class 1 the first class of the images,
    /// and so on. So lungs of a patient with pneumonia are marked as such, and a map learns where
    /// and what in one.
    ImageClass,
}

impl MaskCoding {
    /// Classes that a pixel can have, at least 2.
    pub fn classes(&self) -> usize {
        let highest = self.values.values().max().map_or(1, |&class| class);
        (usize::from(highest) + 1).max(2)
    }

    /// The names of what a pixel can be after [`Marks`], by number, in images of these classes.
    pub fn pixel_classes(&self, image_classes: &[String]) -> Vec<String> {
        let mut names = self.class_names();
        if self.marks == Marks::ImageClass {
            names.truncate(1);
            names.extend_from_slice(image_classes);
        }
        names
    }

    /// How many of them there are.
    pub fn pixel_class_count(&self, image_classes: usize) -> usize {
        match self.marks {
            Marks::Foreground => self.classes(),
            Marks::ImageClass => 1 + image_classes,
        }
    }

    /// The value that a file has for each class, as [`MaskCoding::values`] says: 255 for the marked
    /// pixels of a binary mask.
    pub fn stored(&self, class: u8) -> u16 {
        let of_table = self.values.iter().find(|(_, c)| **c == class);
        match (of_table, self.marks) {
            (Some((value, _)), _) => value.0,
            (None, Marks::Foreground) if self.values.is_empty() => 255 * u16::from(class),
            _ => u16::from(class),
        }
    }

    /// The classes of the file by number; see [`MaskCoding::pixel_classes`].
    pub fn class_names(&self) -> Vec<String> {
        let default = |class: usize| match (self.classes(), class) {
            (2, 0) => "background".to_owned(),
            (2, 1) => "foreground".to_owned(),
            (_, class) => class.to_string(),
        };
        let name = |class| self.names.get(class).cloned();
        (0..self.classes())
            .map(|class| name(class).unwrap_or_else(|| default(class)))
            .collect()
    }

    /// What is wrong with the table, in words.
    ///
    /// # Errors
    /// A class number above 254 or one that no value has, a value both known and ignored, or names
    /// that are not one a class.
    pub fn check(&self) -> Result<(), String> {
        if let Some((value, _)) = self.values.iter().find(|(_, class)| **class == UNKNOWN) {
            return Err(format!(
                "value {} has class 255; 254 is the highest",
                value.0
            ));
        }
        let used: BTreeSet<u8> = self.values.values().copied().collect();
        let unused = (0..self.classes()).find(|&class| !used.contains(&(class as u8)));
        if let (false, Some(class)) = (self.values.is_empty(), unused) {
            return Err(format!(
                "no value has class {class}; classes count from 0 without a gap"
            ));
        }
        if let Some(both) = self.ignore.iter().find(|v| self.values.contains_key(v)) {
            return Err(format!("value {} has a class and is ignored too", both.0));
        }
        if self.marks == Marks::ImageClass && self.classes() > 2 {
            return Err(
                "marks = \"image_class\" is for binary masks, and these have more classes".into(),
            );
        }
        if !self.names.is_empty() && self.names.len() != self.classes() {
            let (names, classes) = (self.names.len(), self.classes());
            return Err(format!("{names} names are given for {classes} classes"));
        }
        Ok(())
    }

    fn decode(&self, values: &[u16]) -> Result<Vec<u8>, String> {
        let table = match self.values.is_empty() {
            true => self.binary_table(values)?,
            false => self.values.clone(),
        };
        let class = |&value: &u16| {
            let value = PixelValue(value);
            let ignored = self.ignore.contains(&value).then_some(UNKNOWN);
            ignored.or_else(|| table.get(&value).copied())
        };
        let classes: Option<Vec<u8>> = values.iter().map(class).collect();
        classes.ok_or_else(|| self.foreign(values, &table))
    }

    /// 0 and the only other value there is.
    fn binary_table(&self, values: &[u16]) -> Result<BTreeMap<PixelValue, u8>, String> {
        let distinct: BTreeSet<PixelValue> = values.iter().copied().map(PixelValue).collect();
        let set: Vec<_> = distinct
            .iter()
            .filter(|value| value.0 != 0 && !self.ignore.contains(value))
            .collect();
        if set.len() > 1 {
            return Err(format!(
                "a binary mask has 0 and one other value, this one has {} different ones ({}…); \
                 was it saved as JPEG or smoothed?",
                distinct.len(),
                listed(distinct.iter().take(5))
            ));
        }
        let set = set.into_iter().map(|&value| (value, 1));
        Ok([(PixelValue(0), 0)].into_iter().chain(set).collect())
    }

    fn foreign(&self, values: &[u16], table: &BTreeMap<PixelValue, u8>) -> String {
        let is_foreign = |v: &PixelValue| !table.contains_key(v) && !self.ignore.contains(v);
        let foreign: BTreeSet<PixelValue> = values
            .iter()
            .copied()
            .map(PixelValue)
            .filter(is_foreign)
            .collect();
        format!(
            "its values {} are not in the table of mask values ({})",
            listed(foreign.iter().take(5)),
            listed(table.keys())
        )
    }
}

fn listed<'v>(values: impl Iterator<Item = &'v PixelValue>) -> String {
    let values: Vec<String> = values.map(|value| value.0.to_string()).collect();
    values.join(", ")
}

/// What becomes of an image whose mask is missing or bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMask {
    /// The image stays and trains its class; its pixels count nowhere.
    #[default]
    Unknown,
    /// The image is left out.
    Skip,
    /// Stop with an error that names the file.
    Fail,
}

/// Where masks are, what they mean, and what to do without a good one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// Where they lie.
    pub place: MaskPlace,
    /// What their values mean.
    #[serde(default)]
    pub coding: MaskCoding,
    /// A mask file that cannot be read, has another size than its image or foreign values.
    #[serde(default)]
    pub on_bad: OnMask,
    /// No mask file.
    #[serde(default)]
    pub on_missing: OnMask,
    /// Take a mask of another size where width and height differ by one common factor.
    #[serde(default)]
    pub resize: bool,
}

impl MaskConfig {
    /// Binary masks in a tree parallel to the images'; an image may lack one.
    pub fn tree(root: impl Into<PathBuf>) -> Self {
        Self::at(MaskPlace::Tree(root.into()))
    }

    /// Binary masks beside their images.
    pub fn beside(pattern: impl Into<String>) -> Self {
        Self::at(MaskPlace::Beside(pattern.into()))
    }

    /// Binary masks at some place, with the defaults of everything else.
    pub fn at(place: MaskPlace) -> Self {
        Self {
            place,
            coding: MaskCoding::default(),
            on_bad: OnMask::default(),
            on_missing: OnMask::default(),
            resize: false,
        }
    }
}

/// The class of a pixel that counts nowhere.
pub(crate) const UNKNOWN: u8 = 255;

/// A mask in memory: one class number a pixel, [`UNKNOWN`] where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) classes: Vec<u8>,
}

impl Mask {
    /// Decodes a mask file's bytes. The error is the reason in words.
    pub(crate) fn read(bytes: &[u8], coding: &MaskCoding) -> Result<Self, String> {
        let image = decode(bytes)?;
        let (width, height) = (image.width() as usize, image.height() as usize);
        let classes = coding.decode(&stored_values(image)?)?;
        Ok(Self {
            width,
            height,
            classes,
        })
    }

    /// As [`Mask::read`], from the file of an image with this label.
    pub(crate) fn open(path: &Path, coding: &MaskCoding, label: usize) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let mut mask = Self::read(&bytes, coding)?;
        if coding.marks == Marks::ImageClass {
            // 255 is taken: a data set of so many classes has no room for masks of this kind.
            let class = u8::try_from(label + 1)
                .ok()
                .filter(|class| *class != UNKNOWN);
            let class = class.ok_or("its image's class is beyond the 253 that masks can mark")?;
            let marked = mask.classes.iter_mut().filter(|c| **c == 1);
            marked.for_each(|c| *c = class);
        }
        Ok(mask)
    }

    /// The class over each pixel of an image of this size, which a mask of another size covers by
    /// one factor; the nearest pixel of the mask.
    pub(crate) fn over(&self, height: usize, width: usize) -> Vec<u8> {
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

    /// Share of each class among the pixels whose class is known; `None` where none is.
    pub(crate) fn shares(&self, classes: usize) -> Option<Vec<f64>> {
        let mut counts = vec![0_usize; classes.max(usize::from(UNKNOWN) + 1)];
        self.classes
            .iter()
            .for_each(|&c| counts[usize::from(c)] += 1);
        let known: usize = counts[..classes].iter().sum();
        let share = |&count: &usize| count as f64 / known as f64;
        (known > 0).then(|| counts[..classes].iter().map(share).collect())
    }

    /// Whether it lies over an image of this size. The error is the reason in words.
    pub(crate) fn check_size(&self, width: u32, height: u32, resize: bool) -> Result<(), String> {
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
            return Err(format!("{sizes}; set resize_masks = true to take it so"));
        }
        Ok(())
    }
}

/// Grey values as stored; colour is refused unless all channels are alike.
fn stored_values(image: DynamicImage) -> Result<Vec<u16>, String> {
    let grey = |pixel: &[u16]| pixel.iter().all(|&v| v == pixel[0]).then_some(pixel[0]);
    let coloured = "it is a colour image; a mask has one value a pixel".to_owned();
    match without_alpha(image) {
        DynamicImage::ImageLuma16(grey) => Ok(grey.into_raw()),
        DynamicImage::ImageRgb16(rgb) => {
            let values: Option<_> = rgb.into_raw().chunks_exact(3).map(grey).collect();
            values.ok_or(coloured)
        }
        DynamicImage::ImageRgb8(rgb) => {
            let wide: Vec<u16> = rgb.into_raw().into_iter().map(u16::from).collect();
            let values: Option<_> = wide.chunks_exact(3).map(grey).collect();
            values.ok_or(coloured)
        }
        other => Ok(other
            .into_luma8()
            .into_raw()
            .into_iter()
            .map(u16::from)
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: &[(u16, u8)], ignore: &[u16]) -> MaskCoding {
        MaskCoding {
            values: values.iter().map(|&(v, c)| (PixelValue(v), c)).collect(),
            ignore: ignore.iter().copied().map(PixelValue).collect(),
            ..MaskCoding::default()
        }
    }

    #[test]
    fn binary_masks_read_alike_in_every_coding() {
        let check = |values: &[u16], expected: &[u8]| {
            assert_eq!(MaskCoding::default().decode(values).unwrap(), expected);
        };
        check(&[0, 1, 1, 0], &[0, 1, 1, 0]);
        check(&[0, 255, 0, 255], &[0, 1, 0, 1]);
        check(&[0, 65535], &[0, 1]);
        check(&[0, 0], &[0, 0]);
        check(&[7, 7], &[1, 1]);
        let text = MaskCoding::default().decode(&[0, 255, 3, 250]).unwrap_err();
        assert!(
            text.contains("4 different") && text.contains("JPEG"),
            "{text}"
        );
        assert_eq!(
            table(&[], &[128]).decode(&[0, 128, 255]).unwrap(),
            [0, UNKNOWN, 1]
        );
    }

    #[test]
    fn label_masks_follow_their_table() {
        let coding = table(&[(0, 0), (10, 1), (20, 2), (21, 2)], &[255]);
        assert_eq!(coding.classes(), 3);
        assert_eq!(
            coding.decode(&[20, 0, 255, 10, 21]).unwrap(),
            [2, 0, UNKNOWN, 1, 2]
        );
        let text = coding.decode(&[0, 11, 12]).unwrap_err();
        assert!(
            text.contains("11, 12") && text.contains("0, 10, 20, 21"),
            "{text}"
        );
        assert_eq!(coding.class_names(), ["0", "1", "2"]);
        assert_eq!(
            MaskCoding::default().class_names(),
            ["background", "foreground"]
        );
    }

    #[test]
    fn bad_tables_say_what_is_wrong() {
        let check = |coding: MaskCoding, expected: &str| {
            let text = coding.check().unwrap_err();
            assert!(text.contains(expected), "{text}");
        };
        check(table(&[(0, 0), (9, 2)], &[]), "no value has class 1");
        check(table(&[(0, 0), (9, 255)], &[]), "254");
        check(table(&[(0, 0), (9, 1)], &[9]), "value 9");
        let by_image = MaskCoding {
            marks: Marks::ImageClass,
            ..table(&[(0, 0), (1, 1), (2, 2)], &[])
        };
        check(by_image, "binary");
        let names = vec!["only".to_owned()];
        check(
            MaskCoding {
                names,
                ..table(&[], &[])
            },
            "1 names",
        );
        assert!(table(&[(0, 0), (255, 1)], &[128]).check().is_ok());
        assert!(MaskCoding::default().check().is_ok());
    }

    #[test]
    fn marked_pixels_may_take_the_class_of_their_image() {
        let coding = MaskCoding {
            marks: Marks::ImageClass,
            ..MaskCoding::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mask.png");
        let drawn = image::GrayImage::from_raw(3, 1, vec![0, 255, 255]);
        drawn.unwrap().save(&path).unwrap();
        assert_eq!(Mask::open(&path, &coding, 1).unwrap().classes, [0, 2, 2]);
        assert!(Mask::open(&path, &coding, 254).unwrap_err().contains("253"));
        let names = ["normal", "ill"].map(str::to_owned);
        assert_eq!(
            coding.pixel_classes(&names),
            ["background", "normal", "ill"]
        );
        assert_eq!([0, 1, 2].map(|class| coding.stored(class)), [0, 1, 2]);
        assert_eq!(MaskCoding::default().stored(1), 255);
        assert_eq!(table(&[(0, 0), (9, 1), (7, 2)], &[]).stored(2), 7);
    }

    #[test]
    fn sizes_must_be_the_images_or_a_common_scale_of_it() {
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
    fn shares_leave_unknown_pixels_out() {
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
}
