//! Runs an epoch's steps on a device that keeps weights, moments and averages: batches are sent to the device, and
//! their results arrive one step late.

use std::mem;

use model::graph::Nhwc;

use super::event::Batch;
use super::loss::LossError;
use super::map_loss::Truth;
use super::run::Run;
use super::tally::{Done, Place, Scores, Spent, images};
use super::{BatchError, TrainError, resident};
use model::engine::EngineError;
use model::engine::recipe::{Recipe, Results, Step};
use model::engine::resident::{Input, Pixels, Resident, Start, State};
use model::graph::{Hwc, NodeId};
use model::network::{Network, NetworkError};
use model::store::Group;

/// An epoch that runs on the device.
pub(super) struct OnDevice {
    recipe: Recipe,
    /// Class scores, if they are trained, followed by the trained maps.
    outputs: Vec<NodeId>,
    /// Number of classes in the scores.
    classes: usize,
    /// Largest batch shape that fits, and the state that was sent to the device; `None` before the first batch.
    begun: Option<(Nhwc, State)>,
    /// The queued step.
    pending: Option<Pending>,
}

/// A step whose results have not arrived.
struct Pending {
    place: Place,
    name: String,
    images: usize,
    lr: f64,
}

impl OnDevice {
    /// Returns `None` for an engine that leaves losses and updates to the host, and where batches are cut or shared with
    /// other processes: gradients are then added up on the host.
    pub(super) fn new(run: &Run<'_>, network: &Network) -> Result<Option<Self>, TrainError> {
        if run.in_chunks() || network.resident(|_| ()).is_none() {
            return Ok(None);
        }
        let (graph, config) = (network.graph(), run.job.config);
        let channels = |name| graph.output(name).map_or(0, |id| graph.node(id).channels);
        let maps = graph.maps().len();
        let recipe = Recipe {
            encoder: run.optimizer.divided(),
            ..resident::recipe(config, &run.objective, channels("map"), maps)?
        };
        let outputs = network.outputs(run.heads_of(config.wants_masks()))?;
        Ok(Some(OnDevice {
            recipe,
            outputs,
            classes: channels("logits"),
            begun: None,
            pending: None,
        }))
    }

    /// Queues a batch's step and returns the results of the previous one.
    pub(super) fn step(
        &mut self,
        run: &mut Run<'_>,
        network: &mut Network,
        batch: &Batch,
        lr: f64,
        place: Place,
    ) -> Result<Option<Done>, TrainError> {
        let before = self.make_room(run, network, batch, place)?;
        let truths = self.truths(run, network, batch);
        let truths = truths.map_err(|e| place.error(&batch.name, e))?;
        run.optimizer.begin();
        let known: Vec<usize> = truths.iter().map(known).collect();
        let mixed = batch.mixed.as_ref().filter(|_| self.recipe.class.is_some());
        let pixels: Vec<Option<Pixels<'_>>> = truths.iter().map(pixels).collect();
        let input = Input {
            images: images(batch),
            seed: run.seed(),
            step: Step {
                number: run.optimizer.steps(),
                lr,
                ema_share: run.ema.as_ref().map_or(0.0, |ema| ema.share()),
                known: &known,
                mixed: mixed.map(|mixed| mixed.share),
                encoder: run.optimizer.encoder_step(lr),
            },
            labels: match self.recipe.class {
                Some(_) => &batch.labels,
                None => &[],
            },
            partners: mixed.map_or(&[], |mixed| &mixed.partners),
            pixels: &pixels,
        };
        let results = ask(network, |resident| resident.queue(&input));
        let results = results.map_err(|e| place.error(&batch.name, e))?;
        run.count_step();
        let queued = Pending {
            place,
            name: batch.name.clone(),
            images: batch.shape.n,
            lr,
        };
        let waited = self.pending.replace(queued);
        Ok(before.or(self.done(waited, results)?))
    }

    /// Begins with the first batch, and again if a later batch does not fit; returns the results of the step that was
    /// still queued.
    fn make_room(
        &mut self,
        run: &mut Run<'_>,
        network: &mut Network,
        batch: &Batch,
        place: Place,
    ) -> Result<Option<Done>, TrainError> {
        let shape = batch.shape;
        let fits = |first: &Nhwc| {
            shape.n <= first.n && (shape.h, shape.w, shape.c) == (first.h, first.w, first.c)
        };
        if self.begun.as_ref().is_some_and(|(first, _)| fits(first)) {
            return Ok(None);
        }
        let done = self.wait(network)?;
        self.end(run, network)?;
        let state = self.state(run, network);
        let start = Start {
            recipe: &self.recipe,
            class_weights: run.objective.weights.as_deref(),
            outputs: &self.outputs,
            images: shape,
        };
        ask(network, |resident| resident.begin(&start, &state))
            .map_err(|e| place.error(&batch.name, e))?;
        self.begun = Some((shape, state));
        Ok(done)
    }

