//! The one resampling pass: bilinear for images, nearest for masks.

use crate::affine::{Affine, ONE, Walk, split};
use crate::{Fill, Raster};

/// Replaces `image` by what `map` shows of it, interpolated between the four pixels around each point.
pub(crate) fn bilinear(image: &mut Raster, map: &Affine, fill: Fill, scratch: &mut Vec<f32>) {
    match image.channels {
        1 => resample(image, map, fill, scratch, &Bilinear::<1, 1>),
        // Four lanes for three channels: one SIMD register, whose last lane is thrown away.
        3 => resample(image, map, fill, scratch, &Bilinear::<3, 4>),
        4 => resample(image, map, fill, scratch, &Bilinear::<4, 4>),
        _ => resample(image, map, fill, scratch, &AnyChannels),
    }
}

/// Replaces `mask` by what `map` shows of it, the nearest pixel to each point: no new value appears.
pub(crate) fn nearest(mask: &mut Raster, map: &Affine, fill: Fill, scratch: &mut Vec<f32>) {
    resample(mask, map, fill, scratch, &Nearest);
}

/// How a row of output is made of points of the source.
trait Sampler {
    /// How many columns and rows of the source, counted from the far edge, need care beyond the last
    /// point's own pixel; none where there is no fast path.
    fn margin(&self) -> Option<(i64, i64)>;

    /// Added to every point before it is split into pixel and fraction.
    fn offset(&self) -> i64;

    /// Fills `out` with points that all lie inside the margin.
    fn inside(&self, source: &Raster, walk: Walk, out: &mut [f32]);

    /// Fills the pixel `out` with a point anywhere.
    fn anywhere(&self, source: &Raster, fill: Fill, at: Walk, out: &mut [f32]);
}

/// Runs `sampler` over all rows: the span inside the source on the fast path, its two ends point by point.
fn resample(
    raster: &mut Raster,
    map: &Affine,
    fill: Fill,
    scratch: &mut Vec<f32>,
    sampler: &impl Sampler,
) {
    if raster.data.is_empty() {
        return;
    }
    scratch.resize(raster.data.len(), 0.0);
    let (width, height) = (raster.width as i64, raster.height as i64);
    let limits = sampler
        .margin()
        .map_or((0, 0), |(x, y)| (width - x, height - y));
    for (y, row) in scratch.chunks_exact_mut(raster.stride()).enumerate() {
        let mut walk = map.row(y);
        walk.x += sampler.offset();
        walk.y += sampler.offset();
        let span = walk.span(raster.width, limits.0, limits.1);
        let (before, rest) = row.split_at_mut(span.start * raster.channels);
        let (inside, after) = rest.split_at_mut(span.len() * raster.channels);
        at_edge(raster, fill, walk, before, sampler);
        sampler.inside(raster, walk.ahead(span.start), inside);
        at_edge(raster, fill, walk.ahead(span.end), after, sampler);
    }
    std::mem::swap(&mut raster.data, scratch);
}

fn at_edge(source: &Raster, fill: Fill, mut at: Walk, out: &mut [f32], sampler: &impl Sampler) {
    for pixel in out.chunks_exact_mut(source.channels) {
        sampler.anywhere(source, fill, at, pixel);
        at = at.ahead(1);
    }
}

/// Bilinear over `C` channels in `L ≥ C` lanes.
struct Bilinear<const C: usize, const L: usize>;

impl<const C: usize, const L: usize> Sampler for Bilinear<C, L> {
    /// The neighbour to the right and below, and one column more where lanes read past the neighbour.
    fn margin(&self) -> Option<(i64, i64)> {
        Some((if L > C { 2 } else { 1 }, 1))
    }

    fn offset(&self) -> i64 {
        0
    }

