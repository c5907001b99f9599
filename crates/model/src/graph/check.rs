//! The graph's invariants, checked when a graph is built and when it is read from a file.

use std::collections::HashSet;
use std::fmt::Display;

use kernels::{MAX_VALUES, Padding, Window, depthwise};

use super::{Graph, Node, Op, Role, WeightLayout};

/// Larger than in any real network, and small enough that no sum or product of the sizes below can overflow.
const MAX_NODES: usize = 10_000;
const MAX_CHANNELS: usize = 1 << 20;
/// Limit in pixels of a kernel's side, a stride, a padding or a margin.
const MAX_PIXELS: usize = 1 << 10;

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
    /// A node reads a value that is not defined before it.
    #[error("node `{node}` reads value {input}, which is not defined before it")]
    Order {
        /// Node's name.
        node: String,
        /// Index of the value.
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
    /// A parameter belongs to no node or to several, or its index is outside the list.
    #[error("parameter {index} is claimed by {claims} nodes, expected one")]
    Claim {
        /// Index in `params`.
        index: usize,
        /// Number of nodes that claim it.
        claims: usize,
    },
    /// An invalid number, or one that no machine has enough memory for.
    #[error("{place}: {what} is {found}, but it must be {expected}")]
    Value {
        /// ``node `name` (operation)``, or `the network`.
        place: String,
        /// The number's name.
        what: &'static str,
        /// The number.
        found: String,
        /// The allowed range.
        expected: String,
    },
    /// A parameter's kind is not the one that its node's operation needs.
    #[error("parameter `{name}` of node `{node}` ({op}) is {found:?}, expected {expected:?}")]
    ParamKind {
        /// Parameter's name.
        name: String,
        /// Node's name.
        node: String,
        /// Operation.
        op: &'static str,
        /// Role and layout found.
        found: (Role, WeightLayout),
        /// Role and layout that the operation needs.
        expected: (Role, WeightLayout),
    },
    /// A parameter's shape is not the one that its node's operation needs.
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
    /// A node's number of channels is not the one that its operation produces from its inputs.
    #[error(
        "node `{node}` ({op}) declares {found} channels, but its operation produces {expected}"
    )]
    Channels {
        /// Node's name.
        node: String,
        /// Operation.
        op: &'static str,
        /// Channels declared.
        found: usize,
        /// Channels that the operation produces.
        expected: usize,
    },
    /// An output refers to a value that does not exist.
    #[error("output `{0}` refers to no node")]
    Output(String),
    /// The first node is not the only input.
    #[error("a graph must start with its only input node")]
    Input,
}

