//! Operations that change height, width or the channel count without parameters: pools, upsampling, concat, crop.

use kernels::{Window, concat, crop, pool, resize};

use super::pass::Pass;
use crate::graph::{Interpolation, NodeId};

pub(super) fn forward_max_pool(pass: &mut Pass<'_>, id: NodeId, window: Window) {
    let mut argmax = std::mem::take(&mut pass.saved.argmax[id.index()]);
    argmax.resize(pass.shape(id).len(), 0);
    pass.write(id, |pass, y, _| {
        let x = pass.input(id, 0);
        pool::max_pool_forward(pass.value(x), pass.shape(x), window, y, &mut argmax);
    });
    pass.saved.argmax[id.index()] = argmax;
}

pub(super) fn backward_max_pool(pass: &mut Pass<'_>, id: NodeId, window: Window) {
    let x = pass.input(id, 0);
    pass.write_grad(x, |pass, dx, acc, _| {
        pool::max_pool_backward(
            pass.grad(id),
            &pass.saved.argmax[id.index()],
            pass.shape(x),
            window,
            dx,
            acc,
        );
    });
}

pub(super) fn forward_global_avg_pool(pass: &mut Pass<'_>, id: NodeId) {
    pass.write(id, |pass, y, _| {
        let x = pass.input(id, 0);
        pool::global_avg_forward(pass.value(x), pass.shape(x), y);
    });
}

pub(super) fn backward_global_avg_pool(pass: &mut Pass<'_>, id: NodeId) {
    let x = pass.input(id, 0);
    pass.write_grad(x, |pass, dx, acc, _| {
        pool::global_avg_backward(pass.grad(id), pass.shape(x), dx, acc)
    });
}

pub(super) fn forward_upsample(pass: &mut Pass<'_>, id: NodeId, mode: Interpolation) {
    pass.write(id, |pass, y, _| {
        let x = pass.input(id, 0);
        match mode {
            Interpolation::Nearest => resize::nearest2x_forward(pass.value(x), pass.shape(x), y),
            Interpolation::Bilinear => resize::bilinear2x_forward(pass.value(x), pass.shape(x), y),
        }
    });
}

pub(super) fn backward_upsample(pass: &mut Pass<'_>, id: NodeId, mode: Interpolation) {
    let x = pass.input(id, 0);
    pass.write_grad(x, |pass, dx, acc, _| match mode {
        Interpolation::Nearest => resize::nearest2x_backward(pass.grad(id), pass.shape(x), dx, acc),
        Interpolation::Bilinear => {
            resize::bilinear2x_backward(pass.grad(id), pass.shape(x), dx, acc)
        }
    });
}

pub(super) fn forward_concat(pass: &mut Pass<'_>, id: NodeId) {
    pass.write(id, |pass, y, _| {
        let inputs: Vec<(&[f32], usize)> = pass
            .graph
            .node(id)
            .inputs
            .iter()
            .map(|x| (pass.value(*x), pass.shape(*x).c))
            .collect();
        concat::forward(&inputs, pass.shape(id).pixels(), y);
    });
}

pub(super) fn backward_concat(pass: &mut Pass<'_>, id: NodeId) {
    let (inputs, total) = (pass.graph.node(id).inputs.clone(), pass.shape(id).c);
    let mut offset = 0;
    for x in inputs {
        let channels = pass.shape(x).c;
        pass.write_grad(x, |pass, dx, acc, _| {
            concat::backward(pass.grad(id), total, offset, channels, dx, acc)
        });
        offset += channels;
    }
}

pub(super) fn forward_crop(pass: &mut Pass<'_>, id: NodeId, margin: usize) {
    pass.write(id, |pass, y, _| {
        let x = pass.input(id, 0);
        crop::forward(pass.value(x), pass.shape(x), margin, y);
    });
}

pub(super) fn backward_crop(pass: &mut Pass<'_>, id: NodeId, margin: usize) {
    let x = pass.input(id, 0);
    pass.write_grad(x, |pass, dx, acc, _| {
        crop::backward(pass.grad(id), pass.shape(x), margin, dx, acc)
    });
}
