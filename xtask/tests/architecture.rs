//! The architecture: which crate may depend on which, as documented in ARCHITECTURE.md, and modules without cyclic
//! dependencies.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, UseTree, Visibility};

/// Number of files that may depend on each other cyclically, if they are in one folder.
const LARGEST_CYCLE: usize = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The crates of this workspace and the ones each depends on, from `cargo metadata`, without dev-dependencies.
fn dependencies() -> Graph {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let run = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let built_on = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        let normal = all.filter(|dependency| dependency["kind"].is_null());
        normal
            .map(name)
            .filter(|name| ours.contains(name))
            .collect()
    };
    packages.iter().map(|p| (name(p), built_on(p))).collect()
}

/// The same from the table "Crates" of ARCHITECTURE.md: the crate's name, its contents, its dependencies.
fn documented() -> Graph {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("\n## Crates\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [crate_name, _, knows] = cells[..] else {
            panic!("not three cells: {row}");
        };
        (names(crate_name).pop_first().unwrap(), names(knows))
    })
    .collect()
}

#[test]
fn crates_depend_on_what_the_architecture_documents() {
    assert_eq!(dependencies(), documented());
}

#[test]
fn only_the_model_and_the_benchmarks_depend_on_kernels() {
    let knowing = dependencies()
        .into_iter()
        .filter(|(_, knows)| knows.contains("kernels"));
    let knowing: Vec<String> = knowing.map(|(name, _)| name).collect();
    assert_eq!(knowing, ["bench", "model"]);
}

/// A file that neither `tests/main.rs` nor `Cargo.toml` lists would not be run.
#[test]
fn programs_of_all_tests_list_every_file() {
    let mut found = 0;
    for folder in fs::read_dir(root().join("crates")).unwrap() {
        let folder = folder.unwrap().path();
        let tests = folder.join("tests");
        let Ok(main) = fs::read_to_string(tests.join("main.rs")) else {
            continue;
        };
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        found += 1;
        for file in fs::read_dir(&tests).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let listed = main.contains(&format!("mod {name};\n"))
                || manifest.contains(&format!("\"tests/{name}.rs\""));
            assert!(
                listed || path.extension().is_none_or(|kind| kind != "rs"),
                "{} is listed neither in main.rs nor in Cargo.toml",
                path.display()
            );
        }
    }
    assert!(found > 0, "no tests/main.rs");
}

