//! A network's outputs on some images of the data set.

use std::collections::HashMap;

use anyhow::Result;
use collective::Collective;
use dataset::{Loader, LoaderConfig, Manifest, Sample, SampleKey, Share, Transform};
use inference::{Bundle, Input, Wanted};
use model::graph::Hwc;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use terminal::Job;

use crate::context::{Context, Data};
use crate::order::{Order, Work};
use crate::scoring;

/// A classifier's outputs on some images.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scored {
    /// Rows of the manifest.
    pub(crate) rows: Vec<usize>,
    /// True classes.
    pub(crate) labels: Vec<usize>,
    /// Class scores before softmax, `[n, classes]`.
    pub(crate) logits: Vec<f64>,
    /// The pooled features that were wanted, `[n, channels]`.
    pub(crate) features: Vec<f32>,
    /// Patient id of each image: the bootstrap resamples whole patients.
    pub(crate) patients: Vec<usize>,
}

/// Images to be scored once, in batches.
pub(crate) struct Pass<'a> {
    /// What the progress bar says.
    pub(crate) words: String,
    /// Rows of the manifest.
    pub(crate) rows: Vec<usize>,
    /// A change of each image before normalization.
    pub(crate) transform: Option<Transform>,
    /// The output whose pooled features are wanted.
    pub(crate) features: Option<&'a str>,
}

impl Scored {
    /// Runs a network over images.
    ///
    /// # Errors
    /// A file that can no longer be read, or [`terminal::Interrupted`].
    pub(crate) fn of(
        context: &Context<'_>,
        data: &Data,
        trained: &Bundle,
        pass: Pass<'_>,
    ) -> Result<Self> {
        // What changes the images cannot be told to other processes.
        let shared = context.processes.size() > 1 && pass.transform.is_none();
        if shared {
            let work = Work::Score {
                rows: pass.rows.clone(),
                features: pass.features.map(str::to_owned),
            };
            Order::on(context.run, work).give(context.processes)?;
        }
        let share = match shared {
            true => context.turns(),
            false => Share::ALL,
        };
        let own = batches(context, data, trained, pass, share)?;
        let all = match shared {
            true => gathered(context.processes, own)?,
            false => own,
        };
        let mut scored = Scored::default();
        for batch in all {
            scored.rows.extend(batch.rows);
            scored.labels.extend(batch.labels);
            let floats = |bits: Vec<u32>| bits.into_iter().map(f32::from_bits).collect::<Vec<_>>();
            scored.add(&floats(batch.logits), floats(batch.features));
        }
        scored.patients = patient_ids(&data.manifest, &scored.rows);
        Ok(scored)
    }

    fn add(&mut self, logits: &[f32], features: Vec<f32>) {
        self.logits.extend(logits.iter().map(|z| f64::from(*z)));
        self.features.extend(features);
    }
}

/// What a network says about a batch, as processes tell it: floats by their bits.
#[derive(Serialize, Deserialize)]
struct Told {
    /// Of the batch, from 0.
    number: usize,
    rows: Vec<usize>,
    labels: Vec<usize>,
    logits: Vec<u32>,
    features: Vec<u32>,
}

/// Runs a network over this process's share of the images.
fn batches(
    context: &Context<'_>,
    data: &Data,
    trained: &Bundle,
    pass: Pass<'_>,
    share: Share,
) -> Result<Vec<Told>> {
    let config = LoaderConfig {
        share,
        ..context.loader_config(false)
    };
    let mut loader = Loader::new(&data.manifest, pass.rows, config)?;
    if let Some(transform) = pass.transform {
        loader = loader.with_transform(transform);
    }
    let job = context
        .progress
        .job(&pass.words, "images", loader.len() as u64);
    let wanted = Wanted {
        map_of: None,
        features: pass.features,
    };
    let by = (&job, context.interrupt);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let mut told = vec![];
    scoring::each(trained, &loader, wanted, by, |batch, scores| {
        told.push(Told {
            number: batch.number,
            rows: batch.rows.clone(),
            labels: batch.labels.clone(),
            logits: bits(scores.logits),
            features: bits(scores.features),
        });
        Ok(())
    })?;
    Ok(told)
}

