//! Which images to paint: patients, their kinds, and names like Kaggle's.

use random::Rng;

use super::PhantomConfig;
use crate::Split;

/// One image to paint.
#[derive(Debug)]
pub(super) struct Job {
    /// Such as `train/NORMAL`.
    pub(super) folder: String,
    /// File name without extension.
    pub(super) name: String,
    /// Number of the patient, over all splits and kinds.
    pub(super) patient: u64,
    /// Number of the image among the patient's.
    pub(super) image: u64,
    pub(super) kind: Kind,
}

/// What the image shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    /// One dense focus.
    Bacterial,
    /// Several faint ones.
    Viral,
}

pub(super) fn jobs(config: &PhantomConfig) -> Vec<Job> {
    let mut planner = Planner {
        config,
        rng: Rng::keyed(config.seed, &[0]),
        patient: 0,
        jobs: vec![],
    };
    let splits = [config.train, config.val, config.test];
    for (split, images) in Split::ALL.into_iter().zip(splits) {
        planner.add_class(split, images.normal, false);
        planner.add_class(split, images.pneumonia, true);
    }
    planner.jobs
}

struct Planner<'c> {
    config: &'c PhantomConfig,
    rng: Rng,
    patient: u64,
    jobs: Vec<Job>,
}

impl Planner<'_> {
    fn add_class(&mut self, split: Split, images: usize, pneumonia: bool) {
        let mut left = images;
        while left > 0 {
            let of_patient = left.min(1 + self.rng.below(self.config.images_per_patient));
            self.add_patient(split, of_patient, pneumonia);
            left -= of_patient;
        }
    }

    fn add_patient(&mut self, split: Split, images: usize, pneumonia: bool) {
        self.patient += 1;
        let kind = match (pneumonia, self.rng.chance(0.6)) {
            (false, _) => Kind::Normal,
            (true, true) => Kind::Bacterial,
            (true, false) => Kind::Viral,
        };
        let class = if pneumonia { "PNEUMONIA" } else { "NORMAL" };
        let series = if self.rng.chance(0.5) { "NORMAL2-" } else { "" };
        for image in 1..=images as u64 {
            let (patient, serial) = (self.patient, self.jobs.len() + 1);
            let name = match kind {
                Kind::Normal => format!("{series}IM-{patient:04}-{image:04}"),
                Kind::Bacterial => format!("person{patient}_bacteria_{serial}"),
                Kind::Viral => format!("person{patient}_virus_{serial}"),
            };
            self.jobs.push(Job {
                folder: format!("{split}/{class}"),
                name,
                patient,
                image,
                kind,
            });
        }
    }
}
