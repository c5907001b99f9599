//! Post-training quantization: which values inference stores as 8-bit codes, and the range that the codes cover.
//!
//! Weights are not part of it: the kernels derive integer weights from the `f32` ones. What has to be learned from images
//! is the range of each feature map, and of the images ([`crate::calibration`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, NodeId};

/// The least and the largest value that codes represent, by the name of the node whose value is coded. A node that is
/// not listed stays `f32`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(BTreeMap<String, [f32; 2]>);

impl Ranges {
    /// The range of a node's value.
    pub fn get(&self, graph: &Graph, id: NodeId) -> Option<[f32; 2]> {
        self.0.get(&graph.node(id).name).copied()
    }

    /// Number of values that are coded.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no value is coded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that every range is of a node of `graph`, finite, not empty, and contains zero.
    ///
    /// # Errors
    /// The name of the first node for which this does not hold, and why.
    pub fn check(&self, graph: &Graph) -> Result<(), (String, &'static str)> {
        for (name, [least, largest]) in &self.0 {
            let known = graph.nodes.iter().any(|node| node.name == *name);
            let problem = if !known {
                "is no node of the network"
            } else if !(least.is_finite() && largest.is_finite()) {
                "has a range that is not finite"
            } else if !(*least <= 0.0 && 0.0 <= *largest && least < largest) {
                "has a range that is empty or does not contain zero"
            } else {
                continue;
            };
            return Err((name.clone(), problem));
        }
        Ok(())
    }
}

impl FromIterator<(String, [f32; 2])> for Ranges {
    fn from_iter<I: IntoIterator<Item = (String, [f32; 2])>>(named: I) -> Self {
        Ranges(named.into_iter().collect())
    }
}
