//! What a reader needs besides the graph, as text under names.

use inference::Bundle;
use metrics::DecisionRule;
use serde_json::{Value, json};

use crate::proto::StringStringEntryProto;

pub(crate) fn metadata(bundle: &Bundle, sha256: &str) -> Vec<StringStringEntryProto> {
    let meta = bundle.meta();
    let (p, origin) = (&meta.preprocessing, &meta.origin);
    let threshold = match bundle.rule() {
        DecisionRule::Threshold { log_odds, .. } => json!(log_odds),
        DecisionRule::MostProbable => Value::Null,
    };
    let has_map = bundle.segments() || bundle.has_map();
    let map =
        has_map.then(|| json!({ "classes": bundle.map_classes(), "values": bundle.map_values() }));
    let values = [
        ("classes", json!(meta.classes)),
        ("positive", json!(meta.classes.get(meta.positive))),
        // The class is the positive one from this difference of the scores on; null: the most probable class.
        ("threshold_log_odds", threshold),
        ("map", json!(map)),
        // As text, because JSON numbers here are doubles, which would show the digits that `f32` does not have.
        ("certainty", json!(meta.inference.certainty.to_string())),
        ("mirrored", json!(meta.inference.mirror)),
        // Done to the stored pixels before they are the model's input, by DICOM readers or to the image.
        ("before", json!(p.reading_steps())),
        ("input_size", json!([p.height, p.width])),
        ("window", json!(p.window)),
        ("tile_overlap", json!(meta.inference.tile_overlap)),
        ("pipeline", json!(origin.pipeline)),
        ("title", json!(origin.title)),
        ("training_images", json!(origin.images)),
        ("training_patients", json!(origin.patients)),
        ("trained_on_phantoms", json!(origin.phantoms)),
        ("data_fingerprint", json!(origin.data)),
        ("trained_by_version", json!(origin.version)),
        ("weights_sha256", json!(sha256)),
        ("intended_use", json!("research; not a medical device")),
    ];
    let entry = |(key, value): (&str, Value)| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(match value {
            Value::String(text) => text,
            other => other.to_string(),
        }),
    };
    values.into_iter().map(entry).collect()
}
