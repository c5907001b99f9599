//! The exact Euclidean distance transform.
//!
//! Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions" (Theory of Computing 2012): the squared
//! distance is separable, and along a line it is the lower envelope of one parabola per sample, which is found in
//! linear time. In pixels, all squared distances are integers that f64 represents exactly, so the result is exact.

use crate::Mask;

impl Mask<'_> {
    /// The squared distance of each pixel, in pixels, to the nearest pixel of the mask: 0 in the mask, infinity
    /// everywhere if it is empty.
    pub fn squared_distances(self) -> Vec<f64> {
        squared_distances(self.height(), self.width(), |i| self.pixels()[i])
    }

    /// The distance of each pixel to the nearest pixel of the mask, given the distances from row to row and from column to
    /// column, both above 0: `[1.0, 1.0]` for a result in pixels.
    pub fn distances(self, spacing: [f64; 2]) -> Vec<f64> {
        let squares =
            spaced_squared_distances(self.height(), self.width(), spacing, |i| self.pixels()[i]);
        squares.into_iter().map(f64::sqrt).collect()
    }
}

/// Like [`Mask::squared_distances`], for the mask of the pixels whose index satisfies `is_set`.
pub(crate) fn squared_distances(
    height: usize,
    width: usize,
    is_set: impl Fn(usize) -> bool,
) -> Vec<f64> {
    spaced_squared_distances(height, width, [1.0, 1.0], is_set)
}

fn spaced_squared_distances(
    height: usize,
    width: usize,
    [rows, columns]: [f64; 2],
    is_set: impl Fn(usize) -> bool,
) -> Vec<f64> {
    let value = |i| if is_set(i) { 0.0 } else { f64::INFINITY };
    let mut squares: Vec<f64> = (0..height * width).map(value).collect();
    let mut envelope = Envelope::default();
    let (mut line, mut out) = (vec![0.0; height], vec![0.0; height]);
    for x in 0..width {
        for (y, value) in line.iter_mut().enumerate() {
            *value = squares[y * width + x];
        }
        envelope.transform(&line, rows, &mut out);
        for (y, value) in out.iter().enumerate() {
            squares[y * width + x] = *value;
        }
    }
    let mut out = vec![0.0; width];
    for row in squares.chunks_exact_mut(width.max(1)) {
        envelope.transform(row, columns, &mut out);
        row.copy_from_slice(&out);
    }
    squares
}

/// The lower envelope of the parabolas `(q − at)² + height`, left to right; kept to reuse its memory.
#[derive(Default)]
struct Envelope {
    parabolas: Vec<Parabola>,
}

struct Parabola {
    at: f64,
    height: f64,
    /// Where it becomes the lowest.
    from: f64,
}

impl Envelope {
    /// `out[q] = min over p of (q − p)²·spacing² + line[p]`.
    fn transform(&mut self, line: &[f64], spacing: f64, out: &mut [f64]) {
        self.parabolas.clear();
        for (at, &height) in line.iter().enumerate().filter(|(_, v)| v.is_finite()) {
            self.push(at as f64 * spacing, height);
        }
        if self.parabolas.is_empty() {
            return out.fill(f64::INFINITY);
        }
        let mut lowest = 0;
        for (q, value) in out.iter_mut().enumerate() {
            let q = q as f64 * spacing;
            while self.parabolas.get(lowest + 1).is_some_and(|p| p.from < q) {
                lowest += 1;
            }
            let p = &self.parabolas[lowest];
            *value = (q - p.at) * (q - p.at) + p.height;
        }
    }

    /// Adds a parabola to the right of all others, which removes those that it intersects before they begin.
    fn push(&mut self, at: f64, height: f64) {
        let mut from = f64::NEG_INFINITY;
        while let Some(last) = self.parabolas.last() {
            let ends = at * at + height - last.at * last.at - last.height;
            from = ends / (2.0 * (at - last.at));
            if from > last.from {
                break;
            }
            self.parabolas.pop();
            from = f64::NEG_INFINITY;
        }
        self.parabolas.push(Parabola { at, height, from });
    }
}
