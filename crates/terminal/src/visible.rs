//! Escaping of control characters.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns the text with every control character and every change of writing direction, which could control a terminal
/// or hide text, escaped as in JSON (`\u001b`), so that JSON text keeps its value. Line feeds and tabs are kept.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_command) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_command(c) {
            // Writing into a String cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

fn is_command(c: char) -> bool {
    let turns = matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() && !matches!(c, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let check = |text, expected: &str| assert_eq!(visible(text), expected);
        check("Größe 5 µm\n\t– plain", "Größe 5 µm\n\t– plain");
        check("\u{1b}[2Jcleared", "\\u001b[2Jcleared");
        check("over\rwritten\u{8}", "over\\u000dwritten\\u0008");
        check("\u{9b}31m\u{7f}", "\\u009b31m\\u007f");
        check("gpj.\u{202e}exe", "gpj.\\u202eexe");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({ "image": "a\u{9b}2J\u{202e}\u{1b}\n.png" });
        let shown = visible(&value.to_string()).into_owned();
        assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{1b}']), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, value);
    }
}