#[test]
fn modules_have_no_cyclic_dependencies() {
    let mut wrong = vec![];
    let sources = fs::read_dir(root().join("crates")).unwrap();
    let sources = sources.map(|entry| entry.unwrap().path());
    for source in sources.chain([root().join("xtask")]) {
        let modules = Modules::read(&source.join("src"));
        let files = modules.uses();
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        for cycle in cycles(&files) {
            let folders: BTreeSet<_> = cycle.iter().map(|file| modules.folder(file)).collect();
            if cycle.len() > LARGEST_CYCLE || folders.len() > 1 {
                wrong.push(format!("{name}, files: {cycle:?}"));
            }
        }
        for cycle in cycles(&modules.between_folders(&files)) {
            wrong.push(format!("{name}, folders: {cycle:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The modules of a crate by path (`engine::cpu`, empty for the root).
struct Modules {
    files: BTreeMap<String, (PathBuf, syn::File)>,
    /// Per module: what it re-exports under which name.
    passed_on: BTreeMap<String, BTreeMap<String, String>>,
}

impl Modules {
    fn read(source: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![source.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let syntax = syn::parse_file(&fs::read_to_string(&path).unwrap());
                    let syntax = syntax.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                    let place = path.strip_prefix(source).unwrap().with_extension("");
                    files.insert(module_of(&place), (place, syntax));
                }
            }
        }
        let mut modules = Self {
            files,
            passed_on: BTreeMap::new(),
        };
        modules.passed_on = modules
            .files
            .iter()
            .map(|(module, (_, syntax))| (module.clone(), modules.re_exports(module, syntax)))
            .collect();
        modules
    }

    /// Names that `pub use` re-exports, and what they refer to.
    fn re_exports(&self, module: &str, syntax: &syn::File) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for item in &syntax.items {
            let Item::Use(item) = item else { continue };
            if matches!(item.vis, Visibility::Inherited) {
                continue;
            }
            let mut paths = vec![];
            flatten(&item.tree, &mut vec![], &mut paths);
            for path in paths {
                // Paths in a `pub use` start at the module itself, unless they start with a keyword.
                let relative = match path[0].as_str() {
                    "crate" | "super" | "self" => path.clone(),
                    _ => [&["self".to_owned()], path.as_slice()].concat(),
                };
                if let (Some(name), Some(target)) = (path.last(), absolute(module, &relative)) {
                    found.insert(name.clone(), target);
                }
            }
        }
        found
    }

    /// The module that an absolute path refers to, following re-exports.
    fn module(&self, path: &str, depth: usize) -> Option<String> {
        let parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
        let longest = (0..=parts.len())
            .rev()
            .find(|n| self.files.contains_key(&parts[..*n].join("::")))?;
        let module = parts[..longest].join("::");
        let passed_on = parts
            .get(longest)
            .and_then(|name| self.passed_on.get(&module)?.get(*name));
        match passed_on {
            Some(target) if depth < 8 && target != path => {
                let rest = parts[longest + 1..].join("::");
                self.module(&format!("{target}::{rest}"), depth + 1)
            }
            _ => Some(module),
        }
    }

    /// For each file, the files whose names it uses; tests do not count.
    fn uses(&self) -> Graph {
        let of = |(module, (_, syntax)): (&String, &(PathBuf, syn::File))| {
            let mut paths = Paths {
                module,
                found: vec![],
            };
            paths.visit_file(syntax);
            let used = paths.found.iter().filter_map(|path| self.module(path, 0));
            // The root only re-exports names and contains the crate's documentation.
            let used = used.filter(|used| used != module && !used.is_empty());
            (module.clone(), used.collect())
        };
        self.files.iter().map(of).collect()
    }

    fn folder(&self, module: &str) -> String {
        let (place, _) = &self.files[module];
        let folder = place.parent().unwrap_or(Path::new(""));
        folder.display().to_string()
    }

    /// Dependencies between folders of which neither contains the other: what the parts of a folder share is above
    /// them.
    fn between_folders(&self, files: &Graph) -> Graph {
        let mut folders = Graph::new();
        for (from, used) in files {
            let from = self.folder(from);
            for to in used.iter().map(|to| self.folder(to)) {
                let nested = Path::new(&from).starts_with(&to) || Path::new(&to).starts_with(&from);
                if !nested {
                    folders.entry(from.clone()).or_default().insert(to.clone());
                    folders.entry(to).or_default();
                }
            }
        }
        folders
    }
}

/// `engine::cpu` for `engine/cpu/mod`, empty for `lib` and `main`.
fn module_of(place: &Path) -> String {
    let mut parts: Vec<_> = place
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let is_root = parts.len() == 1 && matches!(parts[0].as_str(), "lib" | "main");
    if is_root || parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts.join("::")
}

/// The absolute form of a path within the crate; `None` for a path to another crate.
fn absolute(module: &str, path: &[String]) -> Option<String> {
    let mut at: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => drop(at.pop()?),
        _ => return None,
    }
    rest = &rest[1..];
    while let Some((first, others)) = rest.split_first() {
        match first.as_str() {
            "super" => drop(at.pop()?),
            name => at.push(name),
        }
        rest = others;
    }
    Some(at.join("::"))
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => found.push(before.clone()),
        UseTree::Name(name) => found.push([&before[..], &[name.ident.to_string()]].concat()),
        UseTree::Rename(name) => found.push([&before[..], &[name.ident.to_string()]].concat()),
        UseTree::Glob(_) => found.push(before.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|t| flatten(t, before, found)),
    }
}

/// All paths of a file that start with `crate`, `super` or `self`.
struct Paths<'m> {
    module: &'m str,
    found: Vec<String>,
}

impl Paths<'_> {
    fn add(&mut self, path: &[String]) {
        self.found.extend(absolute(self.module, path));
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        // An inline module usually contains the tests; relative paths in it start elsewhere.
        if module.content.is_none() && !is_of_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_of_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // Re-exports are counted where they are used.
        if matches!(item.vis, Visibility::Inherited) {
            let mut paths = vec![];
            flatten(&item.tree, &mut vec![], &mut paths);
            paths.iter().for_each(|path| self.add(path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if parts.len() > 1 {
            self.add(&parts);
        }
        visit::visit_path(self, path);
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    let is_cfg_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|what| what == "test")
    };
    attributes.iter().any(is_cfg_test)
}

/// Sets of more than one node that can all reach each other; the Floyd-Warshall algorithm is fast enough for few nodes.
fn cycles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let mut reach = graph.clone();
    for middle in graph.keys() {
        let beyond = reach[middle].clone();
        for reached in reach
            .values_mut()
            .filter(|reached| reached.contains(middle))
        {
            reached.extend(beyond.iter().cloned());
        }
    }
    let reaches = |a: &String, b: &String| reach.get(a).is_some_and(|reached| reached.contains(b));
    let of = |node: &String| -> BTreeSet<String> {
        let round = graph
            .keys()
            .filter(|other| reaches(node, other) && reaches(other, node));
        round.cloned().collect()
    };
    let found: BTreeSet<BTreeSet<String>> = graph.keys().map(of).collect();
    found.into_iter().filter(|cycle| cycle.len() > 1).collect()
}

#[test]
fn cycles_are_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph
                .entry((*from).into())
                .or_default()
                .insert((*to).into());
            graph.entry((*to).into()).or_default();
        }
        graph
    };
    let found = |edges| -> Vec<Vec<String>> {
        let cycles = cycles(&graph(edges)).into_iter();
        cycles.map(|cycle| cycle.into_iter().collect()).collect()
    };
    assert_eq!(found(&[("a", "b"), ("b", "c")]), [[""; 0]; 0]);
    assert_eq!(
        found(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]),
        [["a", "b", "c"]]
    );
    assert_eq!(
        found(&[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]).len(),
        2
    );
}
