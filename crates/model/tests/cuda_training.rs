//! What a training step does on a device beside the network, on the host (`cuda_host`) and on a GPU where there is one,
//! against the dfdx path: losses with their gradients and right answers, clipping, update rules, moving average, and the
//! refusal of steps that are no numbers.
//!
//! Every case runs with blocks and threads in both orders and must give the same bits. Memory is NaN before it is written
//! and between any two places, and must be NaN there afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cuda_host;

use cuda_host::{Host, gpu};
use dfdx::prelude::{
    AsArray, Backward, Cpu, OwnedTape, Storage, Tensor, TensorFromVec, Trace, TryAdd, TryMul,
};
use half::bf16;
use model::engine::cuda::driver::{Address, DeviceError, Driver, Launch};
use model::engine::cuda::loss::{
    ClassLoss as ClassPlaces, MapLoss as MapPlaces, class_loss, label_words, map_loss, map_scratch,
};
use model::engine::cuda::recipe::Recipe;
use model::engine::cuda::step::{Board, Results, Step, controls_len, results_len};
use model::engine::cuda::update::{Groups, State, update, weights_to_bf16};
use model::graph::{Graph, GraphBuilder, Init};
use model::network::{Flat, Grad};
use model::rng::Rng;
use model::store::{Group, ParamMap, ParamStore};
use model::train::clip::{clip_factor, sum_of_squares};
use model::train::ema::Ema;
use model::train::loss::{ClassLoss, ClassObjective};
use model::train::map_loss::{MapLoss, MapObjective, Masks, Truth};
use model::train::optimizer::Optimizer;
use model::train::{Task, TrainConfig, hits, resident};
use serde_json::{Value, json};
use std::sync::Arc;

// ---- Devices.

/// Between two places lie at least so many values that nothing may write.
const FENCE: usize = 64;

struct Device {
    name: &'static str,
    driver: Box<dyn Driver>,
    base: Address,
    len: usize,
    used: usize,
    places: Vec<(usize, usize)>,
}

impl Device {
    fn new(name: &'static str, mut driver: Box<dyn Driver>, len: usize) -> Self {
        let base = driver.allocate(len).unwrap();
        driver.upload(base, &vec![f32::NAN; len]).unwrap();
        Device {
            name,
            driver,
            base,
            len,
            used: 0,
            places: vec![],
        }
    }

    fn place(&mut self, len: usize) -> Address {
        let start = self.used + FENCE;
        self.used = (start + len).next_multiple_of(64);
        assert!(
            self.used + FENCE <= self.len,
            "the test's arena is too small"
        );
        self.places.push((start, start + len));
        self.base.plus(start)
    }

    fn put(&mut self, data: &[f32]) -> Address {
        let at = self.place(data.len());
        self.driver.upload(at, data).unwrap();
        at
    }

    fn get(&mut self, at: Address, len: usize) -> Vec<f32> {
        let mut data = vec![0.0; len];
        self.driver.download(at, &mut data).unwrap();
        data
    }

    /// What no place holds is as it was.
    fn check_fences(&mut self) {
        let all = self.get(self.base, self.len);
        let mut at = 0;
        for (start, end) in self.places.iter().copied().chain([(self.len, self.len)]) {
            let fence = all[at..start].iter();
            assert!(
                fence.clone().all(|v| v.is_nan()),
                "{}: written beside a place, before {start}",
                self.name
            );
            at = end;
        }
    }
}

/// The host in both orders, and a GPU, each with `len` values of memory.
fn devices(len: usize) -> Vec<Device> {
    let host = |reverse| {
        let mut host = Host::new()?;
        host.reverse = reverse;
        Some(Box::new(host) as Box<dyn Driver>)
    };
    let gpu = gpu().map(|gpu| Box::new(gpu) as Box<dyn Driver>);
    let all = [
        ("host", host(false)),
        ("host, reversed", host(true)),
        ("GPU", gpu),
    ];
    let there =
        |(name, driver): (_, Option<_>)| driver.map(|driver| Device::new(name, driver, len));
    all.into_iter().filter_map(there).collect()
}

/// Runs a case on every device; the host's orders must give the same bits, and each device what is expected.
fn everywhere(
    len: usize,
    run: impl Fn(&mut Device) -> Vec<Vec<f32>>,
    check: impl Fn(&str, &[Vec<f32>]),
) {
    let mut first: Option<Vec<Vec<f32>>> = None;
    for mut device in devices(len) {
        let found = run(&mut device);
        device.check_fences();
        check(device.name, &found);
        let first = first.get_or_insert_with(|| found.clone());
        if device.name.starts_with("host") {
            assert_eq!(
                bits(first),
                bits(&found),
                "the order of blocks and threads shows"
            );
        }
    }
}

fn bits(values: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let of = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect();
    values.iter().map(of).collect()
}

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 77);
    (0..len).map(|_| rng.normal()).collect()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// Within `tolerance` of the largest, or of `floor` where all are smaller.
fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32, floor: f32) {
    let scale = expected.iter().fold(floor, |m, v| m.max(v.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * scale,
            "{what}[{i}]: {f} instead of {e}, of {scale}"
        );
    }
}

fn settings(json: Value) -> TrainConfig {
    let config: TrainConfig = serde_json::from_value(json).unwrap();
    config.check().unwrap();
    config
}

// ---- Update rules, clipping, moving average.

/// `inputs · n` decayed values, `n` plain ones and those of a batch norm, whose statistics are the buffers.
fn graph(inputs: usize, n: usize) -> Graph {
    let mut g = GraphBuilder::new(inputs);
    let x = g.input();
    let x = g.linear("fc", x, n, Init::Constant(0.0));
    let x = g.batch_norm("bn", x, 1e-5, 0.1);
    g.publish("values", x);
    g.finish(1).unwrap()
}

fn random_store(map: &Arc<ParamMap>, seed: u64) -> ParamStore {
    let mut store = ParamStore::zeros(map.clone());
    for group in Group::ALL {
        let len = map.len(group);
        *store.group_mut(group) = normal(len, seed + group as u64);
    }
    store
}

/// A step's gradients: over many orders of magnitude, some zero.
fn gradients(map: &ParamMap, step: u64) -> [Vec<f32>; 2] {
    Group::TRAINABLE.map(|group| {
        let seed = 100 * step + group as u64;
        let (x, power) = (
            normal(map.len(group), seed),
            normal(map.len(group), seed + 50),
        );
        let pairs = x.iter().zip(power).enumerate();
        pairs
            .map(|(i, (x, power))| {
                if i % 11 == 3 {
                    0.0
                } else {
                    x * (2.0 * power).exp()
                }
            })
            .collect()
    })
}

fn tensor(values: &[f32]) -> Flat {
    Cpu::default().tensor_from_vec(values.to_vec(), (values.len(),))
}

fn gradient(values: &[f32]) -> Grad {
    let mut grad: Grad = Storage::<f32>::try_alloc_len(&Cpu::default(), values.len()).unwrap();
    grad.copy_from_slice(values);
    grad
}

/// Groups in one run of memory; what lies between them is NaN.
fn in_a_run(groups: &Groups, parts: &[&[f32]]) -> Vec<f32> {
    let len = if parts.len() == 3 {
        groups.all()
    } else {
        groups.trainable()
    };
    let mut run = vec![f32::NAN; len];
    for (group, part) in Group::ALL.into_iter().zip(parts) {
        run[groups.start(group)..][..part.len()].copy_from_slice(part);
    }
    run
}

fn store_in_a_run(groups: &Groups, store: &ParamStore) -> Vec<f32> {
    in_a_run(groups, &Group::ALL.map(|group| store.group(group)))
}

