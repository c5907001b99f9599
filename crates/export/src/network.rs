//! The network's graph as ONNX nodes. Values are NCHW there; parameters have PyTorch's layouts, which are ONNX's.

use std::collections::{BTreeMap, BTreeSet};

use model::graph::{
    Activation, Graph, Hwc, Interpolation, Node, NodeId, Op, ParamId, ParamSpec, Window,
};
use model::store::ParamStore;

use crate::error::ExportError;
use crate::writer::{Writer, float, int, ints, text};

/// The rows and columns of an NCHW value.
pub(crate) const SIDES: [i64; 2] = [2, 3];

/// Adds the nodes that the outputs `wanted` need, applied to the value `input` of the network's size; returns the
/// outputs' values.
pub(crate) fn network(
    writer: &mut Writer,
    (graph, store): (&Graph, &ParamStore),
    (height, width): (usize, usize),
    input: &str,
    wanted: &[NodeId],
) -> Result<Vec<String>, ExportError> {
    let shapes = graph.shapes(height, width)?;
    let needed = needed(graph, wanted);
    let mut walk = Walk {
        writer,
        graph,
        store,
        shapes: &shapes,
        values: BTreeMap::from([(NodeId::INPUT, input.to_owned())]),
    };
    for id in graph.ids().skip(1).filter(|id| needed.contains(id)) {
        walk.node(id);
    }
    Ok(wanted.iter().map(|id| walk.value(*id)).collect())
}

/// The nodes that the outputs depend on.
fn needed(graph: &Graph, wanted: &[NodeId]) -> BTreeSet<NodeId> {
    let mut needed: BTreeSet<NodeId> = wanted.iter().copied().collect();
    for id in graph.ids().rev() {
        if needed.contains(&id) {
            needed.extend(&graph.node(id).inputs);
        }
    }
    needed
}

struct Walk<'w> {
    writer: &'w mut Writer,
    graph: &'w Graph,
    store: &'w ParamStore,
    shapes: &'w [Hwc],
    values: BTreeMap<NodeId, String>,
}

