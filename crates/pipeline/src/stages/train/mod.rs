//! Trains the network; continues where an interrupted run stopped.

mod feed;
mod section;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use augment::{Augmenter, Mixer, Raster};
use collective::Division;
use dataset::{Loader, LoaderConfig, Share, Split, Transform};
use formats::checkpoint::{
    Checkpoint, CheckpointDir, Inference, MapClasses, Meta, Origin, Preprocessing,
};
use model::network::Network;
use train::{EpochRecord, Job, Metric, Outcome, Stopped, TrainConfig, fit};

use crate::basis::compare;
use crate::context::{Context, Data};
use crate::initial::initial;
use crate::order::{Order, Work};
use crate::regions;
use feed::{Feed, MaskFeed};
use settings::Settings;
use terminal::Interrupted;
use watch::Watch;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let (mut network, loaded) = initial(context.settings, &data)?;
    Order::on(context.run, Work::Train).give(context.processes)?;
    compare(context, &data, &network)?;
    if let Some(report) = &loaded {
        context.progress.say(format!(
            "  encoder: {} pretrained tensors loaded",
            report.applied.len()
        ));
    }
    if let Some(warning) = few_images(&context.settings.train) {
        context.progress.say(format!("  {warning}"));
    }
    let outcome = train(context, &data, &mut network)?;
    context
        .run
        .write("history.csv", history(&outcome.history).as_bytes())?;
    if outcome.stopped == Stopped::Interrupted {
        return Err(Interrupted.into());
    }
    save_model(context, &data, &outcome)?;
    context.section(
        "train",
        &section::write(context, &network, &outcome, loaded.as_ref())?,
    )
}

/// Said where batch norm's statistics are those of few images.
fn few_images(config: &TrainConfig) -> Option<String> {
    /// The statistics of fewer images are noisy. The demo of chest radiographs does not learn in chunks of two.
    const FEW: usize = 8;
    let images = config.batch_size / config.chunks;
    (config.chunks > 1 && !config.sync_batch_norm && images < FEW).then(|| {
        let enough = FEW * config.chunks;
        format!(
            "warning: batch norm takes its statistics from chunks of {images} images; with so few a network may not \
             learn: train.batch_size = {enough} gives chunks of {FEW}, and train.sync_batch_norm = true statistics of \
             all chunks"
        )
    })
}

/// Trains with rank 0, on another rank: writes nothing.
pub(crate) fn join(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let (mut network, _) = initial(context.settings, &data)?;
    compare(context, &data, &network)?;
    let outcome = train(context, &data, &mut network)?;
    match outcome.stopped {
        Stopped::Interrupted => Err(Interrupted.into()),
        Stopped::Completed | Stopped::EarlyStopped => Ok(()),
    }
}

fn train(context: &Context<'_>, data: &Data, network: &mut Network) -> Result<Outcome> {
    let settings = context.settings;
    let counts = data.manifest.class_counts(&data.splits.train);
    let checkpoints = CheckpointDir::new(context.run.file("checkpoints"))?;
    let auc = |logits: &[f32], labels: &[usize]| area(logits, labels, data);
    let metrics = [Metric {
        name: "auc",
        rises: true,
        compute: &auc,
    }];
    let meta = meta(settings, data);
    let job = Job {
        config: &settings.train,
        seed: settings.seed,
        class_weights: settings.train.class_weights.resolve(&counts)?,
        metrics: &metrics,
        meta: &meta,
        checkpoints: &checkpoints,
        resume: true,
        processes: context.processes,
    };
    let processes = context.processes;
    let division = Division::new(settings.train.chunks, processes.rank(), processes.size());
    let [train, validation] = loaders(context, data, &division)?;
    let mut feed = Feed {
        manifest: &data.manifest,
        train,
        validation,
        repeats: settings.repeats,
        masks: mask_feed(settings, network)?,
        mixer: Mixer::new(&settings.augment)?,
        seed: settings.seed,
        division,
    };
    let mut watch = Watch::new(context, settings.train.epochs);
    Ok(fit(network, &job, &mut feed, &mut watch)?)
}

fn mask_feed(settings: &Settings, network: &Network) -> Result<Option<MaskFeed>> {
    let map = network.graph().output("map");
    let Some(map) = map.filter(|_| settings.train.wants_masks()) else {
        return Ok(None);
    };
    let image = &settings.image;
    let shapes = network.graph().shapes(image.height, image.width)?;
    let map = shapes[map.index()];
    Ok(Some(MaskFeed {
        map: (map.h, map.w),
        border: settings.border,
    }))
}

