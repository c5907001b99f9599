//! A batch's losses, computed by dfdx and on a device.

use std::sync::Arc;

use dfdx::prelude::{
    AsArray, Backward, Cpu, Gradients, NoneTape, OwnedTape, TensorFromVec, Trace, TryAdd, TryMul,
};
use model::engine::cuda::driver::{Address, Driver};
use model::engine::cuda::loss::{
    ClassLoss, MapLoss, class_loss, label_words, map_loss, map_scratch,
};
use model::engine::cuda::step::results_len;
use model::engine::cuda::update::{Groups, update};
use model::engine::recipe::{MapTerm, Recipe};
use model::engine::recipe::{Results, Step};
use model::store::ParamMap;
use train::loss::{ClassObjective, Logits, Loss, Targets};
use train::map_loss::{ClassMap, Masks, Truth};
use train::{TrainConfig, hits, resident};

use crate::device::{Device, close, everywhere};
use crate::state::{DeviceState, HostState, graph};

/// Inputs of a batch's losses.
pub(crate) struct Batch<'a> {
    /// Scores and classes, if there is a class loss.
    pub(crate) class: Option<(&'a [f32], Targets<'a>)>,
    pub(crate) classes: usize,
    pub(crate) maps: &'a [MapInput],
    pub(crate) masks: Option<Masks<'a>>,
}

/// A map and its shape `[n, h, w, classes]`.
pub(crate) struct MapInput {
    pub(crate) x: Vec<f32>,
    pub(crate) shape: [usize; 4],
}

impl MapInput {
    fn pixels(&self) -> usize {
        self.shape[..3].iter().product()
    }
}

/// What is trained, as configured in a run.
pub(crate) struct TrainingCase {
    pub(crate) config: TrainConfig,
    pub(crate) objective: ClassObjective,
    /// The largest score, which determines the rounding error of dfdx's sums of exponentials.
    pub(crate) largest: f32,
}

/// Results of a step: losses, hits, and the gradients of the scores and of each map.
pub(crate) struct Given {
    pub(crate) class_loss: Option<f32>,
    pub(crate) map_loss: Option<f32>,
    pub(crate) loss: f32,
    hits: usize,
    pub(crate) gradients: Vec<Vec<f32>>,
}

type TapedLoss = Loss<OwnedTape<f32, Cpu>>;

