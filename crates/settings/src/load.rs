//! Reads a pipeline's file and combines it with the options.
//!
//! An experiment's runs are loaded in the same way, with changes that the experiment makes after all options.

use std::path::Path;

use crate::checked::{Settings, checked};
use crate::file::{File, Kind};
use crate::request::Request;
use crate::tables;
use crate::tree::{ConfigError, Node, Value, did_you_mean, join};

/// Reads, combines and checks all settings.
///
/// # Errors
/// The first fault: its key, its place and what to do.
pub fn load(request: &Request) -> Result<Settings, ConfigError> {
    let file = File::find(request, Kind::Pipeline)?;
    load_tree(file.tree(&request.root)?, &file.name(), request, &[])
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
