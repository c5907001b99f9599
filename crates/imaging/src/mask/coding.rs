//! The meaning of the pixel values of masks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::UNKNOWN;

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

/// The meaning of a mask's pixel values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskCoding {
    /// Class number of each pixel value. If empty, the mask is binary: 0 is class 0 and the only other value (1, 255,
    /// 65535) is class 1.
    pub values: BTreeMap<PixelValue, u8>,
    /// Values of pixels that are ignored.
    pub ignore: BTreeSet<PixelValue>,
    /// Names of the classes by number; empty: `background` and `foreground`, or the numbers.
    pub names: Vec<String>,
    /// The class of a binary mask's marked pixels.
    pub marks: Marks,
}

/// The class of the marked pixels of a binary mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marks {
    /// Class 1 of the mask.
    #[default]
    Foreground,
    /// The class of their image: class 0 is the background, class 1 the first class of the images,
    /// and so on. The lungs of a patient with pneumonia are then marked as such, and a single map
    /// learns both location and class.
    ImageClass,
}

impl MaskCoding {
    /// Number of classes that a pixel can have, at least 2.
    pub fn classes(&self) -> usize {
        let highest = self.values.values().max().map_or(1, |&class| class);
        (usize::from(highest) + 1).max(2)
    }

    /// The names of the classes that a pixel can have after [`Marks`] is applied, by number, in images of these
    /// classes.
    pub fn pixel_classes(&self, image_classes: &[String]) -> Vec<String> {
        let mut names = self.class_names();
        if self.marks == Marks::ImageClass {
            names.truncate(1);
            names.extend_from_slice(image_classes);
        }
        names
    }

    /// The number of [`MaskCoding::pixel_classes`].
    pub fn pixel_class_count(&self, image_classes: usize) -> usize {
        match self.marks {
            Marks::Foreground => self.classes(),
            Marks::ImageClass => 1 + image_classes,
        }
    }

    /// The value that represents a class in a file, according to [`MaskCoding::values`]: 255 for the marked pixels of a
    /// binary mask.
    pub fn stored(&self, class: u8) -> u16 {
        let of_table = self.values.iter().find(|(_, c)| **c == class);
        match (of_table, self.marks) {
            (Some((value, _)), _) => value.0,
            (None, Marks::Foreground) if self.values.is_empty() => 255 * u16::from(class),
            _ => u16::from(class),
        }
    }

    /// The names of the file's classes, by number; see [`MaskCoding::pixel_classes`].
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

    /// Checks the table.
    ///
    /// # Errors
    /// A message, if a class number is above 254 or has no value, a value has a class and is ignored, or there is not
    /// one name per class.
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
                "no value has class {class}; classes must be numbered from 0 without gaps"
            ));
        }
        if let Some(both) = self.ignore.iter().find(|v| self.values.contains_key(v)) {
            return Err(format!("value {} has a class but is also ignored", both.0));
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

    pub(super) fn decode(&self, values: &[u16]) -> Result<Vec<u8>, String> {
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

    /// The table of 0 and the only other value.
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
    fn binary_masks_decode_the_same_in_every_coding() {
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
    fn classes_are_stored_according_to_the_table() {
        assert_eq!(table(&[(0, 0), (9, 1), (7, 2)], &[]).stored(2), 7);
    }

    #[test]
    fn errors_of_bad_tables_state_what_is_wrong() {
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
}
