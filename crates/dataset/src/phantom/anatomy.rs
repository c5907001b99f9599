//! One patient's anatomy as X-ray attenuation: the frontal view of a young child, arms at the sides
//! or raised. Sizes are in half image widths and were chosen by eye, not measured.

use random::Rng;

use super::shapes::{Ellipse, Point, Stroke, noise, smoothstep};

/// A patient's body; the same in all their images.
#[derive(Debug)]
pub(super) struct Anatomy {
    trunk: f64,
    shoulder: f64,
    lungs: [Lung; 2],
    heart: Ellipse,
    mediastinum: f64,
    spine: f64,
    ribs: Ribs,
    clavicle: f64,
    arms: [Stroke; 2],
    vessels: Vec<Stroke>,
    vessel_gain: f64,
    stomach: Ellipse,
    tissue: u64,
}

/// A lung's outline; x runs outwards from the midline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lung {
    top: f64,
    /// Top of the diaphragm's dome.
    dome: f64,
    inner: f64,
    outer: f64,
}

#[derive(Debug)]
struct Ribs {
    first: f64,
    spacing: f64,
    sag: f64,
    half: f64,
    contrast: f64,
}

impl Anatomy {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let trunk = rng.range(0.76, 0.92);
        let top = rng.range(-0.74, -0.64);
        let right_dome = rng.range(0.34, 0.50);
        let outer = trunk * rng.range(0.80, 0.86);
        let lung = |dome: f64| Lung {
            top,
            dome,
            inner: 0.085,
            outer,
        };
        let lungs = [lung(right_dome), lung(right_dome + rng.range(0.01, 0.08))];
        let (vessels, vessel_gain) = (vessels(rng, &lungs), rng.range(0.6, 1.5));
        Self {
            trunk,
            shoulder: rng.range(-0.66, -0.54),
            lungs,
            heart: heart(rng, right_dome),
            mediastinum: rng.range(0.10, 0.17),
            spine: rng.range(0.07, 0.095),
            ribs: ribs(rng, top),
            clavicle: top + rng.range(0.04, 0.12),
            arms: arms(rng, trunk),
            vessels,
            vessel_gain,
            stomach: stomach(rng, right_dome),
            tissue: rng.next_u64(),
        }
    }

    /// Viewer's left (0) or right (1) lung.
    pub(super) fn lung(&self, side: usize) -> Lung {
        self.lungs[side]
    }

    /// Depth inside a lung, positive inside; `breath` lowers the diaphragm.
    pub(super) fn lung_depth(&self, p: Point, breath: f64) -> f64 {
        self.lungs[usize::from(p.x > 0.0)].depth(p, breath)
    }

    /// Attenuation along the ray through `p`, where 1 is the body's thickest soft tissue; `px` is the
    /// size of a pixel and the width of the sharpest edges.
    pub(super) fn attenuation(&self, p: Point, breath: f64, px: f64) -> f64 {
        let body = self.body(p, px);
        let depth = self.lung_depth(p, breath);
        let air = smoothstep(-px, px, depth) * (0.5 + 0.5 * smoothstep(0.0, 0.26, depth));
        let tissue = 0.06 * noise(self.tissue, 4.0, p) + 0.03 * noise(self.tissue ^ 1, 11.0, p);
        let mut sum = body * (1.0 + tissue) - 0.62 * air * body.min(1.0);
        sum += body.min(1.0) * (self.bones(p, px) + self.middle(p, px) + self.below(p, depth));
        sum += self.limbs(p, px);
        if air > 0.0 {
            sum += air * self.vessel_gain * 0.13 * self.vessel_cover(p, px);
        }
        sum.max(0.0)
    }

    /// Thickness of the trunk and neck: round at the flanks.
    fn body(&self, p: Point, px: f64) -> f64 {
        let neck = 0.26 + 0.05 * smoothstep(-0.9, -1.0, p.y);
        let shoulders = smoothstep(self.shoulder - 0.26, self.shoulder + 0.12, p.y).sqrt();
        let half = neck + (self.trunk - neck) * shoulders;
        let across = (p.x / half).abs();
        let edge = smoothstep(1.0 + px, 1.0 - px, across);
        edge * (0.45 + 0.55 * (1.0 - across.min(1.0).powi(4)).sqrt())
    }

    fn bones(&self, p: Point, px: f64) -> f64 {
        let ribs = self.ribs.cover(p, self.trunk * 0.9, px);
        let t = (p.x.abs() - 0.06) / 0.62;
        let on = smoothstep(-0.03, 0.03, t) * smoothstep(1.06, 1.0, t);
        let line = self.clavicle - 0.07 * (t * std::f64::consts::PI).sin() - 0.05 * t;
        let clavicle = on * smoothstep(0.030 + px, 0.030 - px, (p.y - line).abs());
        ribs + 0.16 * clavicle
    }

    /// Heart, vessels of the upper mediastinum, spine with its discs.
    fn middle(&self, p: Point, px: f64) -> f64 {
        let heart = smoothstep(1.0 + px, 0.78, self.heart.radius(p));
        let wide = self.mediastinum * (1.0 + 0.25 * (p.y * 5.0).sin());
        let upper = smoothstep(wide + 0.05, wide - 0.05, p.x.abs()) * smoothstep(0.35, 0.15, p.y);
        let discs = 0.5 + 0.5 * (p.y * 38.0).sin();
        let spine = smoothstep(self.spine + px, self.spine - px, p.x.abs());
        let spine = spine * (0.7 + 0.3 * discs);
        0.46 * heart.max(0.8 * upper) + 0.13 * spine
    }

    /// Liver on the viewer's left, gas in the stomach on the right, below the diaphragm.
    fn below(&self, p: Point, depth: f64) -> f64 {
        let under = smoothstep(0.0, -0.05, depth) * smoothstep(0.25, 0.45, p.y);
        let liver = 0.10 * smoothstep(0.15, -0.15, p.x);
        let gas = 0.45 * smoothstep(1.05, 0.75, self.stomach.radius(p));
        under * (0.12 + liver - gas)
    }

    fn limbs(&self, p: Point, px: f64) -> f64 {
        let arm = |arm: &Stroke| {
            let bone = Stroke {
                width: [0.035, 0.03],
                ..*arm
            };
            0.5 * arm.cover(p, 0.03) + 0.35 * bone.cover(p, px)
        };
        self.arms.iter().map(arm).sum()
    }

    fn vessel_cover(&self, p: Point, px: f64) -> f64 {
        let branches: f64 = self
            .vessels
            .iter()
            .map(|vessel| vessel.cover(p, px * 0.8))
            .sum();
        let hilum = (p.x.abs() - 0.17).hypot((p.y - 0.02) * 0.7);
        branches.min(1.4) + 0.9 * smoothstep(0.16, 0.0, hilum)
    }
}