/// The training state as the host keeps it.
struct HostState {
    config: TrainConfig,
    store: ParamStore,
    optimizer: Optimizer,
    ema: Option<Ema>,
}

impl HostState {
    fn new(config: &TrainConfig, map: &Arc<ParamMap>) -> Self {
        let store = random_store(map, 7);
        HostState {
            ema: (config.ema > 0.0).then(|| Ema::new(config.ema, store.clone())),
            optimizer: Optimizer::new(config.optimizer.clone(), map).unwrap(),
            config: config.clone(),
            store,
        }
    }

    /// As `Run::step` and `Run::update` do it; the norm.
    fn step(&mut self, grads: &[Vec<f32>; 2], lr: f64) -> f64 {
        let mut grads = grads.clone();
        let squares = sum_of_squares(&grads[0]) + sum_of_squares(&grads[1]);
        if let Some(factor) = clip_factor(squares.sqrt(), self.config.clip_norm) {
            grads.iter_mut().flatten().for_each(|g| *g *= factor);
        }
        self.optimizer.begin();
        for (group, grad) in Group::TRAINABLE.into_iter().zip(&grads) {
            let mut param = tensor(self.store.group(group));
            self.optimizer
                .update(group, &mut param, &gradient(grad), lr);
            *self.store.group_mut(group) = param.as_vec();
        }
        if let Some(ema) = &mut self.ema {
            ema.update(&self.store);
        }
        squares.sqrt()
    }

    fn ema_share(&self) -> f32 {
        self.ema.as_ref().map_or(0.0, Ema::share)
    }

    /// Weights, moments (as the device has them), average.
    fn runs(&self, groups: &Groups, recipe: &Recipe) -> Vec<Vec<f32>> {
        let mut runs = vec![store_in_a_run(groups, &self.store)];
        for (index, there) in recipe.update.moments().into_iter().enumerate() {
            if there {
                let part = |group| self.optimizer.moment(group, index).unwrap();
                runs.push(in_a_run(groups, &Group::TRAINABLE.map(part)));
            }
        }
        runs.extend(
            self.ema
                .iter()
                .map(|ema| store_in_a_run(groups, ema.average())),
        );
        runs
    }
}

/// The same state on a device.
struct DeviceState {
    recipe: Recipe,
    groups: Groups,
    board: Board,
    at: State,
}

impl DeviceState {
    fn new(device: &mut Device, recipe: &Recipe, groups: Groups, host: &HostState) -> Self {
        let start = store_in_a_run(&groups, &host.store);
        let zeros = in_a_run(
            &groups,
            &Group::TRAINABLE
                .map(|group| vec![0.0; groups.len(group)])
                .each_ref()
                .map(|v| &v[..]),
        );
        let moment = |device: &mut Device, there| match there {
            true => device.put(&zeros),
            false => Address::NULL,
        };
        let [first, second] = recipe.update.moments();
        let at = State {
            weights: device.put(&start),
            gradients: device.put(&vec![f32::NAN; groups.trainable()]),
            moments: [moment(device, first), moment(device, second)],
            average: match recipe.averages {
                true => device.put(&start),
                false => Address::NULL,
            },
            halves: Some(device.place(groups.len(Group::Decayed).div_ceil(2))),
            scratch: device.place(groups.scratch()),
        };
        let board = Board {
            controls: device.place(controls_len(recipe.maps())),
            results: device.place(results_len(recipe.maps())),
        };
        DeviceState {
            recipe: recipe.clone(),
            groups,
            board,
            at,
        }
    }

    /// A step with these gradients after a class loss of `loss`.
    fn step(
        &self,
        device: &mut Device,
        step: &Step<'_>,
        grads: &[Vec<f32>; 2],
        loss: f32,
    ) -> Results {
        let driver = &mut *device.driver;
        for (group, grad) in Group::TRAINABLE.into_iter().zip(grads) {
            let to = self.at.gradients.plus(self.groups.start(group));
            driver.upload(to, grad).unwrap();
        }
        let controls = self.recipe.controls(step);
        assert_eq!(controls.len(), controls_len(self.recipe.maps()));
        driver.upload(self.board.controls, &controls).unwrap();
        driver.upload(self.board.results.plus(2), &[loss]).unwrap();
        update(driver, &self.recipe, self.board, &self.groups, &self.at).unwrap();
        let words = device.get(self.board.results, results_len(self.recipe.maps()));
        Results::read(&words).unwrap()
    }

    fn runs(&self, device: &mut Device) -> Vec<Vec<f32>> {
        let (all, trainable) = (self.groups.all(), self.groups.trainable());
        let mut runs = vec![device.get(self.at.weights, all)];
        for (there, at) in self
            .recipe
            .update
            .moments()
            .into_iter()
            .zip(self.at.moments)
        {
            if there {
                runs.push(device.get(at, trainable));
            }
        }
        if self.recipe.averages {
            runs.push(device.get(self.at.average, all));
        }
        runs
    }

    fn halves(&self, device: &mut Device) -> Vec<u16> {
        let len = self.groups.len(Group::Decayed);
        let words = device.get(self.at.halves.unwrap(), len.div_ceil(2));
        let pairs = words.iter().map(|w| w.to_bits());
        let halves = pairs.flat_map(|bits| [bits as u16, (bits >> 16) as u16]);
        halves.take(len).collect()
    }
}

fn recipe_of(config: &TrainConfig) -> Recipe {
    resident::recipe(config, &ClassObjective::default(), 2, 1).unwrap()
}

/// Sizes: less than a vector, ends within one, several chunks of the norm's sum.
const SIZES: [(usize, usize); 4] = [(1, 1), (3, 7), (41, 113), (100, 131)];

/// The same weights, moments, averages and bf16 copies as the host has, to the bit: the rules round where dfdx rounds.
fn check_updates(config: &TrainConfig, (inputs, n): (usize, usize)) {
    let name = format!(
        "{:?} clip {} ema {}",
        config.optimizer, config.clip_norm, config.ema
    );
    let map = Arc::new(ParamMap::new(&graph(inputs, n)));
    let (recipe, groups) = (recipe_of(config), Groups::new(&map));
    let rates = [1e-2, 1e-2, 5e-3, 2e-3, 1e-2, 0.0, 3e-4];
    for mut device in devices(1 << 18) {
        let name = format!("{}: {name}, {inputs}x{n}", device.name);
        let mut host = HostState::new(config, &map);
        let there = DeviceState::new(&mut device, &recipe, groups, &host);
        for (number, lr) in (1..).zip(rates) {
            let buffers = normal(map.len(Group::Buffers), 900 + number);
            let to = there.at.weights.plus(groups.start(Group::Buffers));
            device.driver.upload(to, &buffers).unwrap();
            *host.store.group_mut(Group::Buffers) = buffers;
            let step = Step {
                number,
                lr,
                ema_share: host.ema_share(),
                known: &[],
            };
            let grads = gradients(&map, number);
            let found = there.step(&mut device, &step, &grads, 0.5);
            let norm = host.step(&grads, lr);
            let close = (found.norm - norm).abs() <= 1e-12 * norm;
            assert!(close, "{name}: norm {} instead of {norm}", found.norm);
            let scale = clip_factor(norm, config.clip_norm).unwrap_or(1.0);
            assert_eq!(
                (found.applied, found.loss, found.scale),
                (true, 0.5, scale),
                "{name}"
            );
            same(
                &name,
                number,
                &there.runs(&mut device),
                &host.runs(&groups, &recipe),
            );
            let rounded = host.store.group(Group::Decayed).iter();
            let rounded: Vec<u16> = rounded.map(|v| bf16::from_f32(*v).to_bits()).collect();
            assert_eq!(
                there.halves(&mut device),
                rounded,
                "{name}, step {number}: bf16"
            );
        }
        device.check_fences();
    }
}

