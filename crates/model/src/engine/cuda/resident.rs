//! Training on the device: weights, moments and averages stay in the arena, a batch is copied there while the step before it
//! runs, and the whole step, from the images to the new weights, is one recording.

use kernels::Nhwc;

use super::driver::{Address, DeviceError};
use super::layout::ALIGN;
use super::pass::{Done, Pass};
use super::step::{Board, controls_len, results_len};
use super::update::{Groups, State as Moved, update};
use super::{CudaEngine, Part, Planned, elementwise, loss};
use crate::engine::recipe::{Recipe, Results};
use crate::engine::resident::{Input, Resident, Start, State};
use crate::engine::{EngineError, Images};
use crate::graph::{Graph, NodeId};
use crate::plan::{Kind, Mode};
use crate::store::Group;

/// Training that has begun.
pub(super) struct Session {
    recipe: Recipe,
    outputs: Vec<NodeId>,
    groups: Groups,
    places: Places,
    /// Shape of the largest batch that there is room for.
    images: Nhwc,
    weighs_classes: bool,
    queued: usize,
    /// The slot of the step whose results have not been read.
    pending: Option<usize>,
}

/// Where everything lies, in words from [`Layout::seed`](super::layout::Layout::seed) on: what a step is told first, in the
/// order in which it is copied there, then what stays.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Places {
    controls: usize,
    labels: usize,
    /// Of each map: values, weights.
    pixels: Vec<[usize; 2]>,
    /// Length of what a step is told, the seed included.
    told: usize,
    /// Two steps' batches on their way: what they are told, and their images.
    staged: [[usize; 2]; 2],
    results: usize,
    /// Two steps' results.
    kept: [usize; 2],
    class_weights: usize,
    moments: [usize; 2],
    average: usize,
    scratch: usize,
    /// Length of the whole.
    len: usize,
}

impl Places {
    fn new(graph: &Graph, start: &Start<'_>, groups: &Groups) -> Result<Self, EngineError> {
        let (recipe, n) = (start.recipe, start.images.n);
        let shapes = graph.shapes(start.images.h, start.images.w)?;
        let maps: Vec<(usize, usize)> = map_outputs(recipe, start.outputs)
            .iter()
            .map(|id| shapes[id.index()])
            .map(|s| (n * s.h * s.w, s.c))
            .collect();
        let mut end = 0;
        let mut place = |len: usize| {
            let at = end;
            end += len.next_multiple_of(ALIGN);
            at
        };
        let if_any = |wanted: bool, len: usize| if wanted { len } else { 0 };
        place(2); // the seed
        let controls = place(controls_len(recipe.maps()));
        let labels = place(if_any(recipe.class.is_some(), n));
        let pixels = maps.iter().map(|(len, _)| [place(*len), place(*len)]);
        let pixels = pixels.collect();
        let told = place(0);
        let staged = [(); 2].map(|()| [place(told), place(start.images.len())]);
        let results = place(results_len(recipe.maps()));
        let kept = [(); 2].map(|()| place(results_len(recipe.maps())));
        let class_weights = place(start.class_weights.map_or(0, <[f32]>::len));
        let moments = recipe.update.moments();
        let moments = moments.map(|wanted| place(if_any(wanted, groups.trainable())));
        let average = place(if_any(recipe.averages, groups.all()));
        let of_map = |(pixels, classes): &(usize, usize)| {
            let term = recipe.map.as_ref();
            term.map_or(0, |term| loss::map_scratch(term, *pixels, *classes))
        };
        let of_maps = maps.iter().map(of_map).max().unwrap_or(0);
        let scratch = place(groups.scratch().max(of_maps));
        Ok(Places {
            controls,
            labels,
            pixels,
            told,
            staged,
            results,
            kept,
            class_weights,
            moments,
            average,
            scratch,
            len: place(0),
        })
    }
}

/// The outputs that are maps.
fn map_outputs<'a>(recipe: &Recipe, outputs: &'a [NodeId]) -> &'a [NodeId] {
    &outputs[usize::from(recipe.class.is_some()).min(outputs.len())..]
}

impl Session {
    /// Everything that a step launches.
    pub(super) fn launch(&self, pass: &mut Pass<'_>) -> Done {
        pass.forward_all()?;
        self.losses(pass)?;
        pass.backward_all()?;
        self.update(pass)
    }

    /// Losses, and the outputs' gradients where the backward pass reads them.
    fn losses(&self, pass: &mut Pass<'_>) -> Done {
        let board = self.board(pass);
        let gradients = pass.layout.output_grads.clone();
        let mut outputs = self.outputs.iter().zip(gradients);
        if let Some(term) = self.recipe.class
            && let Some((id, gradient)) = outputs.next()
        {
            let shape = pass.shape(*id);
            let at = loss::ClassLoss {
                logits: f32_value(pass, *id)?,
                labels: self.at(pass, self.places.labels),
                weights: self
                    .weighs_classes
                    .then(|| self.at(pass, self.places.class_weights)),
                gradient: pass.start().plus(gradient),
                n: shape.n,
                classes: shape.c,
            };
            loss::class_loss(pass.driver(), &term, board, &at)?;
        }
        let Some(term) = self.recipe.map else {
            return Ok(());
        };
        for (number, (id, gradient)) in outputs.enumerate() {
            let shape = pass.shape(*id);
            let [values, weights] = self.places.pixels[number];
            let at = loss::MapLoss {
                map: f32_value(pass, *id)?,
                values: self.at(pass, values),
                weights: self.at(pass, weights),
                gradient: pass.start().plus(gradient),
                scratch: self.at(pass, self.places.scratch),
                pixels: shape.pixels(),
                classes: shape.c,
            };
            loss::map_loss(pass.driver(), &term, board, number, &at)?;
        }
        Ok(())
    }

