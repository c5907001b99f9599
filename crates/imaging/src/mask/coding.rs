//! The meaning of the pixel values of masks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{PixelValue, UNKNOWN};

/// The meaning of a mask's pixel values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskCoding {
    /// Class number of each pixel value, or of each colour. If empty, the mask is binary: 0 is class 0 and the only
    /// other value (1, 255, 65535) is class 1.
    pub values: BTreeMap<PixelValue, u8>,
    /// Makes a mask binary that has more than two values, as smoothed edges or JPEG leave them: class 1 from this value
    /// on, class 0 below.
    pub threshold: Option<u16>,
    /// Where a file holds the values.
    pub channel: Channel,
    /// Values of pixels that are ignored.
    pub ignore: BTreeSet<PixelValue>,
    /// Names of the classes by number; empty: `background` and `foreground`, or the numbers.
    pub names: Vec<String>,
    /// The class of a binary mask's marked pixels.
    pub marks: Marks,
}

/// The part of a mask file that holds its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The grey value, or the index of a palette; opacity does not matter.
    #[default]
    Grey,
    /// Red of a colour image.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
    /// The opacity.
    Alpha,
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

    /// The grey value that represents a class in a file, according to [`MaskCoding::values`]: 255 for the marked pixels
    /// of a binary mask, the class's number if the values are colours.
    pub fn stored(&self, class: u8) -> u16 {
        let of_table = self.values.iter().find(|(_, c)| **c == class);
        match (of_table, self.marks) {
            (Some((PixelValue::Grey(value), _)), _) => *value,
            (Some((PixelValue::Colour(_), _)), _) => u16::from(class),
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
    /// A message, if a class number is above 254 or has no value, a value has a class and is ignored, there is not one
    /// name per class, greys and colours are mixed, or the threshold makes other keys meaningless.
    pub fn check(&self) -> Result<(), String> {
        if let Some((value, _)) = self.values.iter().find(|(_, class)| **class == UNKNOWN) {
            return Err(format!("value {value} has class 255; 254 is the highest"));
        }
        self.check_kind()?;
        let used: BTreeSet<u8> = self.values.values().copied().collect();
        let unused = (0..self.classes()).find(|&class| !used.contains(&(class as u8)));
        if let (false, Some(class)) = (self.values.is_empty(), unused) {
            return Err(format!(
                "no value has class {class}; classes must be numbered from 0 without gaps"
            ));
        }
        if let Some(both) = self.ignore.iter().find(|v| self.values.contains_key(v)) {
            return Err(format!("value {both} has a class but is also ignored"));
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

    /// Values are either grey or colours, and a threshold applies to grey values without a table.
    fn check_kind(&self) -> Result<(), String> {
        let mut values = self.values.keys().chain(&self.ignore);
        let colours = self.has_colours();
        if values.any(|value| value.is_colour() != colours) {
            return Err("values and ignore must be all grey values or all colours; with colours, give each class its \
                        colour in values"
                .into());
        }
        if colours && self.channel != Channel::Grey {
            return Err(
                "values are colours, so channel has no effect; remove one of the two".into(),
            );
        }
        match self.threshold {
            Some(0) => Err("threshold = 0 would mark every pixel; it must be at least 1".into()),
            Some(_) if !self.values.is_empty() => Err(
                "threshold makes masks binary, so values has no effect; remove one of the two"
                    .into(),
            ),
            _ => Ok(()),
        }
    }

    /// Whether classes are given by colours.
    pub(super) fn has_colours(&self) -> bool {
        self.values.keys().any(|value| value.is_colour())
    }

    pub(super) fn decode(&self, values: &[PixelValue]) -> Result<Vec<u8>, String> {
        let table = match (self.values.is_empty(), self.threshold) {
            (false, _) => self.values.clone(),
            (true, None) => self.binary_table(values)?,
            (true, Some(threshold)) => return Ok(self.cut(values, threshold)),
        };
        let class = |value: &PixelValue| {
            let ignored = self.ignore.contains(value).then_some(UNKNOWN);
            ignored.or_else(|| table.get(value).copied())
        };
        let classes: Option<Vec<u8>> = values.iter().map(class).collect();
        classes.ok_or_else(|| self.foreign(values, &table))
    }

    /// Class 1 from the threshold on.
    fn cut(&self, values: &[PixelValue], threshold: u16) -> Vec<u8> {
        let class = |value: &PixelValue| match self.ignore.contains(value) {
            true => UNKNOWN,
            false => u8::from(*value >= PixelValue::Grey(threshold)),
        };
        values.iter().map(class).collect()
    }

    /// The table of 0 and the only other value.
    fn binary_table(&self, values: &[PixelValue]) -> Result<BTreeMap<PixelValue, u8>, String> {
        let black = PixelValue::Grey(0);
        let distinct: BTreeSet<PixelValue> = values.iter().copied().collect();
        let set: Vec<_> = distinct
            .iter()
            .filter(|value| **value != black && !self.ignore.contains(value))
            .collect();
        if set.len() > 1 {
            return Err(format!(
                "a binary mask has 0 and one other value, this one has {} different ones ({}…): if they are classes, \
                 give each its number in data.mask.values; if it was saved as JPEG or has smooth edges, set \
                 data.mask.threshold = {}",
                distinct.len(),
                listed(distinct.iter().take(5)),
                middle(&distinct)
            ));
        }
        let set = set.into_iter().map(|&value| (value, 1));
        Ok([(black, 0)].into_iter().chain(set).collect())
    }

    fn foreign(&self, values: &[PixelValue], table: &BTreeMap<PixelValue, u8>) -> String {
        let is_foreign = |v: &PixelValue| !table.contains_key(v) && !self.ignore.contains(v);
        let foreign = values.iter().copied().filter(is_foreign);
        let foreign: BTreeSet<PixelValue> = foreign.collect();
        format!(
            "its values {} are not in the table of mask values ({})",
            listed(foreign.iter().take(5)),
            listed(table.keys())
        )
    }
}

/// The middle of the range of 8 or 16 bits that the values are in.
fn middle(values: &BTreeSet<PixelValue>) -> u16 {
    match values.last() {
        Some(PixelValue::Grey(256..)) => 32768,
        _ => 128,
    }
}

fn listed<'v>(values: impl Iterator<Item = &'v PixelValue>) -> String {
    let values: Vec<String> = values.map(PixelValue::to_string).collect();
    values.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: &[(u16, u8)], ignore: &[u16]) -> MaskCoding {
        MaskCoding {
            values: values
                .iter()
                .map(|&(v, c)| (PixelValue::Grey(v), c))
                .collect(),
            ignore: ignore.iter().copied().map(PixelValue::Grey).collect(),
            ..MaskCoding::default()
        }
    }

    fn decode(coding: &MaskCoding, values: &[u16]) -> Result<Vec<u8>, String> {
        let values: Vec<_> = values.iter().copied().map(PixelValue::Grey).collect();
        coding.decode(&values)
    }

    #[test]
    fn binary_masks_decode_the_same_in_every_coding() {
        let check = |values: &[u16], expected: &[u8]| {
            assert_eq!(decode(&MaskCoding::default(), values).unwrap(), expected);
        };
        check(&[0, 1, 1, 0], &[0, 1, 1, 0]);
        check(&[0, 255, 0, 255], &[0, 1, 0, 1]);
        check(&[0, 65535], &[0, 1]);
        check(&[0, 0], &[0, 0]);
        check(&[7, 7], &[1, 1]);
        let text = decode(&MaskCoding::default(), &[0, 255, 3, 250]).unwrap_err();
        assert!(
            text.contains("4 different") && text.contains("JPEG"),
            "{text}"
        );
        assert_eq!(
            decode(&table(&[], &[128]), &[0, 128, 255]).unwrap(),
            [0, UNKNOWN, 1]
        );
    }

    #[test]
    fn label_masks_follow_their_table() {
        let coding = table(&[(0, 0), (10, 1), (20, 2), (21, 2)], &[255]);
        assert_eq!(coding.classes(), 3);
        assert_eq!(
            decode(&coding, &[20, 0, 255, 10, 21]).unwrap(),
            [2, 0, UNKNOWN, 1, 2]
        );
        let text = decode(&coding, &[0, 11, 12]).unwrap_err();
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
    fn a_threshold_divides_smooth_edges() {
        let smooth = MaskCoding {
            threshold: Some(128),
            ignore: [PixelValue::Grey(7)].into(),
            ..MaskCoding::default()
        };
        let classes = decode(&smooth, &[0, 7, 127, 128, 255, 65535]).unwrap();
        assert_eq!(classes, [0, UNKNOWN, 0, 1, 1, 1]);
        let text = decode(&MaskCoding::default(), &[0, 300, 65535]).unwrap_err();
        assert!(text.contains("threshold = 32768"), "{text}");
    }

    #[test]
    fn colours_are_classes() {
        let colour = |rgb| PixelValue::Colour(rgb);
        let coding = MaskCoding {
            values: [(colour([0; 3]), 0), (colour([255, 0, 0]), 1)].into(),
            ignore: [colour([224, 224, 192])].into(),
            ..MaskCoding::default()
        };
        coding.check().unwrap();
        let pixels = [[255, 0, 0], [0; 3], [224, 224, 192]].map(colour);
        assert_eq!(coding.decode(&pixels).unwrap(), [1, 0, UNKNOWN]);
        assert_eq!([0, 1].map(|class| coding.stored(class)), [0, 1]);
        let text = coding.decode(&[colour([254, 0, 0])]).unwrap_err();
        assert!(
            text.contains("#fe0000") && text.contains("#ff0000"),
            "{text}"
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
        let mut mixed = table(&[(0, 0), (9, 1)], &[]);
        mixed.ignore.insert(PixelValue::Colour([1, 2, 3]));
        check(mixed, "all grey values or all colours");
        let with = |values: &[(u16, u8)], threshold| MaskCoding {
            threshold: Some(threshold),
            ..table(values, &[])
        };
        check(with(&[], 0), "at least 1");
        check(with(&[(0, 0), (255, 1)], 128), "remove one of the two");
        assert!(table(&[(0, 0), (255, 1)], &[128]).check().is_ok());
        assert!(MaskCoding::default().check().is_ok());
    }
}