impl TrainingCase {
    /// The result of `Run::loss` and dfdx's backward pass.
    pub(crate) fn expected(&self, batch: &Batch<'_>) -> Given {
        let (logits, maps) = tensors(batch);
        let class = logits.as_ref().zip(batch.class);
        let class: Option<TapedLoss> = class.map(|(x, (_, targets))| {
            let loss = self.objective.loss(x.leaky_trace(), targets);
            loss.unwrap()
        });
        let masks = batch.masks.as_ref();
        let traced = maps.iter().map(|map| map.leaky_trace()).collect();
        let map = masks.and_then(|masks| self.config.map.mean_loss(traced, masks).unwrap());
        let array = |loss: &Option<TapedLoss>| loss.as_ref().map(|loss| loss.array());
        let (class_loss, map_loss) = (array(&class), array(&map));
        let loss = match (class, map) {
            (Some(class), Some(map)) => {
                let map = map.try_mul(self.config.map.weight).unwrap();
                Some(class.try_add(map).unwrap())
            }
            (one, other) => one.or(other),
        };
        let right = |(x, targets): (_, Targets<'_>)| hits(x, batch.classes, targets.dominant());
        Given {
            class_loss,
            map_loss,
            loss: array(&loss).unwrap_or(0.0),
            hits: batch.class.map_or(0, right),
            gradients: self.gradients(batch, &logits, &maps, loss.map(|loss| loss.backward())),
        }
    }

    fn gradients(
        &self,
        batch: &Batch<'_>,
        logits: &Option<Logits<NoneTape>>,
        maps: &[ClassMap<NoneTape>],
        grads: Option<Gradients<f32, Cpu>>,
    ) -> Vec<Vec<f32>> {
        let of_logits = logits.iter().zip(&grads).map(|(x, g)| g.get(x).as_vec());
        let of_map = |(x, map): (_, &MapInput)| match (&grads, self.truth(batch, map).count) {
            (Some(grads), 1..) => grads.get(x).as_vec(),
            _ => vec![0.0; map.x.len()], // not part of the loss
        };
        let of_maps = maps.iter().zip(batch.maps).map(of_map);
        of_logits.chain(of_maps).collect()
    }

    /// The batch's ground truth at a map's size.
    fn truth(&self, batch: &Batch<'_>, map: &MapInput) -> Truth {
        let ([n, h, w, classes], unknown) = (map.shape, vec![f32::NAN; map.pixels()]);
        let nothing = Masks {
            values: &unknown,
            weights: None,
            size: (h, w),
        };
        let masks = batch.masks.unwrap_or(nothing);
        self.config.map.truth(&masks, (n, h, w), classes).unwrap()
    }

    fn recipe(&self, batch: &Batch<'_>) -> Recipe {
        let classes = batch.maps.first().map_or(0, |map| map.shape[3]);
        resident::recipe(&self.config, &self.objective, classes, batch.maps.len()).unwrap()
    }

    /// The device's output, computed in the order of a step: the results as laid out in memory, then the gradients.
    pub(crate) fn found(&self, device: &mut Device, batch: &Batch<'_>) -> Vec<Vec<f32>> {
        let recipe = self.recipe(batch);
        let groups = Groups::new(&ParamMap::new(&graph(1, 1)));
        let host = HostState::new(&self.config, &Arc::new(ParamMap::new(&graph(1, 1))));
        let state = DeviceState::new(device, &recipe, groups, &host);
        let class = batch
            .class
            .map(|class| self.put_class(device, class, batch.classes));
        let (maps, known) = self.put_maps(device, batch, &recipe);
        let step = Step {
            number: 1,
            lr: 0.1,
            ema_share: 0.0,
            known: &known,
            mixed: batch.class.and_then(|(_, targets)| share(targets)),
            encoder: None,
        };
        state.tell(device, &step);
        let zeros = vec![0.0; groups.trainable()];
        device.driver.upload(state.at.gradients, &zeros).unwrap();
        let driver: &mut dyn Driver = &mut *device.driver;
        if let Some(at) = &class {
            class_loss(driver, &recipe.class.unwrap(), state.board, at).unwrap();
        }
        for (number, at) in maps.iter().enumerate() {
            map_loss(driver, &recipe.map.unwrap(), state.board, number, at).unwrap();
        }
        update(driver, &recipe, state.board, &groups, &state.at).unwrap();
        let classes = class.iter().map(|at| (at.gradient, at.n * at.classes));
        let maps = maps.iter().map(|at| (at.gradient, at.pixels * at.classes));
        let results = (state.board.results, results_len(recipe.maps()));
        let places: Vec<(Address, usize)> =
            [results].into_iter().chain(classes).chain(maps).collect();
        let read = |(at, len)| device.get(at, len);
        places.into_iter().map(read).collect()
    }

    fn put_class(
        &self,
        device: &mut Device,
        (x, targets): (&[f32], Targets<'_>),
        classes: usize,
    ) -> ClassLoss {
        let weights = self.objective.weights.as_ref();
        let labels = match targets {
            Targets::Labels(labels) | Targets::Mixed { labels, .. } => labels,
        };
        ClassLoss {
            logits: device.put(x),
            labels: device.put(&label_words(labels)),
            partners: match targets {
                Targets::Labels(_) => device.place(labels.len()), // never written: NaN
                Targets::Mixed { partners, .. } => device.put(&label_words(partners)),
            },
            weights: weights.map(|weights| device.put(weights)),
            gradient: device.place(x.len()),
            n: labels.len(),
            classes,
        }
    }

    /// The maps and the number of known pixels in each.
    fn put_maps(
        &self,
        device: &mut Device,
        batch: &Batch<'_>,
        recipe: &Recipe,
    ) -> (Vec<MapLoss>, Vec<usize>) {
        let Some(term) = recipe.map else {
            return (vec![], vec![]);
        };
        let put = |map| {
            let truth = self.truth(batch, map);
            (put_map(device, &term, map, &truth), truth.count)
        };
        batch.maps.iter().map(put).unzip()
    }

    /// Relative to a value's scale: dfdx sums in f32.
    fn tolerance(&self) -> f32 {
        f32::max(5e-6, 2.0 * f32::EPSILON * self.largest)
    }

    /// Lower bound of a gradient's scale: a tenth of the gradient of a completely misclassified row or pixel, because
    /// dfdx subtracts from 1. (The comparison with double precision has no such floor.)
    fn floor(&self, batch: &Batch<'_>) -> f32 {
        let rows = batch.class.map_or(0, |(x, _)| x.len());
        let pixels = batch.maps.iter().map(|map| map.x.len()).max();
        0.1 / rows.max(pixels.unwrap_or(0)) as f32
    }

    /// Checks that the device's results match dfdx's.
    pub(crate) fn check(&self, name: &str, batch: &Batch<'_>) {
        let expected = self.expected(batch);
        let map = |map: &MapInput| 8 * map.x.len() + 8 * map.pixels();
        let maps: usize = batch.maps.iter().map(map).sum();
        let class = batch.class.map_or(0, |(x, _)| 4 * x.len());
        everywhere(
            (1 << 15) + class + maps,
            |device| self.found(device, batch),
            |device, found| {
                let name = format!("{device}: {name}");
                let results = Results::read(&found[0]).unwrap();
                check_figures(&name, &results, &expected, self.tolerance());
                self.check_unknown(&name, batch, &found[0]);
                assert_eq!(found.len() - 1, expected.gradients.len(), "{name}");
                let pairs = found[1..].iter().zip(&expected.gradients);
                for (i, (found, expected)) in pairs.enumerate() {
                    let name = format!("{name}: gradient {i}");
                    close(&name, found, expected, self.tolerance(), self.floor(batch));
                }
            },
        );
    }

    /// Checks that the loss of each map without a known pixel is 0.
    fn check_unknown(&self, name: &str, batch: &Batch<'_>, results: &[f32]) {
        let losses = &results[results_len(0)..];
        for (i, (loss, map)) in losses.iter().zip(batch.maps).enumerate() {
            let known = self.truth(batch, map).count > 0;
            assert!(
                known || *loss == 0.0,
                "{name}: map {i} has a loss of {loss}"
            );
        }
    }
}

fn share(targets: Targets<'_>) -> Option<f32> {
    match targets {
        Targets::Labels(_) => None,
        Targets::Mixed { share, .. } => Some(share),
    }
}

fn tensors(batch: &Batch<'_>) -> (Option<Logits<NoneTape>>, Vec<ClassMap<NoneTape>>) {
    let cpu = Cpu::default();
    let logits = batch
        .class
        .map(|(x, _)| cpu.tensor_from_vec(x.to_vec(), (x.len() / batch.classes, batch.classes)));
    let map = |map: &MapInput| cpu.tensor_from_vec(map.x.clone(), map.shape.into());
    (logits, batch.maps.iter().map(map).collect())
}

fn put_map(device: &mut Device, term: &MapTerm, map: &MapInput, truth: &Truth) -> MapLoss {
    let (pixels, classes) = (map.pixels(), map.shape[3]);
    MapLoss {
        map: device.put(&map.x),
        values: device.put(&truth.values),
        weights: device.put(&truth.weights),
        gradient: device.place(map.x.len()),
        scratch: device.place(map_scratch(term, pixels, classes)),
        pixels,
        classes,
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
    let class_loss = expected.class_loss.unwrap_or(0.0);
    close("class loss", found.class_loss, class_loss);
    let there = (found.map_loss.is_some(), expected.map_loss.is_some());
    assert_eq!(there.0, there.1, "{name}: whether there is a map loss");
    let map_loss = expected.map_loss.unwrap_or(0.0);
    close("map loss", found.map_loss.unwrap_or(0.0), map_loss);
    close("loss", found.loss, expected.loss);
    assert_eq!(found.hits as usize, expected.hits, "{name}: hits");
    assert!(found.applied, "{name}");
}
