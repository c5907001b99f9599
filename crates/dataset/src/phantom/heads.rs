//! Synthetic slices of heads in four classes: three kinds of tumour that differ in position and
//! appearance, and none. A stand-in for four-class data sets of brain MRI, with the same layout and
//! names: two split folders, spaces and brackets in file names, slices of different shapes.

use std::path::{Path, PathBuf};

use random::Rng;
use rayon::prelude::*;

use super::shapes::{Ellipse, Point, noise, smoothstep};
use super::{Drawn, make_once, write_jpeg, write_png};
use crate::DatasetError;

/// Number and size of the slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadsConfig {
    /// Pixels on the longer side, 32 to 4096.
    pub size: usize,
    /// Training slices of each class, at least 1.
    pub train: usize,
    /// Test slices of each class, at least 1.
    pub test: usize,
    /// The same seed gives the same files.
    pub seed: u64,
}

impl Default for HeadsConfig {
    /// 60 and 20 slices of each class, 96 pixels high.
    fn default() -> Self {
        Self {
            size: 96,
            train: 60,
            test: 20,
            seed: 0,
        }
    }
}

/// Paths of the slices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// `Training|Testing/glioma_tumor|…/image (1).jpg`: the root to index.
    pub images: PathBuf,
    /// Tumour masks in the same tree as `.png`: 0 none, 1 glioma, 2 meningioma, 3 pituitary.
    pub masks: PathBuf,
}

/// Class folders, by name.
const CLASSES: [(&str, Kind); 4] = [
    ("glioma_tumor", Kind::Glioma),
    ("meningioma_tumor", Kind::Meningioma),
    ("no_tumor", Kind::None),
    ("pituitary_tumor", Kind::Pituitary),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Glioma,
    Meningioma,
    Pituitary,
}

/// Generates `images/` and `masks/` in `dir`, whole or not at all; see [`generate`](super::generate).
///
/// # Errors
/// As [`generate`](super::generate).
pub fn generate_heads(dir: &Path, config: &HeadsConfig) -> Result<Heads, DatasetError> {
    if !(32..=4096).contains(&config.size) {
        let reason = "must be from 32 to 4096";
        return Err(DatasetError::setting("size", config.size, reason));
    }
    if config.train == 0 || config.test == 0 {
        return Err(DatasetError::setting(
            "images",
            0,
            "every class needs at least 1 image",
        ));
    }
    make_once(dir, &format!("{config:?}"), |folder| {
        let slices: Vec<(String, Kind, u64)> = slices(config);
        slices.par_iter().try_for_each(|(name, kind, number)| {
            let mut rng = Rng::keyed(config.seed, &[*number]);
            let painted = Head::new(*kind, &mut rng).paint(config.size, &mut rng);
            let image = folder.join("images").join(format!("{name}.jpg"));
            let mask = folder.join("masks").join(format!("{name}.png"));
            write_jpeg(&image, painted.size, painted.image)?;
            write_png(&mask, painted.size, painted.mask)
        })
    })?;
    Ok(Heads {
        images: dir.join("images"),
        masks: dir.join("masks"),
    })
}

/// One slice of any class.
pub(super) fn example(size: usize, rng: &mut Rng) -> Drawn {
    let (_, kind) = CLASSES[rng.below(CLASSES.len())];
    let painted = Head::new(kind, rng).paint(size, rng);
    Drawn {
        size: painted.size,
        pixels: painted.image,
    }
}

fn slices(config: &HeadsConfig) -> Vec<(String, Kind, u64)> {
    let mut slices = vec![];
    for (split, count) in [("Training", config.train), ("Testing", config.test)] {
        for (class, kind) in CLASSES {
            for i in 1..=count {
                let name = format!("{split}/{class}/image ({i})");
                slices.push((name, kind, slices.len() as u64));
            }
        }
    }
    slices
}

struct Painted {
    /// Rows and columns.
    size: [usize; 2],
    image: Vec<u8>,
    mask: Vec<u8>,
}

/// One head; lengths are in half image heights.
struct Head {
    kind: Kind,
    skull: Ellipse,
    ventricles: [Ellipse; 2],
    tumour: Ellipse,
    folds: u64,
    exposure: f64,
}

