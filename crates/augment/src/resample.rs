//! The single resampling pass: bilinear for images, nearest for masks.

use crate::affine::{Affine, ONE, Walk, split, standing};
use crate::warp::Field;
use crate::{Fill, Raster};

/// Maps an output pixel to its source point: it is displaced by the field, if there is one, and then mapped affinely.
pub(crate) struct SourceMap {
    pub(crate) affine: Affine,
    pub(crate) field: Option<Field>,
}

/// Resamples `image` through `map` to `size` (height, width), interpolating between the four pixels around each source
/// point.
pub(crate) fn bilinear(
    image: &mut Raster,
    map: &SourceMap,
    fill: Fill,
    size: (usize, usize),
    scratch: &mut Vec<f32>,
) {
    match image.channels {
        1 => resample::<Bilinear<1, 1>>(image, map, fill, size, scratch),
        // Four lanes for three channels: one SIMD register, whose last lane is discarded.
        3 => resample::<Bilinear<3, 4>>(image, map, fill, size, scratch),
        4 => resample::<Bilinear<4, 4>>(image, map, fill, size, scratch),
        _ => resample::<AnyChannels>(image, map, fill, size, scratch),
    }
}

/// Resamples `mask` through `map`, taking the pixel nearest to each source point: no new values appear.
pub(crate) fn nearest(mask: &mut Raster, map: &SourceMap, fill: Fill, scratch: &mut Vec<f32>) {
    let size = (mask.height, mask.width);
    resample::<Nearest>(mask, map, fill, size, scratch);
}

/// How a point of the source becomes a pixel.
trait Sampler {
    /// Added to every point before it is split into pixel and fraction.
    const OFFSET: i64;
    /// Columns and rows at the source's far edge that the fast path does not handle; `None` if there is no fast path.
    const MARGIN: Option<(i64, i64)>;
    /// Output pixels after its last that the fast path may overwrite.
    const OVERRUN: usize;

    /// The fast path: fills the first `count` pixels of `out` from points that are all inside the margin.
    fn inside(source: &Raster, walk: Walk, count: usize, out: &mut [f32]);

    /// The slow path: fills the pixel `out` from any point.
    fn anywhere(source: &Raster, fill: Fill, at: Walk, out: &mut [f32]);
}

/// Replaces the raster by a sampler's output at `size`.
fn resample<S: Sampler>(
    raster: &mut Raster,
    map: &SourceMap,
    fill: Fill,
    (height, width): (usize, usize),
    scratch: &mut Vec<f32>,
) {
    if raster.data.is_empty() {
        return;
    }
    scratch.resize(height * width * raster.channels, 0.0);
    match &map.field {
        None => straight::<S>(raster, &map.affine, fill, width, scratch),
        Some(field) => bent::<S>(raster, &map.affine, field, fill, width, scratch),
    }
    std::mem::swap(&mut raster.data, scratch);
    (raster.height, raster.width) = (height, width);
}

/// The limits of the fast path, in pixels.
fn limits<S: Sampler>(raster: &Raster) -> (i64, i64) {
    S::MARGIN.map_or((0, 0), |(x, y)| {
        (raster.width as i64 - x, raster.height as i64 - y)
    })
}

/// Runs a sampler over all rows: the span inside the source on the fast path, the two ends of the row point by point.
fn straight<S: Sampler>(raster: &Raster, map: &Affine, fill: Fill, width: usize, out: &mut [f32]) {
    let (channels, limits) = (raster.channels, limits::<S>(raster));
    for (y, row) in out.chunks_exact_mut(width * channels).enumerate() {
        let mut walk = map.row(y);
        (walk.x, walk.y) = (walk.x + S::OFFSET, walk.y + S::OFFSET);
        let span = walk.span(width - S::OVERRUN, limits.0, limits.1);
        let (before, rest) = row.split_at_mut(span.start * channels);
        at_edge::<S>(raster, fill, walk, before);
        S::inside(raster, walk.ahead(span.start), span.len(), rest);
        at_edge::<S>(
            raster,
            fill,
            walk.ahead(span.end),
            &mut rest[span.len() * channels..],
        );
    }
}

/// Runs a sampler over all pixels, each on the fast path if its point allows it.
fn bent<S: Sampler>(
    raster: &Raster,
    map: &Affine,
    field: &Field,
    fill: Fill,
    width: usize,
    out: &mut [f32],
) {
    let (channels, limits) = (raster.channels, limits::<S>(raster));
    let mut line = Vec::new();
    for (y, row) in out.chunks_exact_mut(width * channels).enumerate() {
        field.line(y, &mut line);
        for x in 0..width {
            let [right, down] = field.at(x, &line);
            let (at_x, at_y) = map.source(x as f64 + right, y as f64 + down);
            let mut at = standing(at_x, at_y);
            (at.x, at.y) = (at.x + S::OFFSET, at.y + S::OFFSET);
            let pixel = &mut row[x * channels..];
            if x < width - S::OVERRUN && at.is_inside(limits.0, limits.1) {
                S::inside(raster, at, 1, pixel);
            } else {
                S::anywhere(raster, fill, at, &mut pixel[..channels]);
            }
        }
    }
}

