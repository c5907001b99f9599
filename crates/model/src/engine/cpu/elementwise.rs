//! Activations, sums, scales, dropout and drop path.

use kernels::bf16::{self, Output};
use kernels::{Accumulate, Activation, Nhwc, activation, elementwise, quantized};
use random::Rng;

use super::narrow::Operands;
use super::pass::{Done, Pass};
use crate::engine::operations::Elementwise;
use crate::graph::NodeId;

impl Elementwise for Pass<'_> {
    fn forward_activation(&mut self, id: NodeId, kind: Activation) -> Done {
        self.write(id, |pass, y, _| {
            activation::forward(kind, pass.value(pass.input(id, 0)), y)
        })
    }

    fn backward_activation(&mut self, id: NodeId, kind: Activation) -> Done {
        let x = self.input(id, 0);
        self.write_grad(x, |pass, dx, acc, _| {
            activation::backward(kind, pass.value(x), pass.grad(id), dx, acc)
        })
    }

    fn forward_add(&mut self, id: NodeId) -> Done {
        match self.operands(id, id) {
            Operands::Codes => self.write_coded(id, |pass, y, _| {
                if let Some([a, b]) = pass.quantized_parts(id).as_deref() {
                    quantized::add(*a, *b, y);
                }
            }),
            Operands::Bf16 => self.write_bf16(id, |pass, y, _| {
                if let (Some([a, b]), Output::Bf16(y)) = (pass.bf16_parts(id).as_deref(), y) {
                    bf16::add(a, b, y);
                }
            }),
            Operands::F32 | Operands::ToBf16 => self.write(id, |pass, y, _| {
                elementwise::add(
                    pass.value(pass.input(id, 0)),
                    pass.value(pass.input(id, 1)),
                    y,
                )
            }),
        }
    }

    fn backward_add(&mut self, id: NodeId) -> Done {
        for k in 0..2 {
            self.write_grad(self.input(id, k), |pass, dx, acc, _| {
                elementwise::accumulate(pass.grad(id), dx, acc)
            })?;
        }
        Ok(())
    }

    fn forward_mean(&mut self, id: NodeId) -> Done {
        let inputs = self.graph.node(id).inputs.clone();
        self.write(id, |pass, y, _| {
            for (k, x) in inputs.iter().enumerate() {
                let acc = match k {
                    0 => Accumulate::Replace,
                    _ => Accumulate::Add,
                };
                share(pass.value(*x), inputs.len(), y, acc);
            }
        })
    }

    fn backward_mean(&mut self, id: NodeId) -> Done {
        let inputs = self.graph.node(id).inputs.clone();
        for x in &inputs {
            self.write_grad(*x, |pass, dx, acc, _| {
                share(pass.grad(id), inputs.len(), dx, acc)
            })?;
        }
        Ok(())
    }

    fn forward_scale(&mut self, id: NodeId) -> Done {
        let (x, s) = (self.input(id, 0), self.input(id, 1));
        match self.operands(id, id) {
            Operands::Codes => self.write_coded(id, |pass, y, _| {
                if let Some(codes) = pass.quantized(x) {
                    quantized::scale_channels(codes, pass.shape(x), pass.value(s), y);
                }
            }),
            Operands::Bf16 => self.write_bf16(id, |pass, y, _| {
                if let (Some(values), Output::Bf16(y)) = (pass.bf16(x), y) {
                    bf16::scale_channels(values, pass.shape(x), pass.value(s), y);
                }
            }),
            Operands::F32 | Operands::ToBf16 => self.write(id, |pass, y, _| {
                elementwise::scale_channels_forward(pass.value(x), pass.shape(x), pass.value(s), y);
            }),
        }
    }

    fn backward_scale(&mut self, id: NodeId) -> Done {
        let (x, s) = (self.input(id, 0), self.input(id, 1));
        let xs = self.shape(x);
        self.write_grad(s, |pass, ds, acc, _| {
            elementwise::scale_channels_backward_scale(pass.value(x), pass.grad(id), xs, ds, acc)
        })?;
        self.write_grad(x, |pass, dx, acc, _| {
            elementwise::scale_channels_backward_input(pass.grad(id), pass.value(s), xs, dx, acc)
        })
    }

    fn forward_drop_path(&mut self, id: NodeId, rate: f32) -> Done {
        forward_drop(self, id, rate, drop_samples)
    }

    fn backward_drop_path(&mut self, id: NodeId, rate: f32) -> Done {
        backward_drop(self, id, rate, drop_samples)
    }

    fn forward_dropout(&mut self, id: NodeId, rate: f32) -> Done {
        forward_drop(self, id, rate, drop_elements)
    }

    fn backward_dropout(&mut self, id: NodeId, rate: f32) -> Done {
        backward_drop(self, id, rate, drop_elements)
    }
}

/// `y (+)= x / count`.
fn share(x: &[f32], count: usize, y: &mut [f32], acc: Accumulate) {
    elementwise::scale_samples(x, x.len(), &[1.0 / count as f32], y, acc);
}

/// Writes or adds the kept part of a value, scaled. The function is linear in the value, so the gradient is computed by
/// the same function; its random draws are repeated from the pass's seed and the node rather than saved.
type Drop = fn(Rng, f32, Nhwc, &[f32], &mut [f32], Accumulate);

fn forward_drop(pass: &mut Pass<'_>, id: NodeId, rate: f32, drop: Drop) -> Done {
    pass.write(id, |pass, y, _| {
        let x = pass.value(pass.input(id, 0));
        match pass.plan.trains(id) {
            false => elementwise::accumulate(x, y, Accumulate::Replace),
            true => drop(
                rng(pass, id),
                rate,
                pass.shape(id),
                x,
                y,
                Accumulate::Replace,
            ),
        }
    })
}

fn backward_drop(pass: &mut Pass<'_>, id: NodeId, rate: f32, drop: Drop) -> Done {
    pass.write_grad(pass.input(id, 0), |pass, dx, acc, _| {
        let dy = pass.grad(id);
        match pass.plan.trains(id) {
            false => elementwise::accumulate(dy, dx, acc),
            true => drop(rng(pass, id), rate, pass.shape(id), dy, dx, acc),
        }
    })
}

fn rng(pass: &Pass<'_>, id: NodeId) -> Rng {
    Rng::stream(pass.seed, id.index() as u64)
}

fn drop_samples(mut rng: Rng, rate: f32, xs: Nhwc, x: &[f32], y: &mut [f32], acc: Accumulate) {
    let factors: Vec<f32> = (0..xs.n).map(|_| survival(&mut rng, rate)).collect();
    elementwise::scale_samples(x, xs.h * xs.w * xs.c, &factors, y, acc);
}

fn drop_elements(mut rng: Rng, rate: f32, _: Nhwc, x: &[f32], y: &mut [f32], acc: Accumulate) {
    for (y, x) in y.iter_mut().zip(x) {
        let kept = x * survival(&mut rng, rate);
        *y = if acc == Accumulate::Add {
            *y + kept
        } else {
            kept
        };
    }
}

fn survival(rng: &mut Rng, rate: f32) -> f32 {
    if rng.unit_f32() < rate {
        0.0
    } else {
        1.0 / (1.0 - rate)
    }
}
