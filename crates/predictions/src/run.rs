//! Predicts a shard of a job, and joins the shards once all are complete.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context as _, Result};
use pipeline::predict::{Pending, Predictor};
use rayon::prelude::*;
use terminal::Interrupt;

use crate::job::Job;
use crate::journal::{Joined, Journal, Outcome, Row};
use crate::table::{Columns, Tables};

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
    let batches = job.batches(job.shard());
    let mut journal = Journal::open(&job.part(job.shard()), &batches)?;
    let earlier = journal.rows;
    let missing = missing(batches, earlier);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        scope.spawn(move || read_ahead(job, predictor, missing, &sender));
        predict_all(job, predictor, &receiver, interrupt, &mut journal, each)
    })?;
    Ok(Finished {
        images: journal.rows,
        failed: journal.failed,
        earlier,
        table: join(job, predictor)?,
    })
}

/// The batches after the first `done` rows, which are whole batches.
fn missing(batches: Vec<Vec<usize>>, done: usize) -> Vec<Vec<usize>> {
    let mut rows = 0;
    let complete = |batch: &Vec<usize>| {
        rows += batch.len();
        rows <= done
    };
    batches.into_iter().skip_while(complete).collect()
}

/// Reads and decodes the batches, one after the other, until nobody takes them any more.
fn read_ahead<'p>(
    job: &Job,
    predictor: &'p Predictor,
    batches: Vec<Vec<usize>>,
    sender: &SyncSender<Read<'p>>,
) {
    for batch in batches {
        let read = |row: &usize| {
            let image = job.images().get(*row).context("there is no such image");
            let pending = image.and_then(|image| predictor.read(&image.path, &job.results(image)));
            (*row, pending)
        };
        if sender.send(batch.par_iter().map(read).collect()).is_err() {
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

/// Joins the shards' journals if all are complete.
fn join(job: &Job, predictor: &Predictor) -> Result<Option<PathBuf>> {
    let _lock = job.joining()?;
    for shard in job.shards() {
        let (path, batches) = (job.part(shard), job.batches(shard));
        let rows: usize = batches.iter().map(Vec::len).sum();
        let complete = shard == job.shard()
            || (path.exists() && crate::journal::rows(&path, &batches)? == rows);
        if !complete {
            return Ok(None);
        }
    }
    let parts: Vec<PathBuf> = job.shards().map(|shard| job.part(shard)).collect();
    let mut joined = Joined::open(&parts)?;
    let columns = Columns::of(predictor);
    let unwritable = || {
        let folder = job.folder().display();
        format!(
            "cannot write the tables in {folder} (is the disk full?); the same command goes on from there"
        )
    };
    let mut tables = Tables::create(job.folder(), &columns).with_context(unwritable)?;
    for (row, part) in job.owners().enumerate() {
        let (line, found) = joined.next(part, row)?;
        tables.push(&line, &found).with_context(unwritable)?;
    }
    tables.finish().with_context(unwritable)?;
    Ok(Some(job.folder().join("predictions.csv")))
}