/// Equal bits; the NaN between groups stays.
fn same(name: &str, step: u64, found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (run, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        for (i, (f, e)) in found.iter().zip(expected).enumerate() {
            assert!(
                f.to_bits() == e.to_bits() || f.is_nan() && e.is_nan(),
                "{name}, step {step}, run {run}[{i}]: {f} instead of {e}"
            );
        }
    }
}

fn optimizers() -> Vec<Value> {
    vec![
        json!({"name": "adam"}),
        json!({"name": "adam", "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.03}),
        json!({"name": "adamw", "weight_decay": 0.05}),
        json!({"name": "adamw", "weight_decay": 0.0}),
        json!({"name": "sgd", "momentum": 0.0}),
        json!({"name": "sgd", "momentum": 0.0, "weight_decay": 0.01}),
        json!({"name": "sgd", "momentum": 0.9, "weight_decay": 0.01}),
        json!({"name": "sgd", "momentum": 0.9, "nesterov": true, "weight_decay": 0.01}),
        json!({"name": "rmsprop"}),
        json!({"name": "rmsprop", "alpha": 0.7, "eps": 1e-3, "momentum": 0.9, "weight_decay": 0.02}),
    ]
}

#[test]
fn update_rules_are_dfdxs_to_the_bit() {
    for optimizer in optimizers() {
        for size in SIZES {
            check_updates(&settings(json!({"optimizer": optimizer})), size);
        }
    }
}

#[test]
fn clipping_and_the_moving_average_are_the_hosts() {
    for optimizer in optimizers() {
        for (clip_norm, ema) in [(0.0, 0.9), (0.7, 0.0), (0.7, 0.25), (1e9, 0.9)] {
            let config = json!({"optimizer": optimizer, "clip_norm": clip_norm, "ema": ema});
            check_updates(&settings(config), SIZES[2]);
        }
    }
}

/// As the clipped norm is the wanted one, and a norm just below it is let be.
#[test]
fn clipping_starts_at_the_norm() {
    let map = Arc::new(ParamMap::new(&graph(3, 7)));
    let groups = Groups::new(&map);
    let mut grads = Group::TRAINABLE.map(|group| vec![0.0; map.len(group)]);
    (grads[0][20], grads[1][6]) = (3.0, -4.0); // a norm of 5
    for (clip_norm, scale) in [(5.1, 1.0), (4.0, 0.8), (0.0, 1.0)] {
        let config = settings(json!({"clip_norm": clip_norm}));
        for mut device in devices(1 << 14) {
            let host = HostState::new(&config, &map);
            let there = DeviceState::new(&mut device, &recipe_of(&config), groups, &host);
            let step = Step {
                number: 1,
                lr: 0.1,
                ema_share: 0.0,
                known: &[],
            };
            let found = there.step(&mut device, &step, &grads, 0.0);
            assert_eq!(found.norm, 5.0);
            assert!(
                (found.scale - scale).abs() < 1e-6,
                "{clip_norm}: {}",
                found.scale
            );
        }
    }
}

/// More gradients than the chunks that a finish may have at their smallest.
#[test]
fn the_norm_of_many_gradients_is_a_double() {
    let map = Arc::new(ParamMap::new(&graph(2100, 2100)));
    let groups = Groups::new(&map);
    let grads = gradients(&map, 3);
    let expected = (sum_of_squares(&grads[0]) + sum_of_squares(&grads[1])).sqrt();
    let config = settings(json!({"optimizer": {"name": "sgd", "momentum": 0.0}}));
    for mut device in devices(1 << 24) {
        let host = HostState::new(&config, &map);
        let there = DeviceState::new(&mut device, &recipe_of(&config), groups, &host);
        let step = Step {
            number: 1,
            lr: 0.1,
            ema_share: 0.0,
            known: &[],
        };
        let norm = there.step(&mut device, &step, &grads, 0.0).norm;
        assert!(
            (norm - expected).abs() < 1e-12 * expected,
            "{norm} instead of {expected}"
        );
        device.check_fences();
    }
}

/// A loss or a gradient that is no finite number: nothing changes, and the next step goes on from there.
#[test]
fn steps_that_are_no_numbers_change_nothing() {
    let map = Arc::new(ParamMap::new(&graph(41, 113)));
    let groups = Groups::new(&map);
    let spoiled = |value: f32, group: usize| {
        let mut grads = gradients(&map, 2);
        *grads[group].last_mut().unwrap() = value;
        grads
    };
    let bad = [
        (spoiled(f32::NAN, 0), 0.5),
        (spoiled(f32::NAN, 1), 0.5),
        (spoiled(f32::INFINITY, 0), 0.5),
        (spoiled(f32::NEG_INFINITY, 1), 0.5),
        (gradients(&map, 2), f32::NAN),
        (gradients(&map, 2), f32::INFINITY),
        (gradients(&map, 2), f32::NEG_INFINITY),
    ];
    for optimizer in optimizers() {
        let config = settings(json!({"optimizer": optimizer, "ema": 0.9, "clip_norm": 1.0}));
        let recipe = recipe_of(&config);
        for mut device in devices(1 << 18) {
            let mut host = HostState::new(&config, &map);
            let there = DeviceState::new(&mut device, &recipe, groups, &host);
            let step = |number, host: &HostState| Step {
                number,
                lr: 0.01,
                ema_share: host.ema_share(),
                known: &[],
            };
            there.step(&mut device, &step(1, &host), &gradients(&map, 1), 0.5);
            host.step(&gradients(&map, 1), 0.01);
            let halves = there.halves(&mut device);
            for (grads, loss) in &bad {
                let found = there.step(&mut device, &step(2, &host), grads, *loss);
                assert!(!found.applied, "{loss}");
                assert!(!found.loss.is_finite() || !found.norm.is_finite());
                same(
                    "refused",
                    2,
                    &there.runs(&mut device),
                    &host.runs(&groups, &recipe),
                );
                assert_eq!(there.halves(&mut device), halves);
            }
            // The squares of these are beyond an f32; the host's norm, a double, is not.
            let large = spoiled(3e38, 0);
            assert!(
                there
                    .step(&mut device, &step(2, &host), &large, 0.5)
                    .applied
            );
            host.step(&large, 0.01);
            same(
                "large",
                2,
                &there.runs(&mut device),
                &host.runs(&groups, &recipe),
            );
        }
    }
}

#[test]
fn weights_are_rounded_to_the_nearest_bf16() {
    let mut weights = normal(1027, 5);
    let special = [
        0x3F80_8000,
        0x3F81_8000,
        0x7F7F_FFFF,
        0xFF80_0000,
        0x0000_0001,
        0x7F80_0001,
    ];
    let special = special.map(f32::from_bits); // ties to even, overflow, infinity, the smallest, a NaN
    weights[..special.len()].copy_from_slice(&special);
    let expected: Vec<u16> = weights
        .iter()
        .map(|w| bf16::from_f32(*w).to_bits())
        .collect();
    for len in [1, 2, 3, 1024, 1027] {
        everywhere(
            1 << 13,
            |device| {
                let from = device.put(&weights[..len]);
                let to = device.place(len.div_ceil(2));
                weights_to_bf16(&mut *device.driver, from, to, len).unwrap();
                vec![device.get(to, len.div_ceil(2))]
            },
            |name, found| {
                let pairs = found[0].iter().map(|w| w.to_bits());
                let halves = pairs.flat_map(|bits| [bits as u16, (bits >> 16) as u16]);
                assert_eq!(
                    halves.take(len).collect::<Vec<_>>(),
                    expected[..len],
                    "{name}"
                );
            },
        );
    }
}

// ---- Losses.

/// What the losses of a batch see.
struct Batch<'a> {
    /// Scores and labels, where they are looked at.
    class: Option<(&'a [f32], &'a [usize])>,
    classes: usize,
    maps: &'a [MapInput],
    masks: Option<Masks<'a>>,
}

/// A map and its shape `[n, h, w, classes]`.
struct MapInput {
    x: Vec<f32>,
    shape: [usize; 4],
}

impl MapInput {
    fn pixels(&self) -> usize {
        self.shape[..3].iter().product()
    }
}

/// What is taught, as a run has it.
struct Taught {
    config: TrainConfig,
    objective: ClassObjective,
    /// The largest score, in whose last bits dfdx's sums of exponentials are rounded.
    largest: f32,
}

/// What a step gives: figures, and gradients of the scores and of each map.
#[derive(Debug)]
struct Given {
    class_loss: Option<f32>,
    map_loss: Option<f32>,
    loss: f32,
    hits: usize,
    gradients: Vec<Vec<f32>>,
}

impl Taught {
    /// As `Run::loss` and dfdx's backward pass give it.
    fn expected(&self, batch: &Batch<'_>) -> Given {
        let cpu = Cpu::default();
        let logits = batch.class.map(|(x, labels)| {
            let x: Tensor<(usize, usize), f32, Cpu> =
                cpu.tensor_from_vec(x.to_vec(), (labels.len(), batch.classes));
            x
        });
        let maps: Vec<Tensor<(usize, usize, usize, usize), f32, Cpu>> = batch
            .maps
            .iter()
            .map(|map| cpu.tensor_from_vec(map.x.clone(), map.shape.into()))
            .collect();
        let class_loss = logits
            .as_ref()
            .zip(batch.class)
            .map(|(x, (_, labels))| self.objective.loss(x.leaky_trace(), labels).unwrap());
        let traced = maps.iter().map(|map| map.leaky_trace()).collect();
        let map_loss = batch
            .masks
            .as_ref()
            .and_then(|masks| self.config.map.mean_loss(traced, masks).unwrap());
        let figures = (
            class_loss.as_ref().map(|loss| loss.array()),
            map_loss.as_ref().map(|loss| loss.array()),
        );
        let loss: Option<Tensor<_, f32, Cpu, OwnedTape<f32, Cpu>>> = match (class_loss, map_loss) {
            (Some(class), Some(map)) => Some(
                class
                    .try_add(map.try_mul(self.config.map.weight).unwrap())
                    .unwrap(),
            ),
            (one, other) => one.or(other),
        };
        let value = loss.as_ref().map_or(0.0, |loss| loss.array());
        let grads = loss.map(|loss| loss.backward());
        let of = |len, read: &dyn Fn() -> Option<Vec<f32>>| read().unwrap_or(vec![0.0; len]);
        let mut gradients = vec![];
        if let (Some(x), Some((values, _))) = (&logits, batch.class) {
            gradients.push(of(values.len(), &|| {
                grads.as_ref().map(|grads| grads.get(x).as_vec())
            }));
        }
        for (x, map) in maps.iter().zip(batch.maps) {
            gradients.push(of(map.x.len(), &|| {
                (self.known(batch, map) > 0).then_some(())?; // else the loss does not reach it
                Some(grads.as_ref()?.get(x).as_vec())
            }));
        }
        Given {
            class_loss: figures.0,
            map_loss: figures.1,
            loss: value,
            hits: batch
                .class
                .map_or(0, |(x, labels)| hits(x, batch.classes, labels)),
            gradients,
        }
    }

    /// Known pixels at a map's size.
    fn known(&self, batch: &Batch<'_>, map: &MapInput) -> usize {
        let [n, h, w, classes] = map.shape;
        let truth = |masks| self.config.map.truth(masks, (n, h, w), classes).unwrap();
        batch.masks.as_ref().map_or(0, |masks| truth(masks).count)
    }

    fn recipe(&self, batch: &Batch<'_>) -> Recipe {
        let classes = batch.maps.first().map_or(0, |map| map.shape[3]);
        resident::recipe(&self.config, &self.objective, classes, batch.maps.len()).unwrap()
    }

    /// The device's: the results as they lie there, then the gradients.
    fn found(&self, device: &mut Device, batch: &Batch<'_>) -> Vec<Vec<f32>> {
        let recipe = self.recipe(batch);
        let map = Arc::new(ParamMap::new(&graph(1, 1)));
        let host = HostState::new(&self.config, &map);
        let there = DeviceState::new(device, &recipe, Groups::new(&map), &host);
        let (mut known, mut gradients) = (vec![], vec![]);
        let mut launches: Vec<Box<dyn Fn(&mut dyn Driver)>> = vec![];
        let board = there.board;
        if let (Some((x, labels)), Some(term)) = (batch.class, recipe.class) {
            let weights = self.objective.weights.as_ref();
            let at = ClassPlaces {
                logits: device.put(x),
                labels: device.put(&label_words(labels)),
                weights: weights.map(|weights| device.put(weights)),
                gradient: device.place(x.len()),
                n: labels.len(),
                classes: batch.classes,
            };
            gradients.push((at.gradient, x.len()));
            launches.push(Box::new(move |driver| {
                class_loss(driver, &term, board, &at).unwrap();
            }));
        }
        for (number, map) in batch.maps.iter().enumerate() {
            let ([n, h, w, classes], term) = (map.shape, recipe.map.unwrap());
            let unknown = vec![0.0; map.pixels()];
            let (values, weights, count) = match &batch.masks {
                Some(masks) => {
                    let truth = self.config.map.truth(masks, (n, h, w), classes).unwrap();
                    (truth.values, truth.weights, truth.count)
                }
                None => (unknown.clone(), unknown, 0),
            };
            known.push(count);
            let at = MapPlaces {
                map: device.put(&map.x),
                values: device.put(&values),
                weights: device.put(&weights),
                gradient: device.place(map.x.len()),
                scratch: device.place(map_scratch(&term, map.pixels(), classes)),
                pixels: map.pixels(),
                classes,
            };
            gradients.push((at.gradient, map.x.len()));
            launches.push(Box::new(move |driver| {
                map_loss(driver, &term, board, number, &at).unwrap();
            }));
        }
        let step = Step {
            number: 1,
            lr: 0.1,
            ema_share: 0.0,
            known: &known,
        };
        let controls = recipe.controls(&step);
        device.driver.upload(board.controls, &controls).unwrap();
        launches
            .iter()
            .for_each(|launch| launch(&mut *device.driver));
        let zeros = vec![0.0; there.groups.trainable()];
        device.driver.upload(there.at.gradients, &zeros).unwrap();
        update(
            &mut *device.driver,
            &recipe,
            board,
            &there.groups,
            &there.at,
        )
        .unwrap();
        let mut found = vec![device.get(board.results, results_len(recipe.maps()))];
        found.extend(gradients.into_iter().map(|(at, len)| device.get(at, len)));
        found
    }

    /// Of a value's scale: dfdx sums in f32.
    fn tolerance(&self) -> f32 {
        f32::max(5e-6, 2.0 * f32::EPSILON * self.largest)
    }

    /// What a gradient's scale is at least: a tenth of what a row or pixel that is all wrong gets, for dfdx subtracts
    /// from 1. (The gradients against double precision have no such floor.)
    fn floor(&self, batch: &Batch<'_>) -> f32 {
        let rows = batch.class.map_or(0, |(x, _)| x.len());
        let pixels = batch.maps.iter().map(|map| map.x.len()).max();
        0.1 / rows.max(pixels.unwrap_or(0)) as f32
    }

    fn check(&self, name: &str, batch: &Batch<'_>) {
        let expected = self.expected(batch);
        let sizes = batch
            .maps
            .iter()
            .map(|map| 8 * map.x.len() + 8 * map.pixels());
        let class = batch.class.map_or(0, |(x, _)| 4 * x.len());
        everywhere(
            (1 << 15) + class + sizes.sum::<usize>(),
            |device| self.found(device, batch),
            |device, found| {
                let name = format!("{device}: {name}");
                let results = Results::read(&found[0]).unwrap();
                check_figures(&name, &results, &expected, self.tolerance());
                assert_eq!(found.len() - 1, expected.gradients.len(), "{name}");
                for (i, (found, expected)) in found[1..].iter().zip(&expected.gradients).enumerate()
                {
                    let name = format!("{name}: gradient {i}");
                    close(&name, found, expected, self.tolerance(), self.floor(batch));
                }
            },
        );
    }
}

fn check_figures(name: &str, found: &Results, expected: &Given, tolerance: f32) {
    let close = |what: &str, found: f32, expected: f32| {
        let within = tolerance * expected.abs().max(1e-2);
        assert!(
            (found - expected).abs() <= within,
            "{name}: {what} {found} instead of {expected}"
        );
    };
    close(
        "class loss",
        found.class_loss,
        expected.class_loss.unwrap_or(0.0),
    );
    assert_eq!(
        found.map_loss.is_some(),
        expected.map_loss.is_some(),
        "{name}"
    );
    close(
        "map loss",
        found.map_loss.unwrap_or(0.0),
        expected.map_loss.unwrap_or(0.0),
    );
    close("loss", found.loss, expected.loss);
    assert_eq!(found.hits as usize, expected.hits, "{name}: hits");
    assert!(found.applied, "{name}");
}

fn labels(n: usize, classes: usize, seed: u64) -> Vec<usize> {
    let mut rng = Rng::new(seed, 1);
    (0..n)
        .map(|_| (rng.next_u64() % classes as u64) as usize)
        .collect()
}

fn check_class(objective: &ClassObjective, name: &str, x: &[f32], labels: &[usize]) {
    let taught = Taught {
        config: settings(json!({})),
        objective: objective.clone(),
        largest: largest(x),
    };
    let classes = x.len() / labels.len();
    let batch = Batch {
        class: Some((x, labels)),
        classes,
        maps: &[],
        masks: None,
    };
    taught.check(&format!("{objective:?} {name}"), &batch);
}

fn class_objectives(classes: usize) -> Vec<ClassObjective> {
    let mut all = vec![];
    for loss in [ClassLoss::CrossEntropy, ClassLoss::SoftmaxBce] {
        for weights in [None, Some((0..classes).map(|c| 0.3 + c as f32).collect())] {
            for label_smoothing in [0.0, 0.1] {
                let weights = weights.clone();
                all.push(ClassObjective {
                    loss,
                    weights,
                    label_smoothing,
                });
            }
        }
    }
    all
}

#[test]
fn class_losses_are_dfdxs() {
    for classes in [1, 2, 3, 4, 10] {
        for objective in class_objectives(classes) {
            for n in [1, 2, 5, 33, 300] {
                for scale in [1.0, 12.0] {
                    let x: Vec<f32> = normal(n * classes, 3).iter().map(|x| scale * x).collect();
                    let name = format!("{n}x{classes} times {scale}");
                    check_class(&objective, &name, &x, &labels(n, classes, 4));
                }
            }
        }
    }
}

#[test]
fn class_losses_of_extreme_scores_are_finite() {
    for large in [80.0, 1e4] {
        for objective in class_objectives(3) {
            let x = [
                large, -large, 0.0, -large, large, 1.0, large, large, -large, 0.0, 0.0, large,
                -large, -large, -large,
            ];
            for labels in [[0, 1, 2, 2, 0], [1, 0, 0, 1, 1], [2, 2, 1, 0, 2]] {
                check_class(&objective, &format!("at {large}"), &x, &labels);
            }
        }
        for objective in class_objectives(2) {
            let x = [large, -large, -large, large, large, large];
            check_class(&objective, &format!("at {large}"), &x, &[0, 0, 1]);
        }
        for objective in class_objectives(1) {
            check_class(
                &objective,
                &format!("at {large}"),
                &[large, -large],
                &[0, 0],
            );
        }
    }
}

/// The first highest wins, as the host counts; among equal rows that is a hit for one label alone.
#[test]
fn the_first_of_equal_scores_is_the_answer() {
    let x = [
        1.0, 1.0, 0.0, 0.5, 2.0, 2.0, -1.0, -1.0, -1.0, 3.0, 4.0, 4.5,
    ];
    for (labels, expected) in [([0, 1, 0, 2], 4), ([1, 2, 1, 1], 0), ([0, 2, 2, 2], 2)] {
        assert_eq!(hits(&x, 3, &labels), expected);
        check_class(&ClassObjective::default(), "ties", &x, &labels);
    }
}

/// A score that is no number shows in the loss, and keeps the step from being made.
#[test]
fn a_score_that_is_nan_shows_in_the_loss() {
    for objective in class_objectives(3) {
        for bad in [f32::NAN, f32::INFINITY] {
            for place in 0..3 {
                let mut x = normal(6, 8);
                x[3 + place] = bad;
                let taught = Taught {
                    config: settings(json!({})),
                    objective: objective.clone(),
                    largest: 1.0,
                };
                let batch = Batch {
                    class: Some((&x, &[0, 1])),
                    classes: 3,
                    maps: &[],
                    masks: None,
                };
                assert!(!taught.expected(&batch).loss.is_finite());
                let check = |name: &str, found: &[Vec<f32>]| {
                    let results = Results::read(&found[0]).unwrap();
                    assert!(!results.loss.is_finite() && !results.applied, "{name}");
                    let first = [x[3], x[4], x[5]];
                    let seen = hits(&x[..3], 3, &[0]) + hits(&first, 3, &[1]);
                    assert_eq!(results.hits as usize, seen, "{name}");
                };
                everywhere(1 << 14, |device| taught.found(device, &batch), check);
            }
        }
    }
}

const MAP_LOSSES: [&str; 8] = [
    "bce",
    "dice",
    "bce_dice",
    "focal",
    "tversky",
    "cross_entropy",
    "multiclass_dice",
    "cross_entropy_dice",
];

fn map_objective(loss: &str) -> MapObjective {
    serde_json::from_value(json!({"loss": loss})).unwrap()
}

/// A run that learns from masks alone, or from both.
fn map_taught(map: MapObjective, both: bool, largest: f32) -> Taught {
    let config = TrainConfig {
        task: (!both).then_some(Task::Segment),
        map,
        ..TrainConfig::default()
    };
    config.check().unwrap();
    Taught {
        config,
        objective: ClassObjective::default(),
        largest,
    }
}

/// Labels of so many classes; every fifth pixel is unknown, and every seventh (of those left) has the label 255.
fn mask(pixels: usize, classes: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 2);
    let label = |i: usize, rng: &mut Rng| match i {
        _ if i % 5 == 4 => f32::NAN,
        _ if i % 7 == 6 => 255.0,
        _ => (rng.next_u64() % classes as u64) as f32,
    };
    (0..pixels).map(|i| label(i, &mut rng)).collect()
}

