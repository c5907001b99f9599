//! Depthwise convolution: each channel has its own kernel. Weights are `[kh, kw, c]`; the SIMD runs over channels.
//!
//! A row of the output is computed four pixels × two vectors of channels at a time. The pixels whose windows are
//! entirely inside share one list of taps (offsets of input and weights); those at the border have lists of their own.

mod weight;

use crate::parallel::{Shared, for_each};
use crate::simd::{Kernel, Simd, activate, dispatch};
use crate::{Accumulate, Activation, Epilogue, Nhwc, Window, size};

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

/// The direction in which the window is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Reads `x`, writes `y`.
    Forward,
    /// Reads `dy`, writes `dx`.
    Backward,
}

/// How the positions that are read relate to those that are written, along one axis.
///
/// Written positions fall into classes by their remainder modulo `classes`; the `j`-th of a class reads, through each
/// of the class's taps, position `start + j · step`.
#[derive(Clone, Copy)]
struct Axis {
    direction: Direction,
    kernel: usize,
    stride: usize,
    pad: usize,
    read: usize,
    written: usize,
}

impl Axis {
    fn classes(self) -> usize {
        if self.direction == Direction::Forward {
            1
        } else {
            // Classes beyond the last position are empty.
            self.stride.min(self.written.max(1))
        }
    }

    fn step(self) -> usize {
        if self.direction == Direction::Forward {
            self.stride
        } else {
            1
        }
    }

    /// Where tap `k` of the first position of `class` reads, if the class has that tap; may be negative.
    fn start(self, class: usize, k: usize) -> Option<isize> {
        match self.direction {
            Direction::Forward => Some(k as isize - self.pad as isize),
            Direction::Backward => {
                let at = (class + self.pad) as isize - k as isize;
                let stride = self.stride as isize;
                (at % stride == 0).then_some(at / stride)
            }
        }
    }

    /// Where tap `k` of written position `at` reads, if inside.
    fn source(self, at: usize, k: usize) -> Option<usize> {
        let start = self.start(at % self.classes(), k)?;
        let position = start + (at / self.classes() * self.step()) as isize;
        (position >= 0 && (position as usize) < self.read).then_some(position as usize)
    }

    /// Number of positions in a class.
    fn count(self, class: usize) -> usize {
        (self.written.saturating_sub(class)).div_ceil(self.classes())
    }

    /// The positions of `class` whose taps all read inside.
    fn interior(self, class: usize) -> std::ops::Range<usize> {
        let (mut first, mut end, step) = (0, self.count(class), self.step());
        for start in (0..self.kernel).filter_map(|k| self.start(class, k)) {
            first = first.max(start.min(0).unsigned_abs().div_ceil(step));
            let room = self.read as isize - start;
            end = end.min(if room > 0 {
                (room as usize).div_ceil(step)
            } else {
                0
            });
        }
        let first = first.min(self.count(class));
        first..end.max(first)
    }
}

/// Offsets of the values that a pixel reads and of their weights.
struct Taps {
    list: [(usize, usize); MAX_TAPS],
    len: usize,
}

impl Taps {
    fn new() -> Self {
        Self {
            list: [(0, 0); MAX_TAPS],
            len: 0,
        }
    }

    fn push(&mut self, tap: (usize, usize)) {
        self.list[self.len] = tap;
        self.len += 1;
    }

    fn as_slice(&self) -> &[(usize, usize)] {
        &self.list[..self.len]
    }
}

struct Plan<'a> {
    axes: [Axis; 2],
    n: usize,
    c: usize,
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
    acc: Accumulate,
}

impl Plan<'_> {
    fn run(&self, source: &[f32], w: &[f32], out: &mut [f32]) {
        let [rows, columns] = self.axes;
        assert_eq!(source.len(), self.n * rows.read * columns.read * self.c);
        let out = Shared::new(out);
        for_each(self.n * rows.written, |row| {
            let width = columns.written * self.c;
            // SAFETY: rows are disjoint.
            let out = unsafe { out.part(row * width..(row + 1) * width) };
            let image = &source[row / rows.written * rows.read * columns.read * self.c..];
            dispatch(Row {
                plan: self,
                image,
                w,
                y: row % rows.written,
                out,
            });
        });
    }
}

/// One row of the output.
struct Row<'a> {
    plan: &'a Plan<'a>,
    /// The source, from the image's first pixel.
    image: &'a [f32],
    w: &'a [f32],
    y: usize,
    out: &'a mut [f32],
}

