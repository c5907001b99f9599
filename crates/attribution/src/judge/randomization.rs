//! The sanity check by randomized weights: a map that does not change when the weights are replaced says nothing about
//! the network. Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.

use model::graph::{Graph, NodeId, ParamId};
use model::network::Network;
use model::store::ParamStore;

use crate::error::Result;
use crate::heat_map::HeatMap;
use crate::image::Image;
use crate::method::Method;
use crate::target::Target;

/// A part of a network whose weights are replaced together.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The scope of its nodes: `head`, `decoder.blocks.0`, `encoder.blocks.6`.
    pub name: String,
    /// Its parameters.
    params: Vec<ParamId>,
}

/// The cascading randomization: an iterator over the stages from the scores down to the image. Each step replaces one
/// more stage by that of a new network (weights and running statistics) and compares the map with the trained network's.
///
/// The caller can report progress between steps, or stop.
pub struct Randomization<'a> {
    method: &'a Method,
    image: Image<'a>,
    target: Target,
    original: HeatMap,
    network: Network,
    fresh: ParamStore,
    stages: std::vec::IntoIter<Stage>,
}

/// The map of a network of which some stages are random.
#[derive(Clone, Debug, PartialEq)]
pub struct Randomized {
    /// The last stage that was replaced; those above it are random, too.
    pub stage: String,
    /// Spearman's rank correlation with the map of the trained network; `None` if a map is constant.
    pub correlation: Option<f64>,
    /// The same of the maps' magnitudes, for methods that have negative values.
    pub correlation_of_magnitudes: Option<f64>,
    /// The map.
    pub map: HeatMap,
}

/// The stages of a network from the scores down to the image. A stage is a run of nodes with parameters in one scope of
/// up to three names; a node outside any scope is its own.
pub fn stages(graph: &Graph) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for id in graph.ids().rev() {
        let params = &graph.node(id).params;
        if params.is_empty() {
            continue;
        }
        let name = scope(graph, id);
        match stages.last_mut() {
            Some(last) if last.name == name => last.params.extend(params),
            _ => stages.push(Stage {
                name: name.into(),
                params: params.clone(),
            }),
        }
    }
    stages
}

fn scope(graph: &Graph, id: NodeId) -> &str {
    let name = &graph.node(id).name;
    let dots = name.match_indices('.').map(|(at, _)| at);
    let end = dots.take(3).last().unwrap_or(name.len());
    &name[..end]
}

impl Stage {
    /// Number of parameters: weights, biases and running statistics, each counted once.
    pub fn parameters(&self) -> usize {
        self.params.len()
    }
}

impl<'a> Randomization<'a> {
    /// Prepares the check of a method on one image, with random weights drawn from `seed`.
    ///
    /// # Errors
    /// As [`Method::map`].
    pub fn new(
        method: &'a Method,
        network: &Network,
        image: Image<'a>,
        target: Target,
        seed: u64,
    ) -> Result<Self> {
        let graph = network.graph();
        Ok(Randomization {
            method,
            image,
            target,
            original: method.map(network, image, target)?,
            network: Network::with_store((**graph).clone(), network.store()),
            fresh: ParamStore::initialized(graph, seed),
            stages: stages(graph).into_iter(),
        })
    }

    /// The same with at most `groups` steps: the same number of neighbouring stages together, under the name of
    /// the last.
    pub fn in_groups(mut self, groups: usize) -> Self {
        let stages: Vec<Stage> = self.stages.collect();
        let size = stages.len().div_ceil(groups.max(1)).max(1);
        let joined = |group: &[Stage]| Stage {
            name: group
                .last()
                .map(|last| last.name.clone())
                .unwrap_or_default(),
            params: group
                .iter()
                .flat_map(|stage| stage.params.clone())
                .collect(),
        };
        let joined: Vec<Stage> = stages.chunks(size).map(joined).collect();
        self.stages = joined.into_iter();
        self
    }

    /// The map of the trained network.
    pub fn original(&self) -> &HeatMap {
        &self.original
    }

    fn step(&mut self, stage: Stage) -> Result<Randomized> {
        let mut store = self.network.store();
        for id in stage.params {
            store.get_mut(id).copy_from_slice(self.fresh.get(id));
        }
        self.network.set_store(store);
        let map = self.method.map(&self.network, self.image, self.target)?;
        let original = &self.original;
        Ok(Randomized {
            stage: stage.name,
            correlation: original.correlation(&map)?,
            correlation_of_magnitudes: original.magnitudes().correlation(&map.magnitudes())?,
            map,
        })
    }
}

impl Iterator for Randomization<'_> {
    type Item = Result<Randomized>;

    fn next(&mut self) -> Option<Self::Item> {
        let stage = self.stages.next()?;
        Some(self.step(stage))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stages.size_hint()
    }
}

impl ExactSizeIterator for Randomization<'_> {}
