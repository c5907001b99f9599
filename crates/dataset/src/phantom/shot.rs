//! One exposure: pose, film, and other objects on the film.

use random::Rng;

use super::shapes::{Point, Stroke, smoothstep};

/// How one image of a patient was taken; drawn in the same way for both classes.
#[derive(Debug)]
pub(super) struct Shot {
    angle: f64,
    scale: f64,
    shift: Point,
    /// Lowers (or raises) the diaphragm.
    pub(super) breath: f64,
    /// Mean brightness of the film, independent of its content: automatic exposure, set at random.
    pub(super) brightness: f64,
    /// Slope of the film's curve.
    pub(super) contrast: f64,
    /// Standard deviation of the noise, in film brightness.
    pub(super) noise: f64,
    slope: Point,
    frame: [f64; 4],
    leads: Vec<Stroke>,
    marker: Option<Marker>,
}

#[derive(Debug)]
struct Marker {
    glyph: [u8; 7],
    corner: Point,
    height: f64,
    brightness: f64,
}

/// Rows of five pixels, the highest bit on the left; "R" is at the patient's right (viewer's left).
const R: [u8; 7] = [
    0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001,
];
const L: [u8; 7] = [
    0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111,
];

impl Shot {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            angle: 0.05 * rng.normal().clamp(-2.0, 2.0),
            scale: rng.range(0.92, 1.10),
            shift: Point {
                x: rng.range(-0.06, 0.06),
                y: rng.range(-0.06, 0.06),
            },
            breath: rng.range(-0.07, 0.06),
            brightness: rng.range(0.40, 0.58),
            contrast: rng.range(3.2, 5.2),
            noise: rng.range(0.010, 0.030),
            slope: Point {
                x: rng.range(-0.06, 0.06),
                y: rng.range(-0.06, 0.06),
            },
            frame: frame(rng),
            leads: leads(rng),
            marker: rng.chance(0.8).then(|| Marker::new(rng)),
        }
    }

    /// Maps a point on the film to the body.
    pub(super) fn to_body(&self, film: Point) -> Point {
        let (sin, cos) = self.angle.sin_cos();
        let (x, y) = (
            (film.x - self.shift.x) / self.scale,
            (film.y - self.shift.y) / self.scale,
        );
        Point {
            x: x * cos + y * sin,
            y: y * cos - x * sin,
        }
    }

    /// Uneven exposure (heel effect, oblique ray), as attenuation.
    pub(super) fn unevenness(&self, film: Point) -> f64 {
        self.slope.x * film.x + self.slope.y * film.y
    }

    /// Leads and electrodes on the skin, as attenuation.
    pub(super) fn attachments(&self, film: Point, px: f64) -> f64 {
        self.leads
            .iter()
            .map(|lead| 0.35 * lead.cover(film, px * 0.8))
            .sum::<f64>()
            .min(0.5)
    }

    /// The marker laid over the film's `value`, and the collimator's black border.
    pub(super) fn overlay(&self, film: Point, value: f64, px: f64) -> f64 {
        let marked = match self.marker.as_ref() {
            Some(marker) if marker.covers(film) => value.max(marker.brightness),
            _ => value,
        };
        let [left, right, top, bottom] = self.frame;
        let inside = (film.x + left)
            .min(right - film.x)
            .min(film.y + top)
            .min(bottom - film.y);
        marked * smoothstep(-px, px, inside)
    }
}

/// Distances of the border from the centre; mostly outside the film.
fn frame(rng: &mut Rng) -> [f64; 4] {
    let collimated = rng.chance(0.35);
    [(); 4].map(|()| {
        if collimated {
            rng.range(0.88, 1.08)
        } else {
            1.2
        }
    })
}

/// Wires of three segments with an electrode at the end.
fn leads(rng: &mut Rng) -> Vec<Stroke> {
    let mut strokes = Vec::new();
    for _ in 0..rng.below(3) {
        let mut at = Point {
            x: rng.range(-0.8, 0.8),
            y: 1.05,
        };
        for _ in 0..3 {
            let to = Point {
                x: at.x + rng.range(-0.2, 0.2),
                y: at.y - rng.range(0.15, 0.45),
            };
            strokes.push(Stroke {
                from: at,
                to,
                width: [0.008, 0.008],
            });
            at = to;
        }
        strokes.push(Stroke {
            from: at,
            to: at,
            width: [0.03, 0.03],
        });
    }
    strokes
}

impl Marker {
    fn new(rng: &mut Rng) -> Self {
        let (glyph, side) = if rng.chance(0.7) { (R, -1.0) } else { (L, 1.0) };
        let x = side * rng.range(0.74, 0.84) - 0.08;
        Self {
            glyph,
            corner: Point {
                x,
                y: rng.range(-0.93, -0.70),
            },
            height: rng.range(0.17, 0.24),
            brightness: rng.range(0.85, 1.0),
        }
    }

    fn covers(&self, film: Point) -> bool {
        let cell = self.height / 7.0;
        let column = ((film.x - self.corner.x) / cell).floor();
        let row = ((film.y - self.corner.y) / cell).floor();
        let inside = (0.0..5.0).contains(&column) && (0.0..7.0).contains(&row);
        inside && self.glyph[row as usize] >> (4 - column as usize) & 1 == 1
    }
}
