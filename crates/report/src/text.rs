//! Escaping of text from outside, such as names of files and classes, so that Markdown shows it literally.

use terminal::visible;

/// The text on one line, with all characters escaped that Markdown or HTML would interpret.
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

/// The text on one line as a code span, for any content.
pub fn code(text: &str) -> String {
    let text = one_line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    // Padding keeps backticks at the ends from joining the fence; Markdown strips one space on each side.
    let pad = match text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        true => " ",
        false => "",
    };
    format!("{fence}{pad}{}{pad}{fence}", visible(&text))
}

/// Length of the longest run of backticks.
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
    fn characters_special_in_markdown_or_html_are_escaped() {
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
    fn code_preserves_any_content() {
        let check = |text, expected: &str| assert_eq!(code(text), expected);
        check("a b.png", "`a b.png`");
        check("a`b", "``a`b``");
        check("``a", "``` ``a ```");
        check("", "`  `");
        check("a\n# b", "`a # b`");
        check("\u{1b}[1m", "`\\u001b[1m`");
    }
}
