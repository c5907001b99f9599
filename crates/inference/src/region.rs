//! The part of an image that a network sees: found in the image by a segmenter.

use std::path::Path;

use formats::checkpoint::{Plausible, Region, RegionRule};
use imaging::{ImageFile, Rect};
use model::engine::{Device, Precision};
use morphology::Mask;

use crate::bundle::Bundle;
use crate::error::{InferenceError, Result};
use crate::scores::Input;

/// Components with fewer pixels than this share of the largest one's are ignored: specks far from the organ would
/// otherwise enlarge the bounding box.
const SPECK: f64 = 0.1;

/// A segmenter that measures regions.
pub struct RegionFinder {
    segmenter: Box<Bundle>,
    classes: Vec<usize>,
}

/// What a segmenter found in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The region's pixels as a share of the image's, without specks.
    pub area: f64,
    /// Number of connected components, without specks.
    pub components: usize,
    /// Top, left, bottom and right edge as shares of the image's height and width.
    pub edges: [f64; 4],
}

/// The part of an image that a network sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Pixels of the image.
    pub part: Rect,
    /// Why it is the typical part; `None` if a plausible region was found.
    pub fallback: Option<Implausible>,
}

/// Why the region found in an image is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Implausible {
    /// There is no pixel of the classes.
    Absent,
    /// It is smaller or larger than that of any training image.
    Area,
    /// Its bounding box is smaller or larger than that of any training image.
    Extent,
    /// It has fewer or more components than that of any training image.
    Components,
}

impl RegionFinder {
    /// Finds the pixels of `classes` of a segmenter's map.
    ///
    /// # Errors
    /// The network was not trained on masks, or on windows; a class is not in its map.
    pub fn new(segmenter: Bundle, classes: Vec<usize>) -> Result<Self> {
        let known = segmenter.map_classes().len();
        if !segmenter.segments() || !segmenter.has_map() {
            return Err(InferenceError::NoMap);
        }
        if let Some((rows, columns)) = segmenter.meta().preprocessing.window {
            return Err(InferenceError::Windows(rows, columns));
        }
        match classes.iter().find(|class| **class >= known) {
            Some(class) => Err(InferenceError::NoClass(*class, known)),
            None => Ok(RegionFinder {
                segmenter: Box::new(segmenter),
                classes,
            }),
        }
    }

    /// Measures the region in each image, all of them in one batch; `None` where there is none.
    ///
    /// # Errors
    /// The network rejects an image, or a score is NaN or infinite.
    pub fn measure(&self, images: &[ImageFile]) -> Result<Vec<Option<Measured>>> {
        let bundle = &self.segmenter;
        let (mut data, mut placements) = (vec![], vec![]);
        for image in images {
            let framed = image.framed(bundle.frame())?;
            data.extend(bundle.normalized(&framed.image.values()));
            placements.push(framed.placement);
        }
        let (n, shape) = (images.len(), bundle.input_shape());
        let input = Input {
            data: &data,
            n,
            shape,
        };
        let maps = bundle.maps(input, bundle.meta().inference.mirror)?;
        let map = bundle.map_shape()?;
        let of_image = maps.chunks(map.h * map.w * map.c).zip(&placements);
        let measured = of_image.map(|(probabilities, placement)| {
            // Padding around the image is not part of it.
            let target = placement.target;
            let rows = probabilities.chunks(map.w * map.c);
            let inside = rows.skip(target.top).take(target.height).flat_map(|row| {
                let pixels = row.chunks(map.c).skip(target.left).take(target.width);
                pixels.map(|pixel| self.is_inside(pixel))
            });
            let inside: Vec<bool> = inside.collect();
            measured(&inside, (target.height, target.width))
        });
        Ok(measured.collect())
    }

    /// Whether the most probable class of a pixel, the first one on ties, is one of the region's.
    fn is_inside(&self, pixel: &[f32]) -> bool {
        let better = |best: usize, class: usize| match pixel[class] > pixel[best] {
            true => class,
            false => best,
        };
        self.classes.contains(&(1..pixel.len()).fold(0, better))
    }
}

/// The properties of the set pixels of an image of `size`.
fn measured(inside: &[bool], (height, width): (usize, usize)) -> Option<Measured> {
    let components = Mask::new(height, width, inside).ok()?.components();
    let mut sizes = vec![0usize; components.count + 1];
    components
        .labels
        .iter()
        .for_each(|label| sizes[*label as usize] += 1);
    let largest = sizes.iter().skip(1).max().copied().unwrap_or(0);
    let counts = |label: u32| label > 0 && sizes[label as usize] as f64 >= SPECK * largest as f64;
    let (mut area, mut rows, mut columns) = (0, (height, 0), (width, 0));
    for (i, label) in components.labels.iter().enumerate() {
        if counts(*label) {
            let (row, column) = (i / width, i % width);
            area += 1;
            rows = (rows.0.min(row), rows.1.max(row + 1));
            columns = (columns.0.min(column), columns.1.max(column + 1));
        }
    }
    let share = |n: usize, of: usize| n as f64 / of as f64;
    (area > 0).then(|| Measured {
        area: share(area, height * width),
        components: (1..sizes.len()).filter(|i| counts(*i as u32)).count(),
        edges: [
            share(rows.0, height),
            share(columns.0, width),
            share(rows.1, height),
            share(columns.1, width),
        ],
    })
}

