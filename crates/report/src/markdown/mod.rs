//! Rendering of documents as GitHub-flavoured Markdown.

mod table;

use std::fmt::Write as _;

use terminal::visible;

use crate::document::{Alert, Block, Document};
use crate::text::{escape, longest_run};

impl Document {
    /// The document as Markdown; blocks are separated by blank lines.
    pub fn to_markdown(&self) -> String {
        visible(&joined(self.blocks())).into_owned()
    }
}

fn joined(blocks: &[Block]) -> String {
    let blocks: Vec<_> = blocks
        .iter()
        .filter_map(|b| Some(render(b)? + "\n"))
        .collect();
    blocks.join("\n")
}

/// Renders a block, without a trailing line break; `None` for one that only other formats show.
fn render(block: &Block) -> Option<String> {
    Some(match block {
        Block::Heading { level, text } => heading(*level, text),
        Block::Paragraph { text } => text.trim().to_owned(),
        Block::List { items } => list(items),
        Block::Table(table) => table::render(table),
        Block::Figure { path, alt, caption } => figure(path, alt, caption),
        Block::Code { language, code } => fenced(language, code),
        Block::Details { summary, blocks } => details(summary, blocks),
        Block::Thresholds(curve) => figure(&curve.path, &curve.alt, ""),
        Block::Cases(_) => return None,
        Block::Alert { kind, text } => alert(*kind, text),
    })
}

fn heading(level: usize, text: &str) -> String {
    format!("{} {}", "#".repeat(level.clamp(1, 6)), one_line(text))
}

fn list(items: &[String]) -> String {
    let lines: Vec<_> = items
        .iter()
        .map(|item| format!("- {}", item.trim().replace('\n', "\n  ")))
        .collect();
    lines.join("\n")
}

fn figure(path: &str, alt: &str, caption: &str) -> String {
    let picture = format!("![{}]({})", escape(&one_line(alt)), link(path));
    match caption.trim() {
        "" => picture,
        caption => format!("{picture}\n\n*{}*", one_line(caption)),
    }
}

/// A code block whose fence is longer than any in the code.
fn fenced(language: &str, code: &str) -> String {
    let fence = "`".repeat(longest_run(code).max(2) + 1);
    format!(
        "{fence}{language}\n{}\n{fence}",
        code.trim_end_matches('\n')
    )
}

fn details(summary: &str, blocks: &[Block]) -> String {
    let summary = escape_html(&one_line(summary));
    let body = joined(blocks);
    format!("<details>\n<summary>{summary}</summary>\n\n{body}\n</details>")
}

fn alert(kind: Alert, text: &str) -> String {
    let kind = match kind {
        Alert::Note => "NOTE",
        Alert::Warning => "WARNING",
    };
    let mut block = format!("> [!{kind}]");
    for line in text.trim().lines() {
        block.push_str("\n> ");
        block.push_str(line);
    }
    block
}

/// The text on one line, with single spaces.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Percent-encodes characters that would end or split a link's target. Backslashes become slashes, so that paths built
/// on Windows work.
fn link(path: &str) -> String {
    let mut target = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '\\' => target.push('/'),
            ' ' | '(' | ')' | '<' | '>' | '[' | ']' | '%' | '#' | '?' | '"' | '\n' | '\t' => {
                // Writing into a String cannot fail.
                let _ = write!(target, "%{:02X}", u32::from(c));
            }
            _ => target.push(c),
        }
    }
    target
}
