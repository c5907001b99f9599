//! Reads a pipeline's file and combines it with the options.
//!
//! An experiment's runs are loaded in the same way, with changes that the experiment makes after all options.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checked::{Settings, checked};
use crate::request::Request;
use crate::tables;
use crate::tree::{ConfigError, Node, Value, did_you_mean, join};

/// Reads, combines and checks all settings.
///
/// # Errors
/// The first fault: its key, its place and what to do.
pub fn load(request: &Request) -> Result<Settings, ConfigError> {
    let file = find(request, "pipeline")?;
    load_tree(
        parse_file(&file, &request.root)?,
        &pipeline_name(&file),
        request,
        &[],
    )
}

/// A value that replaces the one at a dotted path.
pub(crate) type Change = (String, Node);

/// As [`load`], for the tables of the pipeline `name`; `changes` come after all options.
pub(crate) fn load_tree(
    mut tree: Node,
    name: &str,
    request: &Request,
    changes: &[Change],
) -> Result<Settings, ConfigError> {
    request
        .set
        .iter()
        .filter(|s| !is_for_run(s))
        .try_for_each(|assignment| tree.set(assignment))?;
    check_tables(&tree, "")?;
    let demo = tree.take("demo");
    let demo = demo.map(|demo| with_demo(tree.clone(), demo)).transpose()?;
    let all = (request.set.as_slice(), changes);
    if request.data.is_some() || request.sets("data.dir") {
        // A run's resolved.toml may contain phantoms, which the given data replace.
        tree.take("phantom");
    } else if request.demo || (!request.dry && phantoms_stand_in(&tree, demo.as_ref(), request)) {
        let phantoms = demo.is_some() || tree.get("phantom").is_some();
        if request.demo && !phantoms {
            return Err(no_demo());
        }
        return finished(demo.unwrap_or(tree), name, request, all);
    }
    if let Some(demo) = demo {
        // The demo is checked even though it does not run, so that its author finds mistakes in it.
        finished(demo, name, request, (&[], &[]))?;
    }
    finished(tree, name, request, all)
}

/// Applies the options and changes to the tables and checks the result.
fn finished(
    mut tree: Node,
    name: &str,
    request: &Request,
    (set, changes): (&[String], &[Change]),
) -> Result<Settings, ConfigError> {
    set.iter()
        .filter(is_for_run)
        .try_for_each(|assignment| tree.set(assignment))?;
    apply_options(&mut tree, request);
    for (key, node) in changes {
        tree.put(key, node.clone());
    }
    check_tables(&tree, "")?;
    checked(tree, name.into(), request)
}

fn is_for_run(assignment: &&String) -> bool {
    !assignment.starts_with("demo.")
}

fn with_demo(mut tree: Node, demo: Node) -> Result<Node, ConfigError> {
    check_tables(&demo, "demo")?;
    if demo.get("model.architecture").is_some() {
        // Another architecture takes other keys: the pipeline's own would be refused.
        tree.take("model");
    }
    tree.overlay(demo);
    if tree.get("phantom").is_none() {
        tree.put("phantom", Node::table());
    }
    Ok(tree)
}

fn no_demo() -> ConfigError {
    let message = "--demo was passed, but this pipeline has no [demo] tables".to_owned();
    ConfigError::Value {
        key: "demo".into(),
        origin: "settings".into(),
        message,
    }
}

