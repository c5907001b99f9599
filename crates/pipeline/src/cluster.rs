//! A run on several processes: rank 0 runs the stages as if it were alone, and calls the others where a stage has work to
//! share; they follow its orders, and write nothing.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use collective::Collective;
use settings::Settings;
use terminal::{Interrupt, Progress};

use crate::context::{Context, Indexed};
use crate::order::{Order, Work};
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
        let (folder, work) = match order {
            Order::End => return Ok(last),
            Order::Index => {
                indexed.read_together(settings, Progress::Silent, processes)?;
                continue;
            }
            Order::In { folder, work } => (folder, work),
        };
        let run = RunDir::open(&folder)
            .context("the run's folder cannot be read, which all processes of a job must share")?;
        let context = Context::new(settings, &run, Progress::Silent, interrupt, &mut indexed);
        let mut context = context.on(processes);
        match work {
            Work::Analyse { images } => stages::eda::take_part(&mut context, &images)?,
            Work::Train => stages::train::join(&mut context)?,
            Work::Score { rows, features } => {
                scored::join(&mut context, rows, features.as_deref())?;
            }
        }
        last = folder;
    }
}
