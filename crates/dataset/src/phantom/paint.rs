//! Attenuation → film: one image and its masks.

use random::Rng;

use super::PhantomConfig;
use super::anatomy::Anatomy;
use super::lesion::Patches;
use super::plan::{Job, Kind};
use super::shapes::Point;
use super::shot::Shot;

/// Grey pixels and masks (255 set, 0 not), row by row.
#[derive(Debug)]
pub(super) struct Painted {
    pub(super) image: Vec<u8>,
    pub(super) lungs: Vec<u8>,
    pub(super) opacity: Vec<u8>,
}

pub(super) fn paint(config: &PhantomConfig, job: &Job) -> Painted {
    let scene = Scene::new(config, job);
    let film = scene.film();
    let mask = |set: &dyn Fn(Point) -> bool| {
        scene
            .points()
            .map(|film| {
                if set(scene.shot.to_body(film)) {
                    255
                } else {
                    0
                }
            })
            .collect()
    };
    let in_lung = |p: Point| scene.anatomy.lung_depth(p, scene.shot.breath) > 0.0;
    let mut image: Vec<u8> = film
        .into_iter()
        .map(|value| (255.0 * value).round() as u8)
        .collect();
    if has_shortcut(config, job) {
        mark_corner(&mut image, config.size);
    }
    Painted {
        image,
        lungs: mask(&in_lung),
        opacity: mask(&|p| in_lung(p) && scene.pneumonia.covers(p)),
    }
}

/// Whether the image has the mark of [`PhantomConfig::shortcut`].
fn has_shortcut(config: &PhantomConfig, job: &Job) -> bool {
    let drawn = Rng::keyed(config.seed, &[7, job.patient, job.image]).range(0.0, 1.0);
    job.kind != Kind::Normal && drawn < config.shortcut
}

/// A bright square in the upper left corner, a tenth of the side wide.
fn mark_corner(image: &mut [u8], size: usize) {
    let (side, margin) = ((size / 10).max(2), size / 40);
    for row in image.chunks_mut(size).skip(margin).take(side) {
        row[margin..margin + side].fill(250);
    }
}

struct Scene {
    size: usize,
    /// Width of a pixel.
    px: f64,
    anatomy: Anatomy,
    pneumonia: Patches,
    outside: Patches,
    shot: Shot,
    noise: Rng,
}

impl Scene {
    fn new(config: &PhantomConfig, job: &Job) -> Self {
        let keyed = |tag: u64| Rng::keyed(config.seed, &[tag, job.patient, job.image]);
        let of_patient = |tag: u64| Rng::keyed(config.seed, &[tag, job.patient]);
        let anatomy = Anatomy::new(&mut of_patient(1));
        let (mut where_, mut how) = (of_patient(2), keyed(3));
        let pneumonia =
            Patches::pneumonia(&anatomy, job.kind, config.difficulty, &mut where_, &mut how);
        Self {
            size: config.size,
            px: 2.0 / config.size as f64,
            anatomy,
            pneumonia,
            outside: Patches::outside(&mut keyed(4)),
            shot: Shot::new(&mut keyed(5)),
            noise: keyed(6),
        }
    }

    /// Pixel centres on the film, row by row.
    fn points(&self) -> impl Iterator<Item = Point> {
        let (size, px) = (self.size, self.px);
        let at = move |i: usize| (i as f64 + 0.5) * px - 1.0;
        (0..size * size).map(move |i| Point {
            x: at(i % size),
            y: at(i / size),
        })
    }

    fn film(&self) -> Vec<f64> {
        let attenuation: Vec<f64> = self.points().map(|p| self.attenuation(p)).collect();
        let exposure = exposure(&attenuation, self.shot.contrast, self.shot.brightness);
        let mut noise = self.noise.clone();
        let developed = self.points().zip(attenuation).map(|(p, attenuation)| {
            let value = film_curve(self.shot.contrast * (attenuation - exposure));
            let grain = self.shot.noise * noise.normal();
            self.shot.overlay(p, value + grain, self.px).clamp(0.0, 1.0)
        });
        developed.collect()
    }

    fn attenuation(&self, film: Point) -> f64 {
        let p = self.shot.to_body(film);
        let anatomy = self.anatomy.attenuation(p, self.shot.breath, self.px);
        let depth = self.anatomy.lung_depth(p, self.shot.breath);
        let patches = if depth > 0.0 {
            self.pneumonia.density(p) * (depth / 0.05).min(1.0)
        } else {
            self.outside.density(p) * anatomy.min(1.0)
        };
        anatomy + patches + self.shot.attachments(film, self.px) + self.shot.unevenness(film)
    }
}

/// The characteristic curve of film (Hurter and Driffield 1890) as a logistic function.
fn film_curve(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The exposure at which the film's mean is `brightness`, by bisection over every seventh pixel.
fn exposure(attenuation: &[f64], contrast: f64, brightness: f64) -> f64 {
    let sample: Vec<f64> = attenuation.iter().copied().step_by(7).collect();
    let (mut low, mut high) = (-1.0, 3.0);
    for _ in 0..24 {
        let middle = f64::midpoint(low, high);
        let sum: f64 = sample
            .iter()
            .map(|a| film_curve(contrast * (a - middle)))
            .sum();
        if sum / sample.len() as f64 > brightness {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}
