//! Bytes of a table → text: UTF-8, UTF-16 with a byte order mark, or Windows-1252.

use std::borrow::Cow;

/// A table's text without a byte order mark.
pub(crate) struct Text<'b> {
    pub(crate) text: Cow<'b, str>,
    /// The first line that is not UTF-8 and was read as Windows-1252.
    pub(super) guessed: Option<usize>,
}

/// The text of a table in UTF-8, UTF-16 with a byte order mark, or Windows-1252; without a byte order mark.
///
/// # Errors
/// The reason, as a message.
pub fn table_text(bytes: &[u8]) -> Result<String, String> {
    decode(bytes).map(|text| text.text.into_owned())
}

/// Decodes a table. Bytes that are neither UTF-8 nor marked as UTF-16 are read as Windows-1252, which contains Latin-1.
///
/// # Errors
/// The reason, as a message.
pub(super) fn decode(bytes: &[u8]) -> Result<Text<'_>, String> {
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes).map(Text::certain),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes).map(Text::certain),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Text::certain(text.strip_prefix('\u{FEFF}').unwrap_or(text))),
            Err(error) => windows_1252(bytes, error.valid_up_to()),
        },
    }
}

impl<'b> Text<'b> {
    fn certain(text: impl Into<Cow<'b, str>>) -> Self {
        Text {
            text: text.into(),
            guessed: None,
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, []) = bytes.as_chunks::<2>() else {
        return Err("it is UTF-16 with half a character at its end; save it as UTF-8".to_owned());
    };
    let units = pairs.iter().map(|&pair| unit(pair));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.map_err(|_| "it is not valid UTF-16, as which it begins; save it as UTF-8".to_owned())
}

/// `valid`: the number of bytes before the first that is not UTF-8.
fn windows_1252(bytes: &[u8], valid: usize) -> Result<Text<'_>, String> {
    let line = |at: usize| 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for (at, &byte) in bytes.iter().enumerate() {
        let character = match byte {
            // No text has this byte, but UTF-16 and binary files do.
            0 => None,
            0x80..0xA0 => HIGH[usize::from(byte - 0x80)],
            // The other half of Windows-1252 is that of Unicode (Latin-1).
            _ => Some(char::from(byte)),
        };
        text.push(character.ok_or_else(|| {
            format!(
                "line {} is neither UTF-8 nor Windows-1252 (byte {byte:#04x}); save the table as UTF-8",
                line(at)
            )
        })?);
    }
    Ok(Text {
        text: text.into(),
        guessed: Some(line(valid)),
    })
}

/// Bytes 0x80 to 0x9F of Windows-1252, five of which mean nothing (Unicode's `CP1252.TXT`).
#[rustfmt::skip]
const HIGH: [Option<char>; 32] = [
    Some('€'), None,      Some('‚'), Some('ƒ'), Some('„'), Some('…'), Some('†'), Some('‡'),
    Some('ˆ'), Some('‰'), Some('Š'), Some('‹'), Some('Œ'), None,      Some('Ž'), None,
    None,      Some('‘'), Some('’'), Some('“'), Some('”'), Some('•'), Some('–'), Some('—'),
    Some('˜'), Some('™'), Some('š'), Some('›'), Some('œ'), None,      Some('ž'), Some('Ÿ'),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }

    /// Python: `bytes(b for b in range(128, 256) if b not in (129, 141, 143, 144, 157)).decode("cp1252")`.
    #[test]
    fn windows_1252_is_that_of_python() {
        let undefined = [0x81, 0x8D, 0x8F, 0x90, 0x9D];
        let bytes: Vec<u8> = (128..=255).filter(|b| !undefined.contains(b)).collect();
        let decoded = decode(&bytes).unwrap();
        let high = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ";
        let latin: String = ('\u{A0}'..='\u{FF}').collect();
        assert_eq!(decoded.text, format!("{high}{latin}"));
        assert_eq!(decoded.guessed, Some(1));
        for byte in undefined {
            let text = decode(&[b'a', b'\n', 0xE9, byte]).err().unwrap();
            assert!(text.contains("line 2") && text.contains("0x"), "{text}");
        }
    }

    #[test]
    fn text_without_a_mark_is_utf8_if_it_can_be() {
        let check = |bytes: &[u8], text: &str, guessed| {
            let decoded = decode(bytes).unwrap();
            assert_eq!((decoded.text.as_ref(), decoded.guessed), (text, guessed));
        };
        check("é\n".as_bytes(), "é\n", None);
        check("\u{FEFF}é".as_bytes(), "é", None);
        check(b"a\nb,\xE9\n", "a\nb,é\n", Some(2));
        assert!(decode(b"p\0a\0\xE9\0").is_err());
        assert!(decode(b"\xFF\xFEp").is_err());
        assert!(decode(b"\xFF\xFE\x00\xD8").is_err());
    }

    proptest! {
        #[test]
        fn every_text_survives_each_encoding(text in "\\PC{0,40}") {
            let utf8 = decode(text.as_bytes()).unwrap();
            prop_assert_eq!(utf8.text.as_ref(), text.strip_prefix('\u{FEFF}').unwrap_or(&text));
            for bytes in [of_utf16(&text, u16::to_le_bytes), of_utf16(&text, u16::to_be_bytes)] {
                let decoded = decode(&bytes).unwrap();
                prop_assert_eq!(decoded.text.as_ref(), text.as_str());
            }
        }
    }
}