    fn inside(&self, source: &Raster, mut at: Walk, out: &mut [f32]) {
        let stride = source.stride();
        for pixel in out.chunks_exact_mut(C) {
            let ((x, fx), (y, fy)) = (split(at.x), split(at.y));
            let first = y as usize * stride + x as usize * C;
            let upper = &source.data[first..first + C + L];
            let lower = &source.data[first + stride..first + stride + C + L];
            let upper = lerp::<L>(lanes(upper), lanes(&upper[C..]), fx);
            let lower = lerp::<L>(lanes(lower), lanes(&lower[C..]), fx);
            pixel.copy_from_slice(&lerp(upper, lower, fy)[..C]);
            at = Walk {
                x: at.x + at.dx,
                y: at.y + at.dy,
                ..at
            };
        }
    }

    fn anywhere(&self, source: &Raster, fill: Fill, at: Walk, out: &mut [f32]) {
        bilinear_anywhere(source, fill, at, out);
    }
}

/// Bilinear over any number of channels, without a fast path.
struct AnyChannels;

impl Sampler for AnyChannels {
    fn margin(&self) -> Option<(i64, i64)> {
        None
    }

    fn offset(&self) -> i64 {
        0
    }

    fn inside(&self, _: &Raster, _: Walk, _: &mut [f32]) {}

    fn anywhere(&self, source: &Raster, fill: Fill, at: Walk, out: &mut [f32]) {
        bilinear_anywhere(source, fill, at, out);
    }
}

/// The nearest pixel.
struct Nearest;

impl Sampler for Nearest {
    fn margin(&self) -> Option<(i64, i64)> {
        Some((0, 0))
    }

    /// Half a pixel, so that taking the whole part rounds.
    fn offset(&self) -> i64 {
        ONE / 2
    }

    fn inside(&self, source: &Raster, mut at: Walk, out: &mut [f32]) {
        let (stride, channels) = (source.stride(), source.channels);
        for pixel in out.chunks_exact_mut(channels) {
            let first = (at.y >> 32) as usize * stride + (at.x >> 32) as usize * channels;
            pixel.copy_from_slice(&source.data[first..first + channels]);
            at = Walk {
                x: at.x + at.dx,
                y: at.y + at.dy,
                ..at
            };
        }
    }

    fn anywhere(&self, source: &Raster, fill: Fill, at: Walk, out: &mut [f32]) {
        let (column, row) = (
            fill.index(at.x >> 32, source.width),
            fill.index(at.y >> 32, source.height),
        );
        for (channel, value) in out.iter_mut().enumerate() {
            *value = tap(source, fill, row, column, channel);
        }
    }
}

/// The slow path, which the fast ones must equal to the bit: the same lerps in the same order.
fn bilinear_anywhere(source: &Raster, fill: Fill, at: Walk, out: &mut [f32]) {
    let ((x, fx), (y, fy)) = (split(at.x), split(at.y));
    let columns = [x, x + 1].map(|x| fill.index(x, source.width));
    let rows = [y, y + 1].map(|y| fill.index(y, source.height));
    if columns == [None, None] || rows == [None, None] {
        out.fill(fill.value());
        return;
    }
    for (channel, value) in out.iter_mut().enumerate() {
        let [upper, lower] = rows.map(|row| {
            let [left, right] = columns.map(|column| [tap(source, fill, row, column, channel)]);
            lerp(left, right, fx)
        });
        [*value] = lerp(upper, lower, fy);
    }
}

/// One value of the source, or the constant around it.
#[inline]
fn tap(
    source: &Raster,
    fill: Fill,
    row: Option<usize>,
    column: Option<usize>,
    channel: usize,
) -> f32 {
    match (row, column) {
        (Some(row), Some(column)) => {
            source.data[row * source.stride() + column * source.channels + channel]
        }
        _ => fill.value(),
    }
}

/// The first `L` values.
#[inline(always)]
fn lanes<const L: usize>(values: &[f32]) -> [f32; L] {
    let mut lanes = [0.0; L];
    lanes.copy_from_slice(&values[..L]);
    lanes
}

/// From `a` towards `b`. In this form equal ends, and a share of 0, give `a` exactly.
#[inline(always)]
fn lerp<const L: usize>(a: [f32; L], b: [f32; L], share: f32) -> [f32; L] {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share)
}
