//! Convolutions (dense, depthwise, transposed) and linear layers.

use kernels::{Activation, Window};

use super::driver::{Address, Arg, Parts, Up, Windowed};
use super::elementwise::code;
use super::pass::{Done, Pass};
use super::reduce::{Columns, channel_sums, sum_partials};
use super::{elementwise, norm};
use crate::graph::{NodeId, Op};

/// Convolution or linear layer, with a batch norm folded into the last pass over its output and an activation after it
/// where given.
pub(super) fn forward(
    pass: &mut Pass<'_>,
    id: NodeId,
    norm: Option<NodeId>,
    act: Option<NodeId>,
) -> Done {
    let bias = pass.param(id, 1);
    let (scale, shift) = match norm {
        Some(norm) => {
            let (scale, shift) = norm::fold_running(pass, norm, bias)?;
            (Some(scale), Some(shift))
        }
        None => (None, bias),
    };
    let out = act.or(norm).unwrap_or(id);
    let epilogue = Epilogue {
        scale,
        shift,
        activation: elementwise::kind(pass.graph, act),
    };
    match pass.graph.node(id).op {
        Op::Depthwise { window } => forward_depthwise(pass, id, window, epilogue, out),
        _ => forward_dense(pass, id, epilogue, out),
    }
}

/// `y = act(conv · scale + shift)`.
struct Epilogue {
    scale: Option<Address>,
    shift: Option<Address>,
    activation: Option<Activation>,
}

fn forward_depthwise(
    pass: &mut Pass<'_>,
    id: NodeId,
    window: Window,
    epilogue: Epilogue,
    out: NodeId,
) -> Done {
    let x = pass.input(id, 0);
    let args = [
        pass.value(x).into(),
        pass.param(id, 0).into(),
        epilogue.scale.into(),
        epilogue.shift.into(),
        pass.value(out).into(),
        Windowed::new(pass.shape(x), window, pass.shape(id)).into(),
        code(epilogue.activation),
    ];
    pass.launch_elements("depthwise_forward", pass.shape(id).len(), &args)
}

fn forward_dense(pass: &mut Pass<'_>, id: NodeId, epilogue: Epilogue, out: NodeId) -> Done {
    let ys = pass.shape(id);
    let args = [
        windowed(pass, id).into(),
        parts(pass, id).into(),
        pass.param(id, 0).into(),
        epilogue.scale.into(),
        epilogue.shift.into(),
        pass.value(out).into(),
        code(epilogue.activation),
    ];
    gemm(
        pass,
        ["conv_forward_wide", "conv_forward_narrow"],
        (ys.pixels(), ys.c, 1),
        &args,
    )
}

pub(super) fn backward_dense(pass: &mut Pass<'_>, id: NodeId) -> Done {
    backward_dense_weight(pass, id)?;
    backward_bias(pass, id)?;
    let (window, w, dy) = (windowed(pass, id), pass.param(id, 0), pass.grad(id));
    let mut first = 0;
    for source in pass.sources(id) {
        let xs = pass.shape(source.node);
        if let Some((dx, add)) = pass.gradient_to_write(source.node) {
            let args = [
                window.into(),
                dy.into(),
                w.into(),
                dx.into(),
                Arg::I32(first as i32),
                Arg::I32(xs.c as i32),
                source.doubled.into(),
                add.into(),
            ];
            let kernels = ["conv_backward_input_wide", "conv_backward_input_narrow"];
            gemm(pass, kernels, (xs.pixels(), xs.c, 1), &args)?;
        }
        first += xs.c;
    }
    Ok(())
}

fn backward_dense_weight(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let Some(dw) = pass.param_grad(id, 0) else {
        return Ok(());
    };
    let (window, inputs) = (windowed(pass, id), parts(pass, id));
    let (dy, ys) = (pass.grad(id), pass.shape(id));
    let rows = pass.graph.param(pass.graph.node(id).params[0]).len() / ys.c;
    let kernels = ["conv_backward_weight_wide", "conv_backward_weight_narrow"];
    backward_weight(
        pass,
        kernels,
        (rows, ys.c, ys.pixels()),
        dw,
        |out, slice| {
            vec![
                window.into(),
                inputs.into(),
                dy.into(),
                out.into(),
                slice.into(),
            ]
        },
    )
}

fn backward_bias(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let Some(db) = pass.param_grad(id, 1) else {
        return Ok(());
    };
    let ys = pass.shape(id);
    channel_sums(pass, pass.grad(id), db, (1, ys.pixels(), ys.c), 1.0, false)
}

pub(super) fn backward_depthwise(pass: &mut Pass<'_>, id: NodeId, window: Window) -> Done {
    let x = pass.input(id, 0);
    let (xs, ys) = (pass.shape(x), pass.shape(id));
    let windowed = Windowed::new(xs, window, ys);
    if let Some(dw) = pass.param_grad(id, 0) {
        let taps = window.kernel[0] * window.kernel[1];
        let cut = Columns::new(ys.pixels(), xs.c);
        let partials = pass.scratch(cut.partials(taps, 1));
        let args = [
            pass.value(x).into(),
            pass.grad(id).into(),
            partials.into(),
            windowed.into(),
            cut.rows_per_chunk.into(),
        ];
        cut.launch(pass, "depthwise_backward_weight", taps, &args)?;
        sum_partials(pass, partials, dw, (taps, cut.chunks, xs.c), 1.0, false)?;
    }
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        pass.grad(id).into(),
        pass.param(id, 0).into(),
        dx.into(),
        windowed.into(),
        add.into(),
    ];
    pass.launch_elements("depthwise_backward_input", xs.len(), &args)
}

