//! A stable textual description of a graph with its cost, for users (`describe`) and for snapshots.

use std::fmt::Write as _;

use super::{Graph, Hwc, Node, Op, ShapeError};

/// The cost of one forward pass over one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Trainable parameters.
    pub parameters: usize,
    /// Multiply-adds.
    pub multiply_adds: usize,
    /// Elements of all values written, without fusion.
    pub activations: usize,
}

impl Graph {
    /// Cost for one image of `height × width`.
    pub fn cost(&self, height: usize, width: usize) -> Result<Cost, ShapeError> {
        let shapes = self.shapes(height, width)?;
        let multiply_adds = self
            .nodes
            .iter()
            .enumerate()
            .map(|(i, n)| multiply_adds(n, &shapes, i))
            .sum();
        let activations = shapes.iter().map(|s| s.len()).sum();
        Ok(Cost {
            parameters: self.parameter_count(),
            multiply_adds,
            activations,
        })
    }

    /// One line per node: name, operation, inputs' names, shape, parameters, multiply-adds; then totals.
    pub fn dump(&self, height: usize, width: usize) -> Result<String, ShapeError> {
        let shapes = self.shapes(height, width)?;
        let mut text = format!(
            "{:<44} {:<18} {:>14} {:>12} {:>14}  inputs\n",
            "node", "operation", "shape", "parameters", "multiply-adds"
        );
        for (i, node) in self.nodes.iter().enumerate() {
            let inputs = node
                .inputs
                .iter()
                .map(|x| self.node(*x).name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            let params: usize = node
                .params
                .iter()
                .map(|p| self.param(*p))
                .filter(|p| p.role.trainable())
                .map(|p| p.len())
                .sum();
            let _ = writeln!(
                text,
                "{:<44} {:<18} {:>14} {:>12} {:>14}  {}",
                node.name,
                node.op.label(),
                shapes[i].to_string(),
                params,
                multiply_adds(node, &shapes, i),
                inputs
            );
        }
        let cost = self.cost(height, width)?;
        let published = self
            .outputs
            .iter()
            .map(|(name, id)| format!("{name} = {}", self.node(*id).name))
            .collect::<Vec<_>>()
            .join(", ");
        let _ = writeln!(text, "outputs: {published}");
        let _ = writeln!(text, "parameters: {}", cost.parameters);
        let _ = writeln!(
            text,
            "multiply-adds: {} ({:.2} GFLOP)",
            cost.multiply_adds,
            2e-9 * cost.multiply_adds as f64
        );
        Ok(text)
    }
}

impl Op {
    /// The operation with its window, mode or rate, as a short label: `conv 3x3/2`, `silu`, `up 2x nearest`.
    pub fn label(&self) -> String {
        match self {
            Op::Conv2d { window, .. } => format!(
                "conv {}x{}/{}",
                window.kernel[0], window.kernel[1], window.stride
            ),
            Op::Depthwise { window } => format!(
                "depthwise {}x{}/{}",
                window.kernel[0], window.kernel[1], window.stride
            ),
            Op::Activation { kind } => format!("{kind:?}").to_lowercase(),
            Op::Upsample2x { mode } => format!("up 2x {mode:?}").to_lowercase(),
            Op::DropPath { rate } | Op::Dropout { rate } => format!("{} {rate}", self.kind()),
            Op::Crop { margin } => format!("crop {margin}"),
            _ => self.kind().to_string(),
        }
    }
}

fn multiply_adds(node: &Node, shapes: &[Hwc], index: usize) -> usize {
    let out = shapes[index];
    let input = node.inputs.first().map(|x| shapes[x.index()]);
    match (&node.op, input) {
        (Op::Conv2d { window, .. }, Some(x)) => {
            out.len() * x.c * window.kernel[0] * window.kernel[1]
        }
        (Op::Depthwise { window }, _) => out.len() * window.kernel[0] * window.kernel[1],
        (Op::ConvTranspose2x2 { .. } | Op::Linear { .. }, Some(x)) => out.len() * x.c,
        _ => 0,
    }
}
