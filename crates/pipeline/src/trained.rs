//! A trained network with all that goes between an image and an answer.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use dataset::{Decoder, Fit, Loader};
use metrics::{DecisionRule, Scaling};
use model::checkpoint::{Checkpoint, Meta, Preprocessing};
use model::engine::{Device, Images, Precision, Value};
use model::graph::{Graph, Hwc, Op};
use model::network::Network;

use crate::config::Settings;
use crate::interrupt::Interrupt;
use crate::progress::Job;

/// A network, its classes, how an image enters and how an answer is read.
pub(crate) struct Trained {
    network: Network,
    /// What the file says besides the weights.
    pub(crate) meta: Meta,
    reading: MapReading,
    scaling: Scaling,
    rule: DecisionRule,
}

/// Keys of this crate in a checkpoint's `extra`.
pub(crate) mod extra {
    /// Name of the class that the threshold belongs to.
    pub(crate) const POSITIVE: &str = "positive";
    /// `masks` where masks taught the class map.
    pub(crate) const MAP: &str = "map";
    /// `phantoms` where it has seen no real image; `images` otherwise.
    pub(crate) const TAUGHT_ON: &str = "taught_on";
    /// Version of the program that trained it.
    pub(crate) const VERSION: &str = "version";
    /// `pad` where images keep their shape; absent in files from before there was a choice.
    pub(crate) const FIT: &str = "fit";
    /// Rows and columns of the windows that it was trained on, where it was not whole images.
    pub(crate) const CROP: &str = "crop";
    /// Names of what a pixel can be, where masks taught the map: a JSON list. Absent where those are the images' classes.
    pub(crate) const MAP_CLASSES: &str = "map_classes";
    /// The value that each of them has in mask files: a JSON list.
    pub(crate) const MAP_VALUES: &str = "map_values";
    /// Pixels of the largest image that is read; absent in files from before there was a limit.
    pub(crate) const MAX_PIXELS: &str = "max_pixels";
}

/// Raw answers to a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answers {
    /// Class scores, `[n, classes]`; empty for a segmenter.
    pub(crate) logits: Vec<f32>,
    /// Class map, `[n, h, w]`: a pixel's probability of the class asked for.
    pub(crate) maps: Vec<f32>,
}

/// How a pixel's class scores become its probability.
#[derive(Clone, Debug, PartialEq)]
enum MapReading {
    /// The article's head is linear in the map's mean, so the same matrix on a pixel gives scores whose mean over the
    /// image is the image's own (a class activation map, Zhou 2016). Read so, a pixel's softmax speaks of the class
    /// that the answer speaks of; the bare map need not, for the matrix may swap or mix its channels.
    Head { weight: Vec<f32>, bias: Vec<f32> },
    /// A map that masks have taught: its losses are on the softmax of its channels, or on one channel's log odds
    /// against the others, which is the same.
    Softmax,
    /// There is no map.
    None,
}

/// Images in, channels last, normalized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    /// `n·h·w·c` values.
    pub(crate) data: &'a [f32],
    /// Images.
    pub(crate) n: usize,
    /// Shape of one.
    pub(crate) shape: Hwc,
}

impl Trained {
    /// Reads a checkpoint file, to run where and in which precision a pipeline says.
    ///
    /// # Errors
    /// The file is absent, damaged, or of another kind; the device is not there.
    pub(crate) fn load(path: &Path, settings: &Settings) -> Result<Self> {
        Self::load_on(path, settings.device.device, settings.precision)
    }

    /// As [`Trained::load`], with a device and a precision.
    pub(crate) fn load_on(path: &Path, device: Device, precision: Precision) -> Result<Self> {
        let (network, meta) = Checkpoint::load(path)?.into_network();
        let network = network.on(device, precision)?;
        let (scaling, rule) =
            decision(&meta).with_context(|| format!("the decision rule in {}", path.display()))?;
        let supervised = meta
            .extra
            .get(extra::MAP)
            .is_some_and(|taught_by| taught_by == "masks");
        let reading = MapReading::of(network.graph(), &network, &meta.preprocessing, supervised);
        Ok(Trained {
            network,
            meta,
            reading,
            scaling,
            rule,
        })
    }

