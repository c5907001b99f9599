//! Mean over the region that a class map predicts.

use kernels::Nhwc;
use kernels::region_pool::{EPS, RegionPool};

use super::driver::{Address, DeviceError};
use super::pass::{Done, Pass};
use super::reduce::{channel_sums, launch_columns, sum_partials};
use super::variants::variants;
use crate::graph::NodeId;
use crate::plan::Kind;

/// The weights of the features' pixels in scratch. The backward pass computes them again, because they are small and
/// scratch lasts for one step.
struct Weights {
    pixels: Address,
    /// Their sum by image.
    totals: Address,
    /// Side of the map's square that a pixel of the features covers.
    side: usize,
}

pub(super) fn forward(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let (x, y) = (pass.input(id, 0), pass.value(id));
    let (xs, value, kind) = (pass.shape(x), pass.value(x), pass.kind(x));
    let weights = weights(pass, id)?;
    let (rows, c) = (xs.h * xs.w, xs.c);
    let names = variants!("weighted_sums");
    let (partials, cut) = launch_columns(pass, names, kind, (xs.n, rows, c, 1), |to, cut| {
        vec![
            value.into(),
            weights.pixels.into(),
            to.into(),
            rows.into(),
            cut.rows_per_chunk.into(),
            c.into(),
        ]
    })?;
    sum_partials(pass, partials, y, (xs.n, cut.chunks, c), 1.0, false)?;
    let len = xs.n * c;
    let args = [
        y.into(),
        weights.totals.into(),
        len.into(),
        c.into(),
        EPS.into(),
    ];
    pass.launch_elements("region_mean", len, &args)
}

pub(super) fn backward(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let weights = weights(pass, id)?;
    backward_features(pass, id, &weights)?;
    backward_map(pass, id, &weights)
}

fn weights(pass: &mut Pass<'_>, id: NodeId) -> Result<Weights, DeviceError> {
    let map = pass.input(id, 1);
    let (xs, ms) = (pass.shape(pass.input(id, 0)), pass.shape(map));
    let side = RegionPool::new(xs, ms).side();
    let count = xs.pixels() * side;
    let rows = pass.scratch(count);
    let names = variants!("region_rows");
    let (kernel, _) = pass.elements.choose(names, pass.kind(map), ms.c);
    let args = [
        pass.value(map).into(),
        rows.into(),
        count.into(),
        side.into(),
        ms.c.into(),
    ];
    pass.launch_elements(kernel, count, &args)?;
    let pixels = match side {
        1 => rows,
        _ => mean_of_rows(pass, rows, xs, side)?,
    };
    let totals = pass.scratch(xs.n);
    let shape = (xs.n, xs.h * xs.w, 1);
    channel_sums(pass, (pixels, Kind::F32), totals, shape, 1.0, false)?;
    Ok(Weights {
        pixels,
        totals,
        side,
    })
}

fn mean_of_rows(
    pass: &mut Pass<'_>,
    rows: Address,
    xs: Nhwc,
    side: usize,
) -> Result<Address, DeviceError> {
    let weights = pass.scratch(xs.pixels());
    let args = [
        rows.into(),
        weights.into(),
        xs.pixels().into(),
        side.into(),
        xs.w.into(),
    ];
    pass.launch_elements("region_weights", xs.pixels(), &args)?;
    Ok(weights)
}

fn backward_features(pass: &mut Pass<'_>, id: NodeId, weights: &Weights) -> Done {
    let x = pass.input(id, 0);
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let xs = pass.shape(x);
    let args = [
        pass.grad(id).into(),
        weights.pixels.into(),
        weights.totals.into(),
        dx.into(),
        xs.len().into(),
        (xs.h * xs.w).into(),
        xs.c.into(),
        EPS.into(),
        add.into(),
    ];
    pass.launch_like(variants!("region_backward_features"), x, &args)
}

fn backward_map(pass: &mut Pass<'_>, id: NodeId, weights: &Weights) -> Done {
    let (x, map) = (pass.input(id, 0), pass.input(id, 1));
    let Some((dmap, add)) = pass.gradient_to_write(map) else {
        return Ok(());
    };
    let (xs, ms) = (pass.shape(x), pass.shape(map));
    let dots = dots(pass, id)?;
    let products = sum_of_products(pass, weights.pixels, dots, xs)?;
    let args = [
        pass.value(map).into(),
        dots.into(),
        products.into(),
        weights.totals.into(),
        dmap.into(),
        ms.pixels().into(),
        weights.side.into(),
        xs.w.into(),
        (xs.h * xs.w).into(),
        ms.c.into(),
        EPS.into(),
        add.into(),
    ];
    let names = variants!("region_backward_map");
    let (kernel, _) = pass.elements.choose(names, pass.kind(map), ms.c);
    pass.launch_elements(kernel, ms.pixels(), &args)
}

/// `dy · x` at each of the features' pixels.
fn dots(pass: &mut Pass<'_>, id: NodeId) -> Result<Address, DeviceError> {
    let x = pass.input(id, 0);
    let xs = pass.shape(x);
    let dots = pass.scratch(xs.pixels());
    let args = [
        pass.value(x).into(),
        pass.grad(id).into(),
        dots.into(),
        xs.pixels().into(),
        (xs.h * xs.w).into(),
        xs.c.into(),
    ];
    let (kernel, _) = pass
        .elements
        .choose(variants!("region_dots"), pass.kind(x), xs.c);
    pass.launch_elements(kernel, xs.pixels(), &args)?;
    Ok(dots)
}

/// `Σ a b` over the pixels of each image.
fn sum_of_products(
    pass: &mut Pass<'_>,
    a: Address,
    b: Address,
    xs: Nhwc,
) -> Result<Address, DeviceError> {
    let (rows, to) = (xs.h * xs.w, pass.scratch(xs.n));
    let names = variants!("channel_products");
    let shape = (xs.n, rows, 1, 1);
    let (partials, cut) = launch_columns(pass, names, Kind::F32, shape, |partials, cut| {
        vec![
            a.into(),
            b.into(),
            partials.into(),
            rows.into(),
            cut.rows_per_chunk.into(),
            1usize.into(),
        ]
    })?;
    sum_partials(pass, partials, to, (xs.n, cut.chunks, 1), 1.0, false)?;
    Ok(to)
}