impl Graph {
    /// Checks all invariants of this module.
    pub fn check(&self) -> Result<(), GraphError> {
        self.check_input()?;
        self.check_sizes()?;
        unique("node", self.nodes.iter().map(|n| n.name.as_str()))?;
        unique("parameter", self.params.iter().map(|p| p.name.as_str()))?;
        self.check_order()?;
        self.nodes.iter().try_for_each(check_arity)?;
        self.check_claims()?;
        self.nodes.iter().try_for_each(check_values)?;
        self.nodes
            .iter()
            .try_for_each(|node| self.check_channels(node))?;
        self.nodes
            .iter()
            .try_for_each(|node| self.check_params(node))?;
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

    fn check_sizes(&self) -> Result<(), GraphError> {
        let within =
            |what, value, low, high| within(|| "the network".into(), what, value, low, high);
        within("number of nodes", self.nodes.len(), 1, MAX_NODES)?;
        within("size_multiple", self.size_multiple, 1, Self::MAX_SIDE)?;
        within("smallest_size", self.smallest_size, 0, Self::MAX_SIDE)
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

    fn check_params(&self, node: &Node) -> Result<(), GraphError> {
        let input = node.inputs.first().map_or(0, |x| self.node(*x).channels);
        let expected = parameters(&node.op, input, node.channels);
        let own = node.params.iter().map(|p| self.param(*p));
        for (spec, (role, layout, shape)) in own.zip(expected) {
            let (name, node_name) = (spec.name.clone(), node.name.clone());
            if (spec.role, spec.layout) != (role, layout) {
                return Err(GraphError::ParamKind {
                    name,
                    node: node_name,
                    op: node.op.kind(),
                    found: (spec.role, spec.layout),
                    expected: (role, layout),
                });
            }
            if spec.shape != shape {
                return Err(GraphError::ParamShape {
                    name,
                    node: node_name,
                    op: node.op.kind(),
                    found: spec.shape.clone(),
                    expected: shape,
                });
            }
            within(
                || place(node),
                "size of a parameter",
                spec.len(),
                1,
                MAX_VALUES,
            )?;
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
        Op::Add | Op::ScaleChannels | Op::RegionPool => 2..=2,
        Op::Concat | Op::Mean => 2..=usize::MAX,
        _ => 1..=1,
    };
    let params = parameters(&node.op, 0, 0).len();
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

/// The parameters of an operation, in order: role, layout and shape.
fn parameters(op: &Op, input: usize, c: usize) -> Vec<(Role, WeightLayout, Vec<usize>)> {
    let weight = |layout, shape: &[usize]| (Role::Weight, layout, shape.to_vec());
    let vector = |role| (role, WeightLayout::Vector, vec![c]);
    match *op {
        Op::Conv2d { window, bias, .. } => {
            let [height, width] = window.kernel;
            let mut own = vec![weight(WeightLayout::Conv, &[height, width, input, c])];
            own.extend(bias.then(|| vector(Role::Bias)));
            own
        }
        Op::Depthwise { window } => {
            let [height, width] = window.kernel;
            vec![weight(WeightLayout::Depthwise, &[height, width, c])]
        }
        Op::ConvTranspose2x2 { .. } => vec![
            weight(WeightLayout::ConvTranspose, &[input, 2, 2, c]),
            vector(Role::Bias),
        ],
        Op::Linear { .. } => vec![
            weight(WeightLayout::Linear, &[input, c]),
            vector(Role::Bias),
        ],
        Op::BatchNorm { .. } => [Role::Scale, Role::Bias, Role::RunningMean, Role::RunningVar]
            .map(vector)
            .to_vec(),
        _ => vec![],
    }
}

/// Checks the numbers that an operation uses as divisors, in sizes or in its arithmetic.
fn check_values(node: &Node) -> Result<(), GraphError> {
    let place = || place(node);
    within(place, "number of channels", node.channels, 1, MAX_CHANNELS)?;
    match node.op {
        Op::Conv2d { window, .. } => check_window(place, window),
        Op::Depthwise { window } => {
            check_window(place, window)?;
            let taps = window.kernel[0] * window.kernel[1];
            within(place, "number of taps", taps, 1, depthwise::MAX_TAPS)
        }
        Op::MaxPool { window } => {
            check_window(place, window)?;
            let Padding::Symmetric(padding) = window.padding else {
                return Ok(());
            };
            let smaller = window.kernel[0].min(window.kernel[1]) - 1;
            within(place, "padding of a pooling", padding, 0, smaller)
        }
        Op::Crop { margin } => within(place, "margin", margin, 0, MAX_PIXELS),
        Op::BatchNorm { eps, momentum } => {
            within(place, "eps", eps, f32::MIN_POSITIVE, 1.0)?;
            within(place, "momentum", momentum, 0.0, 1.0)
        }
        Op::DropPath { rate } | Op::Dropout { rate } => {
            within(place, "rate", rate, 0.0, 1.0 - f32::EPSILON)
        }
        _ => Ok(()),
    }
}

fn check_window(place: impl Fn() -> String + Copy, window: Window) -> Result<(), GraphError> {
    within(place, "height of a kernel", window.kernel[0], 1, MAX_PIXELS)?;
    within(place, "width of a kernel", window.kernel[1], 1, MAX_PIXELS)?;
    within(place, "stride", window.stride, 1, MAX_PIXELS)?;
    match window.padding {
        Padding::Symmetric(padding) => within(place, "padding", padding, 0, MAX_PIXELS),
        Padding::Same => Ok(()),
    }
}

/// Checks a range; NaN is in no range.
fn within<T: PartialOrd + Display>(
    place: impl Fn() -> String,
    what: &'static str,
    value: T,
    low: T,
    high: T,
) -> Result<(), GraphError> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(GraphError::Value {
        place: place(),
        what,
        found: value.to_string(),
        expected: format!("from {low} to {high}"),
    })
}

fn place(node: &Node) -> String {
    format!("node `{}` ({})", node.name, node.op.kind())
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
            "output `logits` refers to no node",
        );
        check(
            |g| g.nodes[1].op = Op::Input { channels: 4 },
            "only input node",
        );
        check(
            |g| g.nodes[2].channels = 5,
            "node `bn` (batch_norm) declares 5 channels, but its operation produces 4",
        );
        check(
            |g| g.params[0].shape[2] = 7,
            "`conv.weight` of node `conv` (conv2d) has shape [3, 3, 7, 4]",
        );
    }

    #[test]
    fn parameters_of_the_wrong_kind_are_named() {
        check(
            |g| g.params[0].layout = WeightLayout::Vector,
            "`conv.weight` of node `conv` (conv2d) is (Weight, Vector)",
        );
        check(
            |g| g.params.swap(4, 5),
            "`bn.running_var` of node `bn` (batch_norm) is (RunningVar, Vector)",
        );
    }

    /// Divisors of zero, sizes that overflow or that no machine has memory for, numbers that lead to NaN.
    #[test]
    fn invalid_values_are_named() {
        fn window(g: &mut Graph) -> &mut Window {
            match &mut g.nodes[1].op {
                Op::Conv2d { window, .. } => window,
                op => panic!("{op:?}"),
            }
        }
        check(|g| g.size_multiple = 0, "the network: size_multiple is 0");
        check(|g| g.size_multiple = usize::MAX, "size_multiple is 18446");
        check(
            |g| g.smallest_size = 1 << 40,
            "smallest_size is 1099511627776",
        );
        check(|g| window(g).stride = 0, "`conv` (conv2d): stride is 0");
        check(|g| window(g).stride = usize::MAX, "stride is 18446");
        check(|g| window(g).kernel = [0, 3], "height of a kernel is 0");
        check(
            |g| window(g).kernel = [3, 1 << 40],
            "width of a kernel is 1099511627776",
        );
        check(
            |g| window(g).padding = Padding::Symmetric(usize::MAX),
            "padding is 18446",
        );
        check(|g| g.nodes[0].channels = 0, "number of channels is 0");
        check(
            |g| g.nodes[1].channels = (1 << 61) + 16,
            "number of channels is 2305843009213693968",
        );
        check(
            |g| {
                g.nodes[2].op = Op::BatchNorm {
                    eps: f32::NAN,
                    momentum: 0.1,
                }
            },
            "eps is NaN",
        );
        check(
            |g| {
                g.nodes[2].op = Op::BatchNorm {
                    eps: 0.0,
                    momentum: 0.1,
                }
            },
            "eps is 0",
        );
        check(|g| g.nodes[3].op = Op::Dropout { rate: 1.0 }, "rate is 1");
        check(
            |g| {
                let (kernel, padding) = ([2, 2], Padding::Symmetric(2));
                g.nodes[3].op = Op::MaxPool {
                    window: Window {
                        kernel,
                        stride: 2,
                        padding,
                    },
                };
            },
            "padding of a pooling is 2",
        );
    }

    #[test]
    fn depthwise_kernels_with_too_many_taps_are_rejected() {
        let mut g = GraphBuilder::new(2);
        g.depthwise("dw", g.input(), 13, 1, Padding::Same, Init::Constant(0.0));
        let error = g.finish(1).unwrap_err().to_string();
        assert!(error.contains("number of taps is 169"), "{error}");
    }
}