    fn update(&self, pass: &mut Pass<'_>) -> Done {
        let (start, layout) = (pass.start(), pass.layout);
        let at = Moved {
            weights: start.plus(layout.params[0]),
            gradients: start.plus(layout.grads[0]),
            moments: self.places.moments.map(|moment| self.at(pass, moment)),
            average: self.at(pass, self.places.average),
            halves: pass.narrow(),
            scratch: self.at(pass, self.places.scratch),
        };
        let board = self.board(pass);
        update(pass.driver(), &self.recipe, board, &self.groups, &at)
    }

    fn board(&self, pass: &Pass<'_>) -> Board {
        Board {
            controls: self.at(pass, self.places.controls),
            results: self.at(pass, self.places.results),
        }
    }

    fn at(&self, pass: &Pass<'_>, place: usize) -> Address {
        pass.seed().plus(place)
    }
}

/// A value that a loss reads.
fn f32_value(pass: &Pass<'_>, id: NodeId) -> Result<Address, DeviceError> {
    match pass.kind(id) {
        Kind::F32 => Ok(pass.value(id)),
        Kind::Bf16 => Err(DeviceError::Unsupported(format!(
            "{}: a loss needs it in f32, but other parts of the network read it: use precision tf32 or f32",
            pass.graph.node(id).name
        ))),
    }
}

impl CudaEngine {
    fn session(&self) -> Result<&Session, EngineError> {
        self.session.as_ref().ok_or(EngineError::NoForward)
    }

    /// The address of a place of the session's.
    fn place(&self, planned: &Planned, place: usize) -> Result<Address, EngineError> {
        Ok(self.start()?.plus(planned.layout.seed + place))
    }

    /// Copies the groups' values to or from a run of them.
    fn groups_at(&self, run: Address, groups: &[Group]) -> Vec<(Group, Address)> {
        let of = Groups::new(&self.map);
        let places = groups.iter().filter(|group| !of.is_empty(**group));
        places
            .map(|group| (*group, run.plus(of.start(*group))))
            .collect()
    }

    /// Moments and average to the device.
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

    /// And back, with the weights.
    fn read_state(&mut self, planned: &Planned, state: &mut State) -> Result<(), EngineError> {
        let places = self.session()?.places.clone();
        let weights = self.start()?.plus(planned.layout.params[0]);
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

    /// Copies a batch to its slot beside the step that runs.
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
        let labels = loss::label_words(input.labels);
        let mut pieces: Vec<(usize, &[f32])> = vec![
            (told, &seed),
            (told + places.controls, &controls),
            (told + places.labels, &labels),
            (images, input.images.data),
        ];
        for (places, pixels) in places.pixels.iter().zip(input.pixels) {
            if let Some(pixels) = pixels {
                pieces.push((told + places[0], pixels.values));
                pieces.push((told + places[1], pixels.weights));
            }
        }
        let start = self.place(planned, 0)?;
        let pieces: Vec<(Address, &[f32])> = pieces
            .into_iter()
            .filter(|(_, data)| !data.is_empty())
            .map(|(at, data)| (start.plus(at), data))
            .collect();
        Ok(self.driver.upload_beside(slot, &pieces)?)
    }

    /// Takes a staged batch in: images to where the pass reads them, the rest to where the step is told.
    fn take_in(
        &mut self,
        planned: &Planned,
        slot: usize,
        images: Images<'_>,
    ) -> Result<(), EngineError> {
        let places = &self.session()?.places;
        let ([staged, staged_images], told) = (places.staged[slot], places.told);
        let start = self.place(planned, 0)?;
        let to = self.start()?.plus(planned.layout.images);
        self.driver.await_upload(slot)?;
        let mut pass = self.pass(planned)?;
        elementwise::copy(&mut pass, start.plus(staged), start, told)?;
        let words = images.shape.len().next_multiple_of(4);
        elementwise::copy(&mut pass, start.plus(staged_images), to, words)?;
        Ok(())
    }

    /// A slot's results, once its step is done.
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
            arena.trainable = None; // its steps have changed what lies there
            arena.buffers = None;
        }
    }

    fn end(&mut self, state: &mut State) -> Result<(), EngineError> {
        self.wait()?;
        let planned = self.begun()?;
        self.read_state(&planned, state)?;
        self.session = None;
        if let Some(arena) = &mut self.arena {
            // The host has what the device has.
            arena.trainable = Some(state.params.version());
            arena.buffers = Some(state.params.version());
        }
        Ok(())
    }
}

impl CudaEngine {
    /// A later batch may not be larger than the first, in pixels or in what its plan needs: the arena stays.
    fn check_room(&self, planned: &Planned, shape: Nhwc) -> Result<(), EngineError> {
        let first = self.session()?.images;
        let fits = shape.n <= first.n && (shape.h, shape.w, shape.c) == (first.h, first.w, first.c);
        let arena = self.arena.as_ref().map_or(0, |arena| arena.len);
        if fits && planned.layout.len <= arena {
            return Ok(());
        }
        Err(DeviceError::Unsupported(format!(
            "training began with batches of {first:?}, and there is no room for one of {shape:?}: order the batches so \
             that the largest comes first"
        ))
        .into())
    }
}