    /// Whether there is a class map to show.
    pub(crate) fn has_map(&self) -> bool {
        self.reading != MapReading::None
    }

    /// Whether masks have taught the map.
    pub(crate) fn segments(&self) -> bool {
        let taught_by = self.meta.extra.get(extra::MAP);
        taught_by.is_some_and(|taught_by| taught_by == "masks")
    }

    /// Whether it answers with a class.
    pub(crate) fn classifies(&self) -> bool {
        self.network.graph().output("logits").is_some()
    }

    /// Names of what a pixel can be.
    pub(crate) fn map_classes(&self) -> Vec<String> {
        self.list(extra::MAP_CLASSES)
            .unwrap_or_else(|| self.meta.classes.clone())
    }

    /// The values that these have in mask files; their numbers where the file does not say.
    pub(crate) fn map_values(&self) -> Vec<u16> {
        let numbers = || (0..).take(self.map_classes().len()).collect();
        self.list(extra::MAP_VALUES).unwrap_or_else(numbers)
    }

    fn list<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<Vec<T>> {
        serde_json::from_str(self.meta.extra.get(key)?).ok()
    }

    /// The class of the map that overlays show: the positive class where the map has it, else its last.
    pub(crate) fn shown(&self, positive: usize) -> usize {
        let classes = self.map_classes();
        let name = self.meta.classes.get(positive);
        let own = classes.iter().position(|class| Some(class) == name);
        own.unwrap_or(classes.len().saturating_sub(1))
    }

    /// Rows, columns and channels of the map.
    ///
    /// # Errors
    /// There is no map.
    pub(crate) fn map_shape(&self) -> Result<Hwc> {
        let (graph, image) = (self.network.graph(), &self.meta.preprocessing);
        let map = graph
            .output("map")
            .context("this network has no class map")?;
        Ok(graph.shapes(image.height, image.width)?[map.index()])
    }

    /// Each pixel's probabilities of the map's classes, `[n, h, w, classes]` of [`Trained::map_shape`]; with `mirror`
    /// the mean over the image and its mirror image.
    ///
    /// # Errors
    /// As [`Network::infer`].
    pub(crate) fn maps(&self, input: Input<'_>, mirror: bool) -> Result<Vec<f32>> {
        let mut maps = self.plain_maps(input)?;
        if mirror {
            let flipped = mirrored(input.data, input.shape);
            let other = self.plain_maps(Input {
                data: &flipped,
                ..input
            })?;
            average(&mut maps, &mirrored(&other, self.map_shape()?));
        }
        Ok(maps)
    }

    fn plain_maps(&self, input: Input<'_>) -> Result<Vec<f32>> {
        let images = Images {
            data: input.data,
            shape: input.shape.batch(input.n),
        };
        let map = self
            .infer(images, &["map"])?
            .next()
            .context("the network gave no map")?;
        Ok(map.data.chunks(map.shape.c).flat_map(softmax).collect())
    }

    /// Scores and, with `map_of`, each pixel's probability of that class. With `mirror` both are the mean over the
    /// image and its mirror image.
    ///
    /// # Errors
    /// As [`Network::infer`].
    pub(crate) fn answer(
        &self,
        input: Input<'_>,
        map_of: Option<usize>,
        mirror: bool,
    ) -> Result<Answers> {
        let mut answers = self.plain(input, map_of)?;
        if mirror {
            let flipped = mirrored(input.data, input.shape);
            let mut other = self.plain(
                Input {
                    data: &flipped,
                    ..input
                },
                map_of,
            )?;
            other.maps = mirrored(
                &other.maps,
                Hwc {
                    c: 1,
                    ..input.shape
                },
            );
            average(&mut answers.logits, &other.logits);
            average(&mut answers.maps, &other.maps);
        }
        Ok(answers)
    }

