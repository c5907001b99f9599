//! Path → patient, by the rules of the configuration.

mod folders;

use regex::{Captures, Regex};

pub use folders::PatientFolders;

use crate::config::PatientRule;
use crate::error::DatasetError;
use crate::walk::without_extension;

/// Compiled rules; the first that matches decides.
#[derive(Debug)]
pub(crate) struct PatientRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    regex: Regex,
    template: String,
    prefix: String,
    /// Whether the whole path is searched, because the pattern contains a '/', or each name in turn.
    of_path: bool,
}

impl PatientRules {
    pub(crate) fn compile(rules: &[PatientRule]) -> Result<Self, DatasetError> {
        rules
            .iter()
            .map(Rule::compile)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The patient's key for an image's path, whose first `depth` folders give split and class;
    /// `None` if no rule matches or the key would be empty.
    pub(crate) fn key(&self, path: &str, depth: usize) -> Option<String> {
        let path = without_extension(path);
        let folders = path.matches('/').count().saturating_sub(depth);
        let key = |name: &str| {
            let of_rule = |rule: &Rule| rule.key(if rule.of_path { path } else { name });
            self.0.iter().find_map(of_rule)
        };
        path.rsplit('/').take(1 + folders).find_map(key)
    }
}

impl Rule {
    fn compile(rule: &PatientRule) -> Result<Self, DatasetError> {
        let fail = |reason: String| DatasetError::PatientRule {
            pattern: rule.pattern.clone(),
            reason,
        };
        let regex = Regex::new(&rule.pattern).map_err(|error| fail(error.to_string()))?;
        if let Some(name) = unknown_group(&regex, &rule.template) {
            return Err(fail(format!(
                "the template {:?} names the group {name:?}, which the pattern lacks",
                rule.template
            )));
        }
        if rule.template.is_empty() && regex.capture_names().flatten().next().is_none() {
            return Err(fail(
                "give a template, or named groups such as (?<number>\\d+)".to_owned(),
            ));
        }
        Ok(Self {
            regex,
            template: rule.template.clone(),
            prefix: rule.prefix.clone(),
            of_path: rule.pattern.contains('/'),
        })
    }

    fn key(&self, text: &str) -> Option<String> {
        let captures = self.regex.captures(text)?;
        let key = if self.template.is_empty() {
            self.joined(&captures)
        } else {
            expanded(&captures, &self.template)
        };
        (!key.is_empty()).then(|| format!("{}{key}", self.prefix))
    }

    fn joined(&self, captures: &Captures<'_>) -> String {
        let groups = self
            .regex
            .capture_names()
            .flatten()
            .filter_map(|name| captures.name(name));
        groups
            .map(|group| group.as_str())
            .collect::<Vec<_>>()
            .join("-")
    }
}

fn expanded(captures: &Captures<'_>, template: &str) -> String {
    let mut key = String::new();
    captures.expand(template, &mut key);
    key
}

/// `expand` replaces an unknown group with nothing, which would silently merge patients.
fn unknown_group(regex: &Regex, template: &str) -> Option<String> {
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let body = rest.strip_prefix('{').unwrap_or(rest);
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let name: String = body.chars().take_while(|&c| is_name(c)).collect();
        let known = match name.parse::<usize>() {
            Ok(index) => index < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|group| group == name),
        };
        if !known {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, template: &str, prefix: &str) -> PatientRule {
        PatientRule {
            pattern: pattern.into(),
            template: template.into(),
            prefix: prefix.into(),
        }
    }

    #[test]
    fn kaggle_names() {
        let rules = PatientRules::compile(&PatientRule::kaggle_pneumonia()).unwrap();
        let check = |stem: &str, expected: Option<&str>| {
            assert_eq!(rules.key(stem, 0).as_deref(), expected, "{stem}");
        };
        check("person80_bacteria_391", Some("bacteria-80"));
        check("person80_virus_150", Some("virus-80"));
        check("person1372_virus_2365_1", Some("virus-1372"));
        check("IM-0115-0001", Some("IM-0115"));
        check("IM-0115-0001-0002", Some("IM-0115"));
        check("NORMAL2-IM-0115-0001", Some("NORMAL2-IM-0115"));
        check("image(55)", None);
    }

    #[test]
    fn named_groups_join_and_prefixes_separate() {
        let check = |rule: PatientRule, stem: &str, expected: &str| {
            let rules = PatientRules::compile(&[rule]).unwrap();
            assert_eq!(rules.key(stem, 0).as_deref(), Some(expected));
        };
        check(
            rule(r"(?<site>[a-z]+)_(?<n>\d+)", "", ""),
            "oslo_12_b",
            "oslo-12",
        );
        check(
            rule(r"(?<n>\d+)(?<side>[LR])?", "", "knee-"),
            "12",
            "knee-12",
        );
        check(rule(r"^(\d+)", "p$1", ""), "77_x", "p77");
        check(rule(r"^(\d+)", "$$$1", ""), "77_x", "$77");
    }

    /// CheXpert and MURA have one folder per patient.
    #[test]
    fn the_file_name_is_searched_before_its_folders() {
        let check = |pattern: &str, path: &str, depth: usize, expected: Option<&str>| {
            let rules = PatientRules::compile(&[rule(pattern, "", "")]).unwrap();
            assert_eq!(
                rules.key(path, depth).as_deref(),
                expected,
                "{pattern} {path}"
            );
        };
        let chexpert = "train/patient00001/study1/view1_frontal.jpg";
        check("^(?<p>patient[0-9]+)$", chexpert, 1, Some("patient00001"));
        check("(?<n>[0-9]+)", chexpert, 1, Some("1"));
        check("^(?<p>study[0-9]+)", chexpert, 3, None);
        let mura = "train/XR_ELBOW/patient00011/study1_negative/image1.png";
        check("patient(?<n>[0-9]+)", mura, 1, Some("00011"));
        // A class is not a patient.
        check("^grade_(?<n>[0-9])", "grade_1/x.png", 1, None);
        check("^grade_(?<n>[0-9])", "grade_1/x.png", 0, Some("1"));
    }

    #[test]
    fn a_pattern_with_a_slash_is_searched_in_the_path() {
        let check = |pattern: &str, path: &str, expected: Option<&str>| {
            let rules = PatientRules::compile(&[rule(pattern, "", "")]).unwrap();
            assert_eq!(rules.key(path, 1).as_deref(), expected, "{pattern} {path}");
        };
        check(
            "(?<p>patient[0-9]+)/",
            "a/patient01/b/c.png",
            Some("patient01"),
        );
        check("^(?<site>[^/]+)/(?<p>[^/]+)/", "a/b/c.png", Some("a-b"));
        check("^(?<site>[^/]+)/(?<p>[^/]+)/", "a/c.png", None);
    }

    #[test]
    fn bad_rules_are_errors_with_the_reason() {
        let check = |rule: PatientRule, expected: &str| {
            let text = PatientRules::compile(&[rule]).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        };
        check(rule(r"(\d+", "$1", ""), "unclosed group");
        check(rule(r"(?<n>\d+)", "${m}", ""), "\"m\"");
        check(rule(r"(\d+)", "$2", ""), "\"2\"");
        check(rule(r"\d+", "", ""), "give a template");
    }
}
