//! Images that are sent to the network, and what it finds. Nothing of them is kept: the page holds the pictures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use pipeline::predict::Prediction;

use super::case::set_of;
use super::frame::{Page, Place};
use super::percent;
use super::stage::{Map, Stage};
use super::worklist::bar;
use crate::Viewer;
use crate::pictures::Pictures;

/// An image that was sent, and what became of it.
pub struct Seen {
    /// The name that the reader's file has.
    pub name: String,
    /// Why there is no prediction, in words.
    pub result: Result<(Prediction, Pictures), String>,
}

impl Viewer {
    /// The page on which a reader sends images; with those that were sent, the ones that need a person first on top.
    pub fn new_images(&self, mut seen: Vec<Seen>) -> String {
        seen.sort_by(|a, b| urgency(a).total_cmp(&urgency(b)));
        let body = html! {
            h1 { "New images" }
            @if self.on_phantoms() {
                div.alert.warning role="note" {
                    p.kind { "Warning" }
                    p { "This network was trained on phantoms only: what it finds in real images is meaningless." }
                }
            }
            (self.form())
            @for (i, seen) in seen.iter().enumerate() { (self.seen(i + 1, seen)) }
        };
        let page = self.page(Page {
            title: "New images",
            here: Place::NewImages,
            scripts: &["stage.js"],
            body,
        });
        page.into_string()
    }

    /// The page of images that were refused as a whole.
    pub fn refused(&self, reason: &str) -> String {
        let body = html! {
            h1 { "New images" }
            div.alert.warning role="alert" { p.kind { "The images were not predicted" } p { (reason) } }
            (self.form())
        };
        let page = self.page(Page {
            title: "New images: not predicted",
            here: Place::NewImages,
            scripts: &[],
            body,
        });
        page.into_string()
    }

    fn on_phantoms(&self) -> bool {
        let mut networks = self.predictor.iter().flat_map(|p| p.networks().members());
        networks.any(|network| network.meta().origin.phantoms)
    }

    fn form(&self) -> Markup {
        html! {
            form.send method="post" action=[self.uploads] enctype="multipart/form-data" {
                label for="files" { "Images (JPEG, PNG, TIFF, BMP, WebP, DICOM)" }
                input #files type="file" name="image" multiple required accept="image/*,.dcm,application/dicom";
                button type="submit" { "Predict" }
                p.hint { "They are predicted on the machine that serves this page, and not kept." }
            }
        }
    }

    fn seen(&self, number: usize, seen: &Seen) -> Markup {
        html! {
            article.seen aria-labelledby={ "seen-" (number) } {
                h2.path id={ "seen-" (number) } { (seen.name) }
                @match &seen.result {
                    Err(reason) => div.alert.warning role="note" {
                        p.kind { "Not predicted" }
                        p { (reason) }
                    },
                    Ok((prediction, pictures)) => div.case-page {
                        (self.stage_of(number, &seen.name, (prediction, pictures)).html())
                        (facts(&seen.name, prediction))
                    },
                }
            }
        }
    }

    fn stage_of<'a>(
        &self,
        number: usize,
        name: &'a str,
        (prediction, pictures): (&Prediction, &Pictures),
    ) -> Stage<'a> {
        let network = self.predictor.as_ref();
        let classes = network
            .iter()
            .flat_map(|predictor| predictor.mapped_classes());
        let maps = classes.zip(&pictures.maps).map(|(class, map)| Map {
            class: class.to_owned(),
            address: address(map),
        });
        let bundle = network.map(|predictor| predictor.networks().first());
        Stage {
            number,
            alt: name,
            image: address(&pictures.image),
            bits: pictures.bits,
            maps: maps.collect(),
            shown: bundle.filter(|b| b.segments()).map_or(0, |b| b.shown()),
            mask: None,
            certainty: prediction.certainty,
            still: address(&pictures.image),
        }
    }
}

/// Refused images first, then by falling probability of the positive class; of other networks by rising certainty.
fn urgency(seen: &Seen) -> f64 {
    let Ok((prediction, _)) = &seen.result else {
        return f64::NEG_INFINITY;
    };
    let of = |class: &String| prediction.probabilities.iter().find(|p| p.class == *class);
    match (&prediction.positive, prediction.threshold) {
        (Some(positive), Some(_)) => of(positive).map_or(0.0, |p| -p.probability),
        _ => {
            let all = prediction.probabilities.iter().map(|p| p.probability);
            all.fold(0.0, f64::max)
        }
    }
}

fn facts(name: &str, prediction: &Prediction) -> Markup {
    html! {
        section.facts aria-label={ "What the network found in " (name) } {
            @if let Some(class) = &prediction.class { p.verdict { (class) } }
            @if !prediction.probabilities.is_empty() {
                table.classes {
                    caption { "Calibrated probabilities" }
                    tbody {
                        @for class in &prediction.probabilities {
                            tr { th scope="row" { (class.class) } td.number { (bar(class.probability)) } }
                        }
                    }
                }
            }
            @if let (Some(set), Some(coverage)) = (&prediction.set, prediction.set_coverage) { (set_of(coverage, set)) }
            @if prediction.unlike_training == Some(true) { p { b { "This image is unlike the training images: a person should decide." } } }
            @if prediction.abstains == Some(true) { p { b { "A person should decide: the confidence is too low." } } }
            @if let (Some(positive), Some(threshold)) = (&prediction.positive, prediction.threshold) {
                p { "Predicted as " (positive) " from " (percent(threshold)) "." }
            }
            @if let Some(segmentation) = &prediction.segmentation {
                table.classes {
                    caption { "Share of the image" }
                    tbody {
                        @for class in &segmentation.shares {
                            tr {
                                th scope="row" { (class.class) }
                                td.number {
                                    (bar(class.share))
                                    @if let Some(area) = class.area_mm2 { " " (report::format::fixed(area / 100.0, 1)) " cm²" }
                                }
                            }
                        }
                    }
                }
            }
            dl {
                @let [rows, columns] = prediction.original_size;
                dt { "Size" } dd { (columns) " × " (rows) " pixels" }
                dt { "SHA-256" } dd { code { (prediction.image_sha256) } }
            }
        }
    }
}

/// A PNG file as an address (RFC 2397).
fn address(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}
