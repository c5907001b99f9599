//! The image with its tools. The script draws it; without it there is a picture.

use maud::{Markup, html};
use serde::Serialize;

/// An image to be looked at.
pub(super) struct Stage<'a> {
    /// Makes ids unique in the page.
    pub(super) number: usize,
    /// What the image is, for readers that do not see it.
    pub(super) alt: &'a str,
    /// The address of the image, as [`imaging::encode::whole`].
    pub(super) image: String,
    pub(super) bits: u8,
    pub(super) maps: Vec<Map>,
    /// The map that is shown first.
    pub(super) shown: usize,
    /// The address of the marks of an expert.
    pub(super) mask: Option<String>,
    /// The certainty from which the run tints pixels.
    pub(super) certainty: f32,
    /// The address of a picture to show without the script.
    pub(super) still: String,
}

/// A map of an image.
#[derive(Serialize)]
pub(super) struct Map {
    pub(super) class: String,
    /// Its address; as [`imaging::encode::levels`].
    pub(super) address: String,
}

impl Stage<'_> {
    pub(super) fn html(&self) -> Markup {
        let number = self.number;
        // Strings only: this cannot fail.
        let maps = serde_json::to_string(&self.maps).unwrap_or_default();
        html! {
            section.stage aria-label={ "Image " (self.alt) }
                data-image=(self.image) data-bits=(self.bits) data-maps=(maps) data-shown=(self.shown)
                data-certainty=(format!("{:.3}", self.certainty)) data-mask=[self.mask.as_deref()] {
                div.view tabindex="0" role="group" aria-label="Image, to be moved and enlarged" aria-describedby={ "keys-" (number) } {
                    canvas role="img" aria-label=(self.alt) hidden {}
                    noscript { img src=(self.still) alt=(self.alt); }
                }
                p.readout aria-hidden="true" {}
                p.status role="status" {}
                div.tools hidden {
                    (zoom())
                    @if !self.maps.is_empty() { (self.map_tools()) }
                    (window(number))
                }
                details.keys {
                    summary { "Keys and mouse" }
                    p id={ "keys-" (number) } {
                        "While the image has the focus: arrows move it, plus and minus enlarge and shrink it, 0 fits it into the \
                         window, 1 shows its pixels; M changes how the map is drawn, comma and full stop its certainty; T \
                         shows what an expert marked, I inverts grey, R resets the window; J and K lead to the next and the \
                         previous image. Drag to move, drag with Shift to change brightness and contrast, turn the wheel \
                         to enlarge."
                    }
                }
            }
        }
    }

    fn map_tools(&self) -> Markup {
        let (number, share) = (self.number, 1000.0 * self.certainty);
        let mode = |value: &str, words: &str, checked: bool| {
            html! {
                label {
                    input type="radio" name={ "mode-" (number) } value=(value) checked[checked];
                    " " (words)
                }
            }
        };
        html! {
            fieldset {
                legend { "Map of the network" }
                @if let [only] = self.maps.as_slice() {
                    p { "Where it sees " b { (only.class) } }
                } @else {
                    label for={ "map-" (number) } { "Where it sees" }
                    select.map id={ "map-" (number) } {
                        @for (i, map) in self.maps.iter().enumerate() {
                            option value=(i) selected[i == self.shown] { (map.class) }
                        }
                    }
                }
                div.modes {
                    (mode("certain", "certain pixels", true))
                    (mode("heat", "heat map", false))
                    (mode("off", "none", false))
                }
                label for={ "certainty-" (number) } { "Green from a certainty of " output.sure for={ "certainty-" (number) } {} }
                input.certainty id={ "certainty-" (number) } type="range" min="1" max="1000" step="1" value=(format!("{share:.0}"));
                p { "Green: " output.share {} " of the image" }
                @if self.mask.is_some() {
                    label { input.truth type="checkbox"; " outline of what an expert marked" }
                }
            }
        }
    }
}

fn zoom() -> Markup {
    let button =
        |action: &str, words: &str| html! { button type="button" data-do=(action) { (words) } };
    html! {
        div.buttons role="group" aria-label="Size" {
            (button("in", "Enlarge"))
            (button("out", "Shrink"))
            (button("fit", "Fit"))
            (button("pixels", "Pixels 1:1"))
        }
    }
}

fn window(number: usize) -> Markup {
    let slider = |class: &str, words: &str, value: u32| {
        html! {
            label for={ (class) "-" (number) } { (words) }
            input class=(class) id={ (class) "-" (number) } type="range" min="1" max="1000" step="1" value=(value);
        }
    };
    html! {
        fieldset {
            legend { "Grey window" }
            (slider("level", "Level (brightness)", 500))
            (slider("width", "Width (contrast)", 1000))
            div.buttons {
                label { input.invert type="checkbox"; " invert" }
                button type="button" data-do="reset" { "Reset" }
            }
        }
    }
}
