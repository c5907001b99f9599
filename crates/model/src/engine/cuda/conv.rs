//! Convolutions: dense and transposed ones as matrix products, and the choice of kernel for each.

use kernels::Window;

use super::driver::{Address, Arg, DeviceError, Part, Parts, Up, Windowed};
use super::epilogue::{Epilogue, code};
use super::norm::Moments;
use super::pass::{Done, Pass};
use super::reduce::{channel_sums, sum_partials};
use super::variants::{Tile, Tiles, tiles};
use super::{conv_few, conv3x3, depthwise, elementwise, linear};
use crate::engine::nodes::activation;
use crate::engine::operations::Convolutions;
use crate::graph::{NodeId, Op};
use crate::plan::Source;

impl Convolutions for Pass<'_> {
    /// Convolution or linear layer; a batch norm and an activation, if given, are applied in the last pass over its
    /// output.
    fn forward_conv(&mut self, id: NodeId, norm: Option<NodeId>, act: Option<NodeId>) -> Done {
        let (scale, shift) = match norm {
            Some(norm) => {
                let c = self.shape(norm).c;
                let saved = self.saved(norm);
                (Some(saved.plus(2 * c)), Some(saved.plus(3 * c)))
            }
            None => (None, self.param(id, 1)),
        };
        let out = act.or(norm).unwrap_or(id);
        let epilogue = Epilogue {
            scale,
            shift,
            activation: activation(self.graph, act),
        };
        match self.graph.node(id).op {
            Op::Depthwise { window } => depthwise::forward(self, id, window, epilogue, out),
            _ if linear::is_linear(self, id) && norm.is_none() => {
                linear::forward(self, id, epilogue.activation, out)
            }
            _ => forward_dense(self, id, epilogue, out),
        }
    }

    fn forward_linear(&mut self, id: NodeId) -> Done {
        self.forward_conv(id, None, None)
    }

    fn backward_dense(&mut self, id: NodeId) -> Done {
        if linear::is_linear(self, id) {
            return linear::backward(self, id);
        }
        if let Some(window) = conv_few::window(self, id) {
            conv_few::backward_weight(self, id, window)?;
            backward_bias(self, id)?;
            return conv_few::backward_input(self, id, window);
        }
        let dy = feature_gradient(self, id)?;
        backward_dense_weight(self, id, dy)?;
        backward_bias(self, id)?;
        backward_dense_input(self, id, dy)
    }

    fn backward_depthwise(&mut self, id: NodeId, window: Window) -> Done {
        depthwise::backward(self, id, window)
    }

    fn backward_linear(&mut self, id: NodeId) -> Done {
        self.backward_dense(id)
    }

    fn forward_transposed(&mut self, id: NodeId) -> Done {
        let x = self.input(id, 0);
        check_features(self, id, [x, id].into_iter())?;
        let (xs, cout) = (self.shape(x), self.shape(id).c);
        let [wide_x, wide_y] = wide_transposed(self, id);
        let args = [
            Up::new(xs, cout).into(),
            self.value(x).into(),
            self.weights(id).into(),
            self.param(id, 1).into(),
            self.value(id).into(),
            wide_x,
            wide_y,
        ];
        product(
            self,
            tiles!("conv_transpose_forward"),
            (xs.pixels(), 4 * cout, 1),
            &args,
        )
    }

    fn backward_transposed(&mut self, id: NodeId) -> Done {
        let x = self.input(id, 0);
        let (xs, cout) = (self.shape(x), self.shape(id).c);
        let (up, value, dy) = (Up::new(xs, cout), self.value(x), self.grad(id));
        let [wide_x, wide_y] = wide_transposed(self, id);
        if let Some(dw) = self.param_grad(id, 0) {
            let shape = (xs.c, 4 * cout, xs.pixels());
            let tiles = tiles!("conv_transpose_backward_weight");
            backward_weight(self, tiles, shape, dw, |out, slice| {
                vec![
                    up.into(),
                    value.into(),
                    dy.into(),
                    out.into(),
                    slice.into(),
                    wide_x,
                    wide_y,
                ]
            })?;
        }
        backward_bias(self, id)?;
        let Some((dx, add)) = self.gradient_to_write(x) else {
            return Ok(());
        };
        let args = [
            up.into(),
            dy.into(),
            self.weights(id).into(),
            dx.into(),
            add.into(),
            wide_x,
            wide_y,
        ];
        let tiles = tiles!("conv_transpose_backward_input");
        product(self, tiles, (xs.pixels(), xs.c, 1), &args)
    }
}

