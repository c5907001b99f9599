//! The graph's invariants, checked when one is built and when one is read from a file.

use std::collections::HashSet;

use super::{Graph, Node, Op};

/// A broken invariant.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum GraphError {
    /// Two nodes or two parameters share a name.
    #[error("two {what}s are named `{name}`")]
    Duplicate {
        /// `node` or `parameter`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A node reads a value that is not made before it.
    #[error("node `{node}` reads value {input}, which is not made before it")]
    Order {
        /// Node's name.
        node: String,
        /// Index read.
        input: usize,
    },
    /// A node has the wrong number of inputs or parameters.
    #[error("node `{node}` ({op}) has {found} {what}, expected {expected}")]
    Arity {
        /// Node's name.
        node: String,
        /// Operation.
        op: &'static str,
        /// `inputs` or `parameters`.
        what: &'static str,
        /// Number found.
        found: usize,
        /// Number expected, as text.
        expected: String,
    },
    /// A parameter belongs to no node or to several, or lies outside the list.
    #[error("parameter {index} is claimed by {claims} nodes, expected one")]
    Claim {
        /// Index in `params`.
        index: usize,
        /// How many nodes claim it.
        claims: usize,
    },
    /// A parameter has another shape than its node's operation needs.
    #[error(
        "parameter `{name}` of node `{node}` ({op}) has shape {found:?}, expected {expected:?}"
    )]
    ParamShape {
        /// Parameter's name.
        name: String,
        /// Node's name.
        node: String,
        /// Operation.
        op: &'static str,
        /// Shape found.
        found: Vec<usize>,
        /// Shape that the operation needs.
        expected: Vec<usize>,
    },
    /// A node's channels are not what its operation makes of its inputs.
    #[error("node `{node}` ({op}) says {found} channels, its operation gives {expected}")]
    Channels {
        /// Node's name.
        node: String,
        /// Operation.
        op: &'static str,
        /// Channels said.
        found: usize,
        /// Channels that the operation gives.
        expected: usize,
    },
    /// An output names a value that does not exist.
    #[error("output `{0}` points at no node")]
    Output(String),
    /// The first node is not the only input.
    #[error("a graph starts with its one input node")]
    Input,
}

impl Graph {
    /// Checks all invariants of the module.
    pub fn check(&self) -> Result<(), GraphError> {
        self.check_input()?;
        unique("node", self.nodes.iter().map(|n| n.name.as_str()))?;
        unique("parameter", self.params.iter().map(|p| p.name.as_str()))?;
        self.check_order()?;
        self.nodes.iter().try_for_each(check_arity)?;
        self.check_claims()?;
        self.nodes
            .iter()
            .try_for_each(|node| self.check_channels(node))?;
        self.nodes
            .iter()
            .try_for_each(|node| self.check_param_shapes(node))?;
        match self
            .outputs
            .iter()
            .find(|(_, id)| id.index() >= self.nodes.len())
        {
            Some((name, _)) => Err(GraphError::Output(name.clone())),
            None => Ok(()),
        }
    }

    fn check_input(&self) -> Result<(), GraphError> {
        let is_input = |n: &Node| matches!(n.op, Op::Input { .. });
        match self.nodes.split_first() {
            Some((first, rest)) if is_input(first) && !rest.iter().any(is_input) => Ok(()),
            _ => Err(GraphError::Input),
        }
    }

    fn check_order(&self) -> Result<(), GraphError> {
        for (i, node) in self.nodes.iter().enumerate() {
            if let Some(input) = node.inputs.iter().find(|x| x.index() >= i) {
                return Err(GraphError::Order {
                    node: node.name.clone(),
                    input: input.index(),
                });
            }
        }
        Ok(())
    }

    fn check_channels(&self, node: &Node) -> Result<(), GraphError> {
        let input = |k: usize| self.node(node.inputs[k]).channels;
        let expected = match node.op {
            Op::Input { channels } => channels,
            Op::Conv2d { out_channels, .. } | Op::ConvTranspose2x2 { out_channels } => out_channels,
            Op::Linear { out_features } => out_features,
            Op::Concat => (0..node.inputs.len()).map(input).sum(),
            _ => input(0),
        };
        if node.channels == expected {
            return Ok(());
        }
        let (name, op) = (node.name.clone(), node.op.kind());
        Err(GraphError::Channels {
            node: name,
            op,
            found: node.channels,
            expected,
        })
    }

