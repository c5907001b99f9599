//! Predicts a shard of a job, and joins the shards once all are complete.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context as _, Result};
use pipeline::predict::{Pending, Predictor};
use rayon::prelude::*;
use terminal::Interrupt;

use crate::job::Job;
use crate::journal::{Journal, Outcome, Row};
use crate::merge;
use crate::record::Part;

/// A shard that has been predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Images of this shard.
    pub images: usize,
    /// Those that could not be predicted.
    pub failed: usize,
    /// Those that an earlier process had predicted.
    pub earlier: usize,
    /// The table of all images; `None` while other shards are incomplete.
    pub table: Option<PathBuf>,
}

/// A batch whose images have been read.
type Read<'p> = Vec<(usize, Result<Pending<'p>>)>;

/// Predicts what is missing of this process's shard. `each` is called with every new row and its line, in order.
///
/// At any time one batch is being predicted, one is waiting, and one is being read: the memory needed is that of three
/// batches of decoded images, besides the network's.
///
/// # Errors
/// The folder cannot be written to, or [`terminal::Interrupted`]. What was predicted is kept.
pub fn run(
    job: &Job,
    predictor: &Predictor,
    interrupt: &Interrupt,
    each: &mut dyn FnMut(&Row, &str),
) -> Result<Finished> {
    let batches = || job.record().division().batches(job.shard());
    let mut journal = Journal::open(&job.files().part(job.shard()), batches())?;
    let earlier = journal.rows;
    let missing: Vec<Range<usize>> = missing(batches(), earlier).collect();
    if !missing.is_empty() {
        forget_part(job)?;
    }
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        scope.spawn(move || read_ahead(job, predictor, missing, &sender));
        predict_all(job, predictor, &receiver, interrupt, &mut journal, each)
    })?;
    keep_part(job, &journal)?;
    Ok(Finished {
        images: journal.rows,
        failed: journal.failed,
        earlier,
        table: merge::if_complete(job.files(), job.record(), interrupt)?,
    })
}

/// The batches after the first `done` rows, which are whole batches.
fn missing(
    batches: impl Iterator<Item = Range<usize>>,
    done: usize,
) -> impl Iterator<Item = Range<usize>> {
    let mut rows = 0;
    batches.skip_while(move |batch| {
        rows += batch.len();
        rows <= done
    })
}

/// Removes what says that the shard is complete.
fn forget_part(job: &Job) -> Result<()> {
    let path = job.files().part_record(job.shard());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes that the shard is complete, and with which rows.
fn keep_part(job: &Job, journal: &Journal) -> Result<()> {
    let path = job.files().part(job.shard());
    let sha256 = files::sha256::of_file(&path);
    let part = Part {
        failed: journal.failed,
        sha256: sha256.with_context(|| format!("cannot read {}", path.display()))?,
        job: job.record().clone(),
    };
    part.write(job.files(), job.shard())
}

/// Reads and decodes the batches, one after the other, until nobody takes them any more.
fn read_ahead<'p>(
    job: &Job,
    predictor: &'p Predictor,
    batches: Vec<Range<usize>>,
    sender: &SyncSender<Read<'p>>,
) {
    for batch in batches {
        let read = |row: usize| {
            let image = job.images().get(row).context("there is no such image");
            let files = |image| job.files().results(image);
            let pending = image.and_then(|image| predictor.read(&image.path, &files(image)));
            (row, pending)
        };
        if sender
            .send(batch.into_par_iter().map(read).collect())
            .is_err()
        {
            break;
        }
    }
}

fn predict_all(
    job: &Job,
    predictor: &Predictor,
    batches: &Receiver<Read<'_>>,
    interrupt: &Interrupt,
    journal: &mut Journal,
    each: &mut dyn FnMut(&Row, &str),
) -> Result<()> {
    for batch in batches {
        interrupt.check()?;
        let rows = predicted(job, predictor, batch)?;
        let lines = journal.append(&rows)?;
        for (row, line) in rows.iter().zip(&lines) {
            each(row, line);
        }
    }
    Ok(())
}

/// The rows of a batch, in order.
///
/// # Errors
/// Results cannot be written. An image that cannot be predicted is a row.
fn predicted(job: &Job, predictor: &Predictor, batch: Read<'_>) -> Result<Vec<Row>> {
    let (mut numbers, mut pending, mut rows) = (vec![], vec![], vec![]);
    for (row, read) in batch {
        match read {
            Ok(image) => {
                numbers.push(row);
                pending.push(image);
            }
            Err(error) => rows.push(failed(job, row, &error)),
        }
    }
    let predictions = predictor.predict_batch(pending);
    for (row, prediction) in numbers.into_iter().zip(predictions) {
        rows.push(match prediction {
            Ok(prediction) => Row {
                row,
                outcome: Outcome::Predicted(Box::new(prediction.relative_to(job.folder()))),
            },
            // Images have been read by now: what the system refuses is to write their results.
            Err(error) if error.chain().any(|cause| cause.is::<std::io::Error>()) => {
                return Err(error);
            }
            Err(error) => failed(job, row, &error),
        });
    }
    rows.sort_by_key(|row| row.row);
    Ok(rows.into_iter().map(|row| writable(job, row)).collect())
}

fn failed(job: &Job, row: usize, error: &anyhow::Error) -> Row {
    let image = job.images().get(row);
    let image = image.map(|image| image.path.to_string_lossy().into_owned());
    Row {
        row,
        outcome: Outcome::Failed {
            image: image.unwrap_or_default(),
            error: format!("{error:#}"),
        },
    }
}

/// The row, unless its paths are not Unicode, which JSON requires.
fn writable(job: &Job, row: Row) -> Row {
    let image = job.images().get(row.row);
    let unicode = image.is_none_or(|image| image.path.to_str().is_some());
    match unicode || row.outcome.failed() {
        true => row,
        false => failed(
            job,
            row.row,
            &anyhow::anyhow!("its name is not Unicode, and cannot be written as JSON; rename it"),
        ),
    }
}
