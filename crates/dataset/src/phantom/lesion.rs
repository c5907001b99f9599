//! Soft densities: pneumonia inside a lung, and similar ones outside the lungs.

use random::Rng;

use super::anatomy::Anatomy;
use super::plan::Kind;
use super::shapes::{Ellipse, Point, noise, smoothstep};

/// Blurred, mottled patches.
#[derive(Debug, Default)]
pub(super) struct Patches(Vec<Patch>);

#[derive(Debug)]
struct Patch {
    shape: Ellipse,
    density: f64,
    mottle: u64,
}

impl Patches {
    /// The pneumonia of one image. `patient` determines its position, so that a patient's images
    /// agree; `image` varies its size and density slightly.
    pub(super) fn pneumonia(
        anatomy: &Anatomy,
        kind: Kind,
        difficulty: f64,
        patient: &mut Rng,
        image: &mut Rng,
    ) -> Self {
        let (patches, size, density) = match kind {
            Kind::Normal => return Self::default(),
            Kind::Bacterial => (1, [0.18, 0.32], [0.20, 0.42]),
            Kind::Viral => (2 + patient.below(3), [0.11, 0.20], [0.14, 0.30]),
        };
        let side = patient.below(2);
        let lung = anatomy.lung(side);
        let strength = (2.2 - 1.4 * difficulty) * image.range(0.75, 1.25);
        let patch = |_| Patch {
            shape: Ellipse {
                centre: lung.at(side, patient.range(0.25, 0.8), patient.range(0.3, 0.95)),
                a: patient.range(size[0], size[1]) * image.range(0.85, 1.15),
                b: patient.range(size[0], size[1]) * image.range(0.85, 1.15),
                angle: patient.range(0.0, 3.0),
            },
            density: strength * patient.range(density[0], density[1]),
            mottle: patient.next_u64(),
        };
        Self((0..patches).map(patch).collect())
    }

    /// Similar densities in shoulders, flanks and abdomen, in both classes.
    pub(super) fn outside(rng: &mut Rng) -> Self {
        let count = rng.below(4);
        let patch = |_| {
            let side = if rng.chance(0.5) { -1.0 } else { 1.0 };
            let centre = match rng.below(3) {
                0 => Point {
                    x: side * rng.range(0.5, 0.8),
                    y: rng.range(-0.75, -0.6),
                },
                1 => Point {
                    x: side * rng.range(0.75, 0.9),
                    y: rng.range(-0.3, 0.5),
                },
                _ => Point {
                    x: side * rng.range(0.0, 0.7),
                    y: rng.range(0.72, 0.95),
                },
            };
            let (a, b) = (rng.range(0.08, 0.25), rng.range(0.08, 0.25));
            Patch {
                shape: Ellipse {
                    centre,
                    a,
                    b,
                    angle: rng.range(0.0, 3.0),
                },
                density: rng.range(0.10, 0.40),
                mottle: rng.next_u64(),
            }
        };
        Self((0..count).map(patch).collect())
    }

    /// Added attenuation.
    pub(super) fn density(&self, p: Point) -> f64 {
        self.0.iter().map(|patch| patch.density(p)).sum()
    }

    /// Whether `p` belongs to a patch, as a reader would outline it: above half its density.
    pub(super) fn covers(&self, p: Point) -> bool {
        self.0.iter().any(|patch| patch.shape.radius(p) < 0.8)
    }
}

impl Patch {
    fn density(&self, p: Point) -> f64 {
        let radius = self.shape.radius(p);
        if radius > 1.4 {
            return 0.0;
        }
        let mottle = 1.0 + 0.35 * noise(self.mottle, 9.0, p);
        self.density * mottle * smoothstep(1.4, 0.2, radius)
    }
}
