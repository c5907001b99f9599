//! Quantizes the trained network: determines the ranges of its feature maps on training images, compares inference in
//! int8 with inference in f32, and stores the ranges in the checkpoint if no more is lost than the settings allow.
//!
//! The decision is made on validation images; the test images show what to expect of it.

mod maps;
mod section;

use std::path::Path;

use anyhow::{Result, bail};
use dataset::{Loader, LoaderConfig, Split};
use formats::checkpoint::Checkpoint;
use inference::{Bundle, InferencePrecision};
use model::calibration::Calibration;
use model::engine::{Device, Images, Precision};
use model::graph::Nhwc;
use model::quantization::Ranges;
use settings::QuantizeSettings;

use super::Metrics;
use super::rules::Rules;
use crate::context::{Context, Data};
use crate::measured::{ClassLoss, MapLoss, Quantized};
use crate::pictures::spread;
use crate::scored::{Pass, Scored};

/// What this stage writes beside the checkpoint.
const QUANTIZATION: &str = "quantization.json";

/// Images of a batch while ranges are determined: the values of all nodes are kept at once.
const BATCH: usize = 2;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let path = context.run.file(crate::MODEL);
    let mut checkpoint = Checkpoint::load(&path)?;
    let float = prepared(&path, &checkpoint, Precision::F32)?;
    let rows = spread(&data.splits.train, context.settings.quantize.images);
    let images = rows.len();
    let ranges = calibrated(context, &data, rows, &float)?;
    let coded = ranges.len();
    checkpoint.meta.quantization = Some(ranges);
    let int8 = prepared(&path, &checkpoint, InferencePrecision::Int8)?;

    let both = Both {
        context,
        data: &data,
        networks: [&float, &int8],
    };
    let mut quantized = Quantized {
        images,
        coded,
        val: both.classes(Split::Val)?,
        test: both.classes(Split::Test)?,
        val_map: both.maps(Split::Val)?,
        test_map: both.maps(Split::Test)?,
        refused: vec![],
    };
    quantized.refused = refused(&context.settings.quantize, &quantized);
    for why in &quantized.refused {
        context.progress.say(format!("  int8 is refused: {why}"));
    }
    if !quantized.refused.is_empty() {
        checkpoint.meta.quantization = None;
    }
    checkpoint.save(&path)?;
    context.run.write_json(QUANTIZATION, &quantized)?;
    context.section("quantize", &section::write(&quantized)?)
}

/// The network alone on the CPU, where int8 runs; it sees the images that the run's own stages give it.
fn prepared(
    path: &Path,
    checkpoint: &Checkpoint,
    precision: impl Into<InferencePrecision>,
) -> Result<Bundle> {
    let (graph, store) = (checkpoint.graph.clone(), checkpoint.store.clone());
    let alone = Checkpoint::new(graph, store, checkpoint.meta.clone());
    Ok(Bundle::of(path, alone, Device::Cpu, precision)?)
}

fn calibrated(
    context: &Context<'_>,
    data: &Data,
    rows: Vec<usize>,
    network: &Bundle,
) -> Result<Ranges> {
    let config = LoaderConfig {
        batch_size: BATCH,
        ..context.loader_config(false)
    };
    let loader = Loader::new(&data.manifest, rows, config)?;
    let shape = network.input_shape();
    let network = network.network();
    let mut calibration = Calibration::new(network.graph(), shape.h, shape.w)?;
    let job = context
        .progress
        .job("ranges of the feature maps", "images", loader.len() as u64);
    for batch in loader.epoch(0) {
        context.interrupt.check()?;
        let batch = batch?;
        let shape = Nhwc {
            n: batch.len,
            h: batch.height,
            w: batch.width,
            c: batch.channels,
        };
        let data = &batch.images;
        calibration.observe(network, Images { data, shape })?;
        job.advance(batch.len as u64);
    }
    Ok(calibration.ranges(network.graph()))
}

/// The network in f32 and in int8.
struct Both<'a> {
    context: &'a Context<'a>,
    data: &'a Data,
    networks: [&'a Bundle; 2],
}

