//! Attributions of a network with pretrained weights, for `tools/check_attribution.py` to compare.
//!
//! ```text
//! cargo run --release -p attribution --example attributions -- ENCODER WEIGHTS DECODER HEAD SIDE FOLDER
//! ```
//!
//! The encoder's weights are read from a file; decoder and head are random. Writes to the folder `weights.safetensors`
//! (all weights, under this program's names) and `maps.safetensors`: `input` `[1, 3, h, w]`, `logits`, and the methods'
//! results. Prints how long each of them took.

#![allow(clippy::print_stdout, reason = "a tool for a script, not the program")]

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use attribution::judge::{Deletion, Insertion, Randomization, agreement};
use attribution::{GradCam, GradCamPlusPlus, HeatMap, Image, IntegratedGradients, Method};
use attribution::{Occlusion, Target};
use formats::weights::{SaveOptions, load_encoder, save};
use model::build::{ModelSpec, build};
use model::engine::Images;
use model::graph::Hwc;
use model::network::Network;
use model::store::ParamStore;
use random::Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

const TARGET: Target = Target::Class(1);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, weights, decoder, head, side, folder] = arguments.as_slice() else {
        bail!("arguments: ENCODER WEIGHTS DECODER HEAD SIDE FOLDER");
    };
    let spec = ModelSpec {
        encoder: Some(encoder.clone()),
        decoder: Some(decoder.clone()),
        head: head.clone(),
        ..ModelSpec::default()
    };
    let folder = Path::new(folder);
    let network = network(&spec, Path::new(weights))?;
    let options = SaveOptions::default();
    let file = folder.join("weights.safetensors");
    save(&file, network.graph(), &network.store(), &options)?;
    let side = side.parse().context("SIDE is not a number")?;
    let shape = Hwc {
        h: side,
        w: side,
        c: 3,
    };
    let pixels = picture(shape);
    let found = results(&network, Image::new(&pixels, shape)?)?;
    write(&folder.join("maps.safetensors"), &found)
}

fn network(spec: &ModelSpec, weights: &Path) -> Result<Network> {
    let graph = build(spec)?;
    let mut store = ParamStore::initialized(&graph, 1);
    load_encoder(weights, &graph, &mut store)?;
    Ok(Network::with_store(graph, store))
}

/// Waves of each colour and a bright square.
fn picture(shape: Hwc) -> Vec<f32> {
    let mut rng = Rng::stream(3, 3);
    let mut data = Vec::with_capacity(shape.len());
    for i in 0..shape.h * shape.w {
        let (y, x) = ((i / shape.w) as f32, (i % shape.w) as f32);
        let square = (60.0..110.0).contains(&y) && (90.0..150.0).contains(&x);
        for c in 0..shape.c {
            let wave = (0.05 * x + 0.03 * y * (1.0 + c as f32)).sin();
            data.push(0.6 * wave + f32::from(u8::from(square)) + 0.1 * rng.normal_f32());
        }
    }
    data
}

/// Name, shape and values.
type Tensor = (String, Vec<usize>, Vec<f32>);

fn results(network: &Network, image: Image<'_>) -> Result<Vec<Tensor>> {
    let Hwc { h, w, c } = image.shape();
    let images = Images {
        data: image.data(),
        shape: image.shape().batch(1),
    };
    let logits = network.infer(images, &["logits"])?.remove(0);
    let mut found = vec![
        ("input".into(), vec![1, c, h, w], planes(image.data(), c)),
        ("logits".into(), vec![1, logits.shape.c], logits.data),
    ];
    let integrated = timed("integrated gradients", || {
        IntegratedGradients::default().attribute(network, image, TARGET)
    })?;
    println!("    completeness error {:.1e}", integrated.relative_error());
    let attributions = planes(&integrated.attributions, c);
    found.push((
        "integrated_gradients".into(),
        vec![1, c, h, w],
        attributions,
    ));
    let mut maps = vec![integrated.map()];
    for (name, method) in methods(network) {
        let map = timed(&name, || method.map(network, image, TARGET))?;
        found.push((name, vec![1, 1, h, w], map.values().to_vec()));
        maps.push(map);
    }
    judged(network, image, &maps)?;
    Ok(found)
}

fn methods(network: &Network) -> Vec<(String, Method)> {
    let mut methods = vec![("occlusion".into(), Method::Occlusion(Occlusion::default()))];
    let places = ["features.4", "features.5", "decoder"];
    for at in places.map(str::to_owned) {
        if network.graph().output(&at).is_none() {
            continue;
        }
        let (cam, plus_plus) = (format!("grad_cam@{at}"), format!("grad_cam_plus_plus@{at}"));
        let (at, relu) = (Some(at), false);
        methods.push((
            cam,
            Method::GradCam(GradCam {
                at: at.clone(),
                relu,
            }),
        ));
        methods.push((
            plus_plus,
            Method::GradCamPlusPlus(GradCamPlusPlus { at, relu }),
        ));
    }
    methods
}

/// Times the figures that judge maps, and prints some of them.
fn judged(network: &Network, image: Image<'_>, maps: &[HeatMap]) -> Result<()> {
    let Hwc { h, w, .. } = image.shape();
    let (deletion, insertion) = (Deletion::default(), Insertion::default());
    let map = &maps[0];
    let deleted = timed("deletion", || deletion.curve(network, image, TARGET, map))?;
    let inserted = timed("insertion", || insertion.curve(network, image, TARGET, map))?;
    let random = HeatMap::random(h, w, 0);
    let chance = deletion.curve(network, image, TARGET, &random)?;
    let risen = insertion.curve(network, image, TARGET, &random)?;
    println!(
        "    deletion {:.3} (random order {:.3}), insertion {:.3} ({:.3})",
        deleted.area, chance.area, inserted.area, risen.area
    );
    let correlations = timed("agreement", || agreement(maps))?;
    println!(
        "    integrated gradients with the others: {:.2?}",
        correlations[0]
    );
    let cam = Method::GradCam(GradCam::default());
    let steps: Vec<_> = timed("randomized weights (Grad-CAM)", || {
        Randomization::new(&cam, network, image, TARGET, 5)?.collect::<attribution::Result<_>>()
    })?;
    for step in steps {
        println!("    {:<20} {:.2?}", step.stage, step.correlation);
    }
    Ok(())
}

fn timed<T>(what: &str, run: impl FnOnce() -> attribution::Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = run()?;
    println!("{what:<32} {:>8.0} ms", 1e3 * start.elapsed().as_secs_f64());
    Ok(result)
}

/// From channels last to channels first.
fn planes(values: &[f32], channels: usize) -> Vec<f32> {
    let plane = |c: usize| values.iter().skip(c).step_by(channels).copied();
    (0..channels).flat_map(plane).collect()
}

fn write(path: &Path, tensors: &[Tensor]) -> Result<()> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(.., v)| bytes(v)).collect();
    let mut views = HashMap::new();
    for ((name, shape, _), bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
        views.insert(name.clone(), view);
    }
    Ok(std::fs::write(path, safetensors::serialize(views, None)?)?)
}
