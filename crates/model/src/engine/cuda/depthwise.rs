//! Depthwise convolutions: special kernels for windows of 3 and 5, and general ones for any window.

use kernels::Window;

use super::driver::{Address, Windowed};
use super::epilogue::{Epilogue, code};
use super::pass::{Done, Pass};
use super::reduce::{Columns, sum_partials};
use crate::graph::NodeId;

/// Adjacent outputs per thread, by stride (`REACH` in `depthwise.cu`).
fn reach(stride: usize) -> usize {
    if stride == 1 { 4 } else { 2 }
}

/// Chooses the kernel for a window from those for (kernel, stride) = (3, 1), (5, 1), (3, 2), (5, 2).
fn special(window: Window, names: [&'static str; 4]) -> Option<&'static str> {
    let known = [(3, 1), (5, 1), (3, 2), (5, 2)];
    let [height, width] = window.kernel;
    let at = known
        .iter()
        .position(|known| *known == (height, window.stride))?;
    (height == width).then_some(names[at])
}

pub(super) fn forward(
    pass: &mut Pass<'_>,
    id: NodeId,
    window: Window,
    epilogue: Epilogue,
    out: NodeId,
) -> Done {
    let (x, ys) = (pass.input(id, 0), pass.shape(id));
    let w = pass.param(id, 0);
    let args = [
        pass.value(x).into(),
        w.into(),
        epilogue.scale.into(),
        epilogue.shift.into(),
        pass.value(out).into(),
        Windowed::new(pass.shape(x), window, ys).into(),
        code(epilogue.activation),
    ];
    let names = [
        "depthwise_forward_k3s1",
        "depthwise_forward_k5s1",
        "depthwise_forward_k3s2",
        "depthwise_forward_k5s2",
    ];
    let wide = pass.elements.wide;
    match special(window, names) {
        _ if !is_wide(pass, ys.c, w) => {
            pass.launch_elements("depthwise_forward_single", ys.len(), &args)
        }
        Some(kernel) => {
            let strips = ys.n * ys.h * ys.w.div_ceil(reach(window.stride));
            pass.launch_elements(kernel, strips * ys.c / wide, &args)
        }
        None => pass.launch_elements("depthwise_forward_wide", ys.len() / wide, &args),
    }
}

pub(super) fn backward(pass: &mut Pass<'_>, id: NodeId, window: Window) -> Done {
    backward_weight(pass, id, window)?;
    backward_input(pass, id, window)
}

fn backward_weight(pass: &mut Pass<'_>, id: NodeId, window: Window) -> Done {
    let Some(dw) = pass.param_grad(id, 0) else {
        return Ok(());
    };
    let x = pass.input(id, 0);
    let (xs, ys) = (pass.shape(x), pass.shape(id));
    let taps = window.kernel[0] * window.kernel[1];
    let names = [
        "depthwise_backward_weight_k3s1",
        "depthwise_backward_weight_k5s1",
        "depthwise_backward_weight_k3s2",
        "depthwise_backward_weight_k5s2",
    ];
    let walk = special(window, names).filter(|_| xs.c.is_multiple_of(2));
    let cut = match walk {
        Some(_) => Columns::new(1, ys.n * ys.h, xs.c, 2, 1),
        None => Columns::new(taps, ys.pixels(), xs.c, 1, 16),
    };
    let partials = pass.scratch(cut.partials(taps, 1));
    let args = [
        pass.value(x).into(),
        pass.grad(id).into(),
        partials.into(),
        Windowed::new(xs, window, ys).into(),
        cut.rows_per_chunk.into(),
    ];
    match walk {
        Some(kernel) => {
            cut.launch(pass, kernel, 1, &args)?;
            sum_partials(pass, partials, dw, (1, cut.chunks, taps * xs.c), 1.0, false)
        }
        None => {
            cut.launch(pass, "depthwise_backward_weight", taps, &args)?;
            sum_partials(pass, partials, dw, (taps, cut.chunks, xs.c), 1.0, false)
        }
    }
}

fn backward_input(pass: &mut Pass<'_>, id: NodeId, window: Window) -> Done {
    let x = pass.input(id, 0);
    let (xs, ys) = (pass.shape(x), pass.shape(id));
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let w = pass.param(id, 0);
    let args = [
        pass.grad(id).into(),
        w.into(),
        dx.into(),
        Windowed::new(xs, window, ys).into(),
        add.into(),
    ];
    let strided = "depthwise_backward_input_wide";
    let names = [
        "depthwise_backward_input_k3s1",
        "depthwise_backward_input_k5s1",
        strided,
        strided,
    ];
    let wide = pass.elements.wide;
    match special(window, names).filter(|name| *name != strided) {
        _ if !is_wide(pass, xs.c, w) => {
            pass.launch_elements("depthwise_backward_input_single", xs.len(), &args)
        }
        Some(kernel) => {
            let strips = xs.n * xs.h * xs.w.div_ceil(reach(1));
            pass.launch_elements(kernel, strips * xs.c / wide, &args)
        }
        None => pass.launch_elements(strided, xs.len() / wide, &args),
    }
}

fn is_wide(pass: &Pass<'_>, channels: usize, w: Option<Address>) -> bool {
    pass.is_wide(channels) && w.is_some_and(Address::is_aligned)
}
