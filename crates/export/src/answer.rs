//! The model around the network: from the pixels of a file to probabilities, class and map.

use imaging::Fit;
use inference::{Bundle, MapReading};
use metrics::DecisionRule;
use model::graph::NodeId;

use crate::error::ExportError;
use crate::metadata::metadata;
use crate::network::{SIDES, network};
use crate::proto::tensor_proto::DataType;
use crate::proto::tensor_shape_proto::{Dimension, dimension};
use crate::proto::{
    GraphProto, ModelProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
    type_proto,
};
use crate::writer::{WeightType, Writer, int, text};

/// The operators' version: the first in which a resize widens its filter with the reduction.
const OPSET: i64 = 18;

/// The format's version that came with it.
const IR: i64 = 8;

/// A side of a value whose size the model does not fix.
const BATCH: &str = "batch";

pub(crate) fn model(
    bundle: &Bundle,
    weights: WeightType,
    sha256: &str,
) -> Result<ModelProto, ExportError> {
    let mut writer = Writer::new(weights);
    let outputs = Answer {
        writer: &mut writer,
        bundle,
    }
    .outputs()?;
    let graph = GraphProto {
        name: Some("network".into()),
        node: writer.nodes,
        initializer: writer.initializers,
        input: inputs(bundle),
        output: outputs,
        ..GraphProto::default()
    };
    Ok(ModelProto {
        ir_version: Some(IR),
        producer_name: Some("eff-unet".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        graph: Some(graph),
        metadata_props: metadata(bundle, sha256),
        ..ModelProto::default()
    })
}

fn inputs(bundle: &Bundle) -> Vec<ValueInfoProto> {
    let p = &bundle.meta().preprocessing;
    let channels = match p.channels {
        1 => fixed(1),
        _ => free("channels"),
    };
    let (rows, columns) = match p.window {
        Some(_) => (fixed(p.height), fixed(p.width)),
        None => (free("height"), free("width")),
    };
    vec![
        value(
            "image",
            DataType::Float,
            vec![free(BATCH), channels, rows, columns],
        ),
        value("full_scale", DataType::Float, vec![fixed(1)]),
    ]
}

/// The nodes before and after the network.
struct Answer<'a> {
    writer: &'a mut Writer,
    bundle: &'a Bundle,
}