    fn state(&self, run: &Run<'_>, network: &Network) -> State {
        let wanted = self.recipe.update.moments();
        let moment = |index: usize, group| match run.optimizer.moment(group, index) {
            Some(moment) if wanted[index] => moment.to_vec(),
            _ => Vec::new(),
        };
        State {
            params: network.store(),
            moments: [0, 1].map(|index| Group::TRAINABLE.map(|group| moment(index, group))),
            average: run.ema.as_ref().map(|ema| ema.average().clone()),
        }
    }

    /// Checks labels and masks, which the device does not check, and samples the masks at the maps' sizes.
    fn truths(
        &self,
        run: &Run<'_>,
        network: &Network,
        batch: &Batch,
    ) -> Result<Vec<Option<Truth>>, BatchError> {
        let n = batch.shape.n;
        if self.recipe.class.is_some() {
            run.objective.check(batch.targets(), n, self.classes)?;
        }
        let shapes = network
            .graph()
            .shapes(batch.shape.h, batch.shape.w)
            .map_err(|e| NetworkError::from(EngineError::from(e)))?;
        let maps = self.outputs.iter().rev().take(self.recipe.maps()).rev();
        let truth = |id: &NodeId| {
            let Hwc { h, w, c } = shapes[id.index()];
            let masks = batch.masks()?;
            Some(run.job.config.map.truth(&masks, (n, h, w), c))
        };
        let truths: Vec<Option<Truth>> = maps
            .map(|id| truth(id).transpose())
            .collect::<Result<_, _>>()?;
        match self.recipe.class.is_none() && truths.iter().all(|truth| known(truth) == 0) {
            true => Err(LossError::NoTruth.into()),
            false => Ok(truths),
        }
    }

    /// Waits for the results of the queued step, if there is one.
    pub(super) fn wait(&mut self, network: &Network) -> Result<Option<Done>, TrainError> {
        let Some(pending) = self.pending.take() else {
            return Ok(None);
        };
        let results = ask(network, |resident| resident.wait());
        let results = results.map_err(|e| pending.place.error(&pending.name, e))?;
        self.done(Some(pending), results)
    }

    /// Copies the whole state back from the device.
    pub(super) fn end(
        &mut self,
        run: &mut Run<'_>,
        network: &mut Network,
    ) -> Result<(), TrainError> {
        let Some((_, mut state)) = self.begun.take() else {
            return Ok(());
        };
        ask(network, |resident| resident.end(&mut state))?;
        for (index, moment) in state.moments.iter().enumerate() {
            for group in Group::TRAINABLE {
                let values = &moment[group as usize];
                if let (Some(to), false) =
                    (run.optimizer.moment_mut(group, index), values.is_empty())
                {
                    to.copy_from_slice(values);
                }
            }
        }
        if let (Some(ema), Some(average)) = (&mut run.ema, mem::take(&mut state.average)) {
            ema.set_average(average);
        }
        network.set_store(state.params);
        Ok(())
    }

    /// The results of a step, which must be finite.
    fn done(
        &self,
        waited: Option<Pending>,
        results: Option<Results>,
    ) -> Result<Option<Done>, TrainError> {
        let (Some(waited), Some(results)) = (waited, results) else {
            return Ok(None);
        };
        let Pending { place, name, .. } = &waited;
        place.finite("loss", results.loss.into(), name)?;
        place.finite("norm of the gradient", results.norm, name)?;
        let class = self
            .recipe
            .class
            .map(|_| (results.class_loss, results.hits as usize));
        Ok(Some(Done {
            place: waited.place,
            lr: waited.lr,
            chunks: vec![(
                waited.images,
                Scores {
                    class,
                    map_loss: results.map_loss,
                    ..Scores::default()
                },
            )],
            norm: results.norm,
            spent: Spent::default(),
        }))
    }
}

fn known(truth: &Option<Truth>) -> usize {
    truth.as_ref().map_or(0, |truth| truth.count)
}

fn pixels(truth: &Option<Truth>) -> Option<Pixels<'_>> {
    let truth = truth.as_ref().filter(|truth| truth.count > 0)?;
    Some(Pixels {
        values: &truth.values,
        weights: &truth.weights,
    })
}

/// Calls the engine's resident training, whose presence [`OnDevice::new`] checked.
fn ask<R>(
    network: &Network,
    ask: impl FnOnce(&mut dyn Resident) -> Result<R, EngineError>,
) -> Result<R, NetworkError> {
    let answer = network.resident(ask).unwrap_or(Err(EngineError::NoForward));
    Ok(answer?)
}