/// A map of random scores.
fn random_map(shape: [usize; 4], scale: f32) -> MapInput {
    let x = normal(shape.iter().product(), 11)
        .iter()
        .map(|x| scale * x)
        .collect();
    MapInput { x, shape }
}

fn check_map(
    objective: &MapObjective,
    name: &str,
    map: MapInput,
    values: &[f32],
    weights: Option<&[f32]>,
) {
    let [_, h, w, _] = map.shape;
    let name = format!("{objective:?} {:?} {name}", map.shape);
    let masks = Masks {
        values,
        weights,
        size: (h, w),
    };
    let largest = largest(&map.x);
    let batch = Batch {
        class: None,
        classes: 0,
        maps: &[map],
        masks: Some(masks),
    };
    map_taught(objective.clone(), false, largest).check(&name, &batch);
}

/// Classes that a loss can have.
fn channels(objective: &MapObjective) -> &'static [usize] {
    match objective.loss.is_multiclass() {
        true => &[2, 3, 4, 5, 9],
        false => &[1, 2, 4],
    }
}

fn mask_classes(objective: &MapObjective, channels: usize) -> usize {
    match objective.loss.is_multiclass() {
        true => channels,
        false => 2,
    }
}

#[test]
fn map_losses_are_dfdxs() {
    for loss in MAP_LOSSES {
        let objective = MapObjective {
            ignore: Some(255),
            ..map_objective(loss)
        };
        for c in channels(&objective) {
            for (n, h, w) in [(1, 1, 1), (1, 3, 5), (2, 16, 16), (2, 37, 41)] {
                let values = mask(n * h * w, mask_classes(&objective, *c), 21);
                let weights: Vec<f32> = normal(n * h * w, 22).iter().map(|w| w.abs()).collect();
                for weights in [None, Some(&weights[..])] {
                    let map = random_map([n, h, w, *c], 2.0);
                    check_map(&objective, "", map, &values, weights);
                }
            }
        }
    }
}

