//! Progress of training: one bar per phase, one line per epoch, and Ctrl-C.

use report::format;
use train::{BatchEvent, EpochRecord, Observer, Phase};

use terminal::{Interrupt, Job, Progress};

use crate::context::Context;
use crate::tracking::Curves;

pub(super) struct Watch<'a> {
    progress: Progress,
    interrupt: &'a Interrupt,
    epochs: usize,
    job: Option<(Phase, Job)>,
    curves: Option<Curves>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(context: &Context<'a>, epochs: usize) -> Self {
        let first = context.processes.rank() == 0;
        Watch {
            progress: context.progress,
            interrupt: context.interrupt,
            epochs,
            job: None,
            curves: first.then(|| Curves::of(context)).flatten(),
        }
    }

    fn job(&mut self, event: &BatchEvent) -> &Job {
        let stale = self
            .job
            .as_ref()
            .is_none_or(|(phase, _)| *phase != event.phase || event.batch == 1);
        if stale {
            self.job = None;
        }
        let (progress, epochs) = (self.progress, self.epochs);
        let (_, job) = self.job.get_or_insert_with(|| {
            let what = format!("epoch {}/{epochs} {}", event.epoch, event.phase);
            (
                event.phase,
                progress.job(&what, "batches", event.batches as u64),
            )
        });
        job
    }
}

impl Observer for Watch<'_> {
    fn begun(&mut self, earlier: &[EpochRecord]) {
        self.curves
            .iter_mut()
            .for_each(|curves| curves.begin(earlier));
    }

    fn batch(&mut self, event: &BatchEvent) {
        let job = self.job(event);
        let accuracy = match event.accuracy {
            share if share.is_finite() => format!(" accuracy {}", format::percent(share, 1)),
            _ => String::new(),
        };
        let dice = event.dice.map_or_else(String::new, |dice| {
            format!(" Dice {}", format::fixed(dice, 4))
        });
        job.note(format!(
            "loss {}{accuracy}{dice}",
            format::fixed(event.loss, 4)
        ));
        job.at(event.batch as u64);
    }

    fn epoch(&mut self, e: &EpochRecord) {
        self.job = None;
        self.curves.iter_mut().for_each(|curves| curves.epoch(e));
        let figure = |name: &str, value: Option<f64>| {
            value.map_or_else(String::new, |v| format!(", {name} {}", format::fixed(v, 4)))
        };
        self.progress.say(format!(
            "  epoch {}/{}: loss {}{}{}{}{}{}{}, lr {:.2e}, {} images/s",
            e.epoch,
            self.epochs,
            format::fixed(e.train.loss, 4),
            figure("accuracy", e.value("accuracy")),
            figure("val_loss", e.value("val_loss")),
            figure("val_accuracy", e.value("val_accuracy")),
            figure("val_auc", e.value("val_auc")),
            figure("val_map_loss", e.value("val_map_loss")),
            figure("val_dice", e.value("val_dice")),
            e.lr,
            format::fixed(e.images_per_second, 1)
        ));
    }

    fn interrupted(&self) -> bool {
        self.interrupt.raised()
    }
}