impl Answer<'_> {
    fn outputs(mut self) -> Result<Vec<ValueInfoProto>, ExportError> {
        let bundle = self.bundle;
        let image = self.image();
        let graph = bundle.network().graph().clone();
        let logits = graph.output("logits");
        let has_map = bundle.segments() || bundle.has_map();
        let map = graph.output("map").filter(|_| has_map);
        let wanted: Vec<NodeId> = [logits, map].into_iter().flatten().collect();
        let input = match bundle.meta().inference.mirror {
            true => {
                let other = self.mirrored(&image);
                self.writer
                    .node("Concat", &[&image, &other], vec![int("axis", 0)])
            }
            false => image,
        };
        let p = &bundle.meta().preprocessing;
        let size = (p.height, p.width);
        let store = bundle.network().store();
        let values = network(self.writer, (&graph, &store), size, &input, &wanted)?;
        let mut values = values.into_iter();
        let mut outputs = vec![];
        if logits.is_some() {
            outputs.extend(self.scores(&values.next().unwrap_or_default()));
        }
        if map.is_some() {
            outputs.push(self.map(&values.next().unwrap_or_default())?);
        }
        Ok(outputs)
    }

    /// The network's input: resized, on the scale 0–1, normalized.
    fn image(&mut self) -> String {
        let p = self.bundle.meta().preprocessing.clone();
        let resized = match (p.window, p.fit) {
            (Some(_), _) => "image".to_owned(),
            (None, Fit::Stretch) => {
                let sizes = self.writer.integers(&[p.height as i64, p.width as i64]);
                self.resized(&sizes)
            }
            (None, Fit::Pad) => self.letterboxed([p.height, p.width]),
        };
        let scaled = self.writer.node("Div", &[&resized, "full_scale"], vec![]);
        let mean = self.writer.floats("mean", &[1, p.channels, 1, 1], &p.mean);
        let std = self.writer.floats("std", &[1, p.channels, 1, 1], &p.std);
        // A grey image becomes one of the network's channels here, by broadcasting.
        let centred = self.writer.node("Sub", &[&scaled, &mean], vec![]);
        self.writer.node("Div", &[&centred, &std], vec![])
    }

    /// Bilinear, with a filter that widens with the reduction, and rounded to whole pixel values, as `imaging` resizes.
    fn resized(&mut self, sizes: &str) -> String {
        let mut attributes = vec![
            text("mode", "linear"),
            text("coordinate_transformation_mode", "half_pixel"),
            int("antialias", 1),
        ];
        attributes.push(crate::writer::ints("axes", &[2, 3]));
        let resized = self
            .writer
            .node("Resize", &["image", "", "", sizes], attributes);
        self.writer.node("Round", &[&resized], vec![])
    }

    /// Both sides scaled by the same factor, centred, black around it: the sizes are those of `imaging::Placement`, in
    /// double precision as there.
    fn letterboxed(&mut self, frame: [usize; 2]) -> String {
        let w = &mut *self.writer;
        let double = |w: &mut Writer, value: &str| {
            w.node("Cast", &[value], vec![int("to", DataType::Double as i64)])
        };
        let frame = w.integers(&frame.map(|side| side as i64));
        let shape = w.node("Shape", &["image"], vec![int("start", 2), int("end", 4)]);
        let (own, target) = (double(w, &shape), double(w, &frame));
        let factors = w.node("Div", &[&target, &own], vec![]);
        let factor = w.node("ReduceMin", &[&factors], vec![int("keepdims", 1)]);
        let sides = w.node("Mul", &[&own, &factor], vec![]);
        let half = w.double("half", 0.5);
        let sides = w.node("Add", &[&sides, &half], vec![]);
        let sides = w.node("Floor", &[&sides], vec![]);
        let sides = w.node("Cast", &[&sides], vec![int("to", DataType::Int64 as i64)]);
        let one = w.integers(&[1]);
        let sides = w.node("Max", &[&sides, &one], vec![]);
        let sides = w.node("Min", &[&sides, &frame], vec![]);
        let border = w.node("Sub", &[&frame, &sides], vec![]);
        let two = w.integers(&[2]);
        let before = w.node("Div", &[&border, &two], vec![]);
        let after = w.node("Sub", &[&border, &before], vec![]);
        let pads = w.node("Concat", &[&before, &after], vec![int("axis", 0)]);
        let axes = w.integers(&SIDES);
        let resized = self.resized(&sides);
        self.writer
            .node("Pad", &[&resized, &pads, "", &axes], vec![])
    }

    /// Each row in reverse.
    fn mirrored(&mut self, value: &str) -> String {
        let [start, end, axis, step] = [-1, i64::MIN, 3, -1].map(|i| self.writer.integers(&[i]));
        self.writer
            .node("Slice", &[value, &start, &end, &axis, &step], vec![])
    }

    /// The mean over images and their mirror images, which follow them in the batch; `restore` is applied to the latter.
    fn averaged(&mut self, value: &str, restore: impl Fn(&mut Self, &str) -> String) -> String {
        if !self.bundle.meta().inference.mirror {
            return value.to_owned();
        }
        let [own, other] = self.writer.halves(value, 0);
        let other = restore(self, &other);
        self.writer.node("Mean", &[&own, &other], vec![])
    }

    /// `logits`, `probabilities` and `class`.
    fn scores(&mut self, logits: &str) -> Vec<ValueInfoProto> {
        let bundle = self.bundle;
        let classes = bundle.meta().classes.len();
        let logits = self.averaged(logits, |_, other| other.to_owned());
        let w = &mut *self.writer;
        w.named("Identity", &[&logits], vec![], "logits");
        let bias: Vec<f32> = bundle.scaling().bias().iter().map(|b| *b as f32).collect();
        let bias = w.floats("calibration_bias", &[classes], &bias);
        let temperature = bundle.scaling().temperature() as f32;
        let temperature = w.floats("temperature", &[], &[temperature]);
        let scaled = w.node("Div", &["logits", &temperature], vec![]);
        let scaled = w.node("Add", &[&scaled, &bias], vec![]);
        w.named("Softmax", &[&scaled], vec![int("axis", 1)], "probabilities");
        match bundle.rule() {
            DecisionRule::MostProbable => {
                // Not of the logits: the biases can make another class the most probable one.
                let attributes = vec![int("axis", 1), int("keepdims", 0)];
                w.named("ArgMax", &["probabilities"], attributes, "class");
            }
            DecisionRule::Threshold { positive, log_odds } => {
                // Of two classes; in double precision, as the threshold was chosen.
                let scores = w.node(
                    "Cast",
                    &["logits"],
                    vec![int("to", DataType::Double as i64)],
                );
                let index = w.integers(&[positive as i64, 1 - positive as i64]);
                let ordered = w.node("Gather", &[&scores, &index], vec![int("axis", 1)]);
                let axis = w.integers(&[1]);
                let [own, other] = w.halves(&ordered, 1);
                let [own, other] =
                    [own, other].map(|half| w.node("Squeeze", &[&half, &axis], vec![]));
                let odds = w.node("Sub", &[&own, &other], vec![]);
                let threshold = w.double("threshold_log_odds", log_odds);
                let above = w.node("GreaterOrEqual", &[&odds, &threshold], vec![]);
                let [yes, no] =
                    [positive as i64, 1 - positive as i64].map(|class| w.integers(&[class]));
                w.named("Where", &[&above, &yes, &no], vec![], "class");
            }
        }
        let two = |name, kind| value(name, kind, vec![free(BATCH), fixed(classes)]);
        vec![
            two("logits", DataType::Float),
            two("probabilities", DataType::Float),
            value("class", DataType::Int64, vec![free(BATCH)]),
        ]
    }

    /// `map`: the probabilities of each pixel.
    fn map(&mut self, scores: &str) -> Result<ValueInfoProto, ExportError> {
        let bundle = self.bundle;
        let shape = bundle.map_shape()?;
        let (scores, classes) = match bundle.reading() {
            MapReading::Head { weight, bias } if !bundle.segments() => {
                let (from, to) = (weight.len() / bias.len().max(1), bias.len());
                let transposed: Vec<f32> = (0..to)
                    .flat_map(|j| (0..from).map(move |i| weight[i * to + j]))
                    .collect();
                let weight = self
                    .writer
                    .weight("map_weight", &[to, from, 1, 1], &transposed);
                let bias = self.writer.weight("map_bias", &[to], bias);
                (
                    self.writer.node("Conv", &[scores, &weight, &bias], vec![]),
                    to,
                )
            }
            _ => (scores.to_owned(), shape.c),
        };
        let probabilities = self
            .writer
            .node("Softmax", &[&scores], vec![int("axis", 1)]);
        let probabilities = self.averaged(&probabilities, |answer, other| answer.mirrored(other));
        self.writer
            .named("Identity", &[&probabilities], vec![], "map");
        let sides = [fixed(classes), fixed(shape.h), fixed(shape.w)];
        let sides = [free(BATCH)].into_iter().chain(sides).collect();
        Ok(value("map", DataType::Float, sides))
    }
}

fn fixed(side: usize) -> Dimension {
    Dimension {
        value: Some(dimension::Value::DimValue(side as i64)),
        ..Dimension::default()
    }
}

fn free(name: &str) -> Dimension {
    Dimension {
        value: Some(dimension::Value::DimParam(name.into())),
        ..Dimension::default()
    }
}

fn value(name: &str, kind: DataType, dim: Vec<Dimension>) -> ValueInfoProto {
    let tensor = type_proto::Tensor {
        elem_type: Some(kind as i32),
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
