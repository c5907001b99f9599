//! Comparison of two programs on the same images: this one writes a sample for another to check, or checks one that
//! another wrote.
//!
//! A sample is a safetensors file with `input` `[n, c, h, w]` and the network's outputs for it, `logits`
//! `[n, classes]`, `map` `[n, classes, h, w]` and `features.N`, the encoder's outputs by reduction; its metadata
//! describe the network.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use formats::weights::TensorFile;
use model::engine::{Images, Value};
use model::network::Network;
use random::Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Kind, Known, Loaded, check_free, load, write_in_place};

/// Name of a sample's images, names of the outputs, and the number of images.
const INPUT: &str = "input";
const OUTPUTS: [&str; 2] = ["logits", "map"];
const IMAGES: usize = 2;

/// What to write or compare.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The weights: a checkpoint of this program or any other readable weights file.
    pub weights: PathBuf,
    /// What the file does not state.
    pub known: Known,
    /// Path of the sample.
    pub sample: PathBuf,
}

/// Runs the network on smooth random images of `size` pixels per side and writes them with the outputs.
///
/// # Errors
/// The weights fit no network of this program, the size is invalid, or the file exists and `force` is not set.
pub fn write_sample(what: &Sample, size: usize, force: bool) -> Result<String> {
    check_free(&what.sample, force)?;
    let loaded = load(&what.weights, &what.known, false)?;
    let metadata = parts(&loaded.network);
    let shape = [IMAGES, loaded.graph.in_channels(), size, size];
    let input = images(shape);
    let names = known_outputs(&loaded);
    let outputs = run(loaded, &input, shape, &names)?;
    let mut tensors = vec![(INPUT, shape.to_vec(), input)];
    for (name, value) in names.iter().zip(outputs) {
        tensors.push((name, torch_shape(&value), nchw(&value)));
    }
    write_in_place(&what.sample, &serialize(&tensors, metadata)?)?;
    Ok(format!(
        "{}: {IMAGES} images of {size}x{size}, {}\n",
        what.sample.display(),
        names.join(", ")
    ))
}

/// Smooth grey images in −1…1 with a little noise, `[n, c, h, w]`, similar to training images. White noise may drive a
/// network to values of 10^5, where two programs differ by rounding alone.
fn images([n, c, h, w]: [usize; 4]) -> Vec<f32> {
    const NOISE: f32 = 0.02;
    let mut rng = Rng::stream(0, 0);
    let mut data = Vec::with_capacity(n * c * h * w);
    for _ in 0..n {
        let grey = smooth(&mut rng, h, w);
        for _ in 0..c {
            data.extend(grey.iter().map(|v| v + NOISE * rng.normal_f32()));
        }
    }
    data
}

/// Random numbers in −1…1 at every 16th pixel, interpolated linearly.
fn smooth(rng: &mut Rng, h: usize, w: usize) -> Vec<f32> {
    const CELL: usize = 16;
    let columns = w / CELL + 2;
    let knots: Vec<f32> = (0..(h / CELL + 2) * columns)
        .map(|_| 2.0 * rng.unit_f32() - 1.0)
        .collect();
    let part = |i: usize| (i % CELL) as f32 / CELL as f32;
    let along = |row: usize, x: usize| {
        let at = row * columns + x / CELL;
        knots[at] * (1.0 - part(x)) + knots[at + 1] * part(x)
    };
    let value = |y: usize, x: usize| {
        along(y / CELL, x) * (1.0 - part(y)) + along(y / CELL + 1, x) * part(y)
    };
    (0..h)
        .flat_map(|y| (0..w).map(move |x| (y, x)))
        .map(|(y, x)| value(y, x))
        .collect()
}

/// The network's components, so that another program can rebuild it; empty for a whole network.
fn parts(network: &Kind) -> HashMap<String, String> {
    let Kind::Assembled(spec) = network else {
        return HashMap::new();
    };
    let named = |name: &Option<String>| name.clone().unwrap_or_default();
    HashMap::from([
        ("encoder".to_owned(), named(&spec.encoder)),
        ("decoder".to_owned(), named(&spec.decoder)),
        ("head".to_owned(), spec.head.clone()),
        ("classes".to_owned(), spec.classes.to_string()),
        (
            "map_classes".to_owned(),
            spec.map_classes.unwrap_or(spec.classes).to_string(),
        ),
        ("in_channels".to_owned(), spec.in_channels.to_string()),
    ])
}

