//! Builds graphs: each method appends a node with its parameters under the current name scope.

use kernels::{Activation, Padding, Window};

use super::{Graph, Init, Interpolation, Node, NodeId, Op, ParamId, ParamSpec, Role, WeightLayout};

/// Appends nodes in topological order under dotted scopes.
///
/// ```
/// use model::graph::{GraphBuilder, Init};
/// use kernels::{Activation, Padding};
/// let mut g = GraphBuilder::new(3);
/// let x = g.input();
/// let y = g.scope("stem", |g| {
///     let y = g.conv("conv", x, 8, 3, 2, Padding::Symmetric(1), false, Init::Normal(0.1));
///     let y = g.batch_norm("bn", y, 1e-5, 0.1);
///     g.activation("act", y, Activation::Relu)
/// });
/// g.publish("features.1", y);
/// let graph = g.finish(2).unwrap();
/// assert_eq!(graph.params[0].name, "stem.conv.weight");
/// assert_eq!(graph.parameter_count(), 3 * 3 * 3 * 8 + 16);
/// ```
#[derive(Debug)]
pub struct GraphBuilder {
    graph: Graph,
    scope: Vec<String>,
}

impl GraphBuilder {
    /// Starts a graph whose input has `in_channels`.
    pub fn new(in_channels: usize) -> Self {
        let input = Node {
            name: "input".into(),
            op: Op::Input {
                channels: in_channels,
            },
            inputs: vec![],
            params: vec![],
            channels: in_channels,
        };
        let graph = Graph {
            nodes: vec![input],
            params: vec![],
            outputs: vec![],
            size_multiple: 1,
            smallest_size: 0,
        };
        GraphBuilder {
            graph,
            scope: vec![],
        }
    }

    /// The input's value.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// Number of channels of a value.
    pub fn channels(&self, id: NodeId) -> usize {
        self.graph.node(id).channels
    }

    /// Runs `body` with `name` appended to the scope.
    pub fn scope<T>(&mut self, name: impl Into<String>, body: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.push(name.into());
        let result = body(self);
        self.scope.pop();
        result
    }

    /// Publishes a value under a name by which callers and tests can request it.
    pub fn publish(&mut self, name: impl Into<String>, id: NodeId) {
        self.graph.outputs.push((name.into(), id));
    }

    /// Restricts image sides to `smallest + k · size_multiple` pixels.
    pub fn smallest_size(&mut self, smallest: usize) {
        self.graph.smallest_size = smallest;
    }

    /// Checks and returns the graph; image sizes must be multiples of `size_multiple`.
    pub fn finish(mut self, size_multiple: usize) -> Result<Graph, super::GraphError> {
        self.graph.size_multiple = size_multiple;
        self.graph.check()?;
        Ok(self.graph)
    }

    /// Dense square convolution.
    pub fn conv(
        &mut self,
        name: &str,
        x: NodeId,
        out: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
        bias: bool,
        init: Init,
    ) -> NodeId {
        let window = Window {
            kernel: [kernel; 2],
            stride,
            padding,
        };
        let weight = (
            Role::Weight,
            WeightLayout::Conv,
            vec![kernel, kernel, self.channels(x), out],
            init,
        );
        let mut params = vec![("weight", weight)];
        if bias {
            params.push(("bias", vector(Role::Bias, out, 0.0)));
        }
        self.push(
            name,
            Op::Conv2d {
                out_channels: out,
                window,
                bias,
            },
            &[x],
            params,
            out,
        )
    }

    /// Depthwise square convolution.
    pub fn depthwise(
        &mut self,
        name: &str,
        x: NodeId,
        kernel: usize,
        stride: usize,
        padding: Padding,
        init: Init,
    ) -> NodeId {
        let c = self.channels(x);
        let window = Window {
            kernel: [kernel; 2],
            stride,
            padding,
        };
        let weight = (
            Role::Weight,
            WeightLayout::Depthwise,
            vec![kernel, kernel, c],
            init,
        );
        self.push(
            name,
            Op::Depthwise { window },
            &[x],
            vec![("weight", weight)],
            c,
        )
    }

    /// Transposed 2×2 convolution of stride 2, with bias.
    pub fn conv_transpose2x2(&mut self, name: &str, x: NodeId, out: usize, init: Init) -> NodeId {
        let weight = (
            Role::Weight,
            WeightLayout::ConvTranspose,
            vec![self.channels(x), 2, 2, out],
            init,
        );
        let params = vec![("weight", weight), ("bias", vector(Role::Bias, out, 0.0))];
        self.push(
            name,
            Op::ConvTranspose2x2 { out_channels: out },
            &[x],
            params,
            out,
        )
    }

    /// Batch normalization with running statistics.
    pub fn batch_norm(&mut self, name: &str, x: NodeId, eps: f32, momentum: f32) -> NodeId {
        let c = self.channels(x);
        let params = vec![
            ("weight", vector(Role::Scale, c, 1.0)),
            ("bias", vector(Role::Bias, c, 0.0)),
            ("running_mean", vector(Role::RunningMean, c, 0.0)),
            ("running_var", vector(Role::RunningVar, c, 1.0)),
        ];
        self.push(name, Op::BatchNorm { eps, momentum }, &[x], params, c)
    }