fn forward_dense(pass: &mut Pass<'_>, id: NodeId, epilogue: Epilogue, out: NodeId) -> Done {
    let sources = pass.sources(id);
    check_features(pass, id, sources.iter().map(|s| s.node))?;
    if let Some(window) = conv_few::window(pass, id)
        && conv_few::forward(pass, id, window, epilogue, out)?
    {
        return Ok(());
    }
    if let Some(window) = conv3x3::window(pass, id) {
        return conv3x3::forward(pass, id, window, epilogue, out);
    }
    let (ys, w, wide_x) = (pass.shape(id), pass.weights(id), pass.reads_wide(id));
    let wide_y = pass.is_wide(ys.c);
    let wide_w = wide_y && w.is_some_and(Address::is_aligned);
    let tail: [Arg; 5] = [
        code(epilogue.activation),
        (pass.kind(out) != pass.elements.kind).into(),
        wide_x.into(),
        wide_w.into(),
        wide_y.into(),
    ];
    let shape = (ys.pixels(), ys.c, 1);
    let tiles = ys.pixels().div_ceil(Tile::of(ys.pixels(), ys.c, 1).rows);
    let moments = Moments::of(pass, id, tiles);
    let into: [Arg; 6] = [
        w.into(),
        epilogue.scale.into(),
        epilogue.shift.into(),
        pass.value(out).into(),
        moments.map(|m| m.partials).into(),
        moments.map(|m| m.counts).into(),
    ];
    match point(pass, id) {
        Some(x) => {
            let sizes: [Arg; 3] = [ys.pixels(), pass.shape(x).c, ys.c].map(Arg::from);
            let args = [&[pass.value(x).into()], &into[..], &sizes, &tail].concat();
            product(pass, tiles!("point_forward"), shape, &args)?;
        }
        None => {
            let from = [windowed(pass, id).into(), pass.parts(id).into()];
            let args = [&from[..], &into, &tail].concat();
            product(pass, tiles!("conv_forward"), shape, &args)?;
        }
    }
    moments.map_or(Ok(()), |moments| moments.finish(pass))
}

/// The gradient of a node's value in the element type of feature maps: a class map's, which is f32, is converted.
fn feature_gradient(pass: &mut Pass<'_>, id: NodeId) -> Result<Address, DeviceError> {
    let (dy, len) = (pass.grad(id), pass.shape(id).len());
    if pass.kind(id) == pass.elements.kind {
        return Ok(dy);
    }
    let copy = pass.scratch(pass.elements.kind.words(len));
    elementwise::from_f32(pass, dy, copy, len)?;
    Ok(copy)
}

/// The gradients of the inputs: one launch for each run of inputs read pixel by pixel, one for each that is upsampled.
fn backward_dense_input(pass: &mut Pass<'_>, id: NodeId, dy: Address) -> Done {
    let mut first = 0;
    for run in pass.sources(id).chunk_by(|a, b| !a.doubled && !b.doubled) {
        let channels: usize = run.iter().map(|s| pass.shape(s.node).c).sum();
        let into: Vec<Part> = run.iter().filter_map(|s| gradient_of(pass, s)).collect();
        if into.len() == run.len() {
            backward_dense_into(pass, id, dy, (first, channels), run, &into)?;
        }
        first += channels;
    }
    Ok(())
}

