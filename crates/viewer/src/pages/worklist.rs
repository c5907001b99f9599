//! The worklist: the run's test images, those that need a person first at its head.

use maud::{Markup, PreEscaped, html};
use report::format;

use super::frame::{Page, Place};
use super::percent;
use crate::Viewer;
use crate::query::{Query, Show, Sort};
use crate::study::{Classes, Study};
use crate::worklist::{Need, PAGE};

pub(crate) fn worklist(viewer: &Viewer, study: &Study, query: &Query) -> Markup {
    let thresholds = study.thresholds();
    let body = html! {
        h1 { (study.title) }
        @if study.phantoms {
            div.alert.warning role="note" {
                p.kind { "Warning" }
                p { "These images are phantoms, drawn by the program: no figure here says anything about patients." }
            }
        }
        div.list-page {
            @if let Some(thresholds) = &thresholds {
                // Opened by the script where there is room beside the list.
                details.fold.operating {
                    summary { "Decision threshold, confusion matrix, predictive values" }
                    (PreEscaped(report::html::movable_threshold(thresholds, 1)))
                }
            }
            (section(study, query))
        }
    };
    viewer.page(Page {
        title: &format!("{}: worklist", study.title),
        here: Place::Worklist,
        scripts: &["thresholds.js", "worklist.js"],
        body,
    })
}

/// What changes with the query; the script replaces it as a whole.
fn section(study: &Study, query: &Query) -> Markup {
    let listed = study.listed(query);
    let pages = listed.len().div_ceil(PAGE).max(1);
    let page = query.page.min(pages - 1);
    let shown = listed.iter().skip(page * PAGE).take(PAGE);
    let threshold = query.threshold.map(|t| t.to_string());
    html! {
        section #worklist aria-labelledby="worklist-title" data-threshold=[threshold] {
            h2 #worklist-title { "Worklist" }
            p { (order(study, query)) }
            (filters(study, query))
            (search(study, query))
            p.status role="status" {
                @match listed.len() {
                    0 => "No image matches.",
                    n => { (n) " of " (study.len()) " images" @if pages > 1 { ", page " (page + 1) " of " (pages) } },
                }
                @if let Some(t) = query.threshold {
                    ", at a threshold of " (format::fixed(t, 3)) " ("
                    a href={ "/" (Query { threshold: None, ..query.clone() }.text()) } { "back to the run's" }
                    ")"
                }
            }
            @if !listed.is_empty() {
                (table(study, query, shown.copied()))
            }
            (pager(query, page, pages))
        }
    }
}

/// How the list is sorted, in words.
fn order(study: &Study, query: &Query) -> Markup {
    let first = match &study.classes {
        None => html! { "First the images whose map agrees least with their mask." },
        Some(classes) => match (classes.negative(), classes.threshold(query.threshold)) {
            (Some(_), Some(threshold)) => {
                let [low, high] = threshold.near();
                html! {
                    "First the undecided images, whose probability is near the threshold (" (percent(low.max(0.0))) " to "
                    (percent(high.min(1.0))) "), then those predicted as " b { (classes.names[classes.positive]) }
                    ", then the others; the most probable first."
                }
            }
            _ => html! { "First the images of whose class the network is least certain." },
        },
    };
    match query.sort {
        Sort::First => first,
        sort => html! { "Sorted: " (sort_words(study, sort)) "." },
    }
}

/// Links to parts of the list, with their numbers of images.
fn filters(study: &Study, query: &Query) -> Markup {
    let link = |show: Show, words: Markup| {
        let current = (query.show == show).then_some("true");
        html! {
            li {
                a href={ "/" (query.showing(show).text()) } aria-current=[current] {
                    (words) " " span.count { (study.count(query, show)) }
                }
            }
        }
    };
    let Some(classes) = &study.classes else {
        return html! {};
    };
    html! {
        nav.filters aria-label="Part of the list" {
            ul {
                (link(Show::All, html! { "All" }))
                (link(Show::Wrong, html! { "Wrong" }))
                @for (show, words) in pairs(classes) { (link(show, words)) }
            }
        }
        @if classes.negative().is_none() { (matrix(study, classes, query)) }
    }
}

/// The four parts of two classes.
fn pairs(classes: &Classes) -> Vec<(Show, Markup)> {
    let (positive, Some(negative)) = (classes.positive, classes.negative()) else {
        return vec![];
    };
    vec![
        (Show::Pair(negative, positive), html! { "False positives" }),
        (Show::Pair(positive, negative), html! { "False negatives" }),
        (Show::Pair(positive, positive), html! { "True positives" }),
        (Show::Pair(negative, negative), html! { "True negatives" }),
    ]
}

