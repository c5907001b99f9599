//! Description of a weights file's contents as text.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use formats::weights::{About, Recognised, TensorEntry, TensorFile, recognise};

/// Longer metadata values are cut: a checkpoint's document holds the whole graph.
const LONGEST_VALUE: usize = 100;

/// Lists the tensors and their number, whose names they have, which networks they fit, and the file's metadata.
///
/// # Errors
/// The file cannot be read, or is of another kind.
pub fn inspect(path: &Path) -> Result<String> {
    let file = TensorFile::read(path)?;
    let mut text = table(file.entries());
    text.push('\n');
    for (name, value) in facts(&file) {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name:<14} {value}");
    }
    for (key, value) in file.metadata() {
        let _ = writeln!(text, "metadata       {key} = {}", shortened(value));
    }
    Ok(text)
}

fn table(entries: &[TensorEntry]) -> String {
    let rows: Vec<[String; 3]> = entries
        .iter()
        .map(|t| {
            [
                t.name.clone(),
                format!("{:?}", t.shape),
                format!("{:?}", t.dtype),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|r| r[column].len()).max().unwrap_or(0);
    let (names, shapes) = (width(0), width(1));
    let line =
        |[name, shape, dtype]: &[String; 3]| format!("{name:<names$}  {shape:<shapes$}  {dtype}\n");
    rows.iter().map(line).collect()
}

fn facts(file: &TensorFile) -> Vec<(&'static str, String)> {
    let (recognised, about) = (recognise(file), About::of(file));
    let elements: usize = file.entries().iter().map(TensorEntry::elements).sum();
    let family = recognised
        .family
        .map_or_else(|| "not recognised".into(), |f| f.to_string());
    let mut facts = vec![
        ("format", file.format().to_string()),
        ("tensors", file.entries().len().to_string()),
        ("values", elements.to_string()),
        ("names", family),
    ];
    if !file.unwrapped().is_empty() {
        facts.push(("stripped", file.unwrapped().join(" ")));
    }
    let network = formats::checkpoint::network(file.metadata());
    facts.extend(network.map(|graph| {
        let held = format!(
            "in the file: {} nodes, {} parameters and buffers",
            graph.nodes.len(),
            graph.params.len()
        );
        ("network", held)
    }));
    facts.extend(fits(&recognised));
    let note = recognised.family.and_then(|f| f.note());
    facts.extend(note.map(|note| ("note", note.to_owned())));
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "not stated".into());
    facts.push(("encoder", or_unknown(about.encoder)));
    facts.push((
        "normalization",
        or_unknown(about.normalization.map(|n| n.to_string())),
    ));
    facts.push((
        "trained with",
        or_unknown(about.conventions.map(|c| c.to_string())),
    ));
    facts
}

fn fits(recognised: &Recognised) -> Vec<(&'static str, String)> {
    let accepted: Vec<_> = recognised.accepted().collect();
    let mut facts = vec![(
        "fits",
        match accepted.is_empty() {
            true => "no encoder of this program".into(),
            false => accepted.join(", "),
        },
    )];
    let refused = recognised
        .encoders
        .iter()
        .filter_map(|c| Some((c.encoder, c.refused.as_ref()?)));
    facts.extend(refused.map(|(encoder, why)| ("refused", format!("{encoder}: {why}"))));
    let parts = [
        ("decoder", recognised.decoder.map(str::to_owned)),
        ("head", recognised.head.map(str::to_owned)),
        ("classes", recognised.classes.map(|n| n.to_string())),
        ("map", recognised.map_classes.map(|n| n.to_string())),
        ("channels", recognised.in_channels.map(|n| n.to_string())),
    ];
    facts.extend(parts.into_iter().filter_map(|(k, v)| Some((k, v?))));
    facts
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(LONGEST_VALUE) {
        Some((at, _)) => format!("{}… ({} characters)", &value[..at], value.len()),
        None => value.into(),
    }
}
