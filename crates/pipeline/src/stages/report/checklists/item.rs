//! A checklist as rows, and its table.

use anyhow::Result;
use report::{Align, Document, Table};

use super::facts::{AUTHOR, Facts};

/// A checklist for papers.
pub(super) struct Checklist {
    pub(super) title: &'static str,
    /// Where the wording of the items is.
    pub(super) source: &'static str,
    pub(super) sections: &'static [Section],
}

/// A section of a paper and its items.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) items: &'static [Item],
}

/// An item: its number, its topic, what it asks in our words, and who answers it.
pub(super) struct Item(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) Answer,
);

/// Who knows the answer. A function returns `None` where this run does not know it.
pub(super) enum Answer {
    /// Only the author.
    Author,
    /// The run.
    Run(fn(&Facts) -> Option<String>),
    /// The run a part, the author the rest.
    Both(fn(&Facts) -> Option<String>),
}

impl Answer {
    fn text(&self, facts: &Facts) -> String {
        let author = || AUTHOR.to_owned();
        match self {
            Answer::Author => author(),
            Answer::Run(known) => known(facts).unwrap_or_else(author),
            Answer::Both(known) => match known(facts) {
                Some(text) => format!("{text} {AUTHOR}"),
                None => author(),
            },
        }
    }
}

/// The checklist with the answers of a run.
pub(super) fn document(checklist: &Checklist, facts: &Facts) -> Result<Document> {
    let mut document = Document::new(checklist.title);
    document.paragraph(&format!(
        "Items of {}, in our words: before submitting, compare them with the published wording. The last column says \
         what this run knows; {AUTHOR} marks what it cannot know. A filled row is not a claim that the item is complete.",
        checklist.source
    ));
    if facts.phantoms() {
        document.warning("The images of this run are phantoms drawn by a program: nothing here describes patients.");
    }
    for section in checklist.sections {
        let columns = ["item", "topic", "what is asked", "this run"];
        let mut table = Table::new(columns.map(|name| (name, Align::Left)));
        for Item(number, topic, asked, answer) in section.items {
            let answer = answer.text(facts);
            table.row([*number, *topic, *asked, &answer])?;
        }
        document.heading(2, section.name).table(&table);
    }
    Ok(document)
}
