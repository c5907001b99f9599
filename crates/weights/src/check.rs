//! The same images through two programs: ours write a sample that another checks, or check one that another wrote.
//!
//! A sample is a safetensors file with `input` `[n, c, h, w]` and what a network makes of it, `logits` `[n, classes]`
//! `map` `[n, classes, h, w]` and `features.N`, the encoder's outputs by reduction; its metadata name the network.

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

/// Images of a sample, and the names of what networks make of them.
const INPUT: &str = "input";
const OUTPUTS: [&str; 2] = ["logits", "map"];
const IMAGES: usize = 2;

/// What to write or compare.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The weights: a checkpoint of ours or any file that can be read.
    pub weights: PathBuf,
    /// What the file does not say.
    pub known: Known,
    /// The sample's file.
    pub sample: PathBuf,
}

/// Runs smooth random images of `size` pixels a side and writes them with the outputs.
///
/// # Errors
/// Weights that fit no network of ours, an impossible size, a file that is there already unless forced.
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

/// Smooth grey images in −1…1 with a little noise, `[n, c, h, w]`. Networks learn from such; white noise may drive one
/// to values of 10^5, where rounding is all that two programs have left to differ in.
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

/// Random numbers in −1…1 at every 16th pixel, and straight lines between them.
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

/// What the network is put together from, for who builds it again; nothing of a whole network.
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

/// Runs a sample's images and compares the outputs that it has; within `tolerance` of their largest magnitude is good.
///
/// # Errors
/// Outputs that differ, weights that fit no network of ours, a sample that is none.
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
            "`{INPUT}` of {} is no batch of images",
            what.sample.display()
        );
    };
    let loaded = load(&what.weights, &what.known, false)?;
    let names: Vec<&str> = known_outputs(&loaded)
        .into_iter()
        .filter(|name| sample.find(name).is_some())
        .collect();
    if names.is_empty() {
        bail!("{} has no output of this network", what.sample.display());
    }
    let (mut text, mut worst) = (String::new(), 0.0f32);
    for (name, value) in names.iter().zip(run(loaded, &input, shape, &names)?) {
        let (_, expected) = tensor(name).with_context(|| format!("no {name}"))??;
        let difference = relative(&nchw(&value), &expected);
        let _ = writeln!(
            text,
            "{name}: largest difference {difference:.1e} of the largest magnitude"
        );
        worst = if difference.is_nan() {
            f32::INFINITY
        } else {
            worst.max(difference)
        };
    }
    if worst > tolerance {
        bail!("more than {tolerance:e} apart, the programs compute different things\n{text}");
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

/// What the weights decide: with a head of first values, not the logits.
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

/// The largest difference over the largest magnitude; infinite where the counts differ.
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