/// The confusion matrix of more than two classes, whose cells lead to their images.
fn matrix(study: &Study, classes: &Classes, query: &Query) -> Markup {
    let names = || classes.names.iter().enumerate();
    html! {
        div.scroll role="group" aria-label="Confusion matrix" tabindex="0" {
            table.matrix {
                caption { "Confusion matrix" }
                thead {
                    tr { td {} @for (_, name) in names() { th.number scope="col" { "predicted " (name) } } }
                }
                tbody {
                    @for (truth, name) in names() {
                        tr {
                            th scope="row" { (name) }
                            @for (class, _) in names() {
                                @let show = Show::Pair(truth, class);
                                td.number {
                                    a href={ "/" (query.showing(show).text()) }
                                        aria-label={ (study.count(query, show)) " images of " (name) " predicted as " (classes.names[class]) }
                                        { (study.count(query, show)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn search(study: &Study, query: &Query) -> Markup {
    html! {
        form.find method="get" action="/" role="search" {
            @if query.show != Show::All { input type="hidden" name="show" value=(query.show.to_string()); }
            @if let Some(t) = query.threshold { input type="hidden" name="t" value=(t); }
            span.field {
                label for="q" { "Image or patient" }
                input #q type="search" name="q" value=(query.search);
            }
            span.field {
                label for="sort" { "Order" }
                select #sort name="sort" {
                    @for sort in Sort::ALL {
                        option value=(sort.key()) selected[sort == query.sort] { (sort_words(study, sort)) }
                    }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

fn sort_words(study: &Study, sort: Sort) -> String {
    let measure = match &study.classes {
        None => "agreement with the mask".to_owned(),
        Some(classes) => match classes.negative() {
            Some(_) => format!("probability of {}", classes.names[classes.positive]),
            None => "probability of the predicted class".into(),
        },
    };
    match sort {
        Sort::First => "what needs a person first".into(),
        Sort::High => format!("{measure}, highest first"),
        Sort::Low => format!("{measure}, lowest first"),
        Sort::Name => "name".into(),
    }
}

fn table(study: &Study, query: &Query, rows: impl Iterator<Item = usize>) -> Markup {
    let dice = study.cases.iter().any(|case| case.dice.is_some());
    html! {
        table.worklist {
            caption.hidden { "Images and their predictions" }
            thead {
                tr {
                    th scope="col" { "Image" }
                    @if let Some(classes) = &study.classes {
                        th scope="col" { "Look, because" }
                        th.number scope="col" {
                            @match classes.negative() {
                                Some(_) => { "Probability of " (classes.names[classes.positive]) },
                                None => "Probability",
                            }
                        }
                        th scope="col" { "Predicted" }
                        th scope="col" { "True class" }
                    }
                    @if dice { th.number scope="col" { "Dice" } }
                }
            }
            tbody { @for number in rows { (row(study, query, number, dice)) } }
        }
    }
}

fn row(study: &Study, query: &Query, number: usize, dice: bool) -> Markup {
    let case = &study.cases[number];
    html! {
        tr {
            th scope="row" {
                a.to-case href={ "/cases/" (number) (query.at_page(0).text()) } {
                    img src={ "/cases/" (number) "/thumbnail" } alt="" width="56" height="56" loading="lazy";
                    span.path { (case.path) }
                }
                @if let Some(patient) = &case.patient { span.patient { "patient " (patient) } }
            }
            @if let Some(classes) = &study.classes {
                td data-label="Look, because" { (need(study, query, number)) }
                td.number data-label="Probability" { (bar(classes.leading(case))) }
                td data-label="Predicted" { (name(classes, study.predicted(case, query))) }
                td data-label="True class" {
                    (name(classes, case.truth))
                    @if let Some(outcome) = study.outcome(case, query) {
                        @let (class, words) = outcome.words();
                        " " span class={ "badge " (class) } { (words) }
                    }
                }
            }
            @if dice {
                td.number data-label="Dice" { (case.dice.map_or("–".into(), |dice| format::fixed(dice, 3))) }
            }
        }
    }
}

fn need(study: &Study, query: &Query, number: usize) -> &'static str {
    let binary = study.classes.as_ref().and_then(Classes::negative).is_some();
    match (study.need(&study.cases[number], query), binary) {
        (Some(Need::Undecided), true) => "undecided",
        (Some(Need::Undecided), false) => "uncertain",
        (Some(Need::Positive), _) => "positive",
        _ => "–",
    }
}

pub(super) fn name(classes: &Classes, class: Option<usize>) -> &str {
    class
        .and_then(|class| classes.names.get(class))
        .map_or("–", String::as_str)
}

/// A probability as a number and a bar.
pub(super) fn bar(share: f64) -> Markup {
    html! {
        span.value { (percent(share)) }
        svg.bar viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="100" height="6" {}
            rect.filled width=(format!("{:.1}", 100.0 * share.clamp(0.0, 1.0))) height="6" {}
        }
    }
}

fn pager(query: &Query, page: usize, pages: usize) -> Markup {
    let link = |to: usize, words: &str| html! { li { a href={ "/" (query.at_page(to).text()) } { (words) } } };
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages of the list" {
                ul {
                    @if page > 0 { (link(page - 1, "Previous page")) }
                    li { "Page " (page + 1) " of " (pages) }
                    @if page + 1 < pages { (link(page + 1, "Next page")) }
                }
            }
        }
    }
}
