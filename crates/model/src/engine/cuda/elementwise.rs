//! Activations, sums, scales, dropout and drop path.

use kernels::Activation;

use super::driver::{Address, Arg};
use super::epilogue::code;
use super::pass::{Done, Pass};
use super::reduce::{launch_columns, sum_partials};
use super::variants::variants;
use crate::engine::operations::Elementwise;
use crate::graph::NodeId;

impl Elementwise for Pass<'_> {
    fn forward_activation(&mut self, id: NodeId, kind: Activation) -> Done {
        let x = self.value(self.input(id, 0));
        let args = [
            x.into(),
            self.value(id).into(),
            self.shape(id).len().into(),
            code(Some(kind)),
        ];
        self.launch_like(variants!("activation_forward"), id, &args)
    }

    fn backward_activation(&mut self, id: NodeId, kind: Activation) -> Done {
        let x = self.input(id, 0);
        let Some((dx, add)) = self.gradient_to_write(x) else {
            return Ok(());
        };
        let args = [
            self.value(x).into(),
            self.grad(id).into(),
            dx.into(),
            self.shape(id).len().into(),
            code(Some(kind)),
            add.into(),
        ];
        self.launch_like(variants!("activation_backward"), id, &args)
    }

    fn forward_add(&mut self, id: NodeId) -> Done {
        let args = [
            self.value(self.input(id, 0)).into(),
            self.value(self.input(id, 1)).into(),
            self.value(id).into(),
            self.shape(id).len().into(),
        ];
        self.launch_like(variants!("sum_of_two"), id, &args)
    }

    fn backward_add(&mut self, id: NodeId) -> Done {
        share_gradient(self, id, 1.0)
    }

    fn forward_mean(&mut self, id: NodeId) -> Done {
        let graph = self.graph;
        let inputs = &graph.node(id).inputs;
        let factor = 1.0 / inputs.len() as f32;
        for (k, x) in inputs.iter().enumerate() {
            scaled_copy(self, id, self.value(*x), self.value(id), factor, k > 0)?;
        }
        Ok(())
    }

    fn backward_mean(&mut self, id: NodeId) -> Done {
        let inputs = self.graph.node(id).inputs.len();
        share_gradient(self, id, 1.0 / inputs as f32)
    }

    fn forward_scale(&mut self, id: NodeId) -> Done {
        let (x, s) = (self.input(id, 0), self.input(id, 1));
        let to = (self.value(id), false);
        scale_channels(self, id, self.value(x), self.value(s), to)
    }

    fn backward_scale(&mut self, id: NodeId) -> Done {
        let (x, s) = (self.input(id, 0), self.input(id, 1));
        let (xs, dy, value) = (self.shape(x), self.grad(id), self.value(x));
        if let Some((ds, add)) = self.gradient_to_write(s) {
            let (rows, c, kind) = (xs.h * xs.w, xs.c, self.kind(id));
            let names = variants!("channel_products");
            let (partials, cut) =
                launch_columns(self, names, kind, (xs.n, rows, c, 1), |to, cut| {
                    vec![
                        value.into(),
                        dy.into(),
                        to.into(),
                        rows.into(),
                        cut.rows_per_chunk.into(),
                        c.into(),
                    ]
                })?;
            sum_partials(self, partials, ds, (xs.n, cut.chunks, c), 1.0, add)?;
        }
        match self.gradient_to_write(x) {
            Some(to) => scale_channels(self, id, dy, self.value(s), to),
            None => Ok(()),
        }
    }

    fn forward_drop_path(&mut self, id: NodeId, rate: f32) -> Done {
        forward_drop(self, id, rate, image(self, id))
    }

    fn backward_drop_path(&mut self, id: NodeId, rate: f32) -> Done {
        backward_drop(self, id, rate, image(self, id))
    }

    fn forward_dropout(&mut self, id: NodeId, rate: f32) -> Done {
        forward_drop(self, id, rate, 1)
    }

    fn backward_dropout(&mut self, id: NodeId, rate: f32) -> Done {
        backward_drop(self, id, rate, 1)
    }
}

/// Passes the node's gradient times `factor` to every input.
fn share_gradient(pass: &mut Pass<'_>, id: NodeId, factor: f32) -> Done {
    let graph = pass.graph;
    for x in &graph.node(id).inputs {
        if let Some((dx, add)) = pass.gradient_to_write(*x) {
            scaled_copy(pass, id, pass.grad(id), dx, factor, add)?;
        }
    }
    Ok(())
}

/// `y (+)= factor · x`, for two tensors laid out as the value of `id`.
pub(super) fn scaled_copy(
    pass: &mut Pass<'_>,
    id: NodeId,
    x: Address,
    y: Address,
    factor: f32,
    add: bool,
) -> Done {
    let args = [
        x.into(),
        y.into(),
        pass.shape(id).len().into(),
        factor.into(),
        add.into(),
    ];
    pass.launch_like(variants!("scaled_copy"), id, &args)
}

/// `y = x`, from f32 to the element type of feature maps.
pub(super) fn from_f32(pass: &mut Pass<'_>, x: Address, y: Address, len: usize) -> Done {
    pass.launch_elements("from_f32", len, &[x.into(), y.into(), len.into()])
}

/// `y = x`, for a multiple of four words at aligned addresses.
pub(super) fn copy(pass: &mut Pass<'_>, x: Address, y: Address, words: usize) -> Done {
    let count = words / 4;
    pass.launch_elements("copy", count, &[x.into(), y.into(), count.into()])
}

/// `to (+)= x · s`, in the shape of `id`'s value.
fn scale_channels(
    pass: &mut Pass<'_>,
    id: NodeId,
    x: Address,
    s: Address,
    (to, add): (Address, bool),
) -> Done {
    let xs = pass.shape(id);
    let args = [
        x.into(),
        s.into(),
        to.into(),
        xs.len().into(),
        (xs.h * xs.w * xs.c).into(),
        xs.c.into(),
        add.into(),
    ];
    pass.launch_like(variants!("scale_channels"), id, &args)
}

/// Elements of a value per image.
fn image(pass: &Pass<'_>, id: NodeId) -> usize {
    let xs = pass.shape(id);
    xs.h * xs.w * xs.c
}

/// Drop path or dropout; `unit` elements share a random draw.
fn forward_drop(pass: &mut Pass<'_>, id: NodeId, rate: f32, unit: usize) -> Done {
    let (x, y) = (pass.value(pass.input(id, 0)), pass.value(id));
    match pass.plan.trains(id) {
        false => scaled_copy(pass, id, x, y, 1.0, false),
        true => drop(pass, id, rate, unit, x, (y, false)),
    }
}

fn backward_drop(pass: &mut Pass<'_>, id: NodeId, rate: f32, unit: usize) -> Done {
    match pass.gradient_to_write(pass.input(id, 0)) {
        Some(to) => drop(pass, id, rate, unit, pass.grad(id), to),
        None => Ok(()),
    }
}

/// Writes or adds the kept part of a value, scaled. Each draw is a function of the pass's seed, the node and the
/// element, so that the gradient repeats the draws of the value, and the CPU engine makes the same ones.
fn drop(
    pass: &mut Pass<'_>,
    id: NodeId,
    rate: f32,
    unit: usize,
    x: Address,
    (to, add): (Address, bool),
) -> Done {
    let args = [
        x.into(),
        to.into(),
        pass.shape(id).len().into(),
        unit.into(),
        pass.seed().into(),
        Arg::U32(id.index() as u32),
        rate.into(),
        (1.0 / (1.0 - rate)).into(),
        add.into(),
    ];
    pass.launch_like(variants!("drop"), id, &args)
}