impl Walk<'_> {
    fn value(&self, id: NodeId) -> String {
        self.values.get(&id).cloned().unwrap_or_default()
    }

    fn shape(&self, id: NodeId) -> Hwc {
        self.shapes[id.index()]
    }

    fn node(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let inputs: Vec<String> = node.inputs.iter().map(|input| self.value(*input)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let x = inputs.first().copied().unwrap_or_default();
        let value = match &node.op {
            Op::Input { .. } => return,
            Op::Conv2d { window, .. } => self.convolution(node, x, window, 1),
            Op::Depthwise { window } => self.convolution(node, x, window, node.channels),
            Op::ConvTranspose2x2 { .. } => {
                let mut all = vec![x.to_owned()];
                all.extend(node.params.iter().map(|id| self.parameter(*id)));
                let attributes = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
                self.add("ConvTranspose", &all, attributes)
            }
            Op::BatchNorm { eps, .. } => {
                let mut all = vec![x.to_owned()];
                all.extend(node.params.iter().map(|id| self.parameter(*id)));
                self.add("BatchNormalization", &all, vec![float("epsilon", *eps)])
            }
            Op::Activation { kind } => self.activation(*kind, x),
            Op::MaxPool { window } => {
                let attributes = self.windowed(node, window);
                self.writer.node("MaxPool", &[x], attributes)
            }
            Op::GlobalAvgPool => self.writer.node("GlobalAveragePool", &[x], vec![]),
            Op::RegionPool => self.region_pool(node, x, inputs.get(1).copied().unwrap_or_default()),
            Op::Upsample2x { mode } => self.upsampled(x, *mode),
            Op::Concat => self.writer.node("Concat", &inputs, vec![int("axis", 1)]),
            Op::Add => self.writer.node("Add", &inputs, vec![]),
            Op::Mean => self.writer.node("Mean", &inputs, vec![]),
            Op::Crop { margin } => {
                let (own, from) = (self.shape(id), *margin as i64);
                let starts = self.writer.integers(&[from, from]);
                let ends = [from + own.h as i64, from + own.w as i64];
                let ends = self.writer.integers(&ends);
                let axes = self.writer.integers(&SIDES);
                self.writer
                    .node("Slice", &[x, &starts, &ends, &axes], vec![])
            }
            Op::ScaleChannels => self.writer.node("Mul", &inputs, vec![]),
            Op::Linear { .. } => {
                let mut all = vec![self.writer.node("Flatten", &[x], vec![int("axis", 1)])];
                all.extend(node.params.iter().map(|id| self.parameter(*id)));
                self.add("Gemm", &all, vec![int("transB", 1)])
            }
            // They do nothing outside training.
            Op::DropPath { .. } | Op::Dropout { .. } => x.to_owned(),
        };
        self.values.insert(id, value);
    }

    fn add(
        &mut self,
        operator: &str,
        inputs: &[String],
        attributes: Vec<crate::proto::AttributeProto>,
    ) -> String {
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.writer.node(operator, &inputs, attributes)
    }

    /// A parameter, under its own name.
    fn parameter(&mut self, id: ParamId) -> String {
        let spec: &ParamSpec = self.graph.param(id);
        let values = spec.to_torch(self.store.get(id));
        let dims = spec.torch_shape();
        match spec.role.trainable() {
            true => self.writer.weight(&spec.name, &dims, &values),
            // A running variance may be beyond the range of half precision.
            false => self.writer.floats(&spec.name, &dims, &values),
        }
    }

    fn convolution(&mut self, node: &Node, x: &str, window: &Window, groups: usize) -> String {
        let mut all = vec![x.to_owned()];
        all.extend(node.params.iter().map(|id| self.parameter(*id)));
        let mut attributes = self.windowed(node, window);
        attributes.push(int("group", groups as i64));
        self.add("Conv", &all, attributes)
    }

    /// Kernel, strides and padding for the size of the node's input, because padding may depend on it.
    fn windowed(&self, node: &Node, window: &Window) -> Vec<crate::proto::AttributeProto> {
        let input = node.inputs.first().map(|id| self.shape(*id));
        let sides = input.map_or([0, 0], |input| [input.h, input.w]);
        let before = [0, 1].map(|axis| window.pad_before(axis, sides[axis]));
        let after = [0, 1].map(|axis| {
            let positions = window.output_len(axis, sides[axis]).unwrap_or(1);
            let span = (positions.max(1) - 1) * window.stride + window.kernel[axis];
            span.saturating_sub(sides[axis] + before[axis])
        });
        vec![
            ints("kernel_shape", &window.kernel),
            ints("strides", &[window.stride; 2]),
            ints("pads", &[before, after].concat()),
        ]
    }

    fn activation(&mut self, kind: Activation, x: &str) -> String {
        match kind {
            Activation::Relu => self.writer.node("Relu", &[x], vec![]),
            Activation::Sigmoid => self.writer.node("Sigmoid", &[x], vec![]),
            Activation::Silu => {
                let gate = self.writer.node("Sigmoid", &[x], vec![]);
                self.writer.node("Mul", &[x, &gate], vec![])
            }
            Activation::Relu6 => {
                let least = self.constant(0.0);
                let most = self.constant(6.0);
                self.writer.node("Clip", &[x, &least, &most], vec![])
            }
        }
    }

    fn constant(&mut self, value: f32) -> String {
        let name = format!("constant_{}", self.writer.initializers.len());
        self.writer.floats(&name, &[], &[value])
    }

    fn upsampled(&mut self, x: &str, mode: Interpolation) -> String {
        let scales = format!("scales_{}", self.writer.initializers.len());
        let scales = self.writer.floats(&scales, &[4], &[1.0, 1.0, 2.0, 2.0]);
        let attributes = match mode {
            Interpolation::Nearest => vec![
                text("mode", "nearest"),
                text("coordinate_transformation_mode", "asymmetric"),
                text("nearest_mode", "floor"),
            ],
            Interpolation::Bilinear => vec![
                text("mode", "linear"),
                text("coordinate_transformation_mode", "half_pixel"),
            ],
        };
        self.writer.node("Resize", &[x, "", &scales], attributes)
    }

    /// `Σ w x / (Σ w + ε)` with the map's probability of all classes but the first as `w` (`kernels::region_pool`).
    fn region_pool(&mut self, node: &Node, features: &str, map: &str) -> String {
        let [own, map_shape] = [0, 1].map(|i| node.inputs.get(i).map(|id| self.shape(*id)));
        let side = match (own, map_shape) {
            (Some(own), Some(map)) => map.h / own.h.max(1),
            _ => 1,
        };
        let probabilities = self.writer.node("Softmax", &[map], vec![int("axis", 1)]);
        let (start, end) = (self.writer.integers(&[0]), self.writer.integers(&[1]));
        let axes = self.writer.integers(&[1]);
        let outside = [probabilities.as_str(), &start, &end, &axes];
        let outside = self.writer.node("Slice", &outside, vec![]);
        let one = self.constant(1.0);
        let inside = self.writer.node("Sub", &[&one, &outside], vec![]);
        let attributes = vec![
            ints("kernel_shape", &[side; 2]),
            ints("strides", &[side; 2]),
        ];
        let weight = self.writer.node("AveragePool", &[&inside], attributes);
        let weighted = self.writer.node("Mul", &[features, &weight], vec![]);
        let sides = self.writer.integers(&SIDES);
        let sum = self.writer.node("ReduceSum", &[&weighted, &sides], vec![]);
        let total = self.writer.node("ReduceSum", &[&weight, &sides], vec![]);
        let eps = self.constant(model::graph::REGION_EPS);
        let total = self.writer.node("Add", &[&total, &eps], vec![]);
        self.writer.node("Div", &[&sum, &total], vec![])
    }
}