    fn plain(&self, input: Input<'_>, map_of: Option<usize>) -> Result<Answers> {
        let images = Images {
            data: input.data,
            shape: input.shape.batch(input.n),
        };
        let names: &[&str] = if map_of.is_some() {
            &["logits", "map"]
        } else {
            &["logits"]
        };
        let mut values = self.infer(images, names)?;
        let logits = values.next().map(|v| v.data).unwrap_or_default();
        let maps = match (values.next(), map_of) {
            (Some(map), Some(class)) => self.reading.probabilities(&map.data, map.shape.c, class),
            _ => vec![],
        };
        finite(&maps)?;
        Ok(Answers { logits, maps })
    }

    /// What the network makes of images. The one place where it is asked: NaN is never an answer.
    fn infer(
        &self,
        images: Images<'_>,
        outputs: &[&str],
    ) -> Result<impl Iterator<Item = Value> + use<>> {
        let values = self.network.infer(images, outputs)?;
        values.iter().try_for_each(|value| finite(&value.data))?;
        Ok(values.into_iter())
    }

    /// The answers to all images of a loader, batch by batch in order: `each` gets the batch and its answers.
    ///
    /// # Errors
    /// A file that can no longer be read, [`crate::Interrupted`], or what `each` returns.
    pub(crate) fn each(
        &self,
        loader: &Loader,
        map_of: Option<usize>,
        mirror: bool,
        (job, interrupt): (&Job, &Interrupt),
        mut each: impl FnMut(&dataset::Batch, Answers) -> Result<()>,
    ) -> Result<()> {
        for batch in loader.epoch(0) {
            interrupt.check()?;
            let batch = batch?;
            let shape = Hwc {
                h: batch.height,
                w: batch.width,
                c: batch.channels,
            };
            let answers = self.answer(
                Input {
                    data: &batch.images,
                    n: batch.len,
                    shape,
                },
                map_of,
                mirror,
            )?;
            each(&batch, answers)?;
            job.advance(batch.len as u64);
        }
        Ok(())
    }

    /// Label of the class that the threshold belongs to; the last one where the file does not say.
    pub(crate) fn positive(&self) -> usize {
        positive(&self.meta)
    }

    /// Whether it has seen nothing but phantoms.
    pub(crate) fn taught_on_phantoms(&self) -> bool {
        let taught_on = self.meta.extra.get(extra::TAUGHT_ON);
        taught_on.is_some_and(|taught_on| taught_on == "phantoms")
    }

    /// How image files are read: within the limit of the run that trained it.
    pub(crate) fn decoder(&self) -> Decoder {
        let max_pixels = self.meta.extra.get(extra::MAX_PIXELS);
        let max_pixels = max_pixels.and_then(|text| text.parse().ok());
        max_pixels.map_or_else(Decoder::default, |max_pixels| Decoder { max_pixels })
    }

    /// How an image of another shape fills the network's input.
    pub(crate) fn fit(&self) -> Fit {
        match self.meta.extra.get(extra::FIT).map(String::as_str) {
            Some("pad") => Fit::Pad,
            _ => Fit::Stretch,
        }
    }

    /// How scores become probabilities.
    pub(crate) fn scaling(&self) -> &Scaling {
        &self.scaling
    }

    /// How scores become a class.
    pub(crate) fn rule(&self) -> DecisionRule {
        self.rule
    }

    /// Class probabilities of one image's scores.
    pub(crate) fn probabilities(&self, logits: &[f32]) -> Vec<f64> {
        self.scaling.probabilities(logits)
    }

    /// The class of one image's scores.
    pub(crate) fn decide(&self, logits: &[f32]) -> usize {
        let logits: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
        self.rule.decide(&logits)
    }
}

fn finite(scores: &[f32]) -> Result<()> {
    if !scores.iter().all(|score| score.is_finite()) {
        bail!(
            "the network's scores are no numbers: its weights are too large, or its input is far from what it was trained on; \
             use another checkpoint of the run, or train again with a smaller learning rate"
        );
    }
    Ok(())
}

fn positive(meta: &Meta) -> usize {
    let name = meta.extra.get(extra::POSITIVE);
    let found = name.and_then(|name| meta.classes.iter().position(|c| c == name));
    found.unwrap_or(meta.classes.len().saturating_sub(1))
}

