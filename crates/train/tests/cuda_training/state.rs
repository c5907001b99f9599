//! Weights, moments and averages as kept on the host and on a device.

use std::sync::Arc;

use model::engine::cuda::driver::{Address, Driver, Recording};
use model::engine::cuda::step::{Board, controls_len, results_len};
use model::engine::cuda::update::{Groups, State, update};
use model::engine::recipe::{Recipe, Results, Step, UpdateStep};
use model::graph::{Graph, GraphBuilder, Init};
use model::store::{Group, ParamMap, ParamStore};
use train::clip::clip_factor;
use train::ema::Ema;
use train::loss::ClassObjective;
use train::optimizer::Optimizer;
use train::{TrainConfig, resident};

use crate::device::{Device, normal};

/// A graph with `inputs · n` decayed values, `n` plain ones, and a batch norm, whose statistics are the buffers.
pub(crate) fn graph(inputs: usize, n: usize) -> Graph {
    let mut g = GraphBuilder::new(inputs);
    let x = g.input();
    let x = g.linear("fc", x, n, Init::Constant(0.0));
    let x = g.batch_norm("bn", x, 1e-5, 0.1);
    g.publish("values", x);
    g.finish(1).unwrap()
}

pub(crate) fn random_store(map: &Arc<ParamMap>, seed: u64) -> ParamStore {
    let mut store = ParamStore::zeros(map.clone());
    for group in Group::ALL {
        let len = map.len(group);
        *store.group_mut(group) = normal(len, seed + group as u64);
    }
    store
}

/// A step's gradients, spanning many orders of magnitude, some of them zero.
pub(crate) fn gradients(map: &ParamMap, step: u64) -> [Vec<f32>; 2] {
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

/// Norm of both groups together, added up in storage order.
pub(crate) fn norm(grads: &[Vec<f32>; 2]) -> f64 {
    let squares = grads.iter().flatten().map(|g| f64::from(*g).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Groups in one contiguous buffer; the gaps between them are NaN.
pub(crate) fn in_a_run(groups: &Groups, parts: &[&[f32]]) -> Vec<f32> {
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

pub(crate) fn store_in_a_run(groups: &Groups, store: &ParamStore) -> Vec<f32> {
    in_a_run(groups, &Group::ALL.map(|group| store.group(group)))
}

/// The training state as kept on the host.
pub(crate) struct HostState {
    pub(crate) config: TrainConfig,
    pub(crate) store: ParamStore,
    pub(crate) optimizer: Optimizer,
    pub(crate) ema: Option<Ema>,
}

impl HostState {
    pub(crate) fn new(config: &TrainConfig, map: &Arc<ParamMap>) -> Self {
        let store = random_store(map, 7);
        HostState {
            ema: (config.ema > 0.0).then(|| Ema::new(config.ema, store.clone())),
            optimizer: Optimizer::new(config.optimizer.clone(), map),
            config: config.clone(),
            store,
        }
    }

    /// Makes a step as `Run::step` and `Run::update` do; returns the gradient norm.
    pub(crate) fn step(&mut self, grads: &[Vec<f32>; 2], lr: f64) -> f64 {
        let norm = norm(grads);
        let scale = clip_factor(norm, self.config.clip_norm).unwrap_or(1.0);
        self.optimizer.begin();
        for (group, grads) in Group::TRAINABLE.into_iter().zip(grads) {
            let values = self.store.group_mut(group);
            self.optimizer.update(group, values, grads, (lr, scale));
        }
        if let Some(ema) = &mut self.ema {
            ema.update(&self.store);
        }
        norm
    }

    /// How the next step updates the encoder.
    pub(crate) fn encoder_step(&self, lr: f64) -> Option<UpdateStep> {
        let next = |step: UpdateStep| UpdateStep {
            number: step.number + 1,
            ..step
        };
        self.optimizer.encoder_step(lr).map(next)
    }

    pub(crate) fn ema_share(&self) -> f32 {
        self.ema.as_ref().map_or(0.0, Ema::share)
    }

    /// Weights, moments (those that the device keeps), and average.
    pub(crate) fn runs(&self, groups: &Groups, recipe: &Recipe) -> Vec<Vec<f32>> {
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
pub(crate) struct DeviceState {
    pub(crate) recipe: Recipe,
    pub(crate) groups: Groups,
    pub(crate) board: Board,
    pub(crate) at: State,
    recording: Option<Recording>,
}

impl DeviceState {
    pub(crate) fn new(
        device: &mut Device,
        recipe: &Recipe,
        groups: Groups,
        host: &HostState,
    ) -> Self {
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
            recording: None,
        }
    }

    /// Writes a step's controls.
    pub(crate) fn tell(&self, device: &mut Device, step: &Step<'_>) {
        let controls = self.recipe.controls(step);
        assert_eq!(controls.len(), controls_len(self.recipe.maps()));
        let to = self.board.controls;
        device.driver.upload(to, &controls).unwrap();
    }

    fn update(&self, driver: &mut dyn Driver) {
        update(driver, &self.recipe, self.board, &self.groups, &self.at).unwrap();
    }

    /// Records an update; all later steps replay this recording.
    pub(crate) fn record(&mut self, device: &mut Device) {
        let driver = &mut *device.driver;
        driver.record().unwrap();
        self.update(driver);
        self.recording = Some(driver.recorded().unwrap());
    }

    /// Makes a step with these gradients after a class loss of `loss`.
    pub(crate) fn step(
        &self,
        device: &mut Device,
        step: &Step<'_>,
        grads: &[Vec<f32>; 2],
        loss: f32,
    ) -> Results {
        self.tell(device, step);
        let driver = &mut *device.driver;
        for (group, grad) in Group::TRAINABLE.into_iter().zip(grads) {
            let to = self.at.gradients.plus(self.groups.start(group));
            driver.upload(to, grad).unwrap();
        }
        driver.upload(self.board.results.plus(2), &[loss]).unwrap();
        match self.recording {
            Some(recording) => driver.replay(recording).unwrap(),
            None => self.update(driver),
        }
        let words = device.get(self.board.results, results_len(self.recipe.maps()));
        Results::read(&words).unwrap()
    }

    pub(crate) fn runs(&self, device: &mut Device) -> Vec<Vec<f32>> {
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

    pub(crate) fn halves(&self, device: &mut Device) -> Vec<u16> {
        let len = self.groups.len(Group::Decayed);
        let words = device.get(self.at.halves.unwrap(), len.div_ceil(2));
        let pairs = words.iter().map(|w| w.to_bits());
        let halves = pairs.flat_map(|bits| [bits as u16, (bits >> 16) as u16]);
        halves.take(len).collect()
    }
}

pub(crate) fn recipe_of(config: &TrainConfig) -> Recipe {
    resident::recipe(config, &ClassObjective::default(), 2, 1).unwrap()
}

/// Checks for equal bits; values that are NaN in both, such as the gaps between groups, count as equal.
pub(crate) fn same(name: &str, step: u64, found: &[Vec<f32>], expected: &[Vec<f32>]) {
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
