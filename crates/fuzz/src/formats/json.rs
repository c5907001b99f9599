//! JSON: values are replaced, removed, duplicated and renamed in a tree that stays valid JSON.

use serde_json::{Value, json};

use crate::mutate::number;
use crate::rng::Rng;

/// Changes one or a few values anywhere in the tree.
pub(crate) fn mutate(rng: &mut Rng, value: &mut Value) {
    loop {
        change(rng, value);
        if !rng.once_in(3) {
            break;
        }
    }
}

/// The same for a text; a text that is not JSON is returned unchanged.
pub(crate) fn mutate_text(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice(bytes) else {
        return bytes.to_vec();
    };
    mutate(rng, &mut value);
    value.to_string().into_bytes()
}

/// Descends at random, and changes the value that it reaches.
fn change(rng: &mut Rng, value: &mut Value) {
    let len = match &*value {
        Value::Array(items) => items.len(),
        Value::Object(entries) => entries.len(),
        _ => 0,
    };
    // Deeper values are more numerous, so most steps descend further.
    if len == 0 || rng.once_in(6) {
        replace(rng, value);
        return;
    }
    let at = rng.below(len);
    match value {
        Value::Array(items) => match rng.below(12) {
            0 => drop(items.remove(at)),
            1 => items.push(items[at].clone()),
            2 => {
                let with = rng.below(len);
                items.swap(at, with);
            }
            _ => change(rng, &mut items[at]),
        },
        Value::Object(entries) => {
            let Some(key) = entries.keys().nth(at).cloned() else {
                return;
            };
            match rng.below(14) {
                0 => drop(entries.remove(&key)),
                1 => drop(entries.insert(text(rng), json!(number(rng)))),
                2 => {
                    let moved = entries.remove(&key).unwrap_or_default();
                    entries.insert(text(rng), moved);
                }
                3 => {
                    let with = rng.below(len);
                    let found = entries.values().nth(with).cloned();
                    entries.insert(key, found.unwrap_or_default());
                }
                _ => entries
                    .values_mut()
                    .nth(at)
                    .into_iter()
                    .for_each(|v| change(rng, v)),
            }
        }
        _ => {}
    }
}

/// Replaces a value by a number close to it, an extreme number, or a value of another type.
fn replace(rng: &mut Rng, value: &mut Value) {
    *value = match (&*value, rng.below(8)) {
        (Value::Number(n), 0 | 1) => json!(n.as_u64().unwrap_or(1).wrapping_add(1)),
        (Value::Number(n), 2) => json!(n.as_u64().unwrap_or(1).wrapping_sub(1)),
        (Value::Number(n), 3) => json!(-n.as_f64().unwrap_or(1.0)),
        (Value::Number(_), 4 | 5) => json!(number(rng)),
        (Value::Number(_), 6) => json!([0.0, -0.0, 1e-300, 1e300, 1e39, 0.5][rng.below(6)]),
        (Value::Bool(b), 0..=5) => json!(!b),
        (Value::String(_), 0..=5) => json!(text(rng)),
        (_, 0) => Value::Null,
        (_, 1) => json!(number(rng)),
        (_, 2) => json!(-(number(rng) as i64 >> 1)),
        (_, 3) => json!(text(rng)),
        (_, 4) => json!([]),
        (_, 5) => json!({}),
        (_, 6) => json!([number(rng), number(rng)]),
        _ => json!([[], {}, null]),
    };
}

/// A text that a reader may not handle correctly.
pub(crate) fn text(rng: &mut Rng) -> String {
    const TEXTS: [&str; 18] = [
        "",
        " ",
        "0",
        "-1",
        "nan",
        "inf",
        "1e999",
        "true",
        "null",
        "..",
        "../../x",
        "/dev/null",
        "a\nb",
        "\u{0}",
        "<b>&\"'|`*_",
        "\u{1b}[31m",
        "ü\u{202e}",
        "CON",
    ];
    match rng.below(8) {
        0 => "x".repeat(rng.length(5000)),
        1 => number(rng).to_string(),
        _ => TEXTS[rng.below(TEXTS.len())].to_owned(),
    }
}
