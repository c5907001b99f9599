//! Serde deserialization of the tree. Serde's own hooks report which key is unknown and which type was expected; this
//! module adds the path and the place, and names the nearest known key. So it works for every struct of every crate
//! that denies unknown fields.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

use super::ConfigError;
use super::did_you_mean;
use super::node::{Node, Value, join};

/// Reads the table at `path`; `siblings` are keys of the same table that belong to another struct.
pub(crate) fn decode<T: DeserializeOwned>(
    node: &Node,
    path: &str,
    siblings: &[&str],
) -> Result<T, ConfigError> {
    let place = Place {
        node,
        path: path.into(),
    };
    T::deserialize(place).map_err(|fault| fault.into_error(path, node, siblings))
}

#[derive(Clone)]
struct Place<'n> {
    node: &'n Node,
    path: String,
}

/// An error reported by serde and, once known, its place.
#[derive(Debug)]
struct Fault {
    what: What,
    place: Option<(String, String)>,
}

#[derive(Debug)]
enum What {
    Unknown {
        key: String,
        known: Vec<&'static str>,
    },
    Variant {
        value: String,
        known: Vec<&'static str>,
    },
    Type {
        expected: String,
        found: String,
    },
    Missing(&'static str),
    Other(String),
}

impl Fault {
    fn new(what: What) -> Self {
        Fault { what, place: None }
    }

    /// Sets the place unless an inner one is set already.
    fn at(mut self, path: &str, node: &Node) -> Self {
        self.place
            .get_or_insert_with(|| (path.into(), node.origin.to_string()));
        self
    }

    fn into_error(self, path: &str, node: &Node, siblings: &[&str]) -> ConfigError {
        let (key, origin) = self
            .place
            .unwrap_or_else(|| (path.into(), node.origin.to_string()));
        match self.what {
            What::Unknown {
                key: name,
                mut known,
            } => {
                // In a tagged enum (`name = "cosine"`) serde reads the whole table before it looks at the keys, so the
                // place is that of the table.
                let (key, origin) = if key.rsplit('.').next() == Some(&name) {
                    (key, origin)
                } else {
                    inner(path, node, &key, &name, origin)
                };
                let top_level = key.rsplit_once('.').map_or("", |(table, _)| table) == path;
                let mut known: Vec<&str> = std::mem::take(&mut known);
                known.extend(siblings.iter().filter(|_| top_level));
                let hint = did_you_mean(&name, &known);
                ConfigError::UnknownKey {
                    key,
                    origin,
                    hint,
                    known: known.join(", "),
                }
            }
            What::Variant { value, known } => {
                let hint = did_you_mean(&value, &known);
                ConfigError::Value {
                    message: format!(
                        "\"{value}\" is not known{hint}; choose one of {}",
                        known.join(", ")
                    ),
                    key,
                    origin,
                }
            }
            What::Type { expected, found } => ConfigError::Type {
                key,
                origin,
                expected,
                found,
            },
            What::Missing(field) => ConfigError::Value {
                key,
                origin,
                message: format!("the key `{field}` is missing"),
            },
            What::Other(message) => ConfigError::Value {
                key,
                origin,
                message,
            },
        }
    }
}

/// Path and origin of the key `name` in the table at `table`, a path below `path`, the path of `node`.
fn inner(path: &str, node: &Node, table: &str, name: &str, origin: String) -> (String, String) {
    let key = join(table, name);
    let found = key
        .strip_prefix(path)
        .and_then(|rest| node.get(rest.trim_start_matches('.')));
    let origin = found.map_or(origin, |node| node.origin.to_string());
    (key, origin)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::new(What::Other(message.to_string()))
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Fault::new(What::Type {
            expected: in_words(&expected.to_string()),
            found: found_in_words(found),
        })
    }

