//! A run on several processes: rank 0 runs the stages as if it were alone, and calls the others where a stage has work to
//! share; they follow its orders, and write nothing.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use collective::Collective;
use model::network::Network;
use model::store::Group;
use serde::{Deserialize, Serialize};
use settings::Settings;
use terminal::{Interrupt, Progress};

use crate::context::{Context, Data, Indexed};
use crate::run::difference;
use crate::run_dir::RunDir;
use crate::scored;
use crate::stages;

/// What rank 0 tells the others to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Join the training of the run in this folder.
    Train {
        /// The run's folder, which all processes can read.
        folder: PathBuf,
    },
    /// Score a share of these images with the network that the run has trained.
    Score {
        /// The run's folder.
        folder: PathBuf,
        /// Rows of the manifest.
        rows: Vec<usize>,
        /// The output whose pooled features are wanted.
        features: Option<String>,
    },
    /// The run is complete.
    End,
}

impl Order {
    /// Gives the order to all other processes; on rank 0.
    ///
    /// # Errors
    /// The processes no longer reach each other.
    pub(crate) fn give(&self, processes: &dyn Collective) -> Result<()> {
        processes.gather(&serde_json::to_vec(self)?)?;
        Ok(())
    }

    /// Waits for the next order; on the other ranks.
    fn next(processes: &dyn Collective) -> Result<Order> {
        let words = processes.gather(&[])?;
        let order = words.first().map(Vec::as_slice).unwrap_or_default();
        serde_json::from_slice(order).context("process 0 runs another version of this program")
    }
}

/// Follows the orders of rank 0 until the run is complete.
///
/// # Errors
/// The error of a stage; [`terminal::Interrupted`].
pub(crate) fn follow(
    settings: &Settings,
    processes: &dyn Collective,
    interrupt: &Interrupt,
) -> Result<PathBuf> {
    let mut indexed = Indexed::default();
    if settings.data.phantom.is_none() {
        // While rank 0 does the same.
        indexed.read(settings, Progress::Silent)?;
    }
    let mut last = PathBuf::new();
    loop {
        let order = Order::next(processes)?;
        let folder = match &order {
            Order::End => return Ok(last),
            Order::Train { folder } | Order::Score { folder, .. } => folder.clone(),
        };
        let run = RunDir::open(&folder)
            .context("the run's folder cannot be read, which all processes of a job must share")?;
        let context = Context::new(settings, &run, Progress::Silent, interrupt, &mut indexed);
        let mut context = context.on(processes);
        match order {
            Order::Score { rows, features, .. } => {
                scored::join(&mut context, rows, features.as_deref())?;
            }
            _ => stages::train::join(&mut context)?,
        }
        last = folder;
    }
}

/// What must be equal on all processes before they train together.
#[derive(Serialize, Deserialize)]
struct Basis {
    version: String,
    settings: Vec<(String, String)>,
    data: String,
    weights: String,
}

/// Compares version, settings, images and initial weights with those of the other processes.
///
/// # Errors
/// What differs, and on which process.
pub(crate) fn compare(context: &Context<'_>, data: &Data, network: &Network) -> Result<()> {
    if context.processes.size() == 1 {
        return Ok(());
    }
    let store = network.store();
    let mut bytes = vec![];
    for group in Group::ALL {
        bytes.extend(store.group(group).iter().flat_map(|v| v.to_le_bytes()));
    }
    let own = Basis {
        version: crate::VERSION.into(),
        settings: context.settings.leaves.clone(),
        data: data.manifest.fingerprint(),
        weights: files::sha256::hex(&bytes),
    };
    let words = context.processes.gather(&serde_json::to_vec(&own)?)?;
    let mut all = Vec::with_capacity(words.len());
    for (rank, word) in words.iter().enumerate() {
        let basis: Basis = serde_json::from_slice(word)
            .with_context(|| format!("process {rank} runs another version of this program"))?;
        all.push(basis);
    }
    match all
        .iter()
        .enumerate()
        .find_map(|(rank, other)| Some((rank, differs(&all[0], other)?)))
    {
        Some((rank, what)) => bail!("process {rank} cannot train with process 0: {what}"),
        None => Ok(()),
    }
}

fn differs(first: &Basis, other: &Basis) -> Option<String> {
    if first.version != other.version {
        let (a, b) = (&first.version, &other.version);
        return Some(format!("it runs version {b}, process 0 version {a}"));
    }
    if let Some([key, first, other]) = difference(&first.settings, &other.settings) {
        return Some(format!(
            "its {key} is {other}, that of process 0 is {first}"
        ));
    }
    if first.data != other.data {
        return Some("it finds other images in its data folder".into());
    }
    (first.weights != other.weights).then(|| "its initial weights differ".into())
}
