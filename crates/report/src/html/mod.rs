//! Rendering of documents as one HTML file that needs nothing else: pictures, style and script are inside.
//!
//! Without its script the file is a complete report. The script adds what a page on paper cannot do: sorting tables,
//! moving a threshold along an ROC curve, and filtering cases.

mod cases;
mod contents;
mod escape;
mod inline;
mod page;
mod picture;
mod table;
mod thresholds;

use std::io;

use terminal::visible;

use crate::Error;
use crate::document::{Alert, Block, Document, Thresholds};
use contents::Contents;
use escape::{attribute, text as escaped};
pub use page::{STYLE, THRESHOLDS_SCRIPT};

/// An ROC curve with a movable threshold, for a page that has [`STYLE`] and [`THRESHOLDS_SCRIPT`]; `number` makes its
/// ids unique in the page.
pub fn movable_threshold(thresholds: &Thresholds, number: usize) -> String {
    visible(&thresholds::render(thresholds, number)).into_owned()
}

/// Reads a picture of a document by its path.
type Reader<'a> = dyn Fn(&str) -> io::Result<Vec<u8>> + 'a;

impl Document {
    /// The document as a complete HTML file. `read` returns the bytes of a picture by its path in the document; one that
    /// cannot be read is an error that names it.
    pub fn to_html(&self, read: &Reader<'_>) -> Result<String, Error> {
        let mut renderer = Renderer {
            read,
            contents: Contents::default(),
            widgets: 0,
        };
        let body = renderer.blocks(self.blocks())?;
        let page = page::page(&renderer.contents, &body);
        Ok(visible(&page).into_owned())
    }
}

/// What rendering a block needs to know about the document and those before it.
struct Renderer<'a> {
    read: &'a Reader<'a>,
    contents: Contents,
    /// Number of interactive blocks so far, for ids.
    widgets: usize,
}

impl Renderer<'_> {
    fn blocks(&mut self, blocks: &[Block]) -> Result<String, Error> {
        let mut html = String::new();
        for block in blocks {
            html += &self.block(block)?;
            html.push('\n');
        }
        Ok(html)
    }

    fn block(&mut self, block: &Block) -> Result<String, Error> {
        Ok(match block {
            Block::Heading { level, text } => self.heading(*level, text),
            Block::Paragraph { text } => format!("<p>{}</p>", inline::html(text)),
            Block::List { items } => list(items),
            Block::Table(table) => table::render(table, &self.contents.place()),
            Block::Figure { path, alt, caption } => self.figure(path, alt, caption)?,
            Block::Code { language, code } => fenced(language, code),
            Block::Details { summary, blocks } => {
                let inside = self.blocks(blocks)?;
                let summary = escaped(summary);
                format!("<details class=\"fold\"><summary>{summary}</summary>\n{inside}</details>")
            }
            Block::Thresholds(curve) => thresholds::render(curve, self.widget()),
            Block::Cases(all) => {
                let pictures: Result<Vec<_>, _> =
                    all.cases.iter().map(|c| self.data(&c.picture)).collect();
                cases::render(all, &pictures?, self.widget())
            }
            Block::Alert { kind, text } => alert(*kind, text),
        })
    }

    fn heading(&mut self, level: usize, text: &str) -> String {
        let level = level.clamp(1, 6);
        let id = self.contents.add(level, &inline::plain(text));
        format!("<h{level} id=\"{id}\">{}</h{level}>", inline::html(text))
    }

    fn figure(&self, path: &str, alt: &str, caption: &str) -> Result<String, Error> {
        let source = self.data(path)?;
        let caption = match caption.trim() {
            "" => String::new(),
            caption => format!("<figcaption>{}</figcaption>", inline::html(caption)),
        };
        let alt = attribute(alt);
        Ok(format!(
            "<figure><div class=\"scroll\" role=\"group\" aria-label=\"Figure: {alt}\" tabindex=\"0\"><img \
             src=\"{source}\" alt=\"{alt}\"></div>{caption}</figure>"
        ))
    }

    fn data(&self, path: &str) -> Result<String, Error> {
        picture::data_uri(path, self.read).map_err(|source| Error::Picture {
            path: path.to_owned(),
            source,
        })
    }

    fn widget(&mut self) -> usize {
        self.widgets += 1;
        self.widgets
    }
}

fn list(items: &[String]) -> String {
    let items = items.iter().map(|item| inline::html(item));
    let items: String = items.map(|item| format!("<li>{item}</li>\n")).collect();
    format!("<ul>\n{items}</ul>")
}

/// Code in a box of its own, which can be reached with the keyboard because it may have to be scrolled.
fn fenced(language: &str, code: &str) -> String {
    let label = match language {
        "" => "Code".to_owned(),
        language => format!("Code, {language}"),
    };
    format!(
        "<div class=\"scroll code\" role=\"group\" aria-label=\"{}\" tabindex=\"0\"><pre><code>{}</code></pre></div>",
        attribute(&label),
        escaped(code.trim_end_matches('\n'))
    )
}

fn alert(kind: Alert, text: &str) -> String {
    let (class, name) = match kind {
        Alert::Note => ("note", "Note"),
        Alert::Warning => ("warning", "Warning"),
    };
    format!(
        "<div class=\"alert {class}\" role=\"note\"><p class=\"kind\">{name}</p><p>{}</p></div>",
        inline::html(text)
    )
}
