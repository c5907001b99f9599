//! Settings for the evaluation of a trained network on other data: the parts of a pipeline file that say how images are
//! named, not what was trained on them.

use std::path::Path;

use crate::checked::{Settings, checked};
use crate::file::{File, Kind};
use crate::load::{apply_options, check_tables};
use crate::request::Request;
use crate::tree::{ConfigError, Node, Origin, Value};

/// The tables that an evaluation reads; network, image size and decision rule are in the checkpoint.
const TABLES: [&str; 3] = ["pipeline", "data", "evaluate"];

/// Keys of `[data]` that describe the data of the training, its masks or its splits.
const OF_TRAINING: [&str; 11] = [
    "images",
    "layout",
    "limit_per_class",
    "mask",
    "masks",
    "on_bad_mask",
    "on_missing_mask",
    "positive",
    "regions",
    "resize_masks",
    "validation",
];

/// Reads the settings that an evaluation of other data needs from a pipeline's file or a run's `resolved.toml`:
/// `[pipeline]`, `[evaluate]`, and of `[data]` the names of classes, folders and columns, and the patients. Nothing
/// else in the file needs to exist or be valid. `request.data` is the folder of the images; `csv` is a table that lists
/// them, otherwise there is a folder for each class.
///
/// # Errors
/// As [`load`](crate::load()), and a `--set` of a key that would have no effect.
pub fn load_for_evaluation(request: &Request, csv: Option<&Path>) -> Result<Settings, ConfigError> {
    let file = File::find(request, Kind::Pipeline)?;
    let mut whole = file.tree(&request.root)?;
    let mut tree = Node::table();
    for name in TABLES {
        if let Some(table) = whole.take(name) {
            tree.put(name, table);
        }
    }
    check_tables(&tree, "")?;
    let data = tree.take("data").unwrap_or_else(Node::table);
    tree.put("data", of_other_data(data, csv));
    for assignment in &request.set {
        check_effect(assignment)?;
        tree.set(assignment)?;
    }
    if let Some(csv) = csv {
        let option = format!("--csv {}", csv.display());
        tree.put("data.layout", Node::text("csv", &option));
        tree.put("data.csv.file", Node::text(&csv.to_string_lossy(), &option));
    }
    tree.put("pipeline.stages", only_index());
    apply_options(&mut tree, request);
    check_tables(&tree, "")?;
    checked(tree, file.name(), request)
}

/// The keys of `[data]` that apply to any data.
fn of_other_data(mut data: Node, csv: Option<&Path>) -> Node {
    for key in OF_TRAINING {
        data.take(key);
    }
    // All classes that the data have are evaluated, also those that the training left out.
    data.take("classes");
    match (csv, data.take("csv")) {
        (None, _) => {}
        // The table's splits replace those of folders; the columns may have the same names.
        (Some(_), columns) => {
            data.take("folders");
            let mut columns = columns.unwrap_or_else(Node::table);
            columns.take("mask");
            data.put("csv", columns);
        }
    }
    data
}

/// Refuses a key that an evaluation does not read.
fn check_effect(assignment: &str) -> Result<(), ConfigError> {
    let key = assignment.split('=').next().unwrap_or_default().trim();
    let mut parts = key.split('.');
    let (table, entry) = (parts.next().unwrap_or_default(), parts.next());
    let hint = match (table, entry) {
        ("data", Some("layout" | "images")) => {
            "the images are in a folder for each class, or in the table of --csv FILE"
        }
        ("data", Some("dir")) => "the images are those of --data DIR",
        ("data", Some("positive")) => "the positive class is the checkpoint's",
        ("data", Some("validation" | "limit_per_class")) => {
            "the splits are those of the run, of the folders or of the table: choose one with --split"
        }
        ("data", Some(entry)) if OF_TRAINING.contains(&entry) => {
            "masks play no part in the evaluation of a classifier on other data"
        }
        ("evaluate", Some("threshold" | "baseline_size")) => {
            "the threshold is the checkpoint's, and there are no baselines"
        }
        ("pipeline", Some("stages")) => "there are no stages",
        (table, _) if TABLES.contains(&table) => return Ok(()),
        _ => "network and preprocessing are the checkpoint's",
    };
    Err(ConfigError::Value {
        key: key.into(),
        origin: format!("--set {assignment}"),
        message: format!("this key has no effect on the evaluation of other data: {hint}"),
    })
}

fn only_index() -> Node {
    let node = |value| Node {
        value,
        origin: Origin::Implied,
    };
    node(Value::Array(vec![node(Value::Text("index".into()))]))
}