pub(super) fn forward_transposed(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let x = pass.input(id, 0);
    let (xs, cout) = (pass.shape(x), pass.shape(id).c);
    let args = [
        Up::new(xs, cout).into(),
        pass.value(x).into(),
        pass.param(id, 0).into(),
        pass.param(id, 1).into(),
        pass.value(id).into(),
    ];
    let kernels = [
        "conv_transpose_forward_wide",
        "conv_transpose_forward_narrow",
    ];
    gemm(pass, kernels, (xs.pixels(), 4 * cout, 1), &args)
}

pub(super) fn backward_transposed(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let x = pass.input(id, 0);
    let (xs, cout) = (pass.shape(x), pass.shape(id).c);
    let (up, value, dy) = (Up::new(xs, cout), pass.value(x), pass.grad(id));
    if let Some(dw) = pass.param_grad(id, 0) {
        let kernels = [
            "conv_transpose_backward_weight_wide",
            "conv_transpose_backward_weight_narrow",
        ];
        backward_weight(
            pass,
            kernels,
            (xs.c, 4 * cout, xs.pixels()),
            dw,
            |out, slice| vec![up.into(), value.into(), dy.into(), out.into(), slice.into()],
        )?;
    }
    backward_bias(pass, id)?;
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        up.into(),
        dy.into(),
        pass.param(id, 0).into(),
        dx.into(),
        add.into(),
    ];
    let kernels = [
        "conv_transpose_backward_input_wide",
        "conv_transpose_backward_input_narrow",
    ];
    gemm(pass, kernels, (xs.pixels(), xs.c, 1), &args)
}

/// The window of a dense convolution; a linear layer's is a single pixel.
fn windowed(pass: &Pass<'_>, id: NodeId) -> Windowed {
    let window = match pass.graph.node(id).op {
        Op::Conv2d { window, .. } => window,
        _ => Window::POINT,
    };
    Windowed::new(pass.shape(pass.input(id, 0)), window, pass.shape(id))
}

fn parts(pass: &Pass<'_>, id: NodeId) -> Parts {
    let part = |s: &crate::plan::Source| (pass.value(s.node), pass.shape(s.node).c, s.doubled);
    Parts::new(pass.sources(id).iter().map(part))
}

/// Launches a matrix product of `rows × cols` by one of its two kernels, wide or narrow.
fn gemm(
    pass: &mut Pass<'_>,
    [wide, narrow]: [&'static str; 2],
    (rows, cols, slices): (usize, usize, usize),
    args: &[Arg],
) -> Done {
    let tile = Tile::of(cols);
    let kernel = if tile == Tile::WIDE { wide } else { narrow };
    let grid = [rows.div_ceil(tile.rows), cols.div_ceil(tile.cols), slices];
    pass.launch(kernel, grid, [256, 1], args)
}

/// A weight's gradient: the pixels are cut in slices, each with its own sums, which are then added in order.
fn backward_weight(
    pass: &mut Pass<'_>,
    kernels: [&'static str; 2],
    (rows, cols, pixels): (usize, usize, usize),
    dw: Address,
    args: impl FnOnce(Address, usize) -> Vec<Arg>,
) -> Done {
    let Slices {
        count,
        pixels: slice,
    } = Slices::new(rows, cols, pixels);
    if count == 1 {
        return gemm(pass, kernels, (rows, cols, 1), &args(dw, slice));
    }
    let partials = pass.scratch(count * rows * cols);
    gemm(pass, kernels, (rows, cols, count), &args(partials, slice))?;
    sum_partials(pass, partials, dw, (1, count, rows * cols), 1.0, false)
}

/// What a block of a matrix product computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    cols: usize,
}

impl Tile {
    const WIDE: Tile = Tile { rows: 64, cols: 64 };
    const NARROW: Tile = Tile {
        rows: 128,
        cols: 16,
    };

    /// Up to 32 columns would leave half of a wide tile idle.
    fn of(cols: usize) -> Tile {
        if cols <= 32 { Tile::NARROW } else { Tile::WIDE }
    }
}

/// How a sum over pixels is cut: by shapes alone, so that it does not depend on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slices {
    count: usize,
    /// Of a slice; a multiple of a tile's depth.
    pixels: usize,
}

impl Slices {
    /// Blocks that keep a large GPU busy.
    const BLOCKS: usize = 512;
    /// Fewer pixels a slice cost more in partial sums than they gain.
    const LEAST: usize = 256;
    /// More pixels would gather rounding in one f32 sum.
    const MOST: usize = 16384;

    fn new(rows: usize, cols: usize, pixels: usize) -> Slices {
        let tile = Tile::of(cols);
        let blocks = rows.div_ceil(tile.rows) * cols.div_ceil(tile.cols);
        let wanted = Self::BLOCKS
            .div_ceil(blocks)
            .min(pixels.div_ceil(Self::LEAST));
        let wanted = wanted.max(pixels.div_ceil(Self::MOST)).max(1);
        let slice = pixels.div_ceil(wanted).next_multiple_of(16);
        Slices {
            count: pixels.div_ceil(slice),
            pixels: slice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_all_pixels_once() {
        for (rows, cols) in [(27, 32), (576, 64), (1, 1), (9 * 1280, 320)] {
            for pixels in [1, 15, 16, 255, 257, 4096, 3_000_000] {
                let Slices {
                    count,
                    pixels: slice,
                } = Slices::new(rows, cols, pixels);
                assert!(count * slice >= pixels && (count - 1) * slice < pixels);
                assert!(slice <= Slices::MOST && slice % 16 == 0, "{slice}");
                assert!(count < 1 << 16);
            }
        }
    }
}
