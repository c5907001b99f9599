//! Each image as it is or mirrored, so that an image and its mirror image are turned the same way.

use random::Rng;
use rayon::prelude::*;

use super::correlation::CORRELATION;
use super::images::Images;
use super::outline::{Coarse, Fine, ROW, centred};
use super::whitening::covariance;
use crate::small::BLOCKS;

/// Steps of the power iteration: which direction comes out decides only how many images are turned both ways.
const STEPS: usize = 100;

/// An image as it is, or its mirror image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) image: u32,
    pub(super) mirrored: bool,
}

/// One or two views of each image.
///
/// If an image is near-identical to another one or to its mirror image, a view of the one is near-identical to a view of
/// the other: it is enough to compare views.
pub(super) struct Views {
    all: Vec<View>,
    /// Where the views of each image begin; one more at the end.
    starts: Vec<u32>,
}

impl Views {
    /// Of images such as those of `sample`.
    pub(super) fn new(images: &Images<'_>, sample: &[[f64; BLOCKS]]) -> Self {
        let sides = Sides::new(sample);
        let all = (0..images.len() as u32).into_par_iter();
        let turned = |image: u32| {
            let turned = sides.turned(&centred(images.signature(image)));
            turned.map(move |mirrored| View { image, mirrored })
        };
        let all: Vec<View> = all.flat_map_iter(turned).collect();
        let mut starts = vec![0; images.len() + 1];
        all.iter()
            .for_each(|view| starts[view.image as usize + 1] += 1);
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        Self { all, starts }
    }

    pub(super) fn all(&self) -> &[View] {
        &self.all
    }

    /// The positions of an image's views.
    pub(super) fn of(&self, image: u32) -> std::ops::Range<usize> {
        let start = |image: usize| self.starts[image] as usize;
        start(image as usize)..start(image as usize + 1)
    }
}

impl View {
    /// The means of the blocks ([`centred`]).
    pub(super) fn blocks(self, images: &Images<'_>) -> [f64; BLOCKS] {
        let mut blocks = centred(images.signature(self.image));
        if self.mirrored {
            blocks.chunks_exact_mut(ROW).for_each(<[_]>::reverse);
        }
        blocks
    }

    pub(super) fn coarse(self, images: &Images<'_>) -> Coarse {
        let coarse = images.coarse[self.image as usize];
        match self.mirrored {
            true => coarse.mirrored(),
            false => coarse,
        }
    }

    /// Whether the fine outlines of two views are near.
    pub(super) fn is_near(self, other: Self, fine: &[Fine]) -> bool {
        let [own, of_other] = [self, other].map(|view| &fine[view.image as usize]);
        match self.mirrored == other.mirrored {
            true => own.is_near(of_other),
            false => own.mirrored().is_near(of_other),
        }
    }
}

/// Tells which way an image is turned: by the sign of the product of what is not symmetric in it with a direction in which
/// the images differ most from their mirror images.
struct Sides {
    /// A vector of length 1.
    direction: [f64; BLOCKS / 2],
}

impl Sides {
    /// An image whose product is within this of zero is turned both ways. Near-identical images are vectors at most
    /// √(2 (1 − correlation)) apart, and their products differ by no more: if their signs differ, one of the two products
    /// is within half of that.
    fn margin() -> f64 {
        (0.5 * (1.0 - CORRELATION)).sqrt() * 1.001
    }

    fn new(sample: &[[f64; BLOCKS]]) -> Self {
        let sample: Vec<_> = sample.iter().map(asymmetry).collect();
        let mut rng = Rng::keyed(2, &[]);
        let mut direction = unit([(); BLOCKS / 2].map(|()| rng.normal()));
        // Not around the mean: an asymmetry that all images share tells which way they are turned.
        let moments = covariance(&sample, &[0.0; BLOCKS / 2]);
        for _ in 0..STEPS {
            direction = unit(std::array::from_fn(|i| dot(&moments[i], &direction)));
        }
        Self { direction }
    }

