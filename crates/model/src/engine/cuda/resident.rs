//! Training on the device: weights, moments and averages stay in the arena, a batch is copied there while the previous
//! step runs, and the whole step, from the images to the new weights, is one recording.

use kernels::Nhwc;

use super::driver::{Address, DeviceError};
use super::session::{Places, Session};
use super::step::results_len;
use super::update::Groups;
use super::{CudaEngine, Part, Planned, elementwise, loss};
use crate::engine::recipe::Results;
use crate::engine::resident::{Input, Resident, Start, State};
use crate::engine::{EngineError, Images};
use crate::plan::Mode;
use crate::store::Group;

impl CudaEngine {
    fn session(&self) -> Result<&Session, EngineError> {
        self.session.as_ref().ok_or(EngineError::NoForward)
    }

    /// The address of an offset in the session's region.
    fn place(&self, planned: &Planned, place: usize) -> Result<Address, EngineError> {
        Ok(self.start()?.plus(planned.memory.seed + place))
    }

    /// Addresses of the non-empty groups in a contiguous range.
    fn groups_at(&self, run: Address, groups: &[Group]) -> Vec<(Group, Address)> {
        let of = Groups::new(&self.map);
        let places = groups.iter().filter(|group| !of.is_empty(**group));
        places
            .map(|group| (*group, run.plus(of.start(*group))))
            .collect()
    }

    /// Copies moments and average to the device.
    fn send_state(&mut self, planned: &Planned, state: &State) -> Result<(), EngineError> {
        let places = self.session()?.places.clone();
        for (moment, at) in state.moments.iter().zip(places.moments) {
            let run = self.place(planned, at)?;
            for (group, to) in self.groups_at(run, &Group::TRAINABLE) {
                let values = &moment[group as usize];
                if !values.is_empty() {
                    self.driver.upload(to, values)?;
                }
            }
        }
        if let Some(average) = &state.average {
            let run = self.place(planned, places.average)?;
            for (group, to) in self.groups_at(run, &Group::ALL) {
                self.driver.upload(to, average.group(group))?;
            }
        }
        Ok(())
    }

    /// Copies them back, along with the weights.
    fn read_state(&mut self, planned: &Planned, state: &mut State) -> Result<(), EngineError> {
        let places = self.session()?.places.clone();
        let weights = self.start()?.plus(planned.memory.params[0]);
        for (group, from) in self.groups_at(weights, &Group::ALL) {
            self.driver.download(from, state.params.group_mut(group))?;
        }
        for (moment, at) in state.moments.iter_mut().zip(places.moments) {
            let run = self.place(planned, at)?;
            for (group, from) in self.groups_at(run, &Group::TRAINABLE) {
                let values = &mut moment[group as usize];
                if !values.is_empty() {
                    self.driver.download(from, values)?;
                }
            }
        }
        if let Some(average) = &mut state.average {
            let run = self.place(planned, places.average)?;
            for (group, from) in self.groups_at(run, &Group::ALL) {
                self.driver.download(from, average.group_mut(group))?;
            }
        }
        Ok(())
    }

    /// Copies a batch to its slot while the previous step runs.
    fn stage(
        &mut self,
        planned: &Planned,
        slot: usize,
        input: &Input<'_>,
    ) -> Result<(), EngineError> {
        let session = self.session()?;
        let places = &session.places;
        let [told, images] = places.staged[slot];
        let seed = [input.seed as u32, (input.seed >> 32) as u32].map(f32::from_bits);
        let controls = session.recipe.controls(&input.step);
        let [labels, partners] = [input.labels, input.partners].map(loss::label_words);
        let mut parts: Vec<(usize, &[f32])> = vec![
            (told, &seed),
            (told + places.controls, &controls),
            (told + places.labels, &labels),
            (told + places.partners, &partners),
            (images, input.images.data),
        ];
        for (places, pixels) in places.pixels.iter().zip(input.pixels) {
            if let Some(pixels) = pixels {
                parts.push((told + places[0], pixels.values));
                parts.push((told + places[1], pixels.weights));
            }
        }
        let start = self.place(planned, 0)?;
        let parts: Vec<(Address, &[f32])> = parts
            .into_iter()
            .filter(|(_, data)| !data.is_empty())
            .map(|(at, data)| (start.plus(at), data))
            .collect();
        Ok(self.driver.upload_concurrent(slot, &parts)?)
    }

