//! Cases to browse: a grid of pictures, which the script filters, sorts and makes walkable with the arrow keys.

use super::escape::{attribute, text as escaped};
use super::inline;
use crate::document::{Case, Cases, Outcome};

/// Renders cases whose pictures are given as data URIs; `number` makes ids unique.
pub(super) fn render(cases: &Cases, pictures: &[String], number: usize) -> String {
    let items = cases.cases.iter().zip(pictures);
    let items: String = items.map(|(case, picture)| item(case, picture)).collect();
    format!(
        "<div class=\"widget cases\" role=\"group\" aria-labelledby=\"w-{number}\">\n\
         <p class=\"widget-title\" id=\"w-{number}\">{}</p>\n<p>{}</p>\n{}\n<ul class=\"grid\">\n{items}</ul>\n</div>",
        escaped(&cases.name),
        inline::html(&cases.rule),
        controls(cases, number)
    )
}

fn item(case: &Case, picture: &str) -> String {
    let (class, outcome) = case.outcome.map_or(("", ""), Outcome::words);
    let badge = match outcome {
        "" => String::new(),
        words => format!("<span class=\"badge {class}\">{words}</span>"),
    };
    let lines: String = case
        .lines
        .iter()
        .map(|line| format!("<br>{}", escaped(line)))
        .collect();
    format!(
        "<li class=\"case\" data-outcome=\"{class}\" data-value=\"{}\"><figure><img src=\"{picture}\" alt=\"{}\">\
         <figcaption><span class=\"path\">{}</span>{lines}{badge}</figcaption></figure></li>\n",
        case.value,
        attribute(&format!("Image {}", case.title)),
        escaped(&case.title),
    )
}

/// Shown by the script, without which they would do nothing.
fn controls(cases: &Cases, number: usize) -> String {
    let measure = escaped(&cases.measure);
    format!(
        "<div class=\"controls\" hidden>{}\
         <label>Sort by <select class=\"order\"><option value=\"\">as selected</option>\
         <option value=\"down\">{measure}, highest first</option>\
         <option value=\"up\">{measure}, lowest first</option></select></label>\
         <p class=\"status\" role=\"status\"></p></div>",
        filters(cases, number)
    )
}

/// Whether a filter keeps a case with this outcome.
type Keeps = fn(Outcome) -> bool;

/// The filters that leave some cases and hide others.
fn filters(cases: &Cases, number: usize) -> String {
    let count = |keeps: Keeps| {
        let outcomes = cases.cases.iter().filter_map(|case| case.outcome);
        outcomes.filter(|outcome| keeps(*outcome)).count()
    };
    let kinds: [(&str, &str, Keeps); 4] = [
        ("correct", "correct", |o| o == Outcome::Correct),
        ("errors", "wrong", |o| o != Outcome::Correct),
        ("fp", "false positives", |o| o == Outcome::FalsePositive),
        ("fn", "false negatives", |o| o == Outcome::FalseNegative),
    ];
    if cases.cases.iter().all(|case| case.outcome.is_none()) {
        return String::new();
    }
    let radio = |value: &str, words: &str, n: usize, checked: &str| {
        format!(
            "<label><input type=\"radio\" name=\"filter-{number}\" value=\"{value}\"{checked}> {words} ({n})</label>"
        )
    };
    let mut html = radio("", "all", cases.cases.len(), " checked");
    for (value, words, keeps) in kinds {
        let n = count(keeps);
        html += &match n {
            0 => String::new(),
            n => radio(value, words, n, ""),
        };
    }
    format!("<fieldset><legend>Show</legend>{html}</fieldset>")
}
