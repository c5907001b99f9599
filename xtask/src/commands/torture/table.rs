//! The table of results.

use std::fmt::Write as _;
use std::time::Duration;

/// One kind of input or fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) kind: String,
    pub(super) tries: u64,
    /// Ended with an error message.
    pub(super) refused: u64,
    /// Correct at once or after `--resume`.
    pub(super) succeeded: u64,
    pub(super) panics: u64,
    /// Ended by a signal that the test did not send.
    pub(super) deaths: u64,
    pub(super) hangs: u64,
    /// Used more memory than the bound.
    pub(super) over: u64,
    pub(super) wrong: u64,
    /// Peak memory, in bytes.
    pub(super) peak: u64,
    /// The bound, in bytes.
    pub(super) bound: u64,
    /// Whether the row is about mutated inputs, not disturbed runs.
    pub(super) inputs: bool,
    /// Why nothing was tested, if so.
    pub(super) skipped: Option<String>,
}

impl Row {
    pub(super) fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }

    fn good(&self) -> bool {
        self.panics + self.deaths + self.hangs + self.over + self.wrong == 0
    }

    fn add(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.tries, other.tries),
            (&mut self.refused, other.refused),
            (&mut self.succeeded, other.succeeded),
            (&mut self.panics, other.panics),
            (&mut self.deaths, other.deaths),
            (&mut self.hangs, other.hangs),
            (&mut self.over, other.over),
            (&mut self.wrong, other.wrong),
        ] {
            *sum += part;
        }
        self.peak = self.peak.max(other.peak);
        self.skipped.clone_from(&other.skipped);
    }
}

/// All rows, and what failed.
#[derive(Debug, Default)]
pub(super) struct Table {
    inputs: Vec<Row>,
    runs: Vec<Row>,
    /// One line per failure.
    failures: Vec<String>,
}

/// Maximum number of failures that are listed.
const LISTED: usize = 60;

/// Maximum characters of a failure's line.
const LONGEST: usize = 400;

impl Table {
    /// Adds a row to the one of the same kind.
    pub(super) fn add(&mut self, row: Row) {
        let rows = match row.inputs {
            true => &mut self.inputs,
            false => &mut self.runs,
        };
        match rows.iter_mut().find(|known| known.kind == row.kind) {
            Some(known) => known.add(&row),
            None => rows.push(row),
        }
    }

    /// Records a failure, with the path where it is kept.
    pub(super) fn failed(&mut self, line: String) {
        self.failures.push(line);
    }

    pub(super) fn good(&self) -> bool {
        self.inputs.iter().chain(&self.runs).all(Row::good)
    }

    /// As Markdown.
    pub(super) fn show(&self, seed: u64, took: Duration) -> String {
        let mut text = String::from(
            "| kind | tries | refused | succeeded | panics | deaths | hangs | over bound | wrong | peak, MiB | bound, MiB |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for (rows, all) in [
            (&self.inputs, "**all inputs**"),
            (&self.runs, "**all disturbed runs**"),
        ] {
            let mut sum = Row::new(all);
            for row in rows {
                line(&mut text, row);
                sum.add(row);
            }
            sum.skipped = None;
            if !rows.is_empty() {
                line(&mut text, &sum);
            }
        }
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "\nSeed {seed}, {:.1} minutes.",
            took.as_secs_f64() / 60.0
        );
        for failure in self.failures.iter().take(LISTED) {
            let _ = writeln!(
                text,
                "- {}",
                failure.chars().take(LONGEST).collect::<String>()
            );
        }
        if self.failures.len() > LISTED {
            let _ = writeln!(text, "- and {} more", self.failures.len() - LISTED);
        }
        text
    }
}

fn line(text: &mut String, row: &Row) {
    if let Some(why) = &row.skipped {
        let _ = writeln!(text, "| {} | skipped: {why} | | | | | | | | | |", row.kind);
        return;
    }
    let counts = [
        row.tries,
        row.refused,
        row.succeeded,
        row.panics,
        row.deaths,
        row.hangs,
        row.over,
        row.wrong,
        row.peak.div_ceil(1 << 20),
    ];
    let counts: Vec<String> = counts.iter().map(|n| thousands(*n)).collect();
    let bound = match row.bound {
        0 => "–".into(),
        bytes => thousands(bytes >> 20),
    };
    let _ = writeln!(text, "| {} | {} | {bound} |", row.kind, counts.join(" | "));
}

/// `1,234,567`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    let groups: Vec<_> = groups
        .iter()
        .map(|group| String::from_utf8_lossy(group))
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_same_kind_are_merged() {
        let mut table = Table::default();
        let row = |kind: &str, tries, peak| Row {
            tries,
            peak,
            refused: tries,
            ..Row::new(kind)
        };
        table.add(row("png", 1000, 1 << 20));
        table.add(row("pth", 5, 7 << 20));
        table.add(row("png", 234, 3 << 20));
        assert!(table.good());
        let text = table.show(7, Duration::from_secs(90));
        assert!(
            text.contains("| png | 1,234 | 1,234 | 0 | 0 | 0 | 0 | 0 | 0 | 3 | – |"),
            "{text}"
        );
        assert!(
            text.contains(
                "| **all disturbed runs** | 1,239 | 1,239 | 0 | 0 | 0 | 0 | 0 | 0 | 7 | – |"
            ),
            "{text}"
        );
        assert!(text.contains("Seed 7, 1.5 minutes."), "{text}");
        table.add(Row {
            hangs: 1,
            ..Row::new("png")
        });
        assert!(!table.good());
    }
}
