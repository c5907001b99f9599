//! Depthwise convolution: each channel has its own kernel. Weights are `[kh, kw, c]`; the SIMD runs over channels.
//!
//! `tile` computes the output and the input's gradient, `weight` the weights'; `axis` has the positions that they read.

mod axis;
mod tile;
mod weight;

use crate::parallel::{Shared, for_each, part};
use crate::simd::Element;
use crate::{Accumulate, Activation, Epilogue, Nhwc, Window, size};
use axis::{Axis, Direction};
use tile::Task;

pub use weight::{backward_weight, backward_weight_scratch};

/// Maximum number of taps of a kernel: 11 × 11.
pub const MAX_TAPS: usize = 121;

/// `y = act(depthwise(x, w) + bias)`; `y` has shape `window.output(xs, xs.c)`.
pub fn forward(
    x: &[f32],
    xs: Nhwc,
    w: &[f32],
    window: Window,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    run_forward(x, xs, w, window, epilogue, y);
}

/// [`forward`], for any element.
pub(crate) fn run_forward<T: Element>(
    x: &[T],
    xs: Nhwc,
    w: &[f32],
    window: Window,
    epilogue: Epilogue<'_>,
    y: &mut [T],
) {
    let ys = check("depthwise::forward", x.len(), xs, w.len(), window, y.len());
    let Epilogue { bias, activation } = epilogue;
    assert!(
        bias.is_none_or(|bias| bias.len() == xs.c),
        "depthwise::forward: length of the bias"
    );
    let axes = axes(xs, ys, window, Direction::Forward);
    Plan {
        axes,
        n: xs.n,
        c: xs.c,
        bias,
        activation,
        acc: Accumulate::Replace,
    }
    .run(x, w, y);
}

/// Gradient with respect to `x`.
pub fn backward_input(
    dy: &[f32],
    w: &[f32],
    xs: Nhwc,
    window: Window,
    dx: &mut [f32],
    acc: Accumulate,
) {
    let ys = check(
        "depthwise::backward_input",
        dx.len(),
        xs,
        w.len(),
        window,
        dy.len(),
    );
    let axes = axes(xs, ys, window, Direction::Backward);
    Plan {
        axes,
        n: xs.n,
        c: xs.c,
        bias: None,
        activation: None,
        acc,
    }
    .run(dy, w, dx);
}

fn axes(xs: Nhwc, ys: Nhwc, window: Window, direction: Direction) -> [Axis; 2] {
    [(0, xs.h, ys.h), (1, xs.w, ys.w)].map(|(axis, x, y)| {
        let (read, written) = if direction == Direction::Forward {
            (x, y)
        } else {
            (y, x)
        };
        let (kernel, pad) = (window.kernel[axis], window.pad_before(axis, x));
        Axis {
            direction,
            kernel,
            stride: window.stride,
            pad,
            read,
            written,
        }
    })
}

fn check(name: &str, x: usize, xs: Nhwc, w: usize, window: Window, y: usize) -> Nhwc {
    let ys = window.fitted(xs, xs.c);
    assert_eq!(x, xs.len(), "{name}: length of x for {xs:?}");
    assert_eq!(y, ys.len(), "{name}: length of y for {ys:?}");
    assert_eq!(
        w,
        size([window.taps(), xs.c]),
        "{name}: length of w for {window:?}"
    );
    assert!(
        window.taps() <= MAX_TAPS,
        "{name}: {window:?} has more than {MAX_TAPS} taps"
    );
    ys
}

/// Repeats `body` with each column of the widest tile as a literal: a loop with so many conditions is not unrolled, and
/// the sums would stay in memory.
macro_rules! for_columns {
    (|$i:ident| $body:block) => {
        for_columns!($i $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18)
    };
    ($i:ident $body:block $($column:literal)*) => {
        $({
            let $i: usize = $column;
            $body
        })*
    };
}
use for_columns;

/// Channels of a task, so that the weights and the rows that it reads stay in the caches.
const CHANNELS: usize = 512;
/// Values that a task writes, unless there are then too few tasks.
const VALUES: usize = 16 * 1024;
/// Target number of tasks, so that a few cores get equal shares.
const TASKS: usize = 16;

struct Plan<'a> {
    axes: [Axis; 2],
    n: usize,
    c: usize,
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
    acc: Accumulate,
}

impl Plan<'_> {
    fn run<T: Element>(&self, source: &[T], w: &[f32], out: &mut [T]) {
        let [rows, columns] = self.axes;
        assert_eq!(source.len(), self.n * rows.read * columns.read * self.c);
        assert_eq!(out.len(), self.n * rows.written * columns.written * self.c);
        let (blocks, bands) = self.tasks();
        let out = Shared::new(out);
        for_each(bands * blocks, |task| {
            let sixteens = part(self.c.div_ceil(16), blocks, task % blocks);
            T::dispatch(Task {
                plan: self,
                source,
                w,
                rows: part(self.n * rows.written, bands, task / blocks),
                channels: sixteens.start * 16..(sixteens.end * 16).min(self.c),
                out,
            });
        });
    }

    /// Numbers of blocks of channels and of bands of rows; a task is a pair of them.
    fn tasks(&self) -> (usize, usize) {
        let [rows, columns] = self.axes;
        let blocks = self.c.div_ceil(CHANNELS).max(1);
        let row = (columns.written * self.c / blocks).max(1);
        let bands = (self.n * rows.written).div_ceil((VALUES / row).max(1));
        (
            blocks,
            bands.max(TASKS.div_ceil(blocks)).min(self.n * rows.written),
        )
    }
}
