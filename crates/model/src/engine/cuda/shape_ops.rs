//! Operations that change height, width or the channel count without parameters: pools, upsampling, concat, crop.

use kernels::{Nhwc, Window};

use super::driver::{Address, Arg, Windowed};
use super::pass::{Done, Pass};
use super::reduce::channel_sums;
use crate::graph::{Interpolation, NodeId};
use crate::plan::Mode;

pub(super) fn forward_max_pool(pass: &mut Pass<'_>, id: NodeId, window: Window) -> Done {
    let x = pass.input(id, 0);
    let argmax = (pass.plan.mode == Mode::Train).then(|| pass.argmax(id));
    let args = [
        pass.value(x).into(),
        pass.value(id).into(),
        argmax.into(),
        Windowed::new(pass.shape(x), window, pass.shape(id)).into(),
    ];
    pass.launch_elements("max_pool_forward", pass.shape(id).len(), &args)
}

pub(super) fn backward_max_pool(pass: &mut Pass<'_>, id: NodeId, window: Window) -> Done {
    let x = pass.input(id, 0);
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        pass.grad(id).into(),
        pass.argmax(id).into(),
        dx.into(),
        Windowed::new(pass.shape(x), window, pass.shape(id)).into(),
        add.into(),
    ];
    pass.launch_elements("max_pool_backward", pass.shape(x).len(), &args)
}

pub(super) fn forward_global_avg_pool(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let x = pass.input(id, 0);
    let xs = pass.shape(x);
    let area = xs.h * xs.w;
    let (from, to) = (pass.value(x), pass.value(id));
    channel_sums(pass, from, to, (xs.n, area, xs.c), 1.0 / area as f32, false)
}

pub(super) fn backward_global_avg_pool(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let x = pass.input(id, 0);
    let xs = pass.shape(x);
    let area = xs.h * xs.w;
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        pass.grad(id).into(),
        dx.into(),
        xs.len().into(),
        (area * xs.c).into(),
        xs.c.into(),
        (1.0 / area as f32).into(),
        add.into(),
    ];
    pass.launch_elements("broadcast_pixels", xs.len(), &args)
}

pub(super) fn forward_upsample(pass: &mut Pass<'_>, id: NodeId, mode: Interpolation) -> Done {
    let x = pass.input(id, 0);
    let kernel = match mode {
        Interpolation::Nearest => "nearest2x_forward",
        Interpolation::Bilinear => "bilinear2x_forward",
    };
    let mut args = vec![pass.value(x).into(), pass.value(id).into()];
    args.extend(sizes(pass.shape(x)));
    pass.launch_elements(kernel, pass.shape(id).len(), &args)
}

pub(super) fn backward_upsample(pass: &mut Pass<'_>, id: NodeId, mode: Interpolation) -> Done {
    let x = pass.input(id, 0);
    let kernel = match mode {
        Interpolation::Nearest => "nearest2x_backward",
        Interpolation::Bilinear => "bilinear2x_backward",
    };
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let mut args = vec![pass.grad(id).into(), dx.into()];
    args.extend(sizes(pass.shape(x)));
    args.push(add.into());
    pass.launch_elements(kernel, pass.shape(x).len(), &args)
}

/// `int n, int h, int w, u32 c`.
fn sizes(xs: Nhwc) -> [Arg; 4] {
    let int = |v: usize| Arg::I32(v as i32);
    [int(xs.n), int(xs.h), int(xs.w), xs.c.into()]
}

pub(super) fn forward_concat(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let (graph, ys) = (pass.graph, pass.shape(id));
    let mut first = 0;
    for x in &graph.node(id).inputs {
        let (c, from, to) = (pass.shape(*x).c, pass.value(*x), pass.value(id));
        copy_channels(
            pass,
            (from, c, 0),
            (to, ys.c, first),
            (ys.pixels(), c),
            false,
        )?;
        first += c;
    }
    Ok(())
}

pub(super) fn backward_concat(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let (graph, ys, dy) = (pass.graph, pass.shape(id), pass.grad(id));
    let mut first = 0;
    for x in &graph.node(id).inputs {
        let c = pass.shape(*x).c;
        if let Some((dx, add)) = pass.gradient_to_write(*x) {
            copy_channels(pass, (dy, ys.c, first), (dx, c, 0), (ys.pixels(), c), add)?;
        }
        first += c;
    }
    Ok(())
}

/// Copies `channels` of every pixel from one tensor's to another's: each given by its address, its pixels' channels, and
/// the first of those that are copied.
fn copy_channels(
    pass: &mut Pass<'_>,
    (x, x_channels, from): (Address, usize, usize),
    (y, y_channels, to): (Address, usize, usize),
    (pixels, channels): (usize, usize),
    add: bool,
) -> Done {
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
    pass.launch_elements("copy_channels", pixels * channels, &args)
}

pub(super) fn forward_crop(pass: &mut Pass<'_>, id: NodeId, margin: usize) -> Done {
    let x = pass.input(id, 0);
    let mut args = vec![pass.value(x).into(), pass.value(id).into()];
    args.extend(sizes(pass.shape(x)));
    args.push(Arg::I32(margin as i32));
    pass.launch_elements("crop_forward", pass.shape(id).len(), &args)
}

pub(super) fn backward_crop(pass: &mut Pass<'_>, id: NodeId, margin: usize) -> Done {
    let x = pass.input(id, 0);
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let mut args = vec![pass.grad(id).into(), dx.into()];
    args.extend(sizes(pass.shape(x)));
    args.push(Arg::I32(margin as i32));
    args.push(add.into());
    pass.launch_elements("crop_backward", pass.shape(x).len(), &args)
}
