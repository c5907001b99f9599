//! Near-identical images: copies that were compressed again, resized, brightened, slightly cropped or mirrored.

use std::borrow::Cow;

use rayon::prelude::*;
use serde::Serialize;

use super::split_name;
use crate::hamming::{HashIndex, MOST_DISTANT};
use crate::small::{Signature, VALUES, mirrored};
use crate::{DatasetError, ImageRecord, Manifest};

/// Greatest Hamming distance between the perceptual hashes of near-identical images, of 64 bits.
const DISTANCE: u32 = 8;
const _: () = assert!(DISTANCE <= MOST_DISTANT);

/// Least correlation of their small grey copies. Of the 17 million pairs of 5,856 radiographs of children the most similar
/// ones that are of different images have .970; copies have .997 and more after JPEG of quality 20, halved sides or a
/// changed brightness, and .98 if 1 % of each side is cut off.
const CORRELATION: f64 = 0.985;

/// Most pairs that are listed.
const LISTED: usize = 500;

/// Most candidates that an image is compared with, so that the time is bounded where all images are alike.
const CANDIDATES: usize = 1000;

/// Images at a time, whose pairs are kept until the closest are chosen.
const AT_ONCE: usize = 1024;

/// Pairs of near-identical images that are not byte-identical.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearCopies {
    /// Greatest Hamming distance of the 64-bit perceptual hashes.
    pub max_distance: u32,
    /// Least correlation of the images reduced to 64 × 64 grey values, as they are or one of them mirrored.
    pub min_correlation: f64,
    /// Number of pairs.
    pub pairs: usize,
    /// Pairs whose images are in different splits.
    pub across_splits: usize,
    /// Pairs whose images belong to different patients by name; 0 if patients are unknown.
    pub across_patients: usize,
    /// Pairs whose images have different labels.
    pub across_classes: usize,
    /// Whether some images have so many candidates that not all were compared: there may be more pairs.
    pub truncated: bool,
    /// The pairs, at most 500: those across splits, then those with different labels, then those across patients, each
    /// the closest first.
    pub closest: Vec<NearCopy>,
}

/// Two near-identical images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearCopy {
    /// In order.
    pub paths: [String; 2],
    /// "train", "val", "test" or "unassigned".
    pub splits: [String; 2],
    /// Their labels.
    pub classes: [String; 2],
    /// Hamming distance of their hashes.
    pub distance: u32,
    /// Correlation of their small grey copies, at most 1.
    pub correlation: f64,
    /// Whether one is the mirror image of the other.
    pub mirrored: bool,
    /// Whether they are in different splits.
    pub crosses_splits: bool,
    /// Whether they belong to different patients by name.
    pub crosses_patients: bool,
    /// Whether they have different labels.
    pub crosses_classes: bool,
}

pub(super) fn of(manifest: &Manifest) -> Result<NearCopies, DatasetError> {
    let search = Search::new(manifest);
    let mut found = NearCopies {
        max_distance: DISTANCE,
        min_correlation: CORRELATION,
        pairs: 0,
        across_splits: 0,
        across_patients: 0,
        across_classes: 0,
        truncated: false,
        closest: vec![],
    };
    let mut closest = vec![];
    let images: Vec<usize> = (0..search.images.len()).collect();
    for some in images.chunks(AT_ONCE) {
        let pairs: Vec<_> = some.par_iter().map(|i| search.copies_of(*i)).collect();
        for one in pairs {
            let one = one?;
            found.truncated |= one.truncated;
            one.pairs.iter().for_each(|pair| found.count(pair));
            closest.extend(one.pairs);
        }
        closest.sort_by(Pair::order);
        closest.truncate(LISTED);
    }
    found.closest = closest.iter().map(|pair| search.named(pair)).collect();
    Ok(found)
}

impl NearCopies {
    fn count(&mut self, pair: &Pair) {
        self.pairs += 1;
        self.across_splits += usize::from(pair.crosses_splits);
        self.across_patients += usize::from(pair.crosses_patients);
        self.across_classes += usize::from(pair.crosses_classes);
    }
}

/// The images to compare, and their hashes.
struct Search<'m> {
    manifest: &'m Manifest,
    images: Vec<Image<'m>>,
    index: HashIndex,
}

/// An image that is not of one colour.
struct Image<'m> {
    record: &'m ImageRecord,
    statistics: Statistics,
}

/// An image, as it is or mirrored, for which copies are searched.
struct Query {
    i: usize,
    hash: u64,
    blocks: Vec<u16>,
    mirrored: bool,
}

/// The pairs of an image.
struct Found {
    pairs: Vec<Pair>,
    truncated: bool,
}

