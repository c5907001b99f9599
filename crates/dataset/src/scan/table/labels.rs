//! The class of a row from its labels.

use std::collections::BTreeSet;
use std::rc::Rc;

use csv::StringRecord;

use crate::config::{Blank, LabelConfig, Uncertain};
use crate::words::did_you_mean;

/// What a cell says about a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Positive,
    Negative,
    /// Neither, according to whoever labelled the image.
    Uncertain,
    /// Nothing.
    Blank,
}

/// The labels of a row. A single cell of several labels names the positive ones, or none at all.
/// Labels are shared, since a table may have hundreds of thousands of rows.
pub(super) type RowLabels = Vec<(Rc<str>, Sign)>;

/// A row without a class, by the reason; the text completes "row … left out".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NoClass {
    Several,
    Uncertain,
    Blank,
    NoLabel,
}

impl NoClass {
    pub(super) fn text(self) -> &'static str {
        match self {
            NoClass::Several => "with labels of several classes",
            NoClass::Uncertain => "whose class depends on an uncertain label",
            NoClass::Blank => "without a known label",
            NoClass::NoLabel => "without a label that has a class",
        }
    }
}

/// Converts labels to classes.
pub(super) struct Labels<'c> {
    config: &'c LabelConfig,
    classes: &'c [String],
}

impl<'c> Labels<'c> {
    pub(super) fn new(config: &'c LabelConfig, classes: &'c [String]) -> Self {
        Self { config, classes }
    }

    /// The number of the row's class.
    pub(super) fn class(&self, labels: &RowLabels) -> Result<usize, NoClass> {
        let of = |wanted: Sign| -> BTreeSet<usize> {
            let labels = labels
                .iter()
                .filter(|(_, sign)| self.counted(*sign) == wanted);
            labels
                .filter_map(|(label, _)| self.class_of(label))
                .collect()
        };
        let positive = of(Sign::Positive);
        let decided = self.decided(&positive);
        let mut uncertain = of(Sign::Uncertain).into_iter();
        let with = |class: usize| positive.iter().copied().chain([class]).collect();
        if uncertain.any(|class| self.decided(&with(class)) != decided) {
            return Err(NoClass::Uncertain);
        }
        let mut blank = labels.iter().filter(|(label, sign)| {
            // A blank cell of several labels has no label.
            self.counted(*sign) == Sign::Blank
                && (label.is_empty() || self.class_of(label).is_some())
        });
        match positive.is_empty() && blank.next().is_some() {
            true => Err(NoClass::Blank),
            false => decided,
        }
    }

    /// The class of rows with positive labels of these classes and no others.
    fn decided(&self, classes: &BTreeSet<usize>) -> Result<usize, NoClass> {
        if let (1, Some(only)) = (classes.len(), classes.first()) {
            return Ok(*only);
        }
        if classes.is_empty() {
            let otherwise = self.config.otherwise.as_deref();
            return otherwise
                .and_then(|name| self.number(name))
                .ok_or(NoClass::NoLabel);
        }
        let ranked = self
            .config
            .precedence
            .iter()
            .filter_map(|name| self.number(name));
        ranked
            .into_iter()
            .find(|class| classes.contains(class))
            .ok_or(NoClass::Several)
    }

    fn counted(&self, sign: Sign) -> Sign {
        match (sign, self.config.uncertain, self.config.blank) {
            (Sign::Uncertain, Uncertain::Positive, _) => Sign::Positive,
            (Sign::Uncertain, Uncertain::Negative, _) => Sign::Negative,
            (Sign::Blank, _, Blank::Negative) => Sign::Negative,
            (sign, _, _) => sign,
        }
    }

    fn class_of(&self, label: &str) -> Option<usize> {
        match self.config.classes.is_empty() {
            true => self.number(label),
            false => self.number(self.config.classes.get(label)?),
        }
    }

    fn number(&self, class: &str) -> Option<usize> {
        self.classes.iter().position(|name| name == class)
    }
}

/// The classes that labels can have, sorted; `found`: the labels in the table.
pub(super) fn classes(config: &LabelConfig, found: &BTreeSet<&str>) -> Vec<String> {
    let labels = found.iter().map(|&label| label.to_owned());
    let named: BTreeSet<String> = match config.classes.is_empty() {
        true => labels.chain(config.otherwise.clone()).collect(),
        false => {
            let mapped = config.classes.values().cloned();
            mapped.chain(config.otherwise.clone()).collect()
        }
    };
    named.into_iter().collect()
}

