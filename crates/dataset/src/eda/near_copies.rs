//! Near-identical images: copies that were compressed again, resized, brightened, slightly cropped or mirrored.

use rayon::prelude::*;
use serde::Serialize;

use super::split_name;
use crate::hamming::{HashIndex, MOST_DISTANT};
use crate::small::Small;
use crate::{ImageRecord, Manifest};

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

pub(super) fn of(manifest: &Manifest) -> NearCopies {
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
        let pairs: Vec<Found> = some.par_iter().map(|i| search.copies_of(*i)).collect();
        for one in pairs {
            found.truncated |= one.truncated;
            one.pairs.iter().for_each(|pair| found.count(pair));
            closest.extend(one.pairs);
        }
        closest.sort_by(Pair::order);
        closest.truncate(LISTED);
    }
    found.closest = closest.iter().map(|pair| search.named(pair)).collect();
    found
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
    hash: u64,
    statistics: Statistics,
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
            let statistics = Statistics::of(record.small.values())?;
            Some(Image {
                record,
                hash: record.small.hash(),
                statistics,
            })
        };
        let images: Vec<Option<Image>> = manifest.rows().par_iter().map(image).collect();
        let images: Vec<Image> = images.into_iter().flatten().collect();
        Self {
            manifest,
            index: HashIndex::new(images.iter().map(|image| image.hash).collect()),
            images,
        }
    }

    /// The later images that are copies of this one.
    fn copies_of(&self, i: usize) -> Found {
        let own = &self.images[i];
        let mirror = own.record.small.mirrored();
        let (plain, plain_cut) = self.similar(i, &own.record.small, own.hash);
        let (mirrored, mirrored_cut) = self.similar(i, &mirror, mirror.hash());
        let known = |pair: &Pair| plain.iter().any(|other| other.images == pair.images);
        let mirrored = mirrored.into_iter().filter(|pair| !known(pair));
        let mirrored = mirrored.map(|pair| Pair {
            mirrored: true,
            ..pair
        });
        let mirrored: Vec<Pair> = mirrored.collect();
        Found {
            pairs: plain.into_iter().chain(mirrored).collect(),
            truncated: plain_cut || mirrored_cut,
        }
    }

    /// The later images that are similar to a small copy of image `i`, and whether there were too many candidates.
    fn similar(&self, i: usize, small: &Small, hash: u64) -> (Vec<Pair>, bool) {
        let own = &self.images[i];
        let candidates = self.index.near(hash, DISTANCE, i + 1);
        let pair = |j: &usize| {
            let other = &self.images[*j];
            let sums = [&own.statistics, &other.statistics];
            let correlation = correlation([small.values(), other.record.small.values()], sums);
            let copies = correlation >= CORRELATION && own.record.sha256 != other.record.sha256;
            copies.then(|| self.pair([i, *j], hash, correlation))
        };
        let compared = candidates.iter().take(CANDIDATES);
        (
            compared.filter_map(pair).collect(),
            candidates.len() > CANDIDATES,
        )
    }

    fn pair(&self, images: [usize; 2], hash: u64, correlation: f64) -> Pair {
        let [a, b] = images.map(|i| self.images[i].record);
        Pair {
            images,
            distance: (hash ^ self.images[images[1]].hash).count_ones(),
            correlation,
            mirrored: false,
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

/// What of a correlation depends on one image only.
struct Statistics {
    sum: f64,
    /// n² times the variance.
    spread: f64,
}

impl Statistics {
    /// `None` if all values are the same: a correlation is then undefined.
    fn of(values: &[u8]) -> Option<Self> {
        let sum: u32 = values.iter().map(|v| u32::from(*v)).sum();
        let sum = f64::from(sum);
        let spread = values.len() as f64 * f64::from(product(values, values)) - sum * sum;
        (spread > 0.0).then_some(Self { sum, spread })
    }
}

/// Pearson's correlation; mirroring changes no [`Statistics`].
fn correlation([a, b]: [&[u8]; 2], [of_a, of_b]: [&Statistics; 2]) -> f64 {
    // Integers below 2^53, and therefore exact.
    let covariance = a.len() as f64 * f64::from(product(a, b)) - of_a.sum * of_b.sum;
    (covariance / (of_a.spread * of_b.spread).sqrt()).min(1.0)
}

/// Sum of products; of 4096 values it is below 2³².
fn product(a: &[u8], b: &[u8]) -> u32 {
    let products = a.iter().zip(b).map(|(a, b)| u32::from(*a) * u32::from(*b));
    products.sum()
}
