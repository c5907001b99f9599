//! Nodes, constants and weights of an ONNX graph as it grows.

use half::{bf16, f16};

use crate::proto::attribute_proto::AttributeType;
use crate::proto::tensor_proto::DataType;
use crate::proto::{AttributeProto, NodeProto, TensorProto};

/// How weights are stored. They are always multiplied as `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightType {
    /// As trained.
    #[default]
    F32,
    /// IEEE half precision: 11 bits, values from 6e-8 to 65504.
    F16,
    /// bfloat16: 8 bits, the range of `f32`.
    Bf16,
}

/// A graph under construction. Values are referred to by their names.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) nodes: Vec<NodeProto>,
    pub(crate) initializers: Vec<TensorProto>,
    weights: WeightType,
}

impl Writer {
    pub(crate) fn new(weights: WeightType) -> Self {
        Writer {
            weights,
            ..Writer::default()
        }
    }

    /// Adds a node with one output; returns the name of its value.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = format!("{operator}_{}", self.nodes.len());
        self.named(operator, inputs, attributes, &name);
        name
    }

    /// Adds a node whose output has the given name.
    pub(crate) fn named(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        output: &str,
    ) {
        self.nodes.push(NodeProto {
            op_type: Some(operator.into()),
            name: Some(output.into()),
            input: inputs.iter().map(|input| (*input).into()).collect(),
            output: vec![output.into()],
            attribute: attributes,
            ..NodeProto::default()
        });
    }

    /// The two halves of a value along an axis.
    pub(crate) fn halves(&mut self, input: &str, axis: i64) -> [String; 2] {
        let name = format!("Split_{}", self.nodes.len());
        let outputs = [format!("{name}_0"), format!("{name}_1")];
        self.nodes.push(NodeProto {
            op_type: Some("Split".into()),
            name: Some(name),
            input: vec![input.into()],
            output: outputs.to_vec(),
            attribute: vec![int("axis", axis), int("num_outputs", 2)],
            ..NodeProto::default()
        });
        outputs
    }

    /// A trained tensor, stored in the type that was asked for.
    pub(crate) fn weight(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let (kind, raw): (_, Vec<u8>) = match self.weights {
            WeightType::F32 => return self.floats(name, dims, values),
            WeightType::F16 => (
                DataType::Float16,
                bytes(values, |v| f16::from_f32(v).to_le_bytes()),
            ),
            WeightType::Bf16 => (
                DataType::Bfloat16,
                bytes(values, |v| bf16::from_f32(v).to_le_bytes()),
            ),
        };
        self.tensor(name, dims, kind, raw);
        self.node("Cast", &[name], vec![int("to", DataType::Float as i64)])
    }

    /// An `f32` tensor; returns its name.
    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        self.tensor(name, dims, DataType::Float, bytes(values, f32::to_le_bytes));
        name.into()
    }

    /// An `f64` scalar; returns its name.
    pub(crate) fn double(&mut self, name: &str, value: f64) -> String {
        self.tensor(name, &[], DataType::Double, value.to_le_bytes().to_vec());
        name.into()
    }

    /// A vector of integers, such as sizes and axes; returns its name.
    pub(crate) fn integers(&mut self, values: &[i64]) -> String {
        let name = format!("integers_{}", self.initializers.len());
        let raw = values.iter().flat_map(|value| value.to_le_bytes());
        self.tensor(&name, &[values.len()], DataType::Int64, raw.collect());
        name
    }

    fn tensor(&mut self, name: &str, dims: &[usize], kind: DataType, raw: Vec<u8>) {
        self.initializers.push(TensorProto {
            name: Some(name.into()),
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type: Some(kind as i32),
            raw_data: Some(raw),
            ..TensorProto::default()
        });
    }
}

fn bytes<const N: usize>(values: &[f32], of: fn(f32) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| of(*value)).collect()
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(kind as i32),
        ..AttributeProto::default()
    }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        ..attribute(name, AttributeType::Int)
    }
}

pub(crate) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        ints: values.iter().map(|value| *value as i64).collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, AttributeType::Float)
    }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(value.into()),
        ..attribute(name, AttributeType::String)
    }
}
