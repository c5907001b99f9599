//! All parameters of a network in three flat buffers, and the position of each parameter in them.
//!
//! Flat, so that the optimizer, weight EMA, gradient clipping, checkpoints and device copies are each one pass over one
//! slice, independent of the number of layers. Three, because weight decay applies only to some of the trainable
//! parameters and because buffers (running statistics) are not updated by the optimizer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernels::update;
use random::Rng;

use crate::graph::{Graph, Init, ParamId};

/// The flat buffer that holds a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Trainable, with weight decay: kernels and matrices.
    Decayed,
    /// Trainable, without weight decay: biases and norms.
    Plain,
    /// Not trainable: running statistics.
    Buffers,
}

impl Group {
    /// The groups that the optimizer updates.
    pub const TRAINABLE: [Group; 2] = [Group::Decayed, Group::Plain];
    /// All groups, in storage order.
    pub const ALL: [Group; 3] = [Group::Decayed, Group::Plain, Group::Buffers];
}

/// Group and range of every parameter of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamMap {
    places: Vec<(Group, Range<usize>)>,
    lens: [usize; 3],
}

impl ParamMap {
    /// Lays out a graph's parameters in their order.
    pub fn new(graph: &Graph) -> Self {
        let mut lens = [0; 3];
        let places = graph
            .params
            .iter()
            .map(|p| {
                let group = match (p.role.trainable(), p.role.decayed()) {
                    (false, _) => Group::Buffers,
                    (true, true) => Group::Decayed,
                    (true, false) => Group::Plain,
                };
                let start = lens[group as usize];
                lens[group as usize] += p.len();
                (group, start..start + p.len())
            })
            .collect();
        ParamMap { places, lens }
    }

    /// Group and range of a parameter.
    pub fn place(&self, id: ParamId) -> (Group, Range<usize>) {
        self.places[id.index()].clone()
    }

    /// Number of elements of a group.
    pub fn len(&self, group: Group) -> usize {
        self.lens[group as usize]
    }

    /// Number of elements of the first `params` parameters in each group; they are the first elements.
    pub fn first(&self, params: usize) -> [usize; 3] {
        let mut lens = [0; 3];
        for (group, range) in &self.places[..params.min(self.places.len())] {
            lens[*group as usize] = range.end;
        }
        lens
    }

    /// Whether a group has no elements.
    pub fn is_empty(&self, group: Group) -> bool {
        self.len(group) == 0
    }
}

/// Values (or gradients, or moving averages) of all parameters.
#[derive(Clone, Debug)]
pub struct ParamStore {
    map: Arc<ParamMap>,
    groups: [Vec<f32>; 3],
    version: u64,
}

impl ParamStore {
    /// All zeros.
    pub fn zeros(map: Arc<ParamMap>) -> Self {
        let groups = Group::ALL.map(|g| vec![0.0; map.len(g)]);
        ParamStore {
            map,
            groups,
            version: next_version(),
        }
    }

    /// Initial values according to the graph's specs; each parameter's random stream depends only on the seed and its
    /// position.
    pub fn initialized(graph: &Graph, seed: u64) -> Self {
        let mut store = ParamStore::zeros(Arc::new(ParamMap::new(graph)));
        for (id, spec) in graph.parameters() {
            let mut rng = Rng::stream(seed, id.index() as u64);
            fill(spec.init, &mut rng, store.get_mut(id));
        }
        store
    }

    /// The layout.
    pub fn map(&self) -> &Arc<ParamMap> {
        &self.map
    }

    /// One parameter's values in stored order.
    pub fn get(&self, id: ParamId) -> &[f32] {
        let (group, range) = self.map.place(id);
        &self.groups[group as usize][range]
    }

    /// One parameter's values, mutable.
    pub fn get_mut(&mut self, id: ParamId) -> &mut [f32] {
        let (group, range) = self.map.place(id);
        &mut self.group_mut(group)[range]
    }

    /// Two parameters of the same group, mutable; the first must come before the second.
    pub fn get_pair_mut(&mut self, first: ParamId, second: ParamId) -> (&mut [f32], &mut [f32]) {
        let ((group, a), (_, b)) = (self.map.place(first), self.map.place(second));
        let (left, right) = self.group_mut(group).split_at_mut(b.start);
        (&mut left[a], &mut right[..b.len()])
    }

    /// A whole group.
    pub fn group(&self, group: Group) -> &[f32] {
        &self.groups[group as usize]
    }

    /// A whole group, mutable (its length must not change).
    pub fn group_mut(&mut self, group: Group) -> &mut Vec<f32> {
        self.version = next_version();
        &mut self.groups[group as usize]
    }

    /// Sum of the squares of a group's values, in double precision; it does not depend on the number of threads.
    pub fn sum_of_squares(&self, group: Group) -> f64 {
        update::sum_of_squares(self.group(group))
    }

    /// Moves a group's values towards others: `value += share · (other − value)`.
    pub fn move_towards(&mut self, others: &ParamStore, group: Group, share: f32) {
        update::move_average(self.group_mut(group), others.group(group), share);
    }

    /// Differs whenever values may differ; engines use it as the cache key of data derived from weights.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// Draws one parameter's initial values.
fn fill(init: Init, rng: &mut Rng, out: &mut [f32]) {
    for x in out {
        *x = match init {
            Init::Constant(value) => value,
            Init::Normal(std) => std * rng.normal_f32(),
            Init::Uniform(bound) => bound * (2.0 * rng.unit_f32() - 1.0),
        };
    }
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