/// Plain softmax and the largest score, where no evaluation has chosen anything.
fn decision(meta: &Meta) -> Result<(Scaling, DecisionRule)> {
    let classes = meta.classes.len();
    let Some(decision) = &meta.decision else {
        return Ok((Scaling::identity(classes), DecisionRule::Largest));
    };
    if decision.bias.len() != classes {
        let biases = decision.bias.len();
        bail!("it has {biases} biases for {classes} classes");
    }
    let rule = match decision.threshold {
        Some(log_odds) if log_odds.is_finite() && classes == 2 => DecisionRule::Threshold {
            positive: positive(meta),
            log_odds,
        },
        Some(threshold) => bail!("a threshold of {threshold} on the scores of {classes} classes"),
        None => DecisionRule::Largest,
    };
    let scaling = Scaling::new(decision.temperature, decision.bias.clone())?;
    Ok((scaling, rule))
}

impl MapReading {
    fn of(graph: &Graph, network: &Network, image: &Preprocessing, supervised: bool) -> Self {
        let Some(map) = graph.output("map") else {
            return MapReading::None;
        };
        // A network without padding has a smaller map, which lies on nothing that could be drawn.
        let shapes = graph.shapes(image.height, image.width);
        let as_large = |shape: &Hwc| (shape.h, shape.w) == (image.height, image.width);
        if !shapes.is_ok_and(|shapes| as_large(&shapes[map.index()])) {
            return MapReading::None;
        }
        if supervised {
            return MapReading::Softmax;
        }
        let store = network.store();
        let linear = graph.nodes.iter().find(|node| {
            let pooled = node.inputs.first().map(|id| graph.node(*id));
            matches!(node.op, Op::Linear { .. })
                && pooled.is_some_and(|p| p.op == Op::GlobalAvgPool && p.inputs == [map])
        });
        match linear.map(|node| node.params.as_slice()) {
            Some([weight, bias]) => MapReading::Head {
                weight: store.get(*weight).to_vec(),
                bias: store.get(*bias).to_vec(),
            },
            // Nothing has ever taught this map anything.
            _ => MapReading::None,
        }
    }

    /// `map` is `[…, channels]`; gives `[…]`.
    fn probabilities(&self, map: &[f32], channels: usize, class: usize) -> Vec<f32> {
        let pixels = map.chunks(channels.max(1));
        match self {
            MapReading::Head { weight, bias } => pixels
                .map(|pixel| head_probability(pixel, weight, bias, class))
                .collect(),
            MapReading::Softmax => pixels
                .map(|pixel| softmax(pixel).get(class).copied().unwrap_or(0.0))
                .collect(),
            MapReading::None => vec![],
        }
    }
}

fn head_probability(pixel: &[f32], weight: &[f32], bias: &[f32], class: usize) -> f32 {
    let score = |j: usize| {
        bias[j]
            + pixel
                .iter()
                .enumerate()
                .map(|(i, x)| x * weight[i * bias.len() + j])
                .sum::<f32>()
    };
    let own = score(class);
    // 1 / Σ exp(score − own): the softmax without overflow where it matters.
    1.0 / (0..bias.len()).map(|j| (score(j) - own).exp()).sum::<f32>()
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let top = scores.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let exps: Vec<f32> = scores.iter().map(|x| (x - top).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.into_iter().map(|e| e / sum).collect()
}

fn mirrored(data: &[f32], shape: Hwc) -> Vec<f32> {
    let rows = data.chunks(shape.w * shape.c);
    rows.flat_map(|row| row.chunks(shape.c).rev().flatten().copied())
        .collect()
}

fn average(a: &mut [f32], b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a = 0.5 * (*a + *b));
}

