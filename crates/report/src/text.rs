//! Text from outside, such as names of files and classes, made plain: what it holds is shown and never obeyed.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character that a terminal would obey or that hides what is there (control characters, changes of the
/// direction of writing) written as JSON writes it (`\u001b`), so that JSON stays the JSON that it was. Line ends and tabs are
/// kept.
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

/// The text on one line, with all characters that Markdown or HTML would read escaped.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in visible(&one_line(text)).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '|' | '$' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// The text on one line as code, whatever it holds.
pub fn code(text: &str) -> String {
    let text = one_line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    // A space between backticks that would join; one on each side is not part of the code.
    let pad = match text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        true => " ",
        false => "",
    };
    format!("{fence}{pad}{}{pad}{fence}", visible(&text))
}

/// Backticks in a row, at most.
pub(crate) fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

pub(crate) fn one_line(text: &str) -> String {
    text.replace("\r\n", " ").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let check = |text, expected: &str| assert_eq!(visible(text), expected);
        check("Größe 5 µm\n\t– plain", "Größe 5 µm\n\t– plain");
        check("\u{1b}[2Jcleared", "\\u001b[2Jcleared");
        check("over\rwritten\u{8}", "over\\u000dwritten\\u0008");
        check("\u{9b}31m\u{7f}", "\\u009b31m\\u007f");
        check("gpj.\u{202e}exe", "gpj.\\u202eexe");
    }

    #[test]
    fn what_markdown_or_html_would_read_is_escaped() {
        let check = |text, expected: &str| assert_eq!(escape(text), expected);
        check("NORMAL", "NORMAL");
        check(
            "a_b*[x](y)|<i>&\n#`",
            "a\\_b\\*\\[x\\](y)\\|&lt;i&gt;&amp; \\#\\`",
        );
        check(
            "<img src=x onerror=alert(1)>",
            "&lt;img src=x onerror=alert(1)&gt;",
        );
        check("$x$ ~~y~~ \\", "\\$x\\$ \\~\\~y\\~\\~ \\\\");
        check("\u{1b}]0;title\u{7}", "\\\\u001b\\]0;title\\\\u0007");
    }

    #[test]
    fn code_holds_whatever_it_is_given() {
        let check = |text, expected: &str| assert_eq!(code(text), expected);
        check("a b.png", "`a b.png`");
        check("a`b", "``a`b``");
        check("``a", "``` ``a ```");
        check("", "`  `");
        check("a\n# b", "`a # b`");
        check("\u{1b}[1m", "`\\u001b[1m`");
    }
}