impl Kernel for Row<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (columns, c) = (self.plan.axes[1], self.plan.c);
        // First value and first weight of each row of the kernel that is inside.
        let mut rows = Taps::new();
        for ky in 0..self.plan.axes[0].kernel {
            if let Some(row) = self.plan.axes[0].source(self.y, ky) {
                rows.push((row * columns.read * c, ky * columns.kernel * c));
            }
        }
        for class in 0..columns.classes() {
            let (interior, count) = (columns.interior(class), columns.count(class));
            for j in (0..interior.start).chain(interior.end..count) {
                let taps = self.taps(&rows, class, j);
                self.pixels::<S, 1, 4>(s, &taps, 0, class + j * columns.classes());
            }
            // Inside, the taps of a pixel are those of the first, shifted.
            let taps = self.taps(&rows, class, interior.start);
            let mut j = interior.start;
            while j < interior.end {
                let (shift, x) = (
                    (j - interior.start) * columns.step() * c,
                    class + j * columns.classes(),
                );
                if j + 4 <= interior.end {
                    self.pixels::<S, 4, 2>(s, &taps, shift, x);
                    j += 4;
                } else {
                    self.pixels::<S, 1, 4>(s, &taps, shift, x);
                    j += 1;
                }
            }
        }
    }
}

impl Row<'_> {
    /// The taps that the `j`-th pixel of a class has inside the image.
    fn taps(&self, rows: &Taps, class: usize, j: usize) -> Taps {
        let (columns, c, mut taps) = (self.plan.axes[1], self.plan.c, Taps::new());
        for kx in 0..columns.kernel {
            let Some(start) = columns.start(class, kx) else {
                continue;
            };
            // A negative position wraps to a huge unsigned one.
            let column = start.wrapping_add_unsigned(j * columns.step()) as usize;
            if column < columns.read {
                for &(value, weight) in rows.as_slice() {
                    taps.push((value + column * c, weight + kx * c));
                }
            }
        }
        taps
    }

    /// Pixels `x, x + classes, …` (`P` of them), the first of which reads at `taps` shifted by `shift`;
    /// `V` vectors of channels at a time, so that there are enough independent sums to hide latency.
    #[inline(always)]
    fn pixels<S: Simd, const P: usize, const V: usize>(
        &mut self,
        s: S,
        taps: &Taps,
        shift: usize,
        x: usize,
    ) {
        let (columns, c) = (self.plan.axes[1], self.plan.c);
        let (read_step, write_step) = (columns.step() * c, columns.classes() * c);
        let last = shift + (P - 1) * read_step + c;
        for (from, _) in taps.as_slice() {
            assert!(from + last <= self.image.len(), "a tap beyond the image");
        }
        assert!(
            x * c + (P - 1) * write_step + c <= self.out.len(),
            "a pixel beyond the row"
        );
        let (mut at, write) = (0, [x * c, write_step]);
        // SAFETY: checked above for every tap and pixel.
        unsafe {
            while at + V * S::LANES <= c {
                self.vectors::<S, P, V>(s, taps, [shift, read_step], write, at, s.mask(S::LANES));
                at += V * S::LANES;
            }
            while at < c {
                self.vectors::<S, P, 1>(s, taps, [shift, read_step], write, at, s.mask(c - at));
                at += S::LANES;
            }
        }
    }

    /// `V` vectors of channels from `at`, cut by `mask`. `read` and `write` are `[offset of the first pixel, step]`.
    ///
    /// # Safety
    /// Every tap of every pixel is in the image and every pixel in the row, up to the last channel of `mask`.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const P: usize, const V: usize>(
        &mut self,
        s: S,
        taps: &Taps,
        read: [usize; 2],
        write: [usize; 2],
        at: usize,
        mask: S::Mask,
    ) {
        let mut acc = [[s.splat(0.0); V]; P];
        for &(from, weight) in taps.as_slice() {
            for v in 0..V {
                let at = at + v * S::LANES;
                // SAFETY: the caller guarantees the pixels; `w` has `c` weights per tap.
                unsafe {
                    let weight = s.load(self.w.as_ptr().add(weight + at), mask);
                    let from = self.image.as_ptr().add(from + read[0] + at);
                    for (p, acc) in acc.iter_mut().enumerate() {
                        acc[v] = s.mul_add(s.load(from.add(p * read[1]), mask), weight, acc[v]);
                    }
                }
            }
        }
        for (p, acc) in acc.iter().enumerate() {
            for (v, sum) in acc.iter().enumerate() {
                let at = at + v * S::LANES;
                // SAFETY: the caller guarantees the pixel; the bias has `c` values.
                unsafe { self.finish(s, *sum, at, mask, write[0] + p * write[1] + at) };
            }
        }
    }

    /// # Safety
    /// `mask` ends with the channels at `at` of the bias and at `to` of the row.
    #[inline(always)]
    unsafe fn finish<S: Simd>(
        &mut self,
        s: S,
        mut value: S::V,
        at: usize,
        mask: S::Mask,
        to: usize,
    ) {
        // SAFETY: the caller guarantees both.
        unsafe {
            let to = self.out.as_mut_ptr().add(to);
            if let Some(bias) = self.plan.bias {
                value = s.add(value, s.load(bias.as_ptr().add(at), mask));
            }
            if self.plan.acc == Accumulate::Add {
                value = s.add(value, s.load(to, mask));
            }
            s.store(to, mask, activate(s, self.plan.activation, value));
        }
    }
}