/// Every label of the settings is in the table.
///
/// # Errors
/// The first that is not, with the labels that are there.
pub(super) fn check(config: &LabelConfig, found: &BTreeSet<&str>) -> Result<(), String> {
    match config
        .classes
        .keys()
        .find(|label| !found.contains(label.as_str()))
    {
        None => Ok(()),
        Some(label) => {
            let known: Vec<&str> = found.iter().copied().collect();
            let hint = did_you_mean(label, &known);
            let mut listed = known
                .iter()
                .take(40)
                .copied()
                .collect::<Vec<_>>()
                .join(", ");
            if known.len() > 40 {
                listed += ", …";
            }
            Err(format!(
                "csv.labels names {label:?}, which no row has{hint}; the labels are {listed}"
            ))
        }
    }
}

/// Reads the labels of a row.
pub(super) enum LabelCells {
    /// Columns of one label each.
    Columns(Vec<(Rc<str>, usize)>),
    /// A column that names the labels, separated if there is a separator.
    Names(usize, Option<String>),
}

impl LabelCells {
    /// The error is the reason as text.
    pub(super) fn read(&self, record: &StringRecord) -> Result<RowLabels, String> {
        let cell = |column: usize| record.get(column).unwrap_or_default().trim();
        match self {
            LabelCells::Columns(columns) => {
                let label = |(name, column): &(Rc<str>, usize)| {
                    Ok((Rc::clone(name), sign(name, cell(*column))?))
                };
                columns.iter().map(label).collect()
            }
            LabelCells::Names(column, separator) => Ok(names(cell(*column), separator.as_deref())),
        }
    }
}

fn names(cell: &str, separator: Option<&str>) -> RowLabels {
    let parts: Vec<&str> = match separator {
        Some(separator) => cell.split(separator).map(str::trim).collect(),
        None => vec![cell],
    };
    let says = |label: &&str| !label.is_empty() && !label.eq_ignore_ascii_case("nan");
    let labels = parts.into_iter().filter(says);
    let labels: RowLabels = labels
        .map(|label| (Rc::from(label), Sign::Positive))
        .collect();
    match labels.is_empty() {
        true => vec![(Rc::from(""), Sign::Blank)],
        false => labels,
    }
}

/// Whether a label's own cell says nothing, as tables of pandas and R write it.
fn is_blank(cell: &str) -> bool {
    ["", "nan", "na", "n/a", "null"]
        .iter()
        .any(|blank| cell.eq_ignore_ascii_case(blank))
}

