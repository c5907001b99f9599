//! Convolutions with 3×3 windows and stride 1 to a few channels: class maps (`conv_few.cu`).

use ::kernels::Window;

use super::driver::{DeviceError, Windowed};
use super::epilogue::Epilogue;
use super::pass::{Done, Pass};
use super::reduce::{Columns, sum_partials};
use crate::graph::{NodeId, Op};
use crate::plan::{Kind, Source};

/// `FEW_CHANNELS` of the kernels.
const MAX_CHANNELS: usize = 64;

/// `FEW_REACH` of the kernels.
const REACH: usize = 4;

/// The window of a convolution to the few channels of a map, if its one input allows threads to read several channels
/// at once.
pub(super) fn window(pass: &Pass<'_>, id: NodeId) -> Option<Window> {
    let Op::Conv2d { window, .. } = pass.graph.node(id).op else {
        return None;
    };
    let [Source { doubled: false, .. }] = pass.sources(id) else {
        return None;
    };
    let (xs, ys) = (pass.shape(pass.input(id, 0)), pass.shape(id));
    let fits = xs.c <= MAX_CHANNELS && pass.is_wide(xs.c) && (1..=4).contains(&ys.c);
    let map = pass.kind(id) == Kind::F32 && pass.norm_of_product(id).is_none();
    (window.kernel == [3, 3] && window.stride == 1 && fits && map).then_some(window)
}

/// Chooses the kernel for `few` output channels.
fn choose(names: [&'static str; 4], few: usize) -> &'static str {
    names[few.clamp(1, 4) - 1]
}

/// Returns false if the epilogue contains more than a bias.
pub(super) fn forward(
    pass: &mut Pass<'_>,
    id: NodeId,
    window: Window,
    epilogue: Epilogue,
    out: NodeId,
) -> Result<bool, DeviceError> {
    if epilogue.scale.is_some() || epilogue.activation.is_some() {
        return Ok(false);
    }
    let (x, ys) = (pass.sources(id)[0].node, pass.shape(id));
    let args = [
        pass.value(x).into(),
        pass.param(id, 0).into(),
        epilogue.shift.into(),
        pass.value(out).into(),
        Windowed::new(pass.shape(x), window, ys).into(),
    ];
    let names = [
        "conv_few_forward_1",
        "conv_few_forward_2",
        "conv_few_forward_3",
        "conv_few_forward_4",
    ];
    let strips = ys.n * ys.h * ys.w.div_ceil(REACH);
    pass.launch_elements(choose(names, ys.c), strips, &args)?;
    Ok(true)
}

pub(super) fn backward_weight(pass: &mut Pass<'_>, id: NodeId, window: Window) -> Done {
    let Some(dw) = pass.param_grad(id, 0) else {
        return Ok(());
    };
    let x = pass.sources(id)[0].node;
    let (xs, ys) = (pass.shape(x), pass.shape(id));
    let cut = Columns::new(1, ys.n * ys.h, xs.c, 2, 1);
    let len = 9 * xs.c * ys.c;
    let partials = pass.scratch(cut.chunks * len);
    let args = [
        pass.value(x).into(),
        pass.grad(id).into(),
        partials.into(),
        Windowed::new(xs, window, ys).into(),
        cut.rows_per_chunk.into(),
    ];
    let names = [
        "conv_few_backward_weight_1",
        "conv_few_backward_weight_2",
        "conv_few_backward_weight_3",
        "conv_few_backward_weight_4",
    ];
    cut.launch(pass, choose(names, ys.c), 1, &args)?;
    sum_partials(pass, partials, dw, (1, cut.chunks, len), 1.0, false)
}

pub(super) fn backward_input(pass: &mut Pass<'_>, id: NodeId, window: Window) -> Done {
    let x = pass.sources(id)[0].node;
    let (xs, ys) = (pass.shape(x), pass.shape(id));
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        pass.grad(id).into(),
        pass.param(id, 0).into(),
        dx.into(),
        Windowed::new(xs, window, ys).into(),
        add.into(),
    ];
    let names = [
        "conv_few_backward_input_1",
        "conv_few_backward_input_2",
        "conv_few_backward_input_3",
        "conv_few_backward_input_4",
    ];
    let strips = xs.n * xs.h * xs.w.div_ceil(REACH);
    let threads = strips * xs.c / pass.elements.wide;
    pass.launch_elements(choose(names, ys.c), threads, &args)
}