fn loaders(context: &Context<'_>, data: &Data, division: &Division) -> Result<[Loader; 2]> {
    let augmenter = Augmenter::new(&context.settings.augment)?;
    let train = Loader::new(
        &data.manifest,
        usable_rows(context.settings, data, Split::Train)?,
        LoaderConfig {
            share: Share::Chunks(division.clone()),
            ..context.loader_config(true)
        },
    )?;
    let train = if augmenter.is_identity() {
        train
    } else {
        train.with_transform(transform(augmenter))
    };
    Ok([
        train,
        Loader::new(
            &data.manifest,
            usable_rows(context.settings, data, Split::Val)?,
            LoaderConfig {
                share: context.turns(),
                ..context.loader_config(false)
            },
        )?,
    ])
}

/// The images of a split to train or validate on: a segmenter cannot use an image whose mask has no known pixel.
fn usable_rows(settings: &Settings, data: &Data, split: Split) -> Result<Vec<usize>> {
    let rows = data.splits.rows(split).iter().copied();
    if settings.train.task().classifies() {
        return Ok(rows.collect());
    }
    let known = |row: &usize| data.manifest.rows()[*row].mask_shares.is_some();
    let rows: Vec<usize> = rows.filter(known).collect();
    if rows.is_empty() {
        bail!(
            "no image of the split {split} has a usable mask, which train.task = \"segment\" needs; check data.masks"
        );
    }
    Ok(rows)
}

/// Augmentation of an image and its mask, drawn from (seed, epoch, row).
pub(super) fn transform(augmenter: Augmenter) -> Transform {
    Arc::new(move |sample, key| {
        let (h, w, c) = (sample.height, sample.width, sample.channels);
        let take =
            |values: &mut Vec<f32>, channels| Raster::new(h, w, channels, std::mem::take(values));
        let mut mask = sample.mask.as_mut().and_then(|mask| take(mask, 1).ok());
        // The loader's samples always match their shape; the loader rejects one that does not, by name.
        if let Ok(mut image) = take(&mut sample.image, c) {
            augmenter.apply(key.rng_seed(), &mut image, mask.as_mut());
            sample.image = image.into_data();
        }
        if let (Some(slot), Some(mask)) = (&mut sample.mask, mask) {
            *slot = mask.into_data();
        }
    })
}

fn meta(settings: &Settings, data: &Data) -> Meta {
    let image = &settings.image;
    let preprocessing = Preprocessing {
        height: image.height,
        width: image.width,
        channels: image.channels,
        mean: image.mean.clone(),
        std: image.std.clone(),
        fit: image.fit,
        window: image.crop,
        max_pixels: data.manifest.decoder().max_pixels,
        frame: data.manifest.decoder().frame,
        tones: data.manifest.decoder().tones,
    };
    Meta {
        positive: data.positive,
        map: map_classes(settings, data),
        inference: Inference {
            mirror: settings.evaluate.tta,
            tile_overlap: settings.evaluate.tile_overlap,
            certainty: settings.overlays.certainty,
        },
        origin: Origin {
            version: crate::VERSION.into(),
            pipeline: settings.name.clone(),
            title: settings.title.clone(),
            images: data.splits.train.len(),
            patients: patients(data),
            data: data.manifest.fingerprint(),
            phantoms: settings.data.phantom.is_some(),
        },
        ..Meta::new(data.manifest.classes().iter().cloned(), preprocessing)
    }
}

/// The number of patients in the training split, if patients are known.
fn patients(data: &Data) -> Option<usize> {
    let rows = data.manifest.rows();
    let train = data.splits.train.iter().filter_map(|row| rows.get(*row));
    let patients: BTreeSet<&str> = train.map(|row| row.patient.as_str()).collect();
    data.manifest.patients_are_known().then_some(patients.len())
}

/// The classes of a pixel, if the map is trained on masks.
fn map_classes(settings: &Settings, data: &Data) -> Option<MapClasses> {
    if !settings.train.wants_masks() {
        return None;
    }
    let classes = data.manifest.classes();
    let coding = data.manifest.mask_coding();
    let coding = coding.filter(|_| settings.spec(classes.len()).map_classes.is_some());
    let classes = coding.map_or(classes.to_vec(), |coding| coding.pixel_classes(classes));
    let value = |class: u8| coding.map_or(u16::from(class), |coding| coding.stored(class));
    Some(MapClasses {
        values: (0..).take(classes.len()).map(value).collect(),
        classes,
    })
}

