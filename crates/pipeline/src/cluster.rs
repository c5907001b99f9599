//! A run on several processes: rank 0 runs the stages as if it were alone, and calls the others where a stage has work to
//! share; they follow its orders, and write nothing.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use collective::Collective;
use settings::Settings;
use terminal::{Interrupt, Progress};

use crate::context::{Context, Indexed};
use crate::order::Order;
use crate::run_dir::RunDir;
use crate::scored;
use crate::stages;

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
    let mut last = PathBuf::new();
    loop {
        let order = Order::next(processes)?;
        let folder = match &order {
            Order::End => return Ok(last),
            Order::Index => {
                indexed.read_together(settings, Progress::Silent, processes)?;
                continue;
            }
            Order::Train { folder }
            | Order::Analyse { folder, .. }
            | Order::Score { folder, .. } => folder.clone(),
        };
        let run = RunDir::open(&folder)
            .context("the run's folder cannot be read, which all processes of a job must share")?;
        let context = Context::new(settings, &run, Progress::Silent, interrupt, &mut indexed);
        let mut context = context.on(processes);
        match order {
            Order::Score { rows, features, .. } => {
                scored::join(&mut context, rows, features.as_deref())?;
            }
            Order::Analyse { images, .. } => stages::eda::take_part(&mut context, &images)?,
            Order::Train { .. } | Order::Index | Order::End => stages::train::join(&mut context)?,
        }
        last = folder;
    }
}