/// The destination of a source's gradient, if one is needed.
fn gradient_of(pass: &mut Pass<'_>, source: &Source) -> Option<Part> {
    let (data, add) = pass.gradient_to_write(source.node)?;
    Some(Part {
        data,
        channels: pass.shape(source.node).c,
        doubled: false,
        add,
    })
}

fn backward_dense_into(
    pass: &mut Pass<'_>,
    id: NodeId,
    dy: Address,
    (first, channels): (usize, usize),
    run: &[Source],
    into: &[Part],
) -> Done {
    if let Some(window) = conv3x3::window(pass, id) {
        return conv3x3::backward_input(pass, id, window, dy, (first, channels), run, into);
    }
    let (ys, w) = (pass.shape(id), pass.weights(id));
    let (pixels, doubled) = (pass.shape(run[0].node).pixels(), run[0].doubled);
    let wide_dy = pass.is_wide(ys.c) && w.is_some_and(Address::is_aligned);
    let wide_dx = into.iter().all(|part| pass.is_wide(part.channels));
    let (dx, shape) = (Parts::new(into.iter().copied()), (pixels, channels, 1));
    if point(pass, id).is_some() {
        let args = [
            dy.into(),
            w.into(),
            dx.into(),
            pixels.into(),
            ys.c.into(),
            channels.into(),
            wide_dy.into(),
            wide_dx.into(),
        ];
        return product(pass, tiles!("point_backward_input"), shape, &args);
    }
    let args = [
        windowed(pass, id).into(),
        dy.into(),
        w.into(),
        dx.into(),
        Arg::I32(first as i32),
        Arg::I32(channels as i32),
        doubled.into(),
        wide_dy.into(),
        wide_dx.into(),
    ];
    product(pass, tiles!("conv_backward_input"), shape, &args)
}

fn backward_dense_weight(pass: &mut Pass<'_>, id: NodeId, dy: Address) -> Done {
    let Some(dw) = pass.param_grad(id, 0) else {
        return Ok(());
    };
    if let Some(window) = conv3x3::window(pass, id)
        && conv3x3::backward_weight(pass, id, window, dy, dw)?
    {
        return Ok(());
    }
    let ys = pass.shape(id);
    let wide = [pass.reads_wide(id), pass.is_wide(ys.c)].map(Arg::from);
    let rows = pass.graph.param(pass.graph.node(id).params[0]).len() / ys.c;
    let shape = (rows, ys.c, ys.pixels());
    match point(pass, id) {
        Some(x) => {
            let x = pass.value(x);
            backward_weight(
                pass,
                tiles!("point_backward_weight"),
                shape,
                dw,
                |out, slice| {
                    let sizes = [rows.into(), ys.pixels().into(), ys.c.into(), slice.into()];
                    [&[x.into(), dy.into(), out.into()][..], &sizes, &wide].concat()
                },
            )
        }
        None => {
            let (window, inputs) = (windowed(pass, id), pass.parts(id));
            backward_weight(
                pass,
                tiles!("conv_backward_weight"),
                shape,
                dw,
                |out, slice| {
                    let first = [
                        window.into(),
                        inputs.into(),
                        dy.into(),
                        out.into(),
                        slice.into(),
                    ];
                    [&first[..], &wide].concat()
                },
            )
        }
    }
}

fn backward_bias(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let Some(db) = pass.param_grad(id, 1) else {
        return Ok(());
    };
    let (ys, kind) = (pass.shape(id), pass.kind(id));
    channel_sums(
        pass,
        (pass.grad(id), kind),
        db,
        (1, ys.pixels(), ys.c),
        1.0,
        false,
    )
}

fn wide_transposed(pass: &Pass<'_>, id: NodeId) -> [Arg; 2] {
    let aligned = pass.weights(id).is_some_and(Address::is_aligned);
    let wide_y = pass.is_wide(pass.shape(id).c) && aligned;
    [pass.is_wide(pass.shape(pass.input(id, 0)).c), wide_y].map(Arg::from)
}