struct Pair {
    images: [usize; 2],
    distance: u32,
    correlation: f64,
    mirrored: bool,
    crosses_splits: bool,
    crosses_patients: bool,
    crosses_classes: bool,
}

impl<'m> Search<'m> {
    fn new(manifest: &'m Manifest) -> Self {
        let image = |record: &'m ImageRecord| {
            let statistics = Statistics::of(record.small.signature())?;
            Some(Image { record, statistics })
        };
        let images: Vec<Image> = manifest.rows().iter().filter_map(image).collect();
        let hashes: Vec<u64> = images.iter().map(|image| image.signature().hash).collect();
        Self {
            manifest,
            index: HashIndex::new(&hashes, DISTANCE),
            images,
        }
    }

    /// The later images that are copies of this one.
    fn copies_of(&self, i: usize) -> Result<Found, DatasetError> {
        let own = self.images[i].signature();
        let plain = self.similar(&Query {
            i,
            hash: own.hash,
            blocks: own.blocks().to_vec(),
            mirrored: false,
        })?;
        let mirrored = self.similar(&Query {
            i,
            hash: own.mirrored_hash,
            blocks: own.mirrored_blocks(),
            mirrored: true,
        })?;
        let known = |pair: &Pair| plain.pairs.iter().any(|other| other.images == pair.images);
        let mut new = mirrored.pairs;
        new.retain(|pair| !known(pair));
        Ok(Found {
            truncated: plain.truncated || mirrored.truncated,
            pairs: plain.pairs.into_iter().chain(new).collect(),
        })
    }

    /// The later images that are similar to an image.
    fn similar(&self, query: &Query) -> Result<Found, DatasetError> {
        let near = self.index.near(query.hash, query.i + 1, CANDIDATES);
        let alike = near
            .positions
            .into_iter()
            .filter(|j| self.may_be_alike(query, *j));
        let alike: Vec<usize> = alike.collect();
        let mut found = Found {
            pairs: vec![],
            truncated: near.more,
        };
        if alike.is_empty() {
            return Ok(found);
        }
        let own = &self.images[query.i];
        let mut values = self.values(own)?;
        if query.mirrored {
            values = mirrored(&values).into();
        }
        for j in alike {
            let other = &self.images[j];
            let product = product(&values, &self.values(other)?);
            let correlation = correlation(f64::from(product), [&own.statistics, &other.statistics]);
            if correlation >= CORRELATION {
                found.pairs.push(self.pair(query, j, correlation));
            }
        }
        Ok(found)
    }

    /// Whether the correlation with another image may reach [`CORRELATION`], and the files differ.
    fn may_be_alike(&self, query: &Query, j: usize) -> bool {
        /// More than what rounding changes.
        const ROUNDING: f64 = 1e-9;
        let (own, other) = (&self.images[query.i], &self.images[j]);
        let statistics = [&own.statistics, &other.statistics];
        let most = greatest_product([&query.blocks, other.signature().blocks()], statistics);
        correlation(most, statistics) >= CORRELATION - ROUNDING
            && own.record.sha256 != other.record.sha256
    }

    fn values(&self, image: &Image<'m>) -> Result<Cow<'m, [u8]>, DatasetError> {
        self.manifest.small_values(image.record)
    }

    fn pair(&self, query: &Query, j: usize, correlation: f64) -> Pair {
        let images = [query.i, j];
        let [a, b] = images.map(|i| self.images[i].record);
        Pair {
            images,
            distance: (query.hash ^ self.images[j].signature().hash).count_ones(),
            correlation,
            mirrored: query.mirrored,
            // An image in no split is not used.
            crosses_splits: a.split.is_some() && b.split.is_some() && a.split != b.split,
            crosses_patients: self.manifest.patients_are_known() && a.patient != b.patient,
            crosses_classes: a.class != b.class,
        }
    }

    fn named(&self, pair: &Pair) -> NearCopy {
        let of = |what: fn(&ImageRecord, &Manifest) -> String| {
            pair.images
                .map(|i| what(self.images[i].record, self.manifest))
        };
        NearCopy {
            paths: of(|record, _| record.path.clone()),
            splits: of(|record, _| split_name(record.split)),
            classes: of(|record, manifest| manifest.classes()[record.class].clone()),
            distance: pair.distance,
            correlation: pair.correlation,
            mirrored: pair.mirrored,
            crosses_splits: pair.crosses_splits,
            crosses_patients: pair.crosses_patients,
            crosses_classes: pair.crosses_classes,
        }
    }
}

