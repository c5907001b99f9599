//! `[data.csv]`: a table that lists the images, and the classes that its labels give.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dataset::{Blank, CsvLayout, LabelConfig, Uncertain};
use serde::Deserialize;

use super::one_or_more::OneOrMore;
use crate::keys::Keys;
use crate::tree::{ConfigError, did_you_mean};

/// The CSV table and the names of its columns.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Csv {
    pub(crate) file: Option<String>,
    path: Option<String>,
    pub(crate) mask: Option<String>,
    class: Option<OneOrMore>,
    split: Option<String>,
    patient: Option<String>,
    attributes: Vec<String>,
    separator: Option<String>,
    labels: BTreeMap<String, String>,
    precedence: Vec<String>,
    otherwise: Option<String>,
    uncertain: Uncertain,
    blank: Blank,
}

impl Csv {
    /// The layout with the table at this path.
    pub(crate) fn layout(self, file: PathBuf) -> CsvLayout {
        let (class, columns) = match self.class {
            None => (None, vec![]),
            Some(OneOrMore::One(class)) => (Some(class), vec![]),
            Some(OneOrMore::More(columns)) => (None, columns),
        };
        CsvLayout {
            file,
            path: self.path,
            mask: self.mask,
            class,
            split: self.split,
            patient: self.patient,
            attributes: self.attributes,
            labels: Box::new(LabelConfig {
                columns,
                separator: self.separator,
                classes: self.labels,
                precedence: self.precedence,
                otherwise: self.otherwise,
                uncertain: self.uncertain,
                blank: self.blank,
            }),
        }
    }

    /// Refuses keys for labels that are inconsistent; `classes` are those of `data.classes`.
    pub(crate) fn check(&self, keys: &Keys<'_>, classes: &[String]) -> Result<(), ConfigError> {
        self.check_columns(keys)?;
        self.check_effect(keys)?;
        self.check_classes(keys, classes)
    }

    fn columns(&self) -> &[String] {
        match &self.class {
            Some(OneOrMore::More(columns)) => columns,
            _ => &[],
        }
    }

    fn check_columns(&self, keys: &Keys<'_>) -> Result<(), ConfigError> {
        if let Some(OneOrMore::More(columns)) = &self.class {
            let distinct: BTreeSet<&String> = columns.iter().collect();
            if columns.is_empty() || distinct.len() < columns.len() {
                let message = "name each label's column once, or one column of classes in quotes";
                return Err(keys.refuse("data.csv.class", message));
            }
        }
        let columns: Vec<&str> = self.columns().iter().map(String::as_str).collect();
        let unknown = self
            .labels
            .keys()
            .find(|label| !columns.contains(&label.as_str()));
        match unknown.filter(|_| !columns.is_empty()) {
            Some(label) => Err(keys.refuse(
                &format!("data.csv.labels.{label}"),
                format!(
                    "\"{label}\" is not one of the columns in csv.class{}; these are {}",
                    did_you_mean(label, &columns),
                    columns.join(", ")
                ),
            )),
            None => Ok(()),
        }
    }

    /// Refuses keys that would have no effect.
    fn check_effect(&self, keys: &Keys<'_>) -> Result<(), ConfigError> {
        let by_column = !self.columns().is_empty();
        let several = by_column || self.separator.is_some();
        let set = |key: &str| keys.tree.get(&format!("data.csv.{key}")).is_some();
        let refuse =
            |key: &str, message: &str| Err(keys.refuse(&format!("data.csv.{key}"), message));
        if self.separator.as_ref().is_some_and(String::is_empty) {
            return refuse(
                "separator",
                "it is empty; name the characters between two labels, such as \"|\"",
            );
        }
        if by_column && self.separator.is_some() {
            let message = "csv.class names a column for each label, so there is nothing to separate; remove one of the two";
            return refuse("separator", message);
        }
        if set("uncertain") && !by_column {
            let message =
                "only columns of one label each have uncertain ones (-1): list them in csv.class";
            return refuse("uncertain", message);
        }
        if set("precedence") && !several {
            let message = "a row has one label only; set csv.separator, or list a column for each label in csv.class";
            return refuse("precedence", message);
        }
        let unused = ["otherwise", "blank"].into_iter().find(|key| set(key));
        match unused.filter(|_| !several && self.labels.is_empty()) {
            Some(key) => refuse(
                key,
                "this key is for labels; map them to classes in csv.labels",
            ),
            None => Ok(()),
        }
    }

    /// Every class that labels lead to is one of `data.classes`, and precedence is between classes that labels lead to.
    fn check_classes(&self, keys: &Keys<'_>, classes: &[String]) -> Result<(), ConfigError> {
        let check =
            |key: &str, class: &String, known: &[&str]| match known.contains(&class.as_str()) {
                true => Ok(()),
                false => Err(keys.refuse(
                    &format!("data.csv.{key}"),
                    format!(
                        "\"{class}\" is not a class{}; there are {}",
                        did_you_mean(class, known),
                        known.join(", ")
                    ),
                )),
            };
        let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
        if !classes.is_empty() {
            for (label, class) in &self.labels {
                check(&format!("labels.{label}"), class, &classes)?;
            }
            self.otherwise
                .iter()
                .try_for_each(|class| check("otherwise", class, &classes))?;
        }
        let known: BTreeSet<&str> = match (self.labels.is_empty(), classes.is_empty()) {
            (true, true) if self.columns().is_empty() => return Ok(()),
            (true, true) => self.columns().iter().map(String::as_str).collect(),
            (true, false) => classes.into_iter().collect(),
            (false, _) => self.labels.values().map(String::as_str).collect(),
        };
        let known: Vec<&str> = known.into_iter().collect();
        let mut precedence = self.precedence.iter();
        precedence.try_for_each(|class| check("precedence", class, &known))
    }
}
