//! The YAML header of a model card. JSON's scalars are YAML's, which leaves only the layout.

use serde_json::Value;

/// The keys of an object as block-style YAML, without the lines `---`.
pub(super) fn block(value: &Value) -> String {
    let mut lines = vec![];
    write(value, 0, &mut lines);
    lines.join("\n") + "\n"
}

fn write(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                match inner {
                    Value::Object(_) | Value::Array(_) => {
                        lines.push(format!("{indent}{key}:"));
                        write(inner, depth + 1, lines);
                    }
                    scalar => lines.push(format!("{indent}{key}: {scalar}")),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let first = lines.len();
                write(item, depth + 1, lines);
                // The mark takes the place of the indentation of the item's first line.
                if let Some(line) = lines.get_mut(first) {
                    *line = format!("{indent}- {}", line.trim_start());
                }
            }
        }
        scalar => lines.push(format!("{indent}{scalar}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_are_indented_and_texts_quoted() {
        let value = serde_json::json!({
            "index": [{ "name": "x \"y\"", "results": [{ "n": 1.5 }, { "n": 2, "of": { "z": true } }] }],
            "tags": ["a", "b: #c"],
        });
        let expected = "index:\n  - name: \"x \\\"y\\\"\"\n    results:\n      - n: 1.5\n      - n: 2\n        of:\n          z: true\ntags:\n  - \"a\"\n  - \"b: #c\"\n";
        assert_eq!(block(&value), expected);
    }
}