fn sign(column: &str, cell: &str) -> Result<Sign, String> {
    if is_blank(cell) {
        return Ok(Sign::Blank);
    }
    let number = match cell.to_lowercase().as_str() {
        "true" | "yes" => Some(1.0),
        "false" | "no" => Some(0.0),
        text => text.parse::<f64>().ok(),
    };
    match number {
        Some(1.0) => Ok(Sign::Positive),
        Some(0.0) => Ok(Sign::Negative),
        Some(-1.0) => Ok(Sign::Uncertain),
        _ => Err(format!(
            "the label {column:?} is {cell:?}, but a label's column has 1, 0, -1 (uncertain) or nothing"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config() -> LabelConfig {
        let classes = [
            ("No Finding", "normal"),
            ("Pneumonia", "ill"),
            ("Edema", "ill"),
            ("Device", "other"),
        ];
        let text = |(label, class): (&str, &str)| (label.to_owned(), class.to_owned());
        LabelConfig {
            classes: classes.map(text).into(),
            ..LabelConfig::default()
        }
    }

    const CLASSES: [&str; 3] = ["normal", "ill", "other"];

    /// Signs of No Finding, Pneumonia, Edema, Device, Hernia: `+`, `-`, `?` or a blank.
    fn class(config: &LabelConfig, signs: &str) -> Result<&'static str, NoClass> {
        let names = ["No Finding", "Pneumonia", "Edema", "Device", "Hernia"];
        let sign = |sign: char| match sign {
            '+' => Sign::Positive,
            '-' => Sign::Negative,
            '?' => Sign::Uncertain,
            _ => Sign::Blank,
        };
        let labels = names.iter().zip(signs.chars());
        let labels: RowLabels = labels.map(|(name, s)| (Rc::from(*name), sign(s))).collect();
        let classes = CLASSES.map(str::to_owned);
        Labels::new(config, &classes)
            .class(&labels)
            .map(|n| CLASSES[n])
    }

    #[test]
    fn a_row_has_the_class_of_its_positive_labels() {
        let config = config();
        let check = |signs: &str, expected| assert_eq!(class(&config, signs), expected, "{signs}");
        check("+----", Ok("normal"));
        check("-++--", Ok("ill"));
        check("-+--+", Ok("ill"));
        // CheXpert mentions little: what is not mentioned does not speak against a positive label.
        check("+    ", Ok("normal"));
        check("  +  ", Ok("ill"));
        check("++---", Err(NoClass::Several));
        check("----+", Err(NoClass::NoLabel));
        check("---- ", Err(NoClass::NoLabel));
        check("- ---", Err(NoClass::Blank));
        check("     ", Err(NoClass::Blank));
        check("-?---", Err(NoClass::Uncertain));
        // The other label of the class is positive already.
        check("-+?--", Ok("ill"));
        check("-+-?-", Err(NoClass::Uncertain));
        check("-+--?", Ok("ill"));
        check("++-?-", Err(NoClass::Several));
    }

    #[test]
    fn the_settings_decide_what_is_open() {
        let order = LabelConfig {
            precedence: ["ill", "normal"].map(str::to_owned).into(),
            otherwise: Some("other".to_owned()),
            ..config()
        };
        assert_eq!(class(&order, "++---"), Ok("ill"));
        assert_eq!(class(&order, "+--+-"), Ok("normal"));
        assert_eq!(class(&order, "+?---"), Err(NoClass::Uncertain));
        assert_eq!(class(&order, "?+---"), Ok("ill"));
        assert_eq!(class(&order, "----+"), Ok("other"));
        assert_eq!(class(&order, "---?+"), Ok("other"));
        let positive = LabelConfig {
            uncertain: Uncertain::Positive,
            ..config()
        };
        assert_eq!(class(&positive, "-?---"), Ok("ill"));
        let negative = LabelConfig {
            uncertain: Uncertain::Negative,
            blank: Blank::Negative,
            otherwise: Some("normal".to_owned()),
            ..config()
        };
        assert_eq!(class(&negative, " ?---"), Ok("normal"));
        assert_eq!(class(&negative, "     "), Ok("normal"));
    }

    #[test]
    fn cells_are_read_as_they_are_written() {
        let check = |cell: &str, expected| assert_eq!(sign("x", cell), Ok(expected), "{cell}");
        for one in ["1", "1.0", "True", "yes"] {
            check(one, Sign::Positive);
        }
        for zero in ["0", "0.0", "-0.0", "FALSE", "No"] {
            check(zero, Sign::Negative);
        }
        check("-1.0", Sign::Uncertain);
        for blank in ["", "NaN", "nan", "N/A", "NULL"] {
            check(blank, Sign::Blank);
        }
        let text = sign("Edema", "2").unwrap_err();
        assert!(text.contains("\"Edema\" is \"2\""), "{text}");
        let of = |cell: &str| {
            names(cell, Some("|"))
                .into_iter()
                .map(|(n, _)| n.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("Cardiomegaly | Effusion"), ["Cardiomegaly", "Effusion"]);
        assert_eq!(of("|Hernia|"), ["Hernia"]);
        assert_eq!(names("nan", Some("|")), [(Rc::from(""), Sign::Blank)]);
        assert_eq!(names("a|b", None), [(Rc::from("a|b"), Sign::Positive)]);
    }

    proptest! {
        /// Turning what is not known into either answer never gives another class than the one decided without it.
        #[test]
        fn a_class_holds_whatever_uncertain_labels_turn_out_to_be(
            signs in "[+?-]{5}", answers in "[+-]{5}", ordered in any::<bool>(),
        ) {
            let order = match ordered {
                true => CLASSES.map(str::to_owned).into(),
                false => vec![],
            };
            let config = LabelConfig { precedence: order, otherwise: Some("normal".into()), ..config() };
            let known: String = signs.chars().zip(answers.chars())
                .map(|(sign, answer)| if sign == '?' { answer } else { sign })
                .collect();
            if let Ok(decided) = class(&config, &signs) {
                prop_assert_eq!(class(&config, &known), Ok(decided));
            }
        }
    }
}