/// Each class can be the marked one.
#[test]
fn any_class_can_be_marked() {
    for class in 0..4 {
        let objective = MapObjective {
            class: Some(class),
            ..map_objective("bce_dice")
        };
        let values = mask(60, 2, 23);
        let known: Vec<f32> = values
            .iter()
            .map(|v| if *v == 255.0 { 1.0 } else { *v })
            .collect();
        check_map(&objective, "", random_map([1, 6, 10, 4], 2.0), &known, None);
    }
}

#[test]
fn focal_and_tversky_take_their_settings() {
    for (alpha, beta, gamma) in [
        (0.25, 0.75, 0.0),
        (0.9, 0.1, 1.0),
        (0.0, 2.0, 1.5),
        (1.0, 0.0, 3.0),
    ] {
        for loss in ["focal", "tversky"] {
            let objective = MapObjective {
                alpha,
                beta,
                gamma,
                ignore: Some(255),
                ..map_objective(loss)
            };
            check_map(
                &objective,
                "",
                random_map([2, 9, 8, 2], 3.0),
                &mask(144, 2, 24),
                None,
            );
        }
    }
}

/// Masks between 0 and 1, which losses on one class take.
#[test]
fn shares_of_a_mark_count_in_part() {
    let values: Vec<f32> = (0..48).map(|i| (i % 9) as f32 / 8.0).collect();
    for loss in &MAP_LOSSES[..5] {
        check_map(
            &map_objective(loss),
            "",
            random_map([1, 6, 8, 2], 2.0),
            &values,
            None,
        );
    }
}

