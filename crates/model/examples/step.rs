//! Times inference and training steps of a network on random images.
//!
//! `cargo run --release -p model --example step -- [encoder] [decoder] [size] [batch]`

use std::time::Instant;

use dfdx::prelude::*;
use kernels::Nhwc;
use model::build::{ModelSpec, build};
use model::engine::Images;
use model::network::{Heads, Network};
use model::rng::Rng;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arg = |i: usize, default: &str| std::env::args().nth(i).unwrap_or_else(|| default.into());
    let spec = ModelSpec { encoder: arg(1, "efficientnet_b1"), decoder: arg(2, "unetpp"), ..ModelSpec::default() };
    let (size, batch): (usize, usize) = (arg(3, "224").parse()?, arg(4, "8").parse()?);
    let mut network = Network::new(build(&spec)?, 0);
    for n in [1, batch] {
        let (data, shape) = images(n, size);
        let x = Images { data: &data, shape };
        let seconds = median(5, || network.infer(x, &["logits", "map"]).map(drop))?;
        println!("infer  batch {n:>2}: {:7.1} ms  {:6.2} images/s", 1e3 * seconds, n as f64 / seconds);
    }
    let (data, shape) = images(batch, size);
    let x = Images { data: &data, shape };
    let seconds = median(5, || train_step(&mut network, x))?;
    println!("train  batch {batch:>2}: {:7.1} ms  {:6.2} images/s", 1e3 * seconds, batch as f64 / seconds);
    Ok(())
}

fn images(n: usize, size: usize) -> (Vec<f32>, Nhwc) {
    let shape = Nhwc { n, h: size, w: size, c: 3 };
    let mut rng = Rng::new(0, 0);
    ((0..shape.len()).map(|_| rng.normal()).collect(), shape)
}

fn train_step(network: &mut Network, x: Images<'_>) -> Result<(), model::network::NetworkError> {
    let taped = network.forward(x, 0, Heads::Logits)?;
    let loss = taped.logits.put_tape(taped.tape).square().mean();
    let mut grads = loss.backward();
    let adam = AdamConfig { lr: 1e-4, ..AdamConfig::default() };
    let (mut m, mut v) = (Gradients::leaky(), Gradients::leaky());
    network.update(&mut grads, |_, param, grad| {
        let moments = (m.get_or_alloc_mut(param), v.get_or_alloc_mut(param));
        if let (Ok(m), Ok(v)) = moments {
            let _ = adam.try_update(1, param, m, v, grad);
        }
    })
}

fn median<E>(repeats: usize, mut f: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    f()?;
    let mut times = Vec::new();
    for _ in 0..repeats {
        let start = Instant::now();
        f()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[repeats / 2])
}