impl Lung {
    /// The point at given shares of the lung's width and height.
    pub(super) fn at(&self, side: usize, across: f64, down: f64) -> Point {
        let x = self.inner + across * (self.outer - self.inner);
        let sign = if side == 0 { -1.0 } else { 1.0 };
        Point {
            x: sign * x,
            y: self.top + down * (self.dome - self.top),
        }
    }

    fn depth(&self, p: Point, breath: f64) -> f64 {
        let x = p.x.abs();
        let dome = self.dome + breath;
        let v = (p.y - self.top) / (dome - self.top);
        if v <= 0.0 {
            return v * 0.5;
        }
        let apex = (1.0 - (1.0 - (v / 0.8).min(1.0)).powf(2.4)).sqrt();
        let outer = self.inner + 0.02 + (self.outer - self.inner - 0.02) * apex;
        let inner = self.inner + 0.06 * smoothstep(0.25, 0.0, v);
        let middle = self.inner + 0.42 * (self.outer - self.inner);
        let from_middle = (x - middle) / (self.outer - self.inner);
        let fall = if from_middle > 0.0 { 0.85 } else { 0.35 };
        let floor = dome + fall * from_middle * from_middle;
        (outer - x).min(x - inner).min((floor - p.y) * 0.8)
    }
}

impl Ribs {
    /// Back halves slope gently down outwards; front halves, fainter, steeply down inwards.
    fn cover(&self, p: Point, wall: f64, px: f64) -> f64 {
        let t = (p.x.abs() - 0.07) / (wall - 0.07);
        if !(0.0..1.04).contains(&t) || p.y > 0.75 {
            return 0.0;
        }
        let end = smoothstep(1.04, 0.98, t);
        let back = self.bow(p.y - self.sag * (t * t - 0.45 * t), 0.0, px);
        let front = self.bow(p.y - 0.36 * (1.0 - t), 0.6, px) * smoothstep(0.30, 0.45, t);
        let front = front * smoothstep(-0.6, -0.3, p.y);
        self.contrast * end * (back + 0.55 * front)
    }

