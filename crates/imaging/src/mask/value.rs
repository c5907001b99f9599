//! What a pixel of a mask file holds: a grey value or a colour.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// A pixel of a mask as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PixelValue {
    /// A grey value, or the index of a palette, of 8 or 16 bits.
    Grey(u16),
    /// Red, green and blue, each of 8 bits.
    Colour([u8; 3]),
}

impl PixelValue {
    /// Whether it is a colour.
    pub fn is_colour(self) -> bool {
        matches!(self, PixelValue::Colour(_))
    }

    /// `12`, or `#ff8000`.
    fn parse(text: &str) -> Option<Self> {
        let Some(digits) = text.strip_prefix('#') else {
            return text.parse().ok().map(PixelValue::Grey);
        };
        let hexadecimal = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u32::from_str_radix(digits, 16)
            .ok()
            .filter(|_| hexadecimal)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Some(PixelValue::Colour([red, green, blue]))
    }
}

impl fmt::Display for PixelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PixelValue::Grey(value) => write!(f, "{value}"),
            PixelValue::Colour([r, g, b]) => write!(f, "#{r:02x}{g:02x}{b:02x}"),
        }
    }
}

impl Serialize for PixelValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            PixelValue::Grey(value) => serializer.serialize_u16(*value),
            colour @ PixelValue::Colour(_) => serializer.collect_str(colour),
        }
    }
}

impl<'de> Deserialize<'de> for PixelValue {
    /// From a number, or from text: a TOML key is always text.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = PixelValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pixel value from 0 to 65535, or a colour such as \"#ff8000\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PixelValue, E> {
                let invalid = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                PixelValue::parse(text).ok_or_else(invalid)
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<PixelValue, E> {
                let invalid = |_| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self);
                u16::try_from(number).map(PixelValue::Grey).map_err(invalid)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<PixelValue, E> {
                let invalid = |_| E::invalid_value(serde::de::Unexpected::Signed(number), &self);
                u16::try_from(number).map(PixelValue::Grey).map_err(invalid)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers_or_colours() {
        let check = |text: &str, expected| assert_eq!(PixelValue::parse(text), expected, "{text}");
        check("255", Some(PixelValue::Grey(255)));
        check("#Ff8000", Some(PixelValue::Colour([255, 128, 0])));
        for wrong in [
            "65536", "-1", "#fff", "#gg0000", "#+12345", "red", "", "#é1234",
        ] {
            check(wrong, None);
        }
        assert_eq!(PixelValue::Colour([0, 10, 255]).to_string(), "#000aff");
    }
}
