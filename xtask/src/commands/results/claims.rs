//! docs/results.toml: the figures that docs/results.md claims, and how they were measured.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The file, below the root.
pub(super) const FILE: &str = "docs/results.toml";

/// All measured results.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) result: Vec<Measured>,
}

/// A run and what it showed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    pub(super) name: String,
    /// The pipeline that was run.
    pub(super) pipeline: String,
    /// Settings that were changed, as `--set` takes them.
    #[serde(default)]
    pub(super) set: Vec<String>,
    /// The data set; none for the pipeline's demo.
    pub(super) data: Option<String>,
    /// What must be there first.
    pub(super) needs: String,
    /// Minutes on two cores.
    pub(super) minutes: u32,
    pub(super) claims: Vec<Claim>,
}

/// A figure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    /// What it is.
    pub(super) what: String,
    /// The run's file that contains it, such as `metrics.json`.
    pub(super) file: String,
    /// JSON pointer (RFC 6901) to it in the file.
    pub(super) key: String,
    /// As printed, which gives its precision: `0.962`, or `94.6 %`.
    pub(super) value: String,
}

impl Claims {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
    }
}

impl Claim {
    /// Whether a number rounds to the claimed one.
    pub(super) fn agrees(&self, found: f64) -> Result<bool> {
        let (text, scale) = match self.value.strip_suffix('%') {
            Some(percent) => (percent.trim(), 100.0),
            None => (self.value.as_str(), 1.0),
        };
        let claimed: f64 = text
            .parse()
            .with_context(|| format!("{:?} in {FILE} is not a number", self.value))?;
        let decimals = text.split_once('.').map_or(0, |(_, after)| after.len());
        let half = 0.5 * 10f64.powi(-(decimals as i32));
        // A number halfway between two may have been rounded either way.
        Ok((found * scale - claimed).abs() <= half + 1e-9)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn claim(value: &str) -> Claim {
        Claim {
            what: String::new(),
            file: String::new(),
            key: String::new(),
            value: value.into(),
        }
    }

    #[test]
    fn a_number_agrees_if_it_rounds_to_the_claim() {
        assert!(claim("0.962").agrees(0.961_51).unwrap());
        assert!(!claim("0.962").agrees(0.961_49).unwrap());
        assert!(claim("94.6 %").agrees(0.9463).unwrap());
        assert!(!claim("94.6 %").agrees(0.9466).unwrap());
        assert!(claim("about 3").agrees(3.0).is_err());
    }

    /// The page and the list that is checked cannot disagree.
    #[test]
    fn every_claim_is_on_the_page() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let claims = Claims::read(&root.join(FILE)).unwrap();
        let page = std::fs::read_to_string(root.join("docs/results.md")).unwrap();
        assert!(!claims.result.is_empty());
        for result in &claims.result {
            let pipeline = root.join(format!("pipelines/{}.toml", result.pipeline));
            assert!(pipeline.is_file(), "{}", result.name);
            assert!(page.contains(&format!("cargo xtask pipeline {}", result.pipeline)));
            for claim in &result.claims {
                assert!(
                    page.contains(&claim.value),
                    "{}: {}",
                    result.name,
                    claim.value
                );
            }
        }
    }
}