/// So many pixels that chunks are longer than the shortest.
#[test]
fn long_sums_stay_exact() {
    for loss in ["bce_dice", "cross_entropy_dice"] {
        let objective = MapObjective {
            ignore: Some(255),
            ..map_objective(loss)
        };
        let (n, h, w) = (3, 460, 461);
        let values = mask(n * h * w, 2, 25);
        let weights: Vec<f32> = normal(n * h * w, 26).iter().map(|w| w.abs()).collect();
        check_map(
            &objective,
            "",
            random_map([n, h, w, 2], 1.0),
            &values,
            Some(&weights),
        );
    }
}

#[test]
fn extreme_maps_are_finite() {
    for large in [80.0, 1e4] {
        for loss in MAP_LOSSES {
            for gamma in [0.0, 2.0] {
                let objective = MapObjective {
                    gamma,
                    ..map_objective(loss)
                };
                for c in channels(&objective) {
                    let pixels = 12;
                    let signs = normal(pixels * c, 31);
                    let mut x: Vec<f32> = signs.iter().map(|s| large * s.signum()).collect();
                    x[pixels * c / 2] = 0.0;
                    let map = MapInput {
                        x,
                        shape: [1, 3, 4, *c],
                    };
                    let classes = mask_classes(&objective, *c);
                    let values: Vec<f32> = (0..pixels).map(|i| (i % classes) as f32).collect();
                    check_map(&objective, &format!("at {large}"), map, &values, None);
                }
            }
        }
    }
}

/// Nothing marked: no Dice and no Tversky, and the other term goes on. A class without a pixel: no Dice of it.
#[test]
fn what_is_not_there_has_no_overlap() {
    for loss in MAP_LOSSES {
        let objective = map_objective(loss);
        for c in channels(&objective) {
            check_map(
                &objective,
                "empty",
                random_map([1, 5, 6, *c], 2.0),
                &[0.0; 30],
                None,
            );
        }
        let ones: Vec<f32> = (0..30).map(|i| f32::from(u8::from(i > 20))).collect();
        let c = *channels(&objective).last().unwrap();
        check_map(
            &objective,
            "few",
            random_map([1, 5, 6, c], 2.0),
            &ones,
            None,
        );
        // Marked pixels of no weight are no marked pixels, but they are known.
        let weights: Vec<f32> = ones.iter().map(|v| 1.0 - v).collect();
        check_map(
            &objective,
            "no weight",
            random_map([1, 5, 6, c], 2.0),
            &ones,
            Some(&weights),
        );
    }
}

/// Class loss and map losses together, with a weight, and over maps of several sizes.
#[test]
fn losses_add_up_and_maps_share() {
    let shapes = [[2, 8, 12], [2, 4, 6], [2, 2, 3]];
    let scores = normal(2 * 3, 41);
    for loss in MAP_LOSSES {
        for deep_supervision in [false, true] {
            for both in [false, true] {
                let objective = MapObjective {
                    weight: if both { 0.3 } else { 1.0 },
                    ignore: Some(255),
                    deep_supervision,
                    ..map_objective(loss)
                };
                let classes = mask_classes(&objective, 3);
                let maps: Vec<MapInput> = shapes[..if deep_supervision { 3 } else { 1 }]
                    .iter()
                    .map(|[n, h, w]| random_map([*n, *h, *w, 3], 1.5))
                    .collect();
                let values = mask(2 * 8 * 12, classes, 42);
                let batch = Batch {
                    class: both.then_some((&scores[..], &[2, 0][..])),
                    classes: 3,
                    maps: &maps,
                    masks: Some(Masks {
                        values: &values,
                        weights: None,
                        size: (8, 12),
                    }),
                };
                let name = format!("{loss} deep {deep_supervision} both {both}");
                map_taught(objective, both, 1.0).check(&name, &batch);
            }
        }
    }
}