/// The only input of a convolution whose windows are single pixels: a plain matrix.
fn point(pass: &Pass<'_>, id: NodeId) -> Option<NodeId> {
    match (window(pass, id), pass.sources(id)) {
        (
            Window::POINT,
            [
                Source {
                    node,
                    doubled: false,
                },
            ],
        ) => Some(*node),
        _ => None,
    }
}

/// The window of a dense convolution; a linear layer's is a single pixel.
fn window(pass: &Pass<'_>, id: NodeId) -> Window {
    match pass.graph.node(id).op {
        Op::Conv2d { window, .. } => window,
        _ => Window::POINT,
    }
}

fn windowed(pass: &Pass<'_>, id: NodeId) -> Windowed {
    Windowed::new(
        pass.shape(pass.input(id, 0)),
        window(pass, id),
        pass.shape(id),
    )
}

/// Checks that all inputs have the element type of feature maps, which matrix products read; vectors and class maps may
/// have another.
fn check_features(
    pass: &Pass<'_>,
    id: NodeId,
    mut read: impl Iterator<Item = NodeId>,
) -> Result<(), DeviceError> {
    if read.all(|x| pass.kind(x) == pass.elements.kind) {
        return Ok(());
    }
    Err(DeviceError::Unsupported(format!(
        "{}: the CUDA engine cannot use a vector as a feature map in bf16: use precision tf32 or f32",
        pass.graph.node(id).name
    )))
}

/// Launches a matrix product of `rows × cols`.
fn product(
    pass: &mut Pass<'_>,
    names: Tiles,
    (rows, cols, slices): (usize, usize, usize),
    args: &[Arg],
) -> Done {
    let tile = Tile::of(rows, cols, slices);
    let grid = [rows.div_ceil(tile.rows), cols.div_ceil(tile.cols), slices];
    pass.launch(tile.name(names), grid, [256, 1], args)
}

/// A weight's gradient: the pixels are divided into slices, each with its own sums, which are then added in order.
fn backward_weight(
    pass: &mut Pass<'_>,
    names: Tiles,
    (rows, cols, pixels): (usize, usize, usize),
    dw: Address,
    args: impl FnOnce(Address, usize) -> Vec<Arg>,
) -> Done {
    let Slices {
        count,
        pixels: slice,
    } = Slices::new(rows, cols, pixels);
    if count == 1 && dw.is_aligned() {
        return product(pass, names, (rows, cols, 1), &args(dw, slice));
    }
    let partials = pass.scratch(count * rows * cols);
    product(pass, names, (rows, cols, count), &args(partials, slice))?;
    sum_partials(pass, partials, dw, (1, count, rows * cols), 1.0, false)
}

/// Division of a sum over pixels into slices, by shapes alone, so that the result does not depend on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slices {
    count: usize,
    /// Pixels per slice; a multiple of a tile's depth.
    pixels: usize,
}

impl Slices {
    /// Number of blocks that keeps a large GPU busy.
    const BLOCKS: usize = 512;
    /// Fewer pixels per slice would cost more in partial sums than they gain.
    const MIN: usize = 256;
    /// More pixels would accumulate too much rounding error in one f32 sum.
    const MAX: usize = 16384;

    fn new(rows: usize, cols: usize, pixels: usize) -> Slices {
        let blocks = Tile::of(rows, cols, Self::BLOCKS).blocks(rows, cols);
        let wanted = Self::BLOCKS
            .div_ceil(blocks)
            .min(pixels.div_ceil(Self::MIN));
        let wanted = wanted.max(pixels.div_ceil(Self::MAX)).max(1);
        let slice = pixels.div_ceil(wanted).next_multiple_of(32);
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
                assert!(slice <= Slices::MAX && slice % 32 == 0, "{slice}");
                assert!(count < 1 << 16);
            }
        }
    }
}