fn at_edge<S: Sampler>(source: &Raster, fill: Fill, mut at: Walk, out: &mut [f32]) {
    for pixel in out.chunks_exact_mut(source.channels) {
        S::anywhere(source, fill, at, pixel);
        at = at.ahead(1);
    }
}

/// Bilinear over `C` channels in `L` lanes, `C ≤ L ≤ 2·C`.
struct Bilinear<const C: usize, const L: usize>;

impl<const C: usize, const L: usize> Sampler for Bilinear<C, L> {
    const OFFSET: i64 = 0;
    /// The neighbours to the right and below, and one more column if spare lanes read past the neighbour.
    const MARGIN: Option<(i64, i64)> = Some((if L > C { 2 } else { 1 }, 1));
    /// Spare lanes write to the next pixel, which is overwritten afterwards.
    const OVERRUN: usize = if L > C { 1 } else { 0 };

    fn inside(source: &Raster, mut at: Walk, count: usize, out: &mut [f32]) {
        let stride = source.stride();
        for pixel in 0..count {
            let ((x, fx), (y, fy)) = (split(at.x), split(at.y));
            let first = y as usize * stride + x as usize * C;
            let upper = &source.data[first..first + C + L];
            let lower = &source.data[first + stride..first + stride + C + L];
            let upper = lerp::<L>(lanes(upper), lanes(&upper[C..]), fx);
            let lower = lerp::<L>(lanes(lower), lanes(&lower[C..]), fx);
            out[pixel * C..pixel * C + L].copy_from_slice(&lerp(upper, lower, fy));
            at = Walk {
                x: at.x + at.dx,
                y: at.y + at.dy,
                ..at
            };
        }
    }

    fn anywhere(source: &Raster, fill: Fill, at: Walk, out: &mut [f32]) {
        bilinear_anywhere(source, fill, at, out);
    }
}

/// Bilinear over any number of channels, without a fast path.
struct AnyChannels;

impl Sampler for AnyChannels {
    const OFFSET: i64 = 0;
    const MARGIN: Option<(i64, i64)> = None;
    const OVERRUN: usize = 0;

    fn inside(_: &Raster, _: Walk, _: usize, _: &mut [f32]) {}

    fn anywhere(source: &Raster, fill: Fill, at: Walk, out: &mut [f32]) {
        bilinear_anywhere(source, fill, at, out);
    }
}

/// The nearest pixel.
struct Nearest;

impl Sampler for Nearest {
    /// Half a pixel, so that truncation rounds to nearest.
    const OFFSET: i64 = ONE / 2;
    const MARGIN: Option<(i64, i64)> = Some((0, 0));
    const OVERRUN: usize = 0;

    fn inside(source: &Raster, mut at: Walk, count: usize, out: &mut [f32]) {
        let (stride, channels) = (source.stride(), source.channels);
        for pixel in out.chunks_exact_mut(channels).take(count) {
            let first = (at.y >> 32) as usize * stride + (at.x >> 32) as usize * channels;
            pixel.copy_from_slice(&source.data[first..first + channels]);
            at = Walk {
                x: at.x + at.dx,
                y: at.y + at.dy,
                ..at
            };
        }
    }

    fn anywhere(source: &Raster, fill: Fill, at: Walk, out: &mut [f32]) {
        let (column, row) = (
            fill.index(at.x >> 32, source.width),
            fill.index(at.y >> 32, source.height),
        );
        match tap(source, row, column) {
            Some(first) => out.copy_from_slice(&source.data[first..first + source.channels]),
            None => out.fill(fill.value()),
        }
    }
}

/// The slow path. The fast paths do the same lerps in the same order and agree with it to the bit.
fn bilinear_anywhere(source: &Raster, fill: Fill, at: Walk, out: &mut [f32]) {
    let ((x, fx), (y, fy)) = (split(at.x), split(at.y));
    let (left, right) = (fill.index(x, source.width), fill.index(x + 1, source.width));
    let (upper, lower) = (
        fill.index(y, source.height),
        fill.index(y + 1, source.height),
    );
    let corners = [(upper, left), (upper, right), (lower, left), (lower, right)];
    let [a, b, c, d] = corners.map(|(row, column)| tap(source, row, column));
    if [a, b, c, d] == [None; 4] {
        return out.fill(fill.value());
    }
    for (channel, value) in out.iter_mut().enumerate() {
        let at = |first: Option<usize>| {
            [first.map_or(fill.value(), |first| source.data[first + channel])]
        };
        [*value] = lerp(lerp(at(a), at(b), fx), lerp(at(c), at(d), fx), fy);
    }
}

/// Where a pixel's values start; `None` where the constant fill is shown.
#[inline(always)]
fn tap(source: &Raster, row: Option<usize>, column: Option<usize>) -> Option<usize> {
    Some((row? * source.width + column?) * source.channels)
}

/// The first `L` values.
#[inline(always)]
fn lanes<const L: usize>(values: &[f32]) -> [f32; L] {
    let mut lanes = [0.0; L];
    lanes.copy_from_slice(&values[..L]);
    lanes
}

/// Interpolates from `a` to `b`. In this form equal ends, and a `share` of 0, give `a` exactly.
#[inline(always)]
fn lerp<const L: usize>(a: [f32; L], b: [f32; L], share: f32) -> [f32; L] {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share)
}