impl Pair {
    /// The order of [`NearCopies::closest`].
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let rank = |pair: &Self| {
            let crosses = [
                pair.crosses_splits,
                pair.crosses_classes,
                pair.crosses_patients,
            ];
            crosses.map(|crosses| !crosses)
        };
        (rank(self).cmp(&rank(other)))
            .then(other.correlation.total_cmp(&self.correlation))
            .then(self.images.cmp(&other.images))
    }
}

impl<'m> Image<'m> {
    fn signature(&self) -> &'m Signature {
        self.record.small.signature()
    }
}

/// What of a correlation depends on one image only, and is the same for its mirror image.
struct Statistics {
    sum: f64,
    /// n² times the variance.
    spread: f64,
    /// The sum of the squares of the values' differences from the means of their blocks.
    within: f64,
}

impl Statistics {
    /// `None` if all values are the same: a correlation is then undefined.
    fn of(signature: &Signature) -> Option<Self> {
        let (sum, squares) = (f64::from(signature.sum), f64::from(signature.squares));
        let spread = VALUES as f64 * squares - sum * sum;
        let blocks = signature.blocks();
        let within = squares - of_blocks(blocks, blocks);
        (spread > 0.0).then_some(Self {
            sum,
            spread,
            within,
        })
    }
}

/// Pearson's correlation of two images from their sum of products.
fn correlation(product: f64, [a, b]: [&Statistics; 2]) -> f64 {
    // Integers below 2^53, and therefore exact.
    let covariance = VALUES as f64 * product - a.sum * b.sum;
    (covariance / (a.spread * b.spread).sqrt()).min(1.0)
}

/// Sum of products; of 4096 values it is below 2³².
fn product(a: &[u8], b: &[u8]) -> u32 {
    let products = a.iter().zip(b).map(|(a, b)| u32::from(*a) * u32::from(*b));
    products.sum()
}

/// The greatest sum of products that two images with these sums of blocks can have: that of the blocks' means, and, of
/// what differs from them, at most the product of the two lengths (Cauchy and Schwarz).
fn greatest_product([a, b]: [&[u16]; 2], [of_a, of_b]: [&Statistics; 2]) -> f64 {
    of_blocks(a, b) + (of_a.within * of_b.within).sqrt()
}

/// The sum of products of two images in which each value is replaced by the mean of its block.
fn of_blocks(a: &[u16], b: &[u16]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| u32::from(*a) * u32::from(*b));
    let values = (VALUES / a.len().max(1)) as f64;
    products.map(u64::from).sum::<u64>() as f64 / values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small::Small;

    /// Images of which half are a changed copy of another one, from nearly the same to hardly similar.
    fn images() -> Vec<Small> {
        let mut rng = random::Rng::stream(3, 3);
        let mut images: Vec<Vec<f32>> = vec![];
        for i in 0..60 {
            let steps = [1, 3, 8, 24][i / 2 % 4];
            let draw: Vec<f32> = (0..VALUES).map(|_| rng.unit() as f32).collect();
            let smooth = |at: usize| draw[at / 64 / steps * 64 + at % 64 / steps];
            let noise = 0.01 * (i / 2) as f32;
            let image = match i % 2 {
                0 => (0..VALUES).map(smooth).collect(),
                _ => {
                    let other = &images[i - 1];
                    let changed = other.iter().zip(&draw);
                    changed
                        .map(|(v, d)| (v + noise * (d - 0.5)).clamp(0.0, 1.0))
                        .collect()
                }
            };
            images.push(image);
        }
        images.iter().map(|image| Small::of(image, 64)).collect()
    }

    #[test]
    fn the_bound_is_never_below_the_correlation_and_excludes_different_images() {
        let images = images();
        let statistics: Vec<Statistics> = images
            .iter()
            .map(|image| Statistics::of(image.signature()).unwrap())
            .collect();
        for (i, a) in images.iter().enumerate() {
            for (j, b) in images.iter().enumerate() {
                let both = [&statistics[i], &statistics[j]];
                let exact = product(&a.values().unwrap(), &b.values().unwrap());
                let exact = correlation(f64::from(exact), both);
                let blocks = [a.signature().blocks(), b.signature().blocks()];
                let bound = correlation(greatest_product(blocks, both), both);
                assert!(bound >= exact - 1e-9, "{i} {j}: {bound} < {exact}");
                // Blocks as large as those of the sums: the bound excludes what is different.
                let coarse = |i: usize| i / 2 % 4 >= 2;
                if coarse(i) && coarse(j) && i / 2 != j / 2 {
                    assert!(bound < CORRELATION, "{i} {j}: {bound}, {exact}");
                }
            }
        }
    }
}
