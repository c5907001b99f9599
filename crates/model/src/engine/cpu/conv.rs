//! Convolutions (dense, depthwise, transposed) and linear layers.

use kernels::bf16::{self, Output};
use kernels::{
    Accumulate, Activation, Epilogue, Window, conv_transpose2x2, depthwise, linear, quantized,
};

use super::narrow::Operands;
use super::pass::{Done, Pass};
use crate::engine::nodes::activation;
use crate::engine::operations::Convolutions;
use crate::graph::{NodeId, Op};
use crate::plan::Mode;

impl Convolutions for Pass<'_> {
    /// Convolution; a batch norm, if given, is folded into its weights, and an activation is applied in its last pass.
    fn forward_conv(&mut self, conv: NodeId, norm: Option<NodeId>, act: Option<NodeId>) -> Done {
        let activation = activation(self.graph, act);
        let out = act.or(norm).unwrap_or(conv);
        match self.operands(conv, out) {
            Operands::Codes => return forward_codes(self, conv, out, activation),
            Operands::Bf16 | Operands::ToBf16 => return forward_bf16(self, conv, out, activation),
            Operands::F32 => {}
        }
        self.write(out, |pass, y, scratch| {
            let ready = pass
                .prepared
                .get(conv)
                .filter(|_| pass.plan.mode == Mode::Infer);
            let bias = match ready {
                Some(ready) => ready.bias.as_deref(),
                None => pass
                    .graph
                    .node(conv)
                    .params
                    .get(1)
                    .map(|id| pass.params.get(*id)),
            };
            let epilogue = Epilogue { bias, activation };
            let parts = pass.parts(conv);
            match (
                pass.graph.node(conv).op.clone(),
                pass.plan.conv2d(pass.graph, conv),
                ready,
            ) {
                (Op::Depthwise { window }, ..) => {
                    let weight = ready.map_or(pass.param(conv, 0), |ready| &ready.weight);
                    let xs = pass.shape(pass.input(conv, 0));
                    depthwise::forward(parts[0], xs, weight, window, epilogue, y);
                }
                (_, Some(conv2d), Some(ready)) => {
                    let scratch = scratch.at_least(conv2d.forward_scratch());
                    conv2d.forward(&parts, &ready.weight, epilogue, y, scratch);
                }
                (_, Some(conv2d), None) => {
                    let packed = conv2d.packed_len();
                    let scratch = scratch.at_least(packed + conv2d.forward_scratch());
                    let (packed, scratch) = scratch.split_at_mut(packed);
                    conv2d.pack(pass.param(conv, 0), packed);
                    conv2d.forward(&parts, packed, epilogue, y, scratch);
                }
                _ => unreachable!("only convolutions are fused"),
            }
        })
    }

    fn backward_dense(&mut self, id: NodeId) -> Done {
        let Some(conv) = self.plan.conv2d(self.graph, id) else {
            return Ok(());
        };
        self.write_param_grad(id, 0, |pass, dw, scratch| {
            let scratch = scratch.at_least(conv.backward_weight_scratch());
            let (parts, dy) = (pass.parts(id), pass.grad(id));
            conv.backward_weight(&parts, dy, dw, Accumulate::Replace, scratch);
        })?;
        if let Op::Conv2d { bias: true, .. } = self.graph.node(id).op {
            backward_bias(self, id)?;
        }
        self.write_source_grads(id, |pass, dx, scratch| {
            let packed = conv.backward_packed_len();
            let scratch = scratch.at_least(packed + conv.backward_input_scratch());
            let (packed, scratch) = scratch.split_at_mut(packed);
            conv.pack_backward(pass.param(id, 0), packed);
            conv.backward_input(pass.grad(id), packed, dx, scratch);
        })
    }

    fn backward_depthwise(&mut self, id: NodeId, window: Window) -> Done {
        let x = self.input(id, 0);
        let xs = self.shape(x);
        self.write_param_grad(id, 0, |pass, dw, scratch| {
            let scratch = scratch.at_least(depthwise::backward_weight_scratch(xs, window));
            let (x, dy) = (pass.value(x), pass.grad(id));
            depthwise::backward_weight(x, dy, xs, window, dw, Accumulate::Replace, scratch);
        })?;
        self.write_grad(x, |pass, dx, acc, _| {
            depthwise::backward_input(pass.grad(id), pass.param(id, 0), xs, window, dx, acc)
        })
    }

    fn forward_transposed(&mut self, id: NodeId) -> Done {
        self.write(id, |pass, y, scratch| {
            let x = pass.input(id, 0);
            let (xs, cout) = (pass.shape(x), pass.shape(id).c);
            let scratch = scratch.at_least(conv_transpose2x2::forward_scratch(xs, cout));
            conv_transpose2x2::forward(
                pass.value(x),
                xs,
                pass.param(id, 0),
                cout,
                Some(pass.param(id, 1)),
                y,
                scratch,
            );
        })
    }

    fn backward_transposed(&mut self, id: NodeId) -> Done {
        let x = self.input(id, 0);
        let (xs, cout) = (self.shape(x), self.shape(id).c);
        let need = conv_transpose2x2::backward_scratch(xs, cout);
        self.write_param_grad(id, 0, |pass, dw, scratch| {
            conv_transpose2x2::backward_weight(
                pass.value(x),
                pass.grad(id),
                xs,
                cout,
                dw,
                Accumulate::Replace,
                scratch.at_least(need),
            );
        })?;
        backward_bias(self, id)?;
        self.write_grad(x, |pass, dx, acc, scratch| {
            conv_transpose2x2::backward_input(
                pass.grad(id),
                pass.param(id, 0),
                xs,
                cout,
                dx,
                acc,
                scratch.at_least(need),
            );
        })
    }

    fn forward_linear(&mut self, id: NodeId) -> Done {
        self.write(id, |pass, y, _| {
            let x = pass.input(id, 0);
            linear::forward(
                pass.value(x),
                pass.shape(x).n,
                pass.param(id, 0),
                Some(pass.param(id, 1)),
                y,
            );
        })
    }

    fn backward_linear(&mut self, id: NodeId) -> Done {
        let x = self.input(id, 0);
        let (n, inputs, outputs) = (self.shape(x).n, self.shape(x).c, self.shape(id).c);
        self.write_param_grad(id, 0, |pass, dw, _| {
            let (x, dy) = (pass.value(x), pass.grad(id));
            linear::backward_weight(x, dy, n, inputs, outputs, dw, Accumulate::Replace);
        })?;
        backward_bias(self, id)?;
        self.write_grad(x, |pass, dx, acc, _| {
            let (dy, w) = (pass.grad(id), pass.param(id, 0));
            linear::backward_input(dy, n, w, inputs, outputs, dx, acc)
        })
    }
}