/// Batches without masks, with unknown masks, and with pixels that only the larger map sees: the same launches, no part in
/// the loss, and gradients of 0 even where the map is no number.
#[test]
fn maps_without_a_known_pixel_have_no_loss() {
    let scores = normal(2 * 3, 43);
    for loss in MAP_LOSSES {
        let objective = MapObjective {
            deep_supervision: true,
            weight: 0.7,
            ..map_objective(loss)
        };
        let mut maps = vec![random_map([2, 4, 4, 3], 1.0), random_map([2, 2, 2, 3], 1.0)];
        // A cell of the second map is compared with the lower right of its four pixels.
        let mut corner = vec![f32::NAN; 32];
        (corner[0], corner[18]) = (1.0, 0.0);
        let unknown = vec![f32::NAN; 32];
        maps[1].x[5] = f32::NAN; // nobody may look at it
        let taught = map_taught(objective, true, 1.0);
        for (name, values, first) in [
            ("no mask", None, f32::NAN),
            ("unknown", Some(&unknown), f32::NAN),
            ("corner", Some(&corner), 0.5),
        ] {
            maps[0].x[7] = first;
            let batch = Batch {
                class: Some((&scores, &[1, 0])),
                classes: 3,
                maps: &maps,
                masks: values.map(|values| Masks {
                    values,
                    weights: None,
                    size: (4, 4),
                }),
            };
            let given = taught.expected(&batch);
            assert_eq!(given.map_loss.is_some(), name == "corner", "{loss}");
            let zero = given.gradients.last().unwrap();
            assert!(zero.iter().all(|d| *d == 0.0), "{loss} {name}");
            taught.check(&format!("{loss} {name}"), &batch);
        }
    }
}

/// A score that is no number shows in the loss even at a pixel that does not count, as on the host.
#[test]
fn a_map_that_is_nan_shows_in_the_loss() {
    for loss in MAP_LOSSES {
        let taught = map_taught(map_objective(loss), false, 1.0);
        let mut map = random_map([1, 2, 3, 2], 1.0);
        map.x[9] = f32::NAN;
        let values = [0.0, 1.0, 1.0, 0.0, f32::NAN, 1.0];
        let batch = Batch {
            class: None,
            classes: 0,
            maps: &[map],
            masks: Some(Masks {
                values: &values,
                weights: None,
                size: (2, 3),
            }),
        };
        assert!(taught.expected(&batch).loss.is_nan(), "{loss}");
        everywhere(
            1 << 14,
            |device| taught.found(device, &batch),
            |name, found| {
                let results = Results::read(&found[0]).unwrap();
                assert!(results.loss.is_nan() && !results.applied, "{name}: {loss}");
            },
        );
    }
}

// ---- Losses in double precision, whose slopes are differences.

fn log_sum_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = x.clone().fold(f64::NEG_INFINITY, f64::max);
    most + x.map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// `log p` of a class and `log(1 − p)`.
fn log_shares(x: &[f64], class: usize) -> (f64, f64) {
    if x.len() == 1 {
        let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
        return (-softplus(-x[0]), -softplus(x[0]));
    }
    let others = x.iter().enumerate().filter(|(c, _)| *c != class);
    let all = log_sum_exp(x.iter().copied());
    (x[class] - all, log_sum_exp(others.map(|(_, x)| *x)) - all)
}

fn class_loss_in_double(objective: &ClassObjective, x: &[f64], labels: &[usize]) -> f64 {
    let classes = x.len() / labels.len();
    let weight = |c: usize| objective.weights.as_ref().map_or(1.0, |w| f64::from(w[c]));
    let smoothing = f64::from(objective.label_smoothing);
    let target = |hit| f64::from(u8::from(hit)) * (1.0 - smoothing) + smoothing / classes as f64;
    let total: f64 = labels.iter().map(|y| weight(*y)).sum();
    let mut sum = 0.0;
    for (row, y) in x.chunks(classes).zip(labels) {
        for c in 0..classes {
            let ((hit, miss), t) = (log_shares(row, c), target(c == *y));
            sum -= match objective.loss {
                ClassLoss::CrossEntropy => {
                    weight(c) * t * (row[c] - log_sum_exp(row.iter().copied()))
                }
                ClassLoss::SoftmaxBce => weight(*y) / classes as f64 * (t * hit + (1.0 - t) * miss),
            };
        }
    }
    sum / total
}

fn map_loss_in_double(objective: &MapObjective, x: &[f64], truth: &Truth) -> f64 {
    let classes = x.len() / truth.values.len();
    let pixels = || {
        let truths = truth.values.iter().zip(&truth.weights);
        let truths = truths.map(|(t, w)| (f64::from(*t), f64::from(*w)));
        x.chunks(classes).zip(truths)
    };
    let (alpha, beta) = (f64::from(objective.alpha), f64::from(objective.beta));
    let mean = |term: &dyn Fn(&[f64], f64) -> f64| {
        let sum: f64 = pixels().map(|(x, (t, w))| w * term(x, t)).sum();
        sum / truth.count as f64
    };
    let class = objective.class.unwrap_or(classes - 1);
    let nll = |x: &[f64], t: f64| {
        let (hit, miss) = log_shares(x, class);
        -(t * hit + (1.0 - t) * miss)
    };
    // Of a class and how much of each pixel is of it.
    let overlap = |class: usize, alpha: f64, beta: f64, of: &dyn Fn(f64) -> f64| {
        let (mut both, mut all, mut marked) = (0.0, 0.0, 0.0);
        for (x, (t, w)) in pixels() {
            let p = log_shares(x, class).0.exp();
            both += w * p * of(t);
            all += w * p;
            marked += w * of(t);
        }
        let below = both + alpha * (all - both) + beta * (marked - both) + 1.0;
        if marked > 0.0 {
            1.0 - (both + 1.0) / below
        } else {
            0.0
        }
    };
    let dice = |alpha, beta| overlap(class, alpha, beta, &|t| t);
    let bce = || mean(&nll);
    let entropy = || mean(&|x, t| -log_shares(x, t as usize).0);
    let dices = || {
        let of = |c| overlap(c, 0.5, 0.5, &|t| f64::from(u8::from(t as usize == c)));
        (0..classes).map(of).sum::<f64>() / classes as f64
    };
    match objective.loss {
        MapLoss::None => 0.0,
        MapLoss::Bce => bce(),
        MapLoss::Dice => dice(0.5, 0.5),
        MapLoss::BceDice => bce() + dice(0.5, 0.5),
        MapLoss::Tversky => dice(alpha, beta),
        MapLoss::Focal => mean(&|x, t| {
            let nll = nll(x, t);
            let balance = alpha * t + (1.0 - alpha) * (1.0 - t);
            balance * (1.0 - (-nll).exp()).powf(objective.gamma.into()) * nll
        }),
        MapLoss::CrossEntropy => entropy(),
        MapLoss::MulticlassDice => dices(),
        MapLoss::CrossEntropyDice => entropy() + dices(),
    }
}

/// Value and gradient are those of `loss` in double precision; where nothing else is small, to an f32's last bits.
fn check_in_double(
    name: &str,
    taught: &Taught,
    batch: &Batch<'_>,
    x: &[f32],
    loss: &dyn Fn(&[f64]) -> f64,
) {
    let at: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let slope = |i: usize| {
        let moved = |by: f64| {
            let mut x = at.clone();
            x[i] += by;
            loss(&x)
        };
        ((moved(1e-5) - moved(-1e-5)) / 2e-5) as f32
    };
    let slopes: Vec<f32> = (0..x.len()).map(slope).collect();
    let value = loss(&at) as f32;
    everywhere(
        1 << 16,
        |device| taught.found(device, batch),
        |device, found| {
            let results = Results::read(&found[0]).unwrap();
            let name = format!("{device}: {name}");
            close(&name, &[results.loss], &[value], 1e-6, 1e-3);
            close(&name, &found[1], &slopes, 2e-6, 1e-5);
        },
    );
}

