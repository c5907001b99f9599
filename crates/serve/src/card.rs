//! What is served: the network, what it was trained on, and what it may be used for.

use pipeline::predict::{INTENDED_USE, Predictor};
use serde::Serialize;

/// `GET /model`.
#[derive(Serialize)]
pub(crate) struct Card {
    /// Version of this program.
    version: &'static str,
    /// SHA-256 of the checkpoint.
    weights_sha256: String,
    /// More than one if several predict together.
    networks: Vec<Network>,
    /// The classes of an image; empty for a segmenter.
    classes: Vec<String>,
    /// The classes of a pixel, if the network was trained on masks.
    map_classes: Vec<String>,
    intended_use: &'static str,
}

#[derive(Serialize)]
struct Network {
    pipeline: String,
    title: String,
    /// Version of the program that trained it.
    version: String,
    trained_on_phantoms: bool,
    /// Training images; 0 if not recorded.
    images: usize,
    patients: Option<usize>,
    /// Rows, columns and channels of its input.
    input: [usize; 3],
}

impl Card {
    pub(crate) fn of(predictor: &Predictor) -> Self {
        let first = predictor.networks().first();
        Card {
            version: pipeline::VERSION,
            weights_sha256: predictor.sha256().into(),
            networks: predictor.networks().members().map(Network::of).collect(),
            classes: match first.classifies() {
                true => first.meta().classes.clone(),
                false => vec![],
            },
            map_classes: match first.segments() {
                true => first.map_classes().to_vec(),
                false => vec![],
            },
            intended_use: INTENDED_USE,
        }
    }
}

impl Network {
    fn of(bundle: &inference::Bundle) -> Self {
        let (origin, input) = (&bundle.meta().origin, bundle.input_shape());
        Network {
            pipeline: origin.pipeline.clone(),
            title: origin.title.clone(),
            version: origin.version.clone(),
            trained_on_phantoms: origin.phantoms,
            images: origin.images,
            patients: origin.patients,
            input: [input.h, input.w, input.c],
        }
    }
}
