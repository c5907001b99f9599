//! Operations that change height, width or the channel count without parameters: pools, upsampling, concat, crop.

use kernels::region_pool::RegionPool;
use kernels::{Window, bf16, concat, crop, pool, quantized, resize};

use super::pass::{Done, Pass};
use crate::engine::operations::ShapeOps;
use crate::graph::{Interpolation, NodeId};

impl ShapeOps for Pass<'_> {
    fn forward_max_pool(&mut self, id: NodeId, window: Window) -> Done {
        let mut argmax = std::mem::take(&mut self.saved.argmax[id.index()]);
        argmax.resize(self.shape(id).len(), 0);
        self.write(id, |pass, y, _| {
            let x = pass.input(id, 0);
            pool::max_pool_forward(pass.value(x), pass.shape(x), window, y, &mut argmax);
        })?;
        self.saved.argmax[id.index()] = argmax;
        Ok(())
    }

    fn backward_max_pool(&mut self, id: NodeId, window: Window) -> Done {
        let x = self.input(id, 0);
        self.write_grad(x, |pass, dx, acc, _| {
            pool::max_pool_backward(
                pass.grad(id),
                &pass.saved.argmax[id.index()],
                pass.shape(x),
                window,
                dx,
                acc,
            );
        })
    }

    fn forward_global_avg_pool(&mut self, id: NodeId) -> Done {
        self.write(id, |pass, y, _| {
            let x = pass.input(id, 0);
            let xs = pass.shape(x);
            match (pass.quantized(x), pass.bf16(x)) {
                (Some(codes), _) => quantized::global_avg_pool(codes, xs, y),
                (None, Some(values)) => bf16::global_avg_pool(values, xs, y),
                (None, None) => pool::global_avg_forward(pass.value(x), xs, y),
            }
        })
    }

    fn backward_global_avg_pool(&mut self, id: NodeId) -> Done {
        let x = self.input(id, 0);
        self.write_grad(x, |pass, dx, acc, _| {
            pool::global_avg_backward(pass.grad(id), pass.shape(x), dx, acc)
        })
    }

    fn forward_region_pool(&mut self, id: NodeId) -> Done {
        self.write(id, |pass, y, scratch| {
            let (x, map) = (pass.input(id, 0), pass.input(id, 1));
            let pool = RegionPool::new(pass.shape(x), pass.shape(map));
            let scratch = scratch.at_least(pool.scratch());
            pool.forward(pass.value(x), pass.value(map), y, scratch);
        })
    }

    fn backward_region_pool(&mut self, id: NodeId) -> Done {
        let (x, map) = (self.input(id, 0), self.input(id, 1));
        let pool = RegionPool::new(self.shape(x), self.shape(map));
        self.write_grad(x, |pass, dx, acc, scratch| {
            let scratch = scratch.at_least(pool.scratch());
            pool.backward_features(pass.grad(id), pass.value(map), dx, acc, scratch);
        })?;
        self.write_grad(map, |pass, dmap, acc, scratch| {
            let scratch = scratch.at_least(pool.backward_map_scratch());
            let (x, dy) = (pass.value(x), pass.grad(id));
            pool.backward_map(x, dy, pass.value(map), dmap, acc, scratch);
        })
    }

    fn forward_upsample(&mut self, id: NodeId, mode: Interpolation) -> Done {
        self.write(id, |pass, y, _| {
            let x = pass.input(id, 0);
            match mode {
                Interpolation::Nearest => {
                    resize::nearest2x_forward(pass.value(x), pass.shape(x), y)
                }
                Interpolation::Bilinear => {
                    resize::bilinear2x_forward(pass.value(x), pass.shape(x), y)
                }
            }
        })
    }

    fn backward_upsample(&mut self, id: NodeId, mode: Interpolation) -> Done {
        let x = self.input(id, 0);
        self.write_grad(x, |pass, dx, acc, _| match mode {
            Interpolation::Nearest => {
                resize::nearest2x_backward(pass.grad(id), pass.shape(x), dx, acc)
            }
            Interpolation::Bilinear => {
                resize::bilinear2x_backward(pass.grad(id), pass.shape(x), dx, acc)
            }
        })
    }

    fn forward_concat(&mut self, id: NodeId) -> Done {
        self.write(id, |pass, y, _| {
            let inputs: Vec<(&[f32], usize)> = pass
                .graph
                .node(id)
                .inputs
                .iter()
                .map(|x| (pass.value(*x), pass.shape(*x).c))
                .collect();
            concat::forward(&inputs, pass.shape(id).pixels(), y);
        })
    }

    fn backward_concat(&mut self, id: NodeId) -> Done {
        let (inputs, total) = (self.graph.node(id).inputs.clone(), self.shape(id).c);
        let mut offset = 0;
        for x in inputs {
            let channels = self.shape(x).c;
            self.write_grad(x, |pass, dx, acc, _| {
                concat::backward(pass.grad(id), total, offset, channels, dx, acc)
            })?;
            offset += channels;
        }
        Ok(())
    }

    fn forward_crop(&mut self, id: NodeId, margin: usize) -> Done {
        self.write(id, |pass, y, _| {
            let x = pass.input(id, 0);
            crop::forward(pass.value(x), pass.shape(x), margin, y);
        })
    }

    fn backward_crop(&mut self, id: NodeId, margin: usize) -> Done {
        let x = self.input(id, 0);
        self.write_grad(x, |pass, dx, acc, _| {
            crop::backward(pass.grad(id), pass.shape(x), margin, dx, acc)
        })
    }
}
