//! A training session: its memory in the arena in addition to the plans, and the launches of a step.

use kernels::Nhwc;

use super::driver::{Address, DeviceError};
use super::memory_map::ALIGN;
use super::pass::{Done, Pass};
use super::step::{Board, controls_len, results_len};
use super::update::{Groups, State as Moved, update};
use super::{loss, run};
use crate::engine::EngineError;
use crate::engine::recipe::Recipe;
use crate::engine::resident::Start;
use crate::graph::{Graph, NodeId};
use crate::plan::Kind;

/// A training session in progress.
pub(super) struct Session {
    pub(super) recipe: Recipe,
    pub(super) outputs: Vec<NodeId>,
    pub(super) groups: Groups,
    pub(super) places: Places,
    /// Shape of the largest batch that fits.
    pub(super) images: Nhwc,
    pub(super) weighs_classes: bool,
    pub(super) queued: usize,
    /// The slot of the step whose results have not been read yet.
    pub(super) pending: Option<usize>,
}

/// Offsets in words from [`MemoryMap::seed`](super::memory_map::MemoryMap::seed): first a step's inputs, in the order
/// in which they are copied there, then persistent memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) controls: usize,
    pub(super) labels: usize,
    pub(super) partners: usize,
    /// For each map: values, weights.
    pub(super) pixels: Vec<[usize; 2]>,
    /// Length of a step's inputs, including the seed.
    pub(super) told: usize,
    /// Staging memory for the batches of two steps: each step's inputs, and its images.
    pub(super) staged: [[usize; 2]; 2],
    pub(super) results: usize,
    /// Two steps' results.
    pub(super) kept: [usize; 2],
    pub(super) class_weights: usize,
    pub(super) moments: [usize; 2],
    pub(super) average: usize,
    scratch: usize,
    /// Total length.
    pub(super) len: usize,
}

impl Places {
    pub(super) fn new(
        graph: &Graph,
        start: &Start<'_>,
        groups: &Groups,
    ) -> Result<Self, EngineError> {
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
        let [labels, partners] = [(); 2].map(|()| place(if_any(recipe.class.is_some(), n)));
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
            partners,
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
    /// Launches a whole step.
    pub(super) fn launch(&self, pass: &mut Pass<'_>) -> Done {
        run::forward(pass)?;
        self.losses(pass)?;
        run::backward(pass)?;
        self.update(pass)
    }

    /// Launches the losses, which write the outputs' gradients to where the backward pass reads them.
    fn losses(&self, pass: &mut Pass<'_>) -> Done {
        let board = self.board(pass);
        let gradients = pass.memory.output_grads.clone();
        let mut outputs = self.outputs.iter().zip(gradients);
        if let Some(term) = self.recipe.class
            && let Some((id, gradient)) = outputs.next()
        {
            let shape = pass.shape(*id);
            let at = loss::ClassLoss {
                logits: f32_value(pass, *id)?,
                labels: self.at(pass, self.places.labels),
                partners: self.at(pass, self.places.partners),
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
        let (start, memory) = (pass.start(), pass.memory);
        let at = Moved {
            weights: start.plus(memory.params[0]),
            gradients: start.plus(memory.grads[0]),
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

/// The address of a value that a loss reads, which must be f32.
fn f32_value(pass: &Pass<'_>, id: NodeId) -> Result<Address, DeviceError> {
    match pass.kind(id) {
        Kind::F32 => Ok(pass.value(id)),
        Kind::Bf16 | Kind::U8 => Err(DeviceError::Unsupported(format!(
            "{}: the loss needs this value in f32, but other nodes of the network read it too: use precision tf32 or f32",
            pass.graph.node(id).name
        ))),
    }
}