/// Runs the network on a sample's images and compares the outputs that the sample has; they may differ by `tolerance`
/// times their largest magnitude.
///
/// # Errors
/// The outputs differ, the weights fit no network of this program, or the sample is invalid.
pub fn compare(what: &Sample, tolerance: f32) -> Result<String> {
    let sample = TensorFile::read(&what.sample)?;
    let tensor = |name: &str| {
        let entry = sample.find(name)?;
        Some(
            sample
                .values(entry)
                .map(|values| (entry.shape.clone(), values)),
        )
    };
    let (shape, input) =
        tensor(INPUT).with_context(|| format!("{} has no `{INPUT}`", what.sample.display()))??;
    let Ok(shape) = <[usize; 4]>::try_from(shape) else {
        bail!(
            "`{INPUT}` of {} is not a batch of images",
            what.sample.display()
        );
    };
    let loaded = load(&what.weights, &what.known, false)?;
    let names: Vec<&str> = known_outputs(&loaded)
        .into_iter()
        .filter(|name| sample.find(name).is_some())
        .collect();
    if names.is_empty() {
        bail!(
            "{} has none of this network's outputs",
            what.sample.display()
        );
    }
    let (mut text, mut worst) = (String::new(), 0.0f32);
    for (name, value) in names.iter().zip(run(loaded, &input, shape, &names)?) {
        let (_, expected) = tensor(name).with_context(|| format!("no {name}"))??;
        let difference = relative(&nchw(&value), &expected);
        let _ = writeln!(
            text,
            "{name}: largest difference {difference:.1e}, relative to the largest magnitude"
        );
        worst = if difference.is_nan() {
            f32::INFINITY
        } else {
            worst.max(difference)
        };
    }
    if worst > tolerance {
        bail!(
            "the outputs differ by more than {tolerance:e}: the programs compute different things\n{text}"
        );
    }
    Ok(text)
}

/// The encoder's outputs, by reduction.
const FEATURES: [&str; 5] = [
    "features.1",
    "features.2",
    "features.3",
    "features.4",
    "features.5",
];

/// Outputs that the weights determine: not the logits if the head holds initial values.
fn known_outputs(loaded: &Loaded) -> Vec<&'static str> {
    let head = matches!(loaded.network, Kind::Whole) || loaded.recognised.head.is_some();
    OUTPUTS
        .into_iter()
        .chain(FEATURES)
        .filter(|name| loaded.graph.output(name).is_some() && (head || *name != "logits"))
        .collect()
}

fn run(loaded: Loaded, input: &[f32], shape: [usize; 4], outputs: &[&str]) -> Result<Vec<Value>> {
    let [n, c, h, w] = shape;
    let pixels = h * w;
    let data: Vec<f32> = (0..n * pixels * c)
        .map(|i| input[(i / (pixels * c) * c + i % c) * pixels + i / c % pixels])
        .collect();
    let network = Network::with_store(loaded.graph, loaded.store);
    let shape = model::graph::Nhwc { n, h, w, c };
    Ok(network.infer(Images { data: &data, shape }, outputs)?)
}

fn torch_shape(value: &Value) -> Vec<usize> {
    let s = value.shape;
    match (s.h, s.w) {
        (1, 1) => vec![s.n, s.c],
        _ => vec![s.n, s.c, s.h, s.w],
    }
}

fn nchw(value: &Value) -> Vec<f32> {
    let (s, pixels) = (value.shape, value.shape.h * value.shape.w);
    (0..value.data.len())
        .map(|i| value.data[(i / (s.c * pixels) * pixels + i % pixels) * s.c + i / pixels % s.c])
        .collect()
}

fn serialize(
    tensors: &[(&str, Vec<usize>, Vec<f32>)],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>> {
    let bytes: BTreeMap<&str, Vec<u8>> = tensors
        .iter()
        .map(|(name, _, values)| (*name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, _)| {
            Ok((
                *name,
                TensorView::new(Dtype::F32, shape.clone(), &bytes[name])?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// The largest difference over the largest magnitude; infinite if the counts differ.
fn relative(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let scale = expected
        .iter()
        .fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0f32, |m, d| if d.is_nan() { f32::NAN } else { m.max(d) }) / scale
}
