//! TOML as a tree that records the origin of every value, so that errors stay precise after overlays and `--set`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A place in a file, counted from 1.
    File {
        name: Arc<str>,
        line: usize,
        column: usize,
    },
    /// A `--set` or another option, as typed.
    Option(Arc<str>),
    /// Not written anywhere: a table that is implied by its entries.
    Implied,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Origin::Option(text) => f.write_str(text),
            Origin::Implied => f.write_str("settings"),
        }
    }
}

/// A value and its origin (of an entry in a table: that of its key).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// TOML's types; dates are text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

impl Node {
    /// An empty table.
    pub(crate) fn table() -> Self {
        Node {
            value: Value::Table(BTreeMap::new()),
            origin: Origin::Implied,
        }
    }

    /// A text value given by an option.
    pub(crate) fn text(text: &str, origin: &str) -> Self {
        Node {
            value: Value::Text(text.into()),
            origin: Origin::Option(origin.into()),
        }
    }

    /// Reads a document; `name` is the file's in errors.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source {
            name: name.into(),
            text,
        };
        let document = DeTable::parse(text).map_err(|e| {
            let origin = source.origin(e.span().map_or(0, |s| s.start));
            ConfigError::Syntax {
                origin: origin.to_string(),
                message: e.message().to_string(),
            }
        })?;
        source.table(document.get_ref(), Origin::Implied)
    }

    pub(crate) fn entries(&self) -> Option<&BTreeMap<String, Node>> {
        match &self.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value at a dotted path.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        path.split('.')
            .try_fold(self, |node, key| node.entries()?.get(key))
    }

    /// Removes an entry from a table and returns it.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node> {
        match &mut self.value {
            Value::Table(entries) => entries.remove(key),
            _ => None,
        }
    }

    /// Puts a value at a dotted path; missing tables along the path are created, other values along it replaced.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        if self.entries().is_none() {
            self.value = Value::Table(BTreeMap::new());
        }
        let Value::Table(entries) = &mut self.value else {
            return;
        };
        match path.split_once('.') {
            None => drop(entries.insert(path.into(), node)),
            Some((key, rest)) => {
                let implied = || Node {
                    origin: node.origin.clone(),
                    ..Node::table()
                };
                entries
                    .entry(key.into())
                    .or_insert_with(implied)
                    .put(rest, node);
            }
        }
    }

    /// Applies one `key.path=value`; a value that is not TOML is taken as text (`model.decoder=unet`).
    pub(crate) fn set(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let refuse = || ConfigError::Assignment {
            text: assignment.into(),
        };
        let (path, value) = assignment.split_once('=').ok_or_else(refuse)?;
        let (path, value) = (path.trim(), value.trim());
        if path.is_empty() || path.split('.').any(|key| key.trim().is_empty()) {
            return Err(refuse());
        }
        let origin = Origin::Option(format!("--set {assignment}").into());
        self.put(path, option_value(value, &origin));
        Ok(())
    }

    /// Overlays `over` on this tree, key by key within each table. Nested tables are replaced as a whole, so that an
    /// overlay's `schedule = { kind = "cosine" }` keeps nothing of another kind of schedule.
    pub(crate) fn overlay(&mut self, over: Node) {
        let Value::Table(tables) = over.value else {
            return;
        };
        for (name, table) in tables {
            match table.value {
                Value::Table(entries) => entries
                    .into_iter()
                    .for_each(|(key, node)| self.put(&format!("{name}.{key}"), node)),
                _ => self.put(&name, table),
            }
        }
    }

    /// Dotted paths and values of all leaves, in order.
    pub(crate) fn leaves(&self) -> Vec<(String, String)> {
        let mut found = vec![];
        self.collect("", &mut found);
        found
    }

    fn collect(&self, path: &str, found: &mut Vec<(String, String)>) {
        match self.entries() {
            Some(entries) => entries
                .iter()
                .for_each(|(key, node)| node.collect(&join(path, key), found)),
            None => found.push((path.into(), self.to_toml().to_string())),
        }
    }

    /// The tree as a TOML document.
    pub(crate) fn to_document(&self) -> String {
        // This fails only for values that TOML cannot represent, and all values come from TOML.
        toml::to_string(&self.to_toml()).unwrap_or_default()
    }

    /// The tree without origins.
    pub(crate) fn to_toml(&self) -> toml::Value {
        match &self.value {
            Value::Table(entries) => toml::Value::Table(
                entries
                    .iter()
                    .map(|(k, n)| (k.clone(), n.to_toml()))
                    .collect(),
            ),
            Value::Array(items) => toml::Value::Array(items.iter().map(Node::to_toml).collect()),
            Value::Text(text) => toml::Value::String(text.clone()),
            Value::Integer(n) => toml::Value::Integer(*n),
            Value::Float(x) => toml::Value::Float(*x),
            Value::Bool(b) => toml::Value::Boolean(*b),
        }
    }
}

/// `table.key`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.into()
    } else {
        format!("{path}.{key}")
    }
}

fn option_value(text: &str, origin: &Origin) -> Node {
    let plain = || Node {
        value: Value::Text(text.into()),
        origin: origin.clone(),
    };
    let Ok(value) = DeValue::parse(text) else {
        return plain();
    };
    let source = Source {
        name: "".into(),
        text,
    };
    source
        .value(value.get_ref(), origin.clone())
        .map(|node| node.with_origin(origin))
        .unwrap_or_else(|_| plain())
}

impl Node {
    fn with_origin(mut self, origin: &Origin) -> Self {
        self.origin = origin.clone();
        self.value = match self.value {
            Value::Table(entries) => Value::Table(
                entries
                    .into_iter()
                    .map(|(k, n)| (k, n.with_origin(origin)))
                    .collect(),
            ),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|n| n.with_origin(origin)).collect())
            }
            scalar => scalar,
        };
        self
    }
}

struct Source<'t> {
    name: Arc<str>,
    text: &'t str,
}

impl Source<'_> {
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Origin::File {
            name: self.name.clone(),
            line,
            column,
        }
    }

    fn table(&self, table: &DeTable<'_>, origin: Origin) -> Result<Node, ConfigError> {
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &toml::Spanned<toml::de::DeString<'_>> = key;
            Ok((
                key.get_ref().to_string(),
                self.value(value.get_ref(), self.origin(key.span().start))?,
            ))
        };
        let entries = table.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Node {
            value: Value::Table(entries),
            origin,
        })
    }

    fn value(&self, value: &DeValue<'_>, origin: Origin) -> Result<Node, ConfigError> {
        let syntax = |message: String| ConfigError::Syntax {
            origin: origin.to_string(),
            message,
        };
        let value = match value {
            DeValue::Table(table) => return self.table(table, origin),
            DeValue::Array(items) => {
                let item = |v: &toml::Spanned<DeValue<'_>>| {
                    self.value(v.get_ref(), self.origin(v.span().start))
                };
                Value::Array(items.iter().map(item).collect::<Result<_, _>>()?)
            }
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(b) => Value::Bool(*b),
            DeValue::Datetime(date) => Value::Text(date.to_string()),
            DeValue::Integer(n) => {
                let parsed = i64::from_str_radix(n.as_str(), n.radix());
                Value::Integer(
                    parsed
                        .map_err(|_| syntax(format!("the number {} is too large", n.as_str())))?,
                )
            }
            DeValue::Float(x) => Value::Float(
                x.as_str()
                    .parse()
                    .map_err(|_| syntax(format!("{} is not a number", x.as_str())))?,
            ),
        };
        Ok(Node { value, origin })
    }
}
