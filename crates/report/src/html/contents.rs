//! The table of contents, made while headings are rendered.

use std::collections::BTreeSet;

use super::escape::text as escaped;

/// The headings so far.
#[derive(Default)]
pub(super) struct Contents {
    headings: Vec<Heading>,
    ids: BTreeSet<String>,
}

struct Heading {
    level: usize,
    id: String,
    text: String,
}

impl Contents {
    /// Adds a heading and returns its id, which no other heading has.
    pub(super) fn add(&mut self, level: usize, text: &str) -> String {
        let slug = slug(text);
        let numbered = (2..).map(|n| format!("{slug}-{n}"));
        let mut ids = std::iter::once(slug.clone()).chain(numbered);
        let id = ids.find(|id| !self.ids.contains(id)).unwrap_or(slug);
        self.ids.insert(id.clone());
        self.headings.push(Heading {
            level,
            id: id.clone(),
            text: text.to_owned(),
        });
        id
    }

    /// The text of the first heading of the first level.
    pub(super) fn title(&self) -> Option<&str> {
        let mut titles = self.headings.iter().filter(|h| h.level == 1);
        titles.next().map(|h| h.text.as_str())
    }

    /// The text of the last heading: where a block is in the document.
    pub(super) fn place(&self) -> String {
        let last = self.headings.last();
        last.map_or_else(|| "Report".to_owned(), |h| h.text.clone())
    }

    /// Links to the headings of the second and third level; empty without any.
    pub(super) fn render(&self) -> String {
        let mut html = String::new();
        let mut inside = false;
        let mut open = false;
        for Heading { level, id, text } in &self.headings {
            let link = format!("<a href=\"#{id}\">{}</a>", escaped(text));
            match level {
                2 => {
                    html += close(&mut inside, &mut open);
                    html += &format!("<li>{link}");
                    open = true;
                }
                3 if open => {
                    html += if inside { "" } else { "<ol>" };
                    html += &format!("<li>{link}</li>");
                    inside = true;
                }
                _ => {}
            }
        }
        html += close(&mut inside, &mut open);
        match html.as_str() {
            "" => html,
            items => format!("<ol>{items}</ol>"),
        }
    }
}

/// What closes the entry of a heading of the second level.
fn close(inside: &mut bool, open: &mut bool) -> &'static str {
    match (std::mem::take(open), std::mem::take(inside)) {
        (true, true) => "</ol></li>\n",
        (true, false) => "</li>\n",
        (false, _) => "",
    }
}

/// Letters and digits, joined by hyphens. The prefix keeps ids of headings apart from all others in the file.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!("s-{}", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_headings_have_different_ids() {
        let mut contents = Contents::default();
        assert_eq!(contents.add(2, "Größe <a> & \"b\""), "s-größe-a-b");
        assert_eq!(contents.add(2, "Data"), "s-data");
        assert_eq!(contents.add(3, "data"), "s-data-2");
        assert_eq!(contents.add(3, "data 2"), "s-data-2-2");
    }

    #[test]
    fn contents_are_nested_and_escaped() {
        let mut contents = Contents::default();
        for (level, text) in [
            (1, "T"),
            (3, "early"),
            (2, "a<b"),
            (3, "c"),
            (3, "d"),
            (2, "e"),
        ] {
            contents.add(level, text);
        }
        assert_eq!(contents.title(), Some("T"));
        assert_eq!(
            contents.render(),
            "<ol><li><a href=\"#s-a-b\">a&lt;b</a><ol><li><a href=\"#s-c\">c</a></li><li><a href=\"#s-d\">d</a></li></ol></li>\n\
             <li><a href=\"#s-e\">e</a></li>\n</ol>"
        );
    }
}
