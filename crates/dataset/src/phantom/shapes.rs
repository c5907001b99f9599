//! Soft-edged shapes and smooth noise in the plane; x and y in [-1, 1], y downwards.

use random::hash;

/// A point; the viewer's right and down are positive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// 0 below `from`, 1 above `to` (reversed if `from` > `to`), smooth between.
pub(super) fn smoothstep(from: f64, to: f64, value: f64) -> f64 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// An ellipse with half axes `a`, `b`, rotated by `angle` radians.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ellipse {
    pub(super) centre: Point,
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) angle: f64,
}

impl Ellipse {
    /// 0 at the centre, 1 on the outline.
    pub(super) fn radius(&self, p: Point) -> f64 {
        let (sin, cos) = self.angle.sin_cos();
        let (dx, dy) = (p.x - self.centre.x, p.y - self.centre.y);
        let (u, v) = (
            (dx * cos + dy * sin) / self.a,
            (dy * cos - dx * sin) / self.b,
        );
        u.hypot(v)
    }
}

/// A straight stroke with round ends, tapering.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub(super) from: Point,
    pub(super) to: Point,
    /// Half width at either end.
    pub(super) width: [f64; 2],
}

impl Stroke {
    /// 1 on the stroke, 0 outside it, with an edge of half width `soft`.
    pub(super) fn cover(&self, p: Point, soft: f64) -> f64 {
        if !self.is_near(p, self.width[0].max(self.width[1]) + soft) {
            return 0.0;
        }
        let (dx, dy) = (self.to.x - self.from.x, self.to.y - self.from.y);
        let (px, py) = (p.x - self.from.x, p.y - self.from.y);
        let t = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-12)).clamp(0.0, 1.0);
        let distance = (px - t * dx).hypot(py - t * dy);
        let half = self.width[0] + t * (self.width[1] - self.width[0]);
        if distance > half + soft {
            return 0.0;
        }
        // A stroke thinner than a pixel becomes fainter instead of vanishing.
        (half / soft).min(1.0) * smoothstep(half + soft, half - soft, distance)
    }

    /// A quick test, without which nearly all of the painting time went to distant strokes.
    fn is_near(&self, p: Point, reach: f64) -> bool {
        let between = |p: f64, a: f64, b: f64| p > a.min(b) - reach && p < a.max(b) + reach;
        between(p.x, self.from.x, self.to.x) && between(p.y, self.from.y, self.to.y)
    }
}

/// Value noise: random values on a lattice of `scale` cells per unit, smooth between; in [-1, 1].
pub(super) fn noise(seed: u64, scale: f64, p: Point) -> f64 {
    let (x, y) = (p.x * scale, p.y * scale);
    let (x0, y0) = (x.floor(), y.floor());
    let (u, v) = (smoothstep(0.0, 1.0, x - x0), smoothstep(0.0, 1.0, y - y0));
    let at = |dx: f64, dy: f64| {
        let word = hash(seed, &[(x0 + dx) as i64 as u64, (y0 + dy) as i64 as u64]);
        (word >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    let mix = |a: f64, b: f64, t: f64| a + t * (b - a);
    mix(
        mix(at(0.0, 0.0), at(1.0, 0.0), u),
        mix(at(0.0, 1.0), at(1.0, 1.0), u),
        v,
    )
}
