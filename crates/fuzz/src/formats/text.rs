//! Tables and settings: lines and fields are removed, duplicated, swapped and replaced.

use super::json::text;
use crate::mutate::{self, number};
use crate::rng::Rng;

/// Changes lines and the fields between `separators` in a line, and sometimes bytes. `lines` are lines of other files
/// of the same kind.
pub(crate) fn mutate(rng: &mut Rng, bytes: &[u8], separators: &[char], lines: &[&str]) -> Vec<u8> {
    if rng.once_in(6) {
        let mut bytes = bytes.to_vec();
        mutate::bytes(rng, &mut bytes, &WORDS, lines.join("\n").as_bytes());
        return bytes;
    }
    let whole = String::from_utf8_lossy(bytes);
    let mut own: Vec<String> = whole.lines().map(str::to_owned).collect();
    loop {
        change(rng, &mut own, separators, lines);
        if !rng.once_in(3) {
            break;
        }
    }
    let end = ["\n", "\n", "\n", "\r\n", "\r"][rng.below(5)];
    let mut bytes = own.join(end).into_bytes();
    bytes.truncate(mutate::LARGEST);
    bytes
}

const WORDS: [&[u8]; 16] = [
    b"\"",
    b"\"\"\"",
    b"'",
    b"\\",
    b",",
    b";",
    b"\t",
    b"\r\n",
    b"\n\n",
    b"\xEF\xBB\xBF",
    b"\xFF\xFE",
    b"\0",
    b"[[",
    b"]",
    b"{",
    b"=",
];

fn change(rng: &mut Rng, own: &mut Vec<String>, separators: &[char], lines: &[&str]) {
    let at = rng.below(own.len());
    match rng.below(10) {
        0 if !own.is_empty() => drop(own.remove(at)),
        1 => own.extend(own.get(at).cloned()),
        2 if !own.is_empty() => {
            let with = rng.below(own.len());
            own.swap(at, with);
        }
        3 | 4 => {
            let new = rng.pick(lines).copied().unwrap_or_default();
            own.insert(at, new.to_owned());
        }
        _ => {
            if let Some(line) = own.get_mut(at) {
                *line = field(rng, line, separators);
            }
        }
    }
}

/// The line with one of its fields replaced.
fn field(rng: &mut Rng, line: &str, separators: &[char]) -> String {
    let fields: Vec<&str> = line.split_inclusive(separators).collect();
    let at = rng.below(fields.len());
    let new = |rng: &mut Rng, old: &str| {
        let end = old.chars().next_back().filter(|c| separators.contains(c));
        let value = value(rng, old.trim_end_matches(separators));
        format!("{value}{}", end.map(String::from).unwrap_or_default())
    };
    fields
        .iter()
        .enumerate()
        .map(|(i, field)| match i == at {
            true => new(rng, field),
            false => (*field).to_owned(),
        })
        .collect()
}

fn value(rng: &mut Rng, old: &str) -> String {
    match rng.below(14) {
        0 => String::new(),
        1 => number(rng).to_string(),
        2 => format!("-{}", number(rng) >> 1),
        3 => [
            "0.0", "-0.0", "nan", "inf", "-inf", "1e308", "1e-308", "0.5", "1.0",
        ][rng.below(9)]
        .to_owned(),
        4 => format!("\"{}\"", text(rng).escape_default()),
        5 => text(rng),
        6 => old.repeat(2),
        7 => "[".repeat(rng.length(20_000)),
        8 => [
            "[]",
            "{}",
            "true",
            "false",
            "[0, 0]",
            "[[1], [2]]",
            "{ a = 1 }",
            "''",
        ][rng.below(8)]
        .to_owned(),
        9 => old.chars().rev().collect(),
        10 => old.to_uppercase(),
        11 => old
            .chars()
            .take(rng.below(old.chars().count() + 1))
            .collect(),
        12 => format!("[{old}]"),
        _ => format!("\"{old}\""),
    }
}