    /// Moves a staged batch into place: images to where the pass reads them, the rest to the step's inputs.
    fn take_in(
        &mut self,
        planned: &Planned,
        slot: usize,
        images: Images<'_>,
    ) -> Result<(), EngineError> {
        let places = &self.session()?.places;
        let ([staged, staged_images], told) = (places.staged[slot], places.told);
        let start = self.place(planned, 0)?;
        let to = self.start()?.plus(planned.memory.images);
        self.driver.await_upload(slot)?;
        let mut pass = self.pass(planned)?;
        elementwise::copy(&mut pass, start.plus(staged), start, told)?;
        let words = images.shape.len().next_multiple_of(4);
        elementwise::copy(&mut pass, start.plus(staged_images), to, words)?;
        Ok(())
    }

    /// Waits for a slot's step and returns its results.
    fn results(&mut self, slot: usize) -> Result<Results, EngineError> {
        let session = self.session()?;
        let (kept, maps) = (session.places.kept[slot], session.recipe.maps());
        let planned = self.begun()?;
        let from = self.place(&planned, kept)?;
        let mut words = vec![0.0; results_len(maps)];
        self.driver.download_at(slot, from, &mut words)?;
        Results::read(&words).ok_or(EngineError::NoForward)
    }

    /// The plan of the largest batch.
    fn begun(&mut self) -> Result<std::sync::Arc<Planned>, EngineError> {
        let session = self.session()?;
        let (shape, outputs) = (session.images, session.outputs.clone());
        self.planned_for(Mode::Train, shape, &outputs)
    }
}

impl Resident for CudaEngine {
    fn begin(&mut self, start: &Start<'_>, state: &State) -> Result<(), EngineError> {
        self.last = None;
        let groups = Groups::new(&self.map);
        let places = Places::new(&self.graph, start, &groups)?;
        self.keep(places.len);
        let planned = self.planned_for(Mode::Train, start.images, start.outputs)?;
        self.fit(&planned, start.images)?;
        self.send_weights(&planned, &state.params)?;
        let class_weights = places.class_weights;
        self.session = Some(Session {
            recipe: start.recipe.clone(),
            outputs: start.outputs.to_vec(),
            groups,
            places,
            images: start.images,
            weighs_classes: start.class_weights.is_some(),
            queued: 0,
            pending: None,
        });
        if let Some(weights) = start.class_weights {
            let to = self.place(&planned, class_weights)?;
            self.driver.upload(to, weights)?;
        }
        self.send_state(&planned, state)
    }

    fn queue(&mut self, input: &Input<'_>) -> Result<Option<Results>, EngineError> {
        input.images.check(&self.graph)?;
        let outputs = self.session()?.outputs.clone();
        let planned = self.planned_for(Mode::Train, input.images.shape, &outputs)?;
        self.check_room(&planned, input.images.shape)?;
        let slot = self.session()?.queued % 2;
        self.stage(&planned, slot, input)?;
        self.take_in(&planned, slot, input.images)?;
        self.run(&planned, Part::Step)?;
        let places = &self.session()?.places;
        let (results, kept) = (places.results, places.kept[slot]);
        let words = places.kept[1] - places.kept[0];
        let start = self.place(&planned, 0)?;
        let mut pass = self.pass(&planned)?;
        elementwise::copy(&mut pass, start.plus(results), start.plus(kept), words)?;
        self.driver.mark(slot)?;
        let before = self.session.as_mut().and_then(|session| {
            session.queued += 1;
            session.pending.replace(slot)
        });
        before.map(|slot| self.results(slot)).transpose()
    }

    fn wait(&mut self) -> Result<Option<Results>, EngineError> {
        let pending = self.session.as_mut().and_then(|s| s.pending.take());
        pending.map(|slot| self.results(slot)).transpose()
    }

    fn abandon(&mut self) {
        if self.session.take().is_some()
            && let Some(arena) = &mut self.arena
        {
            arena.trainable = None; // its steps have changed the values
            arena.buffers = None;
        }
    }

    fn end(&mut self, state: &mut State) -> Result<(), EngineError> {
        self.wait()?;
        let planned = self.begun()?;
        self.read_state(&planned, state)?;
        self.session = None;
        if let Some(arena) = &mut self.arena {
            // Host and device now have the same values.
            arena.trainable = Some(state.params.version());
            arena.buffers = Some(state.params.version());
        }
        Ok(())
    }
}

impl CudaEngine {
    /// Checks that a later batch is not larger than the first, in pixels or in its plan's memory: the arena is not
    /// reallocated.
    fn check_room(&self, planned: &Planned, shape: Nhwc) -> Result<(), EngineError> {
        let first = self.session()?.images;
        let fits = shape.n <= first.n && (shape.h, shape.w, shape.c) == (first.h, first.w, first.c);
        let arena = self.arena.as_ref().map_or(0, |arena| arena.len);
        if fits && planned.memory.len <= arena {
            return Ok(());
        }
        Err(DeviceError::Unsupported(format!(
            "training began with batches of {first:?}, and there is no room for one of {shape:?}: order the batches so \
             that the largest comes first"
        ))
        .into())
    }
}