/// Names of the pipelines (or experiments) in a folder, sorted.
pub fn pipelines(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .filter_map(|p| Some(p.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

/// The `title` of a pipeline or an experiment in a folder, for lists.
pub fn title(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(format!("{name}.toml"))).ok()?;
    let tree = Node::parse(name, &text).ok()?;
    let keys = ["experiment.title", "pipeline.title"];
    match &keys.iter().find_map(|key| tree.get(key))?.value {
        Value::Text(title) => Some(title.clone()),
        _ => None,
    }
}

/// The file of a pipeline or an experiment, by name or path.
pub(crate) fn find(request: &Request, kind: &'static str) -> Result<PathBuf, ConfigError> {
    let as_path = PathBuf::from(&request.pipeline);
    if as_path.extension().is_some_and(|e| e == "toml") {
        return Ok(as_path);
    }
    let folder = request.root.join(format!("{kind}s"));
    let known = pipelines(&folder);
    if known.contains(&request.pipeline) {
        return Ok(folder.join(format!("{}.toml", request.pipeline)));
    }
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = did_you_mean(&request.pipeline, &names);
    let known = if known.is_empty() {
        "none".into()
    } else {
        known.join(", ")
    };
    Err(ConfigError::NoPipeline {
        kind,
        name: request.pipeline.clone(),
        folder,
        hint,
        known,
    })
}

/// `pneumonia` for `pipelines/pneumonia.toml`; for a run's `resolved.toml`, the name of the run's pipeline; for that of
/// a run of an experiment, the names of both.
pub(crate) fn pipeline_name(file: &Path) -> String {
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let of_run = || {
        let run = file.parent()?;
        let around = run.parent()?;
        match around.join("resolved.toml").is_file() {
            true => Some(format!("{}-{}", name(around.parent()?)?, name(run)?)),
            false => name(around),
        }
    };
    match stem.as_ref() {
        "resolved" => of_run().unwrap_or_else(|| stem.into_owned()),
        _ => stem.into_owned(),
    }
}

pub(crate) fn parse_file(file: &Path, root: &Path) -> Result<Node, ConfigError> {
    const MAX_BYTES: u64 = 1 << 20;
    let bytes = files::read(file, MAX_BYTES);
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let text = text.map_err(|source| ConfigError::Read {
        path: file.into(),
        source,
    })?;
    let shown = file.strip_prefix(root).unwrap_or(file);
    Node::parse(&shown.display().to_string(), &text)
}

pub(crate) fn check_tables(tree: &Node, path: &str) -> Result<(), ConfigError> {
    for (key, node) in tree.entries().into_iter().flatten() {
        let (key_path, origin) = (join(path, key), node.origin.to_string());
        if !tables::NAMES.contains(&key.as_str()) {
            let hint = match key.as_str() {
                "segment" => "; it is now called [overlays]".to_owned(),
                _ => did_you_mean(key, &tables::NAMES),
            };
            return Err(ConfigError::UnknownKey {
                key: key_path,
                origin,
                hint,
                known: tables::NAMES.join(", "),
            });
        }
        if node.entries().is_none() {
            let (expected, found) = ("a table".into(), node.to_toml().to_string());
            return Err(ConfigError::Type {
                key: key_path,
                origin,
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// Whether phantoms are used without `--demo`: if the folder that the demo stands in for is absent. An absent folder of
/// another name is a typing mistake, which must not lead to training on phantoms.
fn phantoms_stand_in(tree: &Node, demo: Option<&Node>, request: &Request) -> bool {
    let text = |tree: &Node, key: &str| match tree.get(key).map(|node| &node.value) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let (dir, meant) = (
        text(tree, "data.dir"),
        demo.and_then(|demo| text(demo, "phantom.stands_in_for")),
    );
    // A dangling link counts as present: the data are somewhere else, for example not mounted.
    let is_absent = |dir: &String| request.root.join(dir).symlink_metadata().is_err();
    dir.is_some() && dir == meant && dir.as_ref().is_some_and(is_absent)
}

pub(crate) fn apply_options(tree: &mut Node, request: &Request) {
    if let Some(dir) = &request.data {
        tree.put(
            "data.dir",
            Node::text(&dir.to_string_lossy(), &format!("--data {}", dir.display())),
        );
    }
    if let Some(device) = &request.device {
        tree.put(
            "pipeline.device",
            Node::text(device, &format!("--device {device}")),
        );
    }
}

/// Dotted key and value of every setting in a settings file.
///
/// # Errors
/// The text is not TOML.
pub fn leaves(file: &Path, text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    Ok(Node::parse(&file.display().to_string(), text)?.leaves())
}