/// The AUC of the positive class, or the one-vs-rest mean over the classes; NaN where a class is absent.
fn area(logits: &[f32], labels: &[usize], data: &Data) -> f64 {
    let classes = data.manifest.classes().len();
    let Ok(logits) = metrics::Logits::new(classes, logits) else {
        return f64::NAN;
    };
    let of = |class: usize| {
        let truth: Vec<bool> = labels.iter().map(|l| *l == class).collect();
        metrics::roc_auc(&truth, &logits.log_odds(class)).unwrap_or(f64::NAN)
    };
    match classes {
        2 => of(data.positive),
        n => (0..n).map(of).sum::<f64>() / n as f64,
    }
}

/// Saves the best epoch's checkpoint under the name that later stages and users expect.
fn save_model(context: &Context<'_>, data: &Data, outcome: &Outcome) -> Result<()> {
    let folder = CheckpointDir::new(context.run.file("checkpoints"))?;
    let keep_best = context.settings.train.restore_best && outcome.best_epoch.is_some();
    let kept = if keep_best {
        folder.best()
    } else {
        folder.last()
    };
    let mut checkpoint = Checkpoint::load(&kept)?;
    let Meta {
        origin, inference, ..
    } = meta(context.settings, data);
    (checkpoint.meta.origin, checkpoint.meta.inference) = (origin, inference);
    if context.settings.image.region.is_some() {
        checkpoint.region = Some(Box::new(regions::of_run(context.run)?));
    }
    checkpoint
        .save(&context.run.file(crate::MODEL))
        .context("saving the trained network")
}

fn history(epochs: &[EpochRecord]) -> String {
    let mut text = String::from(
        "epoch,lr,loss,accuracy,map_loss,val_loss,val_accuracy,val_auc,val_map_loss,val_dice,grad_norm,seconds,images_per_second,waited,met,summed\n",
    );
    for e in epochs {
        let figure = |name| e.value(name).map_or_else(String::new, |v| v.to_string());
        let figures = [
            "loss",
            "accuracy",
            "map_loss",
            "val_loss",
            "val_accuracy",
            "val_auc",
            "val_map_loss",
            "val_dice",
        ]
        .map(figure)
        .join(",");
        text += &format!(
            "{},{},{figures},{},{:.3},{:.3},{:.3},{:.3},{:.3}\n",
            e.epoch, e.lr, e.grad_norm, e.seconds, e.images_per_second, e.waited, e.met, e.summed
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use augment::{AugmentConfig, RandomResizedCrop, Rotation};
    use dataset::{Sample, SampleKey};
    use imaging::{Fit, Placement};

    use super::*;

    const SIDE: usize = 32;

    /// An image with each pixel's column as its grey value, and a mask with it as its class.
    fn columns() -> Sample {
        let column = |i: usize| (i % SIDE) as f32;
        let size = (SIDE, SIDE);
        Sample {
            image: (0..SIDE * SIDE).map(|i| column(i) / SIDE as f32).collect(),
            mask: Some((0..SIDE * SIDE).map(column).collect()),
            height: SIDE,
            width: SIDE,
            channels: 1,
            label: 0,
            row: 0,
            placement: Placement::new(Fit::Stretch, size, size),
        }
    }

    fn cropped(seed: u64, epoch: u64, index: u64) -> Sample {
        let config = AugmentConfig {
            random_resized_crop: Some(RandomResizedCrop::default()),
            rotation: Some(Rotation {
                degrees: 10.0,
                probability: 0.5,
            }),
            fill: augment::Fill::Nearest,
            ..AugmentConfig::default()
        };
        let mut sample = columns();
        let key = SampleKey { seed, epoch, index };
        transform(Augmenter::new(&config).unwrap())(&mut sample, key);
        sample
    }

    #[test]
    fn image_and_mask_get_the_same_crop() {
        for index in 0..50 {
            let sample = cropped(1, 1, index);
            for (value, class) in sample.image.iter().zip(sample.mask.unwrap()) {
                let column = value * SIDE as f32;
                assert!((column - class).abs() < 0.501 && class.fract() == 0.0);
            }
        }
    }

    #[test]
    fn a_crop_is_a_function_of_seed_epoch_and_image() {
        let crop = cropped(1, 2, 3);
        assert_eq!(cropped(1, 2, 3), crop);
        for other in [cropped(2, 2, 3), cropped(1, 3, 3), cropped(1, 2, 4)] {
            assert_ne!(other.image, crop.image);
        }
    }
}
