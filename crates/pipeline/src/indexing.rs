//! Indexes a data folder, and reports what it contains besides usable images.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use collective::Collective;
use dataset::{BadImage, IndexConfig, Manifest, Reused};
use terminal::Progress;

use crate::words::count;

/// Indexes the images with a progress bar, and shows by what patients are told apart and a warning for each file that
/// cannot be used.
///
/// # Errors
/// As [`dataset::index`].
pub fn index(config: &IndexConfig, progress: Progress) -> Result<Manifest> {
    let manifest = with_bar(progress, |shown| {
        dataset::index_with_progress(config, shown)
    })?;
    say(&manifest, manifest.reused(), progress);
    Ok(manifest)
}

/// The same by several processes, of which each opens a part of the images for the index cache, which they share. All make
/// this call at the same time.
///
/// # Errors
/// As [`index`]; processes that cannot reach each other.
pub(crate) fn index_together(
    config: &IndexConfig,
    progress: Progress,
    processes: &dyn Collective,
) -> Result<Manifest> {
    let part = (processes.rank(), processes.size());
    let known = with_bar(progress, |shown| dataset::index_part(config, part, shown));
    // What is wrong is found again by the index of all images.
    let known = known.unwrap_or_default() as u64;
    let known = processes.gather(&known.to_le_bytes())?;
    let numbers = known
        .iter()
        .filter_map(|bytes| bytes.as_slice().try_into().ok());
    let known: u64 = numbers.map(u64::from_le_bytes).sum();
    let manifest = dataset::index(config)?;
    let reused = Reused {
        images: known as usize,
        ..manifest.reused().clone()
    };
    say(&manifest, &reused, progress);
    Ok(manifest)
}

fn with_bar<T>(progress: Progress, work: impl FnOnce(dataset::Progress<'_>) -> T) -> T {
    let job = OnceLock::new();
    let last = AtomicUsize::new(0);
    work(&|done, total| {
        let job = job.get_or_init(|| progress.job("indexing", "images", total as u64));
        // Threads report out of order; progress only moves forwards.
        job.at(last.fetch_max(done, Ordering::Relaxed).max(done) as u64);
    })
}

fn say(manifest: &Manifest, reused: &Reused, progress: Progress) {
    say_reused(reused, progress);
    progress.say(format!("  {}", manifest.patients_in_words()));
    warn(manifest, progress);
}

fn say_reused(reused: &Reused, progress: Progress) {
    if reused.images > 0 {
        let images = count(reused.images, "image");
        progress.say(format!("  {images} unchanged since the last index"));
    }
    if let Some(notice) = &reused.notice {
        progress.say(format!("  {notice}"));
    }
}

fn warn(manifest: &Manifest, progress: Progress) {
    let left_out = |bad: &BadImage| format!("left out {}: {}", bad.path, bad.reason);
    let bad = manifest.bad_images().iter().map(left_out);
    warn_of(bad.collect(), "files left out", progress);
    let bad_masks = manifest.mask_faults().iter().filter(|fault| !fault.missing);
    let bad_masks = bad_masks.map(|f| format!("mask {}: {}", f.file.display(), f.reason));
    warn_of(bad_masks.collect(), "bad masks", progress);
    let notes = manifest.notes();
    notes
        .iter()
        .for_each(|note| progress.say(format!("  {note}")));
}

/// Shows the first of the warnings; the report lists all of them.
fn warn_of(warnings: Vec<String>, what: &str, progress: Progress) {
    const SHOWN: usize = 10;
    for warning in warnings.iter().take(SHOWN) {
        progress.say(format!("  warning: {warning}"));
    }
    if let more @ 1.. = warnings.len().saturating_sub(SHOWN) {
        progress.say(format!("  warning: {more} more {what}, see the report"));
    }
}
