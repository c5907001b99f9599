//! `[report]`: what the report contains besides results.

use serde::Deserialize;

use crate::keys::Keys;
use crate::tree::ConfigError;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) notes: Vec<String>,
    pub(crate) samples: usize,
}

impl Default for Report {
    fn default() -> Self {
        Report {
            notes: vec![],
            samples: 12,
        }
    }
}

/// Images in the sample grid; limited, because all of them are in memory at once.
pub(crate) fn samples(keys: &Keys<'_>, samples: usize) -> Result<usize, ConfigError> {
    keys.within("report.samples", samples, 0, 400)
}
