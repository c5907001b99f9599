//! Operations that change height, width or the channel count without parameters: pools, upsampling, concat, crop.

use kernels::{Nhwc, Window};

use super::driver::{Address, Arg, Windowed};
use super::pass::{Done, Pass};
use super::reduce::channel_sums;
use super::region_pool;
use super::variants::variants;
use crate::engine::operations::ShapeOps;
use crate::graph::{Interpolation, NodeId};
use crate::plan::Mode;

impl ShapeOps for Pass<'_> {
    fn forward_max_pool(&mut self, id: NodeId, window: Window) -> Done {
        let x = self.input(id, 0);
        let argmax = (self.plan.mode == Mode::Train).then(|| self.argmax(id));
        let args = [
            self.value(x).into(),
            self.value(id).into(),
            argmax.into(),
            Windowed::new(self.shape(x), window, self.shape(id)).into(),
        ];
        self.launch_like(variants!("max_pool_forward"), id, &args)
    }

    fn backward_max_pool(&mut self, id: NodeId, window: Window) -> Done {
        let x = self.input(id, 0);
        let Some((dx, add)) = self.gradient_to_write(x) else {
            return Ok(());
        };
        let args = [
            self.grad(id).into(),
            self.argmax(id).into(),
            dx.into(),
            Windowed::new(self.shape(x), window, self.shape(id)).into(),
            add.into(),
        ];
        self.launch_like(variants!("max_pool_backward"), x, &args)
    }

    fn forward_global_avg_pool(&mut self, id: NodeId) -> Done {
        let x = self.input(id, 0);
        let xs = self.shape(x);
        let area = xs.h * xs.w;
        let (from, to) = ((self.value(x), self.kind(x)), self.value(id));
        channel_sums(self, from, to, (xs.n, area, xs.c), 1.0 / area as f32, false)
    }

    fn backward_global_avg_pool(&mut self, id: NodeId) -> Done {
        let x = self.input(id, 0);
        let xs = self.shape(x);
        let area = xs.h * xs.w;
        let Some((dx, add)) = self.gradient_to_write(x) else {
            return Ok(());
        };
        let args = [
            self.grad(id).into(),
            dx.into(),
            xs.len().into(),
            (area * xs.c).into(),
            xs.c.into(),
            (1.0 / area as f32).into(),
            add.into(),
        ];
        self.launch_like(variants!("broadcast_pixels"), x, &args)
    }

    fn forward_region_pool(&mut self, id: NodeId) -> Done {
        region_pool::forward(self, id)
    }

    fn backward_region_pool(&mut self, id: NodeId) -> Done {
        region_pool::backward(self, id)
    }

    fn forward_upsample(&mut self, id: NodeId, mode: Interpolation) -> Done {
        let x = self.input(id, 0);
        let kernel = match mode {
            Interpolation::Nearest => variants!("nearest2x_forward"),
            Interpolation::Bilinear => variants!("bilinear2x_forward"),
        };
        let mut args = vec![self.value(x).into(), self.value(id).into()];
        args.extend(sizes(self.shape(x)));
        self.launch_like(kernel, id, &args)
    }

    fn backward_upsample(&mut self, id: NodeId, mode: Interpolation) -> Done {
        let x = self.input(id, 0);
        let kernel = match mode {
            Interpolation::Nearest => variants!("nearest2x_backward"),
            Interpolation::Bilinear => variants!("bilinear2x_backward"),
        };
        let Some((dx, add)) = self.gradient_to_write(x) else {
            return Ok(());
        };
        let mut args = vec![self.grad(id).into(), dx.into()];
        args.extend(sizes(self.shape(x)));
        args.push(add.into());
        self.launch_like(kernel, x, &args)
    }

    fn forward_concat(&mut self, id: NodeId) -> Done {
        let graph = self.graph;
        let mut first = 0;
        for x in &graph.node(id).inputs {
            let c = self.shape(*x).c;
            let (from, to) = (
                (self.value(*x), c, 0),
                (self.value(id), self.shape(id).c, first),
            );
            copy_channels(self, id, from, to, c, false)?;
            first += c;
        }
        Ok(())
    }

    fn backward_concat(&mut self, id: NodeId) -> Done {
        let graph = self.graph;
        let mut first = 0;
        for x in &graph.node(id).inputs {
            let c = self.shape(*x).c;
            if let Some((dx, add)) = self.gradient_to_write(*x) {
                let from = (self.grad(id), self.shape(id).c, first);
                copy_channels(self, id, from, (dx, c, 0), c, add)?;
            }
            first += c;
        }
        Ok(())
    }

    fn forward_crop(&mut self, id: NodeId, margin: usize) -> Done {
        let x = self.input(id, 0);
        let mut args = vec![self.value(x).into(), self.value(id).into()];
        args.extend(sizes(self.shape(x)));
        args.push(Arg::I32(margin as i32));
        self.launch_like(variants!("crop_forward"), id, &args)
    }

    fn backward_crop(&mut self, id: NodeId, margin: usize) -> Done {
        let x = self.input(id, 0);
        let Some((dx, add)) = self.gradient_to_write(x) else {
            return Ok(());
        };
        let mut args = vec![self.grad(id).into(), dx.into()];
        args.extend(sizes(self.shape(x)));
        args.push(Arg::I32(margin as i32));
        args.push(add.into());
        self.launch_like(variants!("crop_backward"), x, &args)
    }
}

/// `int n, int h, int w, u32 c`.
fn sizes(xs: Nhwc) -> [Arg; 4] {
    let int = |v: usize| Arg::I32(v as i32);
    [int(xs.n), int(xs.h), int(xs.w), xs.c.into()]
}

/// Copies `channels` of every pixel of `id`'s value from one tensor to another; each is given by its address, its
/// channels per pixel, and the first channel to copy.
fn copy_channels(
    pass: &mut Pass<'_>,
    id: NodeId,
    (x, x_channels, from): (Address, usize, usize),
    (y, y_channels, to): (Address, usize, usize),
    channels: usize,
    add: bool,
) -> Done {
    let pixels = pass.shape(id).pixels();
    let args = [
        x.into(),
        y.into(),
        pixels.into(),
        channels.into(),
        x_channels.into(),
        from.into(),
        y_channels.into(),
        to.into(),
        add.into(),
    ];
    // Wide if every offset is a multiple of what a thread copies at once.
    let wide = [channels, x_channels, from, y_channels, to];
    let wide = wide.into_iter().all(|n| pass.is_wide(n));
    let granule = if wide { pass.elements.wide } else { 1 };
    let names = variants!("copy_channels");
    let (kernel, width) = pass.elements.choose(names, pass.kind(id), granule);
    pass.launch_elements(kernel, pixels * channels / width, &args)
}