/// The results of all processes, in the order of the batches.
fn gathered(processes: &dyn Collective, own: Vec<Told>) -> Result<Vec<Told>> {
    let words = processes.gather(&serde_json::to_vec(&own)?)?;
    let mut all = Vec::new();
    for word in words {
        all.extend(serde_json::from_slice::<Vec<Told>>(&word)?);
    }
    all.sort_by_key(|batch| batch.number);
    Ok(all)
}

/// Scores with rank 0, on another rank, its share of some images.
///
/// # Errors
/// As [`Scored::of`].
pub(crate) fn join(
    context: &mut Context<'_>,
    rows: Vec<usize>,
    features: Option<&str>,
) -> Result<()> {
    let data = context.data_cloned()?;
    let trained = scoring::trained(context)?;
    let pass = Pass {
        words: String::new(),
        rows,
        transform: None,
        features,
    };
    let own = batches(context, &data, &trained, pass, context.turns())?;
    gathered(context.processes, own).map(|_| ())
}

/// Images in memory, resized but not normalized, to be scored again and again, each time changed in another way.
pub(crate) struct Held {
    samples: Vec<Sample>,
    patients: Vec<usize>,
    seed: u64,
}

impl Held {
    /// Reads the images of some rows.
    ///
    /// # Errors
    /// A file that can no longer be read, or [`terminal::Interrupted`].
    pub(crate) fn read(context: &Context<'_>, data: &Data, rows: &[usize]) -> Result<Self> {
        let mut config = context.loader_config(false);
        config.cache_bytes = 0;
        let loader = Loader::new(&data.manifest, rows.to_vec(), config)?;
        let read = |row: &usize| -> Result<Sample> {
            context.interrupt.check()?;
            Ok(loader.sample(*row, None)?)
        };
        let samples = rows.par_iter().map(read).collect::<Result<_>>()?;
        Ok(Held {
            samples,
            patients: patient_ids(&data.manifest, rows),
            seed: context.settings.seed,
        })
    }

    /// Images that are no rows of the data set, of class 0 and one patient each.
    pub(crate) fn foreign(samples: Vec<Sample>, seed: u64) -> Self {
        Held {
            patients: (0..samples.len()).collect(),
            samples,
            seed,
        }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// The images, as they were read.
    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Runs a network over the images, each changed by `change`.
    ///
    /// # Errors
    /// The network rejects an image, or [`terminal::Interrupted`].
    pub(crate) fn scored(
        &self,
        context: &Context<'_>,
        (trained, features): (&Bundle, Option<&str>),
        change: &(dyn Fn(&mut Sample, SampleKey) + Send + Sync),
        job: &Job,
    ) -> Result<Scored> {
        let wanted = Wanted {
            map_of: None,
            features,
        };
        let mirror = trained.meta().inference.mirror;
        let mut scored = Scored {
            rows: self.samples.iter().map(|sample| sample.row).collect(),
            labels: self.samples.iter().map(|sample| sample.label).collect(),
            patients: self.patients.clone(),
            ..Scored::default()
        };
        for batch in self.samples.chunks(context.settings.train.batch_size) {
            context.interrupt.check()?;
            let changed = batch.par_iter().flat_map_iter(|sample| {
                let mut sample = sample.clone();
                let key = self.key(sample.row);
                change(&mut sample, key);
                trained.normalized(&sample.image)
            });
            let data: Vec<f32> = changed.collect();
            let input = Input {
                data: &data,
                n: batch.len(),
                shape: shape(batch),
            };
            let scores = trained.scores(input, wanted, mirror)?;
            scored.add(&scores.logits, scores.features);
            job.advance(batch.len() as u64);
        }
        Ok(scored)
    }

    /// What the randomness of a change depends on.
    fn key(&self, row: usize) -> SampleKey {
        SampleKey {
            seed: self.seed,
            epoch: 0,
            index: row as u64,
        }
    }
}

fn shape(batch: &[Sample]) -> Hwc {
    batch.first().map_or(Hwc { h: 0, w: 0, c: 0 }, |first| Hwc {
        h: first.height,
        w: first.width,
        c: first.channels,
    })
}

/// Numbers the patients of some rows in the order of their first image; one number per row.
pub fn patient_ids(manifest: &Manifest, rows: &[usize]) -> Vec<usize> {
    let mut known = HashMap::new();
    let mut id = |row: &usize| {
        let next = known.len();
        *known
            .entry(manifest.rows()[*row].patient.as_str())
            .or_insert(next)
    };
    rows.iter().map(&mut id).collect()
}
