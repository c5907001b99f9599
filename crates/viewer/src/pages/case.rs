//! One image of the run.

use maud::{Markup, html};
use report::format;

use super::frame::{Page, Place};
use super::percent;
use super::stage::{Map, Stage};
use super::worklist::{bar, name};
use crate::Viewer;
use crate::opened::Opened;
use crate::pictures;
use crate::query::Query;
use crate::study::{Case, Classes, Study};

/// The page; `opened` is the image, or why it cannot be shown.
pub(crate) fn case(
    viewer: &Viewer,
    study: &Study,
    (number, query): (usize, &Query),
    opened: &Result<std::sync::Arc<Opened>, String>,
) -> Markup {
    let case = &study.cases[number];
    let body = html! {
        (neighbours(study, number, query))
        h1.path { (case.path) }
        div.case-page {
            @match opened {
                Ok(opened) => (viewer.stage(study, number, opened).html()),
                Err(reason) => div.alert.warning role="note" {
                    p.kind { "The image cannot be shown" }
                    p { (reason) }
                },
            }
            (facts(study, number, query, opened.as_deref().ok()))
        }
    };
    viewer.page(Page {
        title: &format!("{}: {}", study.title, case.path),
        here: Place::Elsewhere,
        scripts: &["stage.js"],
        body,
    })
}

impl Viewer {
    fn stage<'a>(&self, study: &'a Study, number: usize, opened: &Opened) -> Stage<'a> {
        let (case, network) = (&study.cases[number], self.predictor.as_ref());
        let at = |part: &str| format!("/cases/{number}/{part}");
        let maps = network
            .iter()
            .flat_map(|predictor| predictor.mapped_classes());
        let maps = maps.enumerate().map(|(i, class)| Map {
            class: class.to_owned(),
            address: at(&format!("map/{i}")),
        });
        let first = network.map(|predictor| predictor.networks().first());
        Stage {
            number: 1,
            alt: &case.path,
            image: at("image"),
            bits: pictures::bits(&opened.image),
            maps: maps.collect(),
            shown: match first {
                Some(bundle) if bundle.segments() => bundle.shown(),
                _ => 0,
            },
            mask: study.images.has_mask(case).then(|| at("mask")),
            certainty: first.map_or(report::OVERLAY_THRESHOLD, |b| b.meta().inference.certainty),
            still: at("overlay"),
        }
    }
}

/// Links to the worklist and to the cases before and after this one in it.
fn neighbours(study: &Study, number: usize, query: &Query) -> Markup {
    let listed = study.listed(query);
    let place = listed.iter().position(|i| *i == number);
    let beside = |step: isize| {
        let place = place?.checked_add_signed(step)?;
        listed.get(place)
    };
    let link = |to: Option<&usize>, rel: &str, words: &str| {
        html! {
            @match to {
                Some(to) => li { a rel=(rel) href={ "/cases/" (to) (query.text()) } { (words) } },
                None => li.absent { (words) },
            }
        }
    };
    html! {
        nav.neighbours aria-label="Images of the worklist" {
            ul {
                li { a href={ "/" (query.text()) } { "Worklist" } }
                (link(beside(-1), "prev", "Previous"))
                (link(beside(1), "next", "Next"))
                @if let Some(place) = place { li.place { (place + 1) " of " (listed.len()) } }
            }
        }
    }
}

fn facts(study: &Study, number: usize, query: &Query, opened: Option<&Opened>) -> Markup {
    let case = &study.cases[number];
    html! {
        section.facts aria-labelledby="facts-title" {
            h2 #facts-title { "What the network found" }
            @if let Some(classes) = &study.classes { (verdict(study, classes, case, query)) }
            dl {
                @if let Some(dice) = case.dice {
                    dt { "Dice with the mask" } dd { (format::fixed(dice, 3)) }
                }
                dt { "Patient" } dd { (case.patient.as_deref().unwrap_or("unknown")) }
                @if let Some(opened) = opened {
                    @let (rows, columns) = opened.image.size();
                    dt { "Size" } dd { (columns) " × " (rows) " pixels" }
                    dt { "SHA-256" } dd { code { (opened.image.sha256()) } }
                }
            }
            (of_patient(study, number, query))
        }
    }
}

fn verdict(study: &Study, classes: &Classes, case: &Case, query: &Query) -> Markup {
    html! {
        p.verdict {
            (name(classes, study.predicted(case, query)))
            @if let Some(outcome) = study.outcome(case, query) {
                @let (class, words) = outcome.words();
                " " span class={ "badge " (class) } { (words) }
            }
        }
        p { "True class: " b { (name(classes, case.truth)) } }
        table.classes {
            caption { "Calibrated probabilities" }
            tbody {
                @for (class, p) in classes.names.iter().zip(&case.probabilities) {
                    tr { th scope="row" { (class) } td.number { (bar(*p)) } }
                }
            }
        }
        @if let Some((coverage, set)) = classes.set(case) { (set_of(coverage, &set)) }
        @if let Some(threshold) = classes.threshold(query.threshold) {
            p {
                "Predicted as " (classes.names[classes.positive]) " from " (percent(threshold.probability))
                @if let Some([low, high]) = threshold.interval { " [" (percent(low)) ", " (percent(high)) "]" }
                @if query.threshold.is_some() { ", chosen in the worklist" }
                ". "
                @if threshold.is_near(classes.leading(case)) { b { "This image is near the threshold." } }
            }
        }
    }
}

/// The classes of which the true one is one with a promised probability.
pub(super) fn set_of<S: AsRef<str>>(coverage: f64, set: &[S]) -> Markup {
    html! {
        p {
            "With " (format::percent(coverage, 0)) ": "
            @match set {
                [] => "none of the classes; the image is unlike those of the calibration",
                set => {
                    @for (i, class) in set.iter().enumerate() {
                        @if i > 0 { " or " }
                        b { (class.as_ref()) }
                    }
                },
            }
        }
    }
}

/// Links to the other images of the same patient.
fn of_patient(study: &Study, number: usize, query: &Query) -> Markup {
    let patient = study.cases[number].patient.as_deref();
    let same = |(i, case): &(usize, &Case)| {
        patient.is_some() && *i != number && case.patient.as_deref() == patient
    };
    let others: Vec<(usize, &Case)> = study.cases.iter().enumerate().filter(same).collect();
    html! {
        @if !others.is_empty() {
            h3 { "Other images of this patient" }
            ul {
                @for (i, case) in others {
                    li { a.path href={ "/cases/" (i) (query.text()) } { (case.path) } }
                }
            }
        }
    }
}