impl Head {
    fn new(kind: Kind, rng: &mut Rng) -> Self {
        let skull = Ellipse {
            centre: Point {
                x: rng.range(-0.03, 0.03),
                y: rng.range(-0.03, 0.03),
            },
            a: rng.range(0.66, 0.76),
            b: rng.range(0.84, 0.92),
            angle: rng.range(-0.08, 0.08),
        };
        let ventricle = |side: f64| Ellipse {
            centre: Point {
                x: side * 0.11,
                y: -0.05,
            },
            a: 0.06,
            b: 0.20,
            angle: side * -0.25,
        };
        Self {
            kind,
            skull,
            ventricles: [ventricle(-1.0), ventricle(1.0)],
            tumour: tumour(kind, &skull, rng),
            folds: rng.next_u64(),
            exposure: rng.range(0.75, 1.15),
        }
    }

    fn paint(&self, size: usize, rng: &mut Rng) -> Painted {
        let columns = (size as f64 * rng.range(0.78, 1.0)).round() as usize;
        let (px, grain) = (2.0 / size as f64, rng.range(0.01, 0.03));
        let (mut image, mut mask) = (vec![], vec![]);
        for i in 0..size * columns {
            let p = Point {
                x: ((i % columns) as f64 + 0.5 - columns as f64 / 2.0) * px,
                y: ((i / columns) as f64 + 0.5) * px - 1.0,
            };
            let value = self.exposure * self.signal(p, px) + grain * rng.normal();
            image.push((255.0 * value.clamp(0.0, 1.0)).round() as u8);
            mask.push(if self.in_tumour(p) {
                self.kind as u8
            } else {
                0
            });
        }
        Painted {
            size: [size, columns],
            image,
            mask,
        }
    }

    fn signal(&self, p: Point, px: f64) -> f64 {
        let radius = self.skull.radius(p);
        let scalp = 0.55 * smoothstep(0.06 + px, 0.03, (radius - 0.97).abs());
        let brain = smoothstep(0.90 + px, 0.88 - px, radius);
        let folds = 0.07 * noise(self.folds, 7.0, p) + 0.04 * noise(self.folds ^ 1, 17.0, p);
        let cortex = 0.08 * smoothstep(0.70, 0.88, radius);
        let fluid = self
            .ventricles
            .iter()
            .map(|v| smoothstep(1.1, 0.8, v.radius(p)));
        let tissue = 0.42 + folds - cortex - 0.28 * fluid.fold(0.0, f64::max);
        let tumour = self.brightness(p);
        scalp + brain * (tissue + tumour)
    }

    /// Gliomas have a bright rim around a dark core, the others are uniform.
    fn brightness(&self, p: Point) -> f64 {
        let radius = self.tumour_radius(p);
        let body = smoothstep(1.1, 0.9, radius);
        match self.kind {
            Kind::None => 0.0,
            Kind::Glioma => 0.30 * body - 0.42 * smoothstep(0.75, 0.5, radius),
            Kind::Meningioma => 0.28 * body,
            Kind::Pituitary => 0.34 * body,
        }
    }

    /// Gliomas have a ragged outline.
    fn tumour_radius(&self, p: Point) -> f64 {
        let ragged = if self.kind == Kind::Glioma {
            0.35
        } else {
            0.06
        };
        self.tumour.radius(p) * (1.0 + ragged * noise(self.folds ^ 2, 6.0, p))
    }

    fn in_tumour(&self, p: Point) -> bool {
        self.kind != Kind::None && self.tumour_radius(p) < 1.0 && self.skull.radius(p) < 0.89
    }
}

/// Gliomas are in a hemisphere, meningiomas on the skull, pituitary tumours low in the middle.
fn tumour(kind: Kind, skull: &Ellipse, rng: &mut Rng) -> Ellipse {
    let angle = rng.range(0.0, std::f64::consts::TAU);
    let side = if rng.chance(0.5) { -1.0 } else { 1.0 };
    let (centre, low, high) = match kind {
        Kind::Glioma | Kind::None => {
            let (x, y) = (side * rng.range(0.26, 0.36), rng.range(-0.35, 0.35));
            (Point { x, y }, 0.16, 0.26)
        }
        Kind::Meningioma => {
            let (x, y) = (0.74 * skull.a * angle.cos(), 0.74 * skull.b * angle.sin());
            (Point { x, y }, 0.13, 0.20)
        }
        Kind::Pituitary => {
            let (x, y) = (rng.range(-0.04, 0.04), rng.range(0.34, 0.44));
            (Point { x, y }, 0.08, 0.13)
        }
    };
    Ellipse {
        centre,
        a: rng.range(low, high),
        b: rng.range(low, high),
        angle,
    }
}