impl Measured {
    /// The bounding box as a share of the image.
    pub fn extent(&self) -> f64 {
        let [top, left, bottom, right] = self.edges;
        (bottom - top) * (right - left)
    }

    fn fault(&self, plausible: &Plausible) -> Option<Implausible> {
        let outside = |value: f64, [least, greatest]: [f64; 2]| value < least || value > greatest;
        let [fewest, most] = plausible.components;
        if outside(self.area, plausible.area) {
            Some(Implausible::Area)
        } else if outside(self.extent(), plausible.extent) {
            Some(Implausible::Extent)
        } else if self.components < fewest || self.components > most {
            Some(Implausible::Components)
        } else {
            None
        }
    }
}

/// The part of an image of `size` (height, width) that a network sees, given what was found in it.
pub fn part(rule: &RegionRule, measured: Option<&Measured>, size: (usize, usize)) -> Found {
    let fallback = match measured {
        None => Some(Implausible::Absent),
        Some(measured) => measured.fault(&rule.plausible),
    };
    let edges = match (measured, fallback) {
        (Some(measured), None) => measured.edges,
        _ => rule.typical,
    };
    let [top, left, bottom, right] = edges;
    let m = rule.margin;
    Found {
        part: Rect::of_shares(size, [top - m, left - m, bottom + m, right + m]),
        fallback,
    }
}

/// A network's own segmenter, with the rule that it was trained with.
pub(crate) struct OwnRegion {
    finder: RegionFinder,
    rule: RegionRule,
}

impl OwnRegion {
    pub(crate) fn new(path: &Path, region: Region, device: Device) -> Result<Self> {
        let Region {
            graph,
            store,
            meta,
            rule,
        } = region;
        let checkpoint = formats::checkpoint::Checkpoint::new(graph, store, meta);
        let segmenter = Bundle::of(path, checkpoint, device, Precision::F32)?;
        Ok(OwnRegion {
            finder: RegionFinder::new(segmenter, rule.classes.clone())?,
            rule,
        })
    }

    pub(crate) fn find(&self, images: &[ImageFile]) -> Result<Vec<Found>> {
        let measured = self.finder.measure(images)?;
        let of_image = measured.iter().zip(images);
        let found = of_image.map(|(found, image)| part(&self.rule, found.as_ref(), image.size()));
        Ok(found.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(rows: &[&str]) -> Vec<bool> {
        rows.iter()
            .flat_map(|row| row.chars().map(|c| c == '#'))
            .collect()
    }

    #[test]
    fn a_region_is_measured_without_specks() {
        let image = pixels(&[
            "............",
            ".######.....",
            ".######....#",
            "............",
        ]);
        let found = measured(&image, (4, 12)).unwrap();
        assert_eq!(found.components, 1);
        assert_eq!(found.area, 12.0 / 48.0);
        assert_eq!(found.edges, [0.25, 1.0 / 12.0, 0.75, 7.0 / 12.0]);
        assert_eq!(found.extent(), 0.25);
        assert_eq!(measured(&[false; 48], (4, 12)), None);
    }

    #[test]
    fn an_implausible_region_is_replaced_by_the_typical_one() {
        let rule = RegionRule {
            classes: vec![1],
            margin: 0.1,
            plausible: Plausible {
                area: [0.2, 0.5],
                extent: [0.3, 0.8],
                components: [1, 2],
            },
            typical: [0.2, 0.2, 0.8, 0.8],
        };
        let good = Measured {
            area: 0.3,
            components: 2,
            edges: [0.0, 0.3, 0.6, 0.9],
        };
        let found = part(&rule, Some(&good), (100, 100));
        let expected = Rect {
            top: 0,
            left: 20,
            height: 70,
            width: 80,
        };
        assert_eq!((found.part, found.fallback), (expected, None));
        let typical = Rect {
            top: 10,
            left: 10,
            height: 80,
            width: 80,
        };
        let check = |measured: Option<Measured>, why| {
            let found = part(&rule, measured.as_ref(), (100, 100));
            assert_eq!((found.part, found.fallback), (typical, Some(why)));
        };
        check(None, Implausible::Absent);
        check(Some(Measured { area: 0.1, ..good }), Implausible::Area);
        let components = 3;
        check(
            Some(Measured { components, ..good }),
            Implausible::Components,
        );
        let edges = [0.0, 0.0, 0.5, 0.5];
        check(Some(Measured { edges, ..good }), Implausible::Extent);
    }
}
