//! Inline Markdown as HTML: emphasis, code, links. Everything else is text, HTML included.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::escape::{attribute, text as escaped};

/// Starts every text that is parsed, so that no text is taken for a block (a heading, a list). As punctuation it leaves
/// the rules for emphasis as they are at the start of a line.
const START: char = '·';

/// The text as HTML.
pub(super) fn html(markdown: &str) -> String {
    let mut html = String::new();
    // Whether each of the open links is written: one that leads to a refused target is not.
    let mut links = vec![];
    each(markdown, |event| match event {
        Event::Start(Tag::Emphasis) => html += "<em>",
        Event::End(TagEnd::Emphasis) => html += "</em>",
        Event::Start(Tag::Strong) => html += "<strong>",
        Event::End(TagEnd::Strong) => html += "</strong>",
        Event::Start(Tag::Link { dest_url, .. }) => {
            let target = target(&dest_url);
            html += &target.as_deref().map(open_link).unwrap_or_default();
            links.push(target.is_some());
        }
        Event::End(TagEnd::Link) => {
            if links.pop() == Some(true) {
                html += "</a>";
            }
        }
        Event::Code(code) => html += &format!("<code>{}</code>", escaped(&code)),
        Event::HardBreak => html += "<br>",
        other => html += &escaped(&words(&other)),
    });
    html
}

/// The text alone.
pub(super) fn plain(markdown: &str) -> String {
    let mut plain = String::new();
    each(markdown, |event| plain += &words(&event));
    plain
}

fn each(markdown: &str, mut take: impl FnMut(Event<'_>)) {
    let line = markdown.split_whitespace().collect::<Vec<_>>().join(" ");
    let source = format!("{START}{line}");
    let mut started = false;
    for event in Parser::new(&source) {
        match event {
            Event::Text(text) if !started => {
                started = true;
                let rest = text.strip_prefix(START).unwrap_or(&text).to_owned();
                take(Event::Text(rest.into()));
            }
            other => take(other),
        }
    }
}

/// The words of an event that is not written as an element.
fn words(event: &Event<'_>) -> String {
    match event {
        Event::Text(text)
        | Event::Code(text)
        | Event::Html(text)
        | Event::InlineHtml(text)
        | Event::InlineMath(text)
        | Event::DisplayMath(text) => text.to_string(),
        Event::SoftBreak | Event::HardBreak => " ".into(),
        _ => String::new(),
    }
}

fn open_link(target: &str) -> String {
    let rel = match target.starts_with("http") {
        true => " rel=\"noopener noreferrer\"",
        false => "",
    };
    format!("<a href=\"{}\"{rel}>", attribute(target))
}

/// The target of a link, if it is on the web, in the document or relative to it.
fn target(url: &str) -> Option<String> {
    let url: String = url.chars().filter(|c| !c.is_control()).collect();
    let url = url.trim();
    let lower = url.to_ascii_lowercase();
    let web = lower.starts_with("http://") || lower.starts_with("https://");
    let path = url.split(['?', '#']).next().unwrap_or_default();
    // A colon in the first part of a path would make that part a scheme.
    let scheme = path
        .split('/')
        .next()
        .is_some_and(|part| part.contains(':'));
    let elsewhere = scheme || url.starts_with("//") || url.contains('\\');
    match (web, elsewhere) {
        (true, _) => Some(url.to_owned()),
        (false, true) => None,
        (false, false) => Some(to_html(url)),
    }
}

/// A link to another report leads to its HTML file, as the link in the Markdown file leads to its Markdown.
fn to_html(url: &str) -> String {
    match url.strip_suffix("report.md") {
        Some(folder) if folder.is_empty() || folder.ends_with('/') => {
            format!("{folder}report.html")
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    fn check(markdown: &str, expected: &str) {
        assert_eq!(html(markdown), expected, "{markdown:?}");
    }

    #[test]
    fn inline_markdown_becomes_elements() {
        check("*a* _b_ **c**", "<em>a</em> <em>b</em> <strong>c</strong>");
        check("`a<b` &lt; c", "<code>a&lt;b</code> &lt; c");
        check("one\ntwo", "one two");
        check("", "");
        assert_eq!(plain("*a* `b` [c](d.md)"), "a b c");
    }

    #[test]
    fn no_text_becomes_a_block() {
        for markdown in [
            "# a", "- a", "1. a", "> a", "    a", "---", "a\n===", "[a]: b",
        ] {
            let shown = html(markdown);
            let words = markdown.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(shown, words.replace('>', "&gt;"), "{markdown:?}");
        }
    }

    #[test]
    fn html_is_shown_and_not_interpreted() {
        check(
            "<script>alert(1)</script>",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
        );
        check(
            "a <img src=x onerror='b'>",
            "a &lt;img src=x onerror='b'&gt;",
        );
        check("![a](https://b/c.png)", "a");
        check("<!-- a -->", "&lt;!-- a --&gt;");
    }

    #[test]
    fn links_lead_to_the_web_or_stay_in_the_folder() {
        let rel = "rel=\"noopener noreferrer\"";
        check(
            "[a](https://b)",
            &format!("<a href=\"https://b\" {rel}>a</a>"),
        );
        check(
            "<https://b>",
            &format!("<a href=\"https://b\" {rel}>https://b</a>"),
        );
        check("[a](x/report.md)", "<a href=\"x/report.html\">a</a>");
        check("[a](#b)", "<a href=\"#b\">a</a>");
        check("[a](<x \"y>)", "<a href=\"x &quot;y\">a</a>");
        for url in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "&#x6a;avascript:alert(1)",
            "java&#10;script:alert(1)",
            "data:text/html,x",
            "//evil.example/x",
            "file:///etc/passwd",
            "<\\\\host\\share>",
        ] {
            check(&format!("[a]({url})"), "a");
        }
    }

    /// Names from outside are shown as they are.
    #[test]
    fn escaped_names_are_shown_literally() {
        for name in [
            "a & b",
            "<script>alert('1')</script>",
            "\"quoted\" 'name'",
            "[a](javascript:b)",
            "- *a* _b_ `c` #d ~~e~~ $f$ |g|",
            "&amp;&lt;",
        ] {
            check(&text::escape(name), &escaped(name));
            check(
                &text::code(name),
                &format!("<code>{}</code>", escaped(name)),
            );
        }
    }
}