/// A convolution that reads codes, with the same epilogue.
fn forward_codes(
    pass: &mut Pass<'_>,
    conv: NodeId,
    out: NodeId,
    activation: Option<Activation>,
) -> Done {
    pass.write_coded(out, |pass, y, scratch| {
        let parts = pass.quantized_parts(conv);
        let (Some(parts), Some(ready)) = (parts, pass.prepared.get(conv)) else {
            unreachable!(
                "plans for codes are for inference, and a step that runs on codes reads codes"
            )
        };
        let bias = ready.bias.as_deref();
        let epilogue = Epilogue { bias, activation };
        if let Some(conv) = pass.plan.quantized_conv(pass.graph, conv) {
            let scratch = scratch.at_least(conv.forward_scratch());
            conv.forward(&parts, &ready.weight, epilogue, y, scratch);
        } else if let Op::Depthwise { window } = pass.graph.node(conv).op {
            let xs = pass.shape(pass.input(conv, 0));
            let scratch = scratch.at_least(quantized::depthwise::forward_scratch(xs, window));
            let weight = &ready.weight;
            quantized::depthwise::forward(parts[0], xs, window, weight, epilogue, y, scratch);
        }
    })
}

/// A convolution that reads or writes bf16, with the same epilogue.
fn forward_bf16(
    pass: &mut Pass<'_>,
    conv: NodeId,
    out: NodeId,
    activation: Option<Activation>,
) -> Done {
    pass.write_bf16(out, |pass, y, scratch| {
        let Some(ready) = pass.prepared.get(conv) else {
            unreachable!("plans with bf16 are for inference")
        };
        let (weight, bias) = (&ready.weight, ready.bias.as_deref());
        let epilogue = Epilogue { bias, activation };
        let xs = pass.shape(pass.input(conv, 0));
        let op = &pass.graph.node(conv).op;
        match (
            pass.plan.conv2d(pass.graph, conv),
            pass.bf16_parts(conv),
            y,
            op,
        ) {
            (Some(conv), Some(parts), y, _) => {
                let scratch = scratch.at_least(conv.forward_scratch());
                conv.forward_bf16(&parts, weight, epilogue, y, scratch);
            }
            (Some(dense), None, Output::Bf16(y), _) => {
                let scratch = scratch.at_least(dense.forward_scratch());
                dense.forward_to_bf16(&pass.parts(conv), weight, epilogue, y, scratch);
            }
            (None, Some(parts), Output::Bf16(y), Op::Depthwise { window }) => {
                bf16::depthwise(parts[0], xs, weight, *window, epilogue, y);
            }
            _ => unreachable!("another form"),
        }
    })
}

fn backward_bias(pass: &mut Pass<'_>, id: NodeId) -> Done {
    pass.write_param_grad(id, 1, |pass, db, _| {
        kernels::bias::backward(pass.grad(id), pass.shape(id).c, db, Accumulate::Replace)
    })
}