    /// Evenly spaced ribs along `y`, each with a denser rim.
    fn bow(&self, y: f64, shift: f64, px: f64) -> f64 {
        let step = (y - self.first) / self.spacing + shift;
        if step < -0.5 {
            return 0.0;
        }
        let off = (step - step.round()).abs() * self.spacing;
        let rim = 0.7 + 0.3 * (off / self.half).min(1.0).powi(2);
        rim * smoothstep(self.half + px * 0.7, self.half - px * 0.7, off)
    }
}

fn heart(rng: &mut Rng, dome: f64) -> Ellipse {
    let size = rng.range(0.28, 0.37);
    let centre = Point {
        x: rng.range(0.07, 0.14),
        y: dome - size * 0.62,
    };
    Ellipse {
        centre,
        a: size * 1.22,
        b: size,
        angle: rng.range(0.5, 0.8),
    }
}

fn stomach(rng: &mut Rng, dome: f64) -> Ellipse {
    let centre = Point {
        x: rng.range(0.25, 0.45),
        y: dome + rng.range(0.20, 0.30),
    };
    Ellipse {
        centre,
        a: rng.range(0.08, 0.20),
        b: rng.range(0.05, 0.10),
        angle: 0.0,
    }
}

fn ribs(rng: &mut Rng, top: f64) -> Ribs {
    Ribs {
        first: top + rng.range(0.0, 0.08),
        spacing: rng.range(0.135, 0.165),
        sag: rng.range(0.16, 0.30),
        half: rng.range(0.022, 0.030),
        contrast: rng.range(0.14, 0.22),
    }
}

fn arms(rng: &mut Rng, trunk: f64) -> [Stroke; 2] {
    let raised = rng.chance(0.45);
    let end = if raised { -1.1 } else { rng.range(0.1, 0.5) };
    let width = [rng.range(0.10, 0.14), 0.10];
    [-1.0, 1.0].map(|side| Stroke {
        from: Point {
            x: side * (trunk + 0.02),
            y: -0.46,
        },
        to: Point {
            x: side * (trunk + rng.range(0.12, 0.22)),
            y: end,
        },
        width,
    })
}

/// Branches fan out from each hilum and fork, thinner each time.
fn vessels(rng: &mut Rng, lungs: &[Lung; 2]) -> Vec<Stroke> {
    let mut strokes = Vec::new();
    for (side, lung) in lungs.iter().enumerate() {
        let hilum = lung.at(side, 0.16, 0.62);
        let sign = if side == 0 { -1.0 } else { 1.0 };
        for branch in 0..9 {
            let angle = -1.45 + 2.9 * (f64::from(branch) + rng.range(0.1, 0.9)) / 9.0;
            let width = rng.range(0.012, 0.020);
            grow(rng, &mut strokes, hilum, sign, angle, width, 3);
        }
    }
    strokes
}

fn grow(
    rng: &mut Rng,
    strokes: &mut Vec<Stroke>,
    from: Point,
    sign: f64,
    angle: f64,
    width: f64,
    forks: usize,
) {
    let length = rng.range(0.10, 0.20);
    let to = Point {
        x: from.x + sign * length * angle.cos(),
        y: from.y + length * angle.sin(),
    };
    strokes.push(Stroke {
        from,
        to,
        width: [width, width * 0.7],
    });
    if forks == 0 {
        return;
    }
    let turn = rng.range(0.15, 0.45);
    grow(
        rng,
        strokes,
        to,
        sign,
        angle + turn,
        width * 0.65,
        forks - 1,
    );
    if rng.chance(0.6) {
        grow(
            rng,
            strokes,
            to,
            sign,
            angle - turn,
            width * 0.65,
            forks - 1,
        );
    }
}