#[test]
fn class_losses_are_those_of_double_precision() {
    for classes in [1, 2, 3, 7] {
        for objective in class_objectives(classes) {
            for scale in [1.0, 4.0, 12.0] {
                let n = 9;
                let x: Vec<f32> = normal(n * classes, 51).iter().map(|x| scale * x).collect();
                let labels = labels(n, classes, 52);
                let taught = Taught {
                    config: settings(json!({})),
                    objective: objective.clone(),
                    largest: 1.0,
                };
                let batch = Batch {
                    class: Some((&x, &labels)),
                    classes,
                    maps: &[],
                    masks: None,
                };
                let name = format!("{objective:?} {classes} classes times {scale}");
                let loss = |x: &[f64]| class_loss_in_double(&objective, x, &labels);
                check_in_double(&name, &taught, &batch, &x, &loss);
            }
        }
    }
}

#[test]
fn map_losses_are_those_of_double_precision() {
    let shape = [2, 4, 5];
    let weights: Vec<f32> = normal(40, 61).iter().map(|w| w.abs()).collect();
    for loss in MAP_LOSSES {
        let objective = MapObjective {
            ignore: Some(255),
            ..map_objective(loss)
        };
        for c in channels(&objective) {
            for scale in [1.0, 6.0] {
                let [n, h, w] = shape;
                let map = random_map([n, h, w, *c], scale);
                let values = mask(40, mask_classes(&objective, *c), 62);
                let masks = Masks {
                    values: &values,
                    weights: Some(&weights),
                    size: (h, w),
                };
                let truth = objective.truth(&masks, (n, h, w), *c).unwrap();
                let x = map.x.clone();
                let batch = Batch {
                    class: None,
                    classes: 0,
                    maps: &[map],
                    masks: Some(masks),
                };
                let name = format!("{loss} {c} classes times {scale}");
                let taught = map_taught(objective.clone(), false, 1.0);
                let loss = |x: &[f64]| map_loss_in_double(&objective, x, &truth);
                check_in_double(&name, &taught, &batch, &x, &loss);
            }
        }
    }
}

// ---- Launches.

/// Writes down every launch with its arguments.
#[derive(Default)]
struct Recorder {
    launches: Vec<String>,
}

impl Driver for Recorder {
    fn name(&self) -> String {
        "a recorder".into()
    }

    fn available(&self) -> Result<u64, DeviceError> {
        Ok(u64::MAX)
    }

    fn allocate(&mut self, _: usize) -> Result<Address, DeviceError> {
        Ok(Address(256))
    }

    fn upload(&mut self, _: Address, _: &[f32]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn download(&mut self, _: Address, data: &mut [f32]) -> Result<(), DeviceError> {
        data.fill(0.0);
        Ok(())
    }

    fn launch(&mut self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        launch.check()?;
        self.launches.push(format!("{launch:?}"));
        Ok(())
    }
}

/// A recording of one step replays any other: learning rate, labels and masks are no arguments.
#[test]
fn launches_do_not_depend_on_the_step_or_the_batch() {
    for loss in ["bce_dice", "cross_entropy_dice"] {
        let objective = MapObjective {
            deep_supervision: true,
            ..map_objective(loss)
        };
        let taught = map_taught(objective, true, 1.0);
        let term = resident::map_term(&taught.config.map, 3, 2)
            .unwrap()
            .unwrap();
        let recipe = resident::recipe(&taught.config, &taught.objective, 3, 2).unwrap();
        let board = Board {
            controls: Address(1 << 20),
            results: Address(1 << 21),
        };
        let groups = Groups::new(&ParamMap::new(&graph(41, 113)));
        let at = |i: u64| Address(i << 24);
        let record = || {
            let mut driver = Recorder::default();
            let class = ClassPlaces {
                logits: at(1),
                labels: at(2),
                weights: None,
                gradient: at(3),
                n: 8,
                classes: 3,
            };
            class_loss(&mut driver, &recipe.class.unwrap(), board, &class).unwrap();
            for number in 0..2 {
                let map = MapPlaces {
                    map: at(4),
                    values: at(5),
                    weights: at(6),
                    gradient: at(7),
                    scratch: at(8),
                    pixels: 5000 >> (2 * number),
                    classes: 3,
                };
                map_loss(&mut driver, &term, board, number, &map).unwrap();
            }
            let state = State {
                weights: at(9),
                gradients: at(10),
                moments: [at(11), at(12)],
                average: at(13),
                halves: None,
                scratch: at(14),
            };
            update(&mut driver, &recipe, board, &groups, &state).unwrap();
            driver.launches
        };
        let launches = record();
        assert_eq!(launches.len(), 1 + 2 * 3 + 3, "{launches:#?}");
        assert_eq!(launches, record());
        // What does depend on them is as long in every step.
        let controls = |number, lr, known: &[usize]| {
            recipe.controls(&Step {
                number,
                lr,
                ema_share: 0.1,
                known,
            })
        };
        let (one, other) = (controls(1, 0.1, &[]), controls(7, 0.01, &[5000, 1250]));
        assert_eq!(one.len(), other.len());
        assert_ne!(one, other);
        let shares = |c: &[f32]| [c[c.len() - 3], c[c.len() - 1]];
        assert_eq!((shares(&one), shares(&other)), ([0.0; 2], [0.5; 2]));
    }
}

/// The places that the engine's layout gives the groups are a run as the kernels take it.
#[test]
fn groups_lie_as_the_engine_lays_them_out() {
    use model::engine::cuda::layout::Layout;
    use model::plan::{Mode, Plan};
    let graph = Arc::new(graph(3, 7));
    let map = Arc::new(ParamMap::new(&graph));
    let outputs = [graph.output("values").unwrap()];
    let plan = Plan::new(&graph, Mode::Train, 2, 1, 1, &outputs).unwrap();
    let layout = Layout::new(&graph, &map, &plan).unwrap();
    let groups = Groups::new(&map);
    for group in Group::ALL {
        let at = layout.params[group as usize] - layout.params[0];
        assert_eq!(at, groups.start(group));
    }
    assert_eq!(
        layout.grads[1] - layout.grads[0],
        groups.start(Group::Plain)
    );
    assert_eq!(
        groups.all(),
        groups.start(Group::Buffers) + groups.len(Group::Buffers)
    );
    assert!(!groups.is_empty(Group::Buffers));
}

/// Settings become the recipe that they mean.
#[test]
fn a_map_that_is_alone_is_the_whole_loss() {
    let objective = map_objective("dice");
    let recipe = |task, weight| {
        let config = TrainConfig {
            task,
            map: MapObjective {
                weight,
                ..objective.clone()
            },
            ..TrainConfig::default()
        };
        resident::recipe(&config, &ClassObjective::default(), 2, 3).unwrap()
    };
    let alone = recipe(Some(Task::Segment), 0.5);
    assert!(alone.class.is_none());
    assert_eq!(alone.map.unwrap().weight, 1.0);
    let both = recipe(None, 0.5);
    assert!(both.class.is_some());
    assert_eq!((both.map.unwrap().weight, both.maps()), (0.5, 1));
    let off = resident::recipe(&TrainConfig::default(), &ClassObjective::default(), 2, 3).unwrap();
    assert_eq!((off.map, off.maps(), off.averages), (None, 0, false));
    let missing = MapObjective {
        class: Some(2),
        ..map_objective("dice")
    };
    assert!(resident::map_term(&missing, 2, 1).is_err());
    assert_eq!(objective.loss, MapLoss::Dice);
}
