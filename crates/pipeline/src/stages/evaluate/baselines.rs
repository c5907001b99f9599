//! The baselines that a network must beat: the majority class, and linear models on small grey images and on the features of
//! the pretrained encoder.

use anyhow::Result;
use dataset::{Batch, Loader, LoaderConfig, Split};
use model::engine::{Images, Value};
use model::graph::Nhwc;
use model::network::Network;

use crate::baseline::{Labelled, Linear, PENALTIES};
use crate::context::{Context, Data};
use crate::initial::initial;
use crate::scored::{Scored, patient_ids};

/// The baselines' outputs on validation and test.
pub(super) struct Fitted {
    /// Class shares of the training split: the majority-class baseline's prediction for every image.
    pub(super) prior: Vec<f64>,
    /// Side of the linear model's images in pixels.
    pub(super) side: usize,
    /// The linear model on these images.
    pub(super) linear: LinearFit,
    /// The linear model on the features of the pretrained encoder, if there is one.
    pub(super) frozen: Option<LinearFit>,
}

/// A logistic regression.
pub(super) struct LinearFit {
    /// Its outputs on validation and test.
    pub(super) scored: [Scored; 2],
    /// Number of features per image.
    pub(super) features: usize,
    /// Its penalty: of [`PENALTIES`], the one with the lowest log loss on validation after calibration.
    pub(super) penalty: f64,
}

pub(super) fn fit(context: &Context<'_>, data: &Data) -> Result<Fitted> {
    let side = context.settings.evaluate.baseline_size;
    let counts = data.manifest.class_counts(&data.splits.train);
    let total: usize = counts.iter().sum();
    let prior = counts.iter().map(|n| *n as f64 / total.max(1) as f64);
    let of_pixels = |split| small(context, data, split, side);
    Ok(Fitted {
        prior: prior.collect(),
        side,
        linear: fit_linear(context, data, "linear baseline", of_pixels)?,
        frozen: match context.settings.pretrained {
            Some(_) => Some(fit_frozen(context, data)?),
            None => None,
        },
    })
}

/// The frozen encoder: what its pretrained weights alone tell of the classes.
fn fit_frozen(context: &Context<'_>, data: &Data) -> Result<LinearFit> {
    let (network, _) = initial(context.settings, data)?;
    let of_encoder = |split| pooled(context, data, split, &network);
    fit_linear(context, data, "frozen encoder", of_encoder)
}

/// Fits to the training split's features, with the penalty chosen on validation.
fn fit_linear(
    context: &Context<'_>,
    data: &Data,
    name: &str,
    features: impl Fn(Split) -> Result<(Scored, Vec<f32>)>,
) -> Result<LinearFit> {
    let classes = data.manifest.classes().len();
    let (train, x) = features(Split::Train)?;
    let (mut val, val_x) = features(Split::Val)?;
    let (mut test, test_x) = features(Split::Test)?;
    let job = context.progress.job(name, "fits", PENALTIES.len() as u64);
    let both = [(&x, &train.labels), (&val_x, &val.labels)];
    let both = both.map(|(x, labels)| Labelled { x, labels });
    let (linear, penalty) = Linear::chosen(both, classes, || {
        context.interrupt.check()?;
        job.advance(1);
        Ok(())
    })?;
    (val.logits, test.logits) = (linear.scores(&val_x), linear.scores(&test_x));
    Ok(LinearFit {
        scored: [val, test],
        features: x.len() / train.labels.len().max(1),
        penalty,
    })
}

/// Mean and standard deviation over the pixels, per channel, of the encoder's last two feature maps.
fn pooled(
    context: &Context<'_>,
    data: &Data,
    split: Split,
    network: &Network,
) -> Result<(Scored, Vec<f32>)> {
    let names: Vec<&str> = network.graph().features().into_iter().take(2).collect();
    let config = context.loader_config(false);
    read(
        context,
        data,
        split,
        (config, "encoder features"),
        |batch| {
            let shape = Nhwc {
                n: batch.len,
                h: batch.height,
                w: batch.width,
                c: batch.channels,
            };
            let data = &batch.images[..];
            let maps = network.infer(Images { data, shape }, &names)?;
            let of_image = |i: usize| maps.iter().flat_map(move |map| moments(map, i));
            Ok((0..batch.len).flat_map(of_image).collect())
        },
    )
}

/// Mean and standard deviation of each channel of an image.
fn moments(map: &Value, image: usize) -> Vec<f32> {
    let Nhwc { h, w, c, .. } = map.shape;
    let pixels = &map.data[image * h * w * c..][..h * w * c];
    let n = (h * w) as f64;
    let mean = |of: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
        let mut sums = vec![0.0; c];
        for pixel in pixels.chunks(c) {
            for (channel, value) in pixel.iter().enumerate() {
                sums[channel] += of(channel, f64::from(*value)) / n;
            }
        }
        sums
    };
    let means = mean(&|_, value| value);
    let variances = mean(&|channel, value| (value - means[channel]).powi(2));
    let deviations = variances.iter().map(|v| v.sqrt());
    means
        .iter()
        .copied()
        .chain(deviations)
        .map(|v| v as f32)
        .collect()
}

/// The images of a split as `side`×`side` grey values in [0, 1].
fn small(
    context: &Context<'_>,
    data: &Data,
    split: Split,
    side: usize,
) -> Result<(Scored, Vec<f32>)> {
    let config = LoaderConfig {
        height: side,
        width: side,
        channels: 1,
        batch_size: 64,
        mean: vec![0.0],
        std: vec![1.0],
        cache_bytes: 0,
        ..context.loader_config(false)
    };
    read(context, data, split, (config, "small images"), |batch| {
        Ok(batch.images.clone())
    })
}

/// The features that `of` computes of each batch of a split, one image after the other.
fn read(
    context: &Context<'_>,
    data: &Data,
    split: Split,
    (config, what): (LoaderConfig, &str),
    of: impl Fn(&Batch) -> Result<Vec<f32>>,
) -> Result<(Scored, Vec<f32>)> {
    let loader = Loader::new(&data.manifest, data.splits.rows(split).to_vec(), config)?;
    let job = context
        .progress
        .job(&format!("{what}, {split}"), "images", loader.len() as u64);
    let (mut scored, mut x) = (Scored::default(), vec![]);
    for batch in loader.epoch(0) {
        context.interrupt.check()?;
        let batch = batch?;
        x.extend(of(&batch)?);
        job.advance(batch.len as u64);
        scored.rows.extend(batch.rows);
        scored.labels.extend(batch.labels);
    }
    scored.patients = patient_ids(&data.manifest, &scored.rows);
    Ok((scored, x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_of_each_channel_of_one_image() {
        let map = Value {
            // Two images of 1×3 pixels with two channels.
            data: vec![9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0, 4.0, 2.0, 4.0, 6.0, 4.0],
            shape: Nhwc {
                n: 2,
                h: 1,
                w: 3,
                c: 2,
            },
        };
        assert_eq!(moments(&map, 0), [9.0, 9.0, 0.0, 0.0]);
        assert_eq!(moments(&map, 1), [3.0, 4.0, (14.0_f32 / 3.0).sqrt(), 0.0]);
    }
}