    fn invalid_length(len: usize, expected: &dyn de::Expected) -> Self {
        Fault::new(What::Type {
            expected: in_words(&expected.to_string()),
            found: format!("{len}"),
        })
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Fault::new(What::Variant {
            value: variant.into(),
            known: expected.to_vec(),
        })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Fault::new(What::Unknown {
            key: field.into(),
            known: expected.to_vec(),
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::new(What::Missing(field))
    }
}

/// Translates Rust's types, which serde names, into TOML's, which users know.
fn in_words(expected: &str) -> String {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number of at least 0".into(),
        "isize" | "i64" | "i32" | "i16" | "i8" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "path string" | "a path" => "a string in quotes".into(),
        "a sequence" => "a list".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other if other.contains("enum") => "a string or a table".into(),
        other => match other.strip_prefix("an array of length ") {
            Some(length) => format!("a list of {length} values"),
            None => other.into(),
        },
    }
}

fn found_in_words(found: de::Unexpected<'_>) -> String {
    use de::Unexpected::{Bool, Float, Map, Seq, Signed, Str, Unsigned};
    match found {
        Bool(b) => format!("{b}"),
        Unsigned(n) => format!("the number {n}"),
        Signed(n) => format!("the number {n}"),
        Float(x) => format!("the number {x}"),
        Str(text) => format!("the string \"{text}\""),
        Seq => "a list".into(),
        Map => "a table".into(),
        other => other.to_string(),
    }
}

impl<'n> Place<'n> {
    fn visit<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Table(entries) => visitor.visit_map(Entries {
                rest: entries.iter(),
                path: &self.path,
                value: None,
            }),
            Value::Array(items) => self.visit_list(items, visitor),
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(n) if *n >= 0 => visitor.visit_u64(n.unsigned_abs()),
            Value::Integer(n) => visitor.visit_i64(*n),
            Value::Float(x) => visitor.visit_f64(*x),
            Value::Bool(b) => visitor.visit_bool(*b),
        }
    }

    /// Visits a list, and refuses one that is longer than the type.
    fn visit_list<'de, V: Visitor<'de>>(
        &self,
        nodes: &'n [Node],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut items = Items {
            rest: nodes.iter().enumerate(),
            path: &self.path,
        };
        let value = visitor.visit_seq(&mut items)?;
        let read = nodes.len() - items.rest.len();
        if read < nodes.len() {
            let expected = format!("a list of {read} values");
            return Err(de::Error::invalid_length(nodes.len(), &expected.as_str()));
        }
        Ok(value)
    }
}

impl<'de> de::Deserializer<'de> for Place<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
            .map_err(|fault| fault.at(&self.path, self.node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// `"name"`, or `{ name = … }` for a variant with content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match &self.node.value {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(entries) if entries.len() == 1 => {
                let entries = Entries {
                    rest: entries.iter(),
                    path: &self.path,
                    value: None,
                };
                visitor.visit_enum(de::value::MapAccessDeserializer::new(entries))
            }
            _ => self.visit(visitor),
        };
        result.map_err(|fault| fault.at(&self.path, self.node))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Entries<'n> {
    rest: std::collections::btree_map::Iter<'n, String, Node>,
    path: &'n str,
    value: Option<(&'n String, &'n Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.value = self.rest.next();
        let Some((key, node)) = self.value else {
            return Ok(None);
        };
        let key_only: de::value::StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(key_only)
            .map(Some)
            .map_err(|fault| fault.at(&join(self.path, key), node))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, node) = self
            .value
            .take()
            .ok_or_else(|| de::Error::custom("a value without a key"))?;
        let path = join(self.path, key);
        seed.deserialize(Place {
            node,
            path: path.clone(),
        })
        .map_err(|fault| fault.at(&path, node))
    }
}

struct Items<'n> {
    rest: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
    path: &'n str,
}

impl<'de> de::SeqAccess<'de> for &mut Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.rest.next() else {
            return Ok(None);
        };
        let path = format!("{}[{index}]", self.path);
        seed.deserialize(Place {
            node,
            path: path.clone(),
        })
        .map(Some)
        .map_err(|fault| fault.at(&path, node))
    }
}
