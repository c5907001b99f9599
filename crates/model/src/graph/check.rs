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
        Op::Concat => 2..=usize::MAX,
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