    /// Whether mirrored: one way or both.
    fn turned(&self, blocks: &[f64; BLOCKS]) -> impl Iterator<Item = bool> + use<> {
        let side = dot(&asymmetry(blocks), &self.direction);
        let as_it_is = (side >= -Self::margin()).then_some(false);
        let mirrored = (side <= Self::margin()).then_some(true);
        as_it_is.into_iter().chain(mirrored)
    }
}

/// By what the blocks of the left half differ from those of the right, of which they are mirror images; the mirror image
/// has the same numbers with other signs. The factor makes them coordinates of the vector of length 1.
fn asymmetry(blocks: &[f64; BLOCKS]) -> [f64; BLOCKS / 2] {
    std::array::from_fn(|i| {
        let (row, column) = (i / (ROW / 2) * ROW, i % (ROW / 2));
        (blocks[row + column] - blocks[row + ROW - 1 - column]) * std::f64::consts::FRAC_1_SQRT_2
    })
}

fn dot<const D: usize>(a: &[f64; D], b: &[f64; D]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Of length 1; the first coordinate for a vector of length 0.
fn unit<const D: usize>(vector: [f64; D]) -> [f64; D] {
    let length = dot(&vector, &vector).sqrt();
    match length > 0.0 {
        true => vector.map(|v| v / length),
        false => std::array::from_fn(|i| f64::from(u8::from(i == 0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector of length 1, and its mirror image.
    fn random(rng: &mut Rng) -> [[f64; BLOCKS]; 2] {
        let blocks = unit([(); BLOCKS].map(|()| rng.normal()));
        let mut mirror = blocks;
        mirror.chunks_exact_mut(ROW).for_each(<[_]>::reverse);
        [blocks, mirror]
    }

    #[test]
    fn near_identical_images_are_turned_the_same_way() {
        let mut rng = Rng::stream(6, 6);
        let sample: Vec<_> = (0..200).map(|_| random(&mut rng)[0]).collect();
        let sides = Sides::new(&sample);
        // The worst case: a difference, as long as it may be, in the direction that decides.
        let along = |i: usize| {
            let (row, column) = (i / ROW, i % ROW);
            let half = |column: usize| sides.direction[row * ROW / 2 + column];
            match column < ROW / 2 {
                true => half(column),
                false => -half(ROW - 1 - column),
            }
        };
        let farthest = (2.0 * (1.0 - CORRELATION)).sqrt() * std::f64::consts::FRAC_1_SQRT_2;
        for _ in 0..2000 {
            let [image, mirror] = random(&mut rng);
            for other in [image, mirror] {
                let views = |blocks: &[f64; BLOCKS]| sides.turned(blocks).collect::<Vec<_>>();
                for farthest in [-farthest, 0.0, farthest] {
                    let copy = std::array::from_fn(|i| other[i] + farthest * along(i));
                    let relation = other != image;
                    let (a, b) = (views(&image), views(&copy));
                    let alike = |a: &bool| b.contains(&(*a != relation));
                    assert!(a.iter().any(alike), "{a:?} {b:?} {relation}");
                }
            }
        }
    }

    /// The direction is the one in which the images are least symmetric, and then few are turned both ways.
    #[test]
    fn images_that_differ_from_their_mirror_images_are_turned_one_way() {
        let mut rng = Rng::stream(7, 7);
        let mut bright_left = || {
            let [mut blocks, _] = random(&mut rng);
            let left = |i: usize| i % ROW < ROW / 2;
            (0..BLOCKS).for_each(|i| blocks[i] += if left(i) { 0.05 } else { -0.05 });
            blocks
        };
        let sample: Vec<_> = (0..500).map(|_| bright_left()).collect();
        let sides = Sides::new(&sample);
        let one_way = |blocks: &&[f64; BLOCKS]| sides.turned(blocks).count() == 1;
        assert!(sample.iter().filter(one_way).count() > 450);
        let first = sides.turned(&sample[0]).next();
        let same = |blocks: &&[f64; BLOCKS]| sides.turned(blocks).next() == first;
        assert!(sample.iter().filter(same).count() > 450);
        // Symmetric images, or none.
        for sides in [Sides::new(&[[0.125; BLOCKS]]), Sides::new(&[])] {
            let turned: Vec<_> = sides.turned(&[0.125; BLOCKS]).collect();
            assert_eq!(turned, [false, true]);
        }
    }
}