impl Both<'_> {
    /// The class scores of both on a split; `None` if there are none.
    fn classes(&self, split: Split) -> Result<Option<ClassLoss>> {
        if !self.networks[0].classifies() {
            return Ok(None);
        }
        if !self.context.run.file(super::METRICS).is_file() {
            bail!(
                "the stage \"quantize\" compares class scores with those of the stage \"evaluate\": put \"evaluate\" before it \
                 in pipeline.stages"
            );
        }
        let rules = Rules::of(&self.context.run.read_json::<Metrics>(super::METRICS)?)?;
        let scored = |network: &Bundle| {
            let pass = Pass {
                words: format!("{}, {split}", network.precision()),
                rows: self.data.splits.rows(split).to_vec(),
                transform: None,
                features: None,
            };
            Scored::of(self.context, self.data, network, pass)
        };
        let [float, int8] = self.networks;
        compared(&rules, &scored(float)?, &scored(int8)?).map(Some)
    }

    /// The maps of both on a split; `None` without masks.
    fn maps(&self, split: Split) -> Result<Option<MapLoss>> {
        match self.networks[0].segments() {
            true => maps::compared(self.context, self.data, self.networks, split),
            false => Ok(None),
        }
    }
}

fn compared(rules: &Rules, float: &Scored, int8: &Scored) -> Result<ClassLoss> {
    let found = [rules.evaluate(float)?, rules.evaluate(int8)?];
    let auc = found.each_ref().map(|f| f.auc.map(|auc| auc.estimate));
    let decisions = [rules.decide(float), rules.decide(int8)];
    let changed = decisions[0].iter().zip(&decisions[1]);
    let probabilities = [rules.probabilities(float), rules.probabilities(int8)];
    let change = probabilities[0].iter().zip(&probabilities[1]);
    Ok(ClassLoss {
        images: float.labels.len(),
        auc: auc[0].zip(auc[1]).map(|(float, int8)| [float, int8]),
        auc_loss: rules.compare(float, int8)?.auc,
        accuracy: found.each_ref().map(|f| f.accuracy.estimate),
        calibration_error: found
            .each_ref()
            .map(|f| f.expected_calibration_error.estimate),
        changed: changed.filter(|(float, int8)| float != int8).count(),
        largest_change: change.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
    })
}

/// Which of the settings' bounds is passed on validation, and by how much.
fn refused(allowed: &QuantizeSettings, found: &Quantized) -> Vec<String> {
    let val = found.val.as_ref();
    let auc = val
        .and_then(|val| val.auc)
        .map(|[float, int8]| float - int8);
    let error = val.map(|val| val.calibration_error[1] - val.calibration_error[0]);
    let dice = found.val_map.as_ref().map(|map| map.dice[0] - map.dice[1]);
    let bounds = [
        ("AUC", "max_auc_loss", auc, allowed.max_auc_loss),
        (
            "calibration error",
            "max_calibration_loss",
            error,
            allowed.max_calibration_loss,
        ),
        ("mean Dice", "max_dice_loss", dice, allowed.max_dice_loss),
    ];
    let passed = |(what, key, loss, allowed): (_, _, Option<f64>, f64)| {
        let loss = loss.filter(|loss| *loss > allowed)?;
        Some(format!(
            "on validation the {what} is worse by {loss:.4}, and quantize.{key} allows {allowed}"
        ))
    };
    bounds.into_iter().filter_map(passed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(auc: [f64; 2], calibration_error: [f64; 2], dice: [f64; 2]) -> Quantized {
        Quantized {
            images: 8,
            coded: 1,
            val: Some(ClassLoss {
                images: 8,
                auc: Some(auc),
                auc_loss: None,
                accuracy: [1.0; 2],
                calibration_error,
                changed: 0,
                largest_change: 0.0,
            }),
            test: None,
            val_map: Some(MapLoss {
                images: 8,
                dice,
                changed: 0.0,
            }),
            test_map: None,
            refused: vec![],
        }
    }

    #[test]
    fn int8_is_refused_where_a_bound_is_passed() {
        let allowed = QuantizeSettings {
            images: 8,
            max_auc_loss: 0.01,
            max_calibration_loss: 0.02,
            max_dice_loss: 0.03,
        };
        // A gain is no loss.
        let good = found([0.9, 0.95], [0.5, 0.515], [0.8, 0.78]);
        assert!(refused(&allowed, &good).is_empty());
        let worse = found([0.9, 0.88], [0.1, 0.2], [0.8, 0.7]);
        let why = refused(&allowed, &worse);
        assert_eq!(why.len(), 3);
        assert_eq!(
            why[0],
            "on validation the AUC is worse by 0.0200, and quantize.max_auc_loss allows 0.01"
        );
    }
}