/// The checkpoint that a path means: a file, or a run's folder.
///
/// # Errors
/// There is nothing there.
pub(crate) fn find(path: &Path) -> Result<PathBuf> {
    if path.is_file() && path.extension().is_some_and(|e| e == "safetensors") {
        return Ok(path.into());
    }
    let run = crate::run_dir::RunDir::open(path).with_context(|| {
        format!(
            "{} is neither a run's folder nor a checkpoint",
            path.display()
        )
    })?;
    let file = run.file(crate::MODEL);
    if !file.is_file() {
        bail!(
            "{} holds no {}: has the run finished its training?",
            run.path().display(),
            crate::MODEL
        );
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use kernels::Padding;
    use model::graph::{GraphBuilder, Init};
    use model::store::ParamStore;

    use super::*;

    #[test]
    fn the_mean_of_the_pixels_scores_is_the_images_score() {
        // Two pixels of two channels under a head that swaps the channels.
        let reading = MapReading::Head {
            weight: vec![0.0, 2.0, 1.0, 0.0],
            bias: vec![0.5, -0.5],
        };
        let map = [3.0, -1.0, 1.0, 2.0];
        let p = reading.probabilities(&map, 2, 1);
        let score = |m: &[f32]| (2.0 * m[0] - 0.5) - (m[1] + 0.5);
        let expected = [score(&map[..2]), score(&map[2..])].map(|x| 1.0 / (1.0 + (-x).exp()));
        assert!(
            p.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{p:?} {expected:?}"
        );
    }

    #[test]
    fn extreme_scores_stay_probabilities() {
        let reading = MapReading::Head {
            weight: vec![1.0, 0.0, 0.0, 1.0],
            bias: vec![0.0, 0.0],
        };
        assert_eq!(
            reading.probabilities(&[500.0, -500.0, -500.0, 500.0], 2, 1),
            [0.0, 1.0]
        );
    }

    #[test]
    fn a_taught_map_is_read_as_its_losses_read_it() {
        let p = MapReading::Softmax.probabilities(&[2.0, 0.0, 0.0, 3f32.ln()], 2, 1);
        assert!((p[1] - 0.75).abs() < 1e-6 && (p[0] - 1.0 / (1.0 + 2f32.exp())).abs() < 1e-6);
        assert_eq!(softmax(&[500.0, -500.0]), [1.0, 0.0]);
    }

    /// Weights that are numbers, and yet so large that scores are none.
    #[test]
    fn nan_is_no_answer() {
        let mut g = GraphBuilder::new(1);
        let map = g.conv(
            "map",
            g.input(),
            2,
            1,
            1,
            Padding::Same,
            false,
            Init::Constant(3e38),
        );
        let pooled = g.global_avg_pool("pool", map);
        let logits = g.linear("head", pooled, 2, Init::Constant(3e38));
        g.publish("map", map);
        g.publish("logits", logits);
        let graph = g.finish(1).unwrap();
        let preprocessing = Preprocessing {
            height: 2,
            width: 2,
            channels: 1,
            mean: vec![0.5],
            std: vec![0.5],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let store = ParamStore::initialized(&graph, 1);
        let meta = Meta::new(["a", "b"], preprocessing);
        Checkpoint { graph, store, meta }.save(&path).unwrap();
        let trained = Trained::load_on(&path, Device::Cpu, Precision::F32).unwrap();
        let answer = |pixel: f32, map_of| {
            let input = Input {
                data: &[pixel; 4],
                n: 1,
                shape: Hwc { h: 2, w: 2, c: 1 },
            };
            trained.answer(input, map_of, false)
        };
        assert_eq!(answer(0.0, Some(1)).unwrap().logits, [0.0, 0.0]);
        let refused = |answer: Result<Answers>| {
            let error = answer.unwrap_err().to_string();
            assert!(error.contains("no numbers"), "{error}");
        };
        refused(answer(1.0, None));
        // Scores that are numbers under a head that is not: the map's reading alone would be NaN.
        let input = Input {
            data: &[1e30; 4],
            n: 1,
            shape: Hwc { h: 2, w: 2, c: 1 },
        };
        let error = trained.maps(input, true).unwrap_err().to_string();
        assert!(error.contains("no numbers"), "{error}");
    }

    #[test]
    fn mirrors_each_row() {
        let shape = Hwc { h: 2, w: 2, c: 2 };
        assert_eq!(
            mirrored(&[1., 2., 3., 4., 5., 6., 7., 8.], shape),
            [3., 4., 1., 2., 7., 8., 5., 6.]
        );
    }
}