    fn check_param_shapes(&self, node: &Node) -> Result<(), GraphError> {
        let (c, input) = (
            node.channels,
            node.inputs.first().map_or(0, |x| self.node(*x).channels),
        );
        let first = match node.op {
            Op::Conv2d { window, .. } => vec![window.kernel[0], window.kernel[1], input, c],
            Op::Depthwise { window } => vec![window.kernel[0], window.kernel[1], c],
            Op::ConvTranspose2x2 { .. } => vec![input, 2, 2, c],
            Op::Linear { .. } => vec![input, c],
            _ => vec![c],
        };
        for (k, spec) in node.params.iter().map(|p| self.param(*p)).enumerate() {
            let expected = if k == 0 { first.clone() } else { vec![c] };
            if spec.shape != expected {
                let (name, node_name) = (spec.name.clone(), node.name.clone());
                let (op, found) = (node.op.kind(), spec.shape.clone());
                return Err(GraphError::ParamShape {
                    name,
                    node: node_name,
                    op,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }

    fn check_claims(&self) -> Result<(), GraphError> {
        let mut claims = vec![0; self.params.len()];
        for p in self.nodes.iter().flat_map(|n| &n.params) {
            match claims.get_mut(p.index()) {
                Some(c) => *c += 1,
                None => {
                    return Err(GraphError::Claim {
                        index: p.index(),
                        claims: 0,
                    });
                }
            }
        }
        match claims.iter().position(|c| *c != 1) {
            Some(index) => Err(GraphError::Claim {
                index,
                claims: claims[index],
            }),
            None => Ok(()),
        }
    }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), GraphError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(GraphError::Duplicate {
                what,
                name: name.into(),
            });
        }
    }
    Ok(())
}

fn check_arity(node: &Node) -> Result<(), GraphError> {
    let inputs = match node.op {
        Op::Input { .. } => 0..=0,
        Op::Add | Op::ScaleChannels => 2..=2,
        Op::Concat | Op::Mean => 2..=usize::MAX,
        _ => 1..=1,
    };
    let params = match node.op {
        Op::Conv2d { bias, .. } => 1 + usize::from(bias),
        Op::Depthwise { .. } => 1,
        Op::ConvTranspose2x2 { .. } | Op::Linear { .. } => 2,
        Op::BatchNorm { .. } => 4,
        _ => 0,
    };
    let error = |what, found, expected| GraphError::Arity {
        node: node.name.clone(),
        op: node.op.kind(),
        what,
        found,
        expected,
    };
    if !inputs.contains(&node.inputs.len()) {
        return Err(error("inputs", node.inputs.len(), format!("{inputs:?}")));
    }
    if node.params.len() != params {
        return Err(error("parameters", node.params.len(), params.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kernels::Padding;

    use super::*;
    use crate::graph::{GraphBuilder, Init};

    fn check(spoil: impl Fn(&mut Graph), expected: &str) {
        let mut g = GraphBuilder::new(2);
        let x = g.conv(
            "conv",
            g.input(),
            4,
            3,
            1,
            Padding::Same,
            true,
            Init::Constant(0.0),
        );
        let x = g.batch_norm("bn", x, 1e-5, 0.1);
        let x = g.global_avg_pool("pool", x);
        let x = g.linear("head", x, 3, Init::Constant(0.0));
        g.publish("logits", x);
        let mut graph = g.finish(1).unwrap();
        spoil(&mut graph);
        let error = graph.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn every_broken_invariant_is_named() {
        check(
            |g| g.nodes[2].name = "conv".into(),
            "two nodes are named `conv`",
        );
        check(
            |g| g.params[1].name = "conv.weight".into(),
            "two parameters are named `conv.weight`",
        );
        check(|g| g.nodes[1].inputs[0].0 = 3, "node `conv` reads value 3");
        check(
            |g| g.nodes[1].inputs.clear(),
            "has 0 inputs, expected 1..=1",
        );
        check(
            |g| g.nodes[1].params.truncate(1),
            "node `conv` (conv2d) has 1 parameters, expected 2",
        );
        check(
            |g| g.nodes[1].params[1].0 = 0,
            "parameter 0 is claimed by 2 nodes",
        );
        check(
            |g| g.nodes[1].params[1].0 = 99,
            "parameter 99 is claimed by 0 nodes",
        );
        check(
            |g| g.outputs[0].1.0 = 9,
            "output `logits` points at no node",
        );
        check(
            |g| g.nodes[1].op = Op::Input { channels: 4 },
            "one input node",
        );
        check(
            |g| g.nodes[2].channels = 5,
            "node `bn` (batch_norm) says 5 channels, its operation gives 4",
        );
        check(
            |g| g.params[0].shape[2] = 7,
            "`conv.weight` of node `conv` (conv2d) has shape [3, 3, 7, 4]",
        );
    }
}
