//! Convolutions with 3×3 windows and stride 1, which read patches of pixels once for all nine taps (`conv3x3.cu`).

use ::kernels::{Nhwc, Precision, Window};

use super::driver::{Address, Arg, DeviceError, Part, Parts, Patches};
use super::epilogue::{Epilogue, code};
use super::norm::Moments;
use super::pass::{Done, Pass};
use super::reduce::sum_partials;
use crate::graph::{NodeId, Op};
use crate::plan::Source;

/// Rows of a patch; `PATCH_H` of the kernels.
const ROWS: usize = 8;

/// Fewer blocks than this leave most of a large GPU idle: windows are then gathered by smaller tiles (`conv.cu`).
const FEW_BLOCKS: usize = 64;

/// The window of a convolution, if it can be computed by patches: all its channel counts must be multiples of what a
/// thread copies at once.
pub(super) fn window(pass: &Pass<'_>, id: NodeId) -> Option<Window> {
    let Op::Conv2d { window, .. } = pass.graph.node(id).op else {
        return None;
    };
    let ys = pass.shape(id);
    let wide = pass.is_wide(ys.c) && pass.reads_wide(id);
    let aligned = pass.weights(id).is_some_and(Address::is_aligned);
    let patches = patches(pass, id, window).count();
    let many = patches * ys.c.div_ceil(width(ys.c)) >= FEW_BLOCKS;
    (window.kernel == [3, 3] && window.stride == 1 && wide && aligned && many).then_some(window)
}

/// Columns of a block's product.
fn width(channels: usize) -> usize {
    match channels {
        0..=16 => 16,
        17..=32 => 32,
        _ => 64,
    }
}

