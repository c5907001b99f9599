//! Elastic deformation: a coarse grid of displacements, and its interpolation at each pixel.

use crate::Raster;

/// Displacements on a square grid over the image, whose corner points are at the centres of the corner pixels.
///
/// In between, they are interpolated by bicubic convolution (Keys 1981, with PyTorch's and OpenCV's `a = −0.75`; beyond
/// the grid its edge is repeated). Ronneberger 2015: 3×3 points, 10 pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Warp {
    /// Points along each side, at least 2.
    pub grid: usize,
    /// `grid · grid` displacements to the right and down, row by row, in pixels of the image.
    pub shifts: Vec<[f64; 2]>,
}

/// Four neighbouring grid points and their weights.
#[derive(Debug, Clone, Copy)]
struct Taps {
    points: [usize; 4],
    shares: [f64; 4],
}

/// A warp at the resolution of one raster.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    grid: usize,
    /// In pixels of the raster.
    shifts: Vec<[f64; 2]>,
    columns: Vec<Taps>,
    rows: Vec<Taps>,
}

impl Warp {
    /// Whether it can be applied: enough points, with a displacement for each.
    fn is_sound(&self) -> bool {
        self.grid >= 2 && self.grid.checked_mul(self.grid) == Some(self.shifts.len())
    }

    /// The root mean square of the displacements along an axis, in pixels.
    pub(crate) fn strength(&self) -> f64 {
        let squares: f64 = self.shifts.iter().flatten().map(|v| v * v).sum();
        (squares / (2 * self.shifts.len()).max(1) as f64).sqrt()
    }

    /// The warp over `raster`, where `image` is the height and width of the image whose pixels the displacements are
    /// measured in; `None` for an unsound warp, which may have been written by hand.
    pub(crate) fn over(&self, image: (usize, usize), raster: &Raster) -> Option<Field> {
        if !self.is_sound() || image.0 * image.1 == 0 {
            return None;
        }
        let scale = |to: usize, from: usize| to as f64 / from as f64;
        let [right, down] = [scale(raster.width, image.1), scale(raster.height, image.0)];
        let shifts = self.shifts.iter().map(|[x, y]| [x * right, y * down]);
        Some(Field {
            grid: self.grid,
            shifts: shifts.collect(),
            columns: axis(self.grid, image.1, raster.width),
            rows: axis(self.grid, image.0, raster.height),
        })
    }
}

impl Field {
    /// Interpolates the grid's rows at the raster's row `y`: one displacement per grid column, written to `line`.
    pub(crate) fn line(&self, y: usize, line: &mut Vec<[f64; 2]>) {
        let taps = &self.rows[y];
        line.clear();
        line.extend((0..self.grid).map(|x| taps.blend(|row| self.shifts[row * self.grid + x])));
    }

    /// The displacement at column `x` of a row that [`Self::line`] has interpolated.
    #[inline]
    pub(crate) fn at(&self, x: usize, line: &[[f64; 2]]) -> [f64; 2] {
        self.columns[x].blend(|column| line[column])
    }
}

impl Taps {
    #[inline]
    fn blend(&self, value: impl Fn(usize) -> [f64; 2]) -> [f64; 2] {
        let mut sum = [0.0; 2];
        for (point, share) in self.points.iter().zip(self.shares) {
            let [x, y] = value(*point);
            sum = [sum[0] + share * x, sum[1] + share * y];
        }
        sum
    }
}

/// The taps of each of `len` pixels, which cover the same extent as the `image` pixels of the image.
fn axis(grid: usize, image: usize, len: usize) -> Vec<Taps> {
    let last = (image - 1) as f64;
    let taps = |i: usize| {
        // A pixel's centre in pixels of the image; a finer mask reaches up to half a pixel beyond the grid.
        let centre = (i as f64 + 0.5) * image as f64 / len as f64 - 0.5;
        let share = if last > 0.0 { centre / last } else { 0.0 };
        taps(grid, share.clamp(0.0, 1.0) * (grid - 1) as f64)
    };
    (0..len).map(taps).collect()
}

fn taps(grid: usize, at: f64) -> Taps {
    let first = at.floor();
    let points = [-1.0, 0.0, 1.0, 2.0].map(|k| (first + k).clamp(0.0, (grid - 1) as f64) as usize);
    Taps {
        points,
        shares: cubic(at - first),
    }
}

/// The weights of the points at −1, 0, 1 and 2 for a point at `t` between 0 and 1.
fn cubic(t: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}
