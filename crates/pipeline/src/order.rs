//! What rank 0 tells the other processes of a run to do.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use collective::Collective;
use serde::{Deserialize, Serialize};

use crate::run_dir::RunDir;

/// What rank 0 tells the others to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Share in indexing the images.
    Index,
    /// Share in the work of a stage.
    In {
        /// The run's folder, which all processes can read.
        folder: PathBuf,
        /// What there is to do.
        work: Work,
    },
    /// The run is complete.
    End,
}

/// Work of a stage that processes share.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Analyse the images.
    Analyse {
        /// Their fingerprint.
        images: String,
    },
    /// Train the network.
    Train,
    /// Score a share of these images with the network that the run has trained.
    Score {
        /// Rows of the manifest.
        rows: Vec<usize>,
        /// The output whose pooled features are wanted.
        features: Option<String>,
    },
}

impl Order {
    /// To share in the work of a stage of this run.
    pub(crate) fn on(run: &RunDir, work: Work) -> Self {
        Order::In {
            folder: run.path().into(),
            work,
        }
    }

    /// Gives the order to all other processes; on rank 0.
    ///
    /// # Errors
    /// The processes no longer reach each other.
    pub(crate) fn give(&self, processes: &dyn Collective) -> Result<()> {
        processes.gather(&serde_json::to_vec(self)?)?;
        Ok(())
    }

    /// Waits for the next order; on the other ranks.
    pub(crate) fn next(processes: &dyn Collective) -> Result<Order> {
        let words = processes.gather(&[])?;
        let order = words.first().map(Vec::as_slice).unwrap_or_default();
        serde_json::from_slice(order).context("process 0 runs another version of this program")
    }
}