/// Chooses the kernel for `width` columns from those for 64, 32 and 16.
fn choose(names: [&'static str; 3], width: usize) -> &'static str {
    match width {
        64 => names[0],
        32 => names[1],
        _ => names[2],
    }
}

fn padding(window: Window, xs: Nhwc) -> [usize; 2] {
    [window.pad_before(0, xs.h), window.pad_before(1, xs.w)]
}

fn patches(pass: &Pass<'_>, id: NodeId, window: Window) -> Patches {
    let (xs, ys) = (pass.shape(pass.input(id, 0)), pass.shape(id));
    Patches::new(xs, [ys.h, ys.w], padding(window, xs), ROWS)
}

pub(super) fn forward(
    pass: &mut Pass<'_>,
    id: NodeId,
    window: Window,
    epilogue: Epilogue,
    out: NodeId,
) -> Done {
    let (oc, patches) = (pass.shape(id).c, patches(pass, id, window));
    let moments = Moments::of(pass, id, patches.count());
    let args = [
        patches.into(),
        pass.parts(id).into(),
        pass.weights(id).into(),
        epilogue.scale.into(),
        epilogue.shift.into(),
        pass.value(out).into(),
        moments.map(|m| m.partials).into(),
        moments.map(|m| m.counts).into(),
        oc.into(),
        code(epilogue.activation),
        (pass.kind(out) != pass.elements.kind).into(),
    ];
    let names = [
        "conv3x3_forward_64",
        "conv3x3_forward_32",
        "conv3x3_forward_16",
    ];
    launch(pass, names, patches.count(), oc, &args)?;
    moments.map_or(Ok(()), |moments| moments.finish(pass))
}

/// Gradients of a run of sources whose channels start at `first`: several that are not upsampled, or one that is.
pub(super) fn backward_input(
    pass: &mut Pass<'_>,
    id: NodeId,
    window: Window,
    dy: Address,
    (first, channels): (usize, usize),
    run: &[Source],
    into: &[Part],
) -> Done {
    let (xs, ys) = (pass.shape(pass.input(id, 0)), pass.shape(id));
    // The flipped window extends as far after a pixel as the original extends before it.
    let turned = padding(window, xs).map(|before| 2 - before);
    let patches = Patches::new(ys, [xs.h, xs.w], turned, ROWS);
    let read = Part {
        data: dy,
        channels: ys.c,
        doubled: false,
        add: false,
    };
    let args = [
        patches.into(),
        Parts::new([read]).into(),
        pass.weights(id).into(),
        Parts::new(into.iter().copied()).into(),
        xs.c.into(),
        first.into(),
        channels.into(),
        run[0].doubled.into(),
    ];
    let names = [
        "conv3x3_backward_input_64",
        "conv3x3_backward_input_32",
        "conv3x3_backward_input_16",
    ];
    launch(pass, names, patches.count(), channels, &args)
}

fn launch(
    pass: &mut Pass<'_>,
    names: [&'static str; 3],
    patches: usize,
    columns: usize,
    args: &[Arg],
) -> Done {
    let width = width(columns);
    let grid = [patches, columns.div_ceil(width), 1];
    pass.launch(choose(names, width), grid, [256, 1], args)
}

/// Rows of a patch of the weights' gradient; `GradientOfWeights::H` of the kernels.
fn rows_of_a_patch(precision: Precision, width: usize) -> usize {
    match (precision, width) {
        (Precision::Bf16, _) | (_, ..64) => 4,
        _ => 2,
    }
}

/// The gradient of the weights; returns false in f32, for which there is no kernel.
pub(super) fn backward_weight(
    pass: &mut Pass<'_>,
    id: NodeId,
    window: Window,
    dy: Address,
    dw: Address,
) -> Result<bool, DeviceError> {
    if pass.plan.precision == Precision::F32 {
        return Ok(false);
    }
    let (xs, ys) = (pass.shape(pass.input(id, 0)), pass.shape(id));
    let width = width(ys.c);
    let rows = rows_of_a_patch(pass.plan.precision, width);
    let patches = Patches::new(xs, [ys.h, ys.w], padding(window, xs), rows);
    let sources = pass.sources(id);
    let depth = 4 * pass.elements.wide; // `TILE_K` of the kernels
    let chunks: usize = sources
        .iter()
        .map(|s| pass.shape(s.node).c.div_ceil(depth))
        .sum();
    let columns = ys.c.div_ceil(width);
    let cut = Slices::new(chunks * columns, patches.count());
    let len = 9 * xs.c * ys.c;
    let partials = pass.scratch(cut.count * len);
    let args = [
        patches.into(),
        pass.parts(id).into(),
        dy.into(),
        partials.into(),
        ys.c.into(),
        cut.patches.into(),
    ];
    let names = [
        "conv3x3_backward_weight_64",
        "conv3x3_backward_weight_32",
        "conv3x3_backward_weight_16",
    ];
    let grid = [chunks, columns, cut.count];
    pass.launch(choose(names, width), grid, [256, 1], &args)?;
    sum_partials(pass, partials, dw, (1, cut.count, len), 1.0, false)?;
    Ok(true)
}

/// Division of the patches into slices, by shapes alone, so that sums do not depend on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slices {
    count: usize,
    /// Patches per slice.
    patches: usize,
}

impl Slices {
    /// Number of blocks that keeps a large GPU busy.
    const BLOCKS: usize = 528;
    /// Fewer patches per slice would cost more in partial sums than they gain.
    const MIN: usize = 4;
    /// More patches would accumulate too much rounding error in one f32 sum.
    const MAX: usize = 256;

    fn new(blocks: usize, patches: usize) -> Self {
        let wanted = (Self::BLOCKS / blocks.max(1)).min(patches / Self::MIN);
        let wanted = wanted.max(patches.div_ceil(Self::MAX)).max(1);
        let slice = patches.div_ceil(wanted);
        Slices {
            count: patches.div_ceil(slice),
            patches: slice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_all_patches_once() {
        for blocks in [1, 4, 56, 3000] {
            for patches in [1, 3, 4, 255, 12_544, 50_176] {
                let cut = Slices::new(blocks, patches);
                assert!(cut.count * cut.patches >= patches);
                assert!((cut.count - 1) * cut.patches < patches && cut.patches <= Slices::MAX);
            }
        }
    }
}
