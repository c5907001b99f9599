//! `[tracking]`: runs for programs that collect runs.

use std::path::PathBuf;

use serde::Deserialize;

use crate::paths::Paths;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tracking {
    pub(crate) tensorboard: bool,
    pub(crate) mlflow: Option<String>,
}

/// Runs for programs that collect runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackingSettings {
    /// Whether event files for TensorBoard are written into the run's folder.
    pub tensorboard: bool,
    /// The folder of MLflow's file store into which the finished run is written, absolute.
    pub mlflow: Option<PathBuf>,
}

pub(crate) fn tracking(paths: &Paths<'_>, raw: Tracking) -> TrackingSettings {
    let folder = raw.mlflow.filter(|folder| !folder.is_empty());
    TrackingSettings {
        tensorboard: raw.tensorboard,
        mlflow: folder.map(|folder| paths.full("tracking.mlflow", &folder)),
    }
}