    /// Element-wise nonlinearity.
    pub fn activation(&mut self, name: &str, x: NodeId, kind: Activation) -> NodeId {
        self.unary(name, Op::Activation { kind }, x)
    }

    /// Max pooling with a square window.
    pub fn max_pool(
        &mut self,
        name: &str,
        x: NodeId,
        kernel: usize,
        stride: usize,
        padding: Padding,
    ) -> NodeId {
        self.unary(
            name,
            Op::MaxPool {
                window: Window {
                    kernel: [kernel; 2],
                    stride,
                    padding,
                },
            },
            x,
        )
    }

    /// Mean over height and width.
    pub fn global_avg_pool(&mut self, name: &str, x: NodeId) -> NodeId {
        self.unary(name, Op::GlobalAvgPool, x)
    }

    /// Mean of `x` over the region that `map` predicts: all but its class 0.
    pub fn region_pool(&mut self, name: &str, x: NodeId, map: NodeId) -> NodeId {
        let c = self.channels(x);
        self.push(name, Op::RegionPool, &[x, map], vec![], c)
    }

    /// Doubles height and width.
    pub fn upsample2x(&mut self, name: &str, x: NodeId, mode: Interpolation) -> NodeId {
        self.unary(name, Op::Upsample2x { mode }, x)
    }

    /// Concatenates along channels; a single value is returned unchanged.
    pub fn concat(&mut self, name: &str, xs: &[NodeId]) -> NodeId {
        if let [x] = xs {
            return *x;
        }
        let c = xs.iter().map(|x| self.channels(*x)).sum();
        self.push(name, Op::Concat, xs, vec![], c)
    }

    /// Sum of two values.
    pub fn add(&mut self, name: &str, a: NodeId, b: NodeId) -> NodeId {
        let c = self.channels(a);
        self.push(name, Op::Add, &[a, b], vec![], c)
    }

    /// Mean of values of the same shape; a single value is returned unchanged.
    pub fn mean(&mut self, name: &str, xs: &[NodeId]) -> NodeId {
        if let [x] = xs {
            return *x;
        }
        let c = xs.first().map_or(0, |x| self.channels(*x));
        self.push(name, Op::Mean, xs, vec![], c)
    }

    /// Removes `margin` pixels on every side; a margin of 0 adds no node.
    pub fn crop(&mut self, name: &str, x: NodeId, margin: usize) -> NodeId {
        if margin == 0 {
            x
        } else {
            self.unary(name, Op::Crop { margin }, x)
        }
    }

    /// `x · s`, one factor per channel.
    pub fn scale_channels(&mut self, name: &str, x: NodeId, s: NodeId) -> NodeId {
        let c = self.channels(x);
        self.push(name, Op::ScaleChannels, &[x, s], vec![], c)
    }

    /// Affine map of a `[n, c]` value.
    pub fn linear(&mut self, name: &str, x: NodeId, out: usize, init: Init) -> NodeId {
        let weight = (
            Role::Weight,
            WeightLayout::Linear,
            vec![self.channels(x), out],
            init,
        );
        let params = vec![("weight", weight), ("bias", vector(Role::Bias, out, 0.0))];
        self.push(name, Op::Linear { out_features: out }, &[x], params, out)
    }

    /// Stochastic depth; a rate of 0 adds no node.
    pub fn drop_path(&mut self, name: &str, x: NodeId, rate: f32) -> NodeId {
        if rate == 0.0 {
            x
        } else {
            self.unary(name, Op::DropPath { rate }, x)
        }
    }

    /// Dropout; a rate of 0 adds no node.
    pub fn dropout(&mut self, name: &str, x: NodeId, rate: f32) -> NodeId {
        if rate == 0.0 {
            x
        } else {
            self.unary(name, Op::Dropout { rate }, x)
        }
    }

    fn unary(&mut self, name: &str, op: Op, x: NodeId) -> NodeId {
        let c = self.channels(x);
        self.push(name, op, &[x], vec![], c)
    }

    fn push(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[NodeId],
        params: Vec<(&str, NewParam)>,
        channels: usize,
    ) -> NodeId {
        let name = self.scoped(name);
        let params = params
            .into_iter()
            .map(|(suffix, p)| self.param(format!("{name}.{suffix}"), p))
            .collect();
        self.graph.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            params,
            channels,
        });
        NodeId(self.graph.nodes.len() as u32 - 1)
    }

    fn param(&mut self, name: String, (role, layout, shape, init): NewParam) -> ParamId {
        self.graph.params.push(ParamSpec {
            name,
            shape,
            role,
            layout,
            init,
        });
        ParamId(self.graph.params.len() as u32 - 1)
    }

    fn scoped(&self, name: &str) -> String {
        let mut path = self.scope.join(".");
        if !path.is_empty() && !name.is_empty() {
            path.push('.');
        }
        path + name
    }
}

type NewParam = (Role, WeightLayout, Vec<usize>, Init);

fn vector(role: Role, len: usize, value: f32) -> NewParam {
    (role, WeightLayout::Vector, vec![len], Init::Constant(value))
}
