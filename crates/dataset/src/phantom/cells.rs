//! Synthetic sections of nerve tissue: cells with dark membranes, as in electron microscopy, with the
//! ground truth for each pixel. A stand-in for the ISBI 2012 challenge's stack.

use std::path::{Path, PathBuf};

use random::{Rng, hash};
use rayon::prelude::*;

use super::shapes::{Ellipse, Point, noise, smoothstep};
use super::{make_once, write_png};
use crate::DatasetError;

/// Number and size of the sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellsConfig {
    /// Width and height in pixels, 32 to 4096; a cell is about 40 pixels wide.
    pub size: usize,
    /// Number of sections, at least 1.
    pub images: usize,
    /// The same seed gives the same files.
    pub seed: u64,
}

impl Default for CellsConfig {
    /// 30 sections of 256×256.
    fn default() -> Self {
        Self {
            size: 256,
            images: 30,
            seed: 0,
        }
    }
}

/// Paths of the sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// `0.png`, `1.png`, …: grey, without classes.
    pub images: PathBuf,
    /// The same names: 255 cell, 0 membrane.
    pub masks: PathBuf,
}

/// Generates `images/` and `masks/` in `dir`, whole or not at all; see [`generate`](super::generate).
///
/// # Errors
/// As [`generate`](super::generate).
pub fn generate_cells(dir: &Path, config: &CellsConfig) -> Result<Cells, DatasetError> {
    if !(32..=4096).contains(&config.size) {
        let reason = "must be from 32 to 4096";
        return Err(DatasetError::setting("size", config.size, reason));
    }
    if config.images == 0 {
        return Err(DatasetError::setting("images", 0, "must be at least 1"));
    }
    make_once(dir, &format!("{config:?}"), |folder| {
        let numbers: Vec<usize> = (0..config.images).collect();
        numbers.par_iter().try_for_each(|&number| {
            let (image, mask) = paint(config.size, hash(config.seed, &[number as u64]));
            let file = |tree: &str| folder.join(tree).join(format!("{number}.png"));
            let size = [config.size; 2];
            write_png(&file("images"), size, image)?;
            write_png(&file("masks"), size, mask)
        })
    })?;
    Ok(Cells {
        images: dir.join("images"),
        masks: dir.join("masks"),
    })
}

/// Width of a cell in pixels.
const CELL: f64 = 40.0;

/// A section and its mask.
pub(super) fn paint(size: usize, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut rng = Rng::keyed(seed, &[1]);
    let (brightness, grain) = (rng.range(0.55, 0.70), rng.range(0.07, 0.12));
    let section = Section::new(size, seed, &mut rng);
    let (mut image, mut mask) = (vec![], vec![]);
    for i in 0..size * size {
        let p = Point {
            x: (i % size) as f64 / CELL,
            y: (i / size) as f64 / CELL,
        };
        let (distance, cell) = section.membrane(p);
        let wall = smoothstep(section.wall, 0.3 * section.wall, distance);
        let inside = brightness + section.cytoplasm(p, cell) - section.organelles(p, distance);
        let value = inside * (1.0 - wall) + 0.18 * wall + grain * rng.normal();
        image.push((255.0 * value.clamp(0.0, 1.0)).round() as u8);
        mask.push(if distance > 0.7 * section.wall {
            255
        } else {
            0
        });
    }
    (image, mask)
}

/// One section; lengths are in cell widths.
struct Section {
    seed: u64,
    wall: f64,
    organelles: Vec<Ellipse>,
}

impl Section {
    fn new(size: usize, seed: u64, rng: &mut Rng) -> Self {
        let side = size as f64 / CELL;
        let organelle = |_| Ellipse {
            centre: Point {
                x: rng.range(0.0, side),
                y: rng.range(0.0, side),
            },
            a: rng.range(0.10, 0.22),
            b: rng.range(0.07, 0.11),
            angle: rng.range(0.0, 3.0),
        };
        let organelles = (0..(0.9 * side * side) as usize).map(organelle).collect();
        let wall = rng.range(0.055, 0.075);
        Self {
            seed,
            wall,
            organelles,
        }
    }

    /// Distance to the nearest membrane and the cell's number: a Voronoi diagram of jittered grid
    /// points, with its borders bent by noise.
    fn membrane(&self, p: Point) -> (f64, u64) {
        let bend = |tag: u64| 0.25 * noise(hash(self.seed, &[tag]), 1.7, p);
        let p = Point {
            x: p.x + bend(2),
            y: p.y + bend(3),
        };
        let (column, row) = (p.x.floor() as i64, p.y.floor() as i64);
        let (mut first, mut second) = ((f64::MAX, 0), f64::MAX);
        for at in (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (column + dx, row + dy))) {
            let (centre, cell) = self.centre(at);
            let distance = (p.x - centre.x).hypot(p.y - centre.y);
            if distance < first.0 {
                second = first.0;
                first = (distance, cell);
            } else {
                second = second.min(distance);
            }
        }
        (0.5 * (second - first.0), first.1)
    }

    fn centre(&self, (column, row): (i64, i64)) -> (Point, u64) {
        let cell = hash(self.seed, &[4, column as u64, row as u64]);
        let mut rng = Rng::keyed(cell, &[]);
        let x = column as f64 + rng.range(0.0, 1.0);
        let y = row as f64 + rng.range(0.0, 1.0);
        (Point { x, y }, cell)
    }

    /// Cells differ slightly in brightness, and none is uniform.
    fn cytoplasm(&self, p: Point, cell: u64) -> f64 {
        let shade = (cell % 1000) as f64 / 1000.0 - 0.5;
        0.10 * shade + 0.06 * noise(hash(self.seed, &[5]), 9.0, p)
    }

    /// Bodies inside cells that are as dark as membranes, like mitochondria, so that darkness alone does not identify
    /// membranes.
    fn organelles(&self, p: Point, distance: f64) -> f64 {
        let near = |body: &&Ellipse| (p.x - body.centre.x).hypot(p.y - body.centre.y) < 0.3;
        let dark = |body: &Ellipse| {
            let radius = body.radius(p);
            0.32 * smoothstep(1.05, 0.85, radius)
                + 0.12 * smoothstep(0.25, 0.0, (radius - 0.9).abs())
        };
        let darkest = self
            .organelles
            .iter()
            .filter(near)
            .map(dark)
            .fold(0.0, f64::max);
        darkest * smoothstep(self.wall, 2.0 * self.wall, distance)
    }
}
