//! Lists what is available, and describes a pipeline's network.

use std::fmt::Write as _;
use std::path::Path;

use settings::{ConfigError, Kind, Request, StageId};

/// Pipelines, experiments, architectures, encoders, decoders, heads and stages, as text.
pub fn list(root: &Path) -> String {
    let mut text = String::new();
    for kind in [Kind::Pipeline, Kind::Experiment] {
        let names = kind.names(root);
        let titles: Vec<String> = names
            .iter()
            .map(|name| kind.title(root, name).unwrap_or_default())
            .collect();
        let rows = names.iter().zip(&titles);
        table(
            &mut text,
            &format!("{}s", kind.name()),
            rows.map(|(name, title)| (name.as_str(), title.as_str())),
        );
    }
    table(
        &mut text,
        "architectures",
        model::build::architectures()
            .iter()
            .map(|a| (a.name, a.description)),
    );
    table(
        &mut text,
        "encoders",
        model::build::encoders()
            .iter()
            .map(|e| (e.name, e.description)),
    );
    table(
        &mut text,
        "decoders",
        model::build::decoders()
            .iter()
            .map(|d| (d.name, d.description)),
    );
    table(
        &mut text,
        "heads",
        model::build::heads()
            .iter()
            .map(|h| (h.name, h.description)),
    );
    table(
        &mut text,
        "stages",
        StageId::ALL.iter().map(|s| (s.name(), s.about())),
    );
    text
}

fn table<'a>(text: &mut String, title: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{title}:");
    for (name, about) in rows {
        let _ = writeln!(text, "  {name:<width$}  {about}");
    }
    text.push('\n');
}

/// The graph of a pipeline's network at its image size: nodes, shapes, parameters, multiply-adds.
///
/// # Errors
/// As [`settings::load`].
pub fn describe(request: &Request) -> Result<String, ConfigError> {
    // Describing a network needs no images: their absence must not select the demo's network.
    let settings = settings::load(&Request {
        dry: !request.demo,
        ..request.clone()
    })?;
    let wrong = |message: String| ConfigError::Value {
        key: "model".into(),
        origin: settings.name.clone(),
        message,
    };
    let graph = settings
        .graph(settings.data.index.classes.len().max(2))
        .map_err(|e| wrong(e.to_string()))?;
    graph
        .dump(settings.image.height, settings.image.width)
        .map_err(|e| wrong(e.to_string()))
}
